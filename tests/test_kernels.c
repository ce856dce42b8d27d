/* The elementwise kernels, norms, cross entropy, dropout and the optimiser in float, on every
 * instruction set, against the definitions in double; exp(); which set is chosen.
 *
 * Tolerances are in u = 2^-24, half a unit in the last place at 1, relative to what the comment at
 * each check says, and about four times the largest error measured. */
#include <float.h>

#include "src/base/rng.h"
#include "tests/kernels_reference.h"

#define UNIT 0x1p-24

static const size_t lengths[] = { 1,  2,  7,  15,  16,  17,  47,  48,  49,
                                  95, 96, 97, 383, 384, 385, 577, 2049 };

/* ---- RMSNorm --------------------------------------------------------------------------------- */

/* The sum of squares is a sum of positive terms in VL chains: good to a few u at these lengths.
 * y and dx are compared with the largest of their row's. */
static void test_rmsnorm(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        size_t T = 1 + i % 4, C = lengths[i], n = T * C;
        real *x = random_reals(n), *w = random_reals(C), *dy = random_reals(n);
        real *y = reals(n), *rstd = reals(T), *before = random_reals(n), *dx = copy_of(before, n);
        double *want = doubles(n), *want_rstd = doubles(T);
        k->rmsnorm_forward(y, rstd, x, w, T, C, 1e-5f);
        ref_rmsnorm(want, want_rstd, x, w, T, C, (double)1e-5f);
        check_near("rmsnorm rstd", rstd, want_rstd, T, 16 * UNIT);
        check_near("rmsnorm y", y, want, n, 16 * UNIT);
        k->rmsnorm_backward(dx, dy, x, w, rstd, T, C);
        ref_rmsnorm_backward(want, dy, x, w, T, C, (double)1e-5f);
        double *scale = doubles(n), top = 1;
        for (size_t t = 0; t < T; t++) top = fmax(top, want_rstd[t]);
        for (size_t j = 0; j < n; j++) want[j] += (double)before[j], scale[j] = top;
        check_near_each("rmsnorm dx", dx, want, scale, n, 16 * UNIT);
        fences_check();
    }
}

/* ---- RoPE ------------------------------------------------------------------------------------ */

static void test_rope(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const size_t dims[][3] = { { 1, 1, 2 },  { 3, 2, 6 },    { 2, 3, 16 }, { 5, 1, 34 },
                                      { 3, 4, 80 }, { 97, 2, 128 }, { 2, 1, 194 } };
    for (size_t i = 0; i < COUNT(dims); i++) {
        size_t T = dims[i][0], heads = dims[i][1], D = dims[i][2], n = T * heads * D;
        real *c = reals(T * D / 2), *s = reals(T * D / 2), *x = random_reals(n);
        for (size_t j = 0; j < T * D / 2; j++) {
            double angle = 4 * random_real();
            c[j] = (real)cos(angle), s[j] = (real)sin(angle);
        }
        real *y = copy_of(x, n), *dx = copy_of(x, n);
        double *want = doubles(n);
        /* two products and a sum, of the order of 1 */
        k->rope_half_forward(y, c, s, T, heads, D);
        ref_rope_half(want, x, c, s, T, heads, D, 1);
        check_near("rope", y, want, n, 4 * UNIT);
        k->rope_half_backward(dx, c, s, T, heads, D);
        ref_rope_half(want, x, c, s, T, heads, D, -1);
        check_near("rope backward", dx, want, n, 4 * UNIT);
        fences_check();
    }
}

/* ---- SwiGLU ---------------------------------------------------------------------------------- */

/* y and dup relative to themselves: exp is good to 2.5 u, quotient and products add one rounding
 * each. dgate = d up s (1 + g (1 - s)) has a zero near g = -1.28, and of 1 - s little is left for
 * large g: its error of u is multiplied by g s. It is compared with |d up| (1 + |g| s). */
