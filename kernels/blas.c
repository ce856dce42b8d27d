/* Products by OpenBLAS on fixed tiles: panels of the frozen weight are widened into a cache-sized
 * buffer and multiplied by single-threaded cblas calls from an OpenMP loop. Tiles do not depend on
 * the number of threads, so neither do the bits (a BLAS's own threading changes them).
 *
 * A pool of the library's own next to OpenMP's costs most of the speed, as the idle threads of each
 * spin on the cores of the other; so a library with threads of its own is told to use one, and an
 * OpenMP build of OpenBLAS is left alone: telling it would set the number of OpenMP's threads for
 * the whole program. Only cblas_sgemm() must exist: every other function is asked for by name, so
 * that any BLAS can be linked, or take OpenBLAS's place when the program starts. */
#include "kernels/blas.h"

#include <cblas.h>
#include <limits.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/symbols.h"
#include "src/base/version.h"

enum { BLAS_COLS = 256, BLAS_ROWS = 512, BLAS_INNER = 2048 };

static const struct kernels *widening;

/* How to tell a library its number of threads: those that are not NULL exist. */
struct setters {
    int (*openblas_parallel)(void);
    void (*openblas)(int);
    void (*mkl)(int);
    int (*mkl_layer)(int);
    void (*blis)(int64_t); /* its dim_t */
};

static struct setters find_setters(void)
{
    return (struct setters){
        .openblas_parallel = (int (*)(void))symbol_named("openblas_get_parallel"),
        .openblas = (void (*)(int))symbol_named("openblas_set_num_threads"),
        .mkl = (void (*)(int))symbol_named("MKL_Set_Num_Threads"),
        .mkl_layer = (int (*)(int))symbol_named("MKL_Set_Threading_Layer"),
        .blis = (void (*)(int64_t))symbol_named("bli_thread_set_num_threads"),
    };
}

int blas_threading(void)
{
    struct setters s = find_setters();
    if (s.openblas_parallel) return s.openblas_parallel();
    return s.mkl || s.blis ? 1 : -1;
}

const char *blas_core(void)
{
    char *(*get)(void) = (char *(*)(void))symbol_named("openblas_get_corename");
    return get ? get() : "unknown";
}

static bool core_is_one_of(const char *const *names)
{
    for (; *names; names++)
        if (strcasecmp(blas_core(), *names) == 0) return true;
    return false;
}

const char *blas_name(void)
{
    static char name[64];
    struct setters s = find_setters();
    if (s.openblas_parallel)
        snprintf(name, sizeof name, "OpenBLAS for %s", blas_core());
    else
        snprintf(name, sizeof name, "%s", s.mkl ? "MKL" : s.blis ? "BLIS" : "BLAS");
    return name;
}

const char *blas_better_core(void)
{
    static const char *const with_avx512[] = { "SkylakeX", "Cooperlake", "SapphireRapids", NULL };
    static const char *const with_avx2[] = { "Haswell", "Zen", NULL };
    const struct kernels *k;
    bool avx512 = false, avx2 = false, runs;
    if (!symbol_named("openblas_get_corename")) return NULL;
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++) {
        avx512 |= runs && strcmp(k->isa, "avx512") == 0;
        avx2 |= runs && strcmp(k->isa, "avx2") == 0;
    }
    if (core_is_one_of(with_avx512)) return NULL;
    if (avx512) return "SkylakeX";
    return avx2 && !core_is_one_of(with_avx2) ? "Haswell" : NULL;
}

const char *blas_config(void)
{
    return version_blas();
}

/* MKL chooses its threads at its first call; its default is Intel's OpenMP runtime, a second one
 * beside ours. (Its GNU layer uses libgomp's threads; a program of clang's has no libgomp, so that
 * MKL is sequential there.) */
static void choose_mkl_layer(int (*choose)(int))
{
    enum { SEQUENTIAL = 1, GNU = 3 }; /* mkl_service.h */
    static bool done;
    if (done || getenv("MKL_THREADING_LAYER")) return;
    done = true;
    choose(symbol_named("kmp_set_blocktime") ? SEQUENTIAL : GNU);
}

