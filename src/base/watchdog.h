/* Ends a process that no longer gets on: another rank was lost, a link was cut, a read or a write
 * hangs. A thread looks whether the work has made progress; after too long without any it names
 * rank, host and phase on stderr and ends the process with exit code WATCHDOG_EXIT. Nothing is
 * written or cleaned up then: what is on disk is what a kill leaves.
 *
 * One for each process. All functions but watchdog_start() and watchdog_stop() may be called at any
 * time, and do nothing while no watchdog is on. */
#ifndef LORAC_BASE_WATCHDOG_H
#define LORAC_BASE_WATCHDOG_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

enum { WATCHDOG_EXIT = 86 };

/* limit_s: how long the process may go without progress; 0: the larger of 10 minutes and 20 median
 * steps. Before a step is finished nobody knows how long one takes, and the first one also waits
 * for the base to be read and hashed: until then it is an hour or more. ERR_FAIL when it cannot be
 * started: then nothing watches. */
int watchdog_start(double limit_s, size_t rank, size_t ranks, struct err *e);
void watchdog_stop(void);

/* What is done from now on, in static storage, and in which step, counted from 1: "forward and
 * backward", "waiting for other ranks". It counts as progress. */
void watchdog_phase(const char *doing, uint64_t step);
/* The same within a step; returns what was done before. */
const char *watchdog_enter(const char *doing);
/* There was progress: a layer, a block of a file. From any thread. */
void watchdog_beat(void);

/* A step was finished, which took that long. */
void watchdog_step(double seconds);

/* What an automatic limit is after n steps that took these seconds, of which it reads the last 32,
 * public for tests. */
double watchdog_limit_after(const double *seconds, size_t n);

#endif