static void test_swiglu(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        size_t n = lengths[i];
        real *gate = random_reals(n), *up = random_reals(n), *dy = random_reals(n);
        real *y = reals(n), *dgate = reals(n), *dup = reals(n);
        double *want = doubles(n), *scale = doubles(n);
        for (size_t j = 0; j < n; j++) gate[j] *= j % 3 ? 4 : 80;
        k->swiglu_forward(y, gate, up, n);
        for (size_t j = 0; j < n; j++)
            scale[j] = fabs(want[j] = ref_silu((double)gate[j]) * (double)up[j]);
        check_near_each("swiglu y", y, want, scale, n, 12 * UNIT);
        k->swiglu_backward(dgate, dup, dy, gate, up, n);
        for (size_t j = 0; j < n; j++)
            scale[j] = fabs(want[j] = ref_silu((double)gate[j]) * (double)dy[j]);
        check_near_each("swiglu dup", dup, want, scale, n, 12 * UNIT);
        for (size_t j = 0; j < n; j++) {
            scale[j] = fabs((double)dy[j] * (double)up[j]) * (1 + fabs(ref_silu((double)gate[j])));
            want[j] = (double)dy[j] * (double)up[j] * ref_silu_slope((double)gate[j]);
        }
        check_near_each("swiglu dgate", dgate, want, scale, n, 12 * UNIT);
        k->swiglu_backward(gate, up, dy, gate, up, n);
        check_same_bits("swiglu in place", gate, dgate, n * sizeof(real));
        check_same_bits("swiglu in place", up, dup, n * sizeof(real));
        fences_check();
    }
}

/* Gates beyond exp's range: the limits, not NaN. */
static void test_swiglu_limits(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const real gates[] = { -FLT_MAX, -1000, -89, 1000, FLT_MAX, 0, -0.0f };
    enum { N = COUNT(gates) };
    real up[N], y[N], dy[N], dgate[N], dup[N];
    for (size_t i = 0; i < N; i++) up[i] = dy[i] = 1;
    k->swiglu_forward(y, gates, up, N);
    k->swiglu_backward(dgate, dup, dy, gates, up, N);
    for (size_t i = 0; i < N; i++) {
        assert_float_equal(y[i], gates[i] > 0 ? gates[i] : 0, 0);
        assert_float_equal(dup[i], gates[i] > 0 ? gates[i] : 0, 0);
        assert_float_equal(dgate[i], gates[i] > 0 ? 1 : gates[i] < 0 ? 0 : 0.5f, 0);
    }
}

/* ---- exp ------------------------------------------------------------------------------------- */

/* exp(x[i]) as the kernels compute it, n <= EXP_ROW values <= 0. Cross entropy's gradient is
 * weight / sum * exp(z - top). With a logit of 0 on top, exp(z) appears; its loss at that logit is
 * log(sum) in double, from which the float sum follows exactly; with weight = sum the factor is 1.
 */
enum { EXP_ROW = 63 };

static void kernel_exp(const struct kernels *k, real *out, const real *x, size_t n)
{
    real z[EXP_ROW + 1] = { 0 }, weight = 0;
    int32_t target = 0;
    double loss;
    uint8_t hit;
    memcpy(z + 1, x, n * sizeof(real));
    k->cross_entropy(&loss, &hit, z, &target, &weight, 1, n + 1, false);
    weight = (real)exp(loss);
    k->cross_entropy(&loss, &hit, z, &target, &weight, 1, n + 1, true);
    memcpy(out, z + 1, n * sizeof(real));
}

static double ulp_of(double x)
{
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, exponent - FLT_MANT_DIG);
}

