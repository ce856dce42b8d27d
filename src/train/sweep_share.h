/* Which runs of a sweep this process makes: all, or under a Slurm job array every count-th one. */
#ifndef LORAC_TRAIN_SWEEP_SHARE_H
#define LORAC_TRAIN_SWEEP_SHARE_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

struct sweep_share {
    size_t index, count; /* without an array 0 of 1 */
    bool is_array;
};

/* From SLURM_ARRAY_TASK_ID, _MIN, _STEP and _COUNT. ERR_USAGE when they contradict each other, as
 * in an array that is not a range (--array=1,5,7). */
int sweep_share_read(struct sweep_share *s, struct err *e);

/* Whether the run of that number, counted from 0, is among them. */
bool sweep_share_has(const struct sweep_share *s, size_t run);
/* How many of n runs are. */
size_t sweep_share_of(const struct sweep_share *s, size_t n);

#endif
