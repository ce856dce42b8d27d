/* The sums of the passes' gradients and of their losses, along the binary tree over pass numbers.
 *
 * The order of additions is fixed by the number of passes alone: leaf p is pass p, a node adds its
 * left and its right half, absent leaves at the right end are left out. Whoever has a contiguous
 * part of the passes can form the nodes that lie within it, at most two on each level, and whoever
 * has these nodes of all parts can form the rest (ranks.h): the sum has the same bits for any
 * division. On one process, walked as a binary counter, it needs log2(passes) + 1 buffers. */
#ifndef LORAC_TRAIN_GRADSUM_H
#define LORAC_TRAIN_GRADSUM_H

#include "kernels/kernels.h"
#include "src/base/mem.h"

enum { GRADSUM_LEVELS = 48, GRADSUM_NODES = 2 * GRADSUM_LEVELS };

/* The sum of the passes first .. first + 2^level - 1. */
struct sum_node {
    uint64_t first, level;
};
/* Whether the two are the halves of one node, which then begins where the left one does. */
bool sum_siblings(const struct sum_node *left, const struct sum_node *right);

/* Losses alone, as an evaluation has them. Zero-initialised it holds none and begins with pass 0;
 * `next` is set by whoever begins with another one. */
struct losssum {
    double at[GRADSUM_NODES];
    struct sum_node node[GRADSUM_NODES]; /* from left to right, none the sibling of the next */
    uint64_t n, next;                    /* nodes; the number of the next pass */
};
/* `loss` is that of the next pass. */
void losssum_add(struct losssum *s, double loss);
/* Add a node that begins where the last one ends. */
void losssum_add_node(struct losssum *s, struct sum_node node, double loss);
/* The sum of all; 0 of none. */
double losssum_total(const struct losssum *s);

struct gradsum {
    size_t n;                        /* values of a gradient */
    size_t buffers;                  /* that were carved */
    real *buffer[GRADSUM_NODES + 1]; /* the first loss.n belong to the nodes of `loss` */
    real *leaf;                      /* where the next pass writes its gradient: the next buffer */
    struct losssum loss;
    const struct kernels *k;
};

/* The most nodes that the sum of a part of `passes` passes has; the whole begins with pass 0. */
size_t gradsum_nodes(size_t passes, bool part);
/* Carve the buffers for at most `passes` passes (counting or placing), of which this process has a
 * part or all. */
void gradsum_carve(struct gradsum *s, struct arena *a, size_t n, size_t passes, bool part,
                   const struct kernels *k);

/* Forget everything; the next pass has the number `first`, and s->leaf may be written. */
void gradsum_begin(struct gradsum *s, size_t first);
/* The gradient in s->leaf and this loss are those of the next pass. */
void gradsum_add(struct gradsum *s, double loss);
/* The sum of all gradients; valid until gradsum_begin(). At least one was added. */
real *gradsum_total(struct gradsum *s);

#endif
