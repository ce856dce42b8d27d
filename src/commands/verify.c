/* inspect --verify: checks hashes and values against the records about them. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/commands/inspect.h"
#include "src/commands/job.h"
#include "src/formats/h5.h"
#include "src/model/tensors.h"
#include "src/train/checkpoint.h"
#include "src/train/publish.h"
#include "src/train/setup.h"

void verify_file(struct facts *f, const char *name, const char *path, const char *sha256)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    struct err e;
    if (sha256_file(digest, path, job_watch("hashing", path_base(path)), &e)) {
        facts_check(f, VERDICT_PROBLEM, name, NULL, "%s", e.msg);
        return;
    }
    hex_of(hex, digest);
    if (!sha256) {
        facts_check(f, VERDICT_NOTE, name, NULL, "sha256 %s; none is on record", hex);
    } else if (strcmp(hex, sha256) == 0) {
        facts_check(f, VERDICT_OK, name, NULL, "sha256 %s", hex);
    } else {
        facts_check(f, VERDICT_PROBLEM, name, "it was changed, or it is another file",
                    "sha256 %s, on record is %s", hex, err_quotez(sha256));
    }
}

/* The number of values of a tensor; 0 for a type that lorac does not have. */
static size_t count_values(const struct tensor *t)
{
    return t->type == STORAGE_OTHER
               ? 0
               : t->bytes / storage_block_bytes(t->type) * storage_block_values(t->type);
}

/* How many numbers are not finite; in a block whose scale is not finite, all 32 count. */
static size_t count_bad_values(const struct tensor *t)
{
    enum { PIECE = 1 << 16 }; /* values, a multiple of every block */
    size_t bad = 0, all = count_values(t), values = storage_block_values(t->type);
    for (size_t i = 0; i < all; i += PIECE) {
        size_t n = all - i < PIECE ? all - i : PIECE;
        if (storage_finite(t->data + storage_bytes(t->type, i), t->type, n)) continue;
        for (size_t j = i; j < i + n; j += values)
            if (!storage_finite(t->data + storage_bytes(t->type, j), t->type, values))
                bad += values;
    }
    return bad;
}

void verify_tensors(struct facts *f, const struct tensor *t, size_t n)
{
    size_t bad = 0, all = 0, others = 0;
    for (size_t i = 0; i < n; i++) {
        all += count_values(&t[i]);
        bad += count_bad_values(&t[i]);
        others += t[i].type == STORAGE_OTHER;
    }
    if (others) {
        facts_check(f, VERDICT_NOTE, "types", NULL,
                    "%zu tensor%s of a type that lorac does not compute with, and not checked",
                    others, others == 1 ? " is" : "s are");
    }
    facts_check(f, bad ? VERDICT_PROBLEM : VERDICT_OK, "values", bad ? "get the file again" : NULL,
                "%zu, of which %zu are NaN or infinite", all, bad);
}

int verify_checkpoint(struct facts *f, const char *path, struct err *e)
{
    size_t bad = 0, all = 0;
    int code = checkpoint_count(&all, &bad, path, e);
    if (code) return code;
    facts_check(f, bad ? VERDICT_PROBLEM : VERDICT_OK, "values",
                bad ? "remove it; --resume auto takes the one before" : NULL,
                "%zu of the adapter and its moments, of which %zu are NaN or infinite", all, bad);
    return 0;
}

/* How many values of w are not finite; `row` has room for one row per thread. */
static size_t count_bad(const struct matrix *w, const struct kernels *k, real *row)
{
    size_t bad = 0;
#pragma omp parallel for schedule(static) reduction(+ : bad)
    for (size_t i = 0; i < w->rows; i++) {
        real *x = row + (size_t)omp_get_thread_num() * w->cols;
        k->widen(x, w, i, 0, w->cols);
        for (size_t j = 0; j < w->cols; j++) bad += !isfinite(x[j]);
    }
    return bad;
}

static size_t count_bad_vector(const real *x, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) bad += !isfinite(x[i]);
    return bad;
}

