/* A sweep: its runs, one after the other in this process, each in its directory (sweep_grid.h).
 *
 * Before the first run the data of all runs are prepared once (unless data.prepare is given), under
 * a lock, so that of several tasks one prepares and the others wait. A run that is finished with
 * this configuration, these data and this base is left alone; one that was cut goes on from its
 * newest checkpoint; one that fails does not keep the others from running. */
#ifndef LORAC_TRAIN_SWEEP_H
#define LORAC_TRAIN_SWEEP_H

#include "src/train/sweep_grid.h"
#include "src/train/sweep_share.h"

struct sweep_options {
    struct sweep_share share;
    double max_hours; /* for all runs together; 0: no limit */
};

/* Make the runs of this process's share. Progress goes to stderr. *n: how many of them were tried,
 * those that were finished before among them. Returns 0 when all are finished; ERR_STOPPED when a
 * signal or the time limit stopped it; what is wrong with data or base, before the first run;
 * otherwise ERR_FAIL with how many runs failed, whose messages are on stderr. */
int sweep_run(size_t *n, const struct sweep_grid *g, const struct sweep_options *o, struct err *e);

#endif
