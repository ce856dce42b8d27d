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
    bool first[256]; /* whether some word begins with the byte */
};

void match_release(struct match *m);
/* Add a word of at least one byte. Of equal words (normalising can make two equal) the lowest id is
 * found. */
int match_add(struct match *m, const char *bytes, size_t n, int32_t id, struct err *e);
void match_seal(struct match *m);

/* The length of the longest word that begins the n bytes at `text`, with its id; 0: none. */
size_t match_at(const struct match *m, const char *text, size_t n, int32_t *id);

#endif
