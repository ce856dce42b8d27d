/* Shared by the tests of kernels/: random numbers, fenced arrays, comparisons, and a table row for
 * each instruction set. */
#ifndef LORAC_TESTS_KERNELS_TEST_H
#define LORAC_TESTS_KERNELS_TEST_H

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/kernels.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- instruction sets ------------------------------------------------------------------------ */

/* One row of a cmocka table for each set of this architecture, with a sentence as in entry.h; the
 * test asks kernels_under_test() which it got. */
#define ON_ISA(isa, f, says)                                                                       \
    {                                                                                              \
        says " (" isa ")", f, NULL, fences_free, (void *)(uintptr_t)isa                            \
    }
#if defined __aarch64__
#define ON_EVERY_ISA(f, says) ON_ISA("base", f, says), ON_ISA("neon", f, says)
#else
#define ON_EVERY_ISA(f, says)                                                                      \
    ON_ISA("base", f, says), ON_ISA("avx2", f, says), ON_ISA("avx512", f, says)
#endif
#define ONCE(f, says)                                                                              \
    {                                                                                              \
        says, f, NULL, fences_free, NULL                                                           \
    }

static inline const struct kernels *kernels_under_test(void **state)
{
    const struct kernels *k;
    bool runs;
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++) {
        if (runs && strcmp(k->isa, *state) == 0) return k;
    }
    print_message("# %s: not compiled in, or this CPU does not run it\n", (const char *)*state);
    skip();
    return NULL;
}

/* ---- random numbers -------------------------------------------------------------------------- */

static uint64_t random_state = 1;

/* splitmix64 (Steele, Lea and Flood, 2014) */
static inline uint64_t random_bits(void)
{
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Uniform in [-1, 1). */
static inline double random_real(void)
{
    return (double)(random_bits() >> 11) * 0x1p-52 - 1;
}

static inline size_t random_below(size_t n)
{
    return random_bits() % n;
}

/* Bytes of blocks, random but for the scales, which are small halves of either sign. */
static inline void random_blocks(uint8_t *p, enum storage_type type, size_t bytes)
{
    static const struct {
        uint8_t n, at[2];
    } scales[STORAGES] = { [STORAGE_Q8_0] = { 1, { 0 } },
                           [STORAGE_Q4_0] = { 1, { 0 } },
                           [STORAGE_Q4_1] = { 2, { 0, 2 } },
                           [STORAGE_Q6_K] = { 1, { 208 } } };
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)random_bits();
    for (size_t i = 0; i < bytes; i += storage_block_bytes(type))
        for (size_t s = 0; s < scales[type].n; s++) {
            uint8_t *high = p + i + scales[type].at[s] + 1;
            *high = (uint8_t)((*high & 0x83) | 0x20);
        }
}

/* ---- fenced arrays --------------------------------------------------------------------------- */

struct fence {
    unsigned char *map, *data;
    size_t map_bytes;
};
static struct fence fences[128];
static size_t n_fences, fences_kept;

/* n items of `size` bytes that end where a page ends, with an unreadable page after it: a kernel
 * that reads or writes beyond them crashes at once. In front of them lies a pattern that must be
 * intact when they are freed. They are filled with NaNs, so what is read before it is written
 * shows. */
static inline void *fenced(size_t n, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = n * size;
    size_t body = (bytes + 64 + page - 1) / page * page;
    assert_true(n_fences < COUNT(fences));
    void *map = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    struct fence *f = &fences[n_fences++];
    *f = (struct fence){ map, (unsigned char *)map + body - bytes, body + page };
    memset(f->map, 0xA5, body - bytes);
    memset(f->data, 0xFF, bytes);
    assert_int_equal(mprotect(f->map + body, page, PROT_NONE), 0);
    return f->data;
}

static inline bool fences_release(size_t down_to)
{
    bool intact = true;
    for (; n_fences > down_to; n_fences--) {
        struct fence *f = &fences[n_fences - 1];
        for (unsigned char *p = f->map; p < f->data; p++) intact &= *p == 0xA5;
        munmap(f->map, f->map_bytes);
    }
    return intact;
}

