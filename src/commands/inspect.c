/* lorac inspect: what a path is and what it holds, read from headers; with --verify also whether
 * its content is still what the records about it say. */
#include "src/commands/inspect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/job.h"
#include "src/config/config.h"
#include "src/convert/adapter_files.h"
#include "src/data/template.h"
#include "src/formats/h5.h"
#include "src/formats/peft.h"
#include "src/model/tensors.h"
#include "src/train/checkpoint.h"
#include "src/train/base_match.h"

static const char *model;
static bool verify, as_json;

static const struct option options[] = {
    { "verify", 0, NULL, "read everything: hashes, seals, values that are not finite",
      .flag = &verify },
    { "model", 'm', "M", "with --verify of an adapter: its base, if that is elsewhere now",
      .text = &model },
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

enum { JSON_BYTES = 1 << 24 };

/* ---- models ---------------------------------------------------------------------------------- */

int model_digest(char hex[SHA256_HEX], const struct llama *m, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char(*digests)[SHA256_HEX] = mem_alloc(m->n_files, sizeof *digests, e);
    int code = digests ? 0 : e->code;
    for (size_t i = 0; !code && i < m->n_files; i++) {
        code = sha256_file(digest, m->files[i], job_watch("hashing", path_base(m->files[i])), e);
        if (!code) hex_of(digests[i], digest);
    }
    if (!code) code = base_digest(hex, m->files, digests, m->n_files, e);
    mem_free(digests);
    return code;
}

void inspect_add_tokenizer(struct facts *f, const char *path)
{
    struct tokenizer *t;
    struct err why;
    if (tokenizer_find(&t, path, NULL, &why)) {
        facts_add(f, "tokenizer", json_null(), "none: %s", why.msg);
        return;
    }
    const char *kind = tokenizer_kind(t) == TOKENIZER_SPM ? "SentencePiece BPE" : "byte-level BPE";
    facts_add(f, "tokenizer", json_string(kind), "%s, %s, bos %d, eos %d", kind,
              str_count(tokenizer_size(t), "id"), tokenizer_bos(t), tokenizer_eos(t));
    if (tokenizer_chat_template(t)) {
        const struct template *known = template_of_model(t, &why);
        facts_add(f, "chat_template", json_string(known ? template_name(known) : "unknown"), "%s",
                  known ? template_name(known) : why.msg);
        template_free(known);
    }
    tokenizer_free(t);
}

void inspect_add_shape(struct facts *f, const struct dims *s)
{
    static const char *const scaling[] = { "none", "linear", "llama3", "by rope_freqs" };
    char text[HUMAN_BYTES];
    size_t params = model_params(s);
    facts_add(f, "parameters", json_integer((json_int_t)params), "%s",
              human_count(text, (double)params));
    facts_count(f, "layers", s->layers);
    facts_count(f, "hidden_size", s->C);
    facts_count(f, "ffn_size", s->F);
    facts_add(f, "heads", json_integer((json_int_t)s->H),
              "%zu of size %zu, %zu for keys and values", s->H, s->D, s->G);
    facts_count(f, "vocabulary", s->V);
    facts_count(f, "context", s->context);
    facts_add(f, "rope_scaling", json_string(scaling[s->scaling]), "%s (theta %g)",
              scaling[s->scaling], s->rope_theta);
    facts_add(f, "tied_head", json_boolean(s->tied), NULL);
}

/* The adapters that are merged into the model. */
static int add_merged(struct facts *f, const struct llama *m, const char *path, struct err *e)
{
    struct digest_list l = { 0 };
    struct str s = { 0 };
    int code = base_read_merged(&l, m, path, e);
    for (size_t i = 0; !code && i < l.n; i++) str_addf(&s, "%s%s", i ? " " : "", l.at[i]);
    if (!code && l.n) facts_text(f, "merged_adapters", s.p);
    str_free(&s);
    digest_list_free(&l);
    return code;
}

static int inspect_model(struct facts *f, const char *path, struct err *e)
{
    struct llama m;
    char text[HUMAN_BYTES], hex[SHA256_HEX];
    int code = verify ? llama_open(&m, path, e) : llama_open_headers(&m, path, e);
    if (code) return code;
    facts_text(f, "kind", llama_gguf(&m) ? "model (GGUF)" : "model (Hugging Face)");
    inspect_add_shape(f, &m.dims);
    facts_text(f, "stored_as", storage_name(llama_storage(&m)));
    facts_add(f, "weight_bytes", json_integer((json_int_t)m.weight_bytes), "%s in %s",
              human_bytes(text, (double)m.weight_bytes), str_count(m.n_files, "file"));
    inspect_add_tokenizer(f, path);
    code = add_merged(f, &m, path, e);
    if (!code && verify) {
        code = model_digest(hex, &m, e);
        if (!code) facts_text(f, "sha256", hex);
        if (!code) code = verify_model(f, &m, e);
    }
    llama_close(&m);
    return code;
}

/* ---- adapters -------------------------------------------------------------------------------- */

static void add_number(struct facts *f, const char *key, double v)
{
    if (isfinite(v)) facts_add(f, key, json_real(v), "%g", v);
}

static void add_list(struct facts *f, const char *key, const char *const *names, size_t n)
{
    struct str s = { 0 };
    for (size_t i = 0; i < n; i++) str_addf(&s, "%s%s", i ? " " : "", names[i]);
    facts_text(f, key, s.p ? s.p : "");
    str_free(&s);
}

/* lorac.json beside a PEFT adapter. */
static int add_notes(struct facts *f, const char *dir, const char *base, struct err *e)
{
    struct adapter_notes notes;
    int code = adapter_notes_read(&notes, dir, e);
    if (code) return code;
    facts_text(f, "template", notes.template);
    facts_text(f, "train_on", notes.train_on);
    facts_text(f, "compute", notes.compute);
    facts_text(f, "base_sha256", notes.base_sha256);
    facts_text(f, "base_fingerprint", notes.base_fingerprint);
    facts_text(f, "data_sha256", notes.data_sha256);
    if (verify && notes.base_sha256 && (model || base))
        code = verify_base(f, model ? model : base, notes.base_sha256, e);
    adapter_notes_free(&notes);
    return code;
}

/* One row of text for a setting with many values. */
static void add_patterns(struct facts *f, const char *key, const struct peft_pattern *p, size_t n,
                         bool values)
{
    struct str s = { 0 };
    for (size_t i = 0; i < n; i++) {
        str_addf(&s, "%s%s", i ? ", " : "", p[i].key);
        if (values) str_addf(&s, ": %g", p[i].value);
    }
    if (n) facts_text(f, key, s.p);
    str_free(&s);
}

static void add_layers(struct facts *f, const struct peft_config *c)
{
    struct str s = { 0 };
    for (size_t i = 0; i < c->n_layers; i++)
        str_addf(&s, "%s%lld", i ? " " : "", (long long)c->layers[i]);
    if (c->n_layers) facts_text(f, "layers_to_transform", s.p);
    str_free(&s);
}

void inspect_add_peft(struct facts *f, const struct peft_config *c)
{
    facts_count(f, "r", c->r);
    add_number(f, "lora_alpha", c->lora_alpha);
    add_number(f, "lora_dropout", c->lora_dropout);
    facts_add(f, "rslora", json_boolean(c->use_rslora), NULL);
    if (c->all_linear) {
        facts_text(f, "target_modules", "all-linear");
    } else if (c->target_regex.key) {
        facts_text(f, "target_modules", c->target_regex.key);
    } else {
        add_list(f, "target_modules", c->target_modules, c->n_targets);
    }
    if (c->exclude.n) add_list(f, "exclude_modules", c->exclude.names, c->exclude.n);
    if (c->exclude.regex.key) facts_text(f, "exclude_modules", c->exclude.regex.key);
    add_layers(f, c);
    add_patterns(f, "modules_to_save", c->save, c->n_save, false);
    add_patterns(f, "rank_pattern", c->rank_pattern, c->n_rank, true);
    add_patterns(f, "alpha_pattern", c->alpha_pattern, c->n_alpha, true);
}

/* The parts of the adapter that are ignored: a check for each line of the notes. */
static void add_peft_notes(struct facts *f, const struct peft *p)
{
    struct str notes = { 0 };
    peft_notes(&notes, p);
    for (const char *at = notes.p; at && *at;) {
        size_t n = strcspn(at, "\n");
        facts_check(f, VERDICT_NOTE, "adapter", NULL, "%.*s", (int)n, at);
        at += n + (at[n] == '\n');
    }
    str_free(&notes);
}

static int inspect_peft(struct facts *f, const char *dir, struct err *e)
{
    struct peft p;
    char text[HUMAN_BYTES];
    size_t params = 0;
    int code = peft_open(&p, dir, e);
    if (code) return code;
    facts_text(f, "kind", "adapter (PEFT)");
    inspect_add_peft(f, &p.config);
    for (size_t i = 0; i < p.file.n; i++) {
        size_t n = 1;
        for (unsigned d = 0; d < p.file.tensors[i].rank; d++) n *= p.file.tensors[i].dims[d];
        params += n;
    }
    facts_add(f, "parameters", json_integer((json_int_t)params), "%s in %s",
              human_count(text, (double)params), str_count(p.file.n, "tensor"));
    facts_text(f, "base_model", p.config.base_model);
    code = add_notes(f, dir, p.config.base_model, e);
    add_peft_notes(f, &p);
    if (!code && verify) verify_tensors(f, p.file.tensors, p.file.n);
    peft_close(&p);
    return code;
}

static int inspect_gguf_adapter(struct facts *f, const struct gguf *g, struct err *e)
{
    double alpha = 0;
    size_t r = 0, pairs = 0, params = 0;
    char text[HUMAN_BYTES];
    int code = gguf_get_double(&alpha, g, "adapter.lora.alpha", true, e);
    for (size_t i = 0; !code && i < g->n_tensors; i++) {
        const struct tensor *t = &g->tensors[i];
        size_t n = strlen(t->name);
        if (t->rank != 2) continue;
        params += t->dims[0] * t->dims[1];
        if (n < 7 || strcmp(t->name + n - 7, ".lora_b") != 0) continue;
        pairs++;
        if (t->dims[1] > r) r = t->dims[1];
    }
    if (code) return code;
    facts_text(f, "kind", "adapter (GGUF)");
    facts_count(f, "r", r);
    add_number(f, "lora_alpha", alpha);
    facts_count(f, "matrices", pairs);
    facts_add(f, "parameters", json_integer((json_int_t)params), "%s",
              human_count(text, (double)params));
    if (verify) verify_tensors(f, g->tensors, g->n_tensors);
    return 0;
}

static bool is_text(const char *text, size_t n, const char *wanted)
{
    return n == strlen(wanted) && memcmp(text, wanted, n) == 0;
}

int inspect_gguf(struct facts *f, const char *path, struct err *e)
{
    struct gguf g;
    const char *type = "model", *architecture = "";
    size_t n = 5, length = 0;
    enum family family;
    int code = gguf_open(&g, path, e);
    if (code) return code;
    code = gguf_get_string(&type, &n, &g, "general.type", false, e);
    if (!code) code = gguf_get_string(&architecture, &length, &g, "general.architecture", false, e);
    bool adapter = is_text(type, n, "adapter");
    bool known = !length || family_of_gguf(&family, architecture, length);
    bool vocabulary = !g.n_tensors;
    if (!code && adapter) {
        code = inspect_gguf_adapter(f, &g, e);
    } else if (!code && vocabulary) {
        facts_text(f, "kind", "vocabulary without a model (GGUF)");
        inspect_add_tokenizer(f, path);
    } else if (!code && !known) {
        facts_text(f, "architecture", err_quote(architecture, length));
        inspect_unusable(f, "model of another family (GGUF)", "lorac runs only Llama models");
    }
    gguf_close(&g);
    return code || adapter || vocabulary || !known ? code : inspect_model(f, path, e);
}

/* ---- runs and what they leave ---------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static void add_counts(struct facts *f, const char *key, const json_t *counts)
{
    if (!json_is_object(counts)) return;
    long long v[3];
    static const char *const names[] = { "examples", "tokens", "targets" };
    for (int i = 0; i < 3; i++) v[i] = json_integer_value(json_object_get(counts, names[i]));
    facts_add(f, key, json_deep_copy(counts), "%s, %s, %lld of them targets",
              str_count((uint64_t)v[0], "example"), str_count((uint64_t)v[1], "token"), v[2]);
}

/* The last status in run.json; a killed run could not write that it ended. */
static void add_status(struct facts *f, const char *status, const char *dir)
{
    char who[128];
    bool killed = status && strcmp(status, "running") == 0 && !runlock_busy(who, sizeof who, dir);
    if (!killed) {
        facts_text(f, "status", status);
        return;
    }
    facts_add(f, "status", json_string("killed"),
              "killed: run.json says running, but no process holds the lock; to go on: lorac train "
              "CONFIG.yaml --resume auto");
}

/* The adapter that the run's directory stands for in other commands. */
static void add_adapter(struct facts *f, const char *dir)
{
    char path[PATH_BYTES];
    struct str notes = { 0 };
    struct err none;
    if (!adapter_locate(path, &notes, dir, &none)) facts_text(f, "adapter", path);
    str_free(&notes);
}

int inspect_run(struct facts *f, const char *dir, struct err *e)
{
    enum { MOST = 4096 };
    static uint64_t steps[MOST];
    char path[PATH_BYTES];
    size_t n;
    struct rundir d = { .lock.fd = -1 };
    int len = snprintf(d.path, sizeof d.path, "%s", dir);
    CHECK(len > 0 && len < PATH_BYTES);
    int code = path_join(path, dir, "run.json", e);
    json_t *run = code ? NULL : json_read(path, JSON_BYTES, e);
    if (!run) return e->code;
    facts_text(f, "kind", "training run");
    add_status(f, text_of(run, "status"), dir);
    facts_text(f, "reason", text_of(run, "reason"));
    long long step = json_integer_value(json_object_get(run, "step"));
    long long total = json_integer_value(json_object_get(run, "total_steps"));
    facts_add(f, "step", json_integer(step), "%lld of %lld", step, total);
    static const char *const texts[] = { "program", "host",        "cpu",         "isa",
                                         "compute", "product_isa", "base_sha256", "data_sha256" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        facts_text(f, texts[i], text_of(run, texts[i]));
    add_counts(f, "training", json_object_get(run, "training"));
    add_counts(f, "validation", json_object_get(run, "validation"));
    const json_t *best = json_object_get(run, "best_eval_loss");
    if (json_is_number(best)) {
        facts_add(f, "best_eval_loss", json_real(json_number_value(best)), "%g at step %lld",
                  json_number_value(best),
                  (long long)json_integer_value(json_object_get(run, "best_step")));
    }
    add_adapter(f, dir);
    code = rundir_list(steps, MOST, &n, &d, e);
    if (!code && n > 0) {
        facts_add(f, "checkpoints", json_integer((json_int_t)n), "%zu, the newest of step %llu", n,
                  (unsigned long long)steps[0]);
    }
    if (!code && verify) code = verify_run(f, run, &d, e);
    json_decref(run);
    return code;
}

static int add_checkpoint(struct facts *f, const char *path, struct err *e)
{
    struct checkpoint_start h;
    struct config c;
    int code = checkpoint_read_start(&h, path, e);
    if (code) return code;
    facts_text(f, "kind", "checkpoint");
    facts_add(f, "step", json_integer((json_int_t)h.step), "%llu of %llu",
              (unsigned long long)h.step, (unsigned long long)h.total_steps);
    facts_text(f, "version", h.version.p);
    facts_text(f, "isa", h.isa.p);
    facts_text(f, "compute", h.compute.p);
    facts_text(f, "product_isa", h.product_isa.p);
    facts_text(f, "base_sha256", h.base_sha256.p);
    facts_text(f, "data_sha256", h.data_sha256.p);
    code = config_parse(&c, h.config.p ? h.config.p : "", h.config.n, path, NULL, 0, e);
    if (!code) {
        facts_text(f, "base_model", c.model.path);
        facts_count(f, "r", (uint64_t)c.adapter.r);
        facts_count(f, "lora_alpha", (uint64_t)c.adapter.lora_alpha);
        facts_text(f, "template", c.data.template);
        if (verify) {
            facts_check(f, VERDICT_OK, "seal", NULL, "sha256 of its content as written in it");
            code = verify_checkpoint(f, path, e);
            if (!code) code = verify_base(f, model ? model : c.model.path, h.base_sha256.p, e);
        }
        config_free(&c);
    }
    checkpoint_start_free(&h);
    return code;
}

static int get_text_if_there(struct str *out, const struct h5_reader *r, const char *name,
                             struct err *e)
{
    bool has;
    int code = h5_has(&has, r, name, e);
    return !code && has ? h5_get_text(out, r, name, e) : code;
}

/* A prepared data set, the other kind of HDF5 file that lorac writes: the facts that it holds about
 * itself. */
static int add_prepared(struct facts *f, const char *path, struct err *e)
{
    struct h5_reader r;
    struct str format = { 0 }, sha256 = { 0 }, version = { 0 };
    char text[HUMAN_BYTES];
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = h5_get_text(&format, &r, "format", e);
    if (!code) code = get_text_if_there(&sha256, &r, "data_sha256", e);
    if (!code) code = get_text_if_there(&version, &r, "version", e);
    if (!code) {
        facts_text(f, "kind", "prepared data set");
        facts_text(f, "format", format.p);
        facts_text(f, "version", version.p);
        facts_text(f, "data_sha256", sha256.p);
        facts_add(f, "bytes", json_integer((json_int_t)r.bytes), "%s",
                  human_bytes(text, (double)r.bytes));
        if (verify) facts_check(f, VERDICT_OK, "seal", NULL, "sha256 of its content holds");
    }
    str_free(&format);
    str_free(&sha256);
    str_free(&version);
    h5_close(&r);
    return code;
}

int inspect_h5(struct facts *f, const char *path, struct err *e)
{
    struct h5_reader r;
    struct str format = { 0 };
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = h5_get_text(&format, &r, "format", e);
    h5_close(&r);
    bool checkpoint = !code && format.p && strcmp(format.p, "lorac-checkpoint") == 0;
    str_free(&format);
    if (code) return code;
    return checkpoint ? add_checkpoint(f, path, e) : add_prepared(f, path, e);
}

/* ---- what it is ------------------------------------------------------------------------------ */

static bool holds(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    struct err ignored;
    return !path_join(path, dir, name, &ignored) && file_exists(path);
}

static int inspect_directory(struct facts *f, const char *path, struct err *e)
{
    if (holds(path, "adapter_config.json")) return inspect_peft(f, path, e);
    if (holds(path, "run.json")) return inspect_run(f, path, e);
    if (holds(path, "config.json")) return inspect_model(f, path, e);
    return err_set(e,
                   "%s: holds neither a model (config.json), nor an adapter (adapter_config.json), "
                   "nor a run (run.json)",
                   path);
}

static int inspect(struct facts *f, const char *path, struct err *e)
{
    facts_text(f, "path", path);
    enum path_kind kind;
    if (path_look(&kind, path, e)) return e->code;
    if (kind == PATH_DIRECTORY) return inspect_directory(f, path, e);
    if (kind == PATH_NOTHING) return err_set(e, "%s: no such file or directory", path);
    return inspect_file(f, path, verify, e);
}

static int run(int n, char **args, struct err *e)
{
    (void)n;
    struct facts f;
    facts_init(&f);
    job_begin();
    int code = job_pause(inspect(&f, args[0], e), "not everything was read, nothing was written",
                         e);
    if (!code) code = facts_print(&f, as_json, e);
    if (!code && f.problems) {
        code = err_set(e, "%s: %s failed", args[0], str_count(f.problems, "check"));
    }
    facts_free(&f);
    return code;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "what a model, adapter, run, checkpoint or any file of them is",
    .args = "PATH",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .about =
        "Without --verify it reads only headers, whatever the size. With it, the exit code is 1\n"
        "when anything is not as its records say. A single file is recognised by its content; "
        "one\n"
        "that lorac cannot use is exit code 1, with what to do instead.",
    .examples = "lorac inspect models/Llama-2-7b-hf\n"
                "lorac inspect checkpoints/runs/demo/train --verify\n"
                "lorac inspect checkpoints/runs/demo/train/best --json\n"
                "lorac inspect models/Llama-2-7b-hf/tokenizer.model\n",
    .run = run,
};
