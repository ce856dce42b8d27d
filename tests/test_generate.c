/* A model that is used without learning: evaluation (src/train/evaluate.h) against a count by hand
 * from logits, and generation (src/model/generate.h) against running the whole text each time. */
#include "tests/golden_util.h"

#include "src/base/rng.h"
#include "src/model/generate.h"
#include "src/train/evaluate.h"

static const char *const names[] = { "gqa-tied", "mha-untied", "llama3-rope", "linear-rope" };
enum { GOLDENS = sizeof names / sizeof *names, TEXT_MAX = 48 };

/* ---- the slow way ---------------------------------------------------------------------------- */

/* Logits (n, V) = after every token of a text, in one pass without any cache. */
static void whole_logits(real *logits, const struct golden *g, const int32_t *ids, size_t n)
{
    struct network net;
    struct network_limits limits = { .rows_max = n, .seg_max = 1 };
    struct err e;
    uint32_t pos[TEXT_MAX];
    int32_t copy[TEXT_MAX];
    assert_true(n <= TEXT_MAX);
    memcpy(copy, ids, n * sizeof *ids);
    for (uint32_t t = 0; t < n; t++) pos[t] = t;
    struct segment seg = { .len = (uint32_t)n, .parent = -1 };
    struct pass p = { .T = n, .ids = copy, .pos = pos, .seg = &seg, .n_seg = 1 };
    OK(network_plan(&net, &g->model, &g->adapter, golden_kernels(), &limits, &e), e);
    OK(network_map(&net, &e), e);
    network_embed(&net, &p);
    network_forward(&net, &p, 0, g->model.dims.layers, NULL);
    network_logits(&net, pos, n, logits);
    network_free(&net);
}

static int32_t likeliest(const real *z, size_t V)
{
    size_t best = 0;
    for (size_t v = 1; v < V; v++)
        if (z[v] > z[best]) best = v;
    return (int32_t)best;
}

static int32_t random_id(const struct golden *g, uint64_t i)
{
    return (int32_t)(rng_u32(31, RNG_TEST, 0, i) % g->model.dims.V);
}

/* ids[from .. n) = the greedy tokens, with the whole text run again for each; logits (n, V). */
static void continue_greedily(real *logits, const struct golden *g, int32_t *ids, size_t from,
                              size_t n)
{
    size_t V = g->model.dims.V;
    for (size_t t = from; t < n; t++) {
        whole_logits(logits, g, ids, t);
        ids[t] = likeliest(logits + (t - 1) * V, V);
    }
    whole_logits(logits, g, ids, n);
}

/* ---- evaluation ------------------------------------------------------------------------------ */

/* Random prompts, some alike; answers that are the model's own, all, or up to a wrong token, or of
 * random tokens; one without any target. */
static struct examples make_examples(const struct golden *g, real *logits)
{
    struct examples x = { 0 };
    struct err e;
    int32_t ids[TEXT_MAX];
    for (uint32_t i = 0; i < 14; i++) {
        size_t prompt = 3 + i % 5, n = prompt + 2 + i % 7;
        uint8_t target[TEXT_MAX] = { 0 };
        for (size_t j = 0; j < n; j++) ids[j] = random_id(g, j < 3 ? j : 100 * i + j);
        if (i % 3) continue_greedily(logits, g, ids, prompt, n);
        if (i % 3 == 2) ids[n - 1] = (ids[n - 1] + 1) % (int32_t)g->model.dims.V;
        for (size_t j = prompt; j < n; j++) target[j] = i != 9 && j % 4 != 3;
        if (i != 9) target[n - 1] = 1;
        OK(examples_add(&x, ids, target, n, &e), e);
        if (i == 4) OK(examples_add(&x, ids, target, n, &e), e); /* a copy */
    }
    return x;
}

