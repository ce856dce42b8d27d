/* A growable byte string; always NUL-terminated once something was added, NULs inside allowed.
 *
 * Errors are sticky: after a failed growth every further add is a no-op and str_error() tells, so
 * that builders need one check at the end. */
#ifndef LORAC_BASE_STR_H
#define LORAC_BASE_STR_H

#include <stdarg.h>
#include <stdint.h>

#include "src/base/err.h"

struct str {
    char *p;
    size_t n, cap;
    bool failed;
};

void str_add(struct str *s, const char *bytes, size_t n);
void str_addz(struct str *s, const char *text);
void str_addc(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append text of others so that it stays in its line, as safe.h says; n bytes, NULs inside allowed. */
void str_add_safe(struct str *s, const char *text, size_t n);
/* As str_addf(), for a line that people read: whatever the arguments hold is safe in it. Line ends
 * stand only at the beginning and the end of fmt, and stay. */
void str_add_line(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append a word as a shell takes it: quoted where it has to be, in $'...' (bash, zsh, ksh) where it
 * holds what must not be shown as it is. */
void str_add_shell(struct str *s, const char *word);

/* Keep the buffer, forget the content. */
void str_clear(struct str *s);
void str_free(struct str *s);

/* 0, or the out-of-memory error of an earlier add. */
int str_error(const struct str *s, struct err *e);

/* A count with its noun: "1 record", "2 records", "0 matrices" of "matrix". In one of eight rotating
 * buffers of the calling thread; the noun has at most 48 bytes. */
const char *str_count(uint64_t n, const char *noun);

/* Words close to each other (Damerau-Levenshtein distance, capped, capitals as small letters): for
 * "did you mean". */
size_t str_distance(const char *a, const char *b);

/* The same over many candidates: start with .word set, str_nearest_try() each; .best is then the
 * closest, or NULL when none differs in less than a third of its letters. The first of equals. */
struct str_nearest {
    const char *word, *best;
    size_t distance;
};
void str_nearest_try(struct str_nearest *s, const char *candidate);

/* The nearest to `word` of the words in `words`, which spaces separate, or the first that begins with
 * it; in static storage until the next call, NULL when there is none. */
const char *str_nearest_word(const char *word, const char *words);

#endif
