/* Products with frozen weights in bf16, on every instruction set and by the instruction for pairs:
 * bit by bit against the definition (kernels/matmul_bf16.c) in plain loops, and against sums in
 * double.
 *
 * Most machines lack that instruction. So kernels/pairs.c is compiled here once more with a model
 * of it, in C: packing, grid and tile of that kernel are run everywhere, all but the instruction.
 *
 * Tolerance against double. Rounding an operand to bf16 moves it by at most 2^-8 of itself, on
 * average (root mean square) by 0.41 of that; of operands uniform in [-1, 1), root mean square of
 * the products is 1.33 times their mean magnitude. The weights are bf16. So the error of n products
 * is 0.55 * 2^-8 / sqrt(n) of sum |a b|, one standard deviation; four units of 2^-8 / sqrt(n) are
 * allowed, seven deviations, and 16 u for the sums (test_matmul.c). */
#define KERNELS_MODEL
#define ISA     model
#define F32_SET base

#include "kernels/common.h"
#include "tests/kernels_reference.h"

/* ---- the definition -------------------------------------------------------------------------- */

static float flushed(float f)
{
    return fabsf(f) < FLT_MIN ? copysignf(0, f) : f;
}

/* A number of double that is to be a float: to nearest, and zero below 2^-126 as it is after that.
 * kernels/matmul_bf16.c says why rounding twice does no harm. */
static float to_float(double d)
{
    if (fabs(d) >= 0x1p-126 || isnan(d)) return (float)d;
    return copysignf(fabs(d) < 0x1p-126 - 0x1p-151 ? 0 : FLT_MIN, signbit(d) ? -1 : 1);
}

static float step(float s, float a, float b)
{
    return to_float((double)flushed(a) * (double)flushed(b) + (double)s);
}

