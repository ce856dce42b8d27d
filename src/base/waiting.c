#include "src/base/waiting.h"

#include <omp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "src/base/symbols.h"

/* ---- two runtimes ---------------------------------------------------------------------------- */

/* libomp has a function for it. Its unit is the millisecond: one is enough for nearly all waits of
 * a run that is alone. */
static void libomp_sleep(bool sleep)
{
    union {
        void *symbol;
        void (*set)(int ms);
    } blocktime = { symbol_named("kmp_set_blocktime") };
    blocktime.set(sleep ? 0 : 1);
}

/* libgomp has none. But when it has more threads than the process has processors, it spins only for
 * the number of turns that is set for that case: 100, some microseconds, or none if OMP_WAIT_POLICY
 * is passive (its manual, GOMP_SPINCOUNT). So we make it have more: they belong to a thread that
 * does nothing, and sleep until it ends. */
static sem_t here, enough;

static void *crowd(void *arg)
{
    int extra = omp_get_num_procs() - *(const int *)arg + 1;
#pragma omp parallel num_threads(extra > 0 ? extra + 1 : 2)
    {
        __asm__ volatile("" ::: "memory"); /* the compiler would remove an empty region */
    }
    sem_post(&here);
    while (sem_wait(&enough) != 0) continue;
    return NULL;
}

static void libgomp_sleep(bool sleep)
{
    static bool ready, crowded;
    static int threads;
    pthread_t thread;
    if (!ready) ready = sem_init(&enough, 0, 0) == 0 && sem_init(&here, 0, 0) == 0;
    if (!ready || sleep == crowded) return;
    if (!sleep) {
        sem_post(&enough);
        crowded = false;
        return;
    }
    threads = omp_get_max_threads();
    if (pthread_create(&thread, NULL, crowd, &threads) != 0) return;
    pthread_detach(thread);
    while (sem_wait(&here) != 0) continue; /* else it waits for a core for hundreds of regions */
    crowded = true;
}

/* The 100 turns are too many: with two other loops on two cores, threads then no longer sleep so
 * early that the kernel lets them go first. And libgomp's default of 300,000 turns before it sleeps
 * takes several time slices of a core, which are lost until lorac has detected the others. So
 * libgomp is given other settings before it reads them: passive if its threads are too many, and
 * 30,000 turns, some 0.3 to 1.5 ms, if they are not.
 *
 * It reads them in its constructor, before any code of the program except the functions in
 * .preinit_array. There the C library has no environment yet that setenv() could add to: it will
 * use the array that the kernel passed. That array cannot grow, so our settings take the places of
 * variables that no library's constructor reads, and give them back before main(). If there are no
 * such variables, libgomp's own numbers remain. */
#ifndef __clang__
enum { TOLD = 2 };
static char *const told[TOLD] = { (char *)"OMP_WAIT_POLICY=passive",
                                  (char *)"GOMP_SPINCOUNT=30000" };
static char **lent[TOLD], *lender[TOLD]; /* the places, and the variables that belong there */

/* Sanitizers have not started at that time. */
#define BEFORE_ALL __attribute__((no_sanitize("address", "undefined", "thread")))

/* "PATH=/bin" is named "PATH", and also "PATH=anything". */
BEFORE_ALL static bool is_named(const char *entry, const char *name)
{
    while (*name && *name != '=' && *entry == *name) entry++, name++;
    return *entry == '=' && (*name == '=' || !*name);
}

BEFORE_ALL static char **place_of(char **env, const char *name)
{
    while (*env && !is_named(*env, name)) env++;
    return *env ? env : NULL;
}

BEFORE_ALL static void tell_libgomp(int argc, char **argv, char **env)
{
    static const char *const lenders[] = { "_",    "SHLVL", "OLDPWD", "PWD",     "LS_COLORS",
                                           "HOME", "USER",  "SHELL",  "LOGNAME", "PATH" };
    char **at[TOLD];
    size_t n = 0;
    (void)argc, (void)argv;
    for (size_t i = 0; i < TOLD; i++)
        if (place_of(env, told[i])) return;
    for (size_t i = 0; n < TOLD && i < sizeof lenders / sizeof *lenders; i++)
        if ((at[n] = place_of(env, lenders[i]))) n++;
    for (size_t i = 0; n == TOLD && i < TOLD; i++) {
        lent[i] = at[i];
        lender[i] = *at[i];
        *at[i] = told[i];
    }
}
__attribute__((section(".preinit_array"),
               used)) static void (*const before_all)(int, char **, char **) = tell_libgomp;

