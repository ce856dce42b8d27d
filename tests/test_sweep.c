/* Sweeps: how arguments become runs (src/train/sweep_grid.h), which of them a task of a job array
 * makes (sweep_share.h), what is read of runs (sweep_record.h), and how they compare
 * (sweep_table.h). The runs are directories made by hand. */
#include <math.h>

#include "src/base/mem.h"
#include "src/train/sweep_grid.h"
#include "src/train/sweep_share.h"
#include "src/train/sweep_table.h"
#include "tests/train_util.h"

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[PATH_BYTES];
    struct err e;
    if (dir_make(dir, 0700, &e)) fail_msg("%s", e.msg);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (file_replace(path, text, strlen(text), 0600, &e)) fail_msg("%s", e.msg);
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* The values of an argument, with "|" between them; or a part of the message. */
static const struct {
    const char *argument, *values, *message;
} arguments[] = {
    { "train.seed=1", "1", NULL },
    { "train.learning_rate=1e-4,3e-4, 1e-3", "1e-4|3e-4|1e-3", NULL },
    { "adapter.target_modules=[q_proj,v_proj],all-linear", "[q_proj,v_proj]|all-linear", NULL },
    { "adapter.target_modules=[q_proj, v_proj]", "[q_proj, v_proj]", NULL },
    { "data.columns={prompt: a,completion: b},null", "{prompt: a,completion: b}|null", NULL },
    { "data.train=[{path: a,weight: 2},b],c", "[{path: a,weight: 2},b]|c", NULL },
    { "data.train=\"a,b\",'c,d'", "\"a,b\"|'c,d'", NULL },
    { "data.train=\"a\\\",b\",c", "\"a\\\",b\"|c", NULL },
    { "data.train=it's,that", "it's|that", NULL },
    { "data.train=file[1].jsonl,b]", "file[1].jsonl|b]", NULL },
    { "data.train=['a]',b],c", "['a]',b]|c", NULL },
    { "data.template=", "", NULL },
    { "train.seed=1=2,3", "1=2|3", NULL },
    { "train.seed", NULL, "found \"train.seed\", wanted key=value" },
    { "=1,2", NULL, "wanted key=value" },
    { "train.seed=1,,2", NULL, "override train.seed: value 2 of 3 is empty" },
    { "train.seed=1,2,", NULL, "value 3 of 3 is empty" },
    { "adapter.target_modules=[q_proj,v_proj", NULL, "a bracket or a quote is not closed" },
    { "adapter.target_modules=[q_proj,v_proj},b", NULL, "a bracket or a quote is not closed" },
    { "data.train=\"a,b", NULL, "a bracket or a quote is not closed" },
    { "data.train=[[[[[[[[[a]]]]]]]]]", NULL, "a bracket or a quote is not closed" },
};

static void test_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        struct sweep_axis a;
        struct err e;
        struct str joined = { 0 };
        int code = sweep_axis_read(&a, arguments[i].argument, &e);
        if (arguments[i].message) {
            assert_int_equal(code, ERR_USAGE);
            if (!strstr(e.msg, arguments[i].message))
                fail_msg("%s: %s", arguments[i].argument, e.msg);
        } else {
            if (code) fail_msg("%s: %s", arguments[i].argument, e.msg);
            for (size_t v = 0; v < a.n; v++) str_addf(&joined, "%s%s", v ? "|" : "", a.value[v]);
            assert_string_equal(joined.p, arguments[i].values);
        }
        sweep_axis_free(&a);
        str_free(&joined);
    }
}

/* ---- grids ----------------------------------------------------------------------------------- */

static const char *config_file(void)
{
    const char *path = temp_path("grid/run.yaml");
    put_file(temp_path("grid"), "run.yaml",
             "model: {path: base}\ndata: {train: a.jsonl, validation: 0.1}\n"
             "train: {seed: 7}\noutput: {dir: runs/x}\n");
    return path;
}

static int open_grid(struct sweep_grid *g, const char *const *args, int64_t seeds, bool yes,
                     struct err *e)
{
    size_t n = 0;
    while (args[n]) n++;
    return sweep_grid_open(g, config_file(), (char *const *)(uintptr_t)args, n, seeds, yes, e);
}

