/* The shapes of records: from one JSON value to a conversation, by its format (record_format.h).
 * Members that a format does not have are remarked on (conversation.h).
 *
 * Preference data is read for what was chosen: `chosen` in place of the answer, or behind the
 * messages, or as the whole list. Then what stands before it is context. Data of single judgements
 * (label: false) is read and not learnt where the judgement is bad. */
#ifndef LORAC_DATA_FORMATS_H
#define LORAC_DATA_FORMATS_H

#include "src/base/json.h"
#include "src/base/wordlists.h"
#include "src/data/conversation.h"
#include "src/data/record_format.h"

/* The first format whose keys the value has; FORMAT_AUTO when none. */
enum data_format format_detect(const json_t *v);

/* The error of a value that has no format's keys: names some of its keys and what was wanted. */
int format_unknown(const json_t *v, const char *where, struct err *e);

/* Overwrite c with the record v; on failure c->fault says what kind it is. o may be NULL. Errors
 * begin with `where`. What a reader leaves aside, or takes in a way of its own, is in c->remarks. */
int format_read(struct conversation *c, enum data_format f, const json_t *v,
                const struct format_options *o, const char *where, struct err *e);

#endif