static float of_bf16(uint16_t bits)
{
    uint32_t u = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The model of the instruction, lane by lane. */
static vec model_multiply_add(vec s, vec a, vec b)
{
    vec_int x = (vec_int)a, y = (vec_int)b;
    for (int l = 0; l < VL; l++) {
        uint32_t p = (uint32_t)x[l], q = (uint32_t)y[l];
        s[l] = step(s[l], of_bf16((uint16_t)(p >> 16)), of_bf16((uint16_t)(q >> 16)));
        s[l] = step(s[l], of_bf16((uint16_t)p), of_bf16((uint16_t)q));
    }
    return s;
}

#include "kernels/pairs.c"

enum { BLOCK = 768, MOST = 3 };

static float bf16(float f)
{
    return of_bf16(storage_bf16(f));
}

/* Row i of w, of floats, in Hugging Face's order: stored row h*hd + 2j + c is row h*hd + c*hd/2 +
 * j. */
static void weight_row(float *out, const struct matrix *w, size_t i)
{
    struct matrix plain = *w;
    plain.interleaved = 0;
    if (w->interleaved) {
        size_t half = w->interleaved / 2, in_head = i % w->interleaved;
        i = i - in_head + 2 * (in_head % half) + in_head / half;
    }
    kernels_baseline()->widen(out, &plain, i, 0, w->cols);
}

/* The operands of a product as they are multiplied: a (M, K), b (N, K), rounded, of all weights,
 * each with a zero at its end where its K is odd. */
struct joint {
    float *a, *b;
    size_t K;
};

static size_t even(size_t n)
{
    return n + n % 2;
}

static struct joint join(const struct term *terms, size_t n_terms, size_t M, size_t N)
{
    struct joint j = { 0 };
    for (size_t i = 0; i < n_terms; i++) j.K += even(terms[i].K);
    j.a = memset(reals(M * j.K), 0, M * j.K * sizeof(float));
    j.b = memset(reals(N * j.K), 0, N * j.K * sizeof(float));
    size_t at = 0;
    for (const struct term *t = terms; t < terms + n_terms; at += even(t->K), t++) {
        float *row = reals(t->w->cols + 2 * SPAN);
        for (size_t i = 0; i < M; i++)
            for (size_t k = 0; k < t->K; k++)
                j.a[i * j.K + at + k] = bf16(t->a_cols ? t->a[k * t->lda + i]
                                                       : t->a[i * t->lda + k]);
        for (size_t line = 0; line < t->w->rows; line++) {
            weight_row(row, t->w, line);
            for (size_t x = 0; x < t->w->cols; x++) {
                size_t n = t->b_rows ? line : x, k = t->b_rows ? x : line;
                j.b[n * j.K + at + k] = bf16(row[x]);
            }
        }
    }
    return j;
}

/* c (M, N; ldc) = or += the product by its definition. */
static void define(float *c, size_t ldc, const struct joint *j, size_t M, size_t N, bool accumulate)
{
    size_t blocks = (j->K + BLOCK - 1) / BLOCK;
    size_t length = ((j->K + blocks - 1) / blocks + SPAN - 1) / SPAN * SPAN;
    for (size_t i = 0; i < M; i++)
        for (size_t n = 0; n < N; n++) {
            float *to = c + i * ldc + n;
            for (size_t k = 0; k < j->K; k += length) {
                const float *a = j->a + i * j->K, *b = j->b + n * j->K;
                float s = 0;
                for (size_t q = k; q < k + length && q < j->K; q += 2) {
                    s = step(s, a[q + 1], b[q + 1]);
                    s = step(s, a[q], b[q]);
                }
                *to = accumulate || k ? to_float((double)flushed(*to) + (double)s) : s;
            }
        }
}

/* ---- kernels --------------------------------------------------------------------------------- */

#if defined __x86_64__
#define ON_EVERY_KERNEL(f, says)                                                                   \
    ON_EVERY_ISA(f, says), ON_ISA("avx512bf16", f, says), ON_ISA("model", f, says)
#else
#define ON_EVERY_KERNEL(f, says) ON_EVERY_ISA(f, says), ON_ISA("model", f, says)
#endif

static const struct kernels *bf16_under_test(void **state)
{
    static struct kernels model;
    const char *why, *name = *state;
    if (strcmp(name, "model") == 0) {
        model = *kernels_choose("base", NULL, COMPUTE_BF16, &why);
        model.matmul = bf16_model.matmul;
        model.matmul_work_bytes = bf16_model.matmul_work_bytes;
        return &model;
    }
    const struct kernels *k = kernels_choose(name, NULL, COMPUTE_BF16, &why);
    if (!k) {
        print_message("# %s\n", why);
        skip();
    }
    return k;
}

static void *work_of(const struct kernels *k)
{
    return fenced(k->matmul_work_bytes(), 1);
}

/* ---- operands -------------------------------------------------------------------------------- */

static float of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Of one sign or the other, with any fraction and an exponent from low to high (of 2). */
static float with_exponent(int low, int high)
{
    int e = low + (int)random_below((size_t)(high - low + 1));
    uint32_t bits = (uint32_t)random_bits();
    /* half of the fractions are ties of the rounding or next to one */
    if (random_below(2)) bits = (bits & 0x807f0000) | (0x7fff + (uint32_t)random_below(3));
    return of_bits((bits & 0x807fffff) | (uint32_t)(e + 127) << 23);
}

static float any_number(void)
{
    static const uint32_t special[] = {
        0,          0x80000000, 1,          0x007fffff, 0x807f8000,
        0x00800000, 0x007f7fff, 0x7f7fffff, 0xff7f8000, 0x7f7f7fff
    };
    return random_below(8) ? with_exponent(-126, 127) : of_bits(special[random_below(10)]);
}

static float not_finite(void)
{
    static const uint32_t special[] = { 0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff,
                                        0x7f800001 };
    return random_below(50) ? (float)random_real() : of_bits(special[random_below(5)]);
}

/* What a product's operands are like. UNDER: products and sums on both sides of 2^-126, with
 * cancellation. OVER: the same at the largest number. */
enum kind { PLAIN_NUMBERS, UNDER, OVER, ANY, NOT_FINITE, KINDS };

static float number(enum kind kind)
{
    switch (kind) {
    case UNDER:
        return with_exponent(-66, -61);
    case OVER:
        return with_exponent(60, 63);
    case ANY:
        return any_number();
    case NOT_FINITE:
        return not_finite();
    default:
        return (float)random_real();
    }
}

/* A weight at an odd address, as mapped files may have it. Blocks have random bytes. */
static struct matrix random_weight(enum storage_type type, size_t rows, size_t cols,
                                   size_t interleaved, enum kind kind)
{
    size_t bytes = storage_bytes(type, cols);
    uint8_t *data = fenced(rows * bytes + 1, 1);
    data = (uintptr_t)data % 2 ? data : data + 1;
    if (storage_of(type)->blocks) {
        random_blocks(data, type, rows * bytes);
    } else {
        float *row = reals(cols);
        for (size_t i = 0; i < rows; i++) {
            for (size_t j = 0; j < cols; j++) row[j] = number(kind);
            storage_narrow(data + i * bytes, type, row, cols);
        }
    }
    return (struct matrix){ data, type, rows, cols, interleaved };
}

static void random_term(struct term *t, struct matrix *w, size_t M, size_t N, size_t K, bool a_cols,
                        bool b_rows, enum storage_type type, size_t interleaved, enum kind kind)
{
    size_t rows = a_cols ? K : M, cols = a_cols ? M : K, pad = random_below(4);
    float *a = reals(rows * (cols + pad) - pad);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) a[i * (cols + pad) + j] = number(kind);
    *w = random_weight(type, b_rows ? N : K, b_rows ? K : N, interleaved, kind);
    *t = (struct term){
        .a = a, .lda = cols + pad, .w = w, .K = K, .a_cols = a_cols, .b_rows = b_rows
    };
}

