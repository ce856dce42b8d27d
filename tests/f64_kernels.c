/* Backward against finite differences, and both directions against plain references, in the build
 * where real is double: everything but attention (tests/f64_attention.c).
 *
 * Tolerances. Finite differences are good to about 1e-12 (tests/kernels_gradient.h), references to
 * some roundings of 1e-16 times the length of a sum; a wrong term shows as 1e-3 or more. */
#include "tests/kernels_gradient.h"
#include "tests/kernels_reference.h"

#define GRADIENT_TOLERANCE  1e-9
#define REFERENCE_TOLERANCE 1e-13

/* Large enough for its place to matter and for the fifth derivative to be small at C = 1. */
#define EPS 0.125

static const struct kernels *own(void)
{
    bool runs;
    return kernels_nth(0, &runs);
}

/* after - before: what a backward has added. */
static real *added(const real *after, const real *before, size_t n)
{
    real *d = reals(n);
    for (size_t i = 0; i < n; i++) d[i] = after[i] - before[i];
    return d;
}

/* ---- RMSNorm --------------------------------------------------------------------------------- */

struct rmsnorm {
    size_t T, C;
    real *x, *w, *dy, *y, *rstd;
};

static double rmsnorm_value(const void *context)
{
    const struct rmsnorm *n = context;
    own()->rmsnorm_forward(n->y, n->rstd, n->x, n->w, n->T, n->C, EPS);
    return inner(n->y, n->dy, n->T * n->C);
}

static void test_rmsnorm(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 1, 1 }, { 1, 2 }, { 3, 7 }, { 2, 49 }, { 5, 64 } };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t T = sizes[i][0], C = sizes[i][1], n = T * C;
        struct rmsnorm r = { T,        C,       random_reals(n), random_reals(C), random_reals(n),
                             reals(n), reals(T) };
        rmsnorm_value(&r);
        double *y = doubles(n), *rstd = doubles(T), *want = doubles(n);
        ref_rmsnorm(y, rstd, r.x, r.w, T, C, EPS);
        check_near("rmsnorm y", r.y, y, n, REFERENCE_TOLERANCE);
        check_near("rmsnorm rstd", r.rstd, rstd, T, REFERENCE_TOLERANCE);

        real *before = random_reals(n), *after = copy_of(before, n);
        own()->rmsnorm_backward(after, r.dy, r.x, r.w, r.rstd, T, C);
        real *dx = added(after, before, n);
        ref_rmsnorm_backward(want, r.dy, r.x, r.w, T, C, EPS);
        check_near("rmsnorm dx", dx, want, n, REFERENCE_TOLERANCE * 10);
        struct function f = { rmsnorm_value, &r, { { "x", r.x, dx, n } }, 1 };
        check_gradient("rmsnorm", &f, 1000, GRADIENT_TOLERANCE);
        fences_check();
    }
}

/* ---- RoPE ------------------------------------------------------------------------------------ */

static void test_rope(void **state)
{
    (void)state;
    static const size_t sizes[][3] = { { 1, 1, 2 }, { 3, 2, 6 }, { 5, 3, 8 }, { 7, 2, 80 } };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t T = sizes[i][0], heads = sizes[i][1], D = sizes[i][2], n = T * heads * D;
        real *c = reals(T * D / 2), *s = reals(T * D / 2);
        for (size_t j = 0; j < T * D / 2; j++) {
            double angle = 3 * random_real();
            c[j] = cos(angle), s[j] = sin(angle);
        }
        real *x = random_reals(n), *dy = random_reals(n), *y = copy_of(x, n), *dx = copy_of(dy, n);
        double *want = doubles(n);
        own()->rope_half_forward(y, c, s, T, heads, D);
        ref_rope_half(want, x, c, s, T, heads, D, 1);
        check_near("rope y", y, want, n, REFERENCE_TOLERANCE);
        own()->rope_half_backward(dx, c, s, T, heads, D);
        ref_rope_half(want, dy, c, s, T, heads, D, -1);
        check_near("rope dx", dx, want, n, REFERENCE_TOLERANCE);
        /* A linear map and its transpose: <dy, R x> = <R' dy, x>; a rotation's is its inverse. */
        double left = inner(dy, y, n), right = inner(dx, x, n);
        assert_true(fabs(left - right) <= REFERENCE_TOLERANCE * (double)n);
        own()->rope_half_backward(y, c, s, T, heads, D);
        for (size_t j = 0; j < n; j++) want[j] = x[j];
        check_near("rope there and back", y, want, n, REFERENCE_TOLERANCE);
        fences_check();
    }
}

