/* A training run, from its configuration to its adapter. */
#ifndef LORAC_TRAIN_TRAIN_H
#define LORAC_TRAIN_TRAIN_H

#include "src/config/config.h"

enum resume_mode { RESUME_NEVER, RESUME_AUTO, RESUME_FILE };

struct train_options {
    enum resume_mode resume;
    const char *resume_file; /* of RESUME_FILE */
    double max_hours;        /* stop early enough for that; 0: no limit */
};

/* Run it. Progress and notes go to stderr, results into c->output.dir. Returns 0; ERR_STOPPED when it
 * was stopped by a signal or the time limit and a checkpoint was written; another code with its
 * message. */
int train_run(const struct config *c, const struct train_options *o, struct err *e);

#endif
