/* How much memory a run may plan for. */
#ifndef LORAC_TRAIN_BUDGET_H
#define LORAC_TRAIN_BUDGET_H

#include "src/config/config.h"

/* train.memory_budget, or what is free here less a margin, without the mapped weights, of which a pass
 * reads all; at least 1. */
size_t budget_bytes(const struct config *c, size_t weight_bytes);

#endif