/* Floats from -87.3 to -2^-30, evenly among all that there are, in vectors and at their ends. */
static void test_exp(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { STEPS = 40000 };
    float from = 0x1p-30f, to = 87.3f;
    uint32_t low, high;
    memcpy(&low, &from, 4), memcpy(&high, &to, 4);
    double worst = 0;
    for (size_t i = 0; i < STEPS; i++) {
        real x[EXP_ROW], y[EXP_ROW];
        size_t n = 1 + i % EXP_ROW;
        for (size_t j = 0; j < n; j++) {
            uint32_t bits = low + (uint32_t)random_below(high - low + 1);
            float f;
            memcpy(&f, &bits, 4);
            x[j] = -f;
        }
        kernel_exp(k, y, x, n);
        for (size_t j = 0; j < n; j++) {
            double want = exp((double)x[j]), error = fabs((double)y[j] - want) / ulp_of(want);
            if (!(error <= 1.25))
                fail_msg("exp(%.9g): %.9g, %.2f ulp", (double)x[j], (double)y[j], error);
            worst = fmax(worst, error);
        }
    }
    report_error("exp, ulp", worst, 1.25);
    static const real special[] = { 0, -0.0f, -87.3f, -87.5f, -1e30f, -(real)INFINITY };
    real y[COUNT(special)];
    kernel_exp(k, y, special, COUNT(special));
    assert_float_equal(y[0], 1, 0);
    assert_float_equal(y[1], 1, 0);
    assert_true(y[2] > 0);
    for (size_t i = 3; i < COUNT(special); i++) assert_float_equal(y[i], 0, 0);
}

/* ---- cross entropy --------------------------------------------------------------------------- */

/* dz relative to the weight: z - top is exact to u of it, the sum of positive terms to a few u. The
 * loss relative to 1 or itself. */
static void test_cross_entropy(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const size_t vocabularies[] = { 1, 2, 7, 15, 16, 17, 49, 97, 577, 2049, 32000, 49152 };
    for (size_t i = 0; i < COUNT(vocabularies); i++) {
        size_t M = 1 + i % 3, V = vocabularies[i], n = M * V;
        real *z = random_reals(n), *weight = random_reals(M), *dz;
        for (size_t j = 0; j < n; j++) z[j] = 8 * z[j] + (real)(100 * (i % 2));
        int32_t *target = fenced(M, sizeof *target);
        double *loss = doubles(M), *want = doubles(n), *scale = doubles(n);
        uint8_t *hit = fenced(M, 1);
        for (size_t m = 0; m < M; m++) target[m] = (int32_t)random_below(V);
        if (M > 1) weight[1] = 0;
        dz = copy_of(z, n);
        k->cross_entropy(loss, hit, dz, target, weight, M, V, false);
        check_same_bits("logits, forward only", dz, z, n * sizeof(real));
        k->cross_entropy(loss, hit, dz, target, weight, M, V, true);
        for (size_t m = 0; m < M; m++) {
            const real *row = z + m * V;
            double l = ref_cross_entropy(want + m * V, row, (size_t)target[m], (double)weight[m],
                                         V);
            double error = fabs(loss[m] - l) / fmax(1, l);
            if (!(error <= 16 * UNIT)) fail_msg("loss %.9g, wanted %.9g", loss[m], l);
            report_error("cross entropy", error, 16 * UNIT);
            size_t top = 0;
            for (size_t j = 1; j < V; j++) top = row[j] > row[top] ? j : top;
            assert_int_equal(hit[m], (size_t)target[m] == top);
            for (size_t j = 0; j < V; j++) scale[m * V + j] = fabs((double)weight[m]);
        }
        check_near_each("cross entropy dz", dz, want, scale, n, 16 * UNIT);
        fences_check();
    }
}

