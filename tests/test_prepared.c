/* Data sets in a file: the same examples as in memory, made once, found again, never mistaken. */
#include "tests/data_test.h"
#include "tests/train_util.h"

#include <dirent.h>
#include <omp.h>

#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/data/dataset_open.h"
#include "src/data/pass.h"
#include "src/data/prepared.h"
#include "src/formats/h5.h"
#include "tests/seal.h"

static const struct tokenizer *bytes(void)
{
    static struct tokenizer *t;
    struct err e;
    if (!t) assert_ok(tokenizer_open(&t, byte_tokenizer(), &e), &e);
    return t;
}

static const char *records(const char *name, size_t n)
{
    struct str s = { 0 };
    for (size_t i = 0; i < n; i++) {
        str_addf(&s, "{\"prompt\":\"question %zu\",\"completion\":\"answer %zu\"}\n", i, i % 50);
        if (i % 9 == 0) str_addz(&s, "{\"prompt\":\"copy\",\"completion\":\"copy\"}\n");
        if (i % 40 == 1) str_addz(&s, "{\"prompt\":\"nothing\"}\n");
    }
    const char *path = temp_file_n(name, s.p, s.n);
    str_free(&s);
    return path;
}

/* Options that use every feature. */
static struct data_options options_of(struct data_source s[2])
{
    s[0] = (struct data_source){ .path = records("a.jsonl", 1500),
                                 .template = template_named("chatml"),
                                 .weight = 1.5 };
    s[1] = (struct data_source){ .path = records("b.jsonl", 300),
                                 .template = template_named("plain"),
                                 .weight = 2 };
    return (struct data_options){
        .train = s,
        .n_train = 2,
        .validation_frac = 0.1,
        .render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
        .max_length = 42, /* some are too long */
        .overlong = OVERLONG_TRUNCATE,
        .skip_errors = true,
        .max_skipped_frac = 0.05,
        .cache_dir = temp_path("cache"),
    };
}

static void open_ok(struct dataset *d, const struct data_options *o, struct str *notes)
{
    struct err e = { 0 };
    struct str own = { 0 };
    assert_ok(dataset_open(d, o, bytes(), notes ? notes : &own, &e), &e);
    str_free(&own);
}

static void assert_same_examples(const struct examples *a, const struct examples *b)
{
    assert_int_equal(a->n, b->n);
    assert_memory_equal(a->at, b->at, (a->n + 1) * sizeof *a->at);
    assert_memory_equal(a->ids, b->ids, examples_tokens(a) * sizeof *a->ids);
    assert_memory_equal(a->target, b->target, examples_tokens(a));
}

static void assert_same_origins(const struct origins *a, const struct origins *b, size_t n)
{
    assert_int_equal(a->n_sources, b->n_sources);
    assert_memory_equal(a->ends, b->ends, a->n_sources * sizeof *a->ends);
    assert_memory_equal(a->line, b->line, n * sizeof *a->line);
}

static void assert_same_data(const struct dataset *a, const struct dataset *b)
{
    assert_same_examples(&a->train, &b->train);
    assert_same_examples(&a->validation, &b->validation);
    assert_same_origins(&a->train_origins, &b->train_origins, a->train.n);
    assert_same_origins(&a->validation_origins, &b->validation_origins, a->validation.n);
    assert_memory_equal(&a->train_counts, &b->train_counts, sizeof a->train_counts);
    assert_memory_equal(&a->validation_counts, &b->validation_counts, sizeof a->train_counts);
    assert_memory_equal(a->sha256, b->sha256, SHA256_BYTES);
    assert_int_equal(a->n_shares, b->n_shares);
    for (size_t i = 0; i < a->n_shares; i++) {
        assert_int_equal(a->shares[i].n, b->shares[i].n);
        assert_true(a->shares[i].weight == b->shares[i].weight);
    }
}

/* This test writes down what a file holds, and the order of its counts: rows that are added to the
 * lists of src/data, or moved in them, must not change it. */
