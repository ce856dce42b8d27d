/* The lines of `lorac chat` that begin with / : a table of commands to the program itself. */
#ifndef LORAC_COMMANDS_CHAT_SLASH_H
#define LORAC_COMMANDS_CHAT_SLASH_H

#include "src/session/chat.h"

enum slash {
    SLASH_TEXT,  /* not a command: to be said to the model */
    SLASH_DONE,  /* done, or an error that was printed */
    SLASH_AGAIN, /* answer what was said last once more */
    SLASH_END
};

/* Do what the line asks. `line` is not empty and ends in a NUL. What there is to say goes to
 * stderr. */
enum slash chat_slash(struct chat *c, const char *line);

#endif
