/* inspect --verify: hashes and values held against what was written down about them. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/commands/inspect.h"
#include "src/formats/h5.h"
#include "src/model/finite.h"
#include "src/train/checkpoint.h"
#include "src/train/publish.h"
#include "src/train/setup.h"

void verify_file(struct facts *f, const char *name, const char *path, const char *sha256)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    struct err e;
    if (sha256_file(digest, path, NULL, &e)) {
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

/* Values of a tensor, 0 of a type that has none of ours. */
static size_t count_values(const struct tensor *t)
{
    return t->type == DTYPE_OTHER
               ? 0
               : t->bytes / dtype_block_bytes(t->type) * dtype_block_values(t->type);
}

/* How many numbers are not finite; of blocks all 32 of each whose scale is not. */
static size_t count_bad_values(const struct tensor *t)
{
    enum { PIECE = 1 << 16 }; /* values, a multiple of every block */
    size_t bad = 0, all = count_values(t), values = dtype_block_values(t->type);
    for (size_t i = 0; i < all; i += PIECE) {
        size_t n = all - i < PIECE ? all - i : PIECE;
        if (stored_finite(t->data + dtype_bytes(t->type, i), t->type, n)) continue;
        for (size_t j = i; j < i + n; j += values)
            if (!stored_finite(t->data + dtype_bytes(t->type, j), t->type, values)) bad += values;
    }
    return bad;
}

void verify_tensors(struct facts *f, const struct tensor *t, size_t n)
{
    size_t bad = 0, all = 0, others = 0;
    for (size_t i = 0; i < n; i++) {
        all += count_values(&t[i]);
        bad += count_bad_values(&t[i]);
        others += t[i].type == DTYPE_OTHER;
    }
    if (others) {
        facts_check(f, VERDICT_NOTE, "types", NULL,
                    "%zu tensor%s of a type that lorac does not compute with and not looked at",
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

/* How many values of w are not finite; row: room for a row of each thread. */
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

static size_t count_bad_norm(const real *x, size_t n)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) bad += !isfinite(x[i]);
    return bad;
}

int verify_model(struct facts *f, const struct llama *m, struct err *e)
{
    const struct kernels *k;
    const struct shape *s = &m->shape;
    size_t widest = s->C > s->F ? s->C : s->F, bad = 0;
    if (s->H * s->D > widest) widest = s->H * s->D;
    int code = setup_kernels(&k, e);
    real *row = code ? NULL : mem_alloc((size_t)omp_get_max_threads() * widest, sizeof *row, e);
    if (!row) return e->code;
    bad += count_bad(&m->embedding, k, row) + count_bad_norm(m->norm, s->C);
    if (!s->tied) bad += count_bad(&m->head, k, row);
    for (size_t l = 0; l < s->layers; l++) {
        const struct layer_weights *w = &m->layer[l];
        for (int i = 0; i < MODULES; i++) bad += count_bad(&w->w[i], k, row);
        bad += count_bad_norm(w->norm1, s->C) + count_bad_norm(w->norm2, s->C);
    }
    mem_free(row);
    if (bad) {
        facts_check(f, VERDICT_PROBLEM, "weights", "get the file again",
                    "%zu values are NaN or infinite", bad);
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

/* ---- a run ------------------------------------------------------------------------------------ */

/* Each entry of a list of {key: path, sha256}; paths count from `dir`, or from here when it is NULL.
 * `pruned`: a file that is not there any more is no problem. */
static int verify_list(struct facts *f, const json_t *list, const char *key, const char *dir,
                       bool pruned, struct err *e)
{
    char path[PATH_BYTES];
    size_t gone = 0;
    int code = 0;
    for (size_t i = 0; !code && i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(row, key));
        const char *sha256 = json_string_value(json_object_get(row, "sha256"));
        if (!name) continue;
        if (dir) code = path_join(path, dir, name, e);
        if (code) break;
        const char *at = dir ? path : name;
        if (pruned && !file_exists(at)) {
            gone++;
        } else {
            verify_file(f, name, at, sha256);
        }
    }
    if (gone) {
        facts_check(f, VERDICT_OK, "pruned", NULL,
                    "%zu checkpoints were removed as newer ones came", gone);
    }
    return code;
}

/* The seal of each checkpoint, whatever run.json knows. */
static int verify_seals(struct facts *f, const struct rundir *dir, struct err *e)
{
    enum { MOST = 4096 };
    static uint64_t steps[MOST];
    char path[PATH_BYTES];
    size_t n;
    int code = rundir_list(steps, MOST, &n, dir, e);
    for (size_t i = 0; !code && i < n; i++) {
        struct h5_reader r;
        struct err why;
        code = rundir_checkpoint(path, dir, steps[i], e);
        if (code) break;
        if (h5_open(&r, path, &why)) {
            facts_check(f, VERDICT_PROBLEM, path_base(path),
                        "remove it; --resume auto takes the one before", "%s", why.msg);
        } else {
            facts_check(f, VERDICT_OK, path_base(path), NULL, "its seal holds");
            h5_close(&r);
        }
    }
    return code;
}

int verify_run(struct facts *f, const json_t *run, const struct rundir *dir, struct err *e)
{
    char path[PATH_BYTES];
    int code = rundir_path(path, dir, "config.yaml", e);
    if (code) return code;
    verify_file(f, "config.yaml", path, json_string_value(json_object_get(run, "config_sha256")));
    code = verify_list(f, json_object_get(run, "inputs"), "path", NULL, false, e);
    if (!code) code = verify_list(f, json_object_get(run, "outputs"), "path", dir->path, false, e);
    if (!code)
        code = verify_list(f, json_object_get(run, "checkpoints"), "file", dir->path, true, e);
    return code ? code : verify_seals(f, dir, e);
}
