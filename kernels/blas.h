/* BLAS (OpenBLAS, or another library with the functions of cblas.h): the checked alternative to the
 * packed product, and the yardstick of benchmarks. */
#ifndef LORAC_KERNELS_BLAS_H
#define LORAC_KERNELS_BLAS_H

#include "kernels/kernels.h"

/* Put products by BLAS into k; weights are widened by the kernels of `from`. */
void blas_install(struct kernels *k, const struct kernels *from);

/* c (M, N) = a (M, K) * b; b has N rows of K values when b_rows, else K rows of N. One call of the
 * library, with `threads` threads of its own where it has a pool (for comparison only). */
void blas_product(real *c, const real *a, const real *b, size_t M, size_t N, size_t K, bool b_rows,
                  int threads);

/* The name of the CPU that OpenBLAS chose its kernels for ("unknown" for another library), the
 * library with its version, and how it threads (0 not at all, 1 threads of its own, of which one is
 * used, 2 the program's OpenMP, -1 unknown). */
const char *blas_core(void);
const char *blas_config(void);
int blas_threading(void);

/* The library in a few words: "OpenBLAS for Zen", "MKL", "BLIS", "BLAS". */
const char *blas_name(void);

/* OpenBLAS knows CPUs by their model numbers and falls back to very old kernels on one that is
 * newer than itself. The name of the core (for OPENBLAS_CORETYPE, which it reads when it is loaded)
 * whose kernels use the instruction sets of this CPU; NULL when it chose such kernels itself, and
 * for another library. */
const char *blas_better_core(void);

#endif