static struct evaluation count_by_hand(const struct golden *g, const struct examples *x,
                                       real *logits)
{
    size_t V = g->model.dims.V, hits = 0;
    struct evaluation v = { .examples = x->n };
    for (size_t i = 0; i < x->n; i++) {
        const int32_t *ids = x->ids + x->at[i];
        const uint8_t *target = x->target + x->at[i];
        size_t n = x->at[i + 1] - x->at[i], own = 0, right = 0;
        whole_logits(logits, g, ids, n);
        for (size_t j = 1; j < n; j++) {
            if (!target[j]) continue;
            const real *z = logits + (j - 1) * V;
            int32_t best = likeliest(z, V);
            double sum = 0;
            for (size_t k = 0; k < V; k++) sum += exp((double)(z[k] - z[best]));
            v.loss += log(sum) + (double)(z[best] - z[ids[j]]);
            own++;
            right += best == ids[j];
        }
        v.tokens += n;
        v.targets += own;
        hits += right;
        v.exact_match += own && own == right;
    }
    v.loss /= (double)v.targets;
    v.token_accuracy = (double)hits / (double)v.targets;
    v.exact_match /= (double)x->n;
    return v;
}

static void check_evaluation(const struct golden *g, const struct examples *x,
                             const struct evaluation *want, size_t size, size_t pass_tokens,
                             bool share, double p_drop)
{
    struct batch b;
    struct network net;
    struct evaluation v;
    struct err e;
    OK(batch_init(&b, x, size, pass_tokens, share, &e), e);
    struct network_limits limits = {
        .rows_max = b.rows_max, .seg_max = b.seg_max, .train = p_drop > 0, .dropout = p_drop > 0
    };
    OK(network_plan(&net, &g->model, &g->adapter, golden_kernels(), &limits, &e), e);
    OK(network_map(&net, &e), e);
    net.drop.p = (real)p_drop;
    assert_int_equal(evaluate(&v, objective_named("sft"), &net, &b, NULL, NULL, &e), 0);
    assert_true(net.drop.p == (real)p_drop);
    assert_int_equal(v.examples, want->examples);
    assert_int_equal(v.tokens, want->tokens);
    assert_int_equal(v.targets, want->targets);
    if (fabs(v.loss - want->loss) > 1e-5 * want->loss || v.token_accuracy != want->token_accuracy ||
        fabs(v.exact_match - want->exact_match) > 1e-12)
        fail_msg("%s: loss %.8g, accuracy %g, exact %g; wanted %.8g, %g, %g", g->dir, v.loss,
                 v.token_accuracy, v.exact_match, want->loss, want->token_accuracy,
                 want->exact_match);
    network_free(&net);
    batch_free(&b);
}

static void test_evaluate(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        real *logits = calloc(TEXT_MAX * g.model.dims.V, sizeof *logits);
        struct examples x = make_examples(&g, logits);
        struct evaluation want = count_by_hand(&g, &x, logits);
        assert_true(want.exact_match > 0.2 && want.exact_match < 0.8);
        assert_true(want.token_accuracy > want.exact_match && want.token_accuracy < 1);
        for (int share = 0; share < 2; share++) {
            check_evaluation(&g, &x, &want, 32, 2048, share, 0);
            check_evaluation(&g, &x, &want, 4, 20, share, 0);
            check_evaluation(&g, &x, &want, 1, 1, share, 0.5);
        }
        examples_free(&x);
        free(logits);
        golden_close(&g);
    }
}

static void test_evaluate_nothing(void **state)
{
    (void)state;
    struct golden g;
    struct examples none = { 0 };
    struct evaluation want = { 0 };
    golden_open(&g, "gqa-tied");
    check_evaluation(&g, &none, &want, 4, 64, true, 0);
    golden_close(&g);
}

/* ---- generation ------------------------------------------------------------------------------ */

/* Two such computations in float32 sum in other orders. */
static const double tolerance = 1e-5;

