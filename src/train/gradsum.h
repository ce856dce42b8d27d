/* The sums of the passes' gradients and of their losses, along the binary tree over pass numbers.
 *
 * The order of additions is fixed by the number of passes alone: leaf p is pass p, a node adds its
 * left and its right half, absent leaves at the right end are left out. Any contiguous division of
 * the passes over processes can form the same nodes, so the sum has the same bits for any number of
 * them. Walked as a binary counter it needs log2(passes) + 1 buffers. */
#ifndef LORAC_TRAIN_GRADSUM_H
#define LORAC_TRAIN_GRADSUM_H

#include "kernels/kernels.h"
#include "src/base/mem.h"

enum { GRADSUM_LEVELS = 48 };

/* Losses alone, as an evaluation has them. Zero-initialised it holds none. */
struct losssum {
    double at[GRADSUM_LEVELS];
    bool full[GRADSUM_LEVELS];
};
/* `loss` is that of the next pass. */
void losssum_add(struct losssum *s, double loss);
/* The sum of all; 0 of none. */
double losssum_total(const struct losssum *s);

struct gradsum {
    size_t n;      /* values of a gradient */
    size_t levels; /* buffers */
    real *buffer[GRADSUM_LEVELS];
    bool full[GRADSUM_LEVELS]; /* level l holds the sum of 2^l passes */
    real *leaf;                /* where the next pass writes its gradient */
    struct losssum loss;
    const struct kernels *k;
};

/* Carve the buffers for at most `passes` passes (counting or placing). */
void gradsum_carve(struct gradsum *s, struct arena *a, size_t n, size_t passes,
                   const struct kernels *k);

/* Forget everything; s->leaf may be written. */
void gradsum_begin(struct gradsum *s);
/* The gradient in s->leaf and this loss are those of the next pass. */
void gradsum_add(struct gradsum *s, double loss);
/* The sum of all gradients; valid until gradsum_begin(). At least one was added. */
real *gradsum_total(struct gradsum *s);

#endif
