/* Sweeps: how arguments become runs (src/train/sweep_grid.h), which of them a task of a job array
 * makes (sweep_share.h). */
#include "src/train/sweep_grid.h"
#include "src/train/sweep_share.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_arguments, "sweep: an argument is divided at the commas outside of brackets"),
        ENTRY(test_grid, "sweep: every combination of the values is a run, seeds fastest"),
        ENTRY(test_names, "sweep: names of runs are readable, safe and bounded"),
        ENTRY(test_refused, "sweep: what is wrong with a grid is said before any run"),
        ENTRY(test_changed_file, "sweep: the configuration is read once"),
        ENTRY(test_shares, "sweep: the tasks of an array share the runs"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
