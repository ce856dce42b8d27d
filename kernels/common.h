/* Inside kernels/all.c only: names, vectors and the tile of this instruction set. */
#ifndef LORAC_KERNELS_COMMON_H
#define LORAC_KERNELS_COMMON_H

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

/* The register tile: TILE_ROWS rows of TILE_VECTORS vectors accumulate, one row of vectors of B and
 * a broadcast of A beside them. */
#if defined __AVX512F__ || defined KERNELS_MODEL /* tests/test_bf16.c models its instruction */
#define VECTOR_BYTES 64
enum { TILE_ROWS = 8, TILE_VECTORS = 3 }; /* 24 of 32 registers */
#elif defined __AVX2__
#define VECTOR_BYTES 32
enum { TILE_ROWS = 6, TILE_VECTORS = 2 }; /* 12 of 16 */
#elif defined __aarch64__ && defined KERNELS_NEON /* base is the reference there too */
#define VECTOR_BYTES 16
enum { TILE_ROWS = 8, TILE_VECTORS = 3 }; /* 24 of 32 */
#else
#define VECTOR_BYTES 16
enum { TILE_ROWS = 4, TILE_VECTORS = 3 }; /* 12 of 16 */
#endif

/* Lanes of a vector; a macro because the transposition lists them. */
#ifdef REAL_DOUBLE
#define VL (VECTOR_BYTES / 8)
#else
#define VL (VECTOR_BYTES / 4)
#endif

enum { TILE_COLS = VL * TILE_VECTORS };

/* Before a loop whose length is a constant: no loop is left. clang does not know GCC's pragma. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
/* The same at any address of an array of real. */
typedef real vec_any __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

static inline vec load(const real *p)
{
    return *(const vec_any *)p;
}
static inline void store(real *p, vec v)
{
    *(vec_any *)p = v;
}

/* An integer of a lane's size, to choose lanes by masks. */
#ifdef REAL_DOUBLE
typedef int64_t lane_int;
#else
typedef int32_t lane_int;
#endif
typedef lane_int vec_int __attribute__((vector_size(VECTOR_BYTES)));

/* The largest of `start` and the n values at x. (Written out because a compiler that honours NaNs
 * does not vectorise the plain loop.) */
static inline real max_of(real start, const real *x, size_t n)
{
    vec top = start - (vec){ 0 };
    size_t i = 0;
    for (; i + VL <= n; i += VL) {
        vec v = load(x + i);
        vec_int higher = v > top;
        top = (vec)(((vec_int)v & higher) | ((vec_int)top & ~higher));
    }
    for (size_t l = 0; l < VL; l++) start = top[l] > start ? top[l] : start;
    for (; i < n; i++) start = x[i] > start ? x[i] : start;
    return start;
}

#define STRING_(x)  #x
#define STRING(x)   STRING_(x)
#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

#endif
