/* What a person says to `lorac chat`, a turn at a time: edited on a terminal, or read from a pipe
 * or file line by line. A line that ends in a backslash continues in the next one. */
#ifndef LORAC_COMMANDS_CHAT_INPUT_H
#define LORAC_COMMANDS_CHAT_INPUT_H

#include "src/base/edit.h"

struct chat_input {
    struct keyboard keys;
    struct edit *editor; /* NULL: lines are read as they come */
};

/* Notes about what the terminal lacks go to stderr. */
int chat_input_open(struct chat_input *in, struct err *e);
void chat_input_close(struct chat_input *in);

/* INPUT_NONE: nothing was said, and the reason is on stderr. */
enum input { INPUT_TEXT, INPUT_NONE, INPUT_END };

enum { INPUT_BYTES = EDIT_PASTE_BYTES }; /* a turn; a longer one is dropped with a message */

/* Read a turn into `text`. */
enum input chat_input_read(struct str *text, struct chat_input *in);

/* Around an answer: what is typed meanwhile is not shown in it. An editor shows it at the next
 * prompt; without one it is dropped, which is said. */
void chat_input_pause(struct chat_input *in);
void chat_input_resume(struct chat_input *in);

#endif
