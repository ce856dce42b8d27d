/* The learning rate of a step, with the formulas of transformers' get_scheduler
 * (transformers/optimization.py). */
#ifndef LORAC_TRAIN_SCHEDULE_H
#define LORAC_TRAIN_SCHEDULE_H

#include <stddef.h>

#include "src/config/config.h"

struct schedule {
    enum config_lr_scheduler_type type;
    double peak;
    size_t warmup, total; /* steps */
};

/* Warm-up and length from the configuration: warmup_steps when given, else ceil(ratio * total). */
struct schedule schedule_of(const struct config *c, size_t total);

/* The rate with which step number `step` (counted from 0) updates the weights. With a warm-up the
 * first is 0, as in transformers. */
double schedule_rate(const struct schedule *s, size_t step);

#endif