/* ---- bits against the definition ------------------------------------------------------------- */

/* NaNs need only be NaNs: which one comes out is not the same on all processors. */
static void check_bits(const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(want[i]) ? !isnan(got[i]) : memcmp(got + i, want + i, sizeof *got) != 0)
            fail_msg("%s[%zu]: %a, wanted %a", what, i, (double)got[i], (double)want[i]);
    }
}

static void check_product(const struct kernels *k, const char *what, const struct term *terms,
                          size_t n_terms, size_t M, size_t N, enum kind kind, bool accumulate)
{
    size_t gap = random_below(3), ldc = N + gap;
    float *c = reals(M * ldc - gap), *got = reals(M * N), *want = reals(M * N);
    for (size_t i = 0; i < M && accumulate; i++)
        for (size_t n = 0; n < N; n++)
            want[i * N + n] = c[i * ldc + n] = kind == UNDER ? with_exponent(-130 + 4, -124)
                                                             : number(kind);
    struct joint j = join(terms, n_terms, M, N);
    define(want, N, &j, M, N, accumulate);
    k->matmul(c, ldc, terms, n_terms, M, N, accumulate, work_of(k));
    for (size_t i = 0; i < M; i++) {
        memcpy(got + i * N, c + i * ldc, N * sizeof *got);
        for (size_t n = N; n < ldc && i + 1 < M; n++) assert_true(isnan(c[i * ldc + n]));
    }
    check_bits(what, got, want, M * N);
}

/* Sizes around vectors, panels, groups, chunks of rows and blocks of the inner index (768). */
static const size_t sizes[][3] = {
    { 1, 1, 1 },    { 1, 2, 7 },    { 2, 1, 16 },    { 7, 7, 7 },      { 15, 16, 17 },
    { 16, 48, 31 }, { 17, 49, 48 }, { 47, 47, 49 },  { 49, 96, 33 },   { 3, 97, 767 },
    { 5, 9, 768 },  { 6, 50, 769 }, { 9, 33, 1537 }, { 505, 17, 3 },   { 1009, 5, 8 },
    { 4, 193, 65 }, { 3, 385, 9 },  { 8, 12, 2049 }, { 33, 191, 770 }, { 1, 577, 35 },
};

