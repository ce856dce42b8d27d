/* Being asked to stop: SIGINT, SIGTERM and SIGUSR1 set a flag that the work looks at between
 * blocks. A second SIGINT or SIGTERM ends the process at once. SIGUSR2 asks for a checkpoint. */
#ifndef LORAC_BASE_STOP_H
#define LORAC_BASE_STOP_H

#include <stdbool.h>

/* Install the handlers (training only: other commands die of signals as usual). */
void stop_install(void);

bool stop_requested(void);
/* The name of the signal that asked, or "the time limit". */
const char *stop_reason(void);
/* Ask without a signal (--max-hours). */
void stop_for_time(void);

/* True once after each SIGUSR2. */
bool stop_wants_checkpoint(void);

#endif