int verify_model(struct facts *f, const struct llama *m, struct err *e)
{
    const struct kernels *k;
    const struct dims *s = &m->dims;
    size_t widest = 0, bad = 0;
    for (struct tensor_walk at = tensor_walk(s); tensor_next(&at);)
        if (at.cols > widest) widest = at.cols;
    int code = setup_kernels(&k, COMPUTE_F32, e);
    real *row = code ? NULL : mem_alloc((size_t)omp_get_max_threads() * widest, sizeof *row, e);
    if (!row) return e->code;
    const struct watch *w = job_watch("reading the weights", NULL);
    size_t done = 0;
    for (struct tensor_walk at = tensor_walk(s); !code && tensor_next(&at);) {
        struct tensor_values v = tensor_values(m, &at);
        bad += v.matrix ? count_bad(v.matrix, k, row) : count_bad_vector(v.vector, at.cols);
        code = watch_step(w, (double)++done, (double)tensor_count(s), e);
    }
    mem_free(row);
    if (code) return code;
    if (bad) {
        facts_check(f, VERDICT_PROBLEM, "weights", "get the file again", "%s %s NaN or infinite",
                    str_count(bad, "value"), bad == 1 ? "is" : "are");
    } else {
        facts_check(f, VERDICT_OK, "weights", NULL, "all finite");
    }
    return 0;
}

int verify_base(struct facts *f, const char *base_path, const char *sha256, struct err *e)
{
    struct llama m;
    char hex[SHA256_HEX];
    struct err why;
    if (llama_open_headers(&m, base_path, &why)) {
        facts_check(f, VERDICT_NOTE, "base", "name it with --model", "not checked: %s", why.msg);
        return 0;
    }
    int code = model_digest(hex, &m, e);
    llama_close(&m);
    if (code) return code;
    if (strcmp(hex, sha256) == 0) {
        facts_check(f, VERDICT_OK, "base", NULL, "%s is what it was trained on", base_path);
    } else {
        facts_check(f, VERDICT_PROBLEM, "base", "use the base that it was trained on",
                    "%s has sha256 %s, on record is %s", base_path, hex, err_quotez(sha256));
    }
    return 0;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* The record that the files of a run are checked against, and how many files are not as it says. */
struct audit {
    struct facts *facts;
    const struct rundir *dir;
    const json_t *run;
    bool interrupted; /* a file is as the record says it was going to become */
};

/* The digest that run.json gives the file in a list of {path, sha256}, or NULL. */
static const char *digest_in(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const char *path = json_string_value(json_object_get(row, "path"));
        if (path && strcmp(path, name) == 0)
            return json_string_value(json_object_get(row, "sha256"));
    }
    return NULL;
}

/* Check a file of the run. It may be as recorded, or as it was going to become when the run was
 * killed. On a file system that cannot exchange two names it may still be called NAME.old. */
static int verify_output(struct audit *a, const char *name, const char *sha256, struct err *e)
{
    char path[PATH_BYTES], aside[PATH_BYTES], hex[SHA256_HEX];
    uint8_t digest[SHA256_BYTES];
    struct err why;
    const char *next = digest_in(json_object_get(a->run, "publishing"), name);
    int code = rundir_path(path, a->dir, name, e);
    if (code) return code;
    if (next && !file_exists(path)) {
        int n = (int)strcspn(name, "/");
        snprintf(aside, sizeof aside, "%.*s.old%s", n, name, name + n);
        code = rundir_path(path, a->dir, aside, e);
        if (code) return code;
        a->interrupted = true;
        if (!file_exists(path)) return 0; /* it was the first file of this name */
    }
    if (next && !sha256_file(digest, path, job_watch("hashing", path_base(path)), &why)) {
        hex_of(hex, digest);
        if (strcmp(hex, next) == 0) {
            a->interrupted |= !sha256 || strcmp(hex, sha256) != 0;
            sha256 = next;
        }
    }
    verify_file(a->facts, name, path, sha256);
    return 0;
}

static int verify_outputs(struct audit *a, struct err *e)
{
    static const char *const lists[] = { "outputs", "publishing" };
    const json_t *recorded = json_object_get(a->run, lists[0]);
    int code = 0;
    for (size_t k = 0; k < 2; k++) {
        const json_t *list = json_object_get(a->run, lists[k]);
        for (size_t i = 0; !code && i < json_array_size(list); i++) {
            const json_t *row = json_array_get(list, i);
            const char *name = json_string_value(json_object_get(row, "path"));
            if (!name || (k == 1 && (digest_in(recorded, name) || !strcmp(name, "config.yaml"))))
                continue;
            code = verify_output(a, name,
                                 k ? NULL : json_string_value(json_object_get(row, "sha256")), e);
        }
    }
    return code;
}

