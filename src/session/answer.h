/* Answers to prompts, handed out as they are made, with what was computed for one kept for the next.
 *
 * The keys and values of the tokens that prompt and answer had stay. What the next prompt begins with as
 * they do is not computed again: in a chat that is all that was said, but for the newest message. The
 * text is that of a fresh start: the logits differ in their last digits, since sums run in another order,
 * which decides a token only where two are equally likely, or a random number lies between them, to about
 * six digits. */
#ifndef LORAC_SESSION_ANSWER_H
#define LORAC_SESSION_ANSWER_H

#include "src/model/generate.h"
#include "src/session/session.h"

/* A piece of an answer, n > 0 bytes that are whole characters of UTF-8 as far as the model makes any, once
 * for each token that completes some. Text of a model is text of others: to a terminal it goes through
 * term_text(). False: the answer ends here. */
typedef bool (*answer_sink)(void *to, const char *text, size_t n);

struct answer_options {
    struct sampling how;
    size_t max_new_tokens;
    const volatile bool *stop; /* looked at between tokens; NULL: never */
    answer_sink sink;          /* NULL: none */
    void *to;
};

/* What stays from one answer to the next. */
struct answerer {
    const struct session *session;
    struct generator g;
    bool begun;        /* g is there, with tokens */
    int32_t *ids;      /* (g.max_keys) the tokens that g has, g.length[0] of them */
    uint32_t *scratch; /* (V) of sampling */
    uint8_t *mute;     /* (V) ids that are never said; NULL: none */
    size_t computed;   /* tokens that have gone through the model since the beginning */
};

/* The session must stay open until answerer_free(). */
int answerer_init(struct answerer *a, const struct session *s, struct err *e);
void answerer_free(struct answerer *a);
/* Keep nothing: the next answer starts afresh, and the memory is given back. */
void answerer_forget(struct answerer *a);

/* Answer the prompt of n tokens until the template's end, max_new_tokens, the end of the context, *stop or
 * a sink that says so. The text, as it is, is also appended to `text` unless that is NULL. An error when
 * the prompt is empty, leaves no room for a token, or the logits are not finite: then the sink has what
 * was made so far. */
int answer(struct answerer *a, struct str *text, const int32_t *prompt, size_t n,
           const struct answer_options *o, struct err *e);

#endif