static void names_and_their_order_in_the_file(void **state)
{
    (void)state;
    static const char *const counts[] = { "records",        "bad",    "chosen",       "overlong",
                                          "truncated",      "split",  "duplicates",   "removed",
                                          "longest",        "tokens", "targets_lost", "targets",
                                          "without_targets" };
    struct data_source s[2];
    struct data_options o = options_of(s);
    struct dataset d;
    struct h5_reader r;
    struct err e;
    size_t n;
    o.prepare = PREPARE_ALWAYS;
    open_ok(&d, &o, NULL);
    assert_ok(h5_open(&r, d.prepared, &e), &e);
    assert_ok(h5_length(&n, &r, "train/ids", H5_TYPE_I32, &e), &e);
    assert_int_equal(n, examples_tokens(&d.train));
    assert_ok(h5_length(&n, &r, "train/target", H5_TYPE_U8, &e), &e);
    assert_int_equal(n, examples_tokens(&d.train));
    assert_int_equal(COUNTS, sizeof counts / sizeof *counts);
    for (size_t i = 0; i < COUNTS; i++) {
        char name[64];
        int64_t v;
        snprintf(name, sizeof name, "train/counts/%s", counts[i]);
        assert_string_equal(counts_in_file[i]->field, counts[i]);
        assert_ok(h5_get_i64(&v, &r, name, &e), &e);
        assert_int_equal(v, count_of(&d.train_counts, counts_in_file[i]));
    }
    h5_close(&r);
    dataset_close(&d);
}

/* On any number of threads, with and without copies. */
static void same_as_in_memory(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    int before = omp_get_max_threads();
    for (int dedup = 0; dedup < 2; dedup++) {
        struct dataset memory, file;
        struct str wanted = { 0 }, first = { 0 };
        o.deduplicate = dedup;
        o.prepare = PREPARE_NEVER;
        omp_set_num_threads(1);
        open_ok(&memory, &o, &wanted);
        assert_null(memory.prepared);
        assert_true(memory.train.n > 1000 && memory.validation.n > 50);
        assert_true(memory.train_counts.truncated > 0 && memory.train_counts.bad > 0);
        assert_true(memory.train_counts.duplicates > 0 || memory.validation_counts.duplicates > 0);
        o.prepare = PREPARE_ALWAYS;
        for (int threads = 1; threads < 5; threads++) {
            struct str notes = { 0 }, whole = { 0 };
            struct err e;
            omp_set_num_threads(threads);
            open_ok(&file, &o, &notes);
            assert_non_null(file.prepared);
            assert_false(file.reused);
            assert_same_data(&memory, &file);
            assert_string_equal(wanted.p, notes.p);
            assert_ok(file_read(&whole, file.prepared, 1 << 26, &e), &e);
            if (threads > 1) {
                assert_int_equal(first.n, whole.n);
                assert_memory_equal(first.p, whole.p, whole.n);
            } else {
                str_add(&first, whole.p, whole.n);
            }
            unlink(file.prepared);
            dataset_close(&file);
            str_free(&notes);
            str_free(&whole);
        }
        dataset_close(&memory);
        str_free(&wanted);
        str_free(&first);
    }
    omp_set_num_threads(before);
}

static size_t files_in(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d));) n += entry->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

