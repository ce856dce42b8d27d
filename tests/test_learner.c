/* The parts of an optimiser step: the learning rate (src/train/schedule.h), the sum of the passes'
 * gradients (gradsum.h), the step that changes nothing when it fails (learner.h), and the promise
 * that it allocates nothing. */
#include "tests/golden_util.h"

#include <omp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/hash.h"
#include "src/base/rng.h"
#include "src/train/learner.h"
#include "src/train/learning_rate.h"
#include "src/train/schedule.h"

/* ---- learning rate --------------------------------------------------------------------------- */

/* get_last_lr() of transformers 5.23.0's get_scheduler before each step of SGD, printed with 17
 * digits. */
static const struct {
    enum config_lr_scheduler_type type;
    double peak;
    size_t warmup, total;
    double rate[10];
} rates[] = {
    { CONFIG_SCHEDULE_COSINE, 2e-4, 0, 1, { 0.00020000000000000001 } },
    { CONFIG_SCHEDULE_COSINE,
      2e-4,
      3,
      10,
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 0.00020000000000000001,
        0.00019009688679024191, 0.00016234898018587337, 0.00012225209339563145,
        7.7747906604368577e-05, 3.7651019814126654e-05, 9.9031132097580962e-06 } },
    { CONFIG_SCHEDULE_COSINE,
      1e-3,
      0,
      7,
      { 0.001, 0.00095048443395120952, 0.00081174490092936679, 0.00061126046697815718,
        0.00038873953302184284, 0.00018825509907063325, 4.9515566048790485e-05 } },
    { CONFIG_SCHEDULE_COSINE,
      3e-5,
      7,
      7,
      { 0, 4.2857142857142855e-06, 8.5714285714285709e-06, 1.2857142857142857e-05,
        1.7142857142857142e-05, 2.1428571428571428e-05, 2.5714285714285714e-05 } },
    { CONFIG_SCHEDULE_COSINE, 5e-4, 1, 2, { 0, 0.00050000000000000001 } },
    { CONFIG_SCHEDULE_LINEAR, 2e-4, 0, 1, { 0.00020000000000000001 } },
    { CONFIG_SCHEDULE_LINEAR,
      2e-4,
      3,
      10,
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 0.00020000000000000001,
        0.00017142857142857143, 0.00014285714285714287, 0.00011428571428571428,
        8.5714285714285713e-05, 5.7142857142857142e-05, 2.8571428571428571e-05 } },
    { CONFIG_SCHEDULE_LINEAR,
      1e-3,
      0,
      7,
      { 0.001, 0.0008571428571428571, 0.00071428571428571429, 0.00057142857142857136,
        0.00042857142857142855, 0.00028571428571428568, 0.00014285714285714284 } },
    { CONFIG_SCHEDULE_LINEAR, 5e-4, 1, 2, { 0, 0.00050000000000000001 } },
    { CONFIG_SCHEDULE_CONSTANT, 2e-4, 3, 4, { 2e-4, 2e-4, 2e-4, 2e-4 } },
    { CONFIG_SCHEDULE_CONSTANT_WITH_WARMUP,
      2e-4,
      3,
      6,
      { 0, 6.666666666666667e-05, 0.00013333333333333334, 2e-4, 2e-4, 2e-4 } },
    { CONFIG_SCHEDULE_CONSTANT_WITH_WARMUP, 1e-3, 0, 3, { 1e-3, 1e-3, 1e-3 } },
};

/* To the last bit, so that runs of both programs show the same numbers. */
static void test_rates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct schedule s = { .type = rates[i].type,
                              .peak = rates[i].peak,
                              .warmup = rates[i].warmup,
                              .total = rates[i].total };
        for (size_t step = 0; step < rates[i].total; step++) {
            double found = schedule_rate(&s, step), wanted = rates[i].rate[step];
            if (found != wanted)
                fail_msg("row %zu, step %zu: %.17g, wanted %.17g", i, step, found, wanted);
        }
    }
}

/* Every length of run, every type, every warm-up: tests/golden/schedules.json holds digests of
 * transformers' rates (scripts/make-schedules.py). */
