/* metrics.jsonl: one JSON object a line, flushed as it is written. */
#ifndef LORAC_TRAIN_METRICS_H
#define LORAC_TRAIN_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "src/base/err.h"
#include "src/train/evaluate.h"

enum { METRICS_BYTES = 1 << 30 }; /* of a file that is read, at most */

struct step_metrics {
    uint64_t step; /* counted from 1: the steps done */
    double epoch, loss, learning_rate, grad_norm;
    uint64_t tokens, tokens_computed, targets; /* of this step */
    double tokens_per_s;                       /* given, not computed */
    uint64_t memory_bytes;                     /* resident */
};

struct metrics {
    FILE *f;
    char *path;
};

/* Open for appending. A run that `goes_on` from `step` keeps the lines up to that step and writes
 * the later ones again (with eval_pending, also the evaluation of that step); any other begins an
 * empty file. */
struct metrics_place {
    bool goes_on, eval_pending;
    uint64_t step;
};
int metrics_open(struct metrics *m, const char *path, const struct metrics_place *at,
                 bool is_private, struct err *e);
int metrics_step(struct metrics *m, const struct step_metrics *s, struct err *e);
/* {"step", "eval_loss", "eval_token_accuracy", "eval_exact_match"}; step 0: before the first. */
int metrics_eval(struct metrics *m, uint64_t step, const struct evaluation *v, struct err *e);
/* Make what was written durable. */
int metrics_sync(struct metrics *m, struct err *e);
void metrics_close(struct metrics *m);

#endif
