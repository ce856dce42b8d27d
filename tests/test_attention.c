/* Attention in float on every instruction set: against the definition in double, at large scores,
 * and bit by bit for 1, 2 and 3 threads.
 *
 * Tolerances, relative to the largest value of an output, u = 2^-24. A score is a sum of D products
 * and is wrong by a few u of sum |q k| scale, which moves its weight p by as much; exp adds 2 u,
 * sums over keys a few u. With inputs in [-1, 1) scores stay below 5: measured 3 u for o and lse,
 * 11 u for gradients, which sum over hundreds of queries. Allowed: 4 times that. A key too many or
 * too few among 400 shows as 40,000 u. */
#include "tests/kernels_tries.h"

#define UNIT               0x1p-24
#define OUTPUT_TOLERANCE   (12 * UNIT)
#define GRADIENT_TOLERANCE (48 * UNIT)

static void *workspace(const struct kernels *k, const struct attention_case *a)
{
    return fenced(k->attention_work_bytes(a->T, a->n_seg, a->H, a->G, a->D), 1);
}

/* ---- the definition -------------------------------------------------------------------------- */

static void check_definition(const struct kernels *k, struct attention_case *a)
{
    size_t nq = a->T * a->H * a->D, nk = a->T * a->G * a->D, nl = a->H * a->T;
    real *o = reals(nq), *lse = reals(nl), *dq = reals(nq), *dk = reals(nk), *dv = reals(nk);
    double *want = doubles(nq), *want_lse = doubles(nl);
    double *want_dq = doubles(nq), *want_dk = doubles(nk), *want_dv = doubles(nk);
    k->attention_forward(o, lse, a->q, a->k, a->v, a->seg, a->n_seg, a->T, a->H, a->G, a->D,
                         workspace(k, a));
    ref_attention(want, want_lse, a);
    check_near("o", o, want, nq, OUTPUT_TOLERANCE);
    /* lse is compared with 1 where it happens to be small: it is the logarithm of a weight */
    double *scale = doubles(nq);
    for (size_t i = 0; i < nq; i++) scale[i] = fmax(1, largest(want_lse, nl));
    check_near_each("lse", lse, want_lse, scale, nl, OUTPUT_TOLERANCE);
    k->attention_backward(dq, dk, dv, a->dout, a->q, a->k, a->v, o, lse, a->seg, a->n_seg, a->T,
                          a->H, a->G, a->D, workspace(k, a));
    ref_attention_backward(want_dq, want_dk, want_dv, a);
    /* dq and dk nearly cancel where rows see few keys: they are measured with dv */
    double top = fmax(largest(want_dv, nk), fmax(largest(want_dq, nq), largest(want_dk, nk)));
    for (size_t i = 0; i < nq; i++) scale[i] = top;
    check_near_each("dq", dq, want_dq, scale, nq, GRADIENT_TOLERANCE);
    check_near_each("dk", dk, want_dk, scale, nk, GRADIENT_TOLERANCE);
    check_near_each("dv", dv, want_dv, scale, nk, GRADIENT_TOLERANCE);
}

static void test_definition(void **state)
{
    for_each_attention(check_definition, kernels_under_test(state));
}

/* The largest head size, and scores of hundreds: nothing overflows, all of a row's weight may be on
 * one key. The rounding of the scores decides: sum |q k| scale is 384 * 100 / sqrt(384) = 2,000, of
 * which 8 u are allowed (measured: 1.4). */
static void test_large_scores(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    struct attention_case a = attention_case(&large_tries[2], 1, 1, ATTENTION_D_MAX);
    size_t n = a.T * a.D;
    for (size_t i = 0; i < n; i++) a.q[i] *= 20;
    for (size_t i = 0; i < n; i++) a.k[i] *= i / a.D % 2 ? 20 : -20;
    real *o = reals(n), *lse = reals(a.T), *dq = reals(n), *dk = reals(n), *dv = reals(n);
    double *want = doubles(n), *want_lse = doubles(a.T);
    k->attention_forward(o, lse, a.q, a.k, a.v, a.seg, a.n_seg, a.T, 1, 1, a.D, workspace(k, &a));
    ref_attention(want, want_lse, &a);
    assert_true(largest(want_lse, a.T) > 300);
    check_near("o, large scores", o, want, n, 16000 * UNIT);
    check_near("lse, large scores", lse, want_lse, a.T, 16000 * UNIT / largest(want_lse, a.T));
    k->attention_backward(dq, dk, dv, a.dout, a.q, a.k, a.v, o, lse, a.seg, a.n_seg, a.T, 1, 1, a.D,
                          workspace(k, &a));
    double *want_dq = doubles(n), *want_dk = doubles(n), *want_dv = doubles(n);
    ref_attention_backward(want_dq, want_dk, want_dv, &a);
    check_near("dq, large scores", dq, want_dq, n, 16000 * UNIT);
    check_near("dk, large scores", dk, want_dk, n, 16000 * UNIT);
    check_near("dv, large scores", dv, want_dv, n, 16000 * UNIT);
}

