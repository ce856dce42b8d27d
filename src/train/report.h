/* What a person sees of a run on stderr: where it runs and on what, how far it is, what its losses
 * say (advice.h), where the time went. Only the first rank prints. On a terminal the lines are
 * wrapped at words; in a file each stays one line. */
#ifndef LORAC_TRAIN_REPORT_H
#define LORAC_TRAIN_REPORT_H

#include "src/base/load.h"
#include "src/base/term.h"
#include "src/train/evaluate.h"
#include "src/train/prepare.h"
#include "src/train/advice.h"

/* Where the time went, in seconds. data: cutting batches into passes; before_first: from the start
 * to the first step, reading model and data. */
struct timings {
    double forward, backward, update, data, evaluation, checkpoints, start, before_first;
    double waiting, exchange; /* of a step, for the passes of other ranks; in the sums over them */
};

/* The account of this process. Code that evaluates or saves adds its time to `time`. */
struct report {
    const struct config *config;
    struct training *work; /* its batch is cut into passes again, to count their work */
    struct progress progress;
    struct listener on_pass, on_example; /* of a step; of an evaluation: shown when it takes long */
    double began_s;                      /* when that began */
    char so_far[128];                    /* what the progress line says of the steps so far */
    struct advice advice;
    struct timings time;
    struct load_sample load; /* at the start; time_s 0: told already, or unknown */
    uint64_t first_step;     /* steps done before this process */
    uint64_t tokens, rows;   /* given; computed */
    uint64_t passes;         /* of this rank */
    double flops;            /* that the steps' results needed, on all ranks */
    double slowest_step_s;
    uint64_t evaluations; /* in this process */
};

void report_begin(struct report *r, const struct config *c, struct training *w);
/* The run was complete already. */
void report_finished(struct report *r, const char *dir);
/* All that is known before the first step, the notes among it; from here on that step may begin. */
void report_header(struct report *r);
/* A step was made, in `seconds`; what its loss says follows. */
void report_step(struct report *r, const struct step_result *s, double seconds);
/* An evaluation was made, and is in the state's history; what it says follows. */
void report_eval(struct report *r, const struct evaluation *v, bool best);
/* The accounting table, this rank's, and how the ranks differ; nothing before a first step. All
 * ranks call it. */
void report_time(const struct report *r);
/* What was written into `dir`, and what to type next. */
void report_end(const struct report *r, const char *dir);

#endif
