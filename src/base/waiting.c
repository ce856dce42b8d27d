#include "src/base/waiting.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Variables with which a user decides; the first that is set. */
static const char *const decided_by[] = { "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME",
                                          "KMP_LIBRARY" };
enum { DECIDERS = sizeof decided_by / sizeof *decided_by };

static const char *decider(void)
{
    for (size_t i = 0; i < DECIDERS; i++)
        if (getenv(decided_by[i])) return decided_by[i];
    return NULL;
}

/* ---- libgomp: before its constructor ------------------------------------------------------------
 *
 * libgomp reads its variables in its constructor, which runs before any code of the program but the
 * functions in .preinit_array. There the C library has no environment yet that setenv() could add to:
 * it will take the array that the kernel passed. That one cannot grow, so ours takes the place of a
 * variable that no library's constructor looks for, and gives it back before main(). */

static unsigned long spins;  /* that were set; 0: none */
static char setting[48];     /* GOMP_SPINCOUNT=...; it must outlive libgomp's reading */
static char **lent, *lender; /* the place, and what belongs there */

#ifndef __clang__ /* libomp reads its own */

/* No address sanitizer is up yet. */
#define BEFORE_ALL __attribute__((no_sanitize("address", "undefined", "thread")))

BEFORE_ALL static bool named(const char *entry, const char *name)
{
    while (*name && *entry == *name) entry++, name++;
    return !*name && *entry == '=';
}

BEFORE_ALL static char **place_of(char **env, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (char **p = env; *p; p++)
            if (named(*p, names[i])) return p;
    return NULL;
}

BEFORE_ALL static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

BEFORE_ALL static inline void pause_a_turn(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory"); /* what libgomp does there */
#endif
}

/* Turns of libgomp's loop (a load, a pause) in WAITING_SPIN_US. The shortest of some tries: what
 * disturbs one only lengthens it. */
BEFORE_ALL static unsigned long measure_spins(void)
{
    enum { TRIES = 8, TURNS = 256 };
    uint64_t best = UINT64_MAX;
    volatile int never = 0;
    for (int k = 0; k < TRIES; k++) {
        uint64_t start = now_ns();
        for (int i = 0; i < TURNS && !never; i++) pause_a_turn();
        uint64_t took = now_ns() - start;
        if (took < best) best = took;
    }
    if (best == 0) best = 1;
    return 1 + WAITING_SPIN_US * 1000ul * TURNS / (unsigned long)best;
}

BEFORE_ALL static void set_spins(int argc, char **argv, char **env)
{
    static const char *const lenders[] = { "_",    "SHLVL", "OLDPWD", "PWD",     "LS_COLORS",
                                           "HOME", "USER",  "SHELL",  "LOGNAME", "PATH" };
    static const char name[] = "GOMP_SPINCOUNT=";
    (void)argc, (void)argv;
    if (!env || place_of(env, decided_by, DECIDERS)) return;
    char **place = place_of(env, lenders, sizeof lenders / sizeof *lenders);
    if (!place) return;
    spins = measure_spins();
    char digits[24], *to = setting;
    size_t n = 0;
    for (unsigned long left = spins; left; left /= 10) digits[n++] = (char)('0' + left % 10);
    for (const char *p = name; *p; p++) *to++ = *p;
    while (n) *to++ = digits[--n];
    *to = 0;
    lent = place;
    lender = *place;
    *place = setting;
}

__attribute__((section(".preinit_array"),
               used)) static void (*const before_all)(int, char **, char **) = set_spins;
#endif

/* After the constructors of all libraries. */
__attribute__((constructor)) static void give_back(void)
{
    if (lent && *lent == setting) *lent = lender;
}

/* ---- libomp: while it runs ---------------------------------------------------------------------- */

/* Threads that spin lose their core only to others: alone a few times a second for what the kernel
 * does, beside others at the end of every turn, a hundred to five hundred times in a second of
 * their own time. Threads that sleep lose it rarely, whoever else is there; so no spinning holds
 * for a second and is then tried again. */
int waiting_decide(struct waiting_rule *r, double seconds, double cpu_s, long taken)
{
    static const double often_per_s = 50, calm_s = 1;
    r->calm_s -= seconds;
    if (taken >= 4 && (double)taken > often_per_s * cpu_s) r->calm_s = calm_s;
    return r->calm_s > 0 ? 0 : 1;
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    return clock_gettime(clock, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

typedef void blocktime_setter(int ms);

/* libomp's kmp_set_blocktime(); NULL with another runtime, or where the user decides. */
static blocktime_setter *find_setter(void)
{
    union {
        void *symbol;
        blocktime_setter *function;
    } found = { dlsym(RTLD_DEFAULT, "kmp_set_blocktime") };
    return decider() ? NULL : found.function;
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
    static const double interval_s = 0.05;
    static blocktime_setter *setter;
    static bool begun;
    static int blocktime_ms = 1;
    static struct usage last;
    static struct waiting_rule rule;
    if (!begun) {
        begun = true;
        setter = find_setter();
        last = usage_now();
        if (setter) setter(blocktime_ms);
    }
    if (!setter || seconds_of(CLOCK_MONOTONIC) - last.time_s < interval_s) return;
    struct usage now = usage_now();
    int wanted_ms = waiting_decide(&rule, now.time_s - last.time_s, now.cpu_s - last.cpu_s,
                                   now.taken - last.taken);
    last = now;
    if (wanted_ms == blocktime_ms) return;
    blocktime_ms = wanted_ms;
    setter(blocktime_ms);
}

void waiting_describe(char *out, size_t size)
{
    const char *by = decider();
    if (by) {
        snprintf(out, size, "as %s says", by);
    } else if (spins) {
        snprintf(out, size, "threads spin for %d us, then sleep", WAITING_SPIN_US);
    } else if (find_setter()) {
        snprintf(out, size, "threads spin for 1 ms, then sleep; beside other programs they sleep");
    } else {
        snprintf(out, size, "as OpenMP's runtime does by itself");
    }
}