static void test_rates_of_many_lengths(void **state)
{
    (void)state;
    static const char *const types[] = { "cosine", "linear", "constant", "constant_with_warmup" };
    char path[PATH_BYTES];
    struct err e;
    const char *root = getenv("LORAC_GOLDEN");
    snprintf(path, sizeof path, "%s/schedules.json", root ? root : "tests/golden");
    json_t *golden = json_read(path, 1 << 20, &e);
    if (!golden) fail_msg("%s", e.msg);
    const json_t *totals = json_object_get(golden, "totals"),
                 *rows = json_object_get(golden, "rows");
    assert_int_equal(json_array_size(rows), 52);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i), *steps = json_object_get(row, "steps");
        const char *type = json_string_value(json_object_get(row, "type"));
        struct config c = { 0 };
        struct str all = { 0 };
        while (strcmp(types[c.train.lr_scheduler_type], type) != 0) c.train.lr_scheduler_type++;
        c.train.learning_rate = json_number_value(json_object_get(golden, "peak"));
        c.train.warmup_ratio = json_number_value(json_object_get(row, "ratio"));
        c.train.warmup_steps = json_is_null(steps) ? CONFIG_NONE : json_integer_value(steps);
        for (size_t k = 0; k < json_array_size(totals); k++) {
            size_t total = (size_t)json_integer_value(json_array_get(totals, k));
            struct schedule s = schedule_of(&c, c.train.learning_rate, total);
            for (size_t step = 0; step < total; step++) {
                double rate = schedule_rate(&s, step);
                str_add(&all, (const char *)&rate, sizeof rate);
            }
        }
        uint8_t digest[SHA256_BYTES];
        char hex[SHA256_HEX];
        assert_int_equal(sha256_of(digest, all.p, all.n, &e), 0);
        hex_of(hex, digest);
        const char *wanted = json_string_value(json_object_get(row, "sha256"));
        if (strcmp(hex, wanted) != 0) fail_msg("row %zu (%s): %s, wanted %s", i, type, hex, wanted);
        str_free(&all);
    }
    json_decref(golden);
}

