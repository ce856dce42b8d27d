#include "src/train/manifest.h"

#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/base/utf8.h"
#include "src/base/version.h"
#include "src/train/budget.h"
#include "src/train/ranks.h"

enum { MANIFEST_BYTES = 1 << 24, FORMAT_VERSION = 1 };
static const char format_name[] = "lorac-run";

/* ---- objects under construction -------------------------------------------------------------- */

static int out_of_memory(struct err *e)
{
    return err_code(e, ERR_MEMORY, "run.json: out of memory");
}

/* Append to a list; takes the object. */
static int append(json_t *list, struct json_members *x, struct err *e)
{
    if (x->failed) {
        json_decref(x->o);
        return out_of_memory(e);
    }
    return json_array_append_new(list, x->o) == 0 ? 0 : out_of_memory(e);
}

static const char *now_utc(char out[32])
{
    time_t seconds = time(NULL);
    struct tm utc;
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    return out;
}

/* ---- the past -------------------------------------------------------------------------------- */

static json_t *read_old(const struct rundir *dir)
{
    char path[PATH_BYTES];
    struct err ignored;
    if (rundir_path(path, dir, "run.json", &ignored)) return NULL;
    return file_exists(path) ? json_read(path, MANIFEST_BYTES, &ignored) : NULL;
}

static uint64_t step_of(const json_t *o)
{
    return (uint64_t)json_integer_value(json_object_get(o, "step"));
}

/* The list of that name, or an empty one. */
static json_t *take_list(json_t *old, const char *name)
{
    json_t *list = json_object_get(old, name);
    return json_is_array(list) ? json_incref(list) : json_array();
}

/* Leave out what was made after `step`, which the run makes again. */
static void cut_back(json_t *list, uint64_t step)
{
    for (size_t i = json_array_size(list); i-- > 0;)
        if (step_of(json_array_get(list, i)) > step) json_array_remove(list, i);
}

static int hash_file(char hex[SHA256_HEX], const char *path, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    int code = sha256_file(digest, path, NULL, e);
    if (!code) hex_of(hex, digest);
    return code;
}

static int hash_text(char hex[SHA256_HEX], const char *text)
{
    uint8_t digest[SHA256_BYTES];
    struct err ignored;
    int code = sha256_of(digest, text, strlen(text), &ignored);
    if (!code) hex_of(hex, digest);
    return code;
}

/* The entry of `list` for that path, or -1. */
static int64_t find_output(const json_t *list, const char *path)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *found = json_string_value(json_object_get(json_array_get(list, i), "path"));
        if (found && strcmp(found, path) == 0) return (int64_t)i;
    }
    return -1;
}

static void remove_output(json_t *list, const char *path)
{
    int64_t at = find_output(list, path);
    if (at >= 0) json_array_remove(list, (size_t)at);
}

static bool has_hash(const json_t *list, int64_t at, const char *hex)
{
    const json_t *row = at >= 0 ? json_array_get(list, (size_t)at) : NULL;
    const char *sha256 = json_string_value(json_object_get(row, "sha256"));
    return sha256 && strcmp(sha256, hex) == 0;
}

/* A killed run was replacing files. One that is already what it was to become is an output now; one
 * that is still what it was stays as recorded. Any other was changed by somebody, and its record
 * stays so that this shows. */
static void settle(struct manifest *m)
{
    json_t *publishing = m->publishing, *outputs = m->outputs;
    for (size_t i = json_array_size(publishing); i-- > 0;) {
        json_t *row = json_array_get(publishing, i);
        const char *name = json_string_value(json_object_get(row, "path"));
        char path[PATH_BYTES], hex[SHA256_HEX];
        struct err ignored;
        if (!name || strcmp(name, "config.yaml") == 0) { /* written anew in any case */
            json_array_remove(publishing, i);
            continue;
        }
        if (rundir_path(path, m->about.dir, name, &ignored) || hash_file(hex, path, &ignored))
            continue;
        if (has_hash(publishing, (int64_t)i, hex)) {
            remove_output(outputs, name);
            json_array_append(outputs, row);
        } else if (!has_hash(outputs, find_output(outputs, name), hex)) {
            continue;
        }
        json_array_remove(publishing, i);
    }
}

