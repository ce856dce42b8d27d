/* What the files of a training run share: the run's state, and the steps of its life that have files of
 * their own. Everybody else includes train.h. */
#ifndef LORAC_TRAIN_TRAINER_H
#define LORAC_TRAIN_TRAINER_H

#include "src/base/load.h"
#include "src/base/term.h"
#include "src/train/checkpoint.h"
#include "src/train/evaluate.h"
#include "src/train/inputs.h"
#include "src/train/learner.h"
#include "src/train/manifest.h"
#include "src/train/metrics.h"
#include "src/train/publish.h"
#include "src/train/schedule.h"
#include "src/train/setup.h"
#include "src/train/train.h"

/* Where the time went, in seconds. data: cutting batches into passes; before_first: from the start to
 * the first step, reading model and data. */
struct timings {
    double forward, backward, update, data, evaluation, checkpoints, start, before_first;
};

struct trainer {
    const struct config *config;
    const struct train_options *options;
    struct str config_text; /* resolved */
    struct setup setup;
    struct learner learner;
    struct batch validation; /* over the validation examples */
    struct rundir dir;
    struct metrics metrics;
    struct schedule schedule;
    struct progress progress;
    struct timings time;
    struct load_sample load; /* at the start; time_s 0: told, or cannot be */

    uint64_t steps_per_epoch, total, step; /* step: done so far */
    uint64_t first_step;                   /* of this process */
    char resumed_from[PATH_BYTES];         /* a checkpoint; "": none */
    struct sampler sampler;
    uint32_t *order;      /* this epoch's order of the items */
    uint64_t order_epoch; /* + 1; 0: none yet */
    double *loss;         /* (total) history */
    double best_loss;
    uint64_t best_step;
    double eval_loss; /* at this step; NaN: it was not measured */
    bool eval_pending;
    uint64_t saved_step; /* of the newest checkpoint; UINT64_MAX: none */
    double saved_s, slowest_step_s;
    uint64_t tokens, rows; /* of this process */
    double flops;          /* that the steps' results needed */

    struct inputs inputs;
    struct manifest manifest;
    char data_sha256[SHA256_HEX], config_sha256[SHA256_HEX];
};

/* Refuses a directory that holds a run when none is to go on; changes nothing (resume.c). */
int resume_may_begin(const struct trainer *t, struct err *e);

/* Decide what to go on from (resume.c). After it t->step etc. are those of the checkpoint, or 0.
 * *finished: the run is complete, there is nothing to do. */
int resume_from(struct trainer *t, bool *finished, struct err *e);

/* What a person sees (report.c). */
void report_header(struct trainer *t);
void report_step(struct trainer *t, const struct step_metrics *s);
void report_eval(struct trainer *t, const struct evaluation *v);
void report_time(const struct trainer *t); /* the accounting table; nothing before a first step */
void report_end(const struct trainer *t);  /* what was written where, what to type next */

#endif