static void test_cross_entropy_cases(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { V = 40 };
    real z[V], weight = 1;
    double loss;
    uint8_t hit;
    for (int32_t target = 0; target < V; target++) { /* equal logits: the first counts as largest */
        for (int j = 0; j < V; j++) z[j] = -3;
        z[20] = z[23] = z[39] = 7;
        k->cross_entropy(&loss, &hit, z, &target, &weight, 1, V, false);
        assert_int_equal(hit, target == 20);
    }
    for (int j = 0; j < V; j++) z[j] = -(real)INFINITY; /* excluded tokens */
    z[5] = 1e30f, z[6] = 1e30f;
    int32_t target = 6;
    k->cross_entropy(&loss, &hit, z, &target, &weight, 1, V, true);
    assert_true(fabs(loss - log(2)) < 1e-7);
    for (int j = 0; j < V; j++) assert_float_equal(z[j], j == 5 ? 0.5 : j == 6 ? -0.5 : 0, 1e-7);
    for (int at = 0; at < V; at += 13) { /* a NaN is never lost */
        for (int j = 0; j < V; j++) z[j] = (real)random_real();
        z[at] = (real)NAN;
        k->cross_entropy(&loss, &hit, z, &target, &weight, 1, V, true);
        assert_true(isnan(loss) && isnan(z[0]) && isnan(z[V - 1]));
    }
}

/* ---- dropout --------------------------------------------------------------------------------- */

enum { DROP_T = 9, DROP_N = 53 };

static void drop(const struct kernels *k, real *y, const real *x, const struct dropout *d,
                 const uint32_t *example, const uint32_t *pos)
{
    k->dropout(y, x, d, example, pos, DROP_T, DROP_N, false);
}

/* The counters as the file states them; the philox of src/base is held to its known answer. */
static void test_dropout(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const uint32_t example[DROP_T] = { 3, 3, 3, 3, 8, 8, 8, 1u << 31, 0 };
    static const uint32_t pos[DROP_T] = { 0, 1, 2, 3, 0, 1, 4000000000u, 7, 0 };
    struct dropout d = {
        .p = 0.25f, .seed = 0x0123456789abcdefu, .step = 77, .layer = 31, .input = 6
    };
    uint32_t zero[4] = { 0 }, known[4];
    philox4x32(known, zero, zero);
    assert_int_equal(known[0], 0x6627e8d5);
    assert_int_equal(known[3], 0x9b00dbd8);
    real *x = random_reals(DROP_T * DROP_N), *y = reals(DROP_T * DROP_N);
    drop(k, y, x, &d, example, pos);
    for (size_t t = 0; t < DROP_T; t++)
        for (size_t c = 0; c < DROP_N; c++) {
            uint32_t counter[4] = { (uint32_t)c / 4, pos[t], example[t], 31 * 16 + 6 }, word[4];
            uint32_t key[2] = { 0x89abcdefu ^ RNG_DROPOUT, 0x01234567u ^ 77 };
            philox4x32(word, counter, key);
            real xi = x[t * DROP_N + c];
            double want = word[c % 4] * 0x1p-32 < 0.25 ? 0 : (double)xi / 0.75;
            assert_true(fabs((double)y[t * DROP_N + c] - want) <= 2 * UNIT * fabs(want));
        }
    real *before = random_reals(DROP_T * DROP_N), *after = copy_of(before, DROP_T * DROP_N);
    k->dropout(after, x, &d, example, pos, DROP_T, DROP_N, true);
    for (size_t i = 0; i < DROP_T * DROP_N; i++)
        assert_true(fabsf(after[i] - (before[i] + y[i])) <= 4 * (real)UNIT);
    d.p = 0;
    drop(k, y, x, &d, example, pos);
    check_same_bits("dropout of p = 0", y, x, DROP_T * DROP_N * sizeof(real));
}