static void test_grid(void **state)
{
    (void)state;
    static const char *const args[] = { "train.learning_rate=1e-4,3.0e-4,1e-3", "adapter.r=8,16",
                                        "train.batch_size=4", NULL };
    static const char *const names[] = {
        "learning_rate-0.0001+r-8+seed-7",  "learning_rate-0.0001+r-8+seed-8",
        "learning_rate-0.0001+r-16+seed-7", "learning_rate-0.0001+r-16+seed-8",
        "learning_rate-0.0003+r-8+seed-7",  "learning_rate-0.0003+r-8+seed-8",
        "learning_rate-0.0003+r-16+seed-7", "learning_rate-0.0003+r-16+seed-8",
        "learning_rate-0.001+r-8+seed-7",   "learning_rate-0.001+r-8+seed-8",
        "learning_rate-0.001+r-16+seed-7",  "learning_rate-0.001+r-16+seed-8",
    };
    static const double rates[] = { 1e-4, 3e-4, 1e-3 };
    struct sweep_grid g;
    struct err e = { 0 };
    if (open_grid(&g, args, 2, false, &e)) fail_msg("%s", e.msg);
    assert_int_equal(g.n, 12);
    assert_true(g.holds_split);
    for (size_t i = 0; i < g.n; i++) {
        struct config c;
        char dir[256];
        assert_string_equal(g.name[i], names[i]);
        if (sweep_grid_config(&c, &g, i, &e)) fail_msg("%s", e.msg);
        assert_true(c.train.learning_rate == rates[i / 4]);
        assert_int_equal(c.adapter.r, i % 4 < 2 ? 8 : 16);
        assert_int_equal(c.train.batch_size, 4);
        assert_int_equal(c.train.seed, 7 + i % 2);
        assert_int_equal(c.data.split_seed, 7); /* one validation side for all */
        snprintf(dir, sizeof dir, "runs/x/%s", names[i]);
        assert_string_equal(c.output.dir, dir);
        config_free(&c);
    }
    sweep_grid_free(&g);
}

/* What a name is made of: values as config.yaml has them, safe bytes, a bounded length. */
static const struct {
    const char *argument, *first;
} named[] = {
    { "adapter.target_modules=[v_proj,q_proj],all-linear", "target_modules-q_proj-v_proj+seed-7" },
    { "train.save_steps=10min,null", "save_steps-10min+seed-7" },
    { "train.seed=3,4", "seed-3" },
    { "data.train=a.jsonl,b.jsonl", "train-a.jsonl+seed-7" },
    { "data.train=a b/../c;d.jsonl,b.jsonl", "train-a-b-..-c-d.jsonl-????????+seed-7" },
    { "data.train=\"\\e[31m\\n\",b.jsonl", "train-*-????????+seed-7" },
    { "model.path="
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,"
      "b",
      "path-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-????????+seed-7" },
};

/* Whether the text is the pattern's, in which ? is any byte and * any bytes. */
static bool is_like(const char *text, const char *pattern)
{
    if (!*pattern) return !*text;
    if (*pattern == '*') return is_like(text, pattern + 1) || (*text && is_like(text + 1, pattern));
    return *text && (*pattern == '?' || *pattern == *text) && is_like(text + 1, pattern + 1);
}

static void test_names(void **state)
{
    (void)state;
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+";
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        const char *args[] = { named[i].argument, NULL };
        struct sweep_grid g;
        struct err e = { 0 };
        if (open_grid(&g, args, 0, false, &e)) fail_msg("%s", e.msg);
        if (!is_like(g.name[0], named[i].first))
            fail_msg("%s: %s, wanted %s", named[i].argument, g.name[0], named[i].first);
        assert_int_equal(strspn(g.name[0], safe), strlen(g.name[0]));
        sweep_grid_free(&g);
    }
}

