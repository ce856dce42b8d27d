/* lorac inspect: what a path is and what is in it, from headers; with --verify also whether it still is
 * what was written down about it. */
#include "src/commands/inspect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/config/config.h"
#include "src/data/template.h"
#include "src/formats/h5.h"
#include "src/formats/peft.h"
#include "src/train/checkpoint.h"
#include "src/train/publish.h"

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

/* ---- models ----------------------------------------------------------------------------------- */

int model_digest(char hex[SHA256_HEX], const struct llama *m, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char(*digests)[SHA256_HEX] = mem_alloc(m->n_files, sizeof *digests, e);
    int code = digests ? 0 : e->code;
    for (size_t i = 0; !code && i < m->n_files; i++) {
        code = sha256_file(digest, m->files[i], NULL, e);
        if (!code) hex_of(digests[i], digest);
    }
    if (!code) code = base_digest(hex, m->files, digests, m->n_files, e);
    mem_free(digests);
    return code;
}

static void add_tokenizer(struct facts *f, const char *path)
{
    struct tokenizer *t;
    struct err why;
    if (tokenizer_find(&t, path, NULL, &why)) {
        facts_add(f, "tokenizer", json_null(), "none: %s", why.msg);
        return;
    }
    const char *kind = tokenizer_kind(t) == TOKENIZER_SPM ? "SentencePiece BPE" : "byte-level BPE";
    facts_add(f, "tokenizer", json_string(kind), "%s, %zu ids, bos %d, eos %d", kind,
              tokenizer_size(t), tokenizer_bos(t), tokenizer_eos(t));
    if (tokenizer_chat_template(t)) {
        const struct template *known = template_of_model(t, &why);
        facts_add(f, "chat_template", json_string(known ? template_name(known) : "unknown"), "%s",
                  known ? template_name(known) : why.msg);
        template_free(known);
    }
    tokenizer_free(t);
}

static void add_shape(struct facts *f, const struct shape *s)
{
    static const char *const scaling[] = { "none", "linear", "llama3", "by rope_freqs" };
    char text[HUMAN_BYTES];
    size_t params = shape_linear_params(s) + s->V * s->C * (s->tied ? 1 : 2) +
                    (2 * s->layers + 1) * s->C;
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

static int inspect_model(struct facts *f, const char *path, struct err *e)
{
    struct llama m;
    char text[HUMAN_BYTES], hex[SHA256_HEX];
    int code = verify ? llama_open(&m, path, e) : llama_open_headers(&m, path, e);
    if (code) return code;
    facts_text(f, "kind", llama_gguf(&m) ? "model (GGUF)" : "model (Hugging Face)");
    add_shape(f, &m.shape);
    facts_text(f, "stored_as", dtype_name(llama_dtype(&m)));
    facts_add(f, "weight_bytes", json_integer((json_int_t)m.weight_bytes), "%s in %zu file%s",
              human_bytes(text, (double)m.weight_bytes), m.n_files, m.n_files == 1 ? "" : "s");
    add_tokenizer(f, path);
    if (verify) {
        code = model_digest(hex, &m, e);
        if (!code) facts_text(f, "sha256", hex);
        if (!code) code = verify_model(f, &m, e);
    }
    llama_close(&m);
    return code;
}

/* ---- adapters --------------------------------------------------------------------------------- */

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
    facts_text(f, "base_sha256", notes.base_sha256);
    facts_text(f, "data_sha256", notes.data_sha256);
    if (verify && notes.base_sha256 && (model || base))
        code = verify_base(f, model ? model : base, notes.base_sha256, e);
    adapter_notes_free(&notes);
    return code;
}

static void verify_values(struct facts *f, const struct peft *p)
{
    bool runs;
    const struct kernels *k = kernels_nth(0, &runs);
    size_t bad = 0, all = 0;
    for (size_t i = 0; i < p->file.n; i++) {
        const struct tensor *t = &p->file.tensors[i];
        if (t->type > DTYPE_BF16) continue;
        size_t size = t->type == DTYPE_F32 ? 4 : 2;
        for (size_t j = 0; j < t->bytes / size; j++, all++) {
            real x;
            struct matrix w = { .data = t->data + j * size, .type = t->type, .rows = 1, .cols = 1 };
            k->widen(&x, &w, 0, 0, 1);
            bad += !isfinite(x);
        }
    }
    facts_check(f, bad ? VERDICT_PROBLEM : VERDICT_OK, "values", NULL,
                "%zu, of which %zu are NaN or infinite", all, bad);
}

static int inspect_peft(struct facts *f, const char *dir, struct err *e)
{
    struct peft p;
    char text[HUMAN_BYTES];
    size_t params = 0;
    int code = peft_open(&p, dir, e);
    if (code) return code;
    const struct peft_config *c = &p.config;
    facts_text(f, "kind", "adapter (PEFT)");
    facts_count(f, "r", c->r);
    add_number(f, "lora_alpha", c->lora_alpha);
    add_number(f, "lora_dropout", c->lora_dropout);
    facts_add(f, "rslora", json_boolean(c->use_rslora), NULL);
    if (c->all_linear) {
        facts_text(f, "target_modules", "all-linear");
    } else {
        add_list(f, "target_modules", c->target_modules, c->n_targets);
    }
    for (size_t i = 0; i < p.file.n; i++) {
        size_t n = 1;
        for (unsigned d = 0; d < p.file.tensors[i].rank; d++) n *= p.file.tensors[i].dims[d];
        params += n;
    }
    facts_add(f, "parameters", json_integer((json_int_t)params), "%s in %zu tensors",
              human_count(text, (double)params), p.file.n);
    facts_text(f, "base_model", c->base_model);
    code = add_notes(f, dir, c->base_model, e);
    if (!code && verify) verify_values(f, &p);
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
    return 0;
}