/* What the record says of outputs is true whatever step the run goes on from: they are there. */
static void take_old(struct manifest *m, bool goes_on)
{
    json_t *old = goes_on ? read_old(m->about.dir) : NULL;
    json_t *past = m->about.work->state.step ? old : NULL;
    const char *started = json_string_value(json_object_get(past, "started_utc"));
    m->sessions = take_list(past, "sessions");
    m->checkpoints = take_list(past, "checkpoints");
    m->outputs = take_list(old, "outputs");
    m->publishing = take_list(old, "publishing");
    if (started && strlen(started) < sizeof m->started_utc) {
        memcpy(m->started_utc, started, strlen(started) + 1);
    }
    if (m->publishing && m->outputs) settle(m);
    json_decref(old);
    cut_back(m->checkpoints, m->about.work->state.step);
}

static int begin_session(struct manifest *m, const char *from, struct err *e)
{
    char now[32];
    const char *why;
    const struct kernels *k = m->about.work->kernels;
    struct json_members x = json_members_new();
    json_set_text(&x, "started_utc", now_utc(now));
    json_set_text(&x, "ended_utc", NULL);
    json_set_text(&x, "host", machine_host());
    json_set_count(&x, "threads", (uint64_t)machine_threads(&why));
    json_set_count(&x, "ranks", ranks_n());
    json_set_text(&x, "isa", k->isa);
    json_set_text(&x, "gemm", k->gemm);
    json_set_text(&x, "product_isa", k->product.isa);
    json_set_count(&x, "from_step", m->about.work->state.step);
    json_set_text(&x, "from_file", from ? path_base(from) : NULL);
    json_set_text(&x, "from_sha256", m->last_sha256);
    json_set_count(&x, "to_step", m->about.work->state.step);
    json_set_text(&x, "status", "running");
    if (!*m->started_utc) memcpy(m->started_utc, now, sizeof now);
    m->session = x.o;
    return append(m->sessions, &x, e);
}

int manifest_begin(struct manifest *m, const struct manifest_about *about, bool goes_on,
                   const char *from, struct err *e)
{
    *m = (struct manifest){ .about = *about };
    int code = from ? hash_file(m->last_sha256, from, e) : 0;
    if (code) return code;
    take_old(m, goes_on);
    if (!m->sessions || !m->checkpoints || !m->outputs || !m->publishing) return out_of_memory(e);
    return begin_session(m, from, e);
}

void manifest_free(struct manifest *m)
{
    json_decref(m->sessions);
    json_decref(m->checkpoints);
    json_decref(m->outputs);
    json_decref(m->publishing);
    *m = (struct manifest){ 0 };
}

/* ---- what is made ---------------------------------------------------------------------------- */

/* A run that was killed between a checkpoint and its note makes it again: one entry a step. */
int manifest_checkpoint(struct manifest *m, const char *path, struct err *e)
{
    char now[32], hex[SHA256_HEX];
    int code = hash_file(hex, path, e);
    if (code) return code;
    if (m->about.work->state.step) cut_back(m->checkpoints, m->about.work->state.step - 1);
    struct json_members x = json_members_new();
    json_set_count(&x, "step", m->about.work->state.step);
    json_set_text(&x, "file", path_base(path));
    json_set_text(&x, "sha256", hex);
    json_set_text(&x, "parent_sha256", m->last_sha256);
    json_set_text(&x, "written_utc", now_utc(now));
    memcpy(m->last_sha256, hex, sizeof hex);
    return append(m->checkpoints, &x, e);
}

void manifest_drop_checkpoint(struct manifest *m)
{
    if (m->about.work->state.step) cut_back(m->checkpoints, m->about.work->state.step - 1);
}