static void test_sizes(void **state)
{
    const struct kernels *k = bf16_under_test(state);
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int form = 0; form < 4; form++) {
            size_t M = sizes[i][0], N = sizes[i][1], K = sizes[i][2],
                   n = 1 + (i + (size_t)form) % 3;
            struct term t[MOST];
            struct matrix w[MOST];
            enum kind kind = (enum kind)((i + (size_t)form) % KINDS);
            random_term(&t[0], &w[0], M, N, K, form == 3, form & 1, STORAGE_BF16, 0, kind);
            random_term(&t[1], &w[1], M, N, 1 + K / 3, false, form & 2, STORAGE_F32, 0, kind);
            random_term(&t[2], &w[2], M, N, 18, false, form & 1, STORAGE_BF16, 0, kind);
            check_product(k, "product", t, n, M, N, kind, (i + (size_t)form / 2) % 2);
            fences_check();
        }
}

static void test_kinds(void **state)
{
    const struct kernels *k = bf16_under_test(state);
    for (enum kind kind = PLAIN_NUMBERS; kind < KINDS; kind++)
        for (size_t K = 1; K < 70; K += 3) {
            struct term t;
            struct matrix w;
            enum storage_type type = K % 2 ? STORAGE_BF16 : STORAGE_F32;
            random_term(&t, &w, 40, 60, K, false, K & 4, type, 0, kind);
            check_product(k, "product", &t, 1, 40, 60, kind, K & 8);
            fences_check();
        }
}

/* Two products whose sum lies at the border of what is zero, from 2^-126 less nothing to less
 * twice the distance: m * 2^-e is taken from 2^-126 times something, for all m of 8 bits. */
static void test_border(void **state)
{
    enum { EXPONENTS = 20, M = 128 * EXPONENTS, N = 6 };
    static const float first[N] = { 0x1p-63F, 0x1.02p-63F, -0x1p-63F, 0x1.fep-64F, 0x1p-62F, 0 };
    const struct kernels *k = bf16_under_test(state);
    float *a = reals(M * 2);
    uint16_t *b = fenced(N * 2, sizeof *b);
    for (int i = 0; i < M; i++) {
        a[2 * i] = -(float)(128 + i % 128) * powf(2, (float)(-70 - i / 128));
        a[2 * i + 1] = 0x1p-63F;
    }
    for (int n = 0; n < N; n++) {
        b[2 * n] = storage_bf16(n % 2 ? 0x1p-75F : 0x1.8p-75F);
        b[2 * n + 1] = storage_bf16(first[n]);
    }
    struct matrix w = { b, STORAGE_BF16, N, 2, 0 };
    struct term t = { .a = a, .lda = 2, .w = &w, .K = 2, .b_rows = true };
    check_product(k, "product at the border", &t, 1, M, N, UNDER, false);
    check_product(k, "product at the border", &t, 1, M, N, UNDER, true);
}

static void test_types(void **state)
{
    const struct kernels *k = bf16_under_test(state);
    static const size_t dims[][2] = { { 8, 32 }, { 56, 416 }, { 104, 160 }, { 16, 1056 } };
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++)
        for (size_t i = 0; i < 2 * COUNT(dims); i++) {
            size_t block = storage_block_values(type), rows = dims[i / 2][0];
            size_t cols = (dims[i / 2][1] + block - 1) / block * block;
            bool b_rows = i % 2;
            size_t M = 1 + 3 * i, N = b_rows ? rows : cols, K = b_rows ? cols : rows;
            struct term t;
            struct matrix w;
            random_term(&t, &w, M, N, K, false, b_rows, type, i & 4 ? 8 : 0, PLAIN_NUMBERS);
            check_product(k, storage_name(type), &t, 1, M, N, PLAIN_NUMBERS, i & 2);
            fences_check();
        }
}

/* ---- bits among each other ------------------------------------------------------------------- */

