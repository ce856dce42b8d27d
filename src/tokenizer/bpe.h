/* Byte-pair encoding: the one algorithm of every tokenizer.
 *
 * A text is a row of symbols. Of all neighbours that a rule joins, the pair with the lowest rank is
 * joined first, and of equal ranks the leftmost, until no rule applies. A linked list of symbols
 * and a heap of (rank, position) make this O(n log n).
 *
 * A symbol is an id of the vocabulary, or a number above it for a character that is not a piece but
 * begins or ends one, or BPE_NONE for a character that no rule mentions.
 *
 * Sources: Sennrich, Haddow, Birch, "Neural machine translation of rare words with subword units"
 * (ACL 2016); order, ties and unused pieces are as in SentencePiece's bpe_model.cc and in
 * models/bpe of Hugging Face tokenizers. */
#ifndef LORAC_TOKENIZER_BPE_H
#define LORAC_TOKENIZER_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

#define BPE_NONE UINT32_MAX

struct bpe_rule {
    uint32_t left, right, rank, joined; /* an empty slot has rank BPE_NONE */
};

/* The rules, by pair. Immutable after the last bpe_add(). */
struct bpe {
    struct bpe_rule *slots;
    size_t n, n_slots;
    uint64_t secret[2];
    /* Pieces that are joined on the way but must not come out (SentencePiece's type UNUSED): their
     * number from 0 by symbol, BPE_NONE for others. NULL when there are none. */
    uint32_t *unused;
    size_t n_symbols, n_unused;
};

int bpe_init(struct bpe *b, struct err *e);
void bpe_release(struct bpe *b);
/* The pair must not have a rule yet; ranks are below BPE_NONE. */
int bpe_add(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t joined,
            struct err *e);
/* The rule for a pair, or NULL. */
const struct bpe_rule *bpe_find(const struct bpe *b, uint32_t left, uint32_t right);

struct bpe_symbol {
    uint32_t id, start;    /* the symbol, and the offset at which it begins */
    uint32_t prev, next;   /* neighbours, BPE_NONE at the ends */
    uint32_t rank, joined; /* of the rule for this symbol and the next; BPE_NONE: no rule */
};

struct bpe_pair {
    uint32_t left, right;
};

/* Scratch memory of one thread, reused from text to text. */
struct bpe_work {
    struct bpe_symbol *symbols; /* after bpe_run(): follow `next` from 0 */
    size_t n, cap;
    uint64_t *heap;
    size_t heap_n;
    struct bpe_pair *undo; /* by the number of an unused piece: the pair that made it last */
    uint64_t steps;        /* pairs looked up and heap moves since the start, for tests */
};

void bpe_work_release(struct bpe_work *w);
/* Prepare for texts under these rules (forgets how unused pieces were made). */
int bpe_work_begin(struct bpe_work *w, const struct bpe *b, struct err *e);
/* Room for n symbols; forgets the ones that were there. */
int bpe_work_reserve(struct bpe_work *w, size_t n, struct err *e);
/* Append a symbol within what was reserved. */
static inline void bpe_put(struct bpe_work *w, uint32_t id, size_t start)
{
    w->symbols[w->n++] = (struct bpe_symbol){ .id = id, .start = (uint32_t)start };
}
/* Join what the rules join. */
void bpe_run(struct bpe_work *w, const struct bpe *b);

/* How an unused piece was made; {BPE_NONE, BPE_NONE} when the symbol is not an unused piece. */
struct bpe_pair bpe_undo(const struct bpe_work *w, const struct bpe *b, uint32_t id);

#endif
