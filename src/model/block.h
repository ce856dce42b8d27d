/* One block of a Llama on the rows of a pass: forward and its backward.
 *
 *     x1 = rmsnorm(h);  q, k, v = x1 W^T + LoRA;  rope(q, k);  att = attention(q, k, v)
 *     mid = h + att Wo^T + LoRA
 *     x2 = rmsnorm(mid);  gate = x2 Wg^T + LoRA;  up = x2 Wu^T + LoRA;  y = silu(gate) * up
 *     out = mid + y Wd^T + LoRA
 *
 * Training, evaluation and generation run the same forward. */
#ifndef LORAC_MODEL_BLOCK_H
#define LORAC_MODEL_BLOCK_H

#include "src/model/activations.h"

/* Keys and values of a block for every token of several sequences (generation). The pass has one
 * segment for each sequence: all its tokens so far; or the newest one; or, of a single sequence,
 * the newest ones. */
struct cache {
    real *k, *v;            /* (n_seq, max_keys, G, D) */
    const uint32_t *length; /* (n_seq) tokens of each sequence, those of the pass included */
    const uint32_t *keys;   /* (T) tokens that a row of the pass sees, itself included */
    size_t max_keys;
    size_t stride; /* from one row's keys to the next row's: a sequence, or 0 where it is one */
    real *scores;  /* (T, H, max_keys) workspace of attention */
};

/* A block at work on a pass. */
struct block {
    size_t layer;
    const struct pass *pass;
    struct rows rows; /* that go on after attention; from there on there are rows.n, not T */
    const struct dropout *drop; /* NULL: none */
    const struct cache *cache;  /* NULL: keys and values are those of the pass */
};

/* out (rows.n, C) = the block's output from a->h (T, C), and into `a` everything that the backward
 * needs. out may be a->h where h is not needed again, and then a->mid may be it too. The keys and
 * values join the cache. With limits.bf16 mid is rounded.
 *
 * Recomputation repeats a part of it: from = KEEP_NO_MLP: what comes after mid, instead of what
 * comes after h (KEEP_INPUT); out = NULL: all but y, out and the down projection's u. */
void block_forward(struct network *n, const struct block *b, const struct layer_act *a,
                   enum keep from, real *out);

/* n->dh: in, the gradient of out (rows.n, C); out, that of h (T, C), unless `lowest`: nothing below
 * needs it, and only what this block's pairs need is computed. Gradients of its pairs = into grad,
 * which has the layout of the parameters. Overwrites gate, up and, with fewer rows, att. */
void block_backward(struct network *n, const struct block *b, const struct layer_act *a,
                    bool lowest, real *grad);

#endif