/* A mask depends on its key and on nothing else: not on the row's place, nor on the width. */
static void test_dropout_key(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    uint32_t example[DROP_T], pos[DROP_T], swapped_example[DROP_T], swapped_pos[DROP_T];
    enum { N = DROP_T * DROP_N };
    real ones[N], y[N], other[N];
    for (size_t i = 0; i < N; i++) ones[i] = 1;
    for (uint32_t t = 0; t < DROP_T; t++) {
        example[t] = t / 4, pos[t] = t % 4;
        swapped_example[DROP_T - 1 - t] = t / 4, swapped_pos[DROP_T - 1 - t] = t % 4;
    }
    struct dropout d = { .p = 0.5f, .seed = 5, .step = 1, .layer = 2, .input = 3 };
    drop(k, y, ones, &d, example, pos);
    drop(k, other, ones, &d, swapped_example, swapped_pos);
    for (size_t t = 0; t < DROP_T; t++)
        check_same_bits("row elsewhere", y + t * DROP_N, other + (DROP_T - 1 - t) * DROP_N,
                        DROP_N * sizeof(real));
    k->dropout(other, ones, &d, example, pos, DROP_T, 6, false);
    for (size_t t = 0; t < DROP_T; t++)
        check_same_bits("narrower", y + t * DROP_N, other + t * 6, 6 * sizeof(real));
    struct dropout changed[] = { d, d, d, d, d };
    changed[0].seed += 1, changed[1].seed += 1ull << 32, changed[2].step++, changed[3].layer++;
    changed[4].input++;
    for (size_t i = 0; i < COUNT(changed); i++) {
        size_t equal = 0;
        drop(k, other, ones, &changed[i], example, pos);
        for (size_t j = 0; j < N; j++) equal += y[j] == other[j];
        assert_in_range(equal, N / 2 - 60, N / 2 + 60); /* half of 477, 5 sigma = 55 */
    }
}

static void test_dropout_share(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    enum { T = 100, N = 1000 };
    static const real shares[] = { 0.05f, 0.1f, 0.5f, 0.9f };
    real *ones = reals(T * N), *y = reals(T * N);
    uint32_t example[T], pos[T];
    for (uint32_t t = 0; t < T; t++) example[t] = 1, pos[t] = t;
    for (size_t i = 0; i < T * N; i++) ones[i] = 1;
    for (size_t i = 0; i < COUNT(shares); i++) {
        struct dropout d = { .p = shares[i], .seed = 1 };
        k->dropout(y, ones, &d, example, pos, T, N, false);
        size_t zeros = 0;
        for (size_t j = 0; j < T * N; j++) zeros += y[j] == 0;
        double p = (double)shares[i], sigma = sqrt(p * (1 - p) * T * N);
        assert_true(fabs((double)zeros - p * T * N) < 5 * sigma);
    }
}

/* ---- sums and the optimiser ------------------------------------------------------------------ */

static void test_vectors(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    for (size_t i = 0; i < COUNT(lengths); i++) {
        size_t n = lengths[i];
        real *x = random_reals(n), *y = random_reals(n), *z = copy_of(y, n), *c = reals(n);
        k->add(z, x, n);
        for (size_t j = 0; j < n; j++) assert_true(z[j] == x[j] + y[j]);
        k->scale(z, 0.3f, n);
        for (size_t j = 0; j < n; j++) assert_true(z[j] == (x[j] + y[j]) * 0.3f);
        k->copy(c, x, n);
        check_same_bits("copy", c, x, n * sizeof(real));
        double sum = 0;
        for (size_t j = 0; j < n; j++) sum += (double)x[j] * (double)x[j];
        assert_true(fabs(k->sum_squares(x, n) - sum) <= 1e-14 * sum);
        fences_check();
    }
    assert_true(k->sum_squares(NULL, 0) == 0);
}

/* More than one round of blocks (4096 values, 1024 of them), and any number of threads. */
/* bf16 is rounded as writers of files do it, and a NaN stays one. */
static void test_bf16(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const float special[] = { 0,       -0.0f,    1.00390625f, 1.01171875f, FLT_MIN,
                                     FLT_MAX, INFINITY, -INFINITY,   NAN,         1e-42f,
                                     3.4e38f, -2.5f,    65280.5f };
    for (size_t n = 1; n < 300; n += 37) {
        real *x = random_reals(n), *y = reals(n), *z = copy_of(x, n);
        uint16_t *bits = fenced(n, sizeof *bits), *want = fenced(n, sizeof *want);
        for (size_t i = 0; i < n && i < COUNT(special); i++) x[i] = z[i] = special[i];
        storage_narrow(want, STORAGE_BF16, x, n);
        k->to_bf16(bits, x, n);
        assert_memory_equal(bits, want, n * sizeof *bits);
        k->from_bf16(y, bits, n);
        k->round_bf16(z, n);
        for (size_t i = 0; i < n; i++) {
            assert_true(isnan(x[i]) ? isnan(y[i]) : y[i] == z[i]);
            if (isfinite(x[i]) && fabsf(x[i]) >= FLT_MIN && isfinite(y[i])) {
                assert_true(fabsf(y[i] - x[i]) <= 0x1p-8f * fabsf(x[i]));
            }
        }
    }
}

