/* Whole training runs against PyTorch, transformers and PEFT (tests/golden): loss, gradient norm
 * and learning rate of every step, and the adapter at the end; and that neither threads nor the
 * memory budget change a bit.
 *
 * Tolerances. golden.json records `drift`: how far the same run in float32 by PyTorch is off the
 * one in float64. We are another float32 program with other orders of summation, so we are allowed
 * TIMES as much; what AdamW makes of an error of substance (a wrong scale, a missing target, a step
 * too many) is 1000 times as much and more. */
#include "tests/old_checkpoint.h"

#include <math.h>
#include <omp.h>

#include "src/formats/safetensors.h"
#include "src/model/adapter.h"
#include "src/model/llama.h"
#include "src/train/checkpoint.h"
#include "src/train/schedule.h"
#include "tests/seal.h"

static const char *const goldens[] = { "gqa-tied", "mha-untied", "llama3-rope", "linear-rope" };
enum { GOLDENS = sizeof goldens / sizeof *goldens, TIMES = 30 };

static double largest_of(const json_t *list)
{
    double most = 0;
    CHECK(json_array_size(list) > 0);
    for (size_t i = 0; i < json_array_size(list); i++)
        most = fmax(most, json_number_value(json_array_get(list, i)));
    return most;
}

static void check_steps(const char *what, const json_t *metrics, const json_t *run)
{
    json_t *steps = json_object_get(run, "steps"), *drift = json_object_get(run, "drift");
    double loss = TIMES * largest_of(json_object_get(drift, "loss_relative"));
    double norm = TIMES * largest_of(json_object_get(drift, "grad_norm_relative"));
    const struct {
        const char *name;
        double relative;
    } fields[] = {
        { "step", 0 }, { "learning_rate", 1e-12 }, { "loss", loss }, { "grad_norm", norm }
    };
    if (json_array_size(metrics) != json_array_size(steps)) {
        fail_msg("%s: %zu lines of metrics, wanted %zu", what, json_array_size(metrics),
                 json_array_size(steps));
    }
    for (size_t i = 0; i < json_array_size(steps); i++)
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            const char *name = fields[f].name;
            double found = number_of(json_array_get(metrics, i), name);
            double wanted = number_of(json_array_get(steps, i), name);
            if (fabs(found - wanted) <= fields[f].relative * fabs(wanted)) continue;
            fail_msg("%s: step %zu: %s is %.10g, wanted %.10g within %.1e", what, i + 1, name,
                     found, wanted, fields[f].relative);
        }
}

/* Every tensor of `file` against the one of that name in the published adapter. */
static void check_adapter(const char *what, const char *dir, const char *file, double tolerance)
{
    struct safetensors found, wanted;
    struct err e;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/adapter/adapter_model.safetensors", dir);
    if (safetensors_open(&found, path, &e) || safetensors_open(&wanted, file, &e)) {
        fail_msg("%s", e.msg);
    }
    assert_int_equal(found.n, wanted.n);
    double worst = 0;
    for (size_t i = 0; i < wanted.n; i++) {
        const struct tensor *w = &wanted.tensors[i], *t = safetensors_find(&found, w->name);
        if (!t) fail_msg("%s: %s is missing", what, w->name);
        assert_int_equal(t->type, STORAGE_F32);
        assert_int_equal(t->bytes, w->bytes);
        assert_memory_equal(t->dims, w->dims, sizeof t->dims);
        for (size_t j = 0; j < w->bytes / 4; j++) {
            float a, b;
            memcpy(&a, t->data + 4 * j, 4);
            memcpy(&b, w->data + 4 * j, 4);
            worst = fmax(worst, fabs((double)a - (double)b));
        }
    }
    if (!(worst <= tolerance))
        fail_msg("%s: adapter off by %.2e, allowed %.2e", what, worst, tolerance);
    safetensors_close(&found);
    safetensors_close(&wanted);
}

