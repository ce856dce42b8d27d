/* How much memory a run may plan for. */
#ifndef LORAC_TRAIN_BUDGET_H
#define LORAC_TRAIN_BUDGET_H

#include "src/train/learner.h"
#include "src/train/setup.h"

/* train.memory_budget, or this rank's share of what is free here less a margin, without
 * `other_bytes`, which are needed in any case; at least 1. The mapped weights among these, which
 * the ranks of a machine share, count once. */
size_t budget_bytes(const struct config *c, size_t other_bytes, size_t weight_bytes);

/* What a run takes beside the learner: the mapped weights, of which a pass reads all, the examples,
 * the tokenizer, and the pages of the process itself (measured, rounded up). */
size_t budget_other_bytes(const struct setup *s);
/* All that a run takes, at most: what plan and train print. */
size_t budget_total_bytes(const struct setup *s, const struct learner *l);

#endif
