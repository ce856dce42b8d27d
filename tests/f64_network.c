/* Gradients of the whole model in double precision: against finite differences along random
 * directions of the adapter, and with shared prefixes against without, in one pass and in many. */
#include "tests/golden_util.h"

#include "src/base/rng.h"

static const char *const names[] = { "gqa-tied", "mha-untied", "llama3-rope", "linear-rope" };
enum { GOLDENS = sizeof names / sizeof *names };

static double uniform(uint32_t stream, uint64_t i)
{
    return 2 * rng_unit(7, RNG_TEST, stream, i) - 1;
}

static void open_network(struct network *n, const struct golden *g, const struct batch *b,
                         double p_drop)
{
    struct err e;
    struct network_limits limits = {
        .rows_max = b->rows_max, .seg_max = b->seg_max, .train = true, .dropout = p_drop > 0
    };
    OK(network_plan(n, &g->model, &g->adapter, golden_kernels(), &limits, &e), e);
    OK(network_map(n, &e), e);
    n->drop = (struct dropout){ .p = p_drop, .seed = 3, .step = 5 };
}

/* Loss and gradient of all examples, cut and shared as the arguments say. */
static double gradient(struct golden *g, const struct examples *x, size_t pass_tokens, bool share,
                       double p_drop, real *grad)
{
    struct err e;
    struct batch b;
    struct network n;
    OK(batch_init(&b, x, x->n, pass_tokens, share, &e), e);
    batch_begin_range(&b, 0, x->n);
    open_network(&n, g, &b, p_drop);
    double loss = golden_gradient(&n, &b, grad);
    network_free(&n);
    batch_free(&b);
    return loss;
}

/* The slope of the loss along `way`, by fourth-order differences. */
static double difference(struct golden *g, const real *way, double p_drop)
{
    static const struct {
        double at, factor;
    } points[] = { { -2, 1.0 / 12 }, { -1, -2.0 / 3 }, { 1, 2.0 / 3 }, { 2, -1.0 / 12 } };
    size_t n = g->adapter.n_params;
    real *at = g->adapter.params, *kept = calloc(n, sizeof *kept),
         *unused = calloc(n, sizeof *unused);
    double slope = 0, h = 1e-4;
    memcpy(kept, at, n * sizeof *kept);
    for (size_t p = 0; p < sizeof points / sizeof *points; p++) {
        for (size_t i = 0; i < n; i++) at[i] = kept[i] + points[p].at * h * way[i];
        slope += points[p].factor / h * gradient(g, &g->examples, 60, true, p_drop, unused);
    }
    memcpy(at, kept, n * sizeof *kept);
    free(kept);
    free(unused);
    return slope;
}

/* Differences over 1e-4 of a direction of length 1 are off by a fifth derivative times 1e-17 and by
 * rounding of 1e-14 / 1e-4; slopes are of the size of 0.1. */
static void check_direction(struct golden *g, uint32_t which, double p_drop)
{
    size_t n = g->adapter.n_params;
    real *grad = calloc(n, sizeof *grad), *way = calloc(n, sizeof *way);
    double slope = 0, length = sqrt((double)n / 3);
    for (size_t i = 0; i < n; i++) way[i] = uniform(which, i) / length;
    gradient(g, &g->examples, 60, true, p_drop, grad);
    for (size_t i = 0; i < n; i++) slope += grad[i] * way[i];
    double wanted = difference(g, way, p_drop);
    if (fabs(slope - wanted) > 1e-9) {
        fail_msg("%s, direction %u, dropout %g: slope %.12g, by differences %.12g", g->dir, which,
                 p_drop, slope, wanted);
    }
    free(grad);
    free(way);
}

/* A target's weight may be any real number, as preferences have them. */
static double weigh(struct golden *g, real *grad)
{
    struct err e;
    struct batch b;
    struct network n;
    double loss = 0;
    size_t params = g->adapter.n_params, layers = g->model.dims.layers;
    real *one = calloc(params, sizeof *one);
    OK(batch_init(&b, &g->examples, g->examples.n, 60, true, &e), e);
    batch_begin_range(&b, 0, g->examples.n);
    open_network(&n, g, &b, 0);
    for (size_t i = 0; i < b.n_passes; i++) {
        struct pass *p = batch_pass(&b, i);
        for (size_t t = 0; t < p->n_targets; t++) p->weight[t] *= uniform(90 + (uint32_t)i, t);
        network_embed(&n, p);
        network_forward(&n, p, 0, layers, NULL);
        loss += network_lm_head(&n, p, 0.25, true) * 0.25;
        network_backward(&n, p, 0, layers, one, NULL);
        for (size_t j = 0; grad && j < params; j++) grad[j] += one[j];
    }
    network_free(&n);
    batch_free(&b);
    free(one);
    return loss;
}