static const struct {
    const char *args[4];
    int64_t seeds;
    bool yes;
    const char *message; /* NULL: it is a grid */
} grids[] = {
    { { "train.sed=1,2" }, 0, false, "override: unknown key \"train.sed\"" },
    { { "train.batch_size=4,x" }, 0, false, "override train.batch_size: found \"x\", wanted an" },
    { { "train.batch_size=4,1.5" }, 0, false, "override train.batch_size: found \"1.5\"" },
    { { "adapter.r=8,0" }, 0, false, "override adapter.r: found \"0\", wanted an integer in [1" },
    { { "adapter.target_modules=q_proj,v_proj" }, 0, false, "[q_proj, v_proj]" },
    { { "adapter.r=8,16", "adapter.r=4" }, 0, false, "override adapter.r: given twice" },
    { { "adapter.r=8,16,8" }, 0, false, "two runs would both be r-8+seed-7" },
    { { "train.learning_rate=1e-4,0.0001" }, 0, false, "two runs would both be" },
    { { "output.dir=a,b" }, 0, false, "override output.dir: found several values, wanted one" },
    { { "train.seed=1,2" }, 3, false, "override train.seed: found several values and --seeds" },
    { { "train.seed=9223372036854775807" }, 2, false, "too large to count on from" },
    { { "adapter.r=8" }, 0, false, "no key has several values" },
    { { NULL }, 0, false, "no key has several values" },
    { { "adapter.r=8" }, 1, false, NULL },
    { { "output.dir=elsewhere", "adapter.r=8,16" }, 0, false, NULL },
    { { "adapter.r=1,2" }, 129, false, "a sweep of 258 runs, more than 256: if that is meant" },
    { { "adapter.r=1,2" }, 129, true, NULL },
    { { "adapter.r=1,2" }, 128, false, NULL },
    { { "adapter.r=1,2", "train.seed=5" }, 1000000000000, true, "more than 10000 runs" },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        struct sweep_grid g;
        struct err e = { 0 };
        int code = open_grid(&g, grids[i].args, grids[i].seeds, grids[i].yes, &e);
        if (grids[i].message) {
            if (code != ERR_USAGE || !strstr(e.msg, grids[i].message))
                fail_msg("%zu: %d %s, wanted %s", i, code, e.msg, grids[i].message);
        } else if (code) {
            fail_msg("%zu: %s", i, e.msg);
        }
        sweep_grid_free(&g);
    }
}

/* A run takes the file as it was when the sweep began. */
static void test_changed_file(void **state)
{
    (void)state;
    const char *args[] = { "adapter.r=8,16", NULL };
    struct sweep_grid g;
    struct config c;
    struct err e = { 0 };
    if (open_grid(&g, args, 0, false, &e)) fail_msg("%s", e.msg);
    put_file(temp_path("grid"), "run.yaml", "nonsense");
    if (sweep_grid_config(&c, &g, 1, &e)) fail_msg("%s", e.msg);
    assert_int_equal(c.adapter.r, 16);
    assert_int_equal(c.data.split_seed, 7);
    config_free(&c);
    sweep_grid_free(&g);
}

/* ---- shares of a job array ------------------------------------------------------------------- */

static void set_array(const char *id, const char *min, const char *count, const char *step)
{
    const char *const names[] = { "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN",
                                  "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_STEP" };
    const char *const values[] = { id, min, count, step };
    for (size_t i = 0; i < 4; i++) {
        if (values[i])
            setenv(names[i], values[i], 1);
        else
            unsetenv(names[i]);
    }
}

static const struct {
    const char *id, *min, *count, *step;
    int first; /* run of 7, counted from 0; -1: none; -2: refused */
    size_t n;
} shares[] = {
    { NULL, NULL, NULL, NULL, 0, 7 }, { "0", "0", "3", "1", 0, 3 },
    { "2", "0", "3", "1", 2, 2 },     { "1", "1", "3", NULL, 0, 3 },
    { "9", "5", "3", "2", 2, 2 },     { "8", "0", "9", "1", -1, 0 },
    { "6", "6", "1", "1", 0, 7 },     { "7", "1", "3", "1", -2, 0 }, /* --array=1,5,7 */
    { "2", "0", "3", "0", -2, 0 },    { "6", "5", "3", "2", -2, 0 },
    { "0", "1", "3", "1", -2, 0 },    { "x", "0", "3", "1", -2, 0 },
    { "0", NULL, "3", "1", -2, 0 },   { "0", "0", NULL, "1", -2, 0 },
    { "-1", "-1", "3", "1", -2, 0 },
};