/* ---- SwiGLU ---------------------------------------------------------------------------------- */

struct swiglu {
    size_t n;
    real *gate, *up, *dy, *y;
};

static double swiglu_value(const void *context)
{
    const struct swiglu *s = context;
    own()->swiglu_forward(s->y, s->gate, s->up, s->n);
    return inner(s->y, s->dy, s->n);
}

static void test_swiglu(void **state)
{
    (void)state;
    static const size_t sizes[] = { 1, 2, 7, 97 };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n = sizes[i];
        struct swiglu s = { n, random_reals(n), random_reals(n), random_reals(n), reals(n) };
        for (size_t j = 0; j < n; j++) s.gate[j] *= 6;
        swiglu_value(&s);
        double *y = doubles(n), *dgate = doubles(n), *dup = doubles(n);
        for (size_t j = 0; j < n; j++) {
            y[j] = ref_silu(s.gate[j]) * s.up[j];
            dgate[j] = s.dy[j] * s.up[j] * ref_silu_slope(s.gate[j]);
            dup[j] = s.dy[j] * ref_silu(s.gate[j]);
        }
        check_near("swiglu y", s.y, y, n, REFERENCE_TOLERANCE);
        real *a = reals(n), *b = reals(n);
        own()->swiglu_backward(a, b, s.dy, s.gate, s.up, n);
        check_near("swiglu dgate", a, dgate, n, REFERENCE_TOLERANCE);
        check_near("swiglu dup", b, dup, n, REFERENCE_TOLERANCE);
        struct function f = {
            swiglu_value, &s, { { "gate", s.gate, a, n }, { "up", s.up, b, n } }, 2
        };
        check_gradient("swiglu", &f, 1000, GRADIENT_TOLERANCE);
        own()->swiglu_backward(s.gate, s.up, s.dy, s.gate, s.up, n); /* in place */
        check_same_bits("swiglu dgate in place", s.gate, a, n * sizeof(real));
        check_same_bits("swiglu dup in place", s.up, b, n * sizeof(real));
        fences_check();
    }
}

/* ---- cross entropy --------------------------------------------------------------------------- */

struct cross_entropy {
    size_t M, V;
    real *logits, *weight;
    int32_t *target;
    double *loss;
    uint8_t *hit;
};

static double cross_entropy_value(const void *context)
{
    const struct cross_entropy *c = context;
    own()->cross_entropy(c->loss, c->hit, c->logits, c->target, c->weight, c->M, c->V, false);
    double sum = 0;
    for (size_t i = 0; i < c->M; i++) sum += c->weight[i] * c->loss[i];
    return sum;
}

static void test_cross_entropy(void **state)
{
    (void)state;
    static const size_t sizes[][2] = { { 1, 1 }, { 2, 2 }, { 3, 7 }, { 4, 97 } };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t M = sizes[i][0], V = sizes[i][1], n = M * V;
        struct cross_entropy c = {
            M,          V,           random_reals(n), random_reals(M), fenced(M, sizeof(int32_t)),
            doubles(M), fenced(M, 1)
        };
        for (size_t j = 0; j < M; j++) c.target[j] = (int32_t)random_below(V);
        double *dz = doubles(n), *losses = doubles(M);
        for (size_t j = 0; j < M; j++) {
            losses[j] = ref_cross_entropy(dz + j * V, c.logits + j * V, (size_t)c.target[j],
                                          c.weight[j], V);
        }
        real *dlogits = copy_of(c.logits, n);
        own()->cross_entropy(c.loss, c.hit, dlogits, c.target, c.weight, M, V, true);
        check_near("cross entropy", c.loss, losses, M, REFERENCE_TOLERANCE);
        check_near("cross entropy dz", dlogits, dz, n, V == 1 ? 0 : REFERENCE_TOLERANCE);
        struct function f = { cross_entropy_value, &c, { { "logits", c.logits, dlogits, n } }, 1 };
        if (V > 1) check_gradient("cross entropy", &f, 1000, GRADIENT_TOLERANCE);
        fences_check();
    }
}

