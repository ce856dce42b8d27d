/* metrics.jsonl: one JSON object a line, flushed as it is written. */
#ifndef LORAC_TRAIN_METRICS_H
#define LORAC_TRAIN_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "src/base/err.h"

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

/* Open for appending, after cutting the file back to the lines of steps <= `step` (a resumed run
 * writes the later ones again). step 0: start empty. */
int metrics_open(struct metrics *m, const char *path, uint64_t step, bool is_private,
                 struct err *e);
int metrics_step(struct metrics *m, const struct step_metrics *s, struct err *e);
int metrics_eval(struct metrics *m, uint64_t step, double eval_loss, struct err *e);
/* Make what was written durable. */
int metrics_sync(struct metrics *m, struct err *e);
void metrics_close(struct metrics *m);

#endif
