/* run.json (src/train/manifest.h): every hash in it is that of the file it names, the counts are
 * those of the data, and the lineage of checkpoints holds across an interruption. */
#include "tests/train_util.h"

#include "src/base/hash.h"

/* Without step 0 the first evaluation is the best so far, and there is a best/. */
static const char *const keys[] = { "train.max_steps=6",        "train.batch_size=3",
                                    "train.eval_steps=2",       "train.save_steps=2",
                                    "train.save_total_limit=3", "train.eval_on_start=false",
                                    "data.validation=0.3",      NULL };

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    if (!text) fail_msg("%s is missing", key);
    return text;
}

/* `entry` has the size and the SHA-256 of the file. */
static void check_hash(const json_t *entry, const char *path, bool size)
{
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    struct stat st;
    if (sha256_file(digest, path, NULL, &e)) fail_msg("%s", e.msg);
    hex_of(hex, digest);
    assert_string_equal(text_of(entry, "sha256"), hex);
    assert_int_equal(stat(path, &st), 0);
    if (size) assert_int_equal(number_of(entry, "bytes"), st.st_size);
}

static size_t count_role(const json_t *inputs, const char *role)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(inputs); i++)
        n += strcmp(text_of(json_array_get(inputs, i), "role"), role) == 0;
    return n;
}

static void check_inputs(const json_t *run)
{
    const json_t *inputs = json_object_get(run, "inputs");
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *in = json_array_get(inputs, i);
        check_hash(in, text_of(in, "path"), true);
    }
    assert_int_equal(count_role(inputs, "weights"), 1);
    assert_int_equal(count_role(inputs, "config"), 1);
    assert_int_equal(count_role(inputs, "train"), 1);
    assert_int_equal(count_role(inputs, "adapter"), 2);
    /* of one file, its own */
    assert_string_equal(text_of(json_array_get(inputs, 0), "role"), "weights");
    assert_string_equal(text_of(json_array_get(inputs, 0), "sha256"), text_of(run, "base_sha256"));
}

static void check_outputs(const json_t *run, const char *dir)
{
    char path[PATH_BYTES];
    const json_t *outputs = json_object_get(run, "outputs");
    assert_int_equal(json_array_size(outputs), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *out = json_array_get(outputs, i);
        const char *name = text_of(out, "path");
        snprintf(path, sizeof path, "%s/%s", dir, name);
        check_hash(out, path, true);
        bool best = strncmp(name, "best/", 5) == 0;
        assert_int_equal(number_of(out, "step"), best ? number_of(run, "best_step") : 6);
    }
}

/* Steps 0 (before the first), 2, 4, 6, each with the one before as its parent; the files of three
 * are still there. */
static void check_lineage(const json_t *run, const char *dir)
{
    char path[PATH_BYTES];
    const json_t *list = json_object_get(run, "checkpoints");
    assert_int_equal(json_array_size(list), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *c = json_array_get(list, i), *parent = json_object_get(c, "parent_sha256");
        assert_int_equal(number_of(c, "step"), 2 * i);
        snprintf(path, sizeof path, "%s/%s", dir, text_of(c, "file"));
        if (i > 0) check_hash(c, path, false);
        if (i == 0) {
            assert_true(json_is_null(parent));
        } else {
            assert_string_equal(json_string_value(parent),
                                text_of(json_array_get(list, i - 1), "sha256"));
        }
    }
}

static void check_counts(const json_t *run)
{
    const json_t *t = json_object_get(run, "training"), *v = json_object_get(run, "validation");
    assert_int_equal(number_of(t, "records") + number_of(v, "records"), 8);
    assert_true(number_of(v, "records") > 0);
    static const char *const zero[] = { "malformed", "overlong",        "truncated",
                                        "split",     "without_targets", "duplicates",
                                        "chosen",    "removed",         "targets_lost" };
    for (size_t i = 0; i < sizeof zero / sizeof *zero; i++)
        assert_int_equal(number_of(t, zero[i]), 0);
    assert_true(number_of(t, "targets") > 0 && number_of(t, "tokens") > number_of(t, "targets"));
}

static void check_config(const json_t *run, const char *dir)
{
    struct str text = { 0 };
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    get_file(&text, dir, "config.yaml");
    assert_string_equal(text_of(run, "config"), text.p);
    assert_int_equal(sha256_of(digest, text.p, text.n, &e), 0);
    hex_of(hex, digest);
    assert_string_equal(text_of(run, "config_sha256"), hex);
    str_free(&text);
}

static void train(const char *out, const char *const *more, enum resume_mode resume, int wanted)
{
    struct err e = { 0 };
    int code = run_golden("mha-untied", out, more, resume, &e);
    if (code != wanted) fail_msg("ended with %d: %s", code, e.msg);
}

static void test_whole_run(void **state)
{
    (void)state;
    const char *out = temp_path("whole");
    train(out, keys, RESUME_NEVER, 0);
    json_t *run = read_run(out);
    assert_string_equal(text_of(run, "format"), "lorac-run");
    assert_string_equal(text_of(run, "status"), "finished");
    check_inputs(run);
    check_outputs(run, out);
    check_lineage(run, out);
    check_counts(run);
    check_config(run, out);
    const json_t *sessions = json_object_get(run, "sessions");
    assert_int_equal(json_array_size(sessions), 1);
    assert_int_equal(number_of(json_array_get(sessions, 0), "to_step"), 6);
    json_decref(run);
}

/* The newest checkpoint is lost, and the run continues from the one before. */
static void test_resumed(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    const char *out = temp_path("whole");
    json_t *before = read_run(out);
    snprintf(path, sizeof path, "%s/step-000006.h5", out);
    assert_int_equal(unlink(path), 0);
    train(out, keys, RESUME_AUTO, 0);
    json_t *run = read_run(out), *sessions = json_object_get(run, "sessions");
    check_lineage(run, out);
    check_outputs(run, out);
    assert_string_equal(text_of(run, "started_utc"), text_of(before, "started_utc"));
    assert_int_equal(json_array_size(sessions), 2);
    const json_t *second = json_array_get(sessions, 1);
    assert_string_equal(text_of(second, "from_file"), "step-000004.h5");
    assert_string_equal(text_of(second, "from_sha256"),
                        text_of(json_array_get(json_object_get(run, "checkpoints"), 2), "sha256"));
    assert_int_equal(number_of(second, "from_step"), 4);
    assert_string_equal(text_of(second, "status"), "finished");
    /* everything but time and place is as before */
    assert_true(json_equal(json_object_get(run, "inputs"), json_object_get(before, "inputs")));
    json_decref(before);
    json_decref(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_whole_run,
              "manifest: hashes and counts in run.json are those of files and data"),
        ENTRY(test_resumed, "manifest: the record of checkpoints holds across an interruption"),
    };
    int failed = cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
    str_free(&said);
    return failed;
}