/* Terms of arrays are those of f32, added after the others; alone they are f32's product. */
static void test_arrays(void **state)
{
    enum { M = 37, N = 96, K = 97, R = 9 }; /* rows of Q8_0 are whole blocks */
    const struct kernels *k = bf16_under_test(state);
    const char *why, *set = strcmp(*state, "model") == 0 ? "base" : *state;
    const struct kernels *f32 = kernels_choose(set, NULL, COMPUTE_F32, &why);
    assert_int_equal(f32->compute, COMPUTE_F32);
    struct term t[3];
    struct matrix w[2];
    random_term(&t[0], &w[0], M, N, K, false, true, STORAGE_BF16, 0, PLAIN_NUMBERS);
    random_term(&t[2], &w[1], M, N, K, false, false, STORAGE_Q8_0, 0, PLAIN_NUMBERS);
    t[1] = (struct term){ random_reals(M * R), R, NULL, random_reals(R * N), N, R, false, false };
    float *got = random_reals(M * N), *want = copy_of(got, M * N);
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        struct term frozen[2] = { t[0], t[2] };
        k->matmul(got, N, t, 3, M, N, accumulate, work_of(k));
        k->matmul(want, N, frozen, 2, M, N, accumulate, work_of(k));
        f32->matmul(want, N, &t[1], 1, M, N, true, work_of(f32));
        check_same_bits("weights, then arrays", got, want, M * N * sizeof *got);
        k->matmul(got, N, &t[1], 1, M, N, accumulate, work_of(k));
        f32->matmul(want, N, &t[1], 1, M, N, accumulate, work_of(f32));
        check_same_bits("arrays alone", got, want, M * N * sizeof *got);
    }
}

struct run {
    const struct kernels *k;
    struct term t;
    size_t M, N;
};

static void run_product(const void *context, real *c)
{
    const struct run *r = context;
    r->k->matmul(c, r->N, &r->t, 1, r->M, r->N, false, work_of(r->k));
}

static void test_threads(void **state)
{
    static const size_t dims[][3] = {
        { 1, 577, 96 }, { 97, 49, 1001 }, { 1053, 31, 64 }, { 5, 1121, 40 }
    };
    int before = omp_get_max_threads();
    for (size_t d = 0; d < COUNT(dims); d++) {
        struct run r = { bf16_under_test(state), .M = dims[d][0], .N = dims[d][1] };
        struct matrix w;
        random_term(&r.t, &w, r.M, r.N, dims[d][2], false, d % 2, STORAGE_BF16, 0,
                    d % 2 ? UNDER : ANY);
        check_threads("product", run_product, &r, r.M * r.N);
        float *few = reals(r.M * r.N), *many = reals(r.M * r.N), *one = reals(r.N);
        run_product(&r, few);
        omp_set_num_threads(8);
        run_product(&r, many);
        omp_set_num_threads(before);
        check_bits("product by 8 threads", many, few, r.M * r.N);
        r.t.a += r.M / 2 * r.t.lda, r.M = 1;
        run_product(&r, one);
        check_bits("a row alone", one, few + dims[d][0] / 2 * r.N, r.N);
        fences_check();
    }
}

/* ---- the processor's mode -------------------------------------------------------------------- */

#if defined __x86_64__
static uint64_t get_mode(void)
{
    return _mm_getcsr() & 0xffc0; /* without the flags of what has happened */
}

static void set_mode(uint64_t mode)
{
    _mm_setcsr((unsigned)mode);
}

static const uint64_t unusual = 0x5f80; /* towards +infinity, denormals kept */
#else
static uint64_t get_mode(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}

static void set_mode(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory");
}

static const uint64_t unusual = 1 << 22;
#endif

/* Every thread has its mode back after a product, whatever it was, and it did not matter. */
static void test_mode(void **state)
{
    enum { M = 600, N = 200, K = 64 };
    struct run r = { bf16_under_test(state), .M = M, .N = N };
    struct matrix w;
    random_term(&r.t, &w, M, N, K, false, true, STORAGE_BF16, 0, UNDER);
    float *usual = reals(M * N), *other = reals(M * N);
    run_product(&r, usual);
    const uint64_t mode = get_mode();
    int before = omp_get_max_threads(), kept = 0, seen = 0;
    omp_set_num_threads(8);
    set_mode(unusual); /* libomp gives each region's threads the mode of the one that begins it */
#pragma omp parallel
    set_mode(unusual);
    run_product(&r, other);
#pragma omp parallel reduction(+ : kept, seen)
    {
        seen += 1;
        kept += get_mode() == (unusual & 0xfffffc0);
        set_mode(mode);
    }
    set_mode(mode);
    omp_set_num_threads(before);
    assert_int_equal(kept, seen);
    check_bits("product in another mode", other, usual, M * N);
}

