/* From an opened configuration (setup.h) to what can learn: the same steps, the same checks and the
 * same messages for train, plan, data show and data check, so that plan refuses what train refuses. */
#ifndef LORAC_TRAIN_PREPARE_H
#define LORAC_TRAIN_PREPARE_H

#include "src/train/learner.h"
#include "src/train/schedule.h"
#include "src/train/setup.h"

/* The order of the items and the steps that follow from it. Zero-initialised it is empty. */
struct course {
    struct sampler sampler;
    uint64_t steps_per_epoch, total;
    struct schedule schedule;
};

/* Whether a run may be in output.dir, as far as that can be told before anything is made or read. The
 * message does not name the key. Does not refuse a directory that holds a run. */
int prepare_directory(const struct config *c, struct err *e);

/* Lay out the learner of c within train.memory_budget, from adapter.init_from if there is one; with
 * `map` allocate and fill it too. The weights of s need not be open for the first. */
int prepare_learner(struct learner *l, struct setup *s, const struct config *c, bool map,
                    struct err *e);

/* Count the steps. schedule_check() is the caller's: a resumed run may keep an older warm-up. */
int prepare_course(struct course *k, const struct setup *s, const struct config *c, struct err *e);

#endif