static void test_shares(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct sweep_share s;
        struct err e = { 0 };
        set_array(shares[i].id, shares[i].min, shares[i].count, shares[i].step);
        int code = sweep_share_read(&s, &e), first = -1;
        size_t n = 0;
        assert_int_equal(code, shares[i].first == -2 ? ERR_USAGE : 0);
        if (code) continue;
        for (size_t run = 0; run < 7; run++) {
            if (!sweep_share_has(&s, run)) continue;
            if (first < 0) first = (int)run;
            n++;
        }
        assert_int_equal(first, shares[i].first);
        assert_int_equal(n, shares[i].n);
        assert_int_equal(sweep_share_of(&s, 7), n);
    }
    set_array(NULL, NULL, NULL, NULL);
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void check_near(double found, double wanted)
{
    if (!(fabs(found - wanted) <= 1e-14 * fabs(wanted)))
        fail_msg("found %.17g, wanted %.17g", found, wanted);
}

/* Means and deviations of Python's statistics.mean() and stdev(); the verdicts by hand: the means
 * of `a` and `b` differ by 0.0388, twice the standard error is 0.0428; those of `a` and `c` by
 * 0.125, and 0.0510. */
static void test_statistics(void **state)
{
    (void)state;
    static const double a[] = { 1.25, 1.3125, 1.28125 }, b[] = { 1.3, 1.34, 1.32 },
                        c[] = { 1.40625, 1.375, 1.4375 };
    struct spread x = spread_of(a, 3), y = spread_of(b, 3), z = spread_of(c, 3),
                  one = spread_of(a, 1), none = spread_of(a, 0);
    check_near(x.mean, 1.28125);
    check_near(x.deviation, 0.03125);
    check_near(y.mean, 1.32);
    check_near(y.deviation, 0.020000000000000018);
    check_near(z.mean, 1.40625);
    assert_true(one.mean == 1.25 && isnan(one.deviation));
    assert_true(isnan(none.mean));
    assert_int_equal(noise_between(&x, &y), NOISE_WITHIN);
    assert_int_equal(noise_between(&y, &x), NOISE_WITHIN);
    assert_int_equal(noise_between(&x, &z), NOISE_BEYOND);
    assert_int_equal(noise_between(&x, &one), NOISE_UNKNOWN);
    assert_int_equal(noise_between(&one, &one), NOISE_UNKNOWN);
    assert_int_equal(noise_between(&x, &x), NOISE_WITHIN);
}

/* ---- runs made by hand ----------------------------------------------------------------------- */

struct made {
    const char *name, *status, *reason;
    double rate;
    int seed;
    const char *base, *data; /* a digit, which the digest repeats */
    const char *metrics;
};

static void make_run(const struct made *m)
{
    char base[SHA256_HEX] = "", data[SHA256_HEX] = "", reason[64] = "null";
    struct str s = { 0 };
    const char *dir = temp_path(m->name);
    for (int i = 0; i < SHA256_HEX - 1; i++) base[i] = *m->base, data[i] = *m->data;
    if (m->reason) snprintf(reason, sizeof reason, "\"%s\"", m->reason);
    str_addf(&s,
             "{\"format\": \"lorac-run\", \"status\": \"%s\", \"reason\": %s, \"step\": 4, "
             "\"total_steps\": 8, \"best_step\": 0, \"best_eval_loss\": null, \"base_sha256\": "
             "\"%s\", \"data_sha256\": \"%s\", \"validation\": {\"examples\": 5, \"targets\": 50}, "
             "\"config\": \"model:\\n  path: base\\ndata:\\n  train: a.jsonl\\n  validation: "
             "0.1\\n  split_seed: 0\\ntrain:\\n  learning_rate: %g\\n  seed: %d\\noutput:\\n  "
             "dir: %s\\n\"}",
             m->status, reason, base, data, m->rate, m->seed, m->name);
    put_file(dir, "run.json", s.p);
    if (m->metrics) put_file(dir, "metrics.jsonl", m->metrics);
    str_free(&s);
}

