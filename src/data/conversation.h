/* One training record, whatever shape its file had. */
#ifndef LORAC_DATA_CONVERSATION_H
#define LORAC_DATA_CONVERSATION_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };

const char *role_name(enum role r); /* "system", "user", "assistant" */

/* How a record is to be tokenised. */
enum record_kind {
    RECORD_CHAT,   /* turns, rendered by a template */
    RECORD_ALPACA, /* the same, but a user turn may keep its `input` apart: alpaca templates place
                      it under its own heading, others join it with a blank line */
    RECORD_TEXT,   /* one text (turns[0]), everything is a target */
    RECORD_TOKENS, /* input_ids and labels as given */
};

enum { LABEL_NONE = -100 }; /* of a token without loss */

struct turn {
    enum role role;
    const char *text; /* NUL-terminated for convenience; `n` counts, NULs inside are possible */
    size_t n;
    const char *input; /* RECORD_ALPACA's user turn: its input, or NULL; never empty */
    size_t input_n;
    bool train; /* of an assistant turn: its tokens are targets */
};

/* Zero-initialised it is empty. Its memory is reused after conversation_clear(). */
struct conversation {
    enum record_kind kind;
    struct turn *turns;
    size_t n, cap;
    int32_t *ids, *labels; /* RECORD_TOKENS; labels are LABEL_NONE or the id */
    size_t n_ids, ids_cap;
    struct str text; /* storage of all strings */
};

void conversation_clear(struct conversation *c, enum record_kind kind);
void conversation_free(struct conversation *c);

/* Append a turn with a copy of its text; an assistant's is trained unless `train` is cleared
 * afterwards. `text` must not lie in the conversation itself. */
int conversation_add(struct conversation *c, enum role role, const char *text, size_t n,
                     struct err *e);
/* Give the last turn an input; an empty one is none. */
int conversation_add_input(struct conversation *c, const char *text, size_t n, struct err *e);
/* Append a token of RECORD_TOKENS. */
int conversation_add_id(struct conversation *c, int32_t id, int32_t label, struct err *e);

#endif
