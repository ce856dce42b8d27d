/* How fast this machine multiplies just now. plan divides work (cost.h) by such a rate to estimate
 * a time; train, doctor and bench compare a speed with it. All of them measure it here. A rate is
 * in operations per second, a multiply-add counted as two. */
#ifndef LORAC_MODEL_RATE_H
#define LORAC_MODEL_RATE_H

#include "src/model/llama.h"

/* ---- a quick look ---------------------------------------------------------------------------- */

/* Each is the best of three samples, since disturbances only slow a sample down; 0.3 s in all. */

/* The rate of multiply-adds in registers: the limit of the processor. */
double rate_fma(const struct kernels *k);

/* The rate of one product like the MLP's of this shape: y = x W^T with random numbers in f32, cut
 * down to what takes a few MB (the rate of larger ones is the same). rate_sgemm(): by OpenBLAS's
 * sgemm with `threads` threads of its own. rate_product(): by that of k, which a run uses, on at
 * most `rows` rows; where k multiplies in bf16, with W in bf16. */
int rate_sgemm(double *out, const struct dims *s, int threads, struct err *e);
int rate_product(double *out, const struct kernels *k, const struct dims *s, size_t rows,
                 struct err *e);

/* ---- for those who take samples of their own ------------------------------------------------- */

/* Run one sample of rate_fma(); returns its operations. */
double rate_fma_run(const struct kernels *k);

/* Products with their operands. */
struct products {
    const struct kernels *k; /* NULL: OpenBLAS's sgemm */
    int threads;             /* for that */
    size_t rows, n;
    struct {
        size_t N, K; /* W (N, K) */
        bool forward;
    } list[2 * MODULES];
    real *x, *y, *w;
    uint16_t *stored; /* where k multiplies in bf16: W in bf16, in the place of w */
    void *work;
};

/* All products of one layer, one after the other, forward and backward, on `rows` rows. */
int products_of_layer(struct products *p, const struct kernels *k, int threads,
                      const struct dims *s, size_t rows, struct err *e);
double products_flops(const struct products *p);
/* `products` is a struct products. */
void products_run(void *products);
void products_free(struct products *p);

/* Start OpenBLAS's own threads. rate_sgemm() does so; other callers that measure sgemm call this
 * first. Where OpenMP's first thread is bound to a place, they would otherwise all start there. */
void rate_start_sgemm(int threads);

#endif
