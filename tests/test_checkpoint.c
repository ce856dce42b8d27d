/* src/train/checkpoint.c: what is saved is loaded; each value that contradicts the others is
 * refused by name; NaN and infinities are neither saved nor loaded. */
#include "tests/files_util.h"

#include <math.h>

#include "src/formats/h5.h"
#include "src/train/checkpoint.h"

enum { STEPS = 4, MOST = 256 };
static const struct dims dims = { .layers = 1, .C = 8, .F = 8, .H = 2, .G = 1, .D = 4, .V = 8 };

struct sample {
    struct adapter adapter;
    real params[MOST], m[MOST], v[MOST];
    double loss[STEPS], eval_loss[STEPS + 1];
    int64_t eval_step[STEPS + 1];
    struct checkpoint c;
};

static void make_sample(struct sample *s)
{
    *s = (struct sample){ 0 };
    adapter_layout(&s->adapter, &dims, 2, 4, 1u << Q_PROJ);
    assert_true(s->adapter.n_params <= MOST);
    for (size_t i = 0; i < s->adapter.n_params; i++) {
        s->params[i] = (real)i;
        s->m[i] = (real)-1;
        s->v[i] = (real)0.5;
    }
    for (size_t i = 0; i < STEPS; i++) s->loss[i] = 3.0 - (double)i;
    s->c = (struct checkpoint){ .step = 3,
                                .total_steps = STEPS,
                                .eval_pending = true,
                                .best_eval_loss = 1.5,
                                .best_step = 2,
                                .adapter = &s->adapter,
                                .params = s->params,
                                .m = s->m,
                                .v = s->v,
                                .loss = s->loss,
                                .config = "train:\n",
                                .base_sha256 = "b",
                                .data_sha256 = "d",
                                .isa = "base",
                                .gemm = "own" };
    s->c.history =
        (struct history){ .room = STEPS + 1, .step = s->eval_step, .loss = s->eval_loss };
}

/* Before the first step and after two of the three. */
static void add_evaluations(struct sample *s)
{
    static const int64_t steps[] = { 0, 1, 2 };
    static const double losses[] = { 4, 2, 1.5 };
    s->c.history.n = 3;
    memcpy(s->eval_step, steps, sizeof steps);
    memcpy(s->eval_loss, losses, sizeof losses);
}

static int load(struct sample *s, const char *path, struct err *e)
{
    make_sample(s);
    memset(s->params, 0, sizeof s->params);
    s->c.step = 0;
    s->c.eval_pending = false;
    return checkpoint_load(&s->c, path, e);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct sample s, back;
    struct checkpoint_start h;
    struct err e;
    const char *path = temp_path("step.h5");
    make_sample(&s);
    add_evaluations(&s);
    if (checkpoint_save(&s.c, path, 0600, &e)) fail_msg("%s", e.msg);
    if (checkpoint_read_start(&h, path, &e)) fail_msg("%s", e.msg);
    assert_true(h.step == 3 && h.total_steps == STEPS);
    assert_string_equal(h.config.p, "train:\n");
    assert_string_equal(h.gemm.p, "own");
    checkpoint_start_free(&h);
    if (load(&back, path, &e)) fail_msg("%s", e.msg);
    assert_true(back.c.step == 3 && back.c.eval_pending && back.c.best_step == 2);
    assert_true(back.c.best_eval_loss == 1.5 && back.loss[2] == 1.0);
    assert_memory_equal(back.params, s.params, sizeof s.params);
    assert_memory_equal(back.v, s.v, sizeof s.v);
    assert_int_equal(back.c.history.n, 3);
    assert_memory_equal(back.eval_step, s.eval_step, sizeof s.eval_step);
    assert_memory_equal(back.eval_loss, s.eval_loss, sizeof s.eval_loss);
    s.c.history.n = 0; /* as version 0.1 wrote it */
    if (checkpoint_save(&s.c, path, 0600, &e)) fail_msg("%s", e.msg);
    back.c.history.n = 2;
    if (load(&back, path, &e)) fail_msg("%s", e.msg);
    assert_int_equal(back.c.history.n, 0);
}

/* The list of evaluations belongs to the steps that were made. */
static void test_evaluations_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        int64_t steps[3];
        double last;
        size_t n;
        const char *want;
    } rows[] = {
        { { 0, 2, 2 }, 1, 3, "history/eval_step: found 2, wanted 3 to 3" },
        { { 0, 2, 1 }, 1, 3, "history/eval_step: found 1, wanted 3 to 3" },
        { { -1, 1, 2 }, 1, 3, "history/eval_step: found -1, wanted 0 to 3" },
        { { 0, 1, 4 }, 1, 3, "history/eval_step: found 4, wanted 2 to 3" },
        { { 0, 1, 2 }, NAN, 3, "history/eval_loss holds NaN" },
        { { 0, 1, 2 }, INFINITY, 3, "history/eval_loss holds NaN" },
        { { 0, 1, 2 }, 1, 5, "history/eval_step: found 5 evaluations after 3 steps" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = temp_path("evaluations.h5");
        struct sample s, back;
        struct err e;
        make_sample(&s);
        add_evaluations(&s);
        memcpy(s.eval_step, rows[i].steps, sizeof rows[i].steps);
        s.eval_loss[2] = rows[i].last;
        s.c.history.n = rows[i].n;
        if (checkpoint_save(&s.c, path, 0600, &e)) fail_msg("%s", e.msg);
        assert_refused(load(&back, path, &e), &e, path, rows[i].want, rows[i].want);
    }
}

