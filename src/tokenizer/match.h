/* Finding whole strings in a text: added tokens, which are cut out before the encoder runs. */
#ifndef LORAC_TOKENIZER_MATCH_H
#define LORAC_TOKENIZER_MATCH_H

#include "src/base/err.h"
#include "src/base/str.h"

#include <stdint.h>

struct match_word {
    uint32_t at, n; /* bytes in match.text */
    int32_t id;
};

struct match {
    struct str text;
    struct match_word *words; /* sorted by bytes after match_seal() */
    size_t n, cap;
    bool first[256]; /* whether any word begins with the byte */
};

void match_release(struct match *m);
/* Add a word of at least one byte. Of equal words (normalising can make two equal) match_at() finds
 * the lowest id. */
int match_add(struct match *m, const char *bytes, size_t n, int32_t id, struct err *e);
void match_seal(struct match *m);

/* The length and the id of the longest word with which the n bytes at `text` begin; 0: none. */
size_t match_at(const struct match *m, const char *text, size_t n, int32_t *id);

#endif
