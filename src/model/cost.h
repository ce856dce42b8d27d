/* How much work a pass is: the floating-point operations that its result needs, a multiply-add
 * counted as two. Recomputation and padding are not needed and not counted. */
#ifndef LORAC_MODEL_COST_H
#define LORAC_MODEL_COST_H

#include "src/data/pass.h"
#include "src/model/adapter.h"

struct cost {
    double linear;  /* frozen products of the blocks, forward and for the gradient of their input */
    double adapter; /* u = x A^T and u B^T, and back their four gradients */
    double attention; /* scores and values, and back four products: masked pairs do not count */
    double head;      /* logits of the targets, and back */
};

double cost_total(const struct cost *c);

/* A step over this batch (its passes are built one after the other). adapter NULL: only forward. */
struct cost cost_of_batch(const struct dims *s, const struct adapter *a, struct batch *b);

/* Set the cost of each pass of the batch, in thousands of these operations: as above, without
 * building the passes (a target that examples share counts where it is first). */
void cost_passes(struct batch *b, const struct dims *s, const struct adapter *a);

#endif
