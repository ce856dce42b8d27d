/* Whole runs by train.compute: bf16, and what they say of it. In both modes neither threads nor the
 * memory budget change a bit, and a resumed run is exact; the losses of the two are near each other
 * and not the same. The products themselves are tested in test_bf16.c. */
#include "tests/old_checkpoint.h"

#include <math.h>
#include <omp.h>

#include "src/model/adapter.h"
#include "src/train/checkpoint.h"
#include "tests/seal.h"

#define BF16 "train.compute=bf16"

static void run_well(const char *dir, const char *const *keys, enum resume_mode resume)
{
    struct err e;
    if (run_golden("gqa-tied", dir, keys, resume, &e)) fail_msg("%s", e.msg);
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "null";
}

static void assert_has(const char *text, const char *words)
{
    if (!strstr(text, words)) fail_msg("%s is missing in:\n%s", words, text);
}

/* ---- what must not change a bit -------------------------------------------------------------- */

/* A run with dropout, trees and evaluations; in bf16 also with activations kept in bf16. */
static int run_variant(const char *out, int threads, const char *compute, const char *activations,
                       const char *budget, struct err *e)
{
    const char *more[] = { "train.max_steps=4",
                           "train.batch_size=5",
                           "train.learning_rate=0.01",
                           "train.pass_tokens=45",
                           "data.validation=0.3",
                           "train.eval_steps=2",
                           "adapter.lora_dropout=0.2",
                           "train.shuffle=true",
                           compute,
                           activations,
                           budget,
                           NULL };
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    int code = run_golden("gqa-tied", out, more, RESUME_NEVER, e);
    omp_set_num_threads(before);
    return code;
}

/* The same run within a budget; false where that is too small to begin. */
static bool runs_within(const char *out, size_t kib, const char *activations)
{
    struct err e;
    char budget[64];
    snprintf(budget, sizeof budget, "train.memory_budget=%zuKiB", kib);
    if (!run_variant(out, 2, BF16, activations, budget, &e)) return true;
    if (!strstr(e.msg, "train.memory_budget") || kib > 1u << 20) fail_msg("%s", e.msg);
    remove_tree(out);
    return false;
}

/* Within the least budget, to 64 KiB: first to 2 MiB, of which something is kept. */
static void run_tight(const char *out, const char *activations)
{
    size_t kib = 2048;
    while (!runs_within(out, kib, activations)) kib += 2048;
    remove_tree(out);
    kib -= 2048;
    while (!runs_within(out, kib, activations)) kib += 64;
}

static void test_same_bits(void **state)
{
    (void)state;
    static const char *const computes[] = { BF16, "train.compute=f32" };
    static const int threads[] = { 2, 8 };
    const char *f32 = "train.activations=f32", *automatic = "train.memory_budget=auto";
    struct err e;
    for (size_t c = 0; c < 2; c++) {
        if (run_variant(temp_path("one"), 1, computes[c], f32, automatic, &e))
            fail_msg("%s", e.msg);
        for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
            char what[96];
            snprintf(what, sizeof what, "%s, %d threads", computes[c], threads[t]);
            if (run_variant(temp_path("other"), threads[t], computes[c], f32, automatic, &e))
                fail_msg("%s", e.msg);
            assert_same_run(temp_path("one"), temp_path("other"), what);
            remove_tree(temp_path("other"));
        }
        remove_tree(temp_path("one"));
    }
}

/* What is recomputed has the bits of what was kept, also where that is kept in bf16. */
static void test_same_bits_in_any_budget(void **state)
{
    (void)state;
    static const char *const activations[] = { "train.activations=f32", "train.activations=bf16" };
    struct err e;
    for (size_t a = 0; a < 2; a++) {
        char tight[PATH_BYTES];
        snprintf(tight, sizeof tight, "%s", temp_path("other"));
        if (run_variant(temp_path("one"), 1, BF16, activations[a], "train.memory_budget=auto", &e))
            fail_msg("%s", e.msg);
        run_tight(tight, activations[a]);
        assert_has(said.p, "recompute");
        assert_same_run(temp_path("one"), temp_path("other"), activations[a]);
        remove_tree(temp_path("one"));
        remove_tree(temp_path("other"));
    }
}

/* ---- resuming -------------------------------------------------------------------------------- */

#define HALF                                                                                       \
    "train.max_steps=4", "train.save_steps=2", "train.save_total_limit=9", "train.batch_size=3",   \
        "adapter.lora_dropout=0.2", "data.validation=0.3", "train.eval_steps=1"

static void test_resume(void **state)
{
    (void)state;
    const char *whole = temp_path("whole"), *half = temp_path("half");
    const char *keys[] = { HALF, BF16, NULL };
    char last[PATH_BYTES];
    run_well(whole, keys, RESUME_NEVER);
    run_well(half, keys, RESUME_NEVER);
    snprintf(last, sizeof last, "%s/step-000004.h5", half);
    assert_int_equal(unlink(last), 0);
    run_well(half, keys, RESUME_AUTO);
    assert_has(said.p, "(step 2 of 4)");
    assert_same_run(whole, half, "resumed in bf16");
    remove_tree(whole);
    remove_tree(half);
}

static void assert_refused(const char *dir, const char *compute)
{
    const char *keys[] = { HALF, compute, NULL };
    struct err e;
    assert_int_equal(run_golden("gqa-tied", dir, keys, RESUME_AUTO, &e), ERR_USAGE);
    assert_has(e.msg, "the run was begun with another train.compute;");
}

