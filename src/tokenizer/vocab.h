/* The pieces of a vocabulary: id to bytes, score and type, and back from bytes to id. */
#ifndef LORAC_TOKENIZER_VOCAB_H
#define LORAC_TOKENIZER_VOCAB_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"
#include "src/tokenizer/kinds.h"

enum {
    PIECE_MOST = 4096,    /* bytes of a piece; the longest known one has 256 */
    VOCAB_MOST = 1 << 24, /* pieces: more than in any model, and ids stay exact in a float */
};

/* Where a TOKEN_USER piece is looked for in a text. */
enum piece_search {
    SEARCH_NORMALIZED, /* in the normalised text, by the piece itself: SentencePiece */
    SEARCH_RAW,        /* in the raw text: Hugging Face's normalized = false */
    SEARCH_RAW_LAST,   /* Hugging Face's normalized = true: after the others are cut out, and in
                          normalised text where a normaliser is declared */
};

struct piece {
    uint32_t at, n; /* its bytes in vocab.text */
    float score;
    uint8_t type;        /* enum token_type */
    uint8_t search;      /* enum piece_search */
    bool lstrip, rstrip; /* it takes the white space before or after it */
    bool in_model; /* of a TOKEN_USER piece: merging may make it as well, because Hugging Face's
                      added tokens can be in the model's vocabulary, too */
};

struct vocab {
    struct str text;
    struct piece *pieces;
    size_t n, cap;
    uint32_t *slots; /* open addressing: id + 1, 0 where empty */
    size_t n_slots;
    uint64_t key; /* of the hash: random per process, so no file can force collisions */
};

void vocab_release(struct vocab *v);

/* Append a piece; its id is the number of pieces before it. The bytes must be valid UTF-8, at most
 * PIECE_MOST, and differ from every other piece unless empty (an empty piece is never found).
 * `where` begins the message ("tokenizer.json: vocab"). */
int vocab_add(struct vocab *v, const char *bytes, size_t n, float score, enum token_type type,
              const char *where, struct err *e);

/* The id of a piece, or -1. */
int32_t vocab_find(const struct vocab *v, const char *bytes, size_t n);

static inline const char *vocab_bytes(const struct vocab *v, int32_t id, size_t *n)
{
    const struct piece *p = &v->pieces[id];
    *n = p->n;
    return v->text.p + p->at;
}

/* The hash that vocab_find() uses, for callers that can compute it step by step: of all prefixes of
 * a text by appending bytes, of all suffixes by prepending bytes (`power` starts at 1). */
uint64_t vocab_hash_append(const struct vocab *v, uint64_t hash, uint8_t byte);
uint64_t vocab_hash_prepend(const struct vocab *v, uint64_t hash, uint8_t byte, uint64_t *power);
int32_t vocab_find_hashed(const struct vocab *v, uint64_t hash, const char *bytes, size_t n);

/* A number that nobody outside the process knows. It never changes while the process runs. */
uint64_t process_secret(void);

#endif