static void test_nothing_but_numbers(void **state)
{
    (void)state;
    static const char *const names[] = { "adapter", "first moment", "second moment" };
    const char *path = temp_path("nan.h5");
    for (size_t k = 0; k < 3; k++) {
        struct sample s;
        struct err e;
        make_sample(&s);
        real *arrays[] = { s.params, s.m, s.v };
        arrays[k][s.adapter.n_params - 1] = k ? (real)INFINITY : (real)NAN;
        assert_int_equal(checkpoint_save(&s.c, path, 0600, &e), ERR_FAIL);
        assert_non_null(strstr(e.msg, names[k]));
        assert_non_null(strstr(e.msg, "step 3"));
        assert_false(file_exists(path));
    }
}

/* A file with every entry of a checkpoint, one of them changed. */
struct change {
    const char *name; /* of the entry */
    int64_t number;   /* a scalar instead */
    const char *text; /* a text instead, or NULL */
    const char *want;
};

static void write_changed(const char *path, const struct change *x)
{
    static const struct {
        const char *name;
        int64_t v;
    } numbers[] = { { "format_version", 1 }, { "step", 3 },
                    { "total_steps", 4 },    { "eval_pending", 0 },
                    { "best/step", 0 },      { "adapter/r", 2 },
                    { "adapter/layers", 1 }, { "adapter/targets", 1 << Q_PROJ } };
    static const char *const texts[] = { "format", "config", "base_sha256", "data_sha256",
                                         "isa",    "gemm",   "version" };
    struct h5_writer w;
    struct err e;
    struct sample s;
    make_sample(&s);
    if (!strcmp(x->name, "nan")) s.params[0] = (real)NAN;
    uint64_t n = s.adapter.n_params, steps = 3;
    assert_int_equal(h5_create(&w, path, 0600, &e), 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        bool here = !strcmp(x->name, numbers[i].name);
        if (here && x->text)
            h5_put_text(&w, x->name, x->text, strlen(x->text), &e);
        else
            h5_put_i64(&w, numbers[i].name, here ? x->number : numbers[i].v, &e);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = i ? "x" : "lorac-checkpoint";
        bool here = !strcmp(x->name, texts[i]);
        if (here && !x->text) continue; /* left out */
        if (here) text = x->text;
        h5_put_text(&w, texts[i], text, strlen(text), &e);
    }
    h5_put_f64(&w, "best/eval_loss", 1, &e);
    h5_put_f64(&w, "adapter/alpha", 4, &e);
    if (!strcmp(x->name, "short")) n--;
    h5_put(&w, "adapter/params", sizeof(real) == 8 ? H5_TYPE_F64 : H5_TYPE_F32, s.params, 1, &n,
           &e);
    n = s.adapter.n_params;
    h5_put(&w, "optimizer/m", sizeof(real) == 8 ? H5_TYPE_F64 : H5_TYPE_F32, s.m, 1, &n, &e);
    h5_put(&w, "optimizer/v", sizeof(real) == 8 ? H5_TYPE_F64 : H5_TYPE_F32, s.v, 1, &n, &e);
    h5_put(&w, "history/loss", H5_TYPE_F64, s.loss, 1, &steps, &e);
    if (h5_commit(&w, &e)) fail_msg("%s", e.msg);
}

static void test_contradictions(void **state)
{
    (void)state;
    static const struct change rows[] = {
        { "format", 0, "other", "is not a lorac checkpoint" },
        { "format", 0, "", "is not a lorac checkpoint" },
        { "format", 0, NULL, "format is missing" },
        { "format_version", 2, NULL, "format version is 2" },
        { "format_version", -1, NULL, "format_version is -1" },
        { "step", -3, NULL, "step is -3, wanted 0 or more" },
        { "step", 5, NULL, "step is 5, the run has 4" },
        { "step", 2, NULL, "history/loss: found shape (3), wanted (2)" },
        { "step", 0, "3", "step: found numbers of another type" },
        { "eval_pending", 2, NULL, "eval_pending is 2" },
        { "best/step", -1, NULL, "best/step is -1" },
        { "adapter/r", 3, NULL, "rank 3" },
        { "adapter/targets", 3, NULL, "on other modules" },
        { "short", 0, NULL, "adapter/params: found shape" },
        { "nan", 0, NULL, "the adapter holds NaN" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = temp_path("changed.h5");
        struct sample s;
        struct err e;
        write_changed(path, &rows[i]);
        assert_refused(load(&s, path, &e), &e, path, rows[i].name, rows[i].want);
    }
    static const struct change heads[] = {
        { "total_steps", -1, NULL, "total_steps is -1" },
        { "config", 0, NULL, "config is missing" },
        { "base_sha256", 0, NULL, "base_sha256 is" },
        { "data_sha256", 0, NULL, "data_sha256 is" },
        { "isa", 0, NULL, "isa is missing" },
        { "gemm", 0, NULL, "gemm is missing" },
        { "version", 0, NULL, "version is missing" },
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        const char *path = temp_path("changed.h5");
        struct checkpoint_start h;
        struct err e;
        write_changed(path, &heads[i]);
        assert_refused(checkpoint_read_start(&h, path, &e), &e, path, heads[i].name, heads[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_round_trip, "checkpoint: what is saved is loaded"),
        ENTRY(test_nothing_but_numbers,
              "checkpoint: NaN and infinities are neither saved nor loaded"),
        ENTRY(test_evaluations_that_cannot_be,
              "checkpoint: evaluations that do not belong to its steps are refused"),
        ENTRY(test_contradictions,
              "checkpoint: each value that contradicts the others is refused by its name"),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, make_test_dir, remove_test_dir);
}
