/* Storage types: widening of every representable half, of blocks by the formula, and narrowing by
 * its definition, on every instruction set. All of it is exact: no tolerances. */
#include "src/formats/safetensors.h"
#include "tests/kernels_reference.h"

/* ---- definitions, in double ------------------------------------------------------------------ */

/* A half: sign, 5 bits of exponent, 10 of fraction. */
static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double size = exponent == 0    ? ldexp(fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -size : size;
}

static double bf16_value(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return (double)f;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

/* ggml's dequantize_row_q6_K, value by value: of each half of a block (128 values) 64 bytes hold
 * low nibbles, 32 the pairs of bits above them. */
static int q6_k_quant(const uint8_t *block, size_t j)
{
    size_t half = j / 128, group = j % 128 / 32, l = j % 32;
    const uint8_t *low = block + 64 * half, *high = block + 128 + 32 * half;
    int nibble = group < 2 ? low[l + 32 * group] & 15 : low[l + 32 * (group - 2)] >> 4;
    return (nibble | (high[l] >> (2 * group) & 3) << 4) - 32;
}

/* Value i of a row. The sum of Q4_1 is rounded to float once, as reading does. */
static double stored_value(enum storage_type type, const uint8_t *row, size_t i)
{
    const uint8_t *block = row + i / storage_block_values(type) * storage_block_bytes(type);
    size_t j = i % storage_block_values(type), nibble = j % 16;
    float f;
    switch (type) {
    case STORAGE_F32:
        memcpy(&f, row + 4 * i, sizeof f);
        return (double)f;
    case STORAGE_F16:
        return half_value(get16(row + 2 * i));
    case STORAGE_BF16:
        return bf16_value(get16(row + 2 * i));
    case STORAGE_Q8_0:
        return half_value(get16(block)) * (int8_t)block[2 + j];
    case STORAGE_Q4_0:
        return half_value(get16(block)) *
               ((j < 16 ? block[2 + nibble] & 15 : block[2 + nibble] >> 4) - 8);
    case STORAGE_Q4_1:
        f = (float)(half_value(get16(block)) *
                        (j < 16 ? block[4 + nibble] & 15 : block[4 + nibble] >> 4) +
                    half_value(get16(block + 2)));
        return (double)f;
    case STORAGE_Q6_K:
        f = (float)(half_value(get16(block + 208)) * (int8_t)block[192 + j / 16] *
                    q6_k_quant(block, j));
        return (double)f;
    default:
        return NAN;
    }
}

static void check_equal(const char *what, size_t i, double got, double want)
{
    if (isnan(want) ? !isnan(got) : got != want || signbit(got) != signbit(want))
        fail_msg("%s[%zu]: %.17g, wanted %.17g", what, i, got, want);
}

/* ---- widening -------------------------------------------------------------------------------- */

static void test_widen_halves(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { N = 65536 };
    uint16_t *all = fenced(N, sizeof *all);
    for (size_t i = 0; i < N; i++) all[i] = (uint16_t)i;
    real *x = reals(N);
    struct matrix w = { all, STORAGE_F16, 1, N, 0 };
    k->widen(x, &w, 0, 0, N);
    for (size_t i = 0; i < N; i++) check_equal("f16", i, (double)x[i], half_value((uint16_t)i));
    w.type = STORAGE_BF16;
    k->widen(x, &w, 0, 0, N);
    for (size_t i = 0; i < N; i++) check_equal("bf16", i, (double)x[i], bf16_value((uint16_t)i));
}

/* A matrix of random bits whose block scales are finite; the data begin at an odd address. */
static struct matrix random_matrix(enum storage_type type, size_t rows, size_t cols)
{
    size_t bytes = rows * storage_bytes(type, cols);
    uint8_t *p = fenced(bytes + 1, 1);
    p = (uintptr_t)p % 2 ? p : p + 1;
    random_blocks(p, type, bytes);
    return (struct matrix){ p, type, rows, cols, 0 };
}

/* Every type, from the first starts that it allows, with every length, of several rows. Block types
 * are read in whole spans, at any place of a block. */
static void test_widen_parts(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { ROWS = 3, WHOLE = 512, PLAIN = 160 };
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++) {
        bool blocks = storage_of(type)->blocks;
        size_t COLS = blocks ? WHOLE : PLAIN, step = blocks ? SPAN : 1;
        struct matrix w = random_matrix(type, ROWS, COLS);
        fences_keep();
        for (size_t row = 0; row < ROWS; row++)
            for (size_t start = 0; start < COLS && start < 20 * step; start += step)
                for (size_t n = 0; start + n <= COLS; n += step) {
                    const uint8_t *p = (const uint8_t *)w.data + row * storage_bytes(type, COLS);
                    real *x = reals(n);
                    k->widen(x, &w, row, start, n);
                    for (size_t i = 0; i < n; i++)
                        check_equal(storage_name(type), i, (double)x[i],
                                    stored_value(type, p, start + i));
                    fences_check();
                }
    }
}