/* ---- dropout --------------------------------------------------------------------------------- */

static void test_dropout(void **state)
{
    (void)state;
    enum { T = 5, N = 7 };
    struct dropout d = { .p = 0.4, .seed = 99, .step = 3, .layer = 2, .input = 1 };
    uint32_t example[T] = { 4, 4, 4, 9, 9 }, pos[T] = { 0, 1, 2, 0, 1 };
    real *x = random_reals(T * N), *y = random_reals(T * N);
    real *dropped_x = reals(T * N), *before = random_reals(T * N), *after = copy_of(before, T * N);
    own()->dropout(dropped_x, x, &d, example, pos, T, N, false);
    own()->dropout(after, y, &d, example, pos, T, N, true);
    real *dropped_y = added(after, before, T * N);
    /* Linear and diagonal, hence its own transpose: <dropout(x), y> = <x, dropout(y)>. */
    double left = inner(dropped_x, y, T * N), right = inner(x, dropped_y, T * N);
    assert_true(fabs(left - right) <= 1e-14 * T * N);
    assert_true(fabs(left) > 0.01);
    for (size_t i = 0; i < T * N; i++)
        assert_true(dropped_x[i] == 0 || fabs(dropped_x[i] * 0.6 - x[i]) < 1e-15);
}

/* ---- products -------------------------------------------------------------------------------- */

static void *work; /* of the products of the running test */

/* c (M, N) = a b with a and b in any orientation. */
static void multiply(const struct kernels *k, real *c, const real *a, const real *b, size_t M,
                     size_t N, size_t K, bool a_cols, bool b_rows)
{
    struct term t = { .a = a,
                      .lda = a_cols ? M : K,
                      .b = b,
                      .ldb = b_rows ? K : N,
                      .K = K,
                      .a_cols = a_cols,
                      .b_rows = b_rows };
    k->matmul(c, N, &t, 1, M, N, false, work);
}

static void check_equal_sums(const char *what, double a, double b, size_t n)
{
    double error = fabs(a - b) / sqrt((double)n);
    if (!(error <= REFERENCE_TOLERANCE)) fail_msg("%s: %.17g, %.17g", what, a, b);
    report_error(what, error, REFERENCE_TOLERANCE);
}

/* y = x W^T is bilinear; dx = dy W and dW = dy^T x are its transposes:
 *     <dy, y> = <dx, x> = <dW, W>
 * with x (M, K), W (N, K): three orientations of the same product. */
static void check_adjoints(const struct kernels *k, size_t M, size_t N, size_t K)
{
    real *x = random_reals(M * K), *W = random_reals(N * K), *dy = random_reals(M * N);
    real *y = reals(M * N), *dx = reals(M * K), *dW = reals(N * K), *dWt = reals(K * N);
    multiply(k, y, x, W, M, N, K, false, true);
    multiply(k, dx, dy, W, M, K, N, false, false);
    multiply(k, dW, dy, x, N, K, M, true, false);
    double left = inner(dy, y, M * N);
    check_equal_sums("<dy, y> = <dx, x>", left, inner(dx, x, M * K), M * N * K);
    check_equal_sums("<dy, y> = <dW, W>", left, inner(dW, W, N * K), M * N * K);
    /* the fourth orientation, a^T b^T: (W^T)... from x^T (K, M) and dy^T stored as rows */
    real *dyt = reals(M * N);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) dyt[j * M + i] = dy[i * N + j];
    multiply(k, dWt, x, dyt, K, N, M, true, true);
    for (size_t i = 0; i < K; i++)
        for (size_t j = 0; j < N; j++)
            assert_true(fabs(dWt[i * N + j] - dW[j * K + i]) <= 1e-14 * (double)M);
}

