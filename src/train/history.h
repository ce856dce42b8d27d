/* The validation losses of a run so far, in the order in which they were measured: part of its
 * state, from which a resumed run says and decides what an undisturbed one does. */
#ifndef LORAC_TRAIN_HISTORY_H
#define LORAC_TRAIN_HISTORY_H

#include <stdint.h>

#include "src/base/err.h"

/* Zero-initialised it is empty. Steps ascend; step 0 is what the run starts from. */
struct history {
    size_t n, room;
    int64_t *step; /* (n) */
    double *loss;  /* (n) */
};

/* Make room for n evaluations in all. */
int history_reserve(struct history *h, size_t n, struct err *e);
/* Append one. */
int history_add(struct history *h, uint64_t step, double loss, struct err *e);
void history_free(struct history *h);

/* How many evaluations there were after `step`. */
size_t history_after(const struct history *h, uint64_t step);

#endif
