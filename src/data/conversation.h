/* One training record, whatever shape its file had. */
#ifndef LORAC_DATA_CONVERSATION_H
#define LORAC_DATA_CONVERSATION_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT };

/* How a record is to be tokenised. */
enum record_kind {
    RECORD_CHAT,   /* turns, rendered by a template */
    RECORD_ALPACA, /* like a chat of one exchange, but the user turn keeps `input` apart: alpaca
                      templates place it under its own heading, others join it with a blank line */
    RECORD_PLAIN,  /* prompt/completion without a template: turns are concatenated as they are */
    RECORD_TEXT,   /* one text, everything is a target */
    RECORD_TOKENS, /* input_ids and labels as given */
};

struct turn {
    enum role role;
    const char *text; /* NUL-terminated for convenience; `n` counts, NULs inside are possible */
    size_t n;
    const char *input; /* RECORD_ALPACA's user turn: its input, or NULL */
    size_t input_n;
    bool train; /* of an assistant turn: its tokens are targets */
};

/* Memory belongs to the record and is reused by the next conversation_clear(). */
struct conversation {
    enum record_kind kind;
    struct turn *turns;
    size_t n, cap;
    int32_t *ids, *labels; /* RECORD_TOKENS; labels -100: no loss */
    size_t n_ids, ids_cap;
    struct str text; /* storage of all strings */
};

#endif