static void check_adjoints_of(const struct kernels *k)
{
    work = fenced(k->matmul_work_bytes(), 1);
    fences_keep();
    static const size_t sizes[] = { 1, 2, 7, 31, 49, 97 };
    for (size_t m = 0; m < COUNT(sizes); m++)
        for (size_t n = 0; n < COUNT(sizes); n++)
            for (size_t i = 0; i < COUNT(sizes); i++) {
                check_adjoints(k, sizes[m], sizes[n], sizes[i]);
                fences_check();
            }
    check_adjoints(k, 33, 50, 1001);
    check_adjoints(k, 2049, 17, 40);
    check_adjoints(k, 17, 3079, 40);
    fences_check();
}

static void test_products(void **state)
{
    (void)state;
    check_adjoints_of(own());
}

static void test_products_blas(void **state)
{
    (void)state;
    const char *why;
    const struct kernels *k = kernels_choose(NULL, "blas", COMPUTE_F32, &why);
    if (!k) fail_msg("%s", why);
    check_adjoints_of(k);
}

/* ---- LoRA ------------------------------------------------------------------------------------ */

/* y = x W^T + s (x A^T) B^T as the model composes it: u = s x A^T, then two terms in one product.
 * Forward and backward with the kernels that the model calls. */
struct lora {
    size_t T, in, out, r;
    real s;
    real *x, *W, *A, *B, *dy, *u, *y;
};

static double lora_value(const void *context)
{
    const struct lora *l = context;
    const struct kernels *k = own();
    struct matrix W = { l->W, STORAGE_F32, l->out, l->in, 0 };
    struct term down = {
        .a = l->x, .lda = l->in, .b = l->A, .ldb = l->in, .K = l->in, .b_rows = true
    };
    struct term both[] = {
        { .a = l->x, .lda = l->in, .w = &W, .K = l->in, .b_rows = true },
        { .a = l->u, .lda = l->r, .b = l->B, .ldb = l->r, .K = l->r, .b_rows = true },
    };
    k->matmul(l->u, l->r, &down, 1, l->T, l->r, false, work);
    k->scale(l->u, l->s, l->T * l->r);
    k->matmul(l->y, l->out, both, 2, l->T, l->out, false, work);
    return inner(l->y, l->dy, l->T * l->out);
}

/* dB = dy^T u;  du = s dy B;  dA = du^T x;  dx = dy W + du A */
static void lora_backward(const struct lora *l, real *dx, real *dA, real *dB, real *du)
{
    const struct kernels *k = own();
    struct matrix W = { l->W, STORAGE_F32, l->out, l->in, 0 };
    struct term for_B = {
        .a = l->dy, .lda = l->out, .b = l->u, .ldb = l->r, .K = l->T, .a_cols = true
    };
    struct term for_u = { .a = l->dy, .lda = l->out, .b = l->B, .ldb = l->r, .K = l->out };
    struct term for_A = {
        .a = du, .lda = l->r, .b = l->x, .ldb = l->in, .K = l->T, .a_cols = true
    };
    struct term for_x[] = {
        { .a = l->dy, .lda = l->out, .w = &W, .K = l->out },
        { .a = du, .lda = l->r, .b = l->A, .ldb = l->in, .K = l->r },
    };
    k->matmul(dB, l->r, &for_B, 1, l->out, l->r, true, work);
    k->matmul(du, l->r, &for_u, 1, l->T, l->r, false, work);
    k->scale(du, l->s, l->T * l->r);
    k->matmul(dA, l->in, &for_A, 1, l->r, l->in, true, work);
    k->matmul(dx, l->in, for_x, 2, l->T, l->in, true, work);
}

