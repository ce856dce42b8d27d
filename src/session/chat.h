/* A conversation with a session: what was said, and what the model has computed for it (answer.h).
 * It is not stored anywhere.
 *
 *     chat_init(&c, &session, "Answer in one sentence.", e);
 *     chat_say(&c, ROLE_USER, text, n, e);
 *     chat_answer(&c, &options, e);        the sink gets the answer, and c remembers it
 *     chat_free(&c); */
#ifndef LORAC_SESSION_CHAT_H
#define LORAC_SESSION_CHAT_H

#include "src/session/answer.h"

struct chat_message {
    enum role role;
    struct str text;
};

struct chat {
    struct answerer answerer;
    const char *system; /* NULL: none; the caller keeps it as long as the chat */
    struct chat_message *said;
    size_t n;
    struct encoded prompt; /* made of what was said, when `encoded` */
    bool encoded;
};

/* The session must stay open until chat_free(), and has a tokenizer. */
int chat_init(struct chat *c, const struct session *s, const char *system, struct err *e);
void chat_free(struct chat *c);

/* Add a message (UTF-8). */
int chat_say(struct chat *c, enum role role, const char *text, size_t n, struct err *e);

/* Make the prompt of what was said (c->prompt) so that there is room for an answer. If needed, the
 * oldest exchanges are forgotten, *forgot of them. chat_answer() calls it if the caller did not. */
int chat_make_prompt(size_t *forgot, struct chat *c, struct err *e);

/* Answer what was said last. The answer is added to what was said; bytes of it that are not UTF-8
 * become U+FFFD, since they could not be tokenised again. */
int chat_answer(struct chat *c, const struct answer_options *o, struct err *e);

/* Forget what was said; the system text stays. */
void chat_forget(struct chat *c);

#endif