/* One of the golden runs, its examples cut into passes of pass_tokens. */
static void check_golden(const char *name, const json_t *golden, const char *which,
                         const char *pass_tokens, const char *share)
{
    json_t *run = json_object_get(json_object_get(golden, "runs"), which);
    json_t *config = json_object_get(run, "config"), *value;
    const char *more[16] = { pass_tokens, share }, *key;
    char lines[16][64], what[256], file[PATH_BYTES];
    size_t n = 2;
    json_object_foreach(config, key, value)
    {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        snprintf(lines[n], sizeof lines[n], "train.%s=%s", key, text);
        more[n] = lines[n];
        n++;
        free(text);
    }
    snprintf(what, sizeof what, "%s %s, %s, %s", name, which, pass_tokens, share);
    struct err e;
    const char *out = temp_path("golden");
    if (run_golden(name, out, more, RESUME_NEVER, &e)) fail_msg("%s: %s", what, e.msg);
    json_t *metrics = read_metrics(out);
    check_steps(what, metrics, run);
    json_decref(metrics);
    snprintf(file, sizeof file, "%s/%s/%s", golden_root(), name,
             json_string_value(json_object_get(run, "adapter")));
    double drift = number_of(json_object_get(run, "drift"), "adapter_absolute");
    check_adapter(what, out, file, TIMES * drift);
    remove_tree(out);
}

static void test_golden_runs(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        char path[PATH_BYTES];
        struct err e;
        snprintf(path, sizeof path, "%s/%s/golden.json", golden_root(), goldens[i]);
        json_t *golden = json_read(path, 1 << 22, &e);
        if (!golden) fail_msg("%s", e.msg);
        for (int small = 0; small < 2; small++)
            for (int few = 0; few < 2; few++)
                for (int share = 0; share < 2; share++)
                    check_golden(goldens[i], golden, small ? "small" : "full",
                                 few ? "train.pass_tokens=40" : "train.pass_tokens=2048",
                                 share ? "train.share_prefixes=true"
                                       : "train.share_prefixes=false");
        json_decref(golden);
    }
}

/* ---- what must not change a bit -------------------------------------------------------------- */

static int run_threads(const char *out, int threads, const char *const *more, struct err *e)
{
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    int code = run_golden("gqa-tied", out, more, RESUME_NEVER, e);
    omp_set_num_threads(before);
    return code;
}

static void run_variant(const char *out, int threads, const char *budget, const char *dropout)
{
    const char *more[] = { "train.max_steps=6",
                           "train.batch_size=5",
                           "train.learning_rate=0.01",
                           "train.pass_tokens=45",
                           "data.validation=0.3",
                           "train.eval_steps=2",
                           "train.shuffle=true",
                           dropout,
                           budget,
                           NULL };
    struct err e;
    if (run_threads(out, threads, more, &e)) fail_msg("%s", e.msg);
}

/* The least budget, in steps of 64 KiB, with which a run of this kind begins. */
static const char *tight_budget(const char *dropout, int threads)
{
    static char budget[64];
    for (size_t kib = 64;; kib += 64) {
        const char *more[] = { "train.max_steps=1",
                               "train.batch_size=5",
                               "train.pass_tokens=45",
                               "data.validation=0.3",
                               dropout,
                               budget,
                               NULL };
        struct err e;
        const char *out = temp_path("tight");
        snprintf(budget, sizeof budget, "train.memory_budget=%zuKiB", kib);
        int code = run_threads(out, threads, more, &e);
        remove_tree(out);
        if (!code) return budget;
        if (!strstr(e.msg, "train.memory_budget") || kib > 65536) fail_msg("%s", e.msg);
    }
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const dropouts[] = { "adapter.lora_dropout=0", "adapter.lora_dropout=0.2" };
    for (size_t d = 0; d < 2; d++) {
        run_variant(temp_path("one"), 1, "train.memory_budget=auto", dropouts[d]);
        for (int threads = 1; threads <= 3; threads++)
            for (int b = 0; b < 2; b++) {
                char what[128];
                const char *budget = b ? tight_budget(dropouts[d], threads)
                                       : "train.memory_budget=auto";
                snprintf(what, sizeof what, "%d threads, %s, %s", threads, budget, dropouts[d]);
                run_variant(temp_path("other"), threads, budget, dropouts[d]);
                if (b) assert_non_null(strstr(said.p, "recompute"));
                assert_same_run(temp_path("one"), temp_path("other"), what);
                remove_tree(temp_path("other"));
            }
        remove_tree(temp_path("one"));
    }
}

/* Another seed must give another run, or the test above compares nothing. */
static void test_seed_matters(void **state)
{
    (void)state;
    struct err e;
    const char *one[] = { "train.max_steps=3", "train.batch_size=3", "train.shuffle=true", NULL };
    const char *two[] = { "train.max_steps=3", "train.batch_size=3", "train.shuffle=true",
                          "train.seed=1", NULL };
    if (run_golden("mha-untied", temp_path("one"), one, RESUME_NEVER, &e) ||
        run_golden("mha-untied", temp_path("two"), two, RESUME_NEVER, &e)) {
        fail_msg("%s", e.msg);
    }
    assert_false(
        same_file(temp_path("one"), temp_path("two"), "adapter/adapter_model.safetensors"));
    remove_tree(temp_path("one"));
    remove_tree(temp_path("two"));
}

