/* run.json: what the run was made of, for whoever has to answer for it later. Hashes and counts, never
 * text of the data. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kernels/blas.h"
#include "src/base/json.h"
#include "src/base/machine.h"
#include "src/train/trainer.h"

int base_hash(struct trainer *t, struct err *e)
{
    if (!t->hashing) return 0;
    size_t n = t->setup.model.n_files;
    t->file_sha256 = mem_alloc(n, sizeof *t->file_sha256, e);
    if (!t->file_sha256) return e->code;
    struct hash_job *job = t->hashing;
    t->hashing = NULL;
    int code = hash_wait(job, t->file_sha256, e);
    if (!code) code = base_digest(t->base_sha256, t->setup.model.files, t->file_sha256, n, e);
    return code;
}

static void add_text(struct str *s, const char *key, const char *value)
{
    str_addf(s, "  \"%s\": ", key);
    if (value && value[0]) {
        json_add_string(s, value, strlen(value));
    } else {
        str_addz(s, "null");
    }
    str_addz(s, ",\n");
}

static void add_count(struct str *s, const char *key, uint64_t value)
{
    str_addf(s, "  \"%s\": %llu,\n", key, (unsigned long long)value);
}

static void add_counts(struct str *s, const char *key, const struct data_counts *c, size_t examples)
{
    str_addf(s,
             "  \"%s\": {\"records\": %zu, \"examples\": %zu, \"tokens\": %zu, \"targets\": %zu, ",
             key, c->records, examples, c->tokens, c->targets);
    str_addf(s, "\"malformed\": %zu, \"overlong\": %zu, \"truncated\": %zu, \"split\": %zu, ",
             c->bad, c->overlong, c->truncated, c->split);
    str_addf(s, "\"without_targets\": %zu, \"duplicates\": %zu},\n", c->without_targets,
             c->duplicates);
}

static void add_files(struct str *s, const struct trainer *t)
{
    str_addz(s, "  \"base_files\": [");
    for (size_t i = 0; i < t->setup.model.n_files; i++) {
        const char *name = path_base(t->setup.model.files[i]);
        str_addz(s, i ? ", {\"name\": " : "{\"name\": ");
        json_add_string(s, name, strlen(name));
        if (t->file_sha256) {
            str_addf(s, ", \"sha256\": \"%s\"}", t->file_sha256[i]);
        } else {
            str_addz(s, ", \"sha256\": null}");
        }
    }
    str_addz(s, "],\n");
}

int manifest_write(struct trainer *t, const char *status, struct err *e)
{
    char path[PATH_BYTES], now[32];
    const char *why;
    const struct kernels *k = t->learner.net.k;
    time_t seconds = time(NULL);
    struct tm utc;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
    struct str s = { 0 };
    str_addz(&s, "{\n");
    add_text(&s, "program", "lorac " LORAC_VERSION);
    add_text(&s, "status", status);
    add_text(&s, "written_utc", now);
    add_text(&s, "host", machine_host());
    add_text(&s, "cpu", machine_cpu());
    add_text(&s, "isa", k->isa);
    add_text(&s, "gemm", k->gemm);
    add_text(&s, "blas", blas_config());
    add_count(&s, "threads", (uint64_t)machine_threads(&why));
    add_count(&s, "ranks", 1);
    add_text(&s, "base_sha256", t->base_sha256);
    add_files(&s, t);
    add_text(&s, "data_sha256", t->data_sha256);
    add_text(&s, "config_sha256", t->config_sha256);
    add_counts(&s, "training", &t->setup.data.train_counts, t->setup.data.train.n);
    add_counts(&s, "validation", &t->setup.data.validation_counts, t->setup.data.validation.n);
    add_count(&s, "resumed_from_step", t->first_step);
    add_count(&s, "step", t->step);
    add_count(&s, "total_steps", t->total);
    add_count(&s, "best_step", t->best_step);
    str_addz(&s, "  \"best_eval_loss\": ");
    json_add_double(&s, t->best_loss);
    str_addf(&s, ",\n  \"adapter_parameters\": %zu\n}\n", t->learner.adapter.n_params);
    int code = str_error(&s, e);
    if (!code) code = rundir_path(path, &t->dir, "run.json", e);
    if (!code) code = file_replace(path, s.p, s.n, rundir_mode(&t->dir), e);
    str_free(&s);
    return code;
}