static void test_sum_squares(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    size_t n = 4096 * 1024 + 4096 * 3 + 17;
    real *x = random_reals(n);
    double sum = 0, got[4];
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    int before = omp_get_max_threads();
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        got[threads] = k->sum_squares(x, n);
    }
    omp_set_num_threads(before);
    assert_true(fabs(got[1] - sum) <= 1e-12 * sum);
    check_same_bits("sum_squares, 2 threads", &got[2], &got[1], sizeof(double));
    check_same_bits("sum_squares, 3 threads", &got[3], &got[1], sizeof(double));
}

/* One step from a random state, parameters at 0 so that the update itself is seen: every factor is
 * good to a u or two. Moments relative to the sizes that they add. */
static void test_adamw(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    double lr = 2e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0.01;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        size_t n = lengths[i];
        int t = (int)i * i + 1;
        real *p = reals(n), *g = random_reals(n), *m = random_reals(n), *v = random_reals(n);
        double *dp = doubles(n), *dm = doubles(n), *dv = doubles(n), *scale = doubles(n);
        struct adamw o = { .lr = lr,
                           .beta1 = beta1,
                           .beta2 = beta2,
                           .eps = eps,
                           .weight_decay = decay,
                           .correction1 = 1 - pow(beta1, t),
                           .correction2 = sqrt(1 - pow(beta2, t)),
                           .grad_scale = 0.5 };
        for (size_t j = 0; j < n; j++) {
            p[j] = 0, g[j] *= 1e-3f;
            m[j] = t == 1 ? 0 : m[j] * 1e-4f, v[j] = t == 1 ? 0 : fabsf(v[j]) * 1e-8f;
            dm[j] = (double)m[j], dv[j] = (double)v[j];
            scale[j] = fabs(dm[j]) + fabs(0.05 * (double)g[j]);
            ref_adamw(&dp[j], &dm[j], &dv[j], 0.5 * (double)g[j], lr, beta1, beta2, eps, decay, t);
        }
        k->adamw(p, m, v, g, n, &o);
        check_near_each("adamw m", m, dm, scale, n, 4 * UNIT);
        for (size_t j = 0; j < n; j++) scale[j] *= fabs(dp[j] / dm[j]);
        check_near_each("adamw p", p, dp, scale, n, 16 * UNIT);
        check_near_each("adamw v", v, dv, dv, n, 8 * UNIT);
        fences_check();
    }
}

/* Weight decay alone: p shrinks by lr * decay, which a float of 1 - lr * decay carries to u. */
static void test_adamw_decay(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    real p = 3, m = 0, v = 0, g = 0;
    struct adamw o = { .lr = 2e-4,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .correction1 = 0.1,
                       .correction2 = 0.03,
                       .grad_scale = 1 };
    k->adamw(&p, &m, &v, &g, 1, &o);
    assert_true(fabs((double)p - 3 * (1 - 2e-5)) <= 4 * UNIT * 3);
    assert_true(m == 0 && v == 0);
}

/* ---- bits ------------------------------------------------------------------------------------ */

/* BITS_N is more than what swiglu_forward leaves to one thread. */
enum { BITS_N = 5003, BITS_T = 13, BITS_C = 77 };

struct inputs {
    const struct kernels *k;
    const real *a, *b, *c, *d; /* BITS_N each */
};

static struct inputs inputs_of(const struct kernels *k)
{
    return (struct inputs){ k, random_reals(BITS_N), random_reals(BITS_N), random_reals(BITS_N),
                            random_reals(BITS_N) };
}