/* n sequences side by side, of different lengths, each against the whole text run at once. */
static void check_generation(const struct golden *g, size_t n_seq)
{
    enum { STEPS = 12, SEQUENCES = 8 };
    struct generator gen;
    struct err e;
    size_t V = g->model.dims.V, length[SEQUENCES], T = 0;
    int32_t ids[SEQUENCES][TEXT_MAX], next[SEQUENCES];
    const int32_t *prompts[SEQUENCES];
    real *logits = calloc(TEXT_MAX * V, sizeof *logits);
    for (size_t i = 0; i < n_seq; i++) {
        length[i] = 1 + (5 * i + 3) % 9;
        T += length[i];
        prompts[i] = ids[i];
        for (size_t j = 0; j < length[i]; j++) ids[i][j] = random_id(g, 50 * i + j);
    }
    OK(generator_init(&gen, &g->model, &g->adapter, golden_kernels(), n_seq, T, 9 + STEPS, &e), e);
    generator_begin(&gen, prompts, length);
    for (size_t step = 0; step <= STEPS; step++) {
        for (size_t i = 0; i < n_seq; i++) {
            size_t n = length[i] + step;
            whole_logits(logits, g, ids[i], n);
            const real *want = logits + (n - 1) * V, *found = gen.logits + i * V;
            double off = relative_error(found, want, V);
            if (off > tolerance)
                fail_msg("%s, %zu sequences: logits of %zu off by %.2e after %zu tokens", g->dir,
                         n_seq, i, off, n);
            struct sampling greedy = { .top_p = 1 };
            next[i] = sample_token(gen.logits + i * V, V, &greedy, 0, step, NULL);
            assert_int_equal(next[i], likeliest(want, V));
            if (n < TEXT_MAX) ids[i][n] = next[i];
        }
        if (step < STEPS) generator_step(&gen, next);
    }
    generator_free(&gen);
    free(logits);
}

static void test_generation(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        check_generation(&g, 1);
        check_generation(&g, 3);
        check_generation(&g, 8); /* more rows than the products for few rows take */
        golden_close(&g);
    }
}

/* The same generator begun again forgets what it knew. */
static void test_begin_again(void **state)
{
    (void)state;
    struct golden g;
    struct generator gen;
    struct err e;
    golden_open(&g, "gqa-tied");
    int32_t one[] = { 3, 4, 5 }, other[] = { 7, 8 };
    const int32_t *prompts[] = { one }, *others[] = { other };
    size_t V = g.model.dims.V, bytes = V * sizeof(real);
    real *first = malloc(bytes);
    OK(generator_init(&gen, &g.model, &g.adapter, golden_kernels(), 1, 3, 6, &e), e);
    generator_begin(&gen, others, (size_t[]){ 2 });
    generator_step(&gen, (int32_t[]){ 9 });
    memcpy(first, gen.logits, bytes);
    generator_begin(&gen, prompts, (size_t[]){ 3 });
    generator_step(&gen, (int32_t[]){ 1 });
    generator_begin(&gen, others, (size_t[]){ 2 });
    generator_step(&gen, (int32_t[]){ 9 });
    assert_memory_equal(first, gen.logits, bytes);
    free(first);
    generator_free(&gen);
    golden_close(&g);
}

/* A text in pieces, of one token, of few and of many, with what was kept, and moved to a larger
 * generator: the logits of the whole text. */
static void check_appended(const struct golden *g)
{
    enum { FIRST = 5, WRONG = 3 };
    static const size_t pieces[] = { 1, 3, 20, 2, 7 }; /* fewer than TEXT_MAX with FIRST */
    struct generator small, gen;
    struct err e;
    size_t V = g->model.dims.V, n = FIRST;
    int32_t ids[TEXT_MAX], wrong[WRONG] = { 1, 2, 1 };
    const int32_t *prompt = ids;
    real *logits = calloc(TEXT_MAX * V, sizeof *logits);
    for (size_t j = 0; j < TEXT_MAX; j++) ids[j] = random_id(g, 700 + j);
    const struct kernels *k = golden_kernels();
    OK(generator_init(&small, &g->model, &g->adapter, k, 1, FIRST, FIRST + WRONG, &e), e);
    generator_begin(&small, &prompt, &n);
    generator_append(&small, wrong, WRONG);
    generator_truncate(&small, FIRST - 1);
    OK(generator_init(&gen, &g->model, &g->adapter, k, 1, 8, TEXT_MAX, &e), e);
    generator_take_over(&gen, &small);
    generator_free(&small);
    generator_append(&gen, ids + FIRST - 1, 1);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        generator_append(&gen, ids + n, pieces[i]);
        n += pieces[i];
        whole_logits(logits, g, ids, n);
        double off = relative_error(gen.logits, logits + (n - 1) * V, V);
        if (off > tolerance) fail_msg("%s: off by %.2e after %zu tokens", g->dir, off, n);
    }
    generator_step(&gen, ids + n++);
    whole_logits(logits, g, ids, n);
    assert_true(relative_error(gen.logits, logits + (n - 1) * V, V) <= tolerance);
    generator_free(&gen);
    free(logits);
}

