/* One training record, whatever the shape of its file: a row of turns, or a forest of turns. */
#ifndef LORAC_DATA_CONVERSATION_H
#define LORAC_DATA_CONVERSATION_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

const char *role_name(enum role r); /* "system", "user", "assistant", "tool" */

/* The faults of malformed records, as summaries count them. */
#define RECORD_FAULTS(F)                                                                           \
    F(JSON, "not valid JSON")                                                                      \
    F(TABLE, "not valid CSV")                                                                      \
    F(UTF8, "not valid UTF-8")                                                                     \
    F(SIZE, "too large")                                                                           \
    F(KEY, "lacking a key")                                                                        \
    F(TYPE, "with a value of the wrong type")                                                      \
    F(VALUE, "with a wrong value")                                                                 \
    F(ROLE, "with an unknown role")                                                                \
    F(ORDER, "with turns out of order")                                                            \
    F(TARGETS, "without a target")

#define RECORD_FAULT_ENUM(upper, text) FAULT_##upper,
enum fault { RECORD_FAULTS(RECORD_FAULT_ENUM) FAULTS };

const char *fault_name(enum fault f); /* "not valid JSON", ...: "3 " before it makes a phrase */

/* How a record is to be tokenised. */
enum record_kind {
    RECORD_CHAT,     /* turns, rendered by a template */
    RECORD_ALPACA,   /* the same, but a user turn may have a separate `input`: alpaca templates
                        place it under its own heading, others join it with a blank line */
    RECORD_TEXT,     /* one text (turns[0]), everything is a target */
    RECORD_TOKENS,   /* input_ids and labels as given */
    RECORD_SEGMENTS, /* texts as given, special tokens spelt out; an assistant's are targets */
};

/* Things that a reader did with a part of a record and that the user may not expect: they are
 * counted per file and reported in a note (remarks.h). */
enum remark {
    REMARK_UNUSED,    /* a column, or a member of a message, that was not read */
    REMARK_SCALAR,    /* a number, true or false that was read as text */
    REMARK_JOINED,    /* columns that are the same part of the prompt, joined */
    REMARK_REASONING, /* reasoning that was put before its answer */
    REMARK_INDEX,     /* a number that was read as the index of a choice */
    REMARK_EMPTY,     /* an answer of only white space, which is learnt */
    REMARK_ENCODED,   /* a list of messages in a text, which was read as text */
    REMARK_MEDIA,     /* images, sound or videos, not read, with marks in the texts */
    REMARK_KINDS
};

enum { LABEL_NONE = -100 };      /* of a token without loss */
enum { TURN_ROOT = UINT32_MAX }; /* the parent of a turn that has no parent */

struct turn {
    enum role role;
    const char *text; /* NUL-terminated for convenience; `n` counts, NULs inside are possible */
    size_t n;
    const char *input; /* RECORD_ALPACA's user turn: its input, or NULL; never empty */
    size_t input_n;
    bool train;      /* an assistant turn whose tokens are targets */
    bool listed;     /* a user's text that ends in a list: the plain template ends its last line */
    bool context;    /* no token of it is ever a target, even with train_on: everything */
    uint32_t parent; /* in a forest: the earlier turn that it answers, or TURN_ROOT */
};

/* It is empty when zero-initialised. Its memory is reused after conversation_clear(). */
struct conversation {
    enum record_kind kind;
    struct turn *turns;
    size_t n, cap;
    int32_t *ids, *labels; /* RECORD_TOKENS; labels are LABEL_NONE or the id */
    size_t n_ids, ids_cap;
    struct str text;    /* storage of all strings */
    bool forest;        /* turns are linked by `parent`: each path from a root is a chat */
    bool every_path;    /* of a forest: each path is a separate example, trained as a whole; else
                           the paths are one item in which each turn is trained once */
    bool chosen;        /* preference data: the rejected answers are left out */
    enum fault fault;   /* of the record that could not be read */
    struct str remarks; /* for each: the letter 'a' + enum remark, the name, a NUL */
};

void conversation_clear(struct conversation *c, enum record_kind kind);
void conversation_free(struct conversation *c);

/* Append a turn with a copy of its text; an assistant's is trained unless `train` is cleared
 * afterwards. `text` must not lie in the conversation itself. */
int conversation_add(struct conversation *c, enum role role, const char *text, size_t n,
                     struct err *e);
/* Append n more bytes to the text of the last turn, which has no input yet. */
int conversation_extend(struct conversation *c, const char *text, size_t n, struct err *e);
/* Give the last turn an input; an empty text gives it none. */
int conversation_add_input(struct conversation *c, const char *text, size_t n, struct err *e);
/* Remark on the part called `name` (a key, or "messages[].key"), once per record. At most
 * CONVERSATION_REMARKS_BYTES are kept; further remarks are dropped. */
enum { CONVERSATION_REMARKS_BYTES = 4096 };
void conversation_remark(struct conversation *c, enum remark kind, const char *name);
/* Make sure that no token of the record is ever a target. */
void conversation_exclude(struct conversation *c);
/* Append a token of RECORD_TOKENS. */
int conversation_add_id(struct conversation *c, int32_t id, int32_t label, struct err *e);

#endif