#define STEP             "{\"step\": 1, \"loss\": 2, \"tokens\": 100, \"tokens_per_s\": 25.0}\n"
#define EVAL(step, loss) "{\"step\": " step ", \"eval_loss\": " loss "}\n"
#define BASE             EVAL("0", "3.5")

static const struct made runs[] = {
    { "t/a0", "finished", NULL, 1e-3, 0, "b", "d", BASE STEP EVAL("4", "1.25") EVAL("8", "1.5") },
    { "t/a1", "finished", NULL, 1e-3, 1, "b", "d", STEP STEP EVAL("4", "1.4") EVAL("8", "1.3125") },
    { "t/a2", "finished", NULL, 1e-3, 2, "b", "d",
      STEP "{\"step\": 4, \"eval_loss\": 1.28125, \"eval_token_accuracy\": 0.9, "
           "\"eval_exact_match\": 0.75}\n{\"step\": 5, \"eval_lo" },
    { "t/b0", "finished", NULL, 1e-4, 0, "b", "d", EVAL("4", "1.3") },
    { "t/b1", "finished", NULL, 1e-4, 1, "b", "d", EVAL("4", "1.34") },
    { "t/b2", "finished", NULL, 1e-4, 2, "b", "d", EVAL("4", "1.32") },
    { "t/c0", "finished", NULL, 1e-2, 0, "b", "d", EVAL("4", "1.40625") },
    { "t/c1", "finished", NULL, 1e-2, 1, "b", "d", EVAL("4", "1.375") },
    { "t/c2", "failed", "step 5: the loss is not finite", 1e-2, 2, "b", "d", EVAL("4", "1.4375") },
    { "t/deep/e", "running", NULL, 1e-5, 0, "b", "d", NULL },
    { "t/f", "stopped", "stopped by SIGTERM", 1e-5, 1, "b", "d", NULL },
};
enum { RUNS = sizeof runs / sizeof *runs };

static void make_table(struct sweep_table *t, const char *dir)
{
    struct err e = { 0 };
    struct run_paths p;
    if (run_paths_find(&p, dir, &e)) fail_msg("%s", e.msg);
    if (sweep_table_make(t, p.at, p.n, &e)) fail_msg("%s", e.msg);
    run_paths_free(&p);
}

static void check_note(const struct sweep_table *t, const char *part)
{
    if (!t->notes.p || !strstr(t->notes.p, part))
        fail_msg("no note \"%s\" in: %s", part, t->notes.p ? t->notes.p : "");
}

static void test_table(void **state)
{
    (void)state;
    struct sweep_table t;
    for (size_t i = 0; i < RUNS; i++) make_run(&runs[i]);
    put_file(temp_path("t/g"), "run.json", "{\"format\": \"lorac-run\"");
    put_file(temp_path("t/a0/best"), "run.json", "{}"); /* an adapter's directory holds no run */
    make_table(&t, temp_path("t"));
    assert_int_equal(t.n, RUNS + 1);
    assert_int_equal(t.n_rows, 4);
    assert_int_equal(t.n_keys, 1);
    assert_string_equal(t.key[0]->name, "train.learning_rate");
    assert_true(t.one_base && t.one_data);
    const struct table_row *best = sweep_table_best(&t);
    assert_ptr_equal(best, &t.row[0]);
    check_near(best->loss.mean, 1.28125);
    check_near(best->loss.deviation, 0.03125);
    assert_int_equal(best->counted, 3);
    check_near(best->step, (4 + 8 + 4) / 3.0);
    check_near(best->seconds, (4 + 8 + 4) / 3.0);
    assert_int_equal(best->exact.n, 1);
    check_near(best->exact.mean, 0.75);
    assert_string_equal(t.run[best->best_run].dir, temp_path("t/a0"));
    check_near(t.run[best->best_run].base_loss, 3.5);
    assert_int_equal(t.row[1].verdict, ROW_WITHIN_NOISE);
    assert_int_equal(t.row[2].verdict, ROW_WORSE);
    assert_int_equal(t.row[2].n, 3);
    assert_int_equal(t.row[2].counted, 2); /* without the failed one */
    assert_int_equal(t.row[3].verdict, ROW_NONE);
    check_note(&t, "t/c2: failed at step 4 of 8: step 5: the loss is not finite\n");
    check_note(&t, "t/deep/e: killed at step 4 of 8\n");
    check_note(&t, "t/f: stopped at step 4 of 8: stopped by SIGTERM\n");
    check_note(&t, "t/g: unreadable: ");
    sweep_table_free(&t);
}