/* Append the file at `path` to the list, as `within`. */
static int add_file(struct manifest *m, json_t *list, const char *within, const char *path,
                    struct err *e)
{
    char hex[SHA256_HEX];
    struct stat st;
    int code = hash_file(hex, path, e);
    if (!code && stat(path, &st) != 0) code = err_errno(e, "%s", path);
    if (code) return code;
    struct json_members x = json_members_new();
    json_set_text(&x, "path", within);
    json_set_count(&x, "step", m->about.work->state.step);
    json_set_count(&x, "bytes", (uint64_t)st.st_size);
    json_set_text(&x, "sha256", hex);
    remove_output(list, within);
    return append(list, &x, e);
}

static const char *const published_files[] = { "adapter_model.safetensors", "adapter_config.json",
                                               "lorac.json" };
enum { PUBLISHED_FILES = sizeof published_files / sizeof *published_files };

int manifest_publishing(struct manifest *m, const char *name, const char *tmp, struct err *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < PUBLISHED_FILES; i++) {
        char within[64], path[PATH_BYTES];
        snprintf(within, sizeof within, "%s/%s", name, published_files[i]);
        code = path_join(path, tmp, published_files[i], e);
        if (!code) code = add_file(m, m->publishing, within, path, e);
    }
    return code ? code : manifest_write(m, "running", NULL, e);
}

int manifest_published(struct manifest *m, const char *name, struct err *e)
{
    for (size_t i = 0; i < PUBLISHED_FILES; i++) {
        char within[64];
        snprintf(within, sizeof within, "%s/%s", name, published_files[i]);
        int64_t at = find_output(m->publishing, within);
        if (at < 0) continue;
        remove_output(m->outputs, within);
        if (json_array_append(m->outputs, json_array_get(m->publishing, (size_t)at)) != 0)
            return out_of_memory(e);
        json_array_remove(m->publishing, (size_t)at);
    }
    return 0;
}

int manifest_replacing_config(struct manifest *m, struct err *e)
{
    static const char name[] = "config.yaml";
    char path[PATH_BYTES];
    int code = rundir_path(path, m->about.dir, name, e);
    if (code || !file_exists(path)) return code;
    code = add_file(m, m->publishing, name, path, e);
    if (!code) code = manifest_write(m, "running", NULL, e);
    remove_output(m->publishing, name); /* not in the next record, which is written after it */
    return code;
}

/* ---- the file -------------------------------------------------------------------------------- */

static void put_program(struct json_members *x)
{
    struct str libraries = { 0 };
    json_t *list = json_array();
    version_add_libraries(&libraries, "");
    char *save = NULL;
    char *text = libraries.n ? libraries.p : NULL;
    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        if (json_array_append_new(list, json_string(line)) != 0) x->failed = true;
    x->failed |= libraries.failed;
    str_free(&libraries);
    json_set_text(x, "program", "lorac " LORAC_VERSION);
    json_set_text(x, "compiler", __VERSION__);
    json_set(x, "libraries", list);
}

/* A rate of 0 was not measured. */
static void put_product(struct json_members *x, const struct product_choice *p)
{
    json_set_text(x, "product_isa", p->isa);
    json_set_text(x, "product_why", *p->why ? p->why : NULL);
    if (p->f32_rate > 0) json_set_number(x, "product_f32_flops", p->f32_rate);
    if (p->bf16_rate > 0) json_set_number(x, "product_bf16_flops", p->bf16_rate);
}

static void put_machine(struct json_members *x, const struct manifest *m)
{
    const char *why;
    const struct kernels *k = m->about.work->kernels;
    json_set_text(x, "host", machine_host());
    json_set_text(x, "cpu", machine_cpu());
    json_set_text(x, "isa", k->isa);
    json_set_text(x, "gemm", k->gemm);
    json_set_text(x, "compute", compute_name(k->compute));
    put_product(x, &k->product);
    json_set_text(x, "blas", blas_config());
    json_set_count(x, "threads", (uint64_t)machine_threads(&why));
    json_set_count(x, "ranks", ranks_n());
}

