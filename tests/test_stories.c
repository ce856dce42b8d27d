/* stories260K, a real model that tells small stories, against a float64 reference that reads the
 * original file in Meta's order (../shared/data/stories260K/SOURCE.md): logits, per-token losses,
 * every gradient of two adapters, their training by AdamW, what they say afterwards; and the same
 * model in five GGUF files. f64_stories.c is this program in double precision.
 *
 * Tolerances, relative: the reference has 9 digits, which double precision reaches; float32 is
 * allowed 1e-5 for what one pass computes, and after n steps what n steps make of it. */
#include "tests/golden_util.h"

#include <unistd.h>

#include "src/model/generate.h"
#include "src/train/learner.h"

static const bool is_double = sizeof(real) == 8;

/* The path of a fixture, or the test is skipped. */
static const char *fixture(const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    const char *root = getenv("LORAC_TEST_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", root && *root ? root : "../shared/data", name);
    if (access(path, R_OK) != 0) skip();
    return path;
}

static json_t *read_json(const char *name)
{
    struct err e;
    json_t *o = json_read(fixture(name), 1 << 24, &e);
    if (!o) fail_msg("%s", e.msg);
    return o;
}

static void open_model(struct llama *m, const char *name)
{
    struct err e;
    OK(llama_open(m, fixture(name), &e), e);
}

