/* The packed product, matvec, and the OpenBLAS engine, on every instruction set: against sums in
 * double, for every storage type and orientation, and bit by bit where bits are promised.
 *
 * Tolerance. Each of the n additions of an element rounds by at most u = 2^-24 of the running sum,
 * so no order of summation exceeds (n + 2) u sum |a b|. With operands of random signs the running
 * sum is near sqrt(n) terms, not n, and the error stays within a few u of sum |a b| for every n
 * (measured: 5): 16 u are allowed. Operands rounded to 16 bits, the smallest of mistakes, give
 * 2^-9 / sqrt(n), which for n = 2049 is 700 u. */
#include <dlfcn.h>

#include "kernels/blas.h"
#include "tests/kernels_reference.h"

#define UNIT 0x1p-24

static double tolerance(size_t n)
{
    return (double)(n < 14 ? n + 2 : 16) * UNIT;
}

static void *work;

/* ---- products to try ------------------------------------------------------------------------- */

/* One term with its operands in double, as they are to be multiplied. */
struct operand {
    struct term term;
    struct matrix w;
};

enum form { FORM_ARRAY, FORM_WEIGHT, FORM_COUNT };

/* A matrix in its storage type whose values are random; with interleaved its rows are in pairs. */
static struct matrix random_weight(enum storage_type type, size_t rows, size_t cols,
                                   size_t interleaved)
{
    size_t bytes = storage_bytes(type, cols);
    uint8_t *data = fenced(rows * bytes + 1, 1);
    data = (uintptr_t)data % 2 ? data : data + 1; /* mapped files promise no alignment */
    float *row = fenced(cols, sizeof *row);
    if (!storage_of(type)->written) random_blocks(data, type, rows * bytes);
    for (size_t i = 0; i < rows && storage_of(type)->written; i++) {
        for (size_t j = 0; j < cols; j++) row[j] = (float)random_real();
        storage_narrow(data + i * bytes, type, row, cols);
    }
    return (struct matrix){ data, type, rows, cols, interleaved };
}

/* Row i of w in Hugging Face's order, read by hand: stored row h*hd + 2j + c is row h*hd + c*hd/2 +
 * j. The base set's widen() reads the values; tests/test_storage.c holds it to the formats. */
static void weight_row(real *out, const struct matrix *w, size_t i)
{
    bool runs;
    struct matrix plain = *w;
    plain.interleaved = 0;
    if (w->interleaved) {
        size_t half = w->interleaved / 2, in_head = i % w->interleaved;
        i = i - in_head + 2 * (in_head % half) + in_head / half;
    }
    kernels_nth(0, &runs)->widen(out, &plain, i, 0, w->cols);
}

/* Random term of an (M, N) product, its leading dimensions padded with NaNs. */
static void random_term(struct operand *o, size_t M, size_t N, size_t K, bool a_cols, bool b_rows)
{
    struct term *t = &o->term;
    size_t pad_a = random_below(4), pad_b = random_below(4);
    *t = (struct term){ .K = K, .a_cols = a_cols, .b_rows = b_rows };
    t->lda = (a_cols ? M : K) + pad_a, t->ldb = (b_rows ? K : N) + pad_b;
    size_t a_rows = a_cols ? K : M, b_lines = b_rows ? N : K;
    real *a = reals(a_rows * t->lda - pad_a), *b = reals(b_lines * t->ldb - pad_b);
    for (size_t i = 0; i < a_rows; i++)
        for (size_t j = 0; j < t->lda - pad_a; j++) a[i * t->lda + j] = (real)random_real();
    for (size_t i = 0; i < b_lines; i++)
        for (size_t j = 0; j < t->ldb - pad_b; j++) b[i * t->ldb + j] = (real)random_real();
    t->a = a, t->b = b;
}

/* The same with a frozen weight for B. */
static void random_weight_term(struct operand *o, size_t M, size_t N, size_t K, bool b_rows,
                               enum storage_type type, size_t interleaved)
{
    random_term(o, M, N, K, false, b_rows);
    o->w = random_weight(type, b_rows ? N : K, b_rows ? K : N, interleaved);
    o->term.b = NULL, o->term.ldb = 0, o->term.w = &o->w;
}

