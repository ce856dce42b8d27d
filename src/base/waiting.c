#include "src/base/waiting.h"

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

/* ---- two runtimes ---------------------------------------------------------------------------- */

static void *symbol(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

/* libomp is asked. Its unit is the millisecond: one is enough for nearly all waits of a run that is
 * alone. */
static void libomp_sleep(bool sleep)
{
    union {
        void *symbol;
        void (*set)(int ms);
    } blocktime = { symbol("kmp_set_blocktime") };
    blocktime.set(sleep ? 0 : 1);
}

/* libgomp cannot be asked while it runs, but where more of its threads exist than the process has
 * processors it spins for as many turns as it was told for that case: 100, some microseconds, or
 * none where OMP_WAIT_POLICY is passive (its manual, GOMP_SPINCOUNT). So there come to be more: they
 * belong to a thread that does nothing, and sleep until that ends. */
static sem_t here, enough;

static void *crowd(void *arg)
{
    int extra = omp_get_num_procs() - *(const int *)arg + 1;
#pragma omp parallel num_threads(extra > 0 ? extra + 1 : 2)
    {
        __asm__ volatile("" ::: "memory"); /* a region without anything in it is left out */
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

/* The 100 turns are too many: beside two loops on two cores threads then no longer sleep so early that
 * the kernel lets them go first. And 300,000 turns before it sleeps, where nobody told it anything,
 * are several turns on a core, lost until lorac has seen the others. So libgomp is told before it looks:
 * passive where its threads are too many, and 3,000 turns, some 30 to 150 us, where they are not.
 *
 * It looks in its constructor, which runs before any code of the program but the functions in
 * .preinit_array. There the C library has no environment yet that setenv() could add to: it will take
 * the array that the kernel passed. That one cannot grow, so ours take the places of variables that no
 * library's constructor looks for, and give them back before main(). Where there are none libgomp's
 * own numbers remain. */
#ifndef __clang__
enum { TOLD = 2 };
static char *const told[TOLD] = { (char *)"OMP_WAIT_POLICY=passive",
                                  (char *)"GOMP_SPINCOUNT=3000" };
static char **lent[TOLD], *lender[TOLD]; /* the places, and what belongs there */

/* No sanitizer is up at that time. */
#define BEFORE_ALL __attribute__((no_sanitize("address", "undefined", "thread")))

/* "PATH=/bin" is named PATH, and PATH=anything. */
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

/* After the constructors of all libraries. */
__attribute__((constructor)) static void give_back(void)
{
    for (size_t i = 0; i < TOLD; i++)
        if (lent[i] && *lent[i] == told[i]) *lent[i] = lender[i];
}
#endif

/* Known by a function that it has; libomp has those of libgomp too. */
static const struct runtime {
    const char *has;
    void (*sleep)(bool);
    const char *decided_by[4]; /* variables with which a user decides */
} runtimes[] = {
    { "kmp_set_blocktime", libomp_sleep, { "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY" } },
    { "GOMP_parallel", libgomp_sleep, { "OMP_WAIT_POLICY", "GOMP_SPINCOUNT" } },
};

/* NULL: neither, or the user decided, by *variable. */
static const struct runtime *find_runtime(const char **variable)
{
    *variable = NULL;
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++) {
        const struct runtime *r = &runtimes[i];
        if (!symbol(r->has)) continue;
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

/* ---- when ---------------------------------------------------------------------------------------- */

/* Threads that spin lose their core only to others: alone a few times a second for what the kernel
 * does, beside others at the end of every turn, a hundred to five hundred times in a second of
 * their own time. Of threads that sleep it tells nothing: they may go before a turn ends, and take
 * cores from each other as they wake. So they sleep for a while, then spinning is tried again, and
 * for longer each time that the try finds others. */
bool waiting_decide(struct waiting_rule *r, double seconds, double cpu_s, long taken)
{
    static const double often_per_s = 50, first_s = 2, most_s = 8;
    if (r->sleep_s > 0) {
        r->sleep_s -= seconds;
    } else if (taken >= 4 && (double)taken > often_per_s * cpu_s) {
        r->next_s = r->next_s > 0 ? r->next_s * 2 : first_s;
        if (r->next_s > most_s) r->next_s = most_s;
        r->sleep_s = r->next_s;
    } else {
        r->next_s = 0;
    }
    return r->sleep_s > 0;
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

/* What has been used up so far. */
struct usage {
    double time_s, cpu_s;
    long taken;
};

static struct usage usage_now(void)
{
    struct rusage u = { 0 };
    getrusage(RUSAGE_SELF, &u);
    return (struct usage){ seconds_of(CLOCK_MONOTONIC), seconds_of(CLOCK_PROCESS_CPUTIME_ID),
                           u.ru_nivcsw };
}

void waiting_adapt(void)
{
    static const double interval_s = 0.02;
    static const struct runtime *runtime;
    static bool begun, sleeps;
    static struct usage last;
    static struct waiting_rule rule;
    if (omp_get_max_threads() < 2) return;
    if (!begun) {
        const char *variable;
        begun = true;
        runtime = find_runtime(&variable);
        last = usage_now();
        if (runtime) runtime->sleep(false);
    }
    if (!runtime || seconds_of(CLOCK_MONOTONIC) - last.time_s < interval_s) return;
    struct usage now = usage_now();
    bool sleep = waiting_decide(&rule, now.time_s - last.time_s, now.cpu_s - last.cpu_s,
                                now.taken - last.taken);
    last = now;
    if (sleep == sleeps) return;
    sleeps = sleep;
    runtime->sleep(sleep);
}