/* A NaN in one tree stays there. */
static void test_trees_apart(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    struct attention_case a = attention_case(&small_tries[3], 2, 1, 6);
    size_t nq = a.T * a.H * a.D, nk = a.T * a.G * a.D, first = a.seg[1].start, end = a.seg[2].start;
    for (size_t i = first * 6; i < end * 6; i++) a.k[i] = a.v[i] = (real)NAN;
    real *o = reals(nq), *lse = reals(a.H * a.T), *dq = reals(nq), *dk = reals(nk), *dv = reals(nk);
    k->attention_forward(o, lse, a.q, a.k, a.v, a.seg, a.n_seg, a.T, a.H, a.G, a.D,
                         workspace(k, &a));
    k->attention_backward(dq, dk, dv, a.dout, a.q, a.k, a.v, o, lse, a.seg, a.n_seg, a.T, a.H, a.G,
                          a.D, workspace(k, &a));
    for (size_t i = 0; i < nq; i++) {
        bool own = i / 12 >= first && i / 12 < end;
        assert_int_equal(isnan(o[i]) != 0, own);
        assert_int_equal(isnan(dq[i]) != 0, own);
    }
    for (size_t i = 0; i < nk; i++) {
        bool own = i / 6 >= first && i / 6 < end;
        assert_int_equal(isnan(dk[i]) != 0, own);
    }
}

/* ---- bits ------------------------------------------------------------------------------------ */

struct run {
    const struct kernels *k;
    struct attention_case a;
};

/* out = o, lse, dq, dk, dv one after the other */
static void run_both(const void *context, real *out)
{
    const struct kernels *k = ((const struct run *)context)->k;
    const struct attention_case *a = &((const struct run *)context)->a;
    size_t nq = a->T * a->H * a->D, nk = a->T * a->G * a->D;
    real *o = out, *lse = o + nq, *dq = lse + a->H * a->T, *dk = dq + nq, *dv = dk + nk;
    k->attention_forward(o, lse, a->q, a->k, a->v, a->seg, a->n_seg, a->T, a->H, a->G, a->D,
                         workspace(k, a));
    k->attention_backward(dq, dk, dv, a->dout, a->q, a->k, a->v, o, lse, a->seg, a->n_seg, a->T,
                          a->H, a->G, a->D, workspace(k, a));
}

static size_t run_size(const struct attention_case *a)
{
    return a->T * (2 * a->H * a->D + a->H + 2 * a->G * a->D);
}

static void test_threads(void **state)
{
    struct run r = { .k = kernels_under_test(state) };
    for (size_t t = 0; t < COUNT(large_tries); t++) {
        r.a = attention_case(&large_tries[t], 6, 2, 24);
        check_threads("attention", run_both, &r, run_size(&r.a));
        fences_check();
    }
}

/* A tree's bits do not depend on the other trees of the pass: of two equal trees both have the same
 * bits, and one alone has them too. */
