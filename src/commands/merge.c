/* lorac merge: a base and adapters made into one plain model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/base/rng.h"
#include "src/commands/commands.h"
#include "src/commands/job.h"
#include "src/commands/model_options.h"
#include "src/convert/adapter_files.h"
#include "src/convert/merge.h"
#include "src/data/template_jinja.h"
#include "src/model/network.h"
#include "src/model/notices.h"
#include "src/train/setup.h"

static const char *model, *tokenizer, *out, *dtype, *format;
static struct option_list adapters;
static bool verify;

static const struct option options[] = {
    { "model", 'm', "M", BASE_HELP, .text = &model },
    { "adapter", 'a', "A", ADAPTER_HELP, .list = &adapters },
    { "output", 'o', "OUT", "the directory, or with --format gguf the file, to write",
      .text = &out },
    { "dtype", 0, "T", "bf16, f16 or f32; left out: the base's, f16 where that is quantised",
      .allowed = storage_words_plain + 1, .text = &dtype },
    { "format", 'f', "F", "hf or gguf; left out: gguf when OUT ends in .gguf", .allowed = "hf gguf",
      .text = &format },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "verify", 0, NULL, "compare the result's logits with those of base and adapter",
      .flag = &verify },
    { 0 },
};

static enum storage_type choose_storage(const struct llama *m)
{
    if (dtype) return storage_named(dtype);
    enum storage_type own = llama_storage(m);
    return storage_of(own)->blocks ? STORAGE_F16 : own;
}

static bool wants_gguf(void)
{
    size_t n = strlen(out);
    if (format) return strcmp(format, "gguf") == 0;
    return n > 5 && strcmp(out + n - 5, ".gguf") == 0;
}

/* ---- --verify -------------------------------------------------------------------------------- */

enum { PROBE_TOKENS = 96 };

/* The logits after each token of a fixed random text. */
static int probe(real *logits, const struct llama *m, const struct adapter *a,
                 const struct kernels *k, const struct watch *w, struct err *e)
{
    struct network n = { 0 };
    int32_t ids[PROBE_TOKENS];
    uint32_t pos[PROBE_TOKENS];
    size_t T = m->dims.context < PROBE_TOKENS ? m->dims.context : PROBE_TOKENS;
    for (size_t t = 0; t < T; t++) {
        ids[t] = (int32_t)(rng_u32(1, RNG_SYNTH, 0, t) % m->dims.V);
        pos[t] = (uint32_t)t;
    }
    struct segment seg = { .len = (uint32_t)T, .parent = -1 };
    struct pass p = { .T = T, .ids = ids, .pos = pos, .seg = &seg, .n_seg = 1 };
    struct network_limits limits = { .rows_max = T, .seg_max = 1 };
    int code = network_plan(&n, m, a, k, &limits, e);
    if (!code) code = network_map(&n, e);
    if (!code) network_embed(&n, &p);
    for (size_t i = 0, layers = m->dims.layers; !code && i < layers; i++) {
        network_forward(&n, &p, i, i + 1, NULL);
        code = watch_step(w, (double)(i + 1), (double)layers, e);
    }
    if (!code) network_logits(&n, pos, T, logits);
    network_free(&n);
    return code;
}

static size_t likeliest(const real *z, size_t V)
{
    size_t best = 0;
    for (size_t v = 1; v < V; v++)
        if (z[v] > z[best]) best = v;
    return best;
}

/* How much rounding the weights to the type may change the logits, relative to their size. Theory
 * says about the square root of the number of roundings times half a unit in the last place;
 * measured changes are well below these values. */
static double allowed_error(enum storage_type t)
{
    return t == STORAGE_F32 ? 1e-4 : t == STORAGE_F16 ? 0.02 : 0.1;
}

static int compare(const real *want, const real *got, size_t T, size_t V, enum storage_type t,
                   struct err *e)
{
    double diff = 0, size = 0;
    size_t same = 0;
    for (size_t i = 0; i < T; i++) {
        const real *a = want + i * V, *b = got + i * V;
        same += likeliest(a, V) == likeliest(b, V);
        for (size_t v = 0; v < V; v++) {
            diff += ((double)a[v] - (double)b[v]) * ((double)a[v] - (double)b[v]);
            size += (double)a[v] * (double)a[v];
        }
    }
    job_hide();
    double error = sqrt(diff / (size > 0 ? size : 1));
    fprintf(stderr,
            "verified: logits differ by %.2e of their size (%.0e allowed for %s); the likeliest "
            "token is the same at %zu of %s\n",
            error, allowed_error(t), storage_name(t), same, str_count(T, "position"));
    if (error <= allowed_error(t)) return 0;
    return err_set(e, "%s: the merged model's logits differ by %.2e from those of base and adapter",
                   out, error);
}