/* Replace the bytes of `from` in a checkpoint by as many others. */
static void patch(const char *path, const char *from, const char *to)
{
    struct str s = { 0 };
    struct err e;
    size_t n = strlen(from);
    assert_int_equal(file_read(&s, path, 1 << 26, &e), 0);
    char *at = memmem(s.p, s.n, from, n);
    assert_non_null(at);
    assert_int_equal(strlen(to), n);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, to, n, at - s.p), n);
    close(fd);
    reseal(path);
    str_free(&s);
}

/* A run whose fraction was kept aside by another rule would train on its own validation
 * examples. */
static void test_another_split_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to; /* of the checkpoint: a run of before data.split_seed was a key */
    } old[] = { { "  split_seed: 0\n", "  #plit_seed: 0\n" }, { "split_rule", "split_rulx" } };
    static const char *const fractions[] = { "data.validation=0.3", "data.validation=0" };
    for (size_t k = 0; k < 2; k++) {
        for (size_t f = 0; f < 2; f++) {
            const char *out = temp_path("old"),
                       *more[] = { "train.max_steps=2", fractions[f], NULL };
            char checkpoint[PATH_BYTES];
            struct err e;
            if (run_golden("gqa-tied", out, more, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
            snprintf(checkpoint, sizeof checkpoint, "%s/step-000002.h5", out);
            if (run_golden("gqa-tied", out, more, RESUME_AUTO, &e)) fail_msg("%s", e.msg);
            patch(checkpoint, old[k].from, old[k].to);
            int code = run_golden("gqa-tied", out, more, RESUME_AUTO, &e);
            if (f == 1 && code) fail_msg("without a fraction: %s", e.msg);
            if (f == 0) {
                assert_int_equal(code, ERR_USAGE);
                assert_non_null(strstr(e.msg, "data.validation: 0.3 keeps aside by another rule"));
            }
            remove_tree(out);
        }
    }
}

/* The seed of the split may differ from that of the run, and a resumed run must keep it. */
static void test_split_seed(void **state)
{
    (void)state;
    const char *out = temp_path("seed");
    const char *one[] = { "train.max_steps=2", "data.validation=0.3", "data.split_seed=7", NULL };
    const char *two[] = { "train.max_steps=2", "data.validation=0.3", NULL };
    struct str s = { 0 };
    struct err e;
    if (run_golden("gqa-tied", out, one, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    get_file(&s, out, "config.yaml");
    assert_non_null(strstr(s.p, "  split_seed: 7\n"));
    assert_int_equal(run_golden("gqa-tied", out, two, RESUME_AUTO, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "another data.split_seed;"));
    remove_tree(out);
    str_clear(&s);
    const char *three[] = { "train.max_steps=2", "data.validation=0.3", "train.seed=3", NULL };
    if (run_golden("gqa-tied", out, three, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    get_file(&s, out, "config.yaml");
    assert_non_null(strstr(s.p, "  split_seed: 3\n"));
    remove_tree(out);
    str_free(&s);
}

/* Another warm-up, or none and no list of evaluations, as version 0.1 wrote it. */
static void set_warmup(struct checkpoint *c, struct checkpoint_start *h, void *to)
{
    (void)h;
    c->warmup = *(const uint64_t *)to;
    if (c->warmup == CHECKPOINT_NO_WARMUP) c->history.n = 0;
}

/* The rates of steps 3 and 4 of 4 in a run that resumes from a checkpoint with that warm-up. */
static void go_on_with(uint64_t warmup, size_t wanted)
{
    static const char *const keys[] = { "train.max_steps=4", "train.save_steps=2",
                                        "train.save_total_limit=9", NULL };
    struct err e = { 0 };
    char path[PATH_BYTES];
    const char *dir = temp_path("warmup");
    remove_tree(dir);
    if (run_golden("mha-untied", dir, keys, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    snprintf(path, sizeof path, "%s/step-000004.h5", dir);
    assert_int_equal(unlink(path), 0);
    rewrite_checkpoint("mha-untied", dir, set_warmup, &warmup);
    if (run_golden("mha-untied", dir, keys, RESUME_AUTO, &e)) fail_msg("%s", e.msg);
    bool told = strstr(said.p, "the run was begun by an earlier lorac with a warm-up of") != NULL;
    assert_int_equal(told, wanted != 0);
    struct schedule s = {
        .type = CONFIG_SCHEDULE_COSINE, .peak = 2e-4, .warmup = wanted, .total = 4
    };
    json_t *metrics = read_metrics(dir);
    for (size_t step = 2; step < 4; step++) {
        double rate = number_of(json_array_get(metrics, step), "learning_rate");
        assert_true(fabs(rate - schedule_rate(&s, step)) < 1e-12);
    }
    json_decref(metrics);
}

/* A warm-up of less than one step was one step in version 0.1: such a run keeps it when it
 * resumes. */
static void test_an_old_run_keeps_its_warmup(void **state)
{
    (void)state;
    go_on_with(CHECKPOINT_NO_WARMUP, 1);
    go_on_with(1, 1); /* the checkpoint that this run then writes */
    go_on_with(0, 0);
}

/* The learning rate of a config.yaml, as it is written there. */
static double written_rate(const char *dir)
{
    struct str s = { 0 };
    get_file(&s, dir, "config.yaml");
    const char *at = strstr(s.p, "  learning_rate: ");
    assert_non_null(at);
    double rate = strtod(at + strlen("  learning_rate: "), NULL);
    str_free(&s);
    return rate;
}

/* auto is a number in config.yaml, and what a run was begun with when it is resumed: also where
 * that was another version's default. */
static void test_learning_rate_auto(void **state)
{
    (void)state;
    const char *fresh = temp_path("auto"), *old = temp_path("begun");
    const char *by_size[] = { "train.max_steps=2", "train.learning_rate=auto", NULL };
    const char *given[] = { "train.max_steps=2", "train.save_steps=1", NULL };
    const char *other[] = { "train.max_steps=2", "train.learning_rate=1e-4", NULL };
    char path[PATH_BYTES];
    struct err e;
    if (run_golden("gqa-tied", fresh, by_size, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    assert_non_null(strstr(said.p, " (auto: 0.003 for "));
    assert_true(written_rate(fresh) > 0);
    if (run_golden("gqa-tied", old, given, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    snprintf(path, sizeof path, "%s/step-000002.h5", old);
    assert_int_equal(unlink(path), 0);
    if (run_golden("gqa-tied", old, by_size, RESUME_AUTO, &e)) fail_msg("%s", e.msg);
    assert_non_null(strstr(said.p, "was begun with the learning rate 0.0002 and keeps it"));
    assert_true(written_rate(old) == 2e-4);
    assert_int_equal(run_golden("gqa-tied", old, other, RESUME_AUTO, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "another train.learning_rate;"));
    if (run_golden("gqa-tied", old, by_size, RESUME_AUTO, &e)) fail_msg("%s", e.msg);
    assert_non_null(strstr(said.p, "finished"));
    remove_tree(fresh);
    remove_tree(old);
}

/* ---- evaluations ----------------------------------------------------------------------------- */

/* Keys of a run that is evaluated at each step; with that rate it gets worse. */
#define EVALUATED                                                                                  \
    "data.validation=0.3", "train.eval_steps=1", "train.batch_size=3", "train.shuffle=true"
#define GETS_WORSE                                                                                 \
    "train.learning_rate=1", "train.lr_scheduler_type=constant", "train.max_grad_norm=0"

static bool is_there(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "null";
}

static void run_well(const char *dir, const char *const *keys, enum resume_mode resume)
{
    struct err e;
    if (run_golden("gqa-tied", dir, keys, resume, &e)) fail_msg("%s", e.msg);
}

static void assert_said(const char *words)
{
    if (!strstr(said.p, words)) fail_msg("%s is missing in:\n%s", words, said.p);
}

/* The base's loss is measured first, and changes no bit of the training. */
static void test_step_0(void **state)
{
    (void)state;
    const char *dir = temp_path("zero"), *without = temp_path("without");
    const char *keys[] = { EVALUATED, "train.max_steps=3", "train.learning_rate=0.01", NULL };
    const char *off[] = { EVALUATED, "train.max_steps=3", "train.learning_rate=0.01",
                          "train.eval_on_start=false", NULL };
    struct str text = { 0 };
    run_well(dir, keys, RESUME_NEVER);
    assert_said("before training: validation loss ");
    get_file(&text, dir, "metrics.jsonl");
    static const char *const names[] = {
        "{\"step\": 0, \"eval_loss\": ", ", \"eval_token_accuracy\": ", ", \"eval_exact_match\": "
    };
    const char *at = text.p;
    for (size_t i = 0; i < 3; i++) {
        const char *found = strstr(at, names[i]);
        if (!found || (i == 0 && found != text.p) || found > strchr(text.p, '\n'))
            fail_msg("%s is not in its place: %s", names[i], text.p);
        at = found;
    }
    str_free(&text);
    run_well(without, off, RESUME_NEVER);
    assert_null(strstr(said.p, "before training"));
    assert_true(same_file(dir, without, "adapter/adapter_model.safetensors"));
    json_t *with = read_metrics(dir), *less = read_metrics(without);
    assert_int_equal(json_array_size(with), json_array_size(less) + 1);
    json_array_remove(with, 0);
    assert_true(json_equal(with, less));
    json_decref(with);
    json_decref(less);
    remove_tree(dir);
    remove_tree(without);
}

/* A batch that is larger than the data has all of them, and the header says how many. */
static void test_batch_of_all(void **state)
{
    (void)state;
    const char *dir = temp_path("all");
    const char *keys[] = { "train.max_steps=1", "train.batch_size=500", "train.learning_rate=1",
                           NULL };
    run_well(dir, keys, RESUME_NEVER);
    assert_said("training  1 step of 8 examples, learning rate 1 (auto takes 0.012), ");
    remove_tree(dir);
}

/* Nothing beats the start: there is no best/, and everybody who asks is told. */
static void test_nothing_is_better(void **state)
{
    (void)state;
    const char *dir = temp_path("worse");
    const char *keys[] = { EVALUATED, GETS_WORSE, "train.max_steps=3", NULL };
    char next[PATH_BYTES + 32];
    run_well(dir, keys, RESUME_NEVER);
    assert_false(is_there(dir, "best"));
    assert_true(is_there(dir, "adapter/adapter_model.safetensors"));
    assert_said("result    no evaluation was better than the start adapter's validation loss of ");
    snprintf(next, sizeof next, "next      lorac generate --adapter %s \"", dir);
    assert_said(next);
    json_t *run = read_run(dir);
    assert_string_equal(text_of(run, "status"), "finished");
    assert_non_null(strstr(text_of(run, "reason"), "no evaluation was better than the start"));
    assert_true(number_of(run, "best_step") == 0 && number_of(run, "best_eval_loss") > 0);
    json_decref(run);
    run_well(dir, keys, RESUME_AUTO);
    assert_said("the run is finished (3 steps; no evaluation was better than");
    remove_tree(dir);
}

/* A run that ends early is finished, and goes on when it is allowed to: to the bits of a run that
 * never ended early. */
static void test_early_stopping(void **state)
{
    (void)state;
    const char *dir = temp_path("early"), *whole = temp_path("whole");
    const char *early[] = { EVALUATED,
                            GETS_WORSE,
                            "train.max_steps=8",
                            "train.save_steps=1000",
                            "train.early_stopping_patience=3",
                            NULL };
    const char *plain[] = { EVALUATED, GETS_WORSE, "train.max_steps=8", "train.save_steps=1000",
                            NULL };
    run_well(whole, plain, RESUME_NEVER);
    run_well(dir, early, RESUME_NEVER);
    assert_said(
        "result    ended early after step 3 of 8: 3 evaluations without a better validation "
        "loss (train.early_stopping_patience: 3); no evaluation was better");
    assert_true(is_there(dir, "step-000003.h5"));
    json_t *run = read_run(dir);
    assert_string_equal(text_of(run, "status"), "finished");
    assert_non_null(strstr(text_of(run, "reason"), "ended early after step 3 of 8"));
    assert_true(number_of(run, "step") == 3 && number_of(run, "total_steps") == 8);
    json_decref(run);
    run_well(dir, early, RESUME_AUTO);
    assert_said("the run is finished (3 steps; ended early after step 3 of 8");
    assert_said("nothing to do; a larger train.early_stopping_patience, or null, goes on");
    early[9] = "train.early_stopping_patience=5";
    run_well(dir, early, RESUME_AUTO); /* the three count */
    assert_said("ended early after step 5 of 8: 5 evaluations");
    run_well(dir, plain, RESUME_AUTO);
    assert_said("going on from ");
    assert_same_run(dir, whole, "after an early end");
    run = read_run(dir);
    assert_string_equal(text_of(run, "status"), "finished");
    json_decref(run);
    remove_tree(dir);
    remove_tree(whole);
}

/* A smaller patience may end a run where it stands: what a killed run left of later steps goes. */
static void test_a_smaller_patience(void **state)
{
    (void)state;
    const char *dir = temp_path("smaller");
    const char *keys[] = { EVALUATED,
                           GETS_WORSE,
                           "train.max_steps=8",
                           "train.save_steps=4",
                           "train.save_total_limit=9",
                           NULL,
                           NULL };
    char last[PATH_BYTES];
    run_well(dir, keys, RESUME_NEVER);
    snprintf(last, sizeof last, "%s/step-000008.h5", dir);
    assert_int_equal(unlink(last), 0); /* as if it was killed before it wrote it */
    keys[10] = "train.early_stopping_patience=2";
    struct str record = { 0 };
    get_file(&record, dir, "run.json");
    char *status = strstr(record.p, "\"finished\"");
    assert_non_null(status);
    memcpy(status, "\"running\" ", 10);
    snprintf(last, sizeof last, "%s/run.json", dir);
    struct err e;
    assert_int_equal(file_replace(last, record.p, record.n, 0600, &e), 0);
    str_free(&record);
    run_well(dir, keys, RESUME_AUTO);
    assert_said("ended early after step 4 of 8: 4 evaluations");
    json_t *lines = read_metrics(dir);
    assert_int_equal(json_array_size(lines), 9); /* of steps 0 to 4 */
    json_decref(lines);
    json_t *run = read_run(dir);
    assert_string_equal(text_of(run, "status"), "finished");
    json_decref(run);
    remove_tree(dir);
}

/* The checkpoints of version 0.1 have no list of evaluations: patience begins with the next one. */
static void test_patience_of_an_old_run(void **state)
{
    (void)state;
    const char *dir = temp_path("old");
    const char *keys[] = { EVALUATED,
                           "train.learning_rate=0",
                           "train.max_steps=4",
                           "train.save_steps=2",
                           "train.early_stopping_patience=2",
                           NULL };
    struct err e;
    if (run_golden("mha-untied", dir, keys, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    assert_said("ended early after step 2 of 4");
    rewrite_checkpoint("mha-untied", dir, set_warmup, &(uint64_t){ CHECKPOINT_NO_WARMUP });
    if (run_golden("mha-untied", dir, keys, RESUME_AUTO, &e)) fail_msg("%s", e.msg);
    assert_said(
        "note: the run was begun by an earlier lorac, which kept no list of its evaluations");
    json_t *lines = read_metrics(dir);
    assert_int_equal(json_array_size(lines), 9); /* of steps 0 to 4 */
    json_decref(lines);
    remove_tree(dir);
}

static void test_patience_needs_validation(void **state)
{
    (void)state;
    struct err e;
    const char *keys[] = { "train.max_steps=3", "train.early_stopping_patience=3", NULL };
    assert_int_equal(run_golden("gqa-tied", temp_path("none"), keys, RESUME_NEVER, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "override train.early_stopping_patience: found 3, but no records "
                                  "are kept aside to measure on; add data.validation: 0.05"));
    assert_false(is_there(temp_path("none"), ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_golden_runs,
              "training: losses, norms, rates and adapter are those of PyTorch and PEFT"),
        ENTRY(test_same_bits, "training: neither threads nor the memory budget change a bit"),
        ENTRY(test_seed_matters, "training: another seed is another run"),
        ENTRY(test_another_split_is_refused, "training: a run with another split is not resumed"),
        ENTRY(test_split_seed,
              "training: data.split_seed chooses the split, and a resumed run keeps it"),
        ENTRY(test_an_old_run_keeps_its_warmup, "training: a run of version 0.1 keeps its warm-up"),
        ENTRY(test_learning_rate_auto,
              "training: the learning rate by size is written as a number, and kept on resuming"),
        ENTRY(test_step_0, "training: the loss before step 1 is measured and changes no bit"),
        ENTRY(test_batch_of_all, "training: a batch larger than the data is all of them"),
        ENTRY(test_nothing_is_better,
              "training: a run that never beats its start has no best/ and says so"),
        ENTRY(test_early_stopping,
              "training: a run that ended early is finished, and may go on to the same bits"),
        ENTRY(test_a_smaller_patience,
              "training: a smaller patience ends a run at its newest checkpoint"),
        ENTRY(test_patience_of_an_old_run,
              "training: patience counts from here in a run of version 0.1"),
        ENTRY(test_patience_needs_validation,
              "training: early stopping without validation records is refused"),
    };
    int failed = cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
    str_free(&said);
    return failed;
}
