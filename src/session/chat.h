/* A conversation with a session: what was said, and what the model has computed for it (answer.h).
 * It is not stored anywhere; chat_write() gives it as text.
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
    char *system; /* NULL: none */
    struct chat_message *said;
    size_t n;
    size_t forgot;         /* exchanges that had to make room since the beginning */
    struct encoded prompt; /* made of what was said, when `encoded` */
    bool encoded;
};

/* The session must stay open until chat_free(), and has a tokenizer. The system text is copied;
 * NULL: none. */
int chat_init(struct chat *c, const struct session *s, const char *system, struct err *e);
void chat_free(struct chat *c);

/* Answer with another system text from now on (NULL: none). What was said stays. An error, and no
 * change, if the template has no place for one. */
int chat_set_system(struct chat *c, const char *system, struct err *e);

/* Answer with or without the session's adapter from now on. What was said stays, and what was
 * computed for it is computed again. */
void chat_use_adapter(struct chat *c, bool on);

/* Add a message (UTF-8). */
int chat_say(struct chat *c, enum role role, const char *text, size_t n, struct err *e);

/* Remove the newest message, if there is one. */
void chat_take_back(struct chat *c);
/* Remove the newest answer, so that chat_answer() answers the same message again. False if nothing
 * was said that could be answered. */
bool chat_again(struct chat *c);

/* Make the prompt of what was said (c->prompt) so that there is room for an answer. If needed, the
 * oldest exchanges are forgotten, *forgot of them. It is an error if the newest message has no room
 * even alone: then nothing is forgotten, and chat_take_back() removes it. chat_answer() calls this
 * if the caller did not. */
int chat_make_prompt(size_t *forgot, struct chat *c, struct err *e);

/* Answer what was said last. The answer is added to what was said; bytes of it that are not UTF-8
 * become U+FFFD, since they could not be tokenised again. */
int chat_answer(struct chat *c, const struct answer_options *o, struct err *e);

/* Forget what was said; the system text stays. */
void chat_forget(struct chat *c);

/* Append the conversation as a line of JSON with its line end: a record of the `messages` format
 * (datasets/README.md), to be trained on. */
int chat_write(struct str *out, const struct chat *c, struct err *e);

#endif
