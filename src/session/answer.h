/* Answers to prompts, handed out as they are made; what was computed for one is kept for the next.
 *
 * The keys and values of the tokens of prompt and answer are kept. If the next prompt begins with
 * the same tokens, these are not computed again: in a chat, all but the newest message. The text is
 * that of a fresh start. The logits differ in their last digits, since sums run in another order;
 * this decides a token only where two are equally likely, or a random number lies between them, to
 * about six digits. */
#ifndef LORAC_SESSION_ANSWER_H
#define LORAC_SESSION_ANSWER_H

#include "src/model/generate.h"
#include "src/session/session.h"

/* It gets the pieces of an answer: n > 0 bytes of whole UTF-8 characters (if the model makes valid
 * ones), once for each token that completes any. The text of a model is not trusted: it must go to
 * a terminal through term_text(). False: the answer ends here. */
typedef bool (*answer_sink)(void *to, const char *text, size_t n);

struct answer_options {
    struct sampling how;
    size_t max_new_tokens;
    const volatile bool *stop; /* looked at between tokens; NULL: never */
    answer_sink sink;          /* NULL: none */
    void *to;
};

/* The state that stays from one answer to the next. */
struct answerer {
    const struct session *session;
    bool base_only; /* the session's adapter is left out; a change needs answerer_forget() first */
    struct generator g;
    bool begun;        /* g exists and holds tokens */
    int32_t *ids;      /* (g.max_keys) the g.length[0] tokens that g holds */
    uint32_t *scratch; /* (V) for sampling */
    uint8_t *mute;     /* (V) ids that are never generated; NULL: none */
    size_t computed;   /* tokens that have gone through the model since the beginning */
};

/* The session must stay open until answerer_free(). */
int answerer_init(struct answerer *a, const struct session *s, struct err *e);
void answerer_free(struct answerer *a);
/* Keep nothing: the next answer starts afresh, and the memory is given back. */
void answerer_forget(struct answerer *a);

/* Answer the prompt of n tokens. The answer ends at the template's end, at max_new_tokens, at the
 * end of the context, or when *stop or the sink asks for it. The text is also appended to `text`
 * unless that is NULL. It is an error if the prompt is empty or leaves no room for a token, or if
 * the logits are not finite: then the sink has what was made so far. */
int answer(struct answerer *a, struct str *text, const int32_t *prompt, size_t n,
           const struct answer_options *o, struct err *e);

#endif