static void test_another_compute_is_refused(void **state)
{
    (void)state;
    const char *dir = temp_path("run");
    const char *in_bf16[] = { HALF, BF16, NULL }, *by_default[] = { HALF, NULL };
    run_well(dir, in_bf16, RESUME_NEVER);
    assert_refused(dir, "train.compute=f32");
    remove_tree(dir);
    run_well(dir, by_default, RESUME_NEVER);
    assert_refused(dir, BF16);
    remove_tree(dir);
}

/* As a lorac without train.compute wrote it. */
static void drop_word(struct checkpoint *c, struct checkpoint_start *h, void *to)
{
    static const char line[] = "  compute: f32\n";
    (void)c, (void)to;
    assert_string_equal(h->compute.p, "f32");
    char *at = strstr(h->config.p, line);
    assert_non_null(at);
    memmove(at, at + strlen(line), strlen(at + strlen(line)) + 1);
}

static void test_a_checkpoint_without_the_word(void **state)
{
    (void)state;
    const char *whole = temp_path("whole"), *old = temp_path("old");
    const char *keys[] = { HALF, NULL };
    char last[PATH_BYTES], first[PATH_BYTES];
    struct checkpoint_start h;
    struct err e;
    run_well(whole, keys, RESUME_NEVER);
    run_well(old, keys, RESUME_NEVER);
    snprintf(last, sizeof last, "%s/step-000004.h5", old);
    snprintf(first, sizeof first, "%s/step-000002.h5", old);
    assert_int_equal(unlink(last), 0);
    rewrite_checkpoint("gqa-tied", old, drop_word, NULL);
    assert_int_equal(checkpoint_read_start(&h, first, &e), 0);
    assert_string_equal(h.compute.p, "f32");
    assert_int_equal(h.product_isa.n, 0);
    checkpoint_start_free(&h);
    assert_refused(old, BF16);
    run_well(old, keys, RESUME_AUTO);
    assert_same_run(whole, old, "resumed from a checkpoint without the word");
    remove_tree(whole);
    remove_tree(old);
}

/* ---- what a run says of it ------------------------------------------------------------------- */

static void test_word_is_written(void **state)
{
    (void)state;
    const char *dir = temp_path("said"), *keys[] = { "train.max_steps=1", BF16, NULL };
    struct str s = { 0 };
    run_well(dir, keys, RESUME_NEVER);
    assert_has(said.p, "frozen products in bf16 by ");
    get_file(&s, dir, "config.yaml");
    assert_has(s.p, "  compute: bf16\n");
    str_clear(&s);
    get_file(&s, dir, "adapter/lorac.json");
    assert_has(s.p, "\"compute\": \"bf16\"");
    str_free(&s);
    json_t *run = read_run(dir), *session = json_array_get(json_object_get(run, "sessions"), 0);
    assert_string_equal(text_of(run, "compute"), "bf16");
    assert_string_not_equal(text_of(run, "product_isa"), "null");
    assert_string_equal(text_of(run, "product_isa"), text_of(session, "product_isa"));
    json_decref(run);
    remove_tree(dir);
    keys[1] = NULL;
    run_well(dir, keys, RESUME_NEVER);
    assert_null(strstr(said.p, "frozen products"));
    run = read_run(dir);
    assert_string_equal(text_of(run, "compute"), "f32");
    assert_string_equal(text_of(run, "product_isa"), text_of(run, "isa"));
    json_decref(run);
    remove_tree(dir);
}

/* ---- how far from f32 ------------------------------------------------------------------------ */

/* An operand is off by 2^-9 (0.002) at most, half of that on average, and the errors of a product's
 * terms are independent: over all examples of the goldens a loss is off by 3e-4 of itself at most
 * (test_golden.c), over the few targets of a step by more. Some steps of a low rate with gradients
 * that are a few percent off add little; at higher rates any two runs drift apart. 1e-5 and less
 * would mean that nothing was rounded. */
static void test_loss_is_near(void **state)
{
    (void)state;
    const char *exact = temp_path("exact"), *rounded = temp_path("rounded");
    const char *keys[] = { "train.max_steps=12",
                           "train.batch_size=4",
                           "train.learning_rate=2e-4",
                           "data.validation=0.3",
                           "train.eval_steps=4",
                           NULL,
                           NULL };
    double most = 0;
    run_well(exact, keys, RESUME_NEVER);
    keys[5] = BF16;
    run_well(rounded, keys, RESUME_NEVER);
    json_t *a = read_metrics(exact), *b = read_metrics(rounded);
    assert_int_equal(json_array_size(a), json_array_size(b));
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *x = json_array_get(a, i), *y = json_array_get(b, i);
        const char *key = json_object_get(x, "loss") ? "loss" : "eval_loss";
        double off = fabs(number_of(y, key) / number_of(x, key) - 1);
        if (off > 0.005) fail_msg("line %zu: %s off by %.1e", i + 1, key, off);
        most = fmax(most, off);
    }
    print_message("# losses in bf16 are off those in f32 by up to %.1e of them\n", most);
    assert_true(most > 1e-5);
    json_decref(a);
    json_decref(b);
    remove_tree(exact);
    remove_tree(rounded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_same_bits, "compute: 1, 2 and 8 threads give the same bits in both modes"),
        ENTRY(test_same_bits_in_any_budget,
              "compute: in bf16 what is recomputed has the bits of what was kept"),
        ENTRY(test_resume, "compute: a run in bf16 that is resumed is the undisturbed one"),
        ENTRY(test_another_compute_is_refused,
              "compute: resuming with another train.compute is refused by name"),
        ENTRY(test_a_checkpoint_without_the_word,
              "compute: a checkpoint without the word is one of f32"),
        ENTRY(test_word_is_written,
              "compute: config.yaml, run.json, lorac.json and the header have the word"),
        ENTRY(test_loss_is_near, "compute: losses in bf16 are near those in f32, and others"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
