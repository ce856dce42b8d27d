/* How idle threads of OpenMP wait, and how many work beside other programs.
 *
 * A thread that waits spins, which is the fastest way to go on, and sleeps after a while. That while is
 * long (libgomp 3 to 15 ms, libomp 200 ms): where other programs compute too, a thread then burns
 * its share of a core for one that has none, and a run takes many times as long. So lorac looks, while it
 * computes, whether cores are taken away from its threads: alone they spin, beside others they sleep.
 * Even then threads that meet hundreds of times in a turn on a core may do less together than one of them
 * alone, so both are tried there, and what does more goes on. What the user set (OMP_WAIT_POLICY,
 * GOMP_SPINCOUNT, KMP_BLOCKTIME, KMP_LIBRARY) is left alone. No result depends on any of it. */
#ifndef LORAC_BASE_WAITING_H
#define LORAC_BASE_WAITING_H

#include <stdbool.h>
#include <stddef.h>

/* Around a piece of work whose workspace is there already: only inside may one thread work in the place of
 * all. From the thread that starts the others; may be nested. */
void waiting_begin(void);
void waiting_end(void);

/* Look, and change over where it is time. Between two pieces of work, from the thread that starts the
 * others; it reads a clock when there is nothing to do. With one thread it does nothing at all. What
 * it cannot do (no thread can be started, an unknown runtime) it leaves: only speed depends on it. */
void waiting_adapt(void);

/* "threads spin; beside other programs they sleep": for doctor. */
void waiting_describe(char *out, size_t size);

/* ALONE: one thread works, the others sleep. */
enum waiting { WAITING_SPIN, WAITING_SLEEP, WAITING_ALONE };

/* The rule, for tests; all zero at first. */
struct waiting_rule {
    enum waiting now;
    double sleep_s, next_s;      /* how much longer they sleep; for how long the last time */
    double tried_s[2], cpu_s[2]; /* since then, of WAITING_SLEEP and WAITING_ALONE */
};
/* What to do from now on, after `seconds` in which the process took `cpu_s` of processor time and a
 * core was taken away from its threads `taken` times. crowded: more threads of all programs want to
 * compute at this moment than there are processors. */
enum waiting waiting_decide(struct waiting_rule *r, double seconds, double cpu_s, long taken,
                            bool crowded);

#endif