static void test_passes(void **state)
{
    struct run r = { .k = kernels_under_test(state) }, both = { .k = r.k };
    static const struct trie one = { "", 2, { { 50, -1 }, { 71, 0 } } };
    static const struct trie two = { "", 4, { { 50, -1 }, { 71, 0 }, { 50, -1 }, { 71, 2 } } };
    enum { H = 3, D = 16 };
    r.a = attention_case(&one, H, 1, D);
    both.a = attention_case(&two, H, 1, D);
    size_t T = r.a.T, nq = T * H * D, nk = T * D;
    for (size_t half = 0; half < 2; half++) {
        memcpy(both.a.q + half * nq, r.a.q, nq * sizeof(real));
        memcpy(both.a.dout + half * nq, r.a.dout, nq * sizeof(real));
        memcpy(both.a.k + half * nk, r.a.k, nk * sizeof(real));
        memcpy(both.a.v + half * nk, r.a.v, nk * sizeof(real));
    }
    real *alone = reals(run_size(&r.a)), *pair = reals(run_size(&both.a));
    run_both(&r, alone);
    run_both(&both, pair);
    const real *dq = alone + nq + H * T, *pair_dq = pair + 2 * (nq + H * T);
    for (size_t half = 0; half < 2; half++) {
        check_same_bits("o", pair + half * nq, alone, nq * sizeof(real));
        check_same_bits("dq", pair_dq + half * nq, dq, nq * sizeof(real));
        check_same_bits("dk", pair_dq + 2 * nq + half * nk, dq + nq, nk * sizeof(real));
        check_same_bits("dv", pair_dq + 2 * (nq + nk) + half * nk, dq + nq + nk, nk * sizeof(real));
    }
}

/* ---- one token at a time --------------------------------------------------------------------- */

struct decode {
    const struct kernels *k;
    size_t n_seq, stride, max_keys, H, G, D;
    real *q, *keys, *values;
    uint32_t *n_keys;
};

static void run_decode(const void *context, real *o)
{
    const struct decode *d = context;
    d->k->attention_decode(o, d->q, d->keys, d->values, d->n_keys, d->n_seq, d->stride, d->max_keys,
                           d->H, d->G, d->D, reals(d->n_seq * d->H * d->max_keys));
}

static void ref_decode(double *o, const struct decode *d)
{
    size_t D = d->D;
    double *p = doubles(d->max_keys);
    for (size_t s = 0; s < d->n_seq; s++)
        for (size_t h = 0; h < d->H; h++, o += D) {
            size_t cache = s * d->stride + h / (d->H / d->G) * D;
            double sum = 0;
            for (size_t j = 0; j < d->n_keys[s]; j++) {
                double score = 0;
                for (size_t c = 0; c < D; c++)
                    score += (double)d->q[(s * d->H + h) * D + c] *
                             (double)d->keys[cache + j * d->G * D + c];
                sum += p[j] = exp(score / sqrt((double)D));
            }
            for (size_t j = 0; j < d->n_keys[s]; j++)
                for (size_t c = 0; c < D; c++)
                    o[c] += p[j] / sum * (double)d->values[cache + j * d->G * D + c];
        }
}

static void test_decode(void **state)
{
    const struct kernels *k = kernels_under_test(state);
    static const struct heads heads[] = { { 1, 1, 1 }, { 2, 1, 6 }, { 6, 2, 17 }, { 4, 4, 64 } };
    static const uint32_t lengths[] = { 1, 2, 17, 96, 97, 200 };
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct decode d = {
            k, COUNT(lengths), .max_keys = 200, .H = heads[i].H, .G = heads[i].G, .D = heads[i].D
        };
        d.stride = d.max_keys * d.G * d.D + i;
        d.q = random_reals(d.n_seq * d.H * d.D);
        d.keys = random_reals(d.n_seq * d.stride), d.values = random_reals(d.n_seq * d.stride);
        d.n_keys = memcpy(fenced(1, sizeof lengths), lengths, sizeof lengths);
        size_t n = d.n_seq * d.H * d.D;
        double *want = doubles(n);
        real *o = reals(n);
        run_decode(&d, o);
        ref_decode(want, &d);
        check_near("decode", o, want, n, OUTPUT_TOLERANCE);
        check_threads("decode", run_decode, &d, n);
        fences_check();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EVERY_ISA(test_definition,
                     "attention: forward and backward give what the definition gives"),
        ON_EVERY_ISA(test_large_scores,
                     "attention: large heads and scores of hundreds do not overflow"),
        ON_EVERY_ISA(test_trees_apart, "attention: a NaN in one tree stays in it"),
        ON_EVERY_ISA(test_threads, "attention: any number of threads gives the same bits"),
        ON_EVERY_ISA(test_passes,
                     "attention: a tree's bits do not depend on the other trees of the pass"),
        ON_EVERY_ISA(test_decode, "attention: one new token gives what the definition gives"),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
