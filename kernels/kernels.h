/* Numerics on raw arrays: every forward beside its backward. The maths is in kernels/README.md.
 *
 * Dimensions, everywhere in lorac:
 *   T  tokens of a pass          C  hidden size
 *   H  query heads               G  key/value heads (H is a multiple of G)
 *   D  size of one head          F  hidden size of the MLP
 *   V  vocabulary                r  rank of the adapter
 *   M, N, K  rows, columns, inner size of a product
 *
 * Arrays are row-major, `real` (float; double in gradient-check builds). In the comments `=` is an
 * output that is overwritten, `+=` one that is added to; gradients are `d` + name.
 *
 * One portable source per kernel, compiled once per instruction set (kernels/all.c); which one runs
 * is decided once, at start, by kernels_choose(). Kernels return void and check nothing: callers
 * do; sizes are at least 1. They allocate nothing: workspace comes from the caller, sized by the
 * *_work_bytes() next to them for the number of OpenMP threads at that moment. They use all OpenMP
 * threads and give the same bits for any number of them. */
#ifndef LORAC_KERNELS_KERNELS_H
#define LORAC_KERNELS_KERNELS_H

#include <stdbool.h>

#include "kernels/types.h"
#include "src/base/wordlists.h"

/* One product inside a sum of products: C (M, N) = a (M, K) * B (K, N).
 * B is a frozen weight in its storage type (w) or an array of real (b, ldb). `b_rows` says how it
 * is stored: true, as N rows of K values (a layer's forward, x * W^T); false, as K rows of N values
 * (its backward, dy * W). a_cols: a is stored transposed, K rows of M values. */
struct term {
    const real *a;
    size_t lda;
    const struct matrix *w;
    const real *b;
    size_t ldb;
    size_t K;
    bool a_cols, b_rows;
};

/* One product of a few rows (generation, one token at a time): y = or += x * B^T for y (M, N; ldy)
 * and x (M, K; ldx). B is N rows of K values, a frozen weight (w) or an array of real (b, ldb). */
struct row_product {
    real *y;
    const real *x;
    size_t ldy, ldx;
    const struct matrix *w;
    const real *b;
    size_t ldb;
    size_t N, K;
    bool accumulate;
};

/* A run of consecutive rows of a pass that are consecutive tokens of a text: a node of the pass's
 * trie. A row attends to every row of the segment's ancestors and to the rows of its own segment up
 * to itself. Segments cover the rows of the pass one after the other, without gaps; parents come
 * before their children, and a tree's segments are neighbours. */
struct segment {
    uint32_t start, len; /* rows [start, start + len) */
    int32_t parent;      /* index of the parent segment, -1 at a root */
    uint32_t pos;        /* position of the first row in its text (RoPE) */
    uint32_t tree;       /* number of the tree, counted from 0 */
};

/* Which elements dropout keeps: a function of these and of (example, position, channel) of an
 * element, nothing else, so passes and threads do not matter. */
struct dropout {
    real p; /* probability of zero, below 1; kept values are divided by 1 - p */
    uint64_t seed;
    uint32_t step, layer, input; /* input: which tensor of the layer */
};

/* What a step of AdamW needs. In double: 1 - beta2 of a float 0.999 would be off by 1e-5. */
struct adamw {
    double lr, beta1, beta2, eps, weight_decay;
    double correction1, correction2; /* 1 - beta1^t, sqrt(1 - beta2^t) */
    double grad_scale;               /* clipping's factor on the gradient */
};

enum { ATTENTION_D_MAX = 384 };

/* enum compute is the arithmetic of products with frozen weights, which are those of terms and
 * row_products with a weight (w). F32: operands are floats. BF16: both operands are rounded to bf16
 * (to nearest, ties to even) and their products are summed in f32; in matmul the order of the sums,
 * and so the bits of these terms, are the same on all sets (matmul_bf16.c). All else is computed in
 * f32 in both. */

