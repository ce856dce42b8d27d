/* What a run would need, for those commands that say so. */
#ifndef LORAC_COMMANDS_PLAN_H
#define LORAC_COMMANDS_PLAN_H

#include "src/model/cost.h"
#include "src/train/prepare.h"

struct plan {
    struct training training;             /* laid out, not mapped */
    double tokens, rows, targets, passes; /* of an epoch */
    struct cost work;                     /* of an epoch */
    double gflops;                        /* this machine's rate on a layer's product */
};

/* Open what the configuration names, lay the run out, count an epoch's work and measure how fast this
 * machine multiplies. *p is zeroed before; free it whatever became of it. */
int plan_make(struct plan *p, const struct config *c, struct err *e);
double plan_epoch_seconds(const struct plan *p);
void plan_free(struct plan *p);

#endif
