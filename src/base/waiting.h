/* How idle threads of OpenMP wait, and how many of them work while other programs compute.
 *
 * A waiting thread first spins, which is the fastest way to go on, and then sleeps. By default it
 * spins long (libgomp 3 to 15 ms, libomp 200 ms): if other programs compute too, it wastes its
 * share of a core while another of our threads has none, and a run takes many times as long. So
 * lorac observes, while it computes, whether cores are taken away from its threads: if not, they
 * spin, else they sleep. Even then, threads that meet hundreds of times in a time slice may do less
 * together than one of them alone, so both ways are tried, and the better one is kept. Settings of
 * the user (OMP_WAIT_POLICY, GOMP_SPINCOUNT, KMP_BLOCKTIME, KMP_LIBRARY) are respected. No result
 * depends on any of this. */
#ifndef LORAC_BASE_WAITING_H
#define LORAC_BASE_WAITING_H

#include <stdbool.h>
#include <stddef.h>

/* These two enclose a piece of work whose workspace is already allocated: only inside may one
 * thread work in the place of all. Call them from the thread that starts the others; they may be
 * nested. */
void waiting_begin(void);
void waiting_end(void);

/* Check, and change the way of waiting if it is time. Call it between two pieces of work, from the
 * thread that starts the others; it only reads a clock if there is nothing to do, and with one
 * thread it does nothing at all. If it cannot do its work (no thread can be started, an unknown
 * runtime), it gives up: only speed depends on it. */
void waiting_adapt(void);

/* Settings for libgomp stand in the environment until its constructor has read them. In a static
 * program, whose constructors run in no order that helps, main() takes them out with this; it must
 * come before anything reads the environment. Elsewhere there is nothing left to do. */
void waiting_restore_environment(void);

/* "threads spin; beside other programs they sleep": for doctor. */
void waiting_describe(char *out, size_t size);

/* ALONE: one thread works, the others sleep. */
enum waiting { WAITING_SPIN, WAITING_SLEEP, WAITING_ALONE };

/* The rule, public for tests; all zero at first. */
struct waiting_rule {
    enum waiting now;
    bool brief;                  /* one thread may be tried: the next decision comes soon even so */
    double sleep_s, next_s;      /* how much longer they sleep; the length of the last sleep */
    double tried_s[2], cpu_s[2]; /* during that sleep, of WAITING_SLEEP and WAITING_ALONE */
};
/* What to do from now on, after `seconds` in which the process took `cpu_s` of processor time and a
 * core was taken away from its threads `taken` times. crowded: at this moment more threads of all
 * programs are ready to compute than there are processors; without it no thread begins to sleep. */
enum waiting waiting_decide(struct waiting_rule *r, double seconds, double cpu_s, long taken,
                            bool crowded);

#endif
