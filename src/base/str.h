/* A growable byte string; always NUL-terminated once something was added, NULs inside allowed.
 *
 * Errors are sticky: after a failed growth every further add does nothing and str_error() reports
 * it, so builders need one check at the end. */
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

/* Append n bytes of untrusted text so that it stays in its line (safe.h); NULs inside are
 * allowed. */
void str_add_safe(struct str *s, const char *text, size_t n);
/* As str_addf(), for a line that people read: the arguments are made safe in it. Line ends may be
 * only at the beginning and the end of fmt, and are kept. */
void str_add_line(struct str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append a word as a shell takes it: quoted if necessary, and in $'...' (bash, zsh, ksh) if it
 * holds characters that must not be shown as they are. */
void str_add_shell(struct str *s, const char *word);

/* Keep the buffer, forget the content. */
void str_clear(struct str *s);
void str_free(struct str *s);

/* 0, or the out-of-memory error of an earlier add. */
int str_error(const struct str *s, struct err *e);

/* A count with its noun: "1 record", "2 records", "0 matrices" of "matrix". In one of eight
 * rotating buffers of the calling thread; the noun has at most 48 bytes. */
const char *str_count(uint64_t n, const char *noun);

/* Whether a name ends in `tail`, such as ".gguf", and has more than that. */
bool str_ends_with(const char *text, const char *tail);

/* How different two words are (Damerau-Levenshtein distance, capped, capitals as small letters):
 * for "did you mean". */
size_t str_distance(const char *a, const char *b);

/* The nearest of many candidates: start with .word set, and call str_nearest_try() for each. .best
 * is then the closest, the first of equals, or NULL if all differ in more than a third of the
 * letters. */
struct str_nearest {
    const char *word, *best;
    size_t distance;
};
void str_nearest_try(struct str_nearest *s, const char *candidate);

/* The nearest to `word` of the words in `words`, which spaces separate, or the first that begins
 * with it; in static storage until the next call, NULL when there is none. */
const char *str_nearest_word(const char *word, const char *words);

#endif