static void found_again(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    struct dataset d, again;
    struct str notes = { 0 }, second = { 0 };
    struct stat st;
    o.cache_dir = temp_path("found/deep");
    open_ok(&d, &o, NULL); /* small, and none is there */
    assert_null(d.prepared);
    assert_int_equal(files_in(o.cache_dir), 0);
    dataset_close(&d);
    o.prepare = PREPARE_ALWAYS;
    open_ok(&d, &o, &notes);
    assert_int_equal(stat(d.prepared, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(o.cache_dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(files_in(o.cache_dir), 1);
    o.prepare = PREPARE_AUTO;
    s[0].weight = 7; /* no example depends on it */
    open_ok(&again, &o, &second);
    assert_true(again.reused);
    assert_string_equal(d.prepared, again.prepared);
    assert_string_equal(notes.p, second.p);
    assert_same_examples(&d.train, &again.train);
    assert_true(again.shares[0].weight == 7);
    dataset_close(&again);
    dataset_close(&d);
    str_free(&notes);
    str_free(&second);
}

/* Each of these is another data set. */
static void never_mistaken(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    char key[SHA256_HEX], keys[16][SHA256_HEX];
    uint8_t digests[2][SHA256_BYTES] = { { 1 }, { 2 } };
    struct err e;
    size_t n = 0;
    for (int i = 0; i < 13; i++) {
        struct data_options x = o;
        struct data_source t[2] = { s[0], s[1] };
        x.train = t;
        digests[1][0] = i == 1 ? 3 : 2;
        if (i == 2) t[0].template = template_named("smollm2");
        if (i == 3) t[1].records.format = FORMAT_PROMPT_COMPLETION;
        if (i == 4) x.validation_frac = 0.2;
        if (i == 5) x.seed = 1;
        if (i == 6) x.render.train_on = TRAIN_ON_EVERYTHING;
        if (i == 7) x.render.train_on_eos = false;
        if (i == 8) x.max_length = 43;
        if (i == 9) x.overlong = OVERLONG_DROP;
        if (i == 10) x.deduplicate = true;
        if (i == 11) x.vocab_size = 100000;
        if (i == 12) x.n_train = 1, x.validation = &s[1], x.n_validation = 1;
        assert_ok(prepared_key(key, &x, bytes(), (const uint8_t(*)[SHA256_BYTES])digests, &e), &e);
        for (size_t k = 0; k < n; k++) {
            if (strcmp(keys[k], key) == 0) fail_msg("change %d and %zu have one key", i, k);
        }
        memcpy(keys[n++], key, sizeof key);
    }
    assert_ok(prepared_key(key, &o, NULL, (const uint8_t(*)[SHA256_BYTES])digests, &e), &e);
    assert_string_not_equal(key, keys[0]);
    s[0].weight = 3;
    s[0].path = "elsewhere";
    o.cache_dir = NULL;
    digests[1][0] = 2;
    assert_ok(prepared_key(key, &o, bytes(), (const uint8_t(*)[SHA256_BYTES])digests, &e), &e);
    assert_string_equal(key, keys[0]);
}

/* A file whose seal fits may still name a token that the model does not have. */
static void foreign_ids(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    o.cache_dir = temp_path("foreign");
    o.prepare = PREPARE_ALWAYS;
    const int32_t foreign[] = { (int32_t)tokenizer_size(bytes()), -1 };
    for (size_t i = 0; i < 4; i++) {
        struct dataset d, again;
        struct str whole = { 0 }, notes = { 0 };
        struct err e;
        open_ok(&d, &o, NULL);
        const struct examples *x = i % 2 ? &d.validation : &d.train;
        size_t last = examples_tokens(x) - 1;
        size_t at = (size_t)((const uint8_t *)(x->ids + last) - d.map.data);
        assert_ok(file_read(&whole, d.prepared, 1 << 26, &e), &e);
        memcpy(whole.p + at, &foreign[i / 2], sizeof *foreign);
        assert_ok(file_replace(d.prepared, whole.p, whole.n, 0600, &e), &e);
        reseal(d.prepared);
        open_ok(&again, &o, &notes);
        assert_false(again.reused);
        assert_non_null(strstr(notes.p, "token ids outside the vocabulary"));
        dataset_close(&again);
        dataset_close(&d);
        str_free(&whole);
        str_free(&notes);
    }
}

static void changed_and_damaged(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    struct dataset d, again;
    struct err e;
    char path[PATH_BYTES];
    o.cache_dir = temp_path("damaged");
    o.prepare = PREPARE_ALWAYS;
    open_ok(&d, &o, NULL);
    snprintf(path, sizeof path, "%s", d.prepared);
    struct str whole = { 0 }, notes = { 0 };
    assert_ok(file_read(&whole, path, 1 << 26, &e), &e);
    whole.p[whole.n / 2] ^= 1;
    assert_ok(file_replace(path, whole.p, whole.n, 0600, &e), &e);
    open_ok(&again, &o, &notes);
    assert_false(again.reused);
    assert_same_data(&d, &again);
    assert_non_null(strstr(notes.p, "checksum differs"));
    assert_non_null(strstr(notes.p, "; it is made again\n"));
    dataset_close(&again);
    s[0].path = records("a.jsonl", 1501);
    open_ok(&again, &o, NULL);
    assert_false(again.reused);
    assert_int_equal(files_in(o.cache_dir), 2);
    dataset_close(&again);
    dataset_close(&d);
    size_t files;
    uint64_t freed;
    assert_ok(file_replace(temp_path("damaged/notes.h5"), "x", 1, 0600, &e), &e);
    assert_ok(prepared_purge(&files, &freed, o.cache_dir, &e), &e);
    assert_int_equal(files, 2);
    assert_true(freed > 2 * sizeof(int32_t) * 1000);
    assert_int_equal(files_in(o.cache_dir), 1); /* other programs' files stay */
    str_free(&whole);
    str_free(&notes);
}

/* A data set that ends without examples leaves no file. */
static void nothing_is_left(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    struct dataset d;
    struct str notes = { 0 };
    struct err e;
    o.cache_dir = temp_path("nothing");
    o.prepare = PREPARE_ALWAYS;
    o.overlong = OVERLONG_DROP;
    o.max_length = 2;
    assert_int_equal(dataset_open(&d, &o, bytes(), &notes, &e), ERR_FAIL);
    assert_message(&e, "data.train: none of");
    assert_message(&e, "raise it, or set data.overlong");
    o.max_length = 42;
    o.max_skipped_frac = 0.01;
    assert_int_equal(dataset_open(&d, &o, bytes(), &notes, &e), ERR_FAIL);
    assert_message(&e, "more than the 1 % that data.max_skipped_frac allows");
    assert_int_equal(files_in(o.cache_dir), 0);
    o.max_skipped_frac = 1;
    o.cache_dir = "/proc/nowhere";
    assert_int_equal(dataset_open(&d, &o, bytes(), &notes, &e), ERR_FAIL);
    assert_message(&e, "/proc/nowhere");
    str_free(&notes);
}

/* Of copies in a mixture the first one stays, in whichever file it was. */
static void copies_removed(void **state)
{
    (void)state;
    struct data_source s[2];
    struct data_options o = options_of(s);
    struct dataset with, without;
    s[1].template = s[0].template;
    o.validation_frac = 0;
    open_ok(&with, &o, NULL);
    o.deduplicate = true;
    struct str notes = { 0 };
    open_ok(&without, &o, &notes);
    /* 300 of b are in a too, and "copy" is there once */
    assert_int_equal(with.train.n, 1500 + 167 + 300 + 34);
    assert_int_equal(without.train.n, 1500 + 1);
    assert_int_equal(without.train_counts.removed, 300 + 167 + 34 - 1);
    assert_int_equal(without.train_counts.duplicates, with.train_counts.duplicates);
    assert_int_equal(without.shares[1].n, 0);
    assert_non_null(
        strstr(notes.p, "train: 500 examples are exact copies of others, and left out\n"));
    assert_non_null(strstr(notes.p, "train: file 2 of data.train gives no examples\n"));
    assert_non_null(strstr(notes.p, "lacking a key"));
    str_free(&notes);
    dataset_close(&with);
    dataset_close(&without);
}

/* Reading and using a data set takes a fraction of the memory that its examples would: here 16 MB
 * of text and 80 MB of examples. The limit leaves room for the batches of text on their way, for
 * what the pages around an example bring in, and for the C library; in memory it would be
 * twice 80 MB. */
static void takes_little_memory(void **state)
{
    (void)state;
    enum { RECORDS = 8000, LETTERS = 2000, LIMIT = 56 << 20 };
    struct str s = { 0 };
    for (size_t i = 0; i < RECORDS; i++) {
        str_addf(&s, "{\"text\":\"%zu ", i);
        for (size_t j = 0; j < LETTERS; j++) str_addc(&s, (char)('A' + (i * 7 + j * j) % 26));
        str_addz(&s, "\"}\n");
    }
    struct data_source source = { .path = temp_file_n("large.jsonl", s.p, s.n), .weight = 1 };
    str_free(&s);
    struct data_options o = { .train = &source,
                              .n_train = 1,
                              .max_length = 4096,
                              .prepare = PREPARE_ALWAYS,
                              .cache_dir = temp_path("large") };
    struct dataset d;
    struct batch b;
    struct err e;
    size_t before = machine_memory_resident(), most = 0;
    open_ok(&d, &o, NULL);
    assert_int_equal(d.train.n, RECORDS);
    assert_true(examples_tokens(&d.train) > (size_t)RECORDS * LETTERS);
    assert_ok(batch_init(&b, &d.train, 32, 2048, true, &e), &e);
    uint32_t *order = mem_alloc(RECORDS, sizeof *order, &e);
    struct share all = { RECORDS, 1 };
    struct sampler sampler;
    assert_ok(sampler_init(&sampler, &all, 1, 0, true, &e), &e);
    sampler_epoch(order, &sampler, 0);
    mem_guard(true);
    size_t tokens = 0;
    for (size_t i = 0; i < RECORDS; i += 32) {
        batch_begin(&b, order + i, 32);
        for (size_t p = 0; p < b.n_passes; p++) batch_pass(&b, p);
        tokens += b.tokens;
        size_t now = machine_memory_resident();
        if (most < now) most = now;
    }
    mem_guard(false);
    assert_int_equal(tokens, examples_tokens(&d.train));
    if (!SANITIZED && most > before + LIMIT)
        fail_msg("%zu MiB more than before, wanted at most %d", (most - before) >> 20, LIMIT >> 20);
    sampler_free(&sampler);
    mem_free(order);
    batch_free(&b);
    dataset_close(&d);
}

/* ---- training on it -------------------------------------------------------------------------- */

static void run_variant(const char *out, const char *prepare, const char *dropout)
{
    char source[PATH_BYTES], cache[PATH_BYTES];
    snprintf(source, sizeof source, "data.train=[{path: %s/gqa-tied/batch.jsonl, weight: 2.5}]",
             golden_root());
    snprintf(cache, sizeof cache, "data.cache_dir=%s", temp_path("train-cache"));
    const char *more[] = { source,
                           cache,
                           prepare,
                           dropout,
                           "train.max_steps=9",
                           "train.batch_size=5",
                           "train.pass_tokens=45",
                           "data.validation=0.3",
                           "train.eval_steps=3",
                           "train.shuffle=true",
                           NULL };
    struct err e;
    if (run_golden("gqa-tied", out, more, RESUME_NEVER, &e)) fail_msg("%s", e.msg);
}

static void same_run(void **state)
{
    (void)state;
    static const char *const dropouts[] = { "adapter.lora_dropout=0", "adapter.lora_dropout=0.2" };
    for (size_t i = 0; i < 2; i++) {
        run_variant(temp_path("memory"), "data.prepare=false", dropouts[i]);
        if (i == 0) assert_int_equal(files_in(temp_path("train-cache")), 0);
        run_variant(temp_path("file"), "data.prepare=true", dropouts[i]);
        assert_int_equal(files_in(temp_path("train-cache")), 1);
        assert_same_run(temp_path("memory"), temp_path("file"), dropouts[i]);
        remove_tree(temp_path("memory"));
        remove_tree(temp_path("file"));
    }
}

static int end_group(void **state)
{
    int code = temp_remove(state);
    str_free(&said);
    return remove_test_dir(state) || code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(takes_little_memory,
              "prepared: reading and using a file takes a fraction of the examples' memory"),
        ENTRY(same_as_in_memory,
              "prepared: the file holds the same examples as memory, on any threads"),
        ENTRY(names_and_their_order_in_the_file,
              "prepared: names and order of the counts in the file stay as they were"),
        ENTRY(found_again, "prepared: the file is found again and used"),
        ENTRY(never_mistaken, "prepared: another setting, tokenizer or file is another data set"),
        ENTRY(foreign_ids, "prepared: a file with ids that the model does not have is refused"),
        ENTRY(changed_and_damaged, "prepared: a damaged or outdated file is made again, and noted"),
        ENTRY(nothing_is_left, "prepared: a data set that ends without examples leaves no file"),
        ENTRY(copies_removed, "prepared: of copies in a mixture the first one stays"),
        ENTRY(same_run, "prepared: a run from a file has the bits of a run from memory"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, end_group);
}
