/* The course of a run: which examples each step takes, and with which rate. */
#ifndef LORAC_TRAIN_COURSE_H
#define LORAC_TRAIN_COURSE_H

#include "src/data/sampler.h"
#include "src/train/learning_rate.h"
#include "src/train/schedule.h"
#include "src/train/setup.h"

/* Zero-initialised it is empty. */
struct course {
    struct learning_rate rate;
    struct sampler sampler;
    size_t batch_size;
    uint64_t steps_per_epoch, total;
    struct schedule schedule;
    uint32_t *order;      /* of the items in an epoch */
    uint64_t order_epoch; /* + 1; 0: of none yet */
};

/* Count the steps of c on the training examples of s, and choose the rate for adapter a where c
 * leaves it open. The caller calls schedule_check(): a resumed run may keep an older warm-up.
 * course_free() after failure too. */
int course_open(struct course *k, const struct setup *s, const struct adapter *a,
                const struct config *c, struct err *e);
void course_free(struct course *k);

/* Take the rate of an earlier part of the run, where the table chose one. */
void course_keep_rate(struct course *k, double peak);

/* c with the numbers that the course chose; it shares c's texts. */
struct config course_config(const struct course *k, const struct config *c);

/* The items of the step after `step` steps, *n of them: a slice of its epoch's permutation, whose
 * last one may be short. Valid until the next call. */
const uint32_t *course_batch(struct course *k, uint64_t step, size_t *n);

/* Whether an evaluation follows step `step` (counted from 1), where there are validation examples:
 * every train.eval_steps steps or at each epoch's end, and after the last step. */
bool course_eval_due(const struct course *k, const struct config *c, uint64_t step);
/* How many follow the steps after `step`. */
uint64_t course_evals_after(const struct course *k, const struct config *c, uint64_t step);

#endif
