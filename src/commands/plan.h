/* What a run would need, for the commands that print it. */
#ifndef LORAC_COMMANDS_PLAN_H
#define LORAC_COMMANDS_PLAN_H

#include "src/model/cost.h"
#include "src/train/disk.h"
#include "src/train/prepare.h"

struct plan {
    struct training training;             /* its memory is laid out, not mapped */
    double tokens, rows, targets, passes; /* of an epoch */
    struct cost work;                     /* of an epoch */
    struct cost evaluation;               /* of one */
    uint64_t evaluations;                 /* of the run */
    double gflops;                        /* this machine's rate on a layer's frozen product */
    double gflops_f32;                    /* the same in f32 */
    struct disk disk;                     /* what the run writes */
    uint64_t disk_free;                   /* where it does; UINT64_MAX: not known */
};

/* Open the files that the configuration names, lay the run out, count an epoch's work and measure
 * how fast this machine multiplies. *p must be zeroed before; free it even after an error. */
int plan_make(struct plan *p, const struct config *c, struct err *e);
double plan_epoch_seconds(const struct plan *p);
/* Of the whole run, its evaluations included. */
double plan_run_seconds(const struct plan *p);
void plan_free(struct plan *p);

#endif