static void run_add_scale(const void *context, real *out)
{
    const struct inputs *in = context;
    in->k->copy(out, in->a, BITS_N);
    in->k->add(out, in->b, BITS_N);
    in->k->scale(out, 0.7f, BITS_N);
}

static void run_swiglu(const void *context, real *out)
{
    const struct inputs *in = context;
    in->k->swiglu_forward(out, in->a, in->b, BITS_N);
    in->k->swiglu_backward(out + BITS_N, out + 2 * BITS_N, in->c, in->a, in->b, BITS_N);
}

static void adamw_range(const struct inputs *in, real *out, size_t first, size_t n)
{
    struct adamw o = { .lr = 1e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .correction1 = 0.19,
                       .correction2 = 0.0447,
                       .grad_scale = 0.3 };
    real *p = out + first, *m = p + BITS_N, *v = m + BITS_N;
    for (size_t i = 0; i < n; i++) {
        p[i] = in->a[first + i], m[i] = in->b[first + i], v[i] = fabsf(in->c[first + i]);
    }
    in->k->adamw(p, m, v, in->d + first, n, &o);
}

static void run_adamw(const void *context, real *out)
{
    adamw_range(context, out, 0, BITS_N);
}

static void run_rows(const void *context, real *out)
{
    const struct inputs *in = context;
    enum { N = BITS_T * BITS_C };
    real *y = out, *rstd = y + N, *dx = rstd + BITS_T, *turned = dx + N, *z = turned + N;
    in->k->rmsnorm_forward(y, rstd, in->a, in->b, BITS_T, BITS_C, 1e-5f);
    memcpy(dx, in->c, N * sizeof(real));
    in->k->rmsnorm_backward(dx, in->d, in->a, in->b, rstd, BITS_T, BITS_C);
    memcpy(turned, in->a, N * sizeof(real));
    in->k->rope_half_forward(turned, in->b, in->c, BITS_T, 7, 10);
    memcpy(z, in->d, N * sizeof(real));
    int32_t target[BITS_T];
    double loss[BITS_T];
    uint8_t hit[BITS_T];
    for (int32_t t = 0; t < BITS_T; t++) target[t] = 3 * t;
    in->k->cross_entropy(loss, hit, z, target, in->a, BITS_T, BITS_C, true);
    memcpy(z + N, loss, sizeof loss);
    uint32_t example[BITS_T] = { 0 }, pos[BITS_T];
    for (uint32_t t = 0; t < BITS_T; t++) pos[t] = t;
    struct dropout d = { .p = 0.3f, .seed = 4 };
    in->k->dropout(z + N + 2 * BITS_T, in->a, &d, example, pos, BITS_T, BITS_C, false);
}

static void test_threads(void **state)
{
    struct inputs in = inputs_of(kernels_under_test(state));
    check_threads("add, scale, copy", run_add_scale, &in, BITS_N);
    check_threads("swiglu", run_swiglu, &in, 3 * BITS_N);
    check_threads("adamw", run_adamw, &in, 3 * BITS_N);
    /* the gap after turned: rope writes 7 heads of 10 per row, the others stay as copied */
    check_threads("rows", run_rows, &in, 5 * BITS_T * BITS_C + 3 * BITS_T);
}

/* Elements meet the ends of vectors and of threads' shares: the bits must not tell which. */
static void test_neighbours(void **state)
{
    struct inputs in = inputs_of(kernels_under_test(state));
    real *all = reals(3 * BITS_N), *some = reals(3 * BITS_N);
    run_adamw(&in, all);
    for (size_t first = 0, n; first < BITS_N; first += n) {
        n = 1 + first % 5 * 9;
        n = first + n > BITS_N ? BITS_N - first : n;
        adamw_range(&in, some, first, n);
    }
    check_same_bits("adamw in pieces", some, all, 3 * BITS_N * sizeof(real));
    run_swiglu(&in, all);
    for (size_t i = 0; i < BITS_N; i++) {
        in.k->swiglu_forward(some + i, in.a + i, in.b + i, 1);
        in.k->swiglu_backward(some + BITS_N + i, some + 2 * BITS_N + i, in.c + i, in.a + i,
                              in.b + i, 1);
    }
    check_same_bits("swiglu one by one", some, all, 3 * BITS_N * sizeof(real));
}

