/* NaN and infinities. A loss, a gradient or a weight that is not finite ends the run within its
 * step, with a message that names the step and the examples. Files that were saved before stay as
 * they were, and a value that is not finite is neither saved nor logged as something else. */
#include "tests/train_util.h"

#include <math.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/formats/h5.h"
#include "src/formats/safetensors.h"
#include "src/train/checkpoint.h"

/* ---- planting -------------------------------------------------------------------------------- */

static void put_bytes(const char *path, const void *bytes, size_t n)
{
    struct err e;
    if (file_replace(path, bytes, n, 0600, &e)) fail_msg("%s", e.msg);
}

/* Copy `from`, a directory of two files, to `to`, and put the `n` given bytes into the named
 * tensor, `at` bytes after its beginning. */
static void copy_with(const char *to, const char *from, const char *const files[2],
                      const char *tensor, const void *bytes, size_t n)
{
    struct err e;
    if (dir_make(to, 0700, &e)) fail_msg("%s", e.msg);
    for (int i = 0; i < 2; i++) {
        struct str s = { 0 };
        char path[PATH_BYTES];
        get_file(&s, from, files[i]);
        snprintf(path, sizeof path, "%s/%s", to, files[i]);
        put_bytes(path, s.p, s.n);
        if (strstr(files[i], ".safetensors")) {
            struct safetensors st;
            if (safetensors_open(&st, path, &e)) fail_msg("%s", e.msg);
            const struct tensor *t = safetensors_find(&st, tensor);
            assert_non_null(t);
            assert_true(n <= t->bytes);
            size_t at = (size_t)(t->data - st.map.data);
            safetensors_close(&st);
            memcpy(s.p + at, bytes, n);
            put_bytes(path, s.p, s.n);
        }
        str_free(&s);
    }
}

static const char *const model_files[2] = { "config.json", "model.safetensors" };
static const char *const adapter_files[2] = { "adapter_config.json", "adapter_model.safetensors" };

static const char *golden_path(const char *what)
{
    static char paths[2][PATH_BYTES];
    static unsigned turn;
    char *out = paths[turn++ % 2];
    snprintf(out, PATH_BYTES, "%s/mha-untied/%s", golden_root(), what);
    return out;
}

/* ---- what a run that failed leaves ----------------------------------------------------------- */

/* No line of metrics.jsonl says null, nan or inf; and there are that many. */
static void check_metrics(const char *dir, size_t lines)
{
    json_t *m = read_metrics(dir);
    assert_int_equal(json_array_size(m), lines);
    for (size_t i = 0; i < lines; i++) {
        assert_true(isfinite(number_of(json_array_get(m, i), "loss")));
        assert_true(isfinite(number_of(json_array_get(m, i), "grad_norm")));
    }
    json_decref(m);
}

static void check_reason(const char *dir, const char *msg)
{
    struct err e;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/run.json", dir);
    json_t *run = json_read(path, 1 << 20, &e);
    if (!run) fail_msg("%s", e.msg);
    assert_string_equal(json_string_value(json_object_get(run, "status")), "failed");
    assert_string_equal(json_string_value(json_object_get(run, "reason")), msg);
    json_decref(run);
}

/* The adapter of the last good checkpoint, finite. */
static void check_adapter(const char *dir)
{
    struct safetensors st;
    struct err e;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/adapter/adapter_model.safetensors", dir);
    if (safetensors_open(&st, path, &e)) fail_msg("%s", e.msg);
    for (size_t i = 0; i < st.n; i++)
        for (size_t j = 0; j < st.tensors[i].bytes / 4; j++) {
            float v;
            memcpy(&v, st.tensors[i].data + 4 * j, 4);
            assert_true(isfinite(v));
        }
    safetensors_close(&st);
}