/* want (M, N) += a * B, size += |a| * |B| */
static void ref_term(double *want, double *size, const struct term *t, size_t M, size_t N)
{
    size_t lines = t->b_rows ? N : t->K, width = t->b_rows ? t->K : N;
    real *row = reals(width);
    for (size_t line = 0; line < lines; line++) {
        if (t->w) weight_row(row, t->w, line);
        const real *b = t->w ? row : t->b + line * t->ldb;
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < width; j++) {
                size_t n = t->b_rows ? line : j, k = t->b_rows ? j : line;
                double a = (double)(t->a_cols ? t->a[k * t->lda + i] : t->a[i * t->lda + k]);
                want[i * N + n] += a * (double)b[j];
                size[i * N + n] += fabs(a * (double)b[j]);
            }
    }
}

/* Runs the product into an array with gaps between the rows, checks values and gaps. */
static void check_product(const struct kernels *k, const char *what, const struct operand *operands,
                          size_t n_terms, size_t M, size_t N, bool accumulate)
{
    size_t gap = random_below(3), ldc = N + gap, inner = 0;
    struct term terms[3];
    double *want = doubles(M * N), *size = doubles(M * N);
    real *c = reals(M * ldc - gap), *packed = reals(M * N);
    for (size_t i = 0; i < M && accumulate; i++)
        for (size_t j = 0; j < N; j++) {
            want[i * N + j] = c[i * ldc + j] = (real)random_real();
            size[i * N + j] = fabs(want[i * N + j]);
        }
    for (size_t t = 0; t < n_terms; t++) {
        terms[t] = operands[t].term;
        if (terms[t].w) terms[t].w = &operands[t].w;
        inner += terms[t].K;
        ref_term(want, size, &terms[t], M, N);
    }
    k->matmul(c, ldc, terms, n_terms, M, N, accumulate, work);
    for (size_t i = 0; i < M; i++) {
        memcpy(packed + i * N, c + i * ldc, N * sizeof(real));
        for (size_t j = N; j < ldc && i + 1 < M; j++) assert_true(isnan(c[i * ldc + j]));
    }
    check_near_each(what, packed, want, size, M * N, tolerance(inner + n_terms));
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Sizes around vectors, panels, groups of columns (192), chunks of rows (1,008) and blocks of the
 * inner index (384). */
static const size_t sizes[][3] = {
    { 1, 1, 1 },      { 1, 2, 7 },      { 2, 1, 16 },      { 7, 7, 7 },      { 15, 16, 17 },
    { 16, 48, 31 },   { 17, 49, 48 },   { 47, 47, 49 },    { 49, 96, 95 },   { 96, 97, 96 },
    { 97, 95, 97 },   { 1, 577, 383 },  { 5, 383, 384 },   { 6, 385, 385 },  { 129, 33, 577 },
    { 2049, 17, 33 }, { 2, 2049, 47 },  { 9, 3072, 17 },   { 4, 3121, 2 },   { 8, 12, 2049 },
    { 2050, 3, 769 }, { 33, 577, 576 }, { 577, 49, 385 },  { 2048, 5, 384 }, { 2, 3072, 384 },
    { 192, 97, 65 },  { 193, 3121, 9 }, { 199, 97, 1190 }, { 1008, 192, 5 }, { 1009, 193, 385 },
    { 2017, 385, 9 },
};

static void check_sizes(const struct kernels *k)
{
    work = fenced(k->matmul_work_bytes(), 1);
    fences_keep();
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int form = 0; form < 4; form++) {
            size_t M = sizes[i][0], N = sizes[i][1], K = sizes[i][2];
            struct operand o[3];
            size_t n = 1 + (i + (size_t)form) % 3;
            random_term(&o[0], M, N, K, form & 1, form & 2);
            if (n > 1) random_term(&o[1], M, N, 1 + K / 3, form & 2, form & 1);
            if (n > 2) random_term(&o[2], M, N, 16, false, true);
            check_product(k, "matmul", o, n, M, N, (i + (size_t)form / 2) % 2);
            fences_check();
        }
}

/* A product that uses as much of the workspace as any can: with two threads all chunks of rows and
 * groups of columns are full. Some rows are compared with the definition. */
static void check_workspace(const struct kernels *k)
{
    enum { M = 2016, N = 384, K = 768 };
    work = fenced(k->matmul_work_bytes(), 1);
    fences_keep();
    for (int b_rows = 0; b_rows < 2; b_rows++) {
        struct operand o;
        random_term(&o, M, N, K, false, b_rows);
        real *c = reals(M * N);
        k->matmul(c, N, &o.term, 1, M, N, false, work);
        for (size_t row = 0; row < M; row += 96) {
            struct term one = o.term;
            double *want = doubles(N), *size = doubles(N);
            one.a += row * one.lda;
            ref_term(want, size, &one, 1, N);
            check_near_each("matmul of all workspace", c + row * N, want, size, N, tolerance(K));
        }
        fences_check();
    }
}