static void verify_inputs(struct audit *a)
{
    const json_t *list = json_object_get(a->run, "inputs");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(row, "path"));
        if (name)
            verify_file(a->facts, name, name, json_string_value(json_object_get(row, "sha256")));
    }
}

/* Checkpoints that are missing were pruned, which is not a problem. */
static int verify_checkpoints(struct audit *a, struct err *e)
{
    const json_t *list = json_object_get(a->run, "checkpoints");
    char path[PATH_BYTES];
    size_t gone = 0;
    int code = 0;
    for (size_t i = 0; !code && i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(row, "file"));
        if (!name) continue;
        code = rundir_path(path, a->dir, name, e);
        if (!code && !file_exists(path)) {
            gone++;
        } else if (!code) {
            verify_file(a->facts, name, path, json_string_value(json_object_get(row, "sha256")));
        }
    }
    if (gone) {
        facts_check(a->facts, VERDICT_OK, "pruned", NULL, "%s %s removed as newer ones came",
                    str_count(gone, "checkpoint"), gone == 1 ? "was" : "were");
    }
    return code;
}

/* Check the seal of each checkpoint, whether or not run.json names it. */
static int verify_seals(struct audit *a, struct err *e)
{
    enum { MOST = 4096 };
    static uint64_t steps[MOST];
    char path[PATH_BYTES];
    size_t n;
    int code = rundir_list(steps, MOST, &n, a->dir, e);
    for (size_t i = 0; !code && i < n; i++) {
        struct h5_reader r;
        struct err why;
        code = rundir_checkpoint(path, a->dir, steps[i], e);
        if (code) break;
        if (h5_open(&r, path, &why)) {
            if (!file_exists(path)) continue; /* it was pruned just now */
            facts_check(a->facts, VERDICT_PROBLEM, path_base(path),
                        "remove it; --resume auto takes the one before", "%s", why.msg);
        } else {
            facts_check(a->facts, VERDICT_OK, path_base(path), NULL, "its seal holds");
            h5_close(&r);
        }
    }
    return code;
}

static int verify_once(struct facts *f, const json_t *run, const struct rundir *dir, struct err *e)
{
    struct audit a = { .facts = f, .dir = dir, .run = run };
    int code = verify_output(&a, "config.yaml",
                             json_string_value(json_object_get(run, "config_sha256")), e);
    if (code) return code;
    verify_inputs(&a);
    code = verify_outputs(&a, e);
    if (!code) code = verify_checkpoints(&a, e);
    if (!code) code = verify_seals(&a, e);
    char who[256];
    if (!code && a.interrupted && !runlock_busy(who, sizeof who, dir->path)) {
        facts_check(f, VERDICT_NOTE, "interrupted", "lorac train CONFIG.yaml --resume auto goes on",
                    "the run ended while it was publishing step %lld or later; each file is as its "
                    "record says",
                    (long long)json_integer_value(json_object_get(run, "step")));
    }
    return code;
}

static json_t *read_record(const struct rundir *dir, struct err *e)
{
    enum { MANIFEST_MOST = 1 << 24 };
    char path[PATH_BYTES];
    if (rundir_path(path, dir, "run.json", e)) return NULL;
    return json_read(path, MANIFEST_MOST, e);
}

/* A run that is still writing replaces files while they are read: when a file differs from the
 * record and a newer record exists, the files are checked again. */
int verify_run(struct facts *f, const json_t *run, const struct rundir *dir, struct err *e)
{
    enum { TRIES = 10 };
    char who[256];
    bool busy = runlock_busy(who, sizeof who, dir->path), newer = false;
    json_t *record = json_incref((json_t *)(uintptr_t)run);
    int code = 0;
    for (int i = 0; !code && i < TRIES; i++) {
        struct facts now;
        facts_init(&now);
        code = verify_once(&now, record, dir, e);
        json_t *newest = code ? NULL : read_record(dir, e);
        newer = newest && !json_equal(newest, record);
        bool stale = newer && now.problems, again = stale && i + 1 < TRIES;
        if (!code && !again && !(stale && busy)) facts_append(f, &now);
        newer = stale;
        facts_free(&now);
        json_decref(record);
        record = newest;
        if (!newest && !code) code = e->code;
        if (!again) break;
    }
    json_decref(record);
    if (!code && busy) {
        facts_check(f, VERDICT_NOTE, "running", newer ? "verify it when it has ended" : NULL,
                    "a run is writing here (%s)%s", err_quotez(who),
                    newer ? ", faster than its files can be read" : "");
    }
    return code;
}
