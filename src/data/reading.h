/* What the readers of format_*.c share: one JSON value on its way into a conversation.
 *
 * Errors begin with `where`, then name the field; the conversation's fault says of what kind they
 * are. Text of the record is never in them. */
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
    const struct record_columns *columns; /* none given: the usual names */
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

/* "where: field: " and the message. */
int reading_fault(const struct reading *r, enum fault f, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The field holds v, NULL when it is not there; the error says what was wanted. */
int reading_unwanted(const struct reading *r, const char *field, const json_t *v,
                     const char *wanted);

/* Note that the record's column `key` is known. */
void reading_use(const struct reading *r, const char *key);
void used_add(struct used *u, const char *key);
/* Remark on every member of the object that is neither used nor null nor empty; `at` is its place,
 * "" for the record. */
void reading_leftover(const struct reading *r, const char *at, const json_t *object,
                      const struct used *used);
/* Remark on a field: of "history[3][1]" as "history[][]". */
void reading_remark(const struct reading *r, enum remark kind, const char *field);

/* Append the text of v: a string, or a number, true or false as the JSON has it. */
int reading_text(struct str *out, const struct reading *r, const char *field, const json_t *v);
/* Append v as a turn: a text as above, of a system turn a string. */
int reading_turn(const struct reading *r, enum role role, const char *field, const json_t *v);
/* Append a system text when the record has one, under any of its names; absent, null and empty are
 * none. Two that differ are an error. */
int reading_system(const struct reading *r, const json_t *record);
/* The one value of an answer: itself, or what a list of one, or of equal ones, holds; SQuAD's
 * {text: [...]} too. */
int reading_one(const json_t **out, const struct reading *r, const char *field, const json_t *v);
/* Append reasoning in front of its answer, as <think>...</think>. */
int reading_think(struct str *out, const struct reading *r, const char *field, const json_t *v);

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

/* Append the exchanges of `history`; absent and null are none. */
int reading_history(const struct reading *r, const json_t *record);
/* The conversations of self-instruct's record, one for each of `instances`. */
int reading_instances(const struct reading *r, const json_t *v);

/* ---- what a record excludes (exclude.c) ----------------------------------------------------- */

/* What the object says itself on whether it is trained, under any of the names of other trainers:
 * *train is left as it was when it says nothing. `text` is what is to be trained, for parts of it.
 * `at` is the object's place, "" for the record. Contradictions, and what cannot be done (0.5, a
 * part of an answer), are errors. */
int reading_train(bool *train, const struct reading *r, const char *at, const json_t *object,
                  const char *text, size_t n, struct used *used);
/* Take all of the record out of training when it says so, or when it is a bad answer of single
 * judgements. */
int reading_excluded(const struct reading *r, const json_t *record);

#endif