/* By second-order differences: off by a third derivative times 1e-10, and by 1e-15 / 1e-5. */
static void test_real_weights(void **state)
{
    (void)state;
    struct golden g;
    golden_open(&g, "gqa-tied");
    size_t n = g.adapter.n_params;
    real *grad = calloc(n, sizeof *grad), *way = calloc(n, sizeof *way);
    double slope = 0, h = 1e-5, side[2], length = sqrt((double)n / 3);
    weigh(&g, grad);
    for (size_t i = 0; i < n; i++) way[i] = uniform(80, i) / length, slope += grad[i] * way[i];
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < n; i++) g.adapter.params[i] += (s ? -2 : 1) * h * way[i];
        side[s] = weigh(&g, NULL);
    }
    assert_true(fabs(slope) > 1e-3);
    if (fabs(slope - (side[0] - side[1]) / (2 * h)) > 1e-8)
        fail_msg("slope %.12g, by differences %.12g", slope, (side[0] - side[1]) / (2 * h));
    free(grad);
    free(way);
    golden_close(&g);
}

static void test_finite_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        for (uint32_t d = 0; d < 3; d++) {
            check_direction(&g, d, 0);
            check_direction(&g, d, 0.3);
        }
        golden_close(&g);
    }
}

/* Examples over a small vocabulary, many of which share beginnings. */
static struct examples random_examples(uint32_t stream, size_t n, size_t V)
{
    struct err e;
    struct examples x = { 0 };
    for (size_t i = 0; i < n; i++) {
        int32_t ids[48];
        uint8_t target[48];
        size_t len = 2 + rng_u32(1, RNG_TEST, stream, 1000 * i) % 40;
        size_t from = i ? rng_u32(1, RNG_TEST, stream, 1000 * i + 1) % (i + 1) : 0;
        size_t common = rng_u32(1, RNG_TEST, stream, 1000 * i + 2) % 48;
        for (size_t j = 0; j < len; j++) {
            bool copy = from < i && j < common && x.at[from] + j < x.at[from + 1];
            ids[j] = copy ? x.ids[x.at[from] + j]
                          : (int32_t)(rng_u32(1, RNG_TEST, stream, 1000 * i + 10 + 2 * j) % V);
            target[j] = rng_u32(1, RNG_TEST, stream, 1000 * i + 11 + 2 * j) % 3 == 0;
        }
        target[1] = 1;
        OK(examples_add(&x, ids, target, len, &e), e);
    }
    return x;
}

static void compare(const struct golden *g, const char *what, double loss, const real *grad,
                    double want_loss, const real *want)
{
    double off = relative_error(grad, want, g->adapter.n_params);
    if (fabs(loss - want_loss) > 1e-12 * want_loss || off > 1e-10)
        fail_msg("%s: %s: loss %.15g and %.15g, gradients off by %.2e", g->dir, what, loss,
                 want_loss, off);
}

static void test_sharing(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        size_t n = g.adapter.n_params;
        real *want = calloc(n, sizeof *want), *grad = calloc(n, sizeof *grad);
        for (uint32_t round = 0; round < 5; round++) {
            struct examples x = random_examples(100 + round, 12, g.model.dims.V);
            const struct examples *use = round ? &x : &g.examples;
            double want_loss = gradient(&g, use, 1, false, 0, want);
            compare(&g, "one pass", gradient(&g, use, 4096, false, 0, grad), grad, want_loss, want);
            compare(&g, "shared", gradient(&g, use, 4096, true, 0, grad), grad, want_loss, want);
            compare(&g, "shared in passes", gradient(&g, use, 70, true, 0, grad), grad, want_loss,
                    want);
            examples_free(&x);
        }
        free(want);
        free(grad);
        golden_close(&g);
    }
}

/* With dropout a shared row has one mask: sharing then changes the result, cutting does not. */
static void test_dropout_does_not_see_passes(void **state)
{
    (void)state;
    struct golden g;
    golden_open(&g, "gqa-tied");
    size_t n = g.adapter.n_params;
    real *want = calloc(n, sizeof *want), *grad = calloc(n, sizeof *grad);
    double want_loss = gradient(&g, &g.examples, 1, false, 0.25, want);
    compare(&g, "one pass, dropout", gradient(&g, &g.examples, 4096, false, 0.25, grad), grad,
            want_loss, want);
    double without = gradient(&g, &g.examples, 4096, false, 0, grad);
    assert_true(fabs(without - want_loss) > 1e-3);
    want_loss = gradient(&g, &g.examples, 4096, true, 0.25, want);
    assert_true(relative_error(want, grad, n) > 1e-3);
    free(want);
    free(grad);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_finite_differences,
              "network: the adapter's gradient agrees with finite differences"),
        ENTRY(test_real_weights, "network: targets weigh any real number, negative ones too"),
        ENTRY(test_sharing, "network: shared prefixes and more passes do not change the gradient"),
        ENTRY(test_dropout_does_not_see_passes,
              "network: with dropout, cutting into passes does not change the gradient"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