static int inspect_gguf(struct facts *f, const char *path, struct err *e)
{
    struct gguf g;
    const char *type = "model";
    size_t n = 5;
    int code = gguf_open(&g, path, e);
    if (code) return code;
    code = gguf_get_string(&type, &n, &g, "general.type", false, e);
    bool adapter = n == 7 && memcmp(type, "adapter", 7) == 0;
    if (!code && adapter) code = inspect_gguf_adapter(f, &g, e);
    gguf_close(&g);
    return code || adapter ? code : inspect_model(f, path, e);
}

/* ---- runs and what they leave ----------------------------------------------------------------- */

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
    facts_add(f, key, json_deep_copy(counts), "%lld examples, %lld tokens, %lld of them targets",
              v[0], v[1], v[2]);
}

static int inspect_run(struct facts *f, const char *dir, struct err *e)
{
    enum { MOST = 4096 };
    static uint64_t steps[MOST];
    char path[PATH_BYTES];
    size_t n;
    struct rundir d = { .lock = -1 };
    int len = snprintf(d.path, sizeof d.path, "%s", dir);
    CHECK(len > 0 && len < PATH_BYTES);
    int code = path_join(path, dir, "run.json", e);
    json_t *run = code ? NULL : json_read(path, JSON_BYTES, e);
    if (!run) return e->code;
    facts_text(f, "kind", "training run");
    facts_text(f, "status", text_of(run, "status"));
    long long step = json_integer_value(json_object_get(run, "step"));
    long long total = json_integer_value(json_object_get(run, "total_steps"));
    facts_add(f, "step", json_integer(step), "%lld of %lld", step, total);
    static const char *const texts[] = { "program", "host",        "cpu",
                                         "isa",     "base_sha256", "data_sha256" };
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
    struct checkpoint_head h;
    struct config c;
    int code = checkpoint_read_head(&h, path, e);
    if (code) return code;
    facts_text(f, "kind", "checkpoint");
    facts_add(f, "step", json_integer((json_int_t)h.step), "%llu of %llu",
              (unsigned long long)h.step, (unsigned long long)h.total_steps);
    facts_text(f, "version", h.version.p);
    facts_text(f, "isa", h.isa.p);
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
            code = verify_base(f, model ? model : c.model.path, h.base_sha256.p, e);
        }
        config_free(&c);
    }
    checkpoint_head_free(&h);
    return code;
}

/* Another HDF5 file of lorac's: what it says about itself. */
static int add_prepared(struct facts *f, const char *path, struct err *e)
{
    struct h5_reader r;
    struct str format = { 0 }, sha256 = { 0 }, version = { 0 };
    char text[HUMAN_BYTES];
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = h5_get_text(&format, &r, "format", e);
    if (!code && h5_has(&r, "data_sha256")) code = h5_get_text(&sha256, &r, "data_sha256", e);
    if (!code && h5_has(&r, "version")) code = h5_get_text(&version, &r, "version", e);
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

static int inspect_h5(struct facts *f, const char *path, struct err *e)
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

/* ---- what it is ------------------------------------------------------------------------------- */

static bool holds(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    struct err ignored;
    return !path_join(path, dir, name, &ignored) && file_exists(path);
}

static bool ends(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n > m && strcmp(text + n - m, tail) == 0;
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
    if (ends(path, ".gguf")) return inspect_gguf(f, path, e);
    if (ends(path, ".h5") || ends(path, ".hdf5")) return inspect_h5(f, path, e);
    return err_set(e,
                   "%s: wanted a directory (model, adapter, run), a .gguf, or an .h5 that lorac "
                   "wrote; records are looked at by lorac data show CONFIG.yaml",
                   path);
}

static int run(int n, char **args, struct err *e)
{
    (void)n;
    struct facts f;
    facts_init(&f);
    int code = inspect(&f, args[0], e);
    if (!code) code = facts_print(&f, as_json, e);
    if (!code && f.problems) {
        code = err_set(e, "%s: %zu check%s failed", args[0], f.problems,
                       f.problems == 1 ? "" : "s");
    }
    facts_free(&f);
    return code;
}

const struct command command_inspect = {
    .name = "inspect",
    .summary = "what a model, adapter, run or checkpoint is",
    .args = "PATH",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .about =
        "Without --verify it reads headers only, whatever the size. With it, exit code 1 when\n"
        "anything is not what was written down about it.",
    .examples = "lorac inspect models/Llama-2-7b-hf\n"
                "lorac inspect checkpoints/runs/demo/train --verify\n"
                "lorac inspect checkpoints/runs/demo/train/best --json\n",
    .run = run,
};