/* Which kernel computes products with frozen weights, and why. */
struct product_choice {
    const char *isa; /* that of struct kernels, or avx512bf16 */
    const char *why; /* for people: "measured", ...; "" in f32, where nothing is chosen */
    /* Multiply-adds in registers on all threads, in FLOP/s: by f32 instructions, which are those of
     * bf16 without its own instruction too, and by the bf16 instruction. 0: not measured, because
     * there was nothing to choose. */
    double f32_rate, bf16_rate;
    bool faster; /* than the products of COMPUTE_F32 on this CPU */
};

struct kernels {
    const char *isa;  /* base, avx2, avx512 (x86-64), neon (aarch64) */
    const char *gemm; /* own, blas */
    size_t vector_bytes;
    enum compute compute;
    struct product_choice product;

    /* out = n values of row `row` of w from column `start` on, widened. start is a multiple of
     * SPAN for block types. */
    void (*widen)(real *out, const struct matrix *w, size_t row, size_t start, size_t n);

    /* c (M, N; ldc) = or += the sum over terms of a * B, in the order of the terms. Each element is
     * summed in an order that depends on the terms' K alone, so a row's bits depend neither on the
     * other rows nor on threads. (blas: fixed tiles; a row's bits may depend on M.) Where a weight
     * of a block type has b_rows, the K of the terms before it add up to a multiple of SPAN, and so
     * do those of the weights among them. In COMPUTE_BF16 terms with a weight come first. */
    void (*matmul)(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                   size_t N, bool accumulate, void *work);
    size_t (*matmul_work_bytes)(void);

    /* n products of M rows in one call; none may depend on another. Each weight is read once,
     * straight from storage, without packing. An element's bits depend on K alone. In COMPUTE_BF16
     * the K of a weight is at most 65,536. */
    void (*matvec)(const struct row_product *p, size_t n, size_t M);

    /* y = x * rstd * w, rstd = 1/sqrt(mean(x^2) + eps), over the last axis of x (T, C).
     *   forward   y =, rstd =
     *   backward  dx +=           w is frozen: no dw */
    void (*rmsnorm_forward)(real *y, real *rstd, const real *x, const real *w, size_t T, size_t C,
                            real eps);
    void (*rmsnorm_backward)(real *dx, const real *dy, const real *x, const real *w,
                             const real *rstd, size_t T, size_t C);

    /* Rotary embedding in Hugging Face's layout: channel j of a head turns with channel j + D/2 by
     * the angle of row t. x (T, heads * D) in place; cosines, sines (T, D/2), already those of each
     * row's position. Backward turns the other way. */
    void (*rope_half_forward)(real *x, const real *cosines, const real *sines, size_t T,
                              size_t heads, size_t D);
    void (*rope_half_backward)(real *dx, const real *cosines, const real *sines, size_t T,
                               size_t heads, size_t D);

    /* y (T, F) = silu(gate) * up.   backward  dgate =, dup =  (may overwrite gate and up) */
    void (*swiglu_forward)(real *y, const real *gate, const real *up, size_t n);
    void (*swiglu_backward)(real *dgate, real *dup, const real *dy, const real *gate,
                            const real *up, size_t n);

    /* Causal attention over segments, scores scaled by 1/sqrt(D), T x T never stored.
     *   forward   o (T, H, D) =, lse (H, T) =    from q (T, H, D), k, v (T, G, D)
     *   backward  dq, dk, dv =                   from dout (T, H, D) and what forward saved
     * D is at most ATTENTION_D_MAX. */
    void (*attention_forward)(real *o, real *lse, const real *q, const real *k, const real *v,
                              const struct segment *seg, size_t n_seg, size_t T, size_t H, size_t G,
                              size_t D, void *work);
    void (*attention_backward)(real *dq, real *dk, real *dv, const real *dout, const real *q,
                               const real *k, const real *v, const real *o, const real *lse,
                               const struct segment *seg, size_t n_seg, size_t T, size_t H,
                               size_t G, size_t D, void *work);
    size_t (*attention_work_bytes)(size_t T, size_t n_seg, size_t H, size_t G, size_t D);

