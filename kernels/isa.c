/* Which kernels run: the best instruction set that was compiled in and that this CPU has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/bf16.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"

/* The sets compiled in, best last: SET(name) for each. */
#ifdef HAVE_ISA_base
#define SET_base(SET) SET(base)
#else
#define SET_base(SET)
#endif
#ifdef HAVE_ISA_avx2
#define SET_avx2(SET) SET(avx2)
#else
#define SET_avx2(SET)
#endif
#ifdef HAVE_ISA_avx512
#define SET_avx512(SET) SET(avx512)
#else
#define SET_avx512(SET)
#endif
#ifdef HAVE_ISA_neon
#define SET_neon(SET) SET(neon)
#else
#define SET_neon(SET)
#endif
#define EACH_SET(SET) SET_base(SET) SET_avx2(SET) SET_avx512(SET) SET_neon(SET)

#ifdef WITH_BF16
#define DECLARE(name)                                                                              \
    extern const struct kernels kernels_##name;                                                    \
    extern const struct bf16_kernels bf16_##name;
#define BF16_OF(name) &bf16_##name,
#else
#define DECLARE(name) extern const struct kernels kernels_##name;
#define BF16_OF(name) NULL,
#endif
EACH_SET(DECLARE)

/* The instruction for pairs of bf16 that is compiled in, and the set that it goes with. */
#ifdef HAVE_PAIRS_avx512bf16
extern const struct bf16_kernels bf16_avx512bf16;
static const struct bf16_kernels *const pairs = &bf16_avx512bf16;
static const char pairs_name[] = "avx512bf16", pairs_set[] = "avx512";
#else
static const struct bf16_kernels *const pairs;
static const char pairs_name[] = "", pairs_set[] = "";
#endif

#if defined __x86_64__
#include <cpuid.h>

/* Half precision: compilers differ in whether __builtin_cpu_supports() knows it. */
static bool cpu_has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

static bool cpu_runs(const char *isa)
{
#if defined __x86_64__
    __builtin_cpu_init();
    if (strcmp(isa, "avx512bf16") == 0)
        return cpu_runs("avx512") && __builtin_cpu_supports("avx512bf16");
    if (strcmp(isa, "avx512") == 0) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma") && cpu_has_f16c();
    }
    if (strcmp(isa, "avx2") == 0) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
    }
#elif defined __aarch64__
    if (strcmp(isa, "neon") == 0) return true; /* every aarch64 Linux has it */
#endif
    return strcmp(isa, "base") == 0;
}

const struct kernels *kernels_nth(size_t i, bool *runs)
{
#define KERNELS_OF(name) &kernels_##name,
    static const struct kernels *const sets[] = { EACH_SET(KERNELS_OF) NULL };
    const struct kernels *k = i < sizeof sets / sizeof *sets ? sets[i] : NULL;
    if (k) *runs = cpu_runs(k->isa);
    return k;
}

const struct kernels *kernels_baseline(void)
{
    bool runs;
    return kernels_nth(0, &runs);
}

