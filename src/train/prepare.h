/* From a configuration to what it names, opened and laid out: the same steps, checks and messages
 * for train, plan, eval, data show and data check, so that plan refuses what train refuses. */
#ifndef LORAC_TRAIN_PREPARE_H
#define LORAC_TRAIN_PREPARE_H

#include "src/train/checkpoint.h"
#include "src/train/course.h"
#include "src/train/learner.h"

/* What a run works with. Zero-initialised it is empty. */
struct training {
    struct setup setup;
    const struct kernels *kernels;
    struct learner learner; /* to plan: laid out, not mapped */
    struct course course;
    struct batch validation; /* to plan and train: over the validation examples, if any */
    struct checkpoint state; /* to train: where training stands; its texts are not filled in */
};

enum prepare_to {
    PREPARE_TO_EVAL,  /* setup and kernels alone */
    PREPARE_TO_PLAN,  /* no weights are read, nothing large is allocated */
    PREPARE_TO_TRAIN, /* everything */
};

/* Open what c names for one of them; the learner lies within train.memory_budget and begins with
 * adapter.init_from if there is one. Notes for the user are in t->setup.notes. To plan, one of
 * them says what train will refuse about output.dir. training_free() after failure too. */
int prepare(struct training *t, const struct config *c, enum prepare_to to, struct err *e);
void training_free(struct training *t);

/* Whether a run may be in output.dir, as far as that can be told before anything is made or read;
 * `fresh`: a new run. The messages do not name the key. */
int prepare_directory(const struct config *c, bool fresh, struct err *e);
/* Refuses a directory that holds a run. */
int prepare_fresh(const struct config *c, struct err *e);

#endif
