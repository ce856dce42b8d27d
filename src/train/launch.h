/* How a launcher started this process: srun, mpirun. */
#ifndef LORAC_TRAIN_LAUNCH_H
#define LORAC_TRAIN_LAUNCH_H

#include "src/base/err.h"

/* ERR_USAGE when a launcher has started more processes than there are ranks: each of them would
 * make the whole run. Only the first one gets a message, so that one line is printed. */
int launch_check(struct err *e);

#endif