/* "base, avx2, avx512": the names compiled in. */
static void list_sets(char *out, size_t n)
{
    const struct kernels *k;
    bool runs;
    size_t at = 0;
    for (size_t i = 0; (k = kernels_nth(i, &runs)) && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%s", i ? ", " : "", k->isa);
    if (pairs && at < n) snprintf(out + at, n - at, ", %s", pairs_name);
}

const char *kernels_bf16_instruction(bool *runs)
{
    *runs = pairs && cpu_runs(pairs_name);
    return pairs ? pairs_name : NULL;
}

void matvec_too_wide(size_t K, size_t most)
{
    fprintf(stderr, "lorac: bf16 multiplies tokens by rows of at most %zu values, not of %zu\n",
            most, K);
    abort();
}

/* ---- bf16 ------------------------------------------------------------------------------------ */

struct rates {
    double f32, pairs;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double rate_of(double (*flops)(size_t n))
{
    enum { ROUNDS = 100000 }; /* 0.1 to 1 ms */
    double start = seconds(), n = flops(ROUNDS), took = seconds() - start;
    return took > 0 ? n / took : 0;
}

/* The best of some measurements in turns, made once in a process. The first of each wakes threads
 * and units; what else runs on the machine can only make some of them slower. */
static struct rates measure(const struct kernels *set)
{
    enum { TURNS = 4 };
    static struct rates best;
    for (int i = 0; i < TURNS && !(best.f32 > 0 && i == 0); i++) {
        double f32 = rate_of(set->fma_flops), bf16 = rate_of(pairs->pair_flops);
        best.f32 = f32 > best.f32 ? f32 : best.f32;
        best.pairs = bf16 > best.pairs ? bf16 : best.pairs;
    }
    return best;
}

/* Which kernel multiplies in bf16 on `set`. `name`: what was asked for, NULL: nothing. */
static struct product_choice choose_product(const struct kernels *set, const char *name, char *why,
                                            size_t n)
{
    struct product_choice c = { .isa = set->isa, .why = why };
    bool runs, named = name && strcmp(name, pairs_name) == 0;
    kernels_bf16_instruction(&runs);
    if (!runs || strcmp(set->isa, pairs_set) != 0) {
        snprintf(why, n, "%s", runs ? "LORAC_ISA" : "this CPU has no bf16 instruction that we use");
        return c;
    }
    struct rates r = measure(set);
    bool use = named || (!name && r.pairs > r.f32);
    if (use) c.isa = pairs_name;
    c.f32_rate = r.f32, c.bf16_rate = r.pairs;
    c.faster = use && r.pairs > r.f32;
    snprintf(why, n, "%s: %.0f GFLOP/s by the bf16 instruction, %.0f by f32",
             name ? "LORAC_ISA" : "measured", r.pairs * 1e-9, r.f32 * 1e-9);
    return c;
}

/* `set`, the index-th, with the functions of COMPUTE_BF16. */
static const struct kernels *with_bf16(const struct kernels *set, size_t index, const char *name)
{
    static const struct bf16_kernels *const functions[] = { EACH_SET(BF16_OF) NULL };
    enum { SLOTS = sizeof functions / sizeof *functions };
    static struct kernels tables[2 * SLOTS];
    static char why[2 * SLOTS][96];
    char text[sizeof *why];
    struct product_choice choice = choose_product(set, name, text, sizeof text);
    bool by_pairs = strcmp(choice.isa, set->isa) != 0;
    const struct bf16_kernels *own = functions[index], *f = by_pairs ? pairs : own;
    if (!f) return NULL;
    size_t slot = 2 * index + by_pairs;
    struct kernels *k = &tables[slot];
    *k = *set;
    memcpy(why[slot], text, sizeof text);
    choice.why = why[slot];
    k->compute = COMPUTE_BF16;
    k->product = choice;
    k->matmul = f->matmul;
    k->matmul_work_bytes = f->matmul_work_bytes;
    k->matvec = own->matvec;
    return k;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* The best set or the one named, and its index; NULL, with *why, without one. */
static const struct kernels *choose_set(const char *isa, size_t *index, char *why, size_t n)
{
    const struct kernels *best = NULL, *k;
    bool runs, known = false, by_pairs = isa && pairs && strcmp(isa, pairs_name) == 0;
    if (by_pairs && cpu_runs(pairs_name)) isa = pairs_set;
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++) {
        bool named = isa && strcmp(isa, k->isa) == 0;
        known |= named;
        if (runs && (!isa || named)) best = k, *index = i;
    }
    if (!best) {
        char sets[64];
        list_sets(sets, sizeof sets);
        snprintf(why, n, "LORAC_ISA=%.32s: %s this build has %s", isa ? isa : "",
                 known || by_pairs ? "this CPU does not have it;"
                                   : "no instruction set of that name;",
                 sets);
    }
    return best;
}

const struct kernels *kernels_choose(const char *isa, const char *gemm, enum compute compute,
                                     const char **why)
{
    static _Thread_local char message[160];
    static struct kernels with_blas;
    *why = message;
    size_t index = 0;
    const struct kernels *best = choose_set(isa, &index, message, sizeof message);
    if (!best) return NULL;
    bool blas = gemm && strcmp(gemm, "blas") == 0;
    if (gemm && !blas && strcmp(gemm, "own") != 0) {
        snprintf(message, sizeof message, "LORAC_GEMM=%.32s: wanted own or blas", gemm);
        return NULL;
    }
    if (compute == COMPUTE_BF16) {
        const struct kernels *k = blas ? NULL : with_bf16(best, index, isa);
        snprintf(message, sizeof message, "%s",
                 blas ? "LORAC_GEMM=blas multiplies in f32 only: unset it, or compute in f32"
                      : "this build of lorac computes in f32 only, not in bf16");
        return k;
    }
    if (!blas) return best;
    with_blas = *best;
    blas_install(&with_blas, best);
    return &with_blas;
}
