/* A training run, from its configuration to its adapter. */
#ifndef LORAC_TRAIN_TRAIN_H
#define LORAC_TRAIN_TRAIN_H

#include "src/config/config.h"
#include "src/train/options.h"

/* Run it. Progress and notes go to stderr, results into c->output.dir. Returns 0; ERR_STOPPED when
 * it was stopped by a signal or the time limit and a checkpoint was written; another code with its
 * message. */
int train_run(const struct config *c, const struct train_options *o, struct err *e);

#endif