/* ---- values ---------------------------------------------------------------------------------- */

static void test_double(void **state)
{
    const struct kernels *k = bf16_under_test(state);
    static const size_t inner[] = { 16, 576, 2048, 4096 };
    for (size_t i = 0; i < COUNT(inner); i++) {
        enum { M = 20, N = 30 };
        size_t K = inner[i];
        struct term t;
        struct matrix w;
        random_term(&t, &w, M, N, K, false, true, STORAGE_BF16, 0, PLAIN_NUMBERS);
        float *c = reals(M * N), *row = reals(K);
        double *want = doubles(M * N), *size = doubles(M * N);
        for (size_t n = 0; n < N; n++) {
            weight_row(row, &w, n);
            for (size_t m = 0; m < M * K; m++) {
                double ab = (double)t.a[m / K * t.lda + m % K] * (double)row[m % K];
                want[m / K * N + n] += ab, size[m / K * N + n] += fabs(ab);
            }
        }
        k->matmul(c, N, &t, 1, M, N, false, work_of(k));
        double root = sqrt((double)K);
        for (size_t n = 0; n < M * N; n++) size[n] /= root;
        check_near_each("product in bf16, of 1/sqrt(n)", c, want, size, M * N,
                        4 * 0x1p-8 + 16 * 0x1p-24 * root);
        fences_check();
    }
}

/* matvec: the sums of the same rounded operands, in another order. */
static void test_matvec(void **state)
{
    static const size_t dims[][3] = { { 1, 1, 1 },   { 1, 7, 17 },  { 2, 16, 33 },   { 3, 49, 385 },
                                      { 5, 8, 800 }, { 4, 8, 481 }, { 1, 24, 1056 }, { 2, 3, 31 } };
    const struct kernels *k = bf16_under_test(state);
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++)
        for (size_t d = 0; d < COUNT(dims); d++) {
            size_t M = dims[d][0], N = dims[d][1], block = storage_block_values(type);
            size_t K = (dims[d][2] + block - 1) / block * block;
            struct term t;
            struct matrix w;
            random_term(&t, &w, M, N, K, false, true, type, N % 8 ? 0 : 8, PLAIN_NUMBERS);
            struct joint j = join(&t, 1, M, N);
            double *want = doubles(M * N), *size = doubles(M * N);
            float *y = random_reals(M * N);
            for (size_t i = 0; i < M * N; i++) {
                if (d % 2) want[i] = (double)y[i], size[i] = fabs(want[i]);
                for (size_t q = 0; q < K; q++) {
                    double ab = (double)j.a[i / N * j.K + q] * (double)j.b[i % N * j.K + q];
                    want[i] += ab, size[i] += fabs(ab);
                }
            }
            struct row_product p = { .y = y,
                                     .x = t.a,
                                     .ldy = N,
                                     .ldx = t.lda,
                                     .w = &w,
                                     .N = N,
                                     .K = K,
                                     .accumulate = d % 2 };
            k->matvec(&p, 1, M);
            double n = (double)(K < 14 ? K + 2 : 16);
            check_near_each("matvec in bf16", y, want, size, M * N, n * 0x1p-24);
            fences_check();
        }
}

/* Of arrays, which are the adapters', matvec is that of f32. */
static void test_matvec_arrays(void **state)
{
    enum { M = 3, N = 21, K = 77 };
    const struct kernels *k = bf16_under_test(state);
    const char *why, *set = strcmp(*state, "model") == 0 ? "base" : *state;
    const struct kernels *f32 = kernels_choose(set, NULL, COMPUTE_F32, &why);
    struct row_product p = { .y = reals(M * N),
                             .x = random_reals(M * K),
                             .ldy = N,
                             .ldx = K,
                             .b = random_reals(N * K),
                             .ldb = K,
                             .N = N,
                             .K = K };
    k->matvec(&p, 1, M);
    float *want = copy_of(p.y, M * N);
    f32->matvec(&p, 1, M);
    check_same_bits("matvec of arrays", p.y, want, M * N * sizeof *want);
}

/* ---- which kernel ---------------------------------------------------------------------------- */