void waiting_restore_environment(void)
{
    for (size_t i = 0; i < TOLD; i++)
        if (lent[i] && *lent[i] == told[i]) *lent[i] = lender[i];
}
#else
void waiting_restore_environment(void) {}
#endif

/* The constructors of a program run after those of the shared libraries that it needs. In a static
 * program they are in the order of the link, and libgomp's is the last. */
__attribute__((constructor)) static void after_libraries(void)
{
    if (!symbols_are_static()) waiting_restore_environment();
}

/* A runtime is recognised by a function that it has; libomp, the first row, has those of libgomp
 * too. */
static const struct runtime {
    const char *has;
    void (*sleep)(bool);
    const char *decided_by[4]; /* variables with which the user decides */
} runtimes[] = {
    { "kmp_set_blocktime", libomp_sleep, { "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY" } },
    { "GOMP_parallel", libgomp_sleep, { "OMP_WAIT_POLICY", "GOMP_SPINCOUNT" } },
};

/* NULL: neither runtime is there, or the user decided, by *variable. */
static const struct runtime *find_runtime(const char **variable)
{
    *variable = NULL;
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        const struct runtime *r = &runtimes[i];
        if (!symbol_named(r->has)) continue;
        for (const char *const *name = r->decided_by; *name; name++) {
            if (!getenv(*name)) continue;
            *variable = *name;
            return NULL;
        }
        return r;
    }
    return NULL;
}

void waiting_describe(char *out, size_t size)
{
    const char *variable;
    bool adapts = find_runtime(&variable) != NULL;
    if (variable)
        snprintf(out, size, "as %s says", variable);
    else
        snprintf(out, size, "%s",
                 adapts ? "threads spin; beside other programs they sleep"
                        : "as OpenMP's runtime does by itself");
}

/* ---- choosing a way -------------------------------------------------------------------------- */

static enum waiting begin_sleep(struct waiting_rule *r)
{
    static const double first_s = 1, most_s = 8;
    r->next_s = r->next_s > 0 ? r->next_s * 2 : first_s;
    if (r->next_s > most_s) r->next_s = most_s;
    r->sleep_s = r->next_s;
    for (int way = 0; way < 2; way++) r->tried_s[way] = r->cpu_s[way] = 0;
    return r->brief ? WAITING_ALONE : WAITING_SLEEP;
}

/* Threads that sleep spend all their processor time on work, but those that meet hundreds of times
 * in a time slice need up to 1.2 times that of one thread for the same work (measured beside two
 * loops on two cores). So all work together only where they get clearly more. The trial of that is
 * the shorter one, since it rarely wins on few cores. One thread is not tried where its next look
 * would be long in coming: threads that meet so rarely get their share. */
static enum waiting choose_way(const struct waiting_rule *r)
{
    static const double alone_trial_s = 0.1, all_trial_s = 0.06, more = 1.25;
    if (!r->brief) return WAITING_SLEEP;
    if (r->tried_s[1] < alone_trial_s) return WAITING_ALONE;
    if (r->tried_s[0] < all_trial_s) return WAITING_SLEEP;
    double alone = r->cpu_s[1] / r->tried_s[1], all = r->cpu_s[0] / r->tried_s[0];
    return alone * more > all ? WAITING_ALONE : WAITING_SLEEP;
}

/* Threads that spin lose their core only to others: if they are alone, a few times a second, to the
 * kernel; else at the end of every time slice, a hundred to five hundred times in a second of their
 * own time. */
static bool is_often(long taken, double cpu_s)
{
    return taken >= 4 && (double)taken > 50 * cpu_s;
}

/* A burst of the kernel's or a daemon's work also takes a core often for a moment, and has passed
 * when it is seen: sleeping for it would cost more than it took. So the others must still be there.
 * For threads that sleep, the count says nothing: they may leave before a slice ends, and take
 * cores from each other as they wake. So they sleep for a while, and then spinning is tried again.
 * The next sleep is longer each time that the trial finds others, or that they are visible. */
