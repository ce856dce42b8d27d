/* Which checkpoint a run goes on from, and whether it may. */
#ifndef LORAC_TRAIN_RESUME_H
#define LORAC_TRAIN_RESUME_H

#include "src/base/term.h"
#include "src/train/options.h"
#include "src/train/run.h"

struct resume {
    struct run *run; /* opened; NULL on all ranks but the first */
    struct training *work;
    struct progress *progress;
};

/* Go on from the newest checkpoint in the run's directory that can be read (AUTO; without any: from
 * the beginning), from o->resume_file (FILE), or refuse a directory that holds a run (NEVER). After
 * it the state is that of the checkpoint, or as it was, and the course has the warm-up that the run
 * was begun with. */
int resume_from(const struct resume *x, const struct train_options *o, struct err *e);

#endif
