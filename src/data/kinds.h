/* Malformed records, counted by what is wrong with them: messages that differ in their place and
 * their numbers only are of one kind. */
#ifndef LORAC_DATA_KINDS_H
#define LORAC_DATA_KINDS_H

#include "src/base/err.h"
#include "src/base/str.h"

enum { KINDS_MOST = 16 }; /* kinds kept apart; later ones are counted together */

struct kind {
    size_t n, first_line;
    char text[200]; /* "completion: found nothing, wanted a string" */
};

struct kinds {
    struct kind at[KINDS_MOST];
    size_t n, others;
};

/* A record that begins on that line of `path` has this message. */
void kinds_add(struct kinds *k, const struct err *why, const char *path, size_t line);

/* A line "  12 x TEXT (first on line 7)" for each, each begun with `indent`. */
void kinds_print(struct str *out, const struct kinds *k, const char *indent);

#endif
