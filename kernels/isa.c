/* Which kernels run: the best instruction set that was compiled in and that this CPU has. */
#include <stdio.h>
#include <string.h>

#include "kernels/blas.h"
#include "kernels/kernels.h"

#ifdef HAVE_ISA_base
extern const struct kernels kernels_base;
#endif
#ifdef HAVE_ISA_avx2
extern const struct kernels kernels_avx2;
#endif
#ifdef HAVE_ISA_avx512
extern const struct kernels kernels_avx512;
#endif

#ifdef HAVE_ISA_neon
extern const struct kernels kernels_neon;
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
    static const struct kernels *const sets[] = {
#ifdef HAVE_ISA_base
        &kernels_base,
#endif
#ifdef HAVE_ISA_avx2
        &kernels_avx2,
#endif
#ifdef HAVE_ISA_avx512
        &kernels_avx512,
#endif
#ifdef HAVE_ISA_neon
        &kernels_neon,
#endif
        NULL
    };
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
}

const char *kernels_bf16_instruction(bool *runs)
{
    *runs = false;
    return NULL;
}

const struct kernels *kernels_choose(const char *isa, const char *gemm, enum compute compute,
                                     const char **why)
{
    static _Thread_local char message[160];
    static struct kernels with_blas;
    *why = message;
    const struct kernels *best = NULL, *k;
    bool runs, known = false;
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++) {
        bool named = isa && strcmp(isa, k->isa) == 0;
        known |= named;
        if (runs && (!isa || named)) best = k;
    }
    if (!best) {
        char sets[64];
        list_sets(sets, sizeof sets);
        snprintf(message, sizeof message, "LORAC_ISA=%.32s: %s this build has %s", isa ? isa : "",
                 known ? "this CPU does not have it;" : "no instruction set of that name;", sets);
        return NULL;
    }
    if (compute == COMPUTE_BF16) {
        snprintf(message, sizeof message, "compute bf16: this build of lorac has only f32");
        return NULL;
    }
    if (!gemm || strcmp(gemm, "own") == 0) return best;
    if (strcmp(gemm, "blas") != 0) {
        snprintf(message, sizeof message, "LORAC_GEMM=%.32s: wanted own or blas", gemm);
        return NULL;
    }
    with_blas = *best;
    blas_install(&with_blas, best);
    return &with_blas;
}
