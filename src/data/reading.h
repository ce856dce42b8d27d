/* Shared by the readers in format_*.c, which turn one JSON value into a conversation.
 *
 * Errors begin with `where`, then name the field; the conversation's fault says of what kind they
 * are. They never contain text of the record. */
#ifndef LORAC_DATA_READING_H
#define LORAC_DATA_READING_H

#include "src/base/json.h"
#include "src/data/conversation.h"
#include "src/data/record_format.h"

/* The members of an object that its reader knows, read or not. */
struct used {
    const char *key[48];
    size_t n;
};

struct reading {
    const char *where;
    const struct record_columns *columns; /* empty: the usual names */
    struct conversation *c;
    struct err *e;
    const json_t *record;
    const struct format_options *o; /* or NULL */
    struct used *used;              /* of the record */
};

/* is_NAME(): whether the value has the format's keys. read_NAME(): the conversation of a value. */
#define DATA_FORMAT_READER(id, name, number, keys)                                                 \
    bool is_##name(const json_t *v);                                                               \
    int read_##name(const struct reading *r, const json_t *v);
DATA_FORMATS(DATA_FORMAT_READER)

/* The error "where: field: message". */
int reading_fault(const struct reading *r, enum fault f, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The error for a field that holds v, or NULL when it is missing; it says what was wanted. */
int reading_unwanted(const struct reading *r, const char *field, const json_t *v,
                     const char *wanted);

/* Note that the record's column `key` is known. */
void reading_use(const struct reading *r, const char *key);
void used_add(struct used *u, const char *key);
/* Remark on every member of the object that is neither used nor null nor empty; `at` is its place,
 * "" for the record. */
void reading_leftover(const struct reading *r, const char *at, const json_t *object,
                      const struct used *used);
/* Remark on a field; "history[3][1]" is named "history[][]". */
void reading_remark(const struct reading *r, enum remark kind, const char *field);

/* Append the text of v: a string, or a number, true or false as it is written in the JSON. */
int reading_text(struct str *out, const struct reading *r, const char *field, const json_t *v);
/* Append v as a turn: a text as above; for a system turn it must be a string. */
int reading_turn(const struct reading *r, enum role role, const char *field, const json_t *v);
/* Append a system text when the record has one, under any of its names; absent, null and empty
 * values give none. Two different ones are an error. */
int reading_system(const struct reading *r, const json_t *record);
/* The one value of an answer: the value itself, or the element of a list with one element or with
 * equal ones; also SQuAD's {text: [...]}. */
int reading_one(const json_t **out, const struct reading *r, const char *field, const json_t *v);
/* Append reasoning, as <think>...</think>; the answer follows it. */
int reading_think(struct str *out, const struct reading *r, const char *field, const json_t *v);

/* The names of the parts in a list of messages. */
struct spelling {
    const char *role, *content;
    const char *wanted; /* the usual roles, for messages */
};
/* Append the messages of the array v from number `from` on, or the one object v; `field` is v's
 * name. */
int reading_messages(const struct reading *r, const struct spelling *s, const char *field,
                     const json_t *v, size_t from);
/* Append the preferred answer: a text or messages; everything before it is context. */
int reading_chosen(const struct reading *r, const struct spelling *s, const json_t *record);
/* Append the record's list of tools to the system text, unchanged. */
int reading_tools(const struct reading *r, const json_t *record);

/* Append the exchanges of `history`; absent and null values have none. */
int reading_history(const struct reading *r, const json_t *record);
/* The conversations of self-instruct's record, one for each of `instances`. */
int reading_instances(const struct reading *r, const json_t *v);

/* ---- what a record excludes (exclude.c) ------------------------------------------------------ */

/* Read whether the object is to be trained, under any of the names that other trainers use; *train
 * does not change when it says nothing. `text` is the text to be trained, to compare parts with it.
 * `at` is the object's place, "" for the record. Contradictions, and wishes that cannot be met
 * (0.5, a part of an answer), are errors. */
int reading_train(bool *train, const struct reading *r, const char *at, const json_t *object,
                  const char *text, size_t n, struct used *used);
/* Exclude the whole record from training when it says so, or when it is a bad answer of single
 * judgements. */
int reading_excluded(const struct reading *r, const json_t *record);

#endif