static void set_threads(int n)
{
    struct setters s = find_setters();
    /* Debian's libblas.so.3 of BLIS hides its functions. With threads of its own it computes wrong
     * sums inside a parallel region; it reads this at its first call. */
    if (!s.openblas && !s.mkl && !s.blis) setenv("BLIS_NUM_THREADS", "1", 1);
    if (s.mkl_layer) choose_mkl_layer(s.mkl_layer);
    if (s.openblas && blas_threading() == 1) s.openblas(n);
    if (s.mkl) s.mkl(n);
    if (s.blis) s.blis(n);
}

static int narrow(size_t n)
{
    return n <= INT_MAX ? (int)n : (abort(), 0);
}

/* CBLAS in the program's precision. */
static void gemm(bool a_cols, bool b_rows, size_t M, size_t N, size_t K, const real *a, size_t lda,
                 const real *b, size_t ldb, real beta, real *c, size_t ldc)
{
#ifdef REAL_DOUBLE
    cblas_dgemm(
#else
    cblas_sgemm(
#endif
        CblasRowMajor, a_cols ? CblasTrans : CblasNoTrans, b_rows ? CblasTrans : CblasNoTrans,
        narrow(M), narrow(N), narrow(K), 1, a, narrow(lda), b, narrow(ldb), beta, c, narrow(ldc));
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* B's block (inner [k, k + K), columns [col, col + n)) as an array; frozen weights are widened into
 * `wide`. */
static const real *block_of(const struct term *t, size_t k, size_t K, size_t col, size_t n,
                            real *wide, size_t *ld)
{
    if (!t->w) {
        *ld = t->ldb;
        return t->b_rows ? t->b + col * t->ldb + k : t->b + k * t->ldb + col;
    }
    size_t rows = t->b_rows ? n : K, cols = t->b_rows ? K : n;
    for (size_t i = 0; i < rows; i++) {
        widening->widen(wide + i * cols, t->w, (t->b_rows ? col : k) + i, t->b_rows ? k : col,
                        cols);
    }
    *ld = cols;
    return wide;
}

static void column_block(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                         size_t col, size_t n, bool accumulate, real *wide)
{
    for (const struct term *t = terms; t < terms + n_terms; t++) {
        for (size_t k = 0; k < t->K; k += BLAS_INNER, accumulate = true) {
            size_t K = smaller(t->K - k, BLAS_INNER), ldb;
            const real *b = block_of(t, k, K, col, n, wide, &ldb);
            for (size_t row = 0; row < M; row += BLAS_ROWS) {
                size_t m = smaller(M - row, BLAS_ROWS);
                const real *a = t->a_cols ? t->a + k * t->lda + row : t->a + row * t->lda + k;
                gemm(t->a_cols, t->b_rows, m, n, K, a, t->lda, b, ldb, accumulate ? 1 : 0,
                     c + row * ldc + col, ldc);
            }
        }
    }
}

static void blas_matmul(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                        size_t N, bool accumulate, void *work)
{
#pragma omp parallel for schedule(dynamic)
    for (size_t col = 0; col < N; col += BLAS_COLS) {
        real *wide = (real *)work + (size_t)omp_get_thread_num() * BLAS_COLS * BLAS_INNER;
        column_block(c, ldc, terms, n_terms, M, col, smaller(N - col, BLAS_COLS), accumulate, wide);
    }
}

static size_t blas_matmul_work_bytes(void)
{
    return (size_t)omp_get_max_threads() * BLAS_COLS * BLAS_INNER * sizeof(real);
}

void blas_install(struct kernels *k, const struct kernels *from)
{
    set_threads(1);
    widening = from;
    k->gemm = "blas";
    k->matmul = blas_matmul;
    k->matmul_work_bytes = blas_matmul_work_bytes;
}

void blas_product(real *c, const real *a, const real *b, size_t M, size_t N, size_t K, bool b_rows,
                  int threads)
{
    set_threads(threads);
    gemm(false, b_rows, M, N, K, a, K, b, b_rows ? K : N, 0, c, N);
    set_threads(1);
}