/* Every block type's values are, bit for bit, those of the gguf package. The spans of a row are
 * read from the last to the first, so that none depends on the one before. */
static void test_widen_gguf(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    struct safetensors f;
    struct err e;
    if (safetensors_open(&f, "tests/golden/storage.safetensors", &e)) fail_msg("%s", e.msg);
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++) {
        char name[2][32];
        if (!storage_of(type)->blocks) continue;
        snprintf(name[0], sizeof name[0], "%s.blocks", storage_name(type));
        snprintf(name[1], sizeof name[1], "%s.values", storage_name(type));
        const struct tensor *blocks = safetensors_find(&f, name[0]),
                            *values = safetensors_find(&f, name[1]);
        if (!blocks || !values) fail_msg("no golden of %s", storage_name(type));
        size_t rows = values->dims[0], cols = values->dims[1];
        assert_int_equal(blocks->bytes, rows * storage_bytes(type, cols));
        struct matrix w = { blocks->data, type, rows, cols, 0 };
        const float *want = (const float *)(const void *)values->data;
        for (size_t row = 0; row < rows; row++)
            for (size_t start = cols; start > 0;) {
                real x[SPAN];
                start -= SPAN;
                k->widen(x, &w, row, start, SPAN);
                for (size_t i = 0; i < SPAN; i++)
                    check_equal(name[1], start + i, (double)x[i],
                                (double)want[row * cols + start + i]);
            }
    }
    safetensors_close(&f);
}

/* Rows stored as neighbouring pairs come out in halves. */
static void test_widen_pairs(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { HEADS = 3, D = 6 };
    float stored[HEADS * D];
    for (size_t h = 0; h < HEADS; h++)
        for (size_t j = 0; j < D / 2; j++)
            for (size_t c = 0; c < 2; c++)
                stored[h * D + 2 * j + c] = (float)(100 * h + 10 * c + j);
    struct matrix w = { stored, STORAGE_F32, HEADS * D, 1, D };
    for (size_t h = 0; h < HEADS; h++)
        for (size_t i = 0; i < D; i++) {
            real x;
            k->widen(&x, &w, h * D + i, 0, 1);
            assert_float_equal(x, 100 * h + 10 * (i / (D / 2)) + i % (D / 2), 0);
        }
}

/* ---- narrowing ------------------------------------------------------------------------------- */

static uint16_t narrow16(enum storage_type type, float f)
{
    uint8_t out[2];
    storage_narrow(out, type, &f, 1);
    return get16(out);
}

/* Every half and every bf16 survives the way to float and back. */
static void test_narrow_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double f16 = half_value((uint16_t)h), bf16 = bf16_value((uint16_t)h);
        if (isnan(f16)) {
            assert_true(isnan(half_value(narrow16(STORAGE_F16, (float)f16))));
        } else {
            assert_int_equal(narrow16(STORAGE_F16, (float)f16), h);
        }
        if (isnan(bf16)) {
            assert_true(isnan(bf16_value(narrow16(STORAGE_BF16, (float)bf16))));
        } else {
            assert_int_equal(narrow16(STORAGE_BF16, (float)bf16), h);
        }
    }
}