static void put_inputs(struct json_members *x, const struct inputs *in)
{
    json_t *list = json_array();
    for (size_t i = 0; i < in->n; i++) {
        struct json_members file = json_members_new();
        struct err ignored;
        json_set_text(&file, "role", in->role[i]);
        json_set_text(&file, "path", in->path[i]);
        json_set_count(&file, "bytes", in->bytes[i]);
        json_set_text(&file, "sha256", in->hashed ? in->sha256[i] : NULL);
        if (append(list, &file, &ignored)) x->failed = true;
    }
    json_set(x, "inputs", list);
}

static void put_counts(struct json_members *x, const char *key, const struct data_counts *c,
                       size_t examples)
{
    struct json_members counts = json_members_new();
    json_set_count(&counts, "examples", examples);
    for (size_t i = 0; i < COUNTS; i++)
        json_set_count(&counts, counts_table[i].run, count_of(c, &counts_table[i]));
    x->failed |= counts.failed;
    json_set(x, key, counts.o);
}

static void put_run(struct json_members *x, struct manifest *m)
{
    char config_sha256[SHA256_HEX];
    const struct training *w = m->about.work;
    const struct dataset *d = &w->setup.data;
    const struct checkpoint *state = &w->state;
    x->failed |= hash_text(config_sha256, state->config) != 0;
    put_inputs(x, m->about.inputs);
    json_set_text(x, "base_sha256", state->base_sha256);
    json_set_text(x, "data_sha256", state->data_sha256);
    json_set_text(x, "config", state->config);
    json_set_text(x, "config_sha256", config_sha256);
    put_counts(x, "training", &d->train_counts, d->train.n);
    put_counts(x, "validation", &d->validation_counts, d->validation.n);
    json_set_count(x, "adapter_parameters", w->learner.adapter.n_params);
    json_set_count(x, "step", state->step);
    json_set_count(x, "total_steps", state->total_steps);
    json_set_count(x, "best_step", state->best_step);
    json_set_number(x, "best_eval_loss", state->best_eval_loss);
    json_set_count(x, "memory_planned_bytes", budget_total_bytes(&w->setup, &w->learner));
    json_set_count(x, "memory_peak_bytes", machine_memory_peak());
    json_set(x, "sessions", json_incref(m->sessions));
    json_set(x, "checkpoints", json_incref(m->checkpoints));
    json_set(x, "outputs", json_incref(m->outputs));
    json_set(x, "publishing", json_incref(m->publishing));
}

static void end_session(struct manifest *m, const char *status, const char *now,
                        struct json_members *x)
{
    struct json_members session = { .o = m->session };
    bool running = strcmp(status, "running") == 0;
    json_set_text(&session, "ended_utc", running ? NULL : now);
    json_set_count(&session, "to_step", m->about.work->state.step);
    json_set_text(&session, "status", status);
    x->failed |= session.failed;
}

int manifest_write(struct manifest *m, const char *status, const char *reason, struct err *e)
{
    char path[PATH_BYTES], now[32];
    struct json_members x = json_members_new();
    struct str text = { 0 };
    end_session(m, status, now_utc(now), &x);
    json_set_text(&x, "format", format_name);
    json_set_count(&x, "format_version", FORMAT_VERSION);
    json_set_text(&x, "status", status);
    json_set_text(&x, "reason", reason);
    json_set_text(&x, "started_utc", m->started_utc);
    json_set_text(&x, "written_utc", now);
    put_program(&x);
    put_machine(&x, m);
    put_run(&x, m);
    json_add_document(&text, x.o);
    str_addc(&text, '\n');
    json_decref(x.o);
    int code = x.failed ? out_of_memory(e) : str_error(&text, e);
    if (!code) code = rundir_path(path, m->about.dir, "run.json", e);
    if (!code) code = file_replace(path, text.p, text.n, rundir_mode(m->about.dir), e);
    str_free(&text);
    return code;
}

bool manifest_has_status(const struct rundir *dir, const char *status)
{
    json_t *o = read_old(dir);
    const char *found = json_string_value(json_object_get(o, "status"));
    bool same = found && strcmp(found, status) == 0;
    json_decref(o);
    return same;
}
