/* The products of COMPUTE_BF16 by an instruction that multiplies pairs of bf16, compiled once for
 * each (-DISA=name and its flags). Everything else of such a set is that of the set F32_SET. */
#define KERNELS_PAIRS

#include "kernels/bf16.h"
#include "kernels/common.h"

#include <omp.h>

#include "kernels/lanes.c"
#include "kernels/widen.c"

/* ---- the instruction ------------------------------------------------------------------------- */

ALWAYS_INLINE vec in_every_lane(const real *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return (vec)(pair - (vec_int){ 0 });
}

/* In each lane s + the products of the pairs a and b, in the order of matmul_bf16.c. */
ALWAYS_INLINE vec multiply_add(vec s, vec a, vec b)
{
#ifdef KERNELS_MODEL
    return model_multiply_add(s, a, b);
#else
    return (vec)_mm512_dpbf16_ps((__m512)s, (__m512bh)a, (__m512bh)b);
#endif
}

/* ---- the products ---------------------------------------------------------------------------- */

extern const struct kernels JOIN(kernels_, F32_SET);
#define F32_MATMUL     JOIN(kernels_, F32_SET).matmul
#define F32_WORK_BYTES JOIN(kernels_, F32_SET).matmul_work_bytes

#include "kernels/packed.c"
#include "kernels/matmul_bf16.c"

/* ---- its rate -------------------------------------------------------------------------------- */

enum { CHAINS = 12 };

/* fma_flops() of this instruction: sums of ones, which are exact. */
static real pair_rounds(size_t n)
{
    vec_int ones = 0x3f803f80 - (vec_int){ 0 };
    vec s[CHAINS], sum = { 0 };
    /* not all alike, or a compiler leaves one of them */
    for (int i = 0; i < CHAINS; i++) s[i] = (real)i - (vec){ 0 };
    for (size_t k = 0; k < n; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) s[i] = multiply_add(s[i], (vec)ones, (vec)ones);
    }
    for (int i = 0; i < CHAINS; i++) sum += s[i];
    return sum[0];
}

static double pair_flops(size_t n)
{
    double flops = 0;
#pragma omp parallel reduction(+ : flops)
    flops += pair_rounds(n) > 0 ? (double)n * CHAINS * VL * 4 : 0;
    return flops;
}

extern const struct bf16_kernels JOIN(bf16_, ISA);
const struct bf16_kernels JOIN(bf16_, ISA) = {
    .matmul = matmul_bf16,
    .matmul_work_bytes = matmul_bf16_work_bytes,
    .pair_flops = pair_flops,
};