/* As transformers counts: max_steps = ceil(num_train_epochs * steps of an epoch). */
static void test_epochs_in_steps(void **state)
{
    (void)state;
    static const struct {
        double epochs;
        size_t items, batch, wanted;
    } rows[] = {
        { 3, 60, 32, 6 },    { 0.5, 60, 32, 1 },  { 0.5, 320, 32, 5 },
        { 0.5, 330, 32, 6 }, { 1.5, 64, 32, 3 },  { 0.01, 60, 32, 1 },
        { 0.1, 100, 1, 10 }, { 0.07, 100, 1, 8 }, { 2, 1, 32, 2 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config c = { 0 };
        c.train.num_epochs = rows[i].epochs;
        c.train.batch_size = (int64_t)rows[i].batch;
        c.train.max_steps = CONFIG_NONE;
        uint64_t epoch = schedule_steps_per_epoch(&c, rows[i].items);
        assert_int_equal(schedule_steps(&c, epoch), rows[i].wanted);
        c.train.max_steps = 77;
        assert_int_equal(schedule_steps(&c, epoch), 77);
    }
}

/* A run that would change nothing is refused; one that would hardly change anything is noted. */
static void test_a_run_has_a_rate_above_zero(void **state)
{
    (void)state;
    static const struct {
        const char *keys[4];
        size_t total;
        const char *error, *notes; /* NULL: none */
    } rows[] = {
        { { "train.warmup_steps=1" }, 1, "train.warmup_steps: found a warm-up of 1 step in a", "" },
        { { "train.warmup_steps=100" }, 1, "train.warmup_steps: found a warm-up of 100", "" },
        { { "train.warmup_ratio=1" }, 1, "train.warmup_ratio: found a warm-up of 1 step in a", "" },
        { { "train.lr_scheduler_type=linear", "train.warmup_steps=1" }, 1, "leaves no step", "" },
        { { "train.lr_scheduler_type=constant_with_warmup", "train.warmup_steps=1" },
          1,
          "leaves no step",
          "" },
        { { "train.lr_scheduler_type=constant", "train.warmup_steps=1" }, 1, NULL, "not used" },
        { { "train.warmup_steps=0" }, 1, NULL, "1 optimiser step in all" },
        { { "train.seed=1" }, 1, NULL, "1 optimiser step in all" },
        { { "train.warmup_steps=1" }, 2, NULL, "2 optimiser steps in all" },
        { { "train.seed=1" }, 19, NULL, "19 optimiser steps in all" },
        { { "train.max_steps=19" }, 19, NULL, "train.max_steps: 19 optimiser steps in all" },
        { { "train.seed=1" }, 20, NULL, NULL },
        { { "train.warmup_steps=30" }, 20, NULL, "is not over when the run of 20 ends" },
        { { "train.warmup_steps=20" }, 20, NULL, "no higher than 0.00019 of 0.0002" },
        { { "train.learning_rate=0" }, 1, NULL, "train.learning_rate is 0" },
        { { "train.learning_rate=0", "train.warmup_steps=1" },
          1,
          NULL,
          "train.learning_rate is 0" },
    };
    static const char text[] = "model: {path: m}\ndata: {train: d}\noutput: {dir: o}\n"
                               "train: {learning_rate: 2.0e-4}\n";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config c;
        struct err e = { 0 };
        struct str notes = { 0 };
        char *overrides[4];
        size_t n = 0;
        for (; rows[i].keys[n]; n++) overrides[n] = (char *)(uintptr_t)rows[i].keys[n];
        if (config_parse(&c, text, sizeof text - 1, "c.yaml", overrides, n, &e))
            fail_msg("%s", e.msg);
        struct schedule s = schedule_of(&c, c.train.learning_rate, rows[i].total);
        int code = schedule_check(&s, &c, &e);
        assert_int_equal(code, rows[i].error ? ERR_USAGE : 0);
        if (code && !strstr(e.msg, rows[i].error)) fail_msg("row %zu: %s", i, e.msg);
        schedule_notes(&notes, &s, 60, &c);
        if (!rows[i].notes) assert_int_equal(notes.n, 0);
        if (rows[i].notes && !strstr(notes.p, rows[i].notes)) fail_msg("row %zu: %s", i, notes.p);
        str_free(&notes);
        config_free(&c);
    }
}

/* What is published for 1B to 70B at lora_alpha 32, and measured for 135M. The scale of rsLoRA is
 * lora_alpha / sqrt(r). */
static void test_learning_rate_by_size(void **state)
{
    (void)state;
    static const struct {
        double params, scale, wanted;
        const char *said;
    } rows[] = {
        { 134.5e6, 2, 3e-3, "learning rate 0.003 (auto: 0.003 for 134 M parameters)" },
        { 1.24e9, 2, 1e-3, "learning rate 0.001 (auto: 0.001 for 1.24 G parameters)" },
        { 3.21e9, 2, 1e-3, "" },
        { 6.74e9, 2, 3e-4, "" },
        { 70.6e9, 2, 3e-4, "" },
        { 1.24e9, 1, 2e-3,
          "learning rate 0.002 (auto: 0.001 for 1.24 G parameters, times 32 / 16 for lora_alpha)" },
        { 8e9, 8, 7.5e-5, "times 32 / 128 for lora_alpha" },
        { 134.5e6, 1e-4, 1, "learning rate 1 (auto: 0.003 " }, /* the most that the key takes */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str said = { 0 };
        struct adapter a = { .r = 16, .lora_alpha = 32, .scale = rows[i].scale };
        struct learning_rate l = learning_rate_by_size(rows[i].params, &a);
        assert_true(fabs(l.peak - rows[i].wanted) < 1e-12);
        learning_rate_say(&said, &l);
        if (!strstr(said.p, rows[i].said)) fail_msg("row %zu: %s", i, said.p);
        str_free(&said);
    }
    struct str said = { 0 };
    learning_rate_say(&said, &(struct learning_rate){ .peak = 1e-4 });
    assert_string_equal(said.p, "learning rate 0.0001");
    static const struct {
        double peak;
        const char *said;
    } given[] = { { 1, "learning rate 1 (auto takes 0.003)" },
                  { 0.03, "learning rate 0.03" },
                  { 0.0003, "learning rate 0.0003" },
                  { 2e-5, "learning rate 2e-05 (auto takes 0.003)" } };
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        str_clear(&said);
        learning_rate_say(&said, &(struct learning_rate){ .peak = given[i].peak, .usual = 0.003 });
        assert_string_equal(said.p, given[i].said);
    }
    str_free(&said);
}