static int verify_result(const struct session *x, enum storage_type t, struct err *e)
{
    struct llama merged;
    size_t V = x->model.dims.V, T = PROBE_TOKENS;
    if (x->model.dims.context < T) T = x->model.dims.context;
    real *want = mem_alloc(T * V, sizeof *want, e), *got = mem_alloc(T * V, sizeof *got, e);
    int code = want && got ? 0 : e->code;
    if (!code)
        code = probe(want, &x->model, session_adapter(x), x->k, job_watch("asking", model), e);
    if (!code) code = llama_open(&merged, out, e);
    if (!code) {
        code = probe(got, &merged, NULL, x->k, job_watch("asking", out), e);
        if (!code) code = compare(want, got, T, V, t, e);
        llama_close(&merged);
    }
    mem_free(want);
    mem_free(got);
    return code;
}

/* ---- the prompt template --------------------------------------------------------------------- */

static bool same_template(const struct template *a, const struct template *b)
{
    uint8_t x[SHA256_BYTES], y[SHA256_BYTES];
    struct err none;
    return !template_digest(x, a, &none) && !template_digest(y, b, &none) &&
           !memcmp(x, y, sizeof x);
}

/* The template's name in messages: its definition would be too long. */
static const char *short_name(const struct adapter_notes *notes)
{
    return *notes->template == '{' ? "its own, in its lorac.json" : notes->template;
}

static void note_not_written(const struct adapter_notes *notes, const char *why)
{
    fprintf(stderr,
            "note: the merged model has no place for the adapter's prompt template, %s: %s; use "
            "that template where the model is served\n",
            short_name(notes), why);
}

static void note_written(const struct adapter_notes *notes, const struct template *t,
                         const struct tokenizer *tok)
{
    fprintf(stderr, "template  the adapter's, %s, is written as the model's chat template%s\n",
            short_name(notes), tokenizer_chat_template(tok) ? ", in the place of the base's" : "");
    if (!t->input) return;
    size_t n = (size_t)(part_find(t->input, "input") - t->input);
    enum { NOTE = 6 };
    bool on_next_line = n > 0 && t->input[n - 1] == '\n';
    term_line(stderr, NOTE,
              "note: a chat message has no input of its own: where records had one, write it into "
              "the message after the instruction, a blank line and %s%s",
              err_quote(t->input, n - on_next_line), on_next_line ? " on a line of its own" : "");
}

/* The token that ends an answer, if the model's files do not name it; -1: they do. */
static int32_t new_end(const struct template *t, const struct tokenizer *tok)
{
    int32_t id = template_end(t, tok);
    return id < 0 || tokenizer_is_eos(tok, id) ? -1 : id;
}

/* Write the adapter's template as Jinja, unless the base's own template already does the same. */
static int choose_template(struct merge_options *o, struct str *jinja, const struct tokenizer *tok,
                           struct err *e)
{
    const struct template *t = NULL, *own = NULL;
    struct err why = { 0 };
    const char *inexpressible = NULL;
    int code = 0;
    if (!o->notes->template) return 0;
    if (!tok) {
        note_not_written(o->notes, "no tokenizer is written");
        return 0;
    }
    if (setup_template(&t, o->notes->template, tok, &why)) {
        note_not_written(o->notes, why.msg);
        return 0;
    }
    if (tokenizer_chat_template(tok)) own = template_of_model(tok, &why);
    if (!own || !same_template(own, t)) code = template_to_jinja(jinja, &inexpressible, t, tok, e);
    if (!code && inexpressible) note_not_written(o->notes, inexpressible);
    if (!code && jinja->n && !inexpressible) {
        o->chat_template = jinja->p;
        o->end = new_end(t, tok);
        note_written(o->notes, t, tok);
    }
    template_free(own);
    template_free(t);
    return code;
}

