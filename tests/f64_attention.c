/* Attention over segments in double: backward against finite differences, and both directions
 * against the definition and against plain causal attention over each root-to-leaf sequence.
 * Tolerances as in tests/f64_kernels.c. */
#include "tests/kernels_gradient.h"
#include "tests/kernels_tries.h"

/* Larger than there: the values of the large cases sum 10^4 products, and their rounding is divided
 * by the step. */
#define GRADIENT_TOLERANCE  1e-8
#define REFERENCE_TOLERANCE 1e-13

static const struct kernels *own(void)
{
    bool runs;
    return kernels_nth(0, &runs);
}

struct outputs {
    real *o, *lse, *dq, *dk, *dv;
    void *work;
};

static struct outputs outputs_of(const struct attention_case *a)
{
    size_t nq = a->T * a->H * a->D, nk = a->T * a->G * a->D;
    return (struct outputs){
        reals(nq), reals(a->H * a->T),
        reals(nq), reals(nk),
        reals(nk), fenced(own()->attention_work_bytes(a->T, a->n_seg, a->H, a->G, a->D), 1),
    };
}

static void run_forward(const struct attention_case *a, const struct outputs *r)
{
    own()->attention_forward(r->o, r->lse, a->q, a->k, a->v, a->seg, a->n_seg, a->T, a->H, a->G,
                             a->D, r->work);
}

static void run_backward(const struct attention_case *a, const struct outputs *r)
{
    own()->attention_backward(r->dq, r->dk, r->dv, a->dout, a->q, a->k, a->v, r->o, r->lse, a->seg,
                              a->n_seg, a->T, a->H, a->G, a->D, r->work);
}

/* ---- the definition -------------------------------------------------------------------------- */

static void check_definition(const struct kernels *k, struct attention_case *a)
{
    (void)k;
    struct outputs r = outputs_of(a);
    size_t nq = a->T * a->H * a->D, nk = a->T * a->G * a->D;
    double *o = doubles(nq), *lse = doubles(a->H * a->T);
    double *dq = doubles(nq), *dk = doubles(nk), *dv = doubles(nk);
    run_forward(a, &r);
    ref_attention(o, lse, a);
    check_near("o", r.o, o, nq, REFERENCE_TOLERANCE);
    check_near("lse", r.lse, lse, a->H * a->T, REFERENCE_TOLERANCE);
    run_backward(a, &r);
    ref_attention_backward(dq, dk, dv, a);
    /* dq and dk vanish where every row sees one key alone: measured with dv */
    double scale = fmax(largest(dv, nk), fmax(largest(dq, nq), largest(dk, nk)));
    double *scales = doubles(nq);
    for (size_t i = 0; i < nq; i++) scales[i] = scale;
    check_near_each("dq", r.dq, dq, scales, nq, REFERENCE_TOLERANCE);
    check_near_each("dk", r.dk, dk, scales, nk, REFERENCE_TOLERANCE);
    check_near_each("dv", r.dv, dv, scales, nk, REFERENCE_TOLERANCE);
}

static void test_definition(void **state)
{
    (void)state;
    for_each_attention(check_definition, NULL);
}

/* ---- a trie against its sequences ------------------------------------------------------------ */

static bool is_leaf(const struct attention_case *a, size_t s)
{
    for (size_t c = s + 1; c < a->n_seg; c++) {
        if (a->seg[c].parent == (int32_t)s) return false;
    }
    return true;
}

/* The rows of the sequence that ends with segment s, root first; how many. */
static size_t sequence_rows(size_t *rows, const struct attention_case *a, size_t s)
{
    size_t n = 0;
    for (int32_t p = (int32_t)s; p >= 0; p = a->seg[p].parent) {
        memmove(rows + a->seg[p].len, rows, n * sizeof *rows);
        for (size_t i = 0; i < a->seg[p].len; i++) rows[i] = a->seg[p].start + i;
        n += a->seg[p].len;
    }
    return n;
}

static real *gather(const real *x, const size_t *rows, size_t n, size_t width)
{
    real *out = reals(n * width);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * width, x + rows[i] * width, width * sizeof(real));
    return out;
}

static void scatter_add(double *out, const double *x, const size_t *rows, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < width; j++) out[rows[i] * width + j] += x[i * width + j];
}

/* Every sequence by itself, as one segment. A row that several share has its output in each, and
 * its cotangent in the first one only: so the sequences' gradients add up to the trie's. */
