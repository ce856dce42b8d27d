/* The processes that train together. In this build there is one, and each function says what it has
 * to do when there are more: its callers are written for any number.
 *
 * Every rank calls the same of these functions in the same order, also after a failure of its own:
 * ranks_agree() shares an error before any rank leaves. */
#ifndef LORAC_TRAIN_RANKS_H
#define LORAC_TRAIN_RANKS_H

#include "src/base/err.h"
#include "src/train/gradsum.h"

size_t ranks_n(void);
size_t ranks_me(void); /* 0 .. ranks_n() - 1 */

/* Of `n` passes those of this rank are the numbers from .. to-1. */
void ranks_share(size_t *from, size_t *to, size_t n);

/* The sum over the passes of all ranks, each of which has added its share, along the one tree:
 * every rank returns the same bits, which do not depend on how many ranks there are. */
real *ranks_sum_tree(double *loss, struct gradsum *s);
double ranks_sum_losses(const struct losssum *s);

/* counts[i] = the sum of the n counts over all ranks: whole numbers, whose sum has no order. */
void ranks_sum_counts(double *counts, size_t n);
/* The least of all ranks' numbers. */
uint64_t ranks_least(uint64_t number);

/* The common result of the ranks' codes: 0 when all have 0, else the same code and message for
 * each, those of the lowest rank that failed. ERR_STOPPED gives way to an error. */
int ranks_agree(int code, struct err *e);

/* The n bytes of rank 0, on every rank. */
void ranks_broadcast(void *bytes, size_t n);

#endif
