/* Shared by tests of training runs: a temporary directory, a run in this process on a golden model
 * (tests/golden), and the files that it leaves. */
#ifndef LORAC_TESTS_TRAIN_UTIL_H
#define LORAC_TESTS_TRAIN_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/train/train.h"
#include "tests/entry.h"

static char test_dir[256];

/* Group set-up and tear-down: test_dir exists in between, and holds the cache of hashes too. In
 * memory where possible: runs fsync everything that they write, which takes time on disks. */
static inline int make_test_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(test_dir, sizeof test_dir, "%s/lorac-train-XXXXXX", base);
    return mkdtemp(test_dir) ? setenv("XDG_CACHE_HOME", test_dir, 1) : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int remove_test_dir(void **state)
{
    (void)state;
    remove_tree(test_dir);
    return 0;
}

/* test_dir/name, in one of sixteen rotating buffers. */
static inline const char *temp_path(const char *name)
{
    static char paths[16][PATH_BYTES];
    static unsigned turn;
    char *out = paths[turn++ % 16];
    snprintf(out, PATH_BYTES, "%s/%s", test_dir, name);
    return out;
}

static inline const char *golden_root(void)
{
    const char *root = getenv("LORAC_GOLDEN");
    return root ? root : "tests/golden";
}

/* A configuration for the golden model `name` that starts from its adapter; `more` are lines of the
 * same form, "section.key=value", up to a NULL, and come last. */
static inline int run_config(struct config *c, const char *name, const char *out_dir,
                             const char *const *more, struct err *e)
{
    char path[PATH_BYTES], *overrides[32];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s/adapter/adapter_config.json", golden_root(), name);
    json_t *peft = json_read(path, 1 << 20, e);
    if (!peft) return e->code;
    const char *root = golden_root();
    struct str s = { 0 };
    str_addf(&s, "model:\n  path: %s/%s/model\n", root, name);
    str_addf(&s, "data:\n  train: %s/%s/batch.jsonl\n  format: tokens\n", root, name);
    str_addf(&s, "adapter:\n  r: %lld\n  lora_alpha: %.0f\n  init_from: %s/%s/adapter\n",
             (long long)json_integer_value(json_object_get(peft, "r")),
             json_number_value(json_object_get(peft, "lora_alpha")), root, name);
    json_t *targets = json_object_get(peft, "target_modules");
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const char *target = json_string_value(json_array_get(targets, i));
        str_addf(&s, "%s%s", i ? ", " : "  target_modules: [", target);
    }
    str_addf(&s, "]\ntrain:\n  learning_rate: 2.0e-4\n  shuffle: false\noutput:\n  dir: %s\n",
             out_dir);
    for (; more && more[n]; n++) overrides[n] = (char *)(uintptr_t)more[n];
    int code = config_parse(c, s.p, s.n, "test.yaml", overrides, n, e);
    str_free(&s);
    json_decref(peft);
    return code;
}

/* The run.json of a run's directory. */
static inline json_t *read_run(const char *dir)
{
    struct err e;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/run.json", dir);
    json_t *run = json_read(path, 1 << 20, &e);
    if (!run) fail_msg("%s", e.msg);
    return run;
}

/* What the last run printed on stderr. */
static struct str said;

/* train_run() with stderr kept in `said`. */
static inline int run_quietly(const struct config *c, const struct train_options *o, struct err *e)
{
    struct err ignored;
    const char *path = temp_path("stderr");
    fflush(stderr);
    int kept = dup(2), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 2);
    close(fd);
    int code = train_run(c, o, e);
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    str_clear(&said);
    file_read(&said, path, 1 << 24, &ignored);
    return code;
}

/* Configure, run, free. */
static inline int run_golden(const char *name, const char *out_dir, const char *const *more,
                             enum resume_mode resume, struct err *e)
{
    struct config c;
    struct train_options o = { .resume = resume };
    int code = run_config(&c, name, out_dir, more, e);
    if (code) return code;
    code = run_quietly(&c, &o, e);
    config_free(&c);
    return code;
}

static inline void get_file(struct str *out, const char *dir, const char *name)
{
    char path[PATH_BYTES];
    struct err e;
    if (path_join(path, dir, name, &e) || file_read(out, path, 1u << 28, &e)) fail_msg("%s", e.msg);
}

/* The lines of metrics.jsonl, without the two fields that say how the run went and not what it
 * did. */
static inline json_t *read_metrics(const char *dir)
{
    struct str text = { 0 };
    struct err e;
    json_t *lines = json_array();
    get_file(&text, dir, "metrics.jsonl");
    char *save = NULL;
    for (char *line = text.p ? strtok_r(text.p, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_parse(line, strlen(line), JSON_DUP_REFUSED, "metrics.jsonl", &e);
        if (!o) fail_msg("%s", e.msg);
        json_object_del(o, "tokens_per_s");
        json_object_del(o, "memory_bytes");
        json_array_append_new(lines, o);
    }
    str_free(&text);
    return lines;
}

static inline double number_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_number(v)) fail_msg("%s is missing", key);
    return json_number_value(v);
}

/* Whether two files have the same bytes. */
static inline bool same_file(const char *dir, const char *other, const char *name)
{
    struct str a = { 0 }, b = { 0 };
    get_file(&a, dir, name);
    get_file(&b, other, name);
    bool same = a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
    str_free(&a);
    str_free(&b);
    return same;
}

/* Adapter and metrics of two runs agree to the last bit. */
static inline void assert_same_run(const char *dir, const char *other, const char *what)
{
    if (!same_file(dir, other, "adapter/adapter_model.safetensors")) {
        fail_msg("%s: the adapters differ", what);
    }
    json_t *a = read_metrics(dir), *b = read_metrics(other);
    if (!json_equal(a, b)) fail_msg("%s: metrics.jsonl differ", what);
    json_decref(a);
    json_decref(b);
}

#endif