static void test_warmup(void **state)
{
    (void)state;
    static const struct {
        int64_t steps;
        double ratio;
        size_t total, wanted;
    } rows[] = {
        { CONFIG_NONE, 0, 100, 0 },
        { CONFIG_NONE, 0.03, 100, 3 },
        { CONFIG_NONE, 0.03, 101, 4 },
        { CONFIG_NONE, 1, 7, 7 },
        { CONFIG_NONE, 0.001, 1, 0 },
        { CONFIG_NONE, 0.03, 33, 0 },
        { CONFIG_NONE, 0.03, 34, 2 },
        { CONFIG_NONE, 1, 1, 1 },
        { CONFIG_NONE, 0.5, 2, 1 },
        { CONFIG_NONE, 0.5, 1, 0 },
        { CONFIG_NONE, 0.07, 100, 8 },
        /* 7.000000000000001, as in Python */ { 0, 0.5, 100, 0 }, /* 0 overrides the ratio too */
        { 12, 0.5, 100, 12 },
        { 200, 0.03, 100, 200 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config c = { 0 };
        c.train.warmup_steps = rows[i].steps;
        c.train.warmup_ratio = rows[i].ratio;
        c.train.learning_rate = 0.5;
        c.train.lr_scheduler_type = CONFIG_SCHEDULE_LINEAR;
        struct schedule s = schedule_of(&c, c.train.learning_rate, rows[i].total);
        assert_int_equal(s.warmup, rows[i].wanted);
        assert_int_equal(s.total, rows[i].total);
        assert_int_equal(s.type, CONFIG_SCHEDULE_LINEAR);
        assert_true(s.peak == 0.5);
    }
}

/* ---- summing gradients ----------------------------------------------------------------------- */

enum { VALUES = 17 };

static real leaf_value(size_t pass, size_t i)
{
    return (real)((rng_unit(5, RNG_TEST, (uint32_t)pass, i) - 0.5) *
                  exp2((double)(rng_u32(6, RNG_TEST, (uint32_t)pass, i) % 20)));
}

/* Value i of the node over the passes [at, at + 2^level), of which there are M. */
static real tree(size_t at, unsigned level, size_t M, size_t i)
{
    if (level == 0) return leaf_value(at, i);
    size_t half = (size_t)1 << (level - 1);
    real left = tree(at, level - 1, M, i);
    return at + half < M ? left + tree(at + half, level - 1, M, i) : left;
}

/* The same for losses that are not sums of powers of two. */
static double loss_tree(size_t at, unsigned level, size_t M)
{
    if (level == 0) return 1 / (double)(3 + at * at);
    size_t half = (size_t)1 << (level - 1);
    double left = loss_tree(at, level - 1, M);
    return at + half < M ? left + loss_tree(at + half, level - 1, M) : left;
}

static void test_losses_are_summed_along_the_same_tree(void **state)
{
    (void)state;
    bool differs = false;
    for (size_t M = 1; M <= 40; M++) {
        struct losssum s = { 0 };
        double plain = 0;
        unsigned top = 0;
        while ((size_t)1 << top < M) top++;
        for (size_t p = 0; p < M; p++) {
            losssum_add(&s, loss_tree(p, 0, M));
            plain += loss_tree(p, 0, M);
        }
        assert_true(losssum_total(&s) == loss_tree(0, top, M));
        differs |= losssum_total(&s) != plain;
    }
    assert_true(differs);
    assert_true(losssum_total(&(struct losssum){ 0 }) == 0);
}

static void test_gradsum(void **state)
{
    (void)state;
    bool differs = false;
    for (size_t M = 1; M <= 40; M++) {
        struct err e;
        struct arena a = { 0 };
        struct gradsum s;
        gradsum_carve(&s, &a, VALUES, 40, false, golden_kernels());
        OK(arena_map(&a, &e), e);
        gradsum_carve(&s, &a, VALUES, M, false, golden_kernels());
        unsigned top = 0;
        while ((size_t)1 << top < M) top++;
        for (int again = 0; again < 2; again++) {
            gradsum_begin(&s, 0);
            for (size_t p = 0; p < M; p++) {
                for (size_t i = 0; i < VALUES; i++) s.leaf[i] = leaf_value(p, i);
                gradsum_add(&s, loss_tree(p, 0, M));
            }
            const real *total = gradsum_total(&s);
            for (size_t i = 0; i < VALUES; i++) {
                real plain = 0;
                for (size_t p = 0; p < M; p++) plain += leaf_value(p, i);
                assert_true(total[i] == tree(0, top, M, i));
                assert_true(losssum_total(&s.loss) == loss_tree(0, top, M));
                differs |= total[i] != plain;
            }
        }
        arena_unmap(&a);
    }
    assert_true(differs); /* otherwise the order of additions was not tested */
}

/* The passes cut in three: the nodes of the parts, of which there are no more than planned, give
 * the bits of the whole. */
static void test_losses_of_parts(void **state)
{
    (void)state;
    for (size_t M = 1; M <= 24; M++) {
        struct losssum whole = { 0 };
        for (size_t p = 0; p < M; p++) losssum_add(&whole, loss_tree(p, 0, M));
        for (size_t a = 0; a <= M; a++)
            for (size_t b = a; b <= M; b++) {
                const size_t ends[] = { 0, a, b, M };
                struct losssum sum = { 0 };
                for (size_t k = 0; k < 3; k++) {
                    struct losssum part = { .next = ends[k] };
                    for (size_t p = ends[k]; p < ends[k + 1]; p++)
                        losssum_add(&part, loss_tree(p, 0, M));
                    assert_true(part.n <= gradsum_nodes(ends[k + 1] - ends[k], true));
                    for (size_t i = 0; i < part.n; i++)
                        losssum_add_node(&sum, part.node[i], part.at[i]);
                }
                assert_true(losssum_total(&sum) == losssum_total(&whole));
            }
    }
}

/* log2 buffers and a leaf, as the plan of memory promises. */
static void test_gradsum_room(void **state)
{
    (void)state;
    static const size_t rows[][2] = { { 1, 1 }, { 2, 3 }, { 3, 3 }, { 4, 4 }, { 40, 7 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a = { 0 };
        struct gradsum s;
        gradsum_carve(&s, &a, 32, rows[i][0], false, golden_kernels());
        assert_int_equal(a.used, rows[i][1] * 32 * sizeof(real));
    }
}

/* ---- a step ---------------------------------------------------------------------------------- */

static void open_learner(struct learner *l, struct golden *g)
{
    static const struct examples none;
    struct err e;
    struct config c = { 0 };
    golden_open(g, "gqa-tied");
    c.train.batch_size = 8;
    c.train.pass_tokens = 45;
    c.train.share_prefixes = CONFIG_SHARE_AUTO;
    c.train.adam_beta1 = 0.9;
    c.train.adam_beta2 = 0.999;
    c.train.adam_epsilon = 1e-8;
    OK(learner_plan(l, &c, &g->model, &g->adapter, &g->examples, &none, golden_kernels(), 0, &e),
       e);
    OK(learner_map(l, &c, &g->adapter, &e), e);
}

static void close_learner(struct learner *l, struct golden *g)
{
    learner_free(l);
    golden_close(g);
}

static const uint32_t all_examples[] = { 0, 1, 2, 3, 4, 5, 6, 7 };

/* A loss that is not finite is an error that names the step, and leaves adapter and moments. */
static void test_not_finite(void **state)
{
    (void)state;
    struct golden g;
    struct learner l;
    struct step_result r;
    struct err e;
    open_learner(&l, &g);
    size_t n = l.adapter.n_params, bytes = n * sizeof(real);
    OK(learner_step(&l, &r, all_examples, 8, 1, 1e-3, &e), e);
    real *kept = malloc(3 * bytes);
    l.adapter.params[n / 2] = INFINITY;
    memcpy(kept, l.adapter.params, bytes);
    memcpy(kept + n, l.m, bytes);
    memcpy(kept + 2 * n, l.v, bytes);
    assert_int_equal(learner_step(&l, &r, all_examples, 8, 2, 1e-3, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "step 2: the loss is not finite"));
    assert_memory_equal(kept, l.adapter.params, bytes);
    assert_memory_equal(kept + n, l.m, bytes);
    assert_memory_equal(kept + 2 * n, l.v, bytes);
    free(kept);
    close_learner(&l, &g);
}

static struct kernels faulty;
static long pass_seen, spoilt_pass;

/* The gradient of the chosen pass has a NaN: rmsnorm_backward is the last to touch it, once a
 * norm. */
static void spoil_norm(real *dx, const real *dy, const real *x, const real *w, const real *rstd,
                       size_t T, size_t C)
{
    golden_kernels()->rmsnorm_backward(dx, dy, x, w, rstd, T, C);
    if (pass_seen == spoilt_pass) dx[T * C / 2] = NAN;
}

static void count_pass(double *loss, uint8_t *hit, real *logits, const int32_t *target,
                       const real *weight, size_t M, size_t V, bool backward)
{
    pass_seen++;
    golden_kernels()->cross_entropy(loss, hit, logits, target, weight, M, V, backward);
}

/* A moment overflows when the square of its gradient is too large. */
static void spoil_moment(real *p, real *m, real *v, const real *grad, size_t n,
                         const struct adamw *o)
{
    golden_kernels()->adamw(p, m, v, grad, n, o);
    v[n - 1] = INFINITY;
}

/* The message names the pass whose gradient is not finite, and after the update all examples. */
static void test_not_finite_names(void **state)
{
    (void)state;
    struct golden g;
    struct learner l;
    struct step_result r;
    struct err e;
    open_learner(&l, &g);
    faulty = *l.net.k;
    faulty.rmsnorm_backward = spoil_norm;
    faulty.cross_entropy = count_pass;
    l.net.k = &faulty;
    size_t bytes = l.adapter.n_params * sizeof(real);
    real *kept = malloc(bytes);
    memcpy(kept, l.adapter.params, bytes);
    for (spoilt_pass = 1; spoilt_pass <= 3; spoilt_pass++) {
        char wanted[64];
        pass_seen = 0;
        assert_int_equal(learner_step(&l, &r, all_examples, 8, 7, 1e-3, &e), ERR_FAIL);
        assert_true(r.passes >= 3);
        assert_int_equal(pass_seen, spoilt_pass); /* the later passes do not run */
        assert_non_null(strstr(e.msg, "step 7: the gradient is not finite"));
        const size_t *first = l.batch.first + spoilt_pass - 1;
        snprintf(wanted, sizeof wanted, "example%s %u", first[1] - first[0] == 1 ? "" : "s",
                 l.batch.order[first[0]] + 1);
        if (!strstr(e.msg, wanted)) fail_msg("%s\nlacks %s", e.msg, wanted);
        assert_memory_equal(kept, l.adapter.params, bytes);
    }
    faulty = *golden_kernels();
    faulty.adamw = spoil_moment;
    assert_int_equal(learner_step(&l, &r, all_examples, 8, 8, 1e-3, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "step 8: the updated adapter or its moments are not finite"));
    for (int i = 1; i <= 8; i++) {
        char number[16];
        snprintf(number, sizeof number, " %d", i);
        assert_non_null(strstr(strstr(e.msg, "with training"), number));
    }
    free(kept);
    close_learner(&l, &g);
}

/* An objective says what it needs of the examples. */
static void test_needs(void **state)
{
    (void)state;
    struct golden g;
    struct learner l;
    struct err e;
    golden_open(&g, "gqa-tied");
    memset(g.examples.target, 0, examples_tokens(&g.examples));
    struct config c = { 0 };
    const struct examples none = { 0 };
    assert_int_equal(
        learner_plan(&l, &c, &g.model, &g.adapter, &g.examples, &none, golden_kernels(), 0, &e),
        ERR_FAIL);
    assert_non_null(strstr(e.msg, "no tokens to learn, which objective sft needs"));
    golden_close(&g);
}

/* The numbers of the result, against a count by hand. */
static void test_result(void **state)
{
    (void)state;
    struct golden g;
    struct learner l;
    struct step_result r;
    struct err e;
    open_learner(&l, &g);
    OK(learner_step(&l, &r, all_examples + 2, 3, 1, 0, &e), e);
    size_t tokens = g.examples.at[5] - g.examples.at[2], targets = 0;
    for (size_t j = g.examples.at[2]; j < g.examples.at[5]; j++) targets += g.examples.target[j];
    assert_int_equal(r.tokens, tokens);
    assert_int_equal(r.targets, targets);
    assert_true(r.rows < tokens); /* they share a beginning */
    assert_memory_equal(l.adapter.params, g.adapter.params, l.adapter.n_params * sizeof(real));
    close_learner(&l, &g);
}

/* ---- no allocation --------------------------------------------------------------------------- */

static struct kernels careless;

static void careless_adamw(real *p, real *m, real *v, const real *grad, size_t n,
                           const struct adamw *o)
{
    struct err e;
    mem_free(mem_alloc(1, 1, &e));
    golden_kernels()->adamw(p, m, v, grad, n, o);
}

/* How a child ends that makes two steps under the trainer's guard. It uses one thread, since a
 * forked process has no others. */
static int guarded_steps(bool careful)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct golden g;
        struct learner l;
        struct step_result r;
        struct err e;
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
        if (!careful) fclose(stderr);
        omp_set_num_threads(1);
        open_learner(&l, &g);
        careless = *l.net.k;
        careless.adamw = careless_adamw;
        if (!careful) l.net.k = &careless;
        int code = learner_step(&l, &r, all_examples, 8, 1, 1e-3, &e);
        mem_guard(true);
        if (!code) code = learner_step(&l, &r, all_examples, 8, 2, 1e-3, &e);
        _exit(code);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void test_allocation_guard(void **state)
{
    (void)state;
    int status = guarded_steps(true);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = guarded_steps(false);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_rates, "schedule: learning rates are transformers' to the last bit"),
        ENTRY(test_learning_rate_by_size,
              "learning rate: auto is the published one, scaled with lora_alpha"),
        ENTRY(test_warmup,
              "schedule: warm-up steps are transformers', a ratio below one step gives none"),
        ENTRY(test_rates_of_many_lengths,
              "schedule: rates of every length and type are transformers'"),
        ENTRY(test_epochs_in_steps, "schedule: epochs become steps as transformers counts them"),
        ENTRY(test_a_run_has_a_rate_above_zero,
              "schedule: a run without a rate above 0 is refused, a short one noted"),
        ENTRY(test_gradsum,
              "gradient sum: passes are summed along the binary tree over their numbers"),
        ENTRY(test_losses_are_summed_along_the_same_tree,
              "gradient sum: losses are summed along the same tree"),
        ENTRY(test_losses_of_parts, "loss sum: any division of the passes gives the same bits"),
        ENTRY(test_gradsum_room, "gradient sum: it takes log2 buffers and one"),
        ENTRY(test_not_finite,
              "learner: a loss that is not finite names the step and changes nothing"),
        ENTRY(test_not_finite_names,
              "learner: of several passes the one that is not finite is named"),
        ENTRY(test_result,
              "learner: tokens, targets and norm of a step are those of a count by hand"),
        ENTRY(test_needs, "learner: examples without what the objective needs are refused"),
        ENTRY(test_allocation_guard, "learner: a step does not allocate"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