/* Every combination of sizes up to a few panels, one orientation each. */
static void check_small_sizes(const struct kernels *k)
{
    static const size_t small[] = { 1, 2, 7, 15, 16, 17, 47, 48, 49, 97 };
    work = fenced(k->matmul_work_bytes(), 1);
    fences_keep();
    for (size_t m = 0; m < COUNT(small); m++)
        for (size_t n = 0; n < COUNT(small); n++)
            for (size_t i = 0; i < COUNT(small); i++) {
                struct operand o;
                uint64_t coin = random_bits();
                random_term(&o, small[m], small[n], small[i], coin & 1, coin & 2);
                check_product(k, "matmul", &o, 1, small[m], small[n], coin & 4);
                fences_check();
            }
}

static void test_sizes(void **state)
{
    check_sizes(kernels_under_test(state));
}

static void test_workspace(void **state)
{
    check_workspace(kernels_under_test(state));
}

static void test_small_sizes(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    int before = omp_get_max_threads();
    omp_set_num_threads(1); /* waiting for other threads would take most of the time */
    check_small_sizes(k);
    omp_set_num_threads(before);
}

/* ---- storage types --------------------------------------------------------------------------- */

static void check_types(const struct kernels *k)
{
    work = fenced(k->matmul_work_bytes(), 1);
    fences_keep();
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++)
        for (size_t interleaved = 0; interleaved <= 8; interleaved += 8)
            for (int b_rows = 0; b_rows < 2; b_rows++) {
                /* rows of the weight: a multiple of the head; columns: of a block */
                static const size_t dims[][2] = { { 8, 32 },   { 56, 416 },  { 104, 160 },
                                                  { 392, 96 }, { 16, 3104 }, { 600, 64 } };
                for (size_t d = 0; d < COUNT(dims); d++) {
                    size_t M = d % 3 == 1 ? 193 : 1 + 3 * d, block = storage_block_values(type);
                    size_t rows = dims[d][0], cols = (dims[d][1] + block - 1) / block * block;
                    size_t N = b_rows ? rows : cols, K = b_rows ? cols : rows;
                    struct operand o[2];
                    random_weight_term(&o[0], M, N, K, b_rows, type, interleaved);
                    random_term(&o[1], M, N, 8, false, true);
                    check_product(k, "matmul of weights", o, 1 + d % 2, M, N, d % 3 == 0);
                    fences_check();
                }
            }
}

static void test_types(void **state)
{
    check_types(kernels_under_test(state));
}

/* ---- matvec ---------------------------------------------------------------------------------- */

static struct row_product row_product_of(const struct term *t, real *y, size_t ldy, size_t N)
{
    return (struct row_product){ .y = y,
                                 .ldy = ldy,
                                 .x = t->a,
                                 .ldx = t->lda,
                                 .w = t->w,
                                 .b = t->b,
                                 .ldb = t->ldb,
                                 .N = N,
                                 .K = t->K };
}

static void test_matvec(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const size_t dims[][3] = { { 1, 1, 1 },    { 1, 7, 17 },   { 2, 16, 33 },
                                      { 3, 49, 385 }, { 5, 8, 1024 }, { 1, 24, 1056 },
                                      { 4, 8, 2081 }, { 17, 40, 96 }, { 1, 2, 64 },
                                      { 2, 3, 31 },   { 1, 5, 64 },   { 1, 6, 40 },
                                      { 4, 9, 32 },   { 1, 13, 64 } };
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++)
        for (size_t d = 0; d < COUNT(dims); d++) {
            size_t M = dims[d][0], N = dims[d][1], block = storage_block_values(type);
            size_t K = (dims[d][2] + block - 1) / block * block, ldy = N + d % 3;
            struct operand o;
            random_weight_term(&o, M, N, K, true, type, N % 8 ? 0 : 8);
            double *want = doubles(M * N), *size = doubles(M * N);
            real *y = random_reals(M * ldy), *packed = reals(M * N);
            for (size_t i = 0; i < M * N && d % 2; i++)
                size[i] = fabs(want[i] = (double)y[i / N * ldy + i % N]);
            ref_term(want, size, &o.term, M, N);
            struct row_product p = row_product_of(&o.term, y, ldy, N);
            p.accumulate = d % 2;
            k->matvec(&p, 1, M);
            for (size_t i = 0; i < M; i++) memcpy(packed + i * N, y + i * ldy, N * sizeof(real));
            check_near_each("matvec", packed, want, size, M * N, tolerance(K));
            fences_check();
        }
}

