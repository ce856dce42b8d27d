/* The formats of records (record_format.h): reads one JSON value into a conversation. Members that
 * a format does not have are remarked on (conversation.h).
 *
 * Of preference data the chosen answer is read: `chosen` instead of the answer, or after the
 * messages, or as the whole list. The turns before it are then context. In data of single
 * judgements, bad answers (label: false) are read but not learnt. */
#ifndef LORAC_DATA_FORMATS_H
#define LORAC_DATA_FORMATS_H

#include "src/base/json.h"
#include "src/base/wordlists.h"
#include "src/data/conversation.h"
#include "src/data/record_format.h"

/* The first format whose keys the value has; FORMAT_AUTO when none. */
enum data_format format_detect(const json_t *v);

/* The error for a value that has the keys of no format; it names some of its keys and the wanted
 * ones. */
int format_unknown(const json_t *v, const char *where, struct err *e);

/* Overwrite c with the record v; on failure c->fault says of what kind the fault is. o may be NULL.
 * Errors begin with `where`. c->remarks lists the parts that were not read or were read in a
 * special way. */
int format_read(struct conversation *c, enum data_format f, const json_t *v,
                const struct format_options *o, const char *where, struct err *e);

#endif