enum waiting waiting_decide(struct waiting_rule *r, double seconds, double cpu_s, long taken,
                            bool crowded)
{
    if (r->now == WAITING_SPIN) {
        bool others = crowded && is_often(taken, cpu_s);
        if (!others) r->next_s = 0;
        return r->now = others ? begin_sleep(r) : WAITING_SPIN;
    }
    int way = r->now == WAITING_ALONE;
    r->tried_s[way] += seconds;
    r->cpu_s[way] += cpu_s;
    r->sleep_s -= seconds;
    if (r->sleep_s > 0) return r->now = choose_way(r);
    return r->now = crowded ? begin_sleep(r) : WAITING_SPIN;
}

/* ---- observing and changing ------------------------------------------------------------------ */

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

/* The time used so far. Only the program's own part of processor time counts: the kernel's part,
 * which grows the more often threads sleep, is not work. */
struct time_usage {
    double time_s, cpu_s;
    long taken;
};

static struct time_usage usage_now(void)
{
    struct rusage u = { 0 };
    getrusage(RUSAGE_SELF, &u);
    return (struct time_usage){ seconds_of(CLOCK_MONOTONIC),
                                (double)u.ru_utime.tv_sec + 1e-6 * (double)u.ru_utime.tv_usec,
                                u.ru_nivcsw };
}

/* Whether more threads are ready to compute than the machine has processors: "0.20 0.18 0.12
 * RUNNING/ALL ...". Our spinning threads are among them. */
static bool is_crowded(bool unknown)
{
    FILE *f = fopen("/proc/loadavg", "re");
    int running = 0;
    if (!f) return unknown;
    bool known = fscanf(f, "%*s %*s %*s %d", &running) == 1;
    fclose(f);
    return known ? running > sysconf(_SC_NPROCESSORS_ONLN) : unknown;
}

static struct {
    const struct runtime *runtime;
    struct time_usage last;
    struct waiting_rule rule;
    int threads; /* in a piece of work: the number of all threads; else 0 */
    int depth;
    int looks; /* calls of waiting_adapt() since `last` */
    bool begun;
} self;

static void set_threads(void)
{
    if (self.threads) omp_set_num_threads(self.rule.now == WAITING_ALONE ? 1 : self.threads);
}

void waiting_begin(void)
{
    if (self.depth++) return;
    self.threads = omp_get_max_threads();
    set_threads();
}

void waiting_end(void)
{
    if (--self.depth) return;
    omp_set_num_threads(self.threads);
    self.threads = 0;
}

/* Whether one of all `threads` would need less than a tenth of a second from one look to the next,
 * of which there were self.looks in `seconds`. */
static bool looks_are_brief(double seconds, int threads)
{
    double alone_s = self.rule.now == WAITING_ALONE ? seconds : seconds * threads;
    return alone_s < 0.1 * self.looks;
}

/* If other programs compute already, threads need not spin to detect them. */
static void begin_adapting(void)
{
    const char *variable;
    self.begun = true;
    self.runtime = find_runtime(&variable);
    self.last = usage_now();
    if (!self.runtime) return;
    if (is_crowded(false)) self.rule.now = begin_sleep(&self.rule);
    self.runtime->sleep(self.rule.now != WAITING_SPIN);
}

void waiting_adapt(void)
{
    static const double interval_s = 0.02;
    int threads = self.threads ? self.threads : omp_get_max_threads();
    if (threads < 2) return;
    if (!self.begun) begin_adapting();
    self.looks++;
    if (!self.runtime || seconds_of(CLOCK_MONOTONIC) - self.last.time_s < interval_s) return;
    struct time_usage now = usage_now(), *last = &self.last;
    bool slept = self.rule.now != WAITING_SPIN;
    double seconds = now.time_s - last->time_s, cpu_s = now.cpu_s - last->cpu_s;
    long taken = now.taken - last->taken;
    self.rule.brief = looks_are_brief(seconds, threads);
    self.looks = 0;
    bool asks = slept ? self.rule.sleep_s <= seconds : is_often(taken, cpu_s);
    waiting_decide(&self.rule, seconds, cpu_s, taken, asks && is_crowded(!slept));
    *last = now;
    bool sleeps = self.rule.now != WAITING_SPIN;
    if (sleeps != slept) self.runtime->sleep(sleeps);
    set_threads();
}