static float next_to(double x, double towards)
{
    return nextafterf((float)x, (float)towards);
}

/* Between neighbours a < b of the type: the middle goes to the even one of the two, a value next to
 * the middle to the nearer one. `step` bits of the code are one neighbour up. Includes the
 * subnormals; beyond the largest value the next would be infinity. */
static void check_ties(enum storage_type type, double (*value)(uint16_t), uint16_t infinity)
{
    for (uint32_t h = 0; h + 1 < infinity; h++) {
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            double a = value((uint16_t)(h | sign)), b = value((uint16_t)((h + 1) | sign));
            double middle = a / 2 + b / 2;
            if ((double)(float)middle != middle) continue; /* below float's own resolution */
            assert_int_equal(narrow16(type, (float)middle), (h + h % 2) | sign);
            assert_int_equal(narrow16(type, next_to(middle, a)), h | sign);
            assert_int_equal(narrow16(type, next_to(middle, b)), (h + 1) | sign);
        }
    }
    double top = value((uint16_t)(infinity - 1)), below = value((uint16_t)(infinity - 2));
    double middle = top + (top - below) / 2;
    assert_int_equal(narrow16(type, (float)middle), infinity);
    assert_int_equal(narrow16(type, next_to(middle, 0)), infinity - 1);
    assert_int_equal(narrow16(type, (float)INFINITY), infinity);
    assert_int_equal(narrow16(type, -(float)INFINITY), infinity | 0x8000);
    assert_int_equal(narrow16(type, FLT_MAX), infinity);
    assert_int_equal(narrow16(type, -0.0f), 0x8000);
}

static void test_narrow_ties(void **state)
{
    (void)state;
    check_ties(STORAGE_F16, half_value, 0x7C00);
    check_ties(STORAGE_BF16, bf16_value, 0x7F80);
    assert_int_equal(narrow16(STORAGE_F16, 0x1p-25f), 0); /* a tie with zero */
    assert_int_equal(narrow16(STORAGE_F16, FLT_MIN), 0);
}

/* ggml's reference quantisers, step by step; each intermediate is a float. */
static void ref_block(uint8_t *out, enum storage_type type, const float *x)
{
    float top = 0, low = x[0], high = x[0];
    for (int j = 0; j < SPAN; j++) {
        if (fabsf(x[j]) > fabsf(top)) top = x[j];
        low = x[j] < low ? x[j] : low;
        high = x[j] > high ? x[j] : high;
    }
    float d = type == STORAGE_Q8_0   ? fabsf(top) / 127.0f
              : type == STORAGE_Q4_0 ? top / -8.0f
                                     : (high - low) / 15.0f;
    float inverse = d == 0 ? 0 : 1.0f / d;
    memset(out, 0, storage_block_bytes(type));
    storage_narrow(out, STORAGE_F16, &d, 1);
    if (type == STORAGE_Q4_1) storage_narrow(out + 2, STORAGE_F16, &low, 1);
    for (int j = 0; j < SPAN; j++) {
        volatile float scaled = (type == STORAGE_Q4_1 ? x[j] - low : x[j]) * inverse;
        volatile float shifted = scaled + (type == STORAGE_Q4_0 ? 8.5f : 0.5f);
        int q = type == STORAGE_Q8_0 ? (int)round((double)scaled) : (int)floor((double)shifted);
        if (type == STORAGE_Q8_0) {
            out[2 + j] = (uint8_t)q;
        } else {
            uint8_t *nibbles = out + (type == STORAGE_Q4_0 ? 2 : 4);
            nibbles[j % 16] |= (uint8_t)((q > 15 ? 15 : q) << (j < 16 ? 0 : 4));
        }
    }
}

/* Random blocks of many sizes, and special ones: zeros, equal values, one value alone. */
static void random_block(float *x, size_t i)
{
    double size = exp2(30 * random_real()), shift = i % 3 ? 0 : 3 * random_real();
    for (int j = 0; j < SPAN; j++) x[j] = (float)(size * (random_real() + shift));
    if (i % 7 == 1) memset(x, 0, SPAN * sizeof *x);
    if (i % 7 == 2) x[random_below(SPAN)] = i % 2 ? 1.0f : -1.0f;
    if (i % 14 == 3)
        for (int j = 1; j < SPAN; j++) x[j] = x[0];
    if (i % 14 == 10)
        for (int j = 0; j < SPAN; j++) x[j] = (float)(j - 16); /* ties */
}

