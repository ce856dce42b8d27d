/* Inside kernels/ only: what takes the place of a set's functions in COMPUTE_BF16. */
#ifndef LORAC_KERNELS_BF16_H
#define LORAC_KERNELS_BF16_H

#include "kernels/kernels.h"

/* COMPUTE_BF16 is in builds for floats and processors whose flushing of denormals we can switch. */
#if !defined REAL_DOUBLE && (defined __x86_64__ || defined __aarch64__)
#define WITH_BF16
#endif

/* Of each set (all.c) bf16_NAME has all but pair_flops. Of an instruction for pairs of bf16
 * (pairs.c) it has all but matvec, which remains that of the set. */
struct bf16_kernels {
    void (*matmul)(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                   size_t N, bool accumulate, void *work);
    size_t (*matmul_work_bytes)(void);
    void (*matvec)(const struct row_product *p, size_t n, size_t M);
    double (*pair_flops)(size_t n); /* as fma_flops, with the instruction */
};

/* Aborts: the caller made a mistake, which a model of today's sizes cannot bring about. */
void matvec_too_wide(size_t K, size_t most) __attribute__((noreturn, cold));

#endif