static size_t read_ids(int32_t *ids, size_t most, const json_t *list)
{
    size_t n = json_array_size(list);
    assert_true(n > 0 && n <= most);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static void near(const char *what, double found, double wanted, double relative)
{
    if (fabs(found - wanted) > relative * fabs(wanted) + 1e-9)
        fail_msg("%s is %.10g, wanted %.10g within %.0e", what, found, wanted, relative);
}

/* ---- the base -------------------------------------------------------------------------------- */

enum { TEXT_MAX = 64 };

/* Logits (n, V) = after every token of a text. */
static void logits_of(real *logits, const struct llama *m, int32_t *ids, size_t n)
{
    struct network net;
    struct network_limits limits = { .rows_max = n, .seg_max = 1 };
    struct err e;
    uint32_t pos[TEXT_MAX];
    for (uint32_t t = 0; t < n; t++) pos[t] = t;
    struct segment seg = { .len = (uint32_t)n, .parent = -1 };
    struct pass p = { .T = n, .ids = ids, .pos = pos, .seg = &seg, .n_seg = 1 };
    OK(network_plan(&net, m, NULL, golden_kernels(), &limits, &e), e);
    OK(network_map(&net, &e), e);
    network_embed(&net, &p);
    network_forward(&net, &p, 0, m->dims.layers, NULL);
    network_logits(&net, pos, n, logits);
    network_free(&net);
}

/* The reference prints nine digits of logits of size 10. */
static void check_prompts(const struct llama *m, const json_t *prompts)
{
    size_t V = m->dims.V, i;
    json_t *prompt;
    real *logits = calloc(TEXT_MAX * V, sizeof *logits), *want = calloc(V, sizeof *want);
    json_array_foreach(prompts, i, prompt)
    {
        int32_t ids[TEXT_MAX];
        size_t n = read_ids(ids, TEXT_MAX, json_object_get(prompt, "ids"));
        json_t *last = json_object_get(prompt, "logits_last");
        assert_int_equal(json_array_size(last), V);
        for (size_t v = 0; v < V; v++) want[v] = (real)json_number_value(json_array_get(last, v));
        logits_of(logits, m, ids, n);
        double off = relative_error(logits + (n - 1) * V, want, V);
        if (off > (is_double ? 2e-8 : 2e-6)) fail_msg("prompt %zu: logits off by %.2e", i, off);
    }
    free(logits);
    free(want);
}

static double mean_nll(const struct llama *m, const json_t *nll)
{
    int32_t ids[TEXT_MAX];
    size_t V = m->dims.V, n = read_ids(ids, TEXT_MAX, json_object_get(nll, "ids"));
    json_t *per_token = json_object_get(nll, "per_token");
    real *logits = calloc(n * V, sizeof *logits);
    double total = 0;
    logits_of(logits, m, ids, n);
    for (size_t t = 1; t < n; t++) {
        const real *z = logits + (t - 1) * V;
        double sum = 0, own;
        for (size_t v = 0; v < V; v++) sum += exp((double)z[v]);
        total += own = log(sum) - (double)z[ids[t]];
        if (per_token)
            near("a token's loss", own, json_number_value(json_array_get(per_token, t - 1)),
                 is_double ? 1e-7 : 2e-4);
    }
    free(logits);
    return total / (double)(n - 1);
}

static void test_base(void **state)
{
    (void)state;
    json_t *golden = read_json("stories260K/golden.json");
    json_t *nll = json_object_get(golden, "nll");
    struct llama m;
    open_model(&m, "stories260K-hf");
    check_prompts(&m, json_object_get(golden, "prompts"));
    near("loss", mean_nll(&m, nll), golden_number(nll, "mean"), is_double ? 1e-8 : 1e-5);
    llama_close(&m);
    json_decref(golden);
}

static void test_gguf(void **state)
{
    (void)state;
    json_t *golden = read_json("stories260K-gguf/golden.json"),
           *parent = read_json("stories260K/golden.json"), *want;
    json_t *text = json_copy(json_object_get(parent, "nll"));
    json_object_del(text, "per_token"); /* those are of the unquantised model */
    const char *name;
    json_object_foreach(json_object_get(golden, "files"), name, want)
    {
        char path[256];
        struct llama m;
        snprintf(path, sizeof path, "stories260K-gguf/%s", name);
        open_model(&m, path);
        check_prompts(&m, json_object_get(want, "prompts"));
        near(name, mean_nll(&m, text), golden_number(want, "nll_mean"), is_double ? 1e-8 : 1e-5);
        llama_close(&m);
    }
    json_decref(text);
    json_decref(parent);
    json_decref(golden);
}

/* ---- adapters -------------------------------------------------------------------------------- */

static const struct {
    const char *meta;
    enum module m;
    bool rotated; /* its outputs are in Meta's order there */
} modules[] = {
    { "wq", Q_PROJ, true },   { "wk", K_PROJ, true },     { "wv", V_PROJ, false },
    { "wo", O_PROJ, false },  { "w1", GATE_PROJ, false }, { "w2", DOWN_PROJ, false },
    { "w3", UP_PROJ, false },
};
enum { NAMED = sizeof modules / sizeof *modules };

/* Where row `row` of the reference's B is in ours. */
static size_t our_row(const struct dims *s, size_t k, size_t row)
{
    if (!modules[k].rotated) return row;
    size_t i = row % s->D;
    return row - i + i / 2 + (i % 2) * (s->D / 2);
}

static void make_adapter(struct adapter *a, const struct dims *s, const json_t *config)
{
    unsigned bits = 0;
    struct err e;
    json_t *targets = json_object_get(config, "targets");
    for (size_t t = 0; t < json_array_size(targets); t++)
        for (size_t k = 0; k < NAMED; k++)
            if (!strcmp(json_string_value(json_array_get(targets, t)), modules[k].meta))
                bits |= 1u << modules[k].m;
    adapter_layout(a, s, (size_t)golden_number(config, "r"), golden_number(config, "alpha"), bits);
    OK(adapter_place(a, &e), e);
    bool b_zero = json_is_true(json_object_get(config, "b_zero"));
    for (size_t l = 0; l < s->layers; l++)
        for (size_t k = 0; k < NAMED; k++) {
            enum module m = modules[k].m;
            if (!adapter_has(a, m)) continue;
            size_t rows = module_rows(s, m), cols = module_cols(s, m), r = a->r;
            real *A = adapter_a(a, a->params, l, m), *B = adapter_b(a, a->params, l, m);
            for (size_t i = 0; i < r; i++)
                for (size_t j = 0; j < cols; j++)
                    A[i * cols + j] = (float)(0.02 * sin(0.7 * (double)(l + 1) + 1.3 * (double)i +
                                                         0.37 * (double)j));
            for (size_t i = 0; i < rows && !b_zero; i++)
                for (size_t j = 0; j < r; j++)
                    B[our_row(s, k, i) * r + j] =
                        (float)(0.02 *
                                cos(0.5 * (double)(l + 1) + 0.9 * (double)i + 1.7 * (double)j));
        }
}

static struct examples read_batch(const json_t *batch)
{
    struct examples x = { 0 };
    struct err e;
    for (size_t i = 0; i < json_array_size(batch); i++) {
        int32_t ids[TEXT_MAX], labels[TEXT_MAX];
        uint8_t target[TEXT_MAX];
        const json_t *o = json_array_get(batch, i);
        size_t n = read_ids(ids, TEXT_MAX, json_object_get(o, "ids"));
        assert_int_equal(read_ids(labels, TEXT_MAX, json_object_get(o, "labels")), n);
        for (size_t j = 0; j < n; j++) target[j] = labels[j] != -100;
        OK(examples_add(&x, ids, target, n, &e), e);
    }
    return x;
}

/* Gradients as the reference lists them: norms per layer, the values of layer 0 or the first of
 * them. */
static void check_gradients(const struct adapter *a, real *grad, const json_t *want)
{
    double most = is_double ? 1e-8 : 1e-5;
    for (size_t k = 0; k < NAMED; k++)
        for (int b = 0; b < 2; b++) {
            enum module m = modules[k].m;
            if (!adapter_has(a, m)) continue;
            char name[16];
            size_t rows = b ? module_rows(&a->dims, m) : a->r;
            size_t cols = b ? a->r : module_cols(&a->dims, m);
            snprintf(name, sizeof name, "%s.%c", modules[k].meta, b ? 'B' : 'A');
            const json_t *o = json_object_get(want, name);
            assert_non_null(o);
            double norm0 = 0;
            for (size_t l = a->dims.layers; l-- > 0;) {
                const real *g = b ? adapter_b(a, grad, l, m) : adapter_a(a, grad, l, m);
                norm0 = 0;
                for (size_t i = 0; i < rows * cols; i++) norm0 += (double)g[i] * (double)g[i];
                norm0 = sqrt(norm0);
                const json_t *norms = json_object_get(o, "l2_per_layer");
                near(name, norm0, json_number_value(json_array_get(norms, l)), most);
            }
            const real *g = b ? adapter_b(a, grad, 0, m) : adapter_a(a, grad, 0, m);
            const json_t *first = json_object_get(o, "layer0");
            for (size_t i = 0; i < json_array_size(first); i++) {
                size_t row = b ? our_row(&a->dims, k, i / cols) : i / cols;
                double off = fabs((double)g[row * cols + i % cols] -
                                  json_number_value(json_array_get(first, i)));
                if (off > most * norm0 + 1e-9) fail_msg("%s[%zu] off by %.2e", name, i, off);
            }
        }
}

static double gradient(const struct llama *m, const struct adapter *a, const struct examples *x,
                       real *grad)
{
    struct batch b;
    struct network n;
    struct err e;
    OK(batch_init(&b, x, x->n, 2048, true, &e), e);
    batch_begin_range(&b, 0, x->n);
    struct network_limits limits = { .rows_max = b.rows_max, .seg_max = b.seg_max, .train = true };
    OK(network_plan(&n, m, a, golden_kernels(), &limits, &e), e);
    OK(network_map(&n, &e), e);
    double loss = golden_gradient(&n, &b, grad);
    network_free(&n);
    batch_free(&b);
    return loss;
}

static void test_gradients(void **state)
{
    (void)state;
    json_t *golden = read_json("stories260K/golden.json"), *row;
    struct llama m;
    size_t i;
    open_model(&m, "stories260K-hf");
    struct examples x = read_batch(json_object_get(golden, "train_batch"));
    json_array_foreach(json_object_get(golden, "lora"), i, row)
    {
        struct adapter a;
        make_adapter(&a, &m.dims, json_object_get(row, "config"));
        real *grad = calloc(a.n_params, sizeof *grad);
        near("loss", gradient(&m, &a, &x, grad), golden_number(row, "loss"),
             is_double ? 1e-12 : 1e-5);
        check_gradients(&a, grad, json_object_get(row, "grads"));
        free(grad);
        adapter_free(&a);
    }
    examples_free(&x);
    llama_close(&m);
    json_decref(golden);
}

/* ---- training -------------------------------------------------------------------------------- */

/* What rounding makes of n steps. The first adapter's ten are gentle; the second's loss falls from
 * 3 to 0.4 within ten, which enlarges any difference. Double precision, on the same path, shows
 * that it is rounding. */
static double allowed(const json_t *config, size_t step, bool norm)
{
    bool steep = golden_number(config, "lr") > 0.002;
    if (is_double) return step < 20 ? 1e-8 : 1e-6;
    return (steep && step > 2 ? 1e-3 : 2e-5) * (norm ? 20 : 1);
}

static void check_norms(const struct adapter *a, const json_t *want, double most)
{
    for (size_t k = 0; k < NAMED; k++)
        for (int b = 0; b < 2; b++) {
            enum module m = modules[k].m;
            if (!adapter_has(a, m)) continue;
            char name[16];
            snprintf(name, sizeof name, "%s.%c", modules[k].meta, b ? 'B' : 'A');
            size_t n = a->r * (b ? module_rows(&a->dims, m) : module_cols(&a->dims, m));
            for (size_t l = 0; l < a->dims.layers; l++) {
                const real *p = b ? adapter_b(a, a->params, l, m) : adapter_a(a, a->params, l, m);
                double s = 0;
                for (size_t i = 0; i < n; i++) s += (double)p[i] * (double)p[i];
                const json_t *norms = json_object_get(want, name);
                near(name, sqrt(s), json_number_value(json_array_get(norms, l)), most);
            }
        }
}

/* The answer to the first example's prompt. */
static void check_greedy(const struct llama *m, const struct adapter *a, const struct examples *x,
                         const json_t *want)
{
    enum { LENGTH = 256 };
    struct generator g;
    struct err e;
    int32_t ids[LENGTH];
    size_t n = read_ids(ids, LENGTH, json_object_get(want, "ids")), prompt = 1;
    while (!x->target[prompt]) prompt++;
    const int32_t *first = ids;
    OK(generator_init(&g, m, a, golden_kernels(), 1, prompt, n, &e), e);
    generator_begin(&g, &first, &prompt);
    for (size_t i = prompt; i < n; i++) {
        struct sampling greedy = { .top_p = 1 };
        int32_t next = sample_token(g.logits, m->dims.V, &greedy, 0, i, NULL);
        if (next != ids[i]) fail_msg("token %zu is %d, wanted %d", i, next, ids[i]);
        if (i + 1 < n) generator_step(&g, &next);
    }
    generator_free(&g);
}

static void train(struct llama *m, const struct examples *x, const json_t *row)
{
    const json_t *o = json_object_get(row, "config"), *losses = json_object_get(row, "losses"),
                 *norms = json_object_get(row, "grad_norms"),
                 *greedy = json_object_get(row, "greedy_after");
    size_t steps = (size_t)golden_number(o, "steps");
    struct adapter start;
    struct learner l;
    struct err e;
    struct config c = { 0 };
    struct examples none = { 0 };
    uint32_t which[2] = { 0, 1 };
    struct step_result r;
    c.train.batch_size = 2;
    c.train.pass_tokens = CONFIG_NONE;
    c.train.adam_beta1 = 0.9;
    c.train.adam_beta2 = 0.999;
    c.train.adam_epsilon = 1e-8;
    c.train.weight_decay = golden_number(o, "wd");
    c.train.max_grad_norm = json_object_get(o, "clip") ? golden_number(o, "clip") : 0;
    make_adapter(&start, &m->dims, o);
    OK(learner_plan(&l, &c, m, &start, x, &none, golden_kernels(), 0, &e), e);
    OK(learner_map(&l, &c, &start, &e), e);
    for (size_t i = 0; i <= steps; i++) {
        double rate = i < steps ? golden_number(o, "lr") : 0;
        OK(learner_step(&l, &r, which, 2, i + 1, rate, &e), e);
        near("loss", r.loss, json_number_value(json_array_get(losses, i)), allowed(o, i, false));
        if (i == steps) break;
        near("norm", r.grad_norm, json_number_value(json_array_get(norms, i)), allowed(o, i, true));
    }
    check_norms(&l.adapter, json_object_get(row, "adapter_l2"), allowed(o, steps, false));
    /* where two tokens are nearly equal, float32 may choose the other */
    if (is_double || golden_number(greedy, "min_top2_margin") > 0.01)
        check_greedy(m, &l.adapter, x, greedy);
    learner_free(&l);
    adapter_free(&start);
}

static void test_training(void **state)
{
    (void)state;
    json_t *golden = read_json("stories260K/golden.json"), *row;
    struct llama m;
    size_t i;
    open_model(&m, "stories260K-hf");
    struct examples x = read_batch(json_object_get(golden, "train_batch"));
    json_array_foreach(json_object_get(golden, "lora"), i, row) train(&m, &x, row);
    examples_free(&x);
    llama_close(&m);
    json_decref(golden);
}

/* 200 tokens of the known story, from the base. */
static void test_story(void **state)
{
    (void)state;
    json_t *golden = read_json("stories260K/golden.json");
    struct llama m;
    open_model(&m, "stories260K-hf");
    struct examples none = { .target = (uint8_t[]){ 0, 1 } };
    check_greedy(&m, NULL, &none, json_object_get(golden, "greedy"));
    llama_close(&m);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_base, "stories260K: logits and losses are those of the reference"),
        ENTRY(test_gguf, "stories260K: quantised files give the reference's logits and losses"),
        ENTRY(test_gradients, "stories260K: adapter gradients are the reference's"),
        ENTRY(test_training, "stories260K: training steps are the reference's"),
        ENTRY(test_story, "stories260K: the known story is told, token by token"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
