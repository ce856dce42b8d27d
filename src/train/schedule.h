/* How many steps a run has, and the learning rate of each, with the formulas of transformers'
 * get_scheduler (transformers/optimization.py) and Trainer (transformers/trainer.py). */
#ifndef LORAC_TRAIN_SCHEDULE_H
#define LORAC_TRAIN_SCHEDULE_H

#include <stddef.h>

#include "src/config/config.h"

struct schedule {
    enum config_lr_scheduler_type type;
    double peak;
    size_t warmup, total; /* steps */
};

/* Steps of an epoch of `items` examples, and of the whole run: max_steps when given, else
 * ceil(num_epochs * steps of an epoch). */
uint64_t schedule_steps_per_epoch(const struct config *c, size_t items);
uint64_t schedule_steps(const struct config *c, uint64_t steps_per_epoch);

/* Warm-up and length from the configuration: warmup_steps when given, else ceil(ratio * total), but
 * none where ratio * total is below one step: transformers rounds that up to one warm-up step,
 * whose rate is 0, so that a run of one step learns nothing. */
struct schedule schedule_of(const struct config *c, double peak, size_t total);

/* The warm-up that version 0.1 gave it: always rounded up, as in transformers. */
size_t schedule_warmup_before(const struct config *c, size_t total);

/* The rate with which step number `step` (counted from 0) updates the weights. With a warm-up the
 * first is 0, as in transformers. */
double schedule_rate(const struct schedule *s, size_t step);

/* A usage error when the warm-up leaves no step above rate 0: the run would change nothing. */
int schedule_check(const struct schedule *s, const struct config *c, struct err *e);

/* Append what the user should know of a run on so many examples, a line each: one of few steps, one
 * that never gets to its learning rate or has none. */
void schedule_notes(struct str *notes, const struct schedule *s, size_t examples,
                    const struct config *c);

#endif