    /* One new token per sequence against its cache (generation). For sequence s: q (H, D) at
     * q + s * H * D, n_keys[s] cached rows at k + s * stride (G, D each). o (n_seq, H, D) =.
     * max_keys: at least every n_keys. work: n_seq * H * max_keys reals. */
    void (*attention_decode)(real *o, const real *q, const real *k, const real *v,
                             const uint32_t *n_keys, size_t n_seq, size_t stride, size_t max_keys,
                             size_t H, size_t G, size_t D, real *work);

    /* Cross entropy of logits (M, V) against one target per row.
     *   loss (M) = -log softmax(logits)[target]
     *   hit (M) = whether the target is the largest logit (the first of equals)
     *   logits = weight[row] * (softmax - one-hot) when `backward`, else untouched */
    void (*cross_entropy)(double *loss, uint8_t *hit, real *logits, const int32_t *target,
                          const real *weight, size_t M, size_t V, bool backward);

    /* y = x * keep / (1 - p), rows described by (example, pos). Its own backward: dx += dy * keep /
     * (1 - p) with accumulate. */
    void (*dropout)(real *y, const real *x, const struct dropout *d, const uint32_t *example,
                    const uint32_t *pos, size_t T, size_t n, bool accumulate);

    /* n values to bf16 (to nearest, ties to even); back; and rounded to bf16 in place. Values are
     * finite or NaN. */
    void (*to_bf16)(uint16_t *y, const real *x, size_t n);
    void (*from_bf16)(real *y, const uint16_t *x, size_t n);
    void (*round_bf16)(real *y, size_t n);

    /* y += x;  y *= s;  y = x */
    void (*add)(real *y, const real *x, size_t n);
    void (*scale)(real *y, real s, size_t n);
    void (*copy)(real *y, const real *x, size_t n);

    /* Sum of squares in double, combined in index order. */
    double (*sum_squares)(const real *x, size_t n);

    /* One step of AdamW as PyTorch defines it (decoupled weight decay, bias correction, eps outside
     * the root): p, m, v in place, g is read. */
    void (*adamw)(real *p, real *m, real *v, const real *g, size_t n, const struct adamw *o);

    /* Yardsticks. fma_flops: n rounds of multiply-adds in registers on every thread; returns the
     * number of floating-point operations. read_sum: the sum of n values, read by all threads,
     * which measures the memory's read bandwidth. */
    double (*fma_flops)(size_t n);
    double (*read_sum)(const real *x, size_t n);
};

/* The best set that this CPU runs, or the one named (LORAC_ISA); gemm: NULL, "own" or "blas"
 * (LORAC_GEMM). NULL when the name is unknown, the CPU lacks it, or it cannot compute so: *why then
 * says so. Only one set with blas exists: the next call that asks for one changes it.
 *
 * isa may also be the name of a bf16 instruction (kernels_bf16_instruction()): the set that it goes
 * with, whose products in COMPUTE_BF16 use it. Without a name a measurement of a few milliseconds,
 * once in a process, decides whether they do; the bits are the same. */
const struct kernels *kernels_choose(const char *isa, const char *gemm, enum compute compute,
                                     const char **why);

/* The sets compiled in, best last; NULL past the end. `runs`: whether this CPU can run it. All have
 * COMPUTE_F32. */
const struct kernels *kernels_nth(size_t i, bool *runs);

/* "avx512bf16": the bf16 instruction that is compiled in; NULL without one. `runs` as above. */
const char *kernels_bf16_instruction(bool *runs);

/* The set that every CPU runs: for work that is exact in all of them, such as widening. */
const struct kernels *kernels_baseline(void);

#endif
