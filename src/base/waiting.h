/* How idle threads of OpenMP wait.
 *
 * A thread that waits spins for a while, which is the fastest way to go on, and then sleeps. Runtimes
 * spin for a long while (libgomp 10 ms and more, libomp 200 ms): where other programs compute too, a
 * thread then burns its share of a core for one that has none. So
 * - with libgomp it spins for WAITING_SPIN_US: GOMP_SPINCOUNT, counted in turns whose length
 *   differs by processor, is measured and set before libgomp reads it;
 * - with libomp, which knows only milliseconds, it spins for 1 ms, or not at all while others take our
 *   cores away: waiting_adapt() looks again and again.
 * What the user set (OMP_WAIT_POLICY, GOMP_SPINCOUNT, KMP_BLOCKTIME, KMP_LIBRARY) is left alone. No
 * result depends on any of it. */
#ifndef LORAC_BASE_WAITING_H
#define LORAC_BASE_WAITING_H

#include <stddef.h>

/* Longer than waking takes; far shorter than a turn on a core, which is some milliseconds. */
enum { WAITING_SPIN_US = 20 };

/* Between two pieces of work, from the thread that starts the others; a look at the clock when
 * there is nothing to do. */
void waiting_adapt(void);

/* "threads spin for 20 us, then sleep": for doctor. */
void waiting_describe(char *out, size_t size);

/* The rule of waiting_adapt(), for tests: milliseconds to spin (0 or 1) from now on, after `seconds`
 * in which the process took `cpu_s` of processor time and a core was taken away from its threads
 * `taken` times. `calm_s` is how much longer 0 was to hold. */
struct waiting_rule {
    double calm_s;
};
int waiting_decide(struct waiting_rule *r, double seconds, double cpu_s, long taken);

#endif
