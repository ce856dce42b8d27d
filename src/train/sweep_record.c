#include "src/train/sweep_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/train/metrics.h"
#include "src/train/rundir.h"

enum { RUN_JSON_BYTES = 1 << 24 };

static const char *const state_names[RECORD_STATES] = {
    [RECORD_FINISHED] = "finished", [RECORD_RUNNING] = "running",
    [RECORD_STOPPED] = "stopped",   [RECORD_FAILED] = "failed",
    [RECORD_KILLED] = "killed",     [RECORD_UNREADABLE] = "unreadable",
    [RECORD_ABSENT] = "not begun",
};

const char *record_state_name(enum record_state s)
{
    return state_names[s];
}

bool run_record_is_readable(const struct run_record *r)
{
    return r->state < RECORD_UNREADABLE;
}

/* ---- run.json -------------------------------------------------------------------------------- */

/* What was wrong becomes the record's reason. */
static int unreadable(struct run_record *r, struct err *e)
{
    if (e->code == ERR_MEMORY) return e->code;
    r->state = RECORD_UNREADABLE;
    mem_free(r->why);
    r->why = mem_strdup(e->msg, e);
    return r->why ? 0 : e->code;
}

static int read_state(struct run_record *r, const json_t *o, struct err *e)
{
    char who[256];
    const char *status = json_string_value(json_object_get(o, "status"));
    const char *reason = json_string_value(json_object_get(o, "reason"));
    size_t s = 0;
    while (s < RECORD_KILLED && strcmp(status ? status : "", state_names[s]) != 0) s++;
    if (s == RECORD_KILLED)
        return err_set(e, "%s/run.json: status: found %s, wanted that of a run", r->dir,
                       status ? err_quotez(status) : "nothing");
    r->state = (enum record_state)s;
    if (r->state == RECORD_RUNNING && !runlock_busy(who, sizeof who, r->dir))
        r->state = RECORD_KILLED;
    if (reason && !(r->why = mem_strdup(reason, e))) return e->code;
    return 0;
}

/* Anything but a digest could hold what controls a terminal. */
static void copy_hash(char out[SHA256_HEX], const json_t *o, const char *key)
{
    const char *hex = json_string_value(json_object_get(o, key));
    if (!hex || strlen(hex) != SHA256_HEX - 1 || hex[strspn(hex, "0123456789abcdef")]) return;
    memcpy(out, hex, SHA256_HEX);
}