static void test_append(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        check_appended(&g);
        golden_close(&g);
    }
}

/* ---- sampling -------------------------------------------------------------------------------- */

enum { V = 12, DRAWS = 20000 };
static const double dims[V] = { 0.1, 2.0, 1.0, -1, 0.5, 2.0, -3, 0, 1.5, -0.5, 0.2, -2 };

/* How often each token is drawn. */
static void draw(size_t count[V], const struct sampling *s)
{
    memset(count, 0, V * sizeof *count);
    for (uint64_t i = 0; i < DRAWS; i++) {
        real logits[V];
        uint32_t scratch[V];
        for (size_t v = 0; v < V; v++) logits[v] = (real)dims[v];
        int32_t id = sample_token(logits, V, s, 2, i, scratch);
        assert_true(id >= 0 && id < V);
        count[id]++;
    }
}

/* Chi-squared against the softmax of the tokens in `allowed`, at most one in 10^4 by chance: the
 * draws are the same each time, so it either holds or does not. */
static void check_draws(const struct sampling *s, const bool allowed[V])
{
    size_t count[V], n = 0;
    double p[V] = { 0 }, sum = 0, chi = 0;
    draw(count, s);
    for (size_t v = 0; v < V; v++)
        if (allowed[v]) sum += p[v] = exp(dims[v] / s->temperature);
    for (size_t v = 0; v < V; v++) {
        if (!allowed[v]) {
            assert_int_equal(count[v], 0);
            continue;
        }
        double want = p[v] / sum * DRAWS;
        chi += ((double)count[v] - want) * ((double)count[v] - want) / want;
        n++;
    }
    double most = (double)n + 5 * sqrt(2 * (double)n) + 5;
    if (chi > most) fail_msg("chi-squared is %.1f over %zu tokens", chi, n);
}

static void test_sampling(void **state)
{
    (void)state;
    bool all[V], three[V] = { 0 }, half[V] = { 0 };
    for (size_t v = 0; v < V; v++) all[v] = true;
    three[1] = three[5] = three[8] = true;
    check_draws(&(struct sampling){ .temperature = 1, .top_p = 1 }, all);
    check_draws(&(struct sampling){ .temperature = 2.5, .top_p = 1, .seed = 1 }, all);
    check_draws(&(struct sampling){ .temperature = 0.7, .top_p = 1, .seed = 2, .top_k = 3 }, three);
    check_draws(&(struct sampling){ .temperature = 1, .top_p = 1, .seed = 3, .top_k = 99 }, all);
    /* 2.0, 2.0, 1.5: 0.27 + 0.27 reaches 0.5 */
    half[1] = half[5] = true;
    check_draws(&(struct sampling){ .temperature = 1, .top_p = 0.5, .seed = 4 }, half);
    check_draws(&(struct sampling){ .temperature = 1, .top_p = 0.6, .seed = 5 }, three);
    /* of the three that top_k leaves, top_p takes shares of their sum: 0.38, 0.38, 0.23 */
    check_draws(&(struct sampling){ .temperature = 1, .top_p = 0.7, .seed = 6, .top_k = 3 }, half);
}

static int32_t draw_one(const struct sampling *s, uint32_t sequence, uint64_t number)
{
    real logits[V];
    uint32_t scratch[V];
    for (size_t v = 0; v < V; v++) logits[v] = (real)dims[v];
    return sample_token(logits, V, s, sequence, number, scratch);
}