static void test_choose(void **state)
{
    (void)state;
    const char *why;
    bool runs, pairs_run;
    const struct kernels *k, *set;
    const char *instruction = kernels_bf16_instruction(&pairs_run);
    assert_string_equal(compute_name(COMPUTE_F32), "f32");
    assert_string_equal(compute_name(COMPUTE_BF16), "bf16");
    for (size_t i = 0; (set = kernels_nth(i, &runs)); i++) {
        assert_int_equal(set->compute, COMPUTE_F32);
        assert_string_equal(set->product.isa, set->isa);
        k = kernels_choose(set->isa, NULL, COMPUTE_BF16, &why);
        assert_int_equal(k != NULL, runs);
        if (!runs) continue;
        assert_int_equal(k->compute, COMPUTE_BF16);
        assert_string_equal(k->isa, set->isa);
        assert_string_equal(k->product.isa, set->isa); /* forced: without the instruction */
        assert_false(k->product.faster);
        assert_true(k->matmul != set->matmul && k->matvec != set->matvec && k->add == set->add);
        assert_ptr_equal(kernels_choose(set->isa, "own", COMPUTE_BF16, &why), k);
        assert_null(kernels_choose(set->isa, "blas", COMPUTE_BF16, &why));
        assert_non_null(strstr(why, "LORAC_GEMM=blas"));
        assert_null(kernels_choose(set->isa, "mkl", COMPUTE_BF16, &why));
        assert_non_null(strstr(why, "mkl"));
    }
    k = kernels_choose(NULL, NULL, COMPUTE_BF16, &why);
    assert_string_equal(k->isa, kernels_choose(NULL, NULL, COMPUTE_F32, &why)->isa);
    assert_true(strlen(k->product.why) > 0);
    if (!pairs_run) {
        assert_string_equal(k->product.isa, k->isa);
        assert_true(k->product.f32_rate == 0 && k->product.bf16_rate == 0);
    } else {
        assert_true(k->product.f32_rate > 0 && k->product.bf16_rate > 0);
        bool faster = k->product.bf16_rate > k->product.f32_rate;
        assert_string_equal(k->product.isa, faster ? instruction : k->isa);
        assert_int_equal(k->product.faster, faster);
    }
    if (!instruction) return;
    k = kernels_choose(instruction, NULL, COMPUTE_BF16, &why);
    set = kernels_choose(instruction, NULL, COMPUTE_F32, &why);
    assert_int_equal(k != NULL, pairs_run);
    assert_int_equal(set != NULL, pairs_run);
    if (!k) {
        assert_non_null(strstr(why, instruction));
        assert_non_null(strstr(why, "this CPU does not have it"));
        return;
    }
    assert_string_equal(k->product.isa, instruction);
    assert_string_equal(k->isa, set->isa);
    assert_int_equal(set->compute, COMPUTE_F32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EVERY_KERNEL(test_sizes, "bf16: odd sizes, orientations and sums of terms have the bits "
                                    "of the definition"),
        ON_EVERY_KERNEL(test_kinds, "bf16: tiny, huge and non-finite numbers have the bits of the "
                                    "definition"),
        ON_EVERY_KERNEL(test_border, "bf16: sums at the border of zero have the bits of the "
                                     "definition"),
        ON_EVERY_KERNEL(test_types, "bf16: every storage type has the bits of the definition"),
        ON_EVERY_KERNEL(test_arrays, "bf16: the adapters' terms are those of f32"),
        ON_EVERY_KERNEL(test_threads, "bf16: bits depend neither on threads nor on other rows"),
        ON_EVERY_KERNEL(test_mode, "bf16: threads keep their floating-point mode"),
        ON_EVERY_KERNEL(test_double, "bf16: products are as exact as bf16 allows"),
        ON_EVERY_ISA(test_matvec, "bf16: matvec sums what the product sums"),
        ON_EVERY_ISA(test_matvec_arrays, "bf16: matvec of the adapters is that of f32"),
        ONCE(test_choose, "bf16: the kernel that was asked for, or the faster one, computes"),
    };
    return cmocka_run_group_tests_name("products in bf16", tests, NULL, NULL);
}