static uint64_t count_in(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

static double number_in(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static int read_config(struct run_record *r, const json_t *o, struct err *e)
{
    const char *text = json_string_value(json_object_get(o, "config"));
    if (!text) return err_set(e, "%s/run.json: config: missing", r->dir);
    return config_parse(&r->config, text, strlen(text), r->dir, NULL, 0, e);
}

static int read_run(struct run_record *r, const json_t *o, struct err *e)
{
    const char *format = json_string_value(json_object_get(o, "format"));
    const json_t *validation = json_object_get(o, "validation");
    if (!format || strcmp(format, "lorac-run") != 0)
        return err_set(e, "%s/run.json: is not that of a lorac run", r->dir);
    copy_hash(r->base_sha256, o, "base_sha256");
    copy_hash(r->data_sha256, o, "data_sha256");
    r->step = count_in(o, "step");
    r->total_steps = count_in(o, "total_steps");
    r->validation_examples = count_in(validation, "examples");
    r->validation_targets = count_in(validation, "targets");
    r->best_step = count_in(o, "best_step");
    if (r->best_step) r->loss = number_in(o, "best_eval_loss");
    int code = read_config(r, o, e);
    return code ? code : read_state(r, o, e);
}

/* ---- metrics.jsonl --------------------------------------------------------------------------- */

static void take_evaluation(struct run_record *r, const json_t *o)
{
    double loss = number_in(o, "eval_loss");
    uint64_t step = count_in(o, "step");
    if (step == 0) {
        r->base_loss = loss;
    } else if (!isfinite(r->loss) || loss < r->loss || (loss <= r->loss && step <= r->best_step)) {
        r->loss = loss;
        r->best_step = step;
        r->exact_match = number_in(o, "eval_exact_match");
    }
}

/* Lines that are not JSON are those that a killed run left unfinished. */
static void take_line(struct run_record *r, const char *line, size_t n)
{
    struct err ignored;
    json_t *o = json_parse(line, n, JSON_DUP_LAST_WINS, "", &ignored);
    if (!o) return;
    double tokens = number_in(o, "tokens"), rate = number_in(o, "tokens_per_s");
    if (json_object_get(o, "eval_loss")) take_evaluation(r, o);
    if (tokens > 0 && rate > 0) r->seconds += tokens / rate;
    json_decref(o);
}

static int read_metrics(struct run_record *r, struct err *e)
{
    char path[PATH_BYTES];
    struct str text = { 0 };
    int code = path_join(path, r->dir, "metrics.jsonl", e);
    if (!code && file_exists(path)) code = file_read(&text, path, METRICS_BYTES, e);
    for (size_t at = 0; !code && at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - (text.p + at)) : text.n - at;
        take_line(r, text.p + at, n);
        at += n + 1;
    }
    str_free(&text);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int run_record_read(struct run_record *r, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    bool used = false;
    *r = (struct run_record){ .loss = NAN, .exact_match = NAN, .base_loss = NAN };
    r->state = RECORD_ABSENT;
    r->dir = mem_strdup(dir, e);
    if (!r->dir) return e->code;
    int code = rundir_used(&used, dir, e);
    if (!code && !used) return 0;
    if (!code) code = path_join(path, dir, "run.json", e);
    json_t *o = code ? NULL : json_read(path, RUN_JSON_BYTES, e);
    code = o ? read_run(r, o, e) : e->code;
    json_decref(o);
    if (!code) code = read_metrics(r, e);
    if (code) config_free(&r->config);
    return code ? unreadable(r, e) : 0;
}

void run_record_free(struct run_record *r)
{
    mem_free(r->dir);
    mem_free(r->why);
    config_free(&r->config);
    *r = (struct run_record){ 0 };
}

int run_record_adapter(char out[PATH_BYTES], const struct run_record *r, struct err *e)
{
    int code = path_join(out, r->dir, "best", e);
    return code || dir_exists(out) ? code : path_join(out, r->dir, "adapter", e);
}

/* ---- where runs are -------------------------------------------------------------------------- */

enum { DEPTH = 16 };

static int add_path(struct run_paths *p, const char *dir, struct err *e)
{
    char **at = mem_resize(p->at, p->n + 1, sizeof *at, e);
    if (!at) return e->code;
    p->at = at;
    p->at[p->n] = mem_strdup(dir, e);
    if (!p->at[p->n]) return e->code;
    p->n++;
    return 0;
}

/* Adapters hold no runs; hidden directories are temporary ones, or not the user's. */
static bool may_hold_runs(const char *name, const char *path)
{
    struct stat st;
    if (*name == '.' || strcmp(name, "adapter") == 0 || strcmp(name, "best") == 0) return false;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int find(struct run_paths *p, const char *dir, int depth, struct err *e);

static int find_below(struct run_paths *p, DIR *d, const char *dir, int depth, struct err *e)
{
    const struct dirent *entry;
    int code;
    while (!(code = dir_next(&entry, d, dir, e)) && entry) {
        char path[PATH_BYTES];
        code = path_join(path, dir, entry->d_name, e);
        if (!code && depth < DEPTH && may_hold_runs(entry->d_name, path))
            code = find(p, path, depth + 1, e);
        if (code) break;
    }
    return code;
}

/* A directory below that cannot be searched is listed too: reading it as a run says why. */
static int find(struct run_paths *p, const char *dir, int depth, struct err *e)
{
    bool used = false;
    int code = rundir_used(&used, dir, e);
    DIR *d = code ? NULL : opendir(dir);
    if (!d && depth > 0) return add_path(p, dir, e);
    if (!d) return code ? code : err_errno(e, "%s", dir);
    if (used) code = add_path(p, dir, e);
    if (!code) code = find_below(p, d, dir, depth, e);
    closedir(d);
    return code;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int run_paths_find(struct run_paths *p, const char *dir, struct err *e)
{
    *p = (struct run_paths){ 0 };
    int code = find(p, dir, 0, e);
    if (!code && p->n) qsort(p->at, p->n, sizeof *p->at, compare_paths);
    return code;
}

void run_paths_free(struct run_paths *p)
{
    for (size_t i = 0; i < p->n; i++) mem_free(p->at[i]);
    mem_free(p->at);
    *p = (struct run_paths){ 0 };
}