/* Among very many tokens, the same choice as by sorting all of them. */
static int32_t by_sorting(const real *z, size_t n_tokens, const struct sampling *s, uint64_t number)
{
    enum { MOST = 3000 };
    static uint32_t order[MOST];
    static double p[MOST];
    size_t n = s->top_k ? s->top_k : n_tokens, m = 0, j = 0;
    for (size_t i = 0; i < n_tokens;
         i++) { /* insertion sort: there are few, and it is easy to check */
        size_t at = i;
        for (; at > 0 && z[order[at - 1]] < z[i]; at--) order[at] = order[at - 1];
        order[at] = (uint32_t)i;
    }
    double sum = 0, kept = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i] = exp((double)(z[order[i]] - z[order[0]]) / s->temperature);
    while (m < n && (m == 0 || kept < s->top_p * sum)) kept += p[m++];
    double at = rng_unit(s->seed, RNG_SAMPLE, 1, number) * kept;
    while (j + 1 < m && (at -= p[j]) >= 0) j++;
    return (int32_t)order[j];
}

static void test_sampling_many(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    static const struct sampling how[] = {
        { .temperature = 1, .top_p = 1, .seed = 1 },
        { .temperature = 0.7, .top_p = 0.9, .seed = 2 },
        { .temperature = 3, .top_p = 0.99, .seed = 3, .top_k = 50 },
        { .temperature = 1, .top_p = 1, .seed = 4, .top_k = 1000 },
    };
    static real z[MANY];
    static uint32_t scratch[MANY];
    for (uint64_t number = 0; number < 20; number++)
        for (size_t i = 0; i < sizeof how / sizeof *how; i++) {
            /* a tenth of a unit apart: most have equals */
            for (size_t v = 0; v < MANY; v++)
                z[v] = (real)(rng_u32(number, RNG_SYNTH, 0, v) % 100) / 10;
            assert_int_equal(sample_token(z, MANY, &how[i], 1, number, scratch),
                             by_sorting(z, MANY, &how[i], number));
        }
}

static void test_sampling_limits(void **state)
{
    (void)state;
    static const struct sampling greedy[] = {
        { .temperature = 0, .top_p = 1 },
        { .temperature = 1e-6, .top_p = 1, .top_k = 1 },
        { .temperature = 100, .top_p = 1, .top_k = 1 },
        { .temperature = 1, .top_p = 1e-9 },
    };
    for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++)
        for (uint64_t n = 0; n < 200; n++) /* the first of equals */
            assert_int_equal(draw_one(&greedy[i], 0, n), 1);
    struct sampling s = { .temperature = 1, .top_p = 1, .seed = 8 };
    size_t same_number = 0, same_sequence = 0, same_seed = 0;
    for (uint64_t n = 0; n < 500; n++) {
        struct sampling t = s;
        t.seed = 9;
        int32_t id = draw_one(&s, 3, n);
        assert_int_equal(id, draw_one(&s, 3, n));
        same_number += id == draw_one(&s, 3, n + 1);
        same_sequence += id == draw_one(&s, 4, n);
        same_seed += id == draw_one(&t, 3, n);
    }
    assert_true(same_number < 150 && same_sequence < 150 && same_seed < 150);
    real masked[3] = { -INFINITY, 1, -INFINITY };
    uint32_t scratch[3];
    assert_int_equal(sample_token(masked, 3, &s, 0, 0, scratch), 1);
    /* a NaN is never chosen, at whatever place */
    static const double strange[] = { NAN, INFINITY };
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 2; k++) {
            real z[3] = { 1, 2, 3 };
            z[i] = (real)strange[k];
            assert_int_equal(sample_token(z, 3, &s, 0, 0, scratch), -1);
            assert_int_equal(sample_token(z, 3, &greedy[0], 0, 0, scratch), -1);
        }
    real nothing[3] = { -INFINITY, -INFINITY, -INFINITY };
    assert_int_equal(sample_token(nothing, 3, &s, 0, 0, scratch), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_evaluate,
              "evaluation: loss, accuracy and exact match are those of a count by hand"),
        ENTRY(test_evaluate_nothing, "evaluation: no examples give zeros"),
        ENTRY(test_generation, "generation: each token is that of the whole text run again"),
        ENTRY(test_begin_again, "generation: a generator that is begun again forgets what it knew"),
        ENTRY(test_append, "generation: appended tokens give the logits of the whole text"),
        ENTRY(test_sampling,
              "sampling: temperature, top_k and top_p draw from the tokens they allow"),
        ENTRY(test_sampling_many,
              "sampling: large vocabularies are drawn from as by the plain method"),
        ENTRY(test_sampling_limits, "sampling: at its limits it takes the most likely token"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