/* ---- bits ------------------------------------------------------------------------------------ */

struct product {
    const struct kernels *k;
    struct term terms[2];
    size_t n_terms, M, N;
    bool matvec;
};

static void run_product(const void *context, real *c)
{
    const struct product *p = context;
    if (p->matvec) {
        struct row_product one = row_product_of(&p->terms[0], c, p->N, p->N);
        p->k->matvec(&one, 1, p->M);
        return;
    }
    void *own_work = fenced(p->k->matmul_work_bytes(), 1);
    p->k->matmul(c, p->N, p->terms, p->n_terms, p->M, p->N, false, own_work);
}

static void check_product_threads(const struct kernels *k)
{
    static const size_t dims[][3] = {
        { 1, 577, 96 }, { 97, 49, 1001 }, { 300, 385, 600 }, { 2053, 31, 64 }, { 5, 3121, 40 }
    };
    for (size_t d = 0; d < COUNT(dims); d++)
        for (int form = 0; form < 4; form++) {
            struct operand o[2];
            struct product p = { k, .n_terms = 2, .M = dims[d][0], .N = dims[d][1] };
            random_term(&o[0], p.M, p.N, dims[d][2], form & 1, form & 2);
            random_term(&o[1], p.M, p.N, 8, false, true);
            p.terms[0] = o[0].term, p.terms[1] = o[1].term;
            check_threads("matmul", run_product, &p, p.M * p.N);
            fences_check();
        }
}

static void test_threads(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    check_product_threads(k);
    struct operand o;
    random_weight_term(&o, 3, 200, 1120, true, STORAGE_Q4_1, 8);
    struct product p = { k, { o.term }, 1, 3, 200, true };
    check_threads("matvec", run_product, &p, p.M * p.N);
}

/* Products of one call, divided among any number of threads, give each element the bits that it has
 * alone: in one product, with one row of x and one thread. */
static void test_matvec_together(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { M = 6, PRODUCTS = 7 };
    static const enum storage_type types[PRODUCTS] = { STORAGE_Q8_0, STORAGE_OTHER, STORAGE_BF16,
                                                       STORAGE_Q4_0, STORAGE_F16,   STORAGE_Q6_K,
                                                       STORAGE_F32 };
    static const size_t N[PRODUCTS] = { 37, 130, 3, 64, 8, 19, 1 },
                        K[PRODUCTS] = { 96, 77, 1000, 2048, 600, 768, 16 };
    struct operand o[PRODUCTS];
    struct row_product p[PRODUCTS];
    real *want[PRODUCTS];
    int threads_before = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int i = 0; i < PRODUCTS; i++) {
        if (types[i] == STORAGE_OTHER)
            random_term(&o[i], M, N[i], K[i], false, true);
        else
            random_weight_term(&o[i], M, N[i], K[i], true, types[i], 0);
        want[i] = reals(M * N[i]);
        for (size_t m = 0; m < M; m++) {
            struct row_product one = row_product_of(&o[i].term, want[i] + m * N[i], N[i], N[i]);
            one.x += m * one.ldx;
            k->matvec(&one, 1, 1);
        }
    }
    fences_keep();
    for (int threads = 1; threads <= 5; threads++)
        for (size_t rows = 1; rows <= M; rows++) {
            omp_set_num_threads(threads);
            for (int i = 0; i < PRODUCTS; i++)
                p[i] = row_product_of(&o[i].term, reals(M * N[i]), N[i], N[i]);
            k->matvec(p, PRODUCTS, rows);
            for (int i = 0; i < PRODUCTS; i++)
                check_same_bits("products together", want[i], p[i].y, rows * N[i] * sizeof(real));
            fences_check();
        }
    omp_set_num_threads(threads_before);
}

/* An element of the own product is the same bits alone as among others, from an array as from a
 * weight of the same values, stored by rows as by columns. */
