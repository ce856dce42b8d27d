/* What the readers of shape_*.c share: one JSON value on its way into a conversation.
 *
 * Errors begin with `where`, then name the field; the conversation's fault says of what kind they
 * are. Text of the record is never in them. */
#ifndef LORAC_DATA_READING_H
#define LORAC_DATA_READING_H

#include "src/base/json.h"
#include "src/data/shapes.h"

struct reading {
    const char *where;
    const char *prompt, *completion; /* `columns`, or NULL */
    struct conversation *c;
    struct err *e;
};

/* is_NAME(): whether the value has the format's keys. read_NAME(): the conversation of a value. */
#define DATA_FORMAT_READER(upper, lower, keys)                                                     \
    bool is_##lower(const json_t *v);                                                              \
    int read_##lower(const struct reading *r, const json_t *v);
DATA_FORMATS(DATA_FORMAT_READER)

/* "where: field: " and the message. */
int reading_fault(const struct reading *r, enum fault f, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The field holds v, NULL when it is not there; the error says what was wanted. */
int reading_unwanted(const struct reading *r, const char *field, const json_t *v,
                     const char *wanted);

/* Append the string v as a turn. */
int reading_turn(const struct reading *r, enum role role, const char *field, const json_t *v);
/* Append a system text when the record has one; absent, null and empty are none. */
int reading_system(const struct reading *r, const char *key, const json_t *record);

/* How lists of messages spell their parts. */
struct spelling {
    const char *role, *content;
    const char *wanted; /* the usual roles, for messages */
};
/* Append the messages of the array v from number `from` on, or the one object v; `field` is its
 * name. */
int reading_messages(const struct reading *r, const struct spelling *s, const char *field,
                     const json_t *v, size_t from);
/* Append what an answer was preferred as: a text or messages; everything before is context. */
int reading_chosen(const struct reading *r, const struct spelling *s, const json_t *record);
/* The record's list of tools becomes the end of the system text, as it stands. */
int reading_tools(const struct reading *r, const json_t *record);

#endif
