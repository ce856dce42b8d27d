/* Options of sub-commands, from a table.
 *
 * --name VALUE, --name=VALUE, -o VALUE, -oVALUE, flags without a value, anywhere among the other
 * arguments; `--` ends them and `-` is an argument. An option is given once, unless its row has a
 * list. The pointer that a row sets says what kind of option it is, so the compiler checks it. */
#ifndef LORAC_COMMANDS_OPTIONS_H
#define LORAC_COMMANDS_OPTIONS_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

/* The values of an option that may be repeated. */
enum { OPTION_LIST_MAX = 64 };
struct option_list {
    const char *at[OPTION_LIST_MAX];
    size_t n;
};

struct option {
    const char *name;  /* "max-new-tokens" */
    char letter;       /* 'o' for -o, or 0 */
    const char *value; /* what --help calls the value: "M"; NULL for a flag */
    const char *help;
    const char *allowed; /* for a number "[0, 1]"; for a text its words, "never auto"; or NULL */
    /* One of these is set; its target holds the default until the option is given. */
    bool *flag;
    const char **text;
    int64_t *integer;
    double *real;
    struct option_list *list;
};

/* Read argv[0 .. argc): options are stored, the other arguments are moved to the front of argv and
 * *n_args is their number. `options` may be NULL. The message of ERR_USAGE names the option, what
 * was found and what was wanted. */
int options_parse(const struct option *options, int argc, char **argv, int *n_args, struct err *e);

/* Help is wrapped at words: at 80 columns, on a narrower terminal at its width. */

/* Append a table of the options: spelling and help. */
void options_add_help(struct str *out, const struct option *options);

/* Append one line of such a table. */
void options_add_row(struct str *out, const char *left, const char *help);

/* Append one line of text; what does not fit goes on below it, after `indent` spaces. */
void options_add_line(struct str *out, const char *line, int indent);

/* Append a text of several lines. A line ends where it ends a sentence (with . or :), and before a
 * line that explains one word, "check     validate ...". Empty lines, and lines that begin with a
 * space, stay as they are. */
void options_add_about(struct str *out, const char *about);

/* One part of such a text: `n` bytes without their last line end. hang > 0: a definition, whose
 * word is followed by its explanation at `hang`. kept: a line that stays as it is, or an empty one.
 * Otherwise a paragraph, which may have line breaks within. */
struct about {
    const char *text;
    size_t n, hang;
    bool kept;
};

/* Take the next part from *at, which moves on; false at the end. */
bool about_next(struct about *part, const char **at);

#endif
