/* The golden training runs (tests/golden) in double precision: what PyTorch, transformers and PEFT
 * compute in float64, step for step. Nothing but the order of summation differs, so losses agree to
 * eleven digits; the float32 program's larger distance (test_train.c) is rounding alone. */
#include "tests/golden_util.h"

#include "src/train/learner.h"
#include "src/train/schedule.h"

static const char *const names[] = { "gqa-tied", "mha-untied", "llama3-rope", "linear-rope" };
enum { GOLDENS = sizeof names / sizeof *names };

/* golden.json has 13 digits. */
static const double tolerance = 1e-11;

static struct config config_of(const struct golden *g, const json_t *run, size_t pass_tokens,
                               bool share)
{
    const json_t *o = json_object_get(run, "config");
    struct config c = { 0 };
    c.adapter.r = (int64_t)g->adapter.r;
    c.train.max_steps = (int64_t)golden_number(o, "max_steps");
    c.train.batch_size = (int64_t)golden_number(o, "batch_size");
    c.train.learning_rate = golden_number(o, "learning_rate");
    c.train.warmup_steps = (int64_t)golden_number(o, "warmup_steps");
    c.train.weight_decay = golden_number(o, "weight_decay");
    c.train.max_grad_norm = golden_number(o, "max_grad_norm");
    c.train.lr_scheduler_type = CONFIG_SCHEDULE_COSINE;
    c.train.adam_beta1 = 0.9;
    c.train.adam_beta2 = 0.999;
    c.train.adam_epsilon = 1e-8;
    c.train.pass_tokens = (int64_t)pass_tokens;
    c.train.share_prefixes = share ? CONFIG_SHARE_ON : CONFIG_SHARE_OFF;
    return c;
}

static void check(const char *what, size_t step, const char *field, double found, double wanted)
{
    if (fabs(found - wanted) <= tolerance * fabs(wanted)) return;
    fail_msg("%s: step %zu: %s is %.13g, wanted %.13g", what, step, field, found, wanted);
}

static void check_adapter(const char *what, struct golden *g, const struct learner *l,
                          const json_t *run)
{
    real *want = calloc(g->adapter.n_params, sizeof(real));
    golden_read_flat(g, want, json_string_value(json_object_get(run, "adapter")));
    for (size_t i = 0; i < g->adapter.n_params; i++)
        if ((float)l->adapter.params[i] !=
            (float)want[i]) { /* half a unit of the last place of F32 */
            double off = fabs(l->adapter.params[i] - want[i]);
            if (off > 6e-8 * fabs(want[i]) + 1e-12)
                fail_msg("%s: parameter %zu is %.12g, wanted %.12g", what, i, l->adapter.params[i],
                         want[i]);
        }
    free(want);
}

static void check_run(struct golden *g, const char *which, size_t pass_tokens, bool share)
{
    struct err e;
    struct learner l;
    char what[384];
    json_t *run = json_object_get(json_object_get(g->json, "runs"), which),
           *steps = json_object_get(run, "steps");
    struct config c = config_of(g, run, pass_tokens, share);
    struct examples none = { 0 };
    snprintf(what, sizeof what, "%s %s, passes of %zu%s", g->dir, which, pass_tokens,
             share ? ", shared" : "");
    OK(learner_plan(&l, &c, &g->model, &g->adapter, &g->examples, &none, golden_kernels(), 0, &e),
       e);
    OK(learner_map(&l, &c, &g->adapter, &e), e);
    struct schedule s = schedule_of(&c, c.train.learning_rate, (size_t)c.train.max_steps);
    size_t size = (size_t)c.train.batch_size, per_epoch = (g->examples.n + size - 1) / size;
    for (size_t i = 0; i < json_array_size(steps); i++) {
        uint32_t batch[16];
        size_t first = i % per_epoch * size, n = 0;
        for (; n < size && first + n < g->examples.n; n++) batch[n] = (uint32_t)(first + n);
        struct step_result r;
        double rate = schedule_rate(&s, i);
        OK(learner_step(&l, &r, batch, n, i + 1, rate, &e), e);
        const json_t *want = json_array_get(steps, i);
        check(what, i + 1, "learning rate", rate, golden_number(want, "learning_rate"));
        check(what, i + 1, "loss", r.loss, golden_number(want, "loss"));
        check(what, i + 1, "gradient norm", r.grad_norm, golden_number(want, "grad_norm"));
    }
    check_adapter(what, g, &l, run);
    learner_free(&l);
}

static void test_golden_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct golden g;
        golden_open(&g, names[i]);
        for (int small = 0; small < 2; small++)
            for (int share = 0; share < 2; share++) {
                check_run(&g, small ? "small" : "full", 2048, share);
                check_run(&g, small ? "small" : "full", 40, share);
            }
        golden_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_golden_runs,
              "training in double: every step is that of PyTorch and PEFT in float64"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