static void check_sequences(const struct kernels *k, struct attention_case *a)
{
    (void)k;
    struct outputs r = outputs_of(a);
    run_forward(a, &r);
    run_backward(a, &r);
    size_t wq = a->H * a->D, wk = a->G * a->D;
    size_t *rows = fenced(a->T, sizeof *rows);
    bool *counted = memset(fenced(a->T, sizeof *counted), 0, a->T * sizeof *counted);
    double *dq = doubles(a->T * wq), *dk = doubles(a->T * wk), *dv = doubles(a->T * wk);
    size_t mark = n_fences;
    for (size_t s = 0; s < a->n_seg; s++) {
        if (!is_leaf(a, s)) continue;
        size_t n = sequence_rows(rows, a, s);
        struct attention_case one = *a;
        one.n_seg = 1, one.T = n;
        one.seg[0] = (struct segment){ .len = (uint32_t)n, .parent = -1 };
        one.q = gather(a->q, rows, n, wq), one.dout = gather(a->dout, rows, n, wq);
        one.k = gather(a->k, rows, n, wk), one.v = gather(a->v, rows, n, wk);
        for (size_t i = 0; i < n; i++) {
            if (counted[rows[i]]) memset(one.dout + i * wq, 0, wq * sizeof(real));
            counted[rows[i]] = true;
        }
        double *o = doubles(n * wq), *lse = doubles(a->H * n);
        ref_attention(o, lse, &one);
        check_near("o of a sequence", gather(r.o, rows, n, wq), o, n * wq, REFERENCE_TOLERANCE);
        double *gq = doubles(n * wq), *gk = doubles(n * wk), *gv = doubles(n * wk);
        ref_attention_backward(gq, gk, gv, &one);
        scatter_add(dq, gq, rows, n, wq);
        scatter_add(dk, gk, rows, n, wk);
        scatter_add(dv, gv, rows, n, wk);
        assert_true(fences_release(mark));
    }
    if (largest(dq, a->T * wq) > 1e-9) {
        check_near("dq of sequences", r.dq, dq, a->T * wq, REFERENCE_TOLERANCE);
        check_near("dk of sequences", r.dk, dk, a->T * wk, REFERENCE_TOLERANCE);
    }
    check_near("dv of sequences", r.dv, dv, a->T * wk, REFERENCE_TOLERANCE);
}

static void test_sequences(void **state)
{
    (void)state;
    for_each_attention(check_sequences, NULL);
}

/* ---- finite differences ---------------------------------------------------------------------- */

struct attention_value {
    const struct attention_case *a;
    struct outputs r;
};

static double attention_value(const void *context)
{
    const struct attention_value *v = context;
    run_forward(v->a, &v->r);
    return inner(v->r.o, v->a->dout, v->a->T * v->a->H * v->a->D);
}

static void check_differences(const struct kernels *k, struct attention_case *a)
{
    (void)k;
    struct attention_value v = { a, outputs_of(a) };
    size_t nq = a->T * a->H * a->D, nk = a->T * a->G * a->D;
    run_forward(a, &v.r);
    run_backward(a, &v.r);
    struct function f = {
        attention_value,
        &v,
        { { "q", a->q, v.r.dq, nq }, { "k", a->k, v.r.dk, nk }, { "v", a->v, v.r.dv, nk } },
        3,
    };
    check_gradient("attention", &f, a->T < 50 ? 20 : 3, GRADIENT_TOLERANCE);
}

static void test_differences(void **state)
{
    (void)state;
    for_each_attention(check_differences, NULL);
}

/* ---- one token at a time --------------------------------------------------------------------- */

/* The rows of one segment, each as the newest of its cache: what the forward gives. */
static void check_decode(size_t T, size_t H, size_t G, size_t D)
{
    struct trie trie = { "", 1, { { (uint32_t)T, -1 } } };
    struct attention_case a = attention_case(&trie, H, G, D);
    struct outputs r = outputs_of(&a);
    run_forward(&a, &r);
    size_t stride = T * G * D + 3;
    real *k = reals(T * stride), *v = reals(T * stride), *o = reals(T * H * D);
    uint32_t *n_keys = fenced(T, sizeof *n_keys);
    for (size_t s = 0; s < T; s++) {
        n_keys[s] = (uint32_t)s + 1;
        memcpy(k + s * stride, a.k, n_keys[s] * G * D * sizeof(real));
        memcpy(v + s * stride, a.v, n_keys[s] * G * D * sizeof(real));
    }
    own()->attention_decode(o, a.q, k, v, n_keys, T, stride, T, H, G, D, reals(T * H * T));
    double *want = doubles(T * H * D);
    for (size_t i = 0; i < T * H * D; i++) want[i] = r.o[i];
    check_near("decode", o, want, T * H * D, REFERENCE_TOLERANCE);
    fences_check();
}

static void test_decode(void **state)
{
    (void)state;
    check_decode(1, 1, 1, 1);
    check_decode(2, 2, 1, 6);
    check_decode(33, 6, 2, 8);
    check_decode(98, 3, 1, 20);
}

int main(void)
{
    omp_set_num_threads(1); /* thousands of tiny calls; the float tests have the threads */
    const struct CMUnitTest tests[] = {
        ONCE(test_definition, "attention: forward gives what the definition gives"),
        ONCE(test_sequences,
             "attention: a path of segments gives what plain causal attention gives"),
        ONCE(test_differences, "attention: backward agrees with finite differences"),
        ONCE(test_decode, "attention: one new token gives what the whole text gives"),
    };
    return cmocka_run_group_tests_name("attention, double", tests, NULL, NULL);
}
