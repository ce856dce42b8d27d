/* What a run leaves: its directory with config.yaml, metrics.jsonl, run.json, checkpoints and the
 * adapters adapter/ (of the last save) and best/.
 *
 * The first rank has one, the others have NULL: with a NULL every function here does nothing and
 * returns 0. The caller makes the ranks agree on the result (ranks_agree()). */
#ifndef LORAC_TRAIN_RUN_H
#define LORAC_TRAIN_RUN_H

#include "src/train/evaluate.h"
#include "src/train/inputs.h"
#include "src/train/manifest.h"
#include "src/train/metrics.h"
#include "src/train/prepare.h"
#include "src/train/rundir.h"

/* The step of a checkpoint that was not saved yet. */
#define RUN_NEVER UINT64_MAX

struct run {
    const struct config *config;
    struct training *work;  /* its notes get what there is to say of the directory */
    struct str config_text; /* resolved: config.yaml */
    char data_sha256[SHA256_HEX];
    struct rundir dir;
    struct inputs inputs;
    struct manifest manifest;
    struct metrics metrics;
    char resumed_from[PATH_BYTES]; /* a checkpoint; "": none */
    uint64_t saved_step;           /* of the newest checkpoint; RUN_NEVER: none */
    double saved_s;                /* when, or when it began */
    double eval_loss;              /* at this step; NaN: it was not measured */
};

/* Begin to hash the files that the run is made of, then make and lock its directory. Fills in the
 * texts of w->state; c and w must stay. run_close() after failure too. */
int run_open(struct run *r, const struct config *c, struct training *w, struct err *e);
/* Print the configuration again, after resuming changed what the course chose. */
int run_print_config(struct run *r, struct err *e);
/* Removes what run_open() made, unless run_begin() came so far that there is a run. */
void run_close(struct run *r);

/* Write the first files of this process. `goes_on`: what run.json says of earlier ones is kept. */
int run_begin(struct run *r, bool goes_on, struct err *e);
/* Whether run.json says that the run is finished. */
bool run_is_finished(const struct run *r);
/* Do what a run that was killed after its last checkpoint still had to do; `why` as for
 * run_finish(). */
int run_finish_leftovers(struct run *r, const char *why, struct err *e);

/* A step was made at this learning rate, in `seconds`. */
int run_step(struct run *r, const struct step_result *s, double rate, double seconds,
             struct err *e);
/* An evaluation was made; the best one so far: best/ becomes this step's adapter, except before the
 * first step, since what a run starts from is somewhere already. */
int run_eval(struct run *r, const struct evaluation *v, bool best, struct err *e);
/* Write adapter/ and a checkpoint. */
int run_save(struct run *r, struct err *e);
/* Append to an ERR_SPACE how the run goes on after it; returns ERR_FAIL. */
int run_needs_room(const struct run *r, struct err *e);
/* Write down how it ends ("finished", "stopped", "failed"), and why unless that is NULL. */
int run_end(struct run *r, const char *status, const char *why, struct err *e);
/* The first of them. */
int run_finish(struct run *r, const char *why, struct err *e);

#endif