static void test_other_data(void **state)
{
    (void)state;
    static const struct made others[] = {
        { "u/a", "finished", NULL, 1e-3, 0, "b", "d", EVAL("4", "1.25") },
        { "u/b", "finished", NULL, 1e-3, 0, "c", "e", EVAL("4", "1.5") },
    };
    struct sweep_table t;
    for (size_t i = 0; i < 2; i++) make_run(&others[i]);
    make_table(&t, temp_path("u"));
    assert_int_equal(t.n_rows, 2);
    assert_null(sweep_table_best(&t));
    assert_int_equal(t.row[1].verdict, ROW_NONE);
    assert_false(t.one_base || t.one_data);
    check_note(&t, "over 2 different data sets");
    check_note(&t, "2 different base models");
    sweep_table_free(&t);
}

static void test_one_seed(void **state)
{
    (void)state;
    static const struct made ones[] = {
        { "v/a", "finished", NULL, 1e-3, 0, "b", "d", BASE EVAL("4", "1.25") },
        { "v/again", "finished", NULL, 1e-3, 0, "b", "d", BASE EVAL("4", "1.25") },
        { "v/b", "finished", NULL, 1e-4, 0, "b", "d", BASE EVAL("4", "3.5") },
        { "v/c", "finished", NULL, 1e-5, 0, "b", "d", STEP },
    };
    struct sweep_table t;
    struct err e = { 0 };
    char *dirs[5];
    for (size_t i = 0; i < 4; i++) {
        make_run(&ones[i]);
        dirs[i] = (char *)(uintptr_t)temp_path(ones[i].name);
    }
    dirs[4] = (char *)(uintptr_t)temp_path("v/none");
    if (sweep_table_make(&t, dirs, 5, &e)) fail_msg("%s", e.msg);
    assert_int_equal(t.n_rows, 3);
    assert_int_equal(t.row[0].counted, 1);
    assert_int_equal(t.row[0].verdict, ROW_BEST);
    assert_int_equal(t.row[1].verdict, ROW_UNKNOWN);
    check_note(&t, "v/again are the same run with the same seed");
    check_note(&t, "one seed does not show whether a difference is noise");
    check_note(&t, "1 finished run has no validation loss");
    check_note(&t, "1 run never got better than what it began from (step 0)");
    check_note(&t, "1 run has not begun");
    sweep_table_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_arguments, "sweep: an argument is divided at the commas outside of brackets"),
        ENTRY(test_grid, "sweep: every combination of the values is a run, seeds fastest"),
        ENTRY(test_names, "sweep: names of runs are readable, safe and bounded"),
        ENTRY(test_refused, "sweep: what is wrong with a grid is said before any run"),
        ENTRY(test_changed_file, "sweep: the configuration is read once"),
        ENTRY(test_shares, "sweep: the tasks of an array share the runs"),
        ENTRY(test_statistics, "sweep: means, deviations and noise are those of their formulas"),
        ENTRY(test_table, "sweep: runs of one row are averaged, others are named"),
        ENTRY(test_other_data, "sweep: runs over other data or bases are said to be such"),
        ENTRY(test_one_seed, "sweep: with one seed nothing is told of noise"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