/* ---- which set runs -------------------------------------------------------------------------- */

static void test_choose(void **state)
{
    (void)state;
    const char *why;
    bool runs, last_runs = false;
    const struct kernels *k, *best = NULL;
    assert_null(kernels_choose("sse9", NULL, COMPUTE_F32, &why));
    assert_non_null(strstr(why, "sse9"));
    assert_null(kernels_choose("", NULL, COMPUTE_F32, &why));
    assert_null(kernels_choose(NULL, "mkl", COMPUTE_F32, &why));
    assert_non_null(strstr(why, "mkl"));
    assert_null(kernels_choose(NULL, "", COMPUTE_F32, &why));
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++) {
        const struct kernels *named = kernels_choose(k->isa, "own", COMPUTE_F32, &why);
        assert_ptr_equal(named, runs ? k : NULL);
        if (!runs) assert_non_null(strstr(why, k->isa));
        const struct kernels *blas = kernels_choose(k->isa, "blas", COMPUTE_F32, &why);
        assert_int_equal(blas != NULL, runs);
        if (runs) {
            assert_string_equal(blas->isa, k->isa);
            assert_string_equal(blas->gemm, "blas");
            assert_string_equal(k->gemm, "own");
            assert_true(blas->matmul != k->matmul && blas->matvec == k->matvec);
            best = k;
        }
        last_runs = runs;
    }
    (void)last_runs;
    assert_non_null(best);
    assert_ptr_equal(kernels_choose(NULL, NULL, COMPUTE_F32, &why), best);
    assert_string_equal(kernels_nth(0, &runs)->isa, "base");
    assert_true(runs);
    assert_null(kernels_nth(99, &runs));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EVERY_ISA(test_rmsnorm, "rmsnorm: forward and backward follow the definition"),
        ON_EVERY_ISA(test_rope, "rope: forward and backward follow the definition"),
        ON_EVERY_ISA(test_swiglu, "swiglu: forward and backward follow the definition"),
        ON_EVERY_ISA(test_swiglu_limits,
                     "swiglu: gates beyond exp's range give the limits, not NaN"),
        ON_EVERY_ISA(test_exp, "exp: every range of floats is within its error"),
        ON_EVERY_ISA(test_cross_entropy, "cross entropy: loss and gradient follow the definition"),
        ON_EVERY_ISA(test_cross_entropy_cases, "cross entropy: the first of equal logits is the "
                                               "largest, infinities have their limits"),
        ON_EVERY_ISA(test_dropout, "dropout: the mask follows its counters"),
        ON_EVERY_ISA(test_dropout_key, "dropout: a mask depends on its key alone"),
        ON_EVERY_ISA(test_dropout_share, "dropout: the share of zeros is p"),
        ON_EVERY_ISA(test_vectors, "vectors: add, scale and copy are exact"),
        ON_EVERY_ISA(test_bf16, "bf16: rounding is to nearest even, NaN stays NaN"),
        ON_EVERY_ISA(test_sum_squares,
                     "sum of squares: it is the sum, and the same bits on any number of threads"),
        ON_EVERY_ISA(test_adamw, "adamw: a step follows the formula"),
        ON_EVERY_ISA(test_adamw_decay, "adamw: weight decay alone shrinks by lr * decay"),
        ON_EVERY_ISA(test_threads, "kernels: any number of threads gives the same bits"),
        ON_EVERY_ISA(test_neighbours,
                     "kernels: an element's bits do not depend on its place in a vector"),
        ONCE(test_choose,
             "kernels: the best set that the CPU has is chosen, an unknown name refused"),
    };
    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
