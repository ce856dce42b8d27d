/* An answer to a prompt, written to stdout as it comes: what generate and chat have in common. */
#ifndef LORAC_COMMANDS_ANSWER_H
#define LORAC_COMMANDS_ANSWER_H

#include "src/commands/inference.h"
#include "src/model/generate.h"

struct answer_options {
    struct sampling how;
    size_t max_new_tokens;
    const volatile bool *stop; /* looked at between tokens; NULL: never */
};

/* Generate behind the prompt `in` until the template's end, max_new_tokens, the end of the context or
 * *stop. Each token is written and flushed as soon as its characters are whole; on a terminal control
 * characters other than line ends and tabs, and what is not UTF-8, appear as U+FFFD. The text, as it
 * is, is also appended to `text` unless that is NULL. An error when the prompt leaves no room for a
 * token. */
int answer_write(struct str *text, const struct inference *x, const struct encoded *in,
                 const struct answer_options *o, struct err *e);

#endif