static void test_lora(void **state)
{
    (void)state;
    work = fenced(own()->matmul_work_bytes(), 1);
    fences_keep();
    static const size_t sizes[][4] = { { 1, 1, 1, 1 }, { 7, 17, 10, 2 }, { 13, 33, 49, 16 } };
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t T = sizes[i][0], in = sizes[i][1], out = sizes[i][2], r = sizes[i][3];
        struct lora l = { T,
                          in,
                          out,
                          r,
                          2,
                          random_reals(T * in),
                          NULL,
                          random_reals(r * in),
                          random_reals(out * r),
                          random_reals(T * out),
                          reals(T * r),
                          reals(T * out) };
        float *W = fenced(out * in, sizeof(float)); /* frozen, in its storage type */
        for (size_t j = 0; j < out * in; j++) W[j] = (float)random_real();
        l.W = (real *)(void *)W;
        lora_value(&l);
        real *x0 = random_reals(T * in), *A0 = random_reals(r * in), *B0 = random_reals(out * r);
        real *x1 = copy_of(x0, T * in), *A1 = copy_of(A0, r * in), *B1 = copy_of(B0, out * r);
        lora_backward(&l, x1, A1, B1, reals(T * r));
        struct function f = { lora_value,
                              &l,
                              { { "x", l.x, added(x1, x0, T * in), T * in },
                                { "A", l.A, added(A1, A0, r * in), r * in },
                                { "B", l.B, added(B1, B0, out * r), out * r } },
                              3 };
        check_gradient("lora", &f, 200, GRADIENT_TOLERANCE);
        fences_check();
    }
}

/* ---- the optimiser --------------------------------------------------------------------------- */

static void test_adamw(void **state)
{
    (void)state;
    enum { N = 37 };
    real *p = random_reals(N), *m = reals(N), *v = reals(N), *g = reals(N);
    double *want = doubles(N), *m_want = doubles(N), *v_want = doubles(N);
    memset(m, 0, N * sizeof *m), memset(v, 0, N * sizeof *v);
    for (size_t i = 0; i < N; i++) want[i] = p[i];
    for (int t = 1; t <= 20; t++) {
        double lr = 0.01 * t;
        struct adamw o = { .lr = lr,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .eps = 1e-8,
                           .weight_decay = 0.1,
                           .correction1 = 1 - pow(0.9, t),
                           .correction2 = sqrt(1 - pow(0.999, t)),
                           .grad_scale = 0.5 };
        for (size_t i = 0; i < N; i++) {
            g[i] = random_real();
            ref_adamw(&want[i], &m_want[i], &v_want[i], g[i] * 0.5, lr, 0.9, 0.999, 1e-8, 0.1, t);
        }
        own()->adamw(p, m, v, g, N, &o);
        check_near("adamw p", p, want, N, REFERENCE_TOLERANCE * 10);
    }
    check_near("adamw m", m, m_want, N, REFERENCE_TOLERANCE);
    check_near("adamw v", v, v_want, N, REFERENCE_TOLERANCE);
}

int main(void)
{
    omp_set_num_threads(1); /* thousands of tiny calls; the float tests have the threads */
    const struct CMUnitTest tests[] = {
        ONCE(test_rmsnorm, "rmsnorm: backward agrees with finite differences"),
        ONCE(test_rope, "rope: backward agrees with finite differences"),
        ONCE(test_swiglu, "swiglu: backward agrees with finite differences"),
        ONCE(test_cross_entropy, "cross entropy: its gradient agrees with finite differences"),
        ONCE(test_dropout, "dropout: forward and backward have the same mask"),
        ONCE(test_products, "products: each one and its transpose are adjoint"),
        ONCE(test_products_blas, "products by BLAS: each one and its transpose are adjoint"),
        ONCE(test_lora, "lora: dA, dB and dx agree with finite differences"),
        ONCE(test_adamw, "adamw: a step follows the formula"),
    };
    return cmocka_run_group_tests_name("kernels, double", tests, NULL, NULL);
}