/* The notes of the first adapter count, as in generate. */
static int read_notes(struct adapter_notes *notes, const struct adapter_list *list,
                      const struct llama *m, struct err *e)
{
    const char *first = list->path[0];
    int code = adapter_notes_of(notes, NULL, first, e);
    for (size_t i = 1; !code && i < adapters.n; i++) {
        struct adapter_notes other;
        code = adapter_notes_of(&other, NULL, list->path[i], e);
        if (code) break;
        const char *a = notes->template, *b = other.template;
        if (a && b && strcmp(a, b) != 0) {
            fprintf(stderr,
                    "note: %s was trained with another prompt template than %s, whose template "
                    "counts\n",
                    list->path[i], first);
        }
        adapter_notes_free(&other);
    }
    if (code || notes->template) return code;
    struct adapter_notes base; /* a base that is itself a merged model keeps its own notes */
    code = merged_notes_of(&base, m, model, e);
    if (!code) notes->template = base.template;
    if (!code) base.template = NULL;
    if (!code) adapter_notes_free(&base);
    return code;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int check_output(const struct adapter_list *list, struct err *e)
{
    if (dir_exists(model) && path_within(out, model)) {
        return err_usage(e, "-o %s: lies inside the base model", out);
    }
    for (size_t i = 0; i < list->n; i++)
        if (dir_exists(list->path[i]) && path_within(out, list->path[i]))
            return err_usage(e, "-o %s: lies inside the adapter %s", out, list->path[i]);
    return 0;
}

static int merge(struct session *x, const struct adapter_list *list, struct err *e)
{
    struct adapter_notes notes = { 0 };
    struct str jinja = { 0 }, remarks = { 0 };
    struct merge_options o = { .base_path = model,
                               .dtype = choose_storage(&x->model),
                               .notes = &notes,
                               .end = -1,
                               .watch = job_watch("merging into", out),
                               .remarks = &remarks };
    int code = tokenizer_to_write(&x->tok, &x->model, model, tokenizer, e);
    o.tok = x->tok;
    o.named = tokenizer;
    if (!code) code = read_notes(&notes, list, &x->model, e);
    if (!code) code = choose_template(&o, &jinja, x->tok, e);
    char *base = notes.base_path;
    notes.base_path = (char *)(uintptr_t)model;
    notes.merged = x->merged; /* borrowed, as the path is */
    if (!code && wants_gguf()) {
        code = merge_write_gguf(&x->model, session_adapter(x), x->k, out, &o, e);
    } else if (!code) {
        code = merge_write_hf(&x->model, session_adapter(x), x->k, out, &o, e);
    }
    notes.base_path = base;
    notes.merged = (struct digest_list){ 0 };
    adapter_notes_free(&notes);
    str_free(&jinja);
    code = job_end(code, "nothing was written", e);
    if (!code) notes_print(&remarks);
    str_free(&remarks);
    if (!code) term_print(stderr, "written   %s (%s)\n", out, storage_name(o.dtype));
    const char *warning = code ? NULL : notices_warning(model);
    if (warning) term_print(stderr, "warning: %s: %s\n", model, warning);
    if (code || !verify) return code;
    job_begin();
    return job_end(verify_result(x, o.dtype, e), "the merged model is complete, but not verified",
                   e);
}

static int find_all(struct adapter_list *list, struct str *notes, struct err *e)
{
    int code = adapter_list_read(list, &adapters, notes, e);
    if (!code) code = model_find(&model, list, notes, e);
    if (!code) code = check_output(list, e);
    for (size_t i = 0; !code && i < list->n; i++)
        if (list->at[i].weight == 0)
            code = err_usage(e, "--adapter %s: nothing of it would be merged; leave it out",
                             adapters.at[i]);
    return code;
}

/* The session's notes are printed before everything about the merge. */
static int open_all(struct session *x, struct adapter_list *list, struct err *e)
{
    struct str notes = { 0 };
    int code = find_all(list, &notes, e);
    if (!code) {
        struct session_options o = { .model = model,
                                     .adapters = list->at,
                                     .n_adapters = list->n,
                                     .check = CHECK_MERGE,
                                     .watch = job_watch("hashing", model),
                                     .ids_only = true };
        code = session_open(x, &o, &notes, e);
    }
    job_hide();
    notes_print(&notes);
    str_free(&notes);
    return code;
}

static int run(int n, char **args, struct err *e)
{
    (void)n, (void)args;
    struct session x;
    if (!adapters.n) return err_usage(e, "--adapter is missing: merge what into the base?");
    if (!out) return err_usage(e, "-o is missing: where to?");
    struct adapter_list *list = mem_alloc(1, sizeof *list, e);
    job_begin();
    int code = list ? open_all(&x, list, e) : e->code;
    if (code) code = job_end(code, "nothing was written", e);
    if (!code) {
        code = merge(&x, list, e);
        session_close(&x);
    }
    mem_free(list);
    return code;
}

const struct command command_merge = {
    .name = "merge",
    .summary = "make base and adapters one plain model",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about = "W' = W + weight * scale * B A, formed in float32 and rounded once. Licence files of "
             "the base\n"
             "are copied along.",
    .examples =
        "lorac merge --adapter checkpoints/runs/demo/train -o merged --verify\n"
        "lorac merge --model models/base --adapter a=0.7 --adapter b=0.3 -o both --dtype bf16\n"
        "lorac merge --model model.gguf --adapter checkpoints/runs/demo/train -o merged.gguf\n",
    .run = run,
};
