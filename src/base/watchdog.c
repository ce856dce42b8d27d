#include "src/base/watchdog.h"

#include <math.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/machine.h"
#include "src/base/term.h"
#include "src/base/ticker.h"

enum { STEPS_KEPT = 32 };

/* Seconds without progress: at least, and before a step was finished; and how many times a median
 * step, or what the first one has taken so far. */
static const double least_s = 600, unknown_s = 3600, steps_long = 20;

/* The working thread writes, the ticker's thread reads. */
static struct {
    struct ticker ticker;
    double given_s;
    size_t rank, ranks;
    _Atomic double limit_s;
    const char *_Atomic doing;
    atomic_uint_fast64_t step, beats;
    double steps[STEPS_KEPT], began_s; /* durations; when the step began */
    size_t n_steps;
    uint64_t seen; /* of the ticker's thread: beats, seconds since there were more, its last look */
    double idle_s, looked_s;
} self;

/* ---- how long it may take -------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double watchdog_limit_after(const double *seconds, size_t n)
{
    double sorted[STEPS_KEPT];
    size_t kept = n < STEPS_KEPT ? n : STEPS_KEPT;
    if (!kept) return unknown_s;
    memcpy(sorted, seconds + (n - kept), kept * sizeof *sorted);
    qsort(sorted, kept, sizeof *sorted, ascending);
    double limit = steps_long * sorted[kept / 2];
    return limit > least_s ? limit : least_s;
}

/* A rank whose own part of the first step is done waits for others, whose parts may be larger or
 * may still be read from a slow disk. */
static void set_limit(void)
{
    double limit = self.given_s;
    if (limit <= 0) {
        limit = watchdog_limit_after(self.steps, self.n_steps);
        if (!self.n_steps) limit = fmax(limit, steps_long * (term_now_s() - self.began_s));
    }
    self.limit_s = limit;
}

void watchdog_step(double seconds)
{
    if (!self.ticker.running) return;
    if (self.n_steps == STEPS_KEPT) {
        memmove(self.steps, self.steps + 1, (STEPS_KEPT - 1) * sizeof *self.steps);
        self.n_steps--;
    }
    self.steps[self.n_steps++] = seconds;
    watchdog_beat();
    set_limit();
}

/* ---- progress -------------------------------------------------------------------------------- */

void watchdog_beat(void)
{
    atomic_fetch_add_explicit(&self.beats, 1, memory_order_relaxed);
}

const char *watchdog_enter(const char *doing)
{
    const char *before = self.doing;
    if (!self.ticker.running) return before;
    self.doing = doing;
    watchdog_beat();
    if (!self.n_steps) set_limit();
    return before;
}

void watchdog_phase(const char *doing, uint64_t step)
{
    if (!self.ticker.running) return;
    if (self.step != step) self.began_s = term_now_s();
    self.step = step;
    watchdog_enter(doing);
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Whether stderr would take a line now. If not, its reader has stopped to read (Ctrl-S, a pager),
 * and a process that waits for him is not lost. */
static bool stderr_takes(void)
{
    struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
    return poll(&p, 1, 0) != 0;
}

/* Without stdio: the thread that hangs may hold its lock. */
static void end_process(void)
{
    char line[600], rank[64] = "", seconds[HUMAN_BYTES];
    if (self.ranks > 1) snprintf(rank, sizeof rank, "rank %zu of %zu, ", self.rank, self.ranks);
    int n = snprintf(line, sizeof line,
                     "%slorac: watchdog: no progress for %s at step %llu (%s), on %sprocess %ld of "
                     "%s: it ends with exit code %d; --resume auto goes on from the newest "
                     "checkpoint, train.watchdog sets how long to wait\n",
                     isatty(STDERR_FILENO) == 1 ? "\n" : "", human_duration(seconds, self.idle_s),
                     (unsigned long long)self.step, self.doing, rank, (long)getpid(),
                     machine_host(), WATCHDOG_EXIT);
    if (write(STDERR_FILENO, line, (size_t)n) < 0) _exit(WATCHDOG_EXIT);
    _exit(WATCHDOG_EXIT);
}

/* Time in which the whole process did not run, since it was suspended, does not count: this thread
 * did not run either. */
static void look(void *to)
{
    (void)to;
    double now = term_now_s(), passed = now - self.looked_s, every = self.ticker.every_s;
    uint64_t beats = self.beats;
    self.looked_s = now;
    if (beats != self.seen) {
        self.seen = beats;
        self.idle_s = 0;
        return;
    }
    self.idle_s += passed > 2 * every + 1 ? every : passed;
    if (self.idle_s < self.limit_s) return;
    if (stderr_takes()) end_process();
    self.idle_s = 0; /* the reader may come back at any moment, and then there is progress */
}

int watchdog_start(double limit_s, size_t rank, size_t ranks, struct err *e)
{
    double now = term_now_s();
    self.given_s = limit_s;
    self.rank = rank;
    self.ranks = ranks;
    self.doing = "beginning";
    self.step = 0;
    self.n_steps = 0;
    self.idle_s = 0;
    self.began_s = self.looked_s = now;
    self.seen = self.beats;
    set_limit();
    return ticker_start(&self.ticker, limit_s > 0 ? fmin(limit_s / 10, 5) : 5, look, NULL, e);
}

void watchdog_stop(void)
{
    ticker_stop(&self.ticker);
}