/* Teardown of every test. */
static inline int fences_free(void **state)
{
    (void)state;
    fences_kept = 0;
    return fences_release(0) ? 0 : -1;
}

/* Between the cases of a test: frees what is younger than the last fences_keep(). */
static inline void fences_check(void)
{
    if (!fences_release(fences_kept)) fail_msg("a kernel wrote in front of an array");
}

static inline void fences_keep(void)
{
    fences_kept = n_fences;
}

static inline real *reals(size_t n)
{
    return fenced(n, sizeof(real));
}

static inline real *random_reals(size_t n)
{
    real *x = reals(n);
    for (size_t i = 0; i < n; i++) x[i] = (real)random_real();
    return x;
}

static inline real *copy_of(const real *x, size_t n)
{
    return memcpy(reals(n), x, n * sizeof(real));
}

static inline double *doubles(size_t n)
{
    return memset(fenced(n, sizeof(double)), 0, n * sizeof(double));
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static inline double largest(const double *x, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs(x[i]));
    return top;
}

static struct {
    const char *what; /* a string literal */
    double worst, tolerance;
} errors[64];

static inline void print_errors(void)
{
    for (size_t i = 0; i < COUNT(errors) && errors[i].what; i++)
        printf("# %-36s %7.2g of %.2g\n", errors[i].what, errors[i].worst, errors[i].tolerance);
}

/* LORAC_TEST_ERRORS=1 prints at the end how much of each tolerance was used. */
static inline void report_error(const char *what, double worst, double tolerance)
{
    size_t i = 0;
    while (i < COUNT(errors) - 1 && errors[i].what && errors[i].what != what) i++;
    if (!errors[0].what && getenv("LORAC_TEST_ERRORS")) atexit(print_errors);
    if (errors[i].what != what) errors[i].worst = 0;
    errors[i].what = what;
    errors[i].worst = fmax(errors[i].worst, worst);
    errors[i].tolerance = tolerance;
}

/* |got - want| <= tolerance * scale[i] for each i. */
static inline void check_near_each(const char *what, const real *got, const double *want,
                                   const double *scale, size_t n, double tolerance)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - want[i]);
        if (!(error <= tolerance * scale[i])) {
            fail_msg("%s[%zu]: %.9g, wanted %.9g within %.2g", what, i, (double)got[i], want[i],
                     tolerance * scale[i]);
        }
        if (scale[i] > 0) worst = fmax(worst, error / scale[i]);
    }
    report_error(what, worst, tolerance);
}

/* |got - want| <= tolerance * max |want|. */
static inline void check_near(const char *what, const real *got, const double *want, size_t n,
                              double tolerance)
{
    double scale = largest(want, n), worst = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs((double)got[i] - want[i]);
        if (!(error <= tolerance * scale)) {
            fail_msg("%s[%zu]: %.9g, wanted %.9g within %.2g", what, i, (double)got[i], want[i],
                     tolerance * scale);
        }
        worst = fmax(worst, error);
    }
    report_error(what, scale > 0 ? worst / scale : 0, tolerance);
}

static inline void check_same_bits(const char *what, const void *a, const void *b, size_t bytes)
{
    if (memcmp(a, b, bytes) != 0) fail_msg("%s: bits differ", what);
}

/* Runs f(k, out) with 1, 2 and 3 threads, into fresh arrays of n reals; the bits must be equal.
 * f makes its workspace, as its size depends on the number of threads. */
static inline void check_threads(const char *what, void (*f)(const void *context, real *out),
                                 const void *context, size_t n)
{
    real *first = NULL;
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        real *out = reals(n);
        f(context, out);
        if (first) check_same_bits(what, first, out, n * sizeof(real));
        if (!first) first = out;
    }
    omp_set_num_threads(before);
}

#endif