static void test_rows_alone(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { M = 101, N = 150, K = 900 };
    work = fenced(k->matmul_work_bytes(), 1);
    struct operand o;
    random_weight_term(&o, M, N, K, true, STORAGE_F32, 0);
    real *all = reals(M * N), *one = reals(M * N), *at = reals(K * M), *b = reals(K * N);
    k->matmul(all, N, &o.term, 1, M, N, false, work);
    fences_keep();
    for (size_t i = 0; i < M; i++) {
        struct term t = o.term;
        t.a += i * t.lda;
        size_t rows = i % 3 ? 1 : M - i < 13 ? M - i : 13;
        k->matmul(one, N, &t, 1, rows, N, false, work);
        check_same_bits("a row alone", one, all + i * N, rows * N * sizeof(real));
    }
    for (size_t n = 0; n < N; n++) {
        real *row = reals(K);
        weight_row(row, &o.w, n);
        for (size_t i = 0; i < K; i++) b[i * N + n] = row[i];
        struct term t = { o.term.a, o.term.lda, NULL, row, K, K, false, true };
        k->matmul(one, 1, &t, 1, M, 1, false, work);
        for (size_t i = 0; i < M; i++)
            check_same_bits("a column alone", one + i, all + i * N + n, sizeof(real));
        fences_check();
    }
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < K; j++) at[j * M + i] = o.term.a[i * o.term.lda + j];
    struct term t = { at, M, NULL, b, N, K, true, false };
    k->matmul(one, N, &t, 1, M, N, false, work);
    check_same_bits("other orientation", one, all, M * N * sizeof(real));
}

/* A NaN or infinity of A stays in its row, one of B in its column. */
static void test_non_finite(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { M = 20, N = 50, K = 40 };
    work = fenced(k->matmul_work_bytes(), 1);
    real *a = random_reals(M * K), *b = random_reals(K * N), *c = reals(M * N);
    struct term t = { .a = a, .lda = K, .b = b, .ldb = N, .K = K };
    a[3 * K + 7] = (real)INFINITY, b[11 * N + 49] = (real)NAN;
    k->matmul(c, N, &t, 1, M, N, false, work);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++)
            assert_int_equal(isfinite(c[i * N + j]) != 0, i != 3 && j != 49);
}

/* ---- OpenBLAS -------------------------------------------------------------------------------- */

static const struct kernels *with_blas(void)
{
    const char *why;
    const struct kernels *k = kernels_choose(NULL, "blas", COMPUTE_F32, &why);
    if (!k) fail_msg("%s", why);
    assert_string_equal(k->gemm, "blas");
    return k;
}

static void test_blas_sizes(void **state)
{
    (void)state;
    check_sizes(with_blas());
    struct operand o; /* beyond its blocks: 512 rows, 256 columns, 2048 of the inner index */
    random_term(&o, 515, 259, 2051, false, true);
    check_product(with_blas(), "matmul", &o, 1, 515, 259, true);
}

static void test_blas_types(void **state)
{
    (void)state;
    check_types(with_blas());
}

static void test_blas_threads(void **state)
{
    (void)state;
    /* a library with a pool of its own is told not to use it (kernels/blas.c says why) */
    int (*threads)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "openblas_get_num_threads");
    with_blas();
    if (threads && blas_threading() == 1) assert_int_equal(threads(), 1);
    check_product_threads(with_blas());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EVERY_ISA(test_sizes, "products: odd sizes and orientations give the sums"),
        ON_EVERY_ISA(test_workspace, "products: the workspace that was asked for is enough"),
        ON_EVERY_ISA(test_small_sizes, "products: every small size gives the sums"),
        ON_EVERY_ISA(test_types, "products: every storage type gives the sums"),
        ON_EVERY_ISA(test_matvec, "matvec: every storage type gives the sums"),
        ON_EVERY_ISA(test_matvec_together,
                     "matvec: products of one call have the bits that each has alone"),
        ON_EVERY_ISA(test_threads, "products: any number of threads gives the same bits"),
        ON_EVERY_ISA(test_rows_alone,
                     "products: an element's bits do not depend on the elements around it"),
        ON_EVERY_ISA(test_non_finite, "products: NaN and infinity stay in their row and column"),
        ONCE(test_blas_sizes, "products by BLAS: odd sizes give the sums"),
        ONCE(test_blas_types, "products by BLAS: every storage type gives the sums"),
        ONCE(test_blas_threads, "products by BLAS: any number of threads gives the same bits"),
    };
    return cmocka_run_group_tests_name("products", tests, NULL, NULL);
}