static void test_narrow_blocks(void **state)
{
    (void)state;
    enum { BLOCKS = 7000 };
    float *x = fenced(SPAN, sizeof *x);
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++) {
        if (!storage_of(type)->blocks || !storage_of(type)->written) continue;
        size_t bytes = storage_block_bytes(type);
        uint8_t *got = fenced(bytes, 1), want[64];
        for (size_t i = 0; i < BLOCKS; i++) {
            random_block(x, i);
            storage_narrow(got, type, x, SPAN);
            ref_block(want, type, x);
            check_same_bits(storage_name(type), got, want, bytes);
        }
    }
}

/* Blocks so small that 1/d overflows, d itself being far below the smallest half: zeros. */
static void test_narrow_tiny(void **state)
{
    (void)state;
    float x[SPAN];
    uint8_t block[64];
    for (enum storage_type type = STORAGE_F32; type < STORAGE_OTHER; type++) {
        if (!storage_of(type)->blocks || !storage_of(type)->written) continue;
        for (int j = 0; j < SPAN; j++) x[j] = (float)(j - 7) * 1e-42f;
        storage_narrow(block, type, x, SPAN);
        for (size_t j = 0; j < SPAN; j++) assert_true(stored_value(type, block, j) == 0);
    }
}

/* The stored values lie within half a step of the originals (and what rounding the scale to a half
 * adds: up to 2^-11 of it per step; Q4_0's clipped positive end is a whole step off). */
static void test_narrow_error(void **state)
{
    (void)state;
    static const struct {
        enum storage_type type;
        double steps, levels;
    } bound[] = { { STORAGE_Q8_0, 0.5, 127 }, { STORAGE_Q4_0, 1, 8 }, { STORAGE_Q4_1, 0.5, 15 } };
    float x[SPAN];
    uint8_t block[64];
    for (size_t t = 0; t < COUNT(bound); t++)
        for (size_t i = 0; i < 1000; i++) {
            double low = 1, high = -1, top = 0;
            for (int j = 0; j < SPAN; j++) {
                x[j] = (float)random_real();
                low = fmin(low, (double)x[j]), high = fmax(high, (double)x[j]);
                top = fmax(top, fabs((double)x[j]));
            }
            storage_narrow(block, bound[t].type, x, SPAN);
            double range = bound[t].type == STORAGE_Q4_1 ? high - low : top;
            double allowed = range / bound[t].levels * bound[t].steps + range * 0x1p-11 +
                             (bound[t].type == STORAGE_Q4_1 ? fabs(low) * 0x1p-11 : 0) + 1e-6;
            for (size_t j = 0; j < SPAN; j++) {
                double error = fabs(stored_value(bound[t].type, block, j) - (double)x[j]);
                assert_true(error <= allowed);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EVERY_ISA(test_widen_halves, "storage: every f16 and bf16 widens exactly"),
        ON_EVERY_ISA(test_widen_parts, "storage: any part of a row widens to the same values"),
        ON_EVERY_ISA(test_widen_gguf,
                     "storage: blocks widen to the values of the gguf package, in any order"),
        ON_EVERY_ISA(test_widen_pairs, "storage: interleaved rows come out in halves"),
        ONCE(test_narrow_round_trip, "storage: every f16 and bf16 survives widening and narrowing"),
        ONCE(test_narrow_ties, "storage: narrowing rounds ties to even"),
        ONCE(test_narrow_blocks, "storage: blocks narrow as their definition says"),
        ONCE(test_narrow_tiny, "storage: blocks of tiny values become zeros"),
        ONCE(test_narrow_error, "storage: narrowed values lie within half a step"),
    };
    return cmocka_run_group_tests_name("storage types", tests, NULL, NULL);
}