/* A run that has to fail; its message has all the parts. */
static void check_run(const char *dir, const char *const *more, const char *const *parts)
{
    struct err e = { 0 };
    assert_int_equal(run_golden("mha-untied", dir, more, RESUME_NEVER, &e), ERR_FAIL);
    for (; *parts; parts++)
        if (!strstr(e.msg, *parts)) fail_msg("%s\nlacks: %s", e.msg, *parts);
    assert_null(strchr(e.msg, '\n'));
    check_reason(dir, e.msg);
    check_adapter(dir);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Finite weights whose products overflow: the row of the head that example 1's first target (18)
 * has. Example 1 is a pass of its own, and the only one that is named. */
static void test_in_weights(void **state)
{
    (void)state;
    enum { C = 40, TARGET = 18 };
    char path[64 + PATH_BYTES];
    uint16_t rows[(TARGET + 1) * C];
    struct safetensors st;
    struct err e;
    const char *base = temp_path("base"), *dir = temp_path("weights");
    if (safetensors_open(&st, golden_path("model/model.safetensors"), &e)) fail_msg("%s", e.msg);
    memcpy(rows, safetensors_find(&st, "lm_head.weight")->data, sizeof rows);
    safetensors_close(&st);
    for (size_t i = 0; i < C; i++) rows[TARGET * C + i] = i % 2 ? 0x7f7f : 0xff7f; /* 3.39e38 */
    copy_with(base, golden_path("model"), model_files, "lm_head.weight", rows, sizeof rows);
    snprintf(path, sizeof path, "model.path=%s", base);
    const char *more[] = { path,
                           "train.batch_size=1",
                           "train.save_steps=1",
                           "train.max_steps=4",
                           "train.learning_rate=0.001",
                           NULL };
    const char *parts[] = { "step 1: the loss is not finite", "training example 1 (counted from 1)",
                            "last checkpoint is untouched", NULL };
    check_run(dir, more, parts);
    check_metrics(dir, 0);
}

static void test_in_adapter(void **state)
{
    (void)state;
    const float nan = NAN;
    char init[64 + PATH_BYTES];
    const char *from = temp_path("nan-adapter"), *dir = temp_path("adapter-run");
    copy_with(from, golden_path("adapter"), adapter_files,
              "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight", &nan, sizeof nan);
    snprintf(init, sizeof init, "adapter.init_from=%s", from);
    const char *more[] = { init, NULL };
    struct err e = { 0 };
    assert_int_equal(run_golden("mha-untied", dir, more, RESUME_NEVER, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "nan-adapter"));
    assert_non_null(strstr(e.msg, "NaN or infinity"));
}

/* Each update moves the adapter further away, until something overflows. The message names the
 * pass, not the whole batch; and the earlier checkpoint is the same to the last bit. */
static void test_learning_rate(void **state)
{
    (void)state;
    const char *dir = temp_path("rate");
    const char *more[] = {
        "train.max_steps=60",    "train.batch_size=3",       "train.pass_tokens=20",
        "train.learning_rate=1", "train.adam_beta2=0",       "train.adam_epsilon=1.0e-38",
        "train.max_grad_norm=0", "train.warmup_steps=0",     "train.lr_scheduler_type=constant",
        "train.save_steps=1",    "train.save_total_limit=2", NULL
    };
    /* the pass where a loss is the first to overflow, the batch where the update is: rounding, and
     * so compiler and instruction set, decides which */
    const char *parts[] = { "not finite", "with training example", "train.learning_rate", NULL };
    check_run(dir, more, parts);
    json_t *m = read_metrics(dir);
    size_t steps = json_array_size(m);
    json_decref(m);
    assert_in_range(steps, 1, 20);
    check_metrics(dir, steps);
    char path[PATH_BYTES];
    struct checkpoint_start h;
    struct err e;
    snprintf(path, sizeof path, "%s/step-%06zu.h5", dir, steps);
    if (checkpoint_read_start(&h, path, &e)) fail_msg("%s", e.msg);
    assert_int_equal(h.step, steps);
    checkpoint_start_free(&h);
    snprintf(path, sizeof path, "%s/step-%06zu.h5", dir, steps + 1);
    assert_false(file_exists(path));
}

/* A checkpoint with NaN in its arrays that is sealed again is skipped. */
static void test_in_checkpoint(void **state)
{
    (void)state;
    const char *dir = temp_path("nan-checkpoint");
    const char *more[] = { "train.max_steps=2", "train.batch_size=3", "train.save_steps=1",
                           "train.learning_rate=0.001", NULL };
    struct err e = { 0 };
    if (run_golden("mha-untied", dir, more, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
    struct str s = { 0 };
    get_file(&s, dir, "step-000002.h5");
    /* the second moment is the last array of positive numbers; the adapter's bytes show where */
    struct h5_reader r;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/step-000002.h5", dir);
    if (h5_open(&r, path, &e)) fail_msg("%s", e.msg);
    size_t n;
    if (h5_length(&n, &r, "optimizer/v", H5_TYPE_F32, &e)) fail_msg("%s", e.msg);
    float *v = calloc(n, sizeof *v), nan = NAN;
    const uint64_t dims[] = { n };
    if (h5_get(v, &r, "optimizer/v", H5_TYPE_F32, 1, dims, &e)) fail_msg("%s", e.msg);
    h5_close(&r);
    char *at = memmem(s.p, s.n, v, n * sizeof *v);
    assert_non_null(at);
    memcpy(at + 4 * (n / 2), &nan, 4);
    free(v);
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX], *seal = memmem(s.p, 512, "sha256 ", 7);
    assert_int_equal(sha256_of(digest, s.p + 512, s.n - 512, &e), 0);
    hex_of(hex, digest);
    memcpy(seal + 7, hex, SHA256_HEX - 1);
    put_bytes(path, s.p, s.n);
    str_free(&s);
    if (run_golden("mha-untied", dir, more, RESUME_AUTO, &e)) fail_msg("%s", e.msg);
    assert_non_null(strstr(said.p, "the second moment holds NaN or infinity"));
    assert_non_null(strstr(said.p, "going on from"));
    assert_non_null(strstr(said.p, "step-000001.h5"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_in_weights,
              "not finite: weights that overflow end the run with step and example named"),
        ENTRY(test_in_adapter, "not finite: an adapter with NaN is refused"),
        ENTRY(test_learning_rate,
              "not finite: a diverging run names the pass and keeps its checkpoint"),
        ENTRY(test_in_checkpoint, "not finite: a checkpoint with NaN is skipped"),
    };
    int failed = cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
    str_free(&said);
    return failed;
}
