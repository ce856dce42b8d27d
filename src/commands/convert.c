/* lorac convert: the same adapter, model or configuration in another form. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/fingerprint.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/convert_config.h"
#include "src/commands/job.h"
#include "src/commands/model_options.h"
#include "src/convert/adapter_files.h"
#include "src/convert/adapter_gguf.h"
#include "src/convert/extract.h"
#include "src/convert/merge.h"
#include "src/train/base_match.h"
#include "src/train/setup.h"

static const char *out, *model, *quantize, *extract, *tokenizer;
static int64_t r; /* 0: was not given */

static const struct option options[] = {
    { "output", 'o', "OUT",
      "a name that ends in .gguf: a GGUF file; in .yaml: a configuration; any other: a directory",
      .text = &out },
    { "model", 'm', "M",
      "of an adapter: its base, if it is not where the adapter says; the config.json of "
      "a directory, or a .gguf, is enough",
      .text = &model },
    { "quantize", 'q', "TYPE", "of a model: what its matrices are stored as; left out: as they are",
      .allowed = storage_words_written + 1, .text = &quantize },
    { "extract", 0, "BASE", "make an adapter on BASE that does what the fine-tuned model IN does",
      .text = &extract },
    { "r", 0, "R", "with --extract: its rank; left out: 16", .allowed = "[1, 512]", .integer = &r },
    { "tokenizer", 0, "FILE", "of a model: its tokenizer, if it is elsewhere", .text = &tokenizer },
    { 0 },
};

enum { RANK = 16 };

static bool wants_gguf(void)
{
    size_t n = strlen(out);
    return n > 5 && strcmp(out + n - 5, ".gguf") == 0;
}

/* ---- adapters -------------------------------------------------------------------------------- */

static int find_base(struct dims *s, const struct adapter_notes *notes, const char *path,
                     struct err *e)
{
    const char *base = model ? model : notes->base_path;
    if (!base) {
        return err_usage(e, "%s: does not say which base it is for: name it with --model", path);
    }
    if (!model && !dir_exists(base) && !file_exists(base)) {
        return err_usage(e,
                         "%s: is for the base %s, which is not there; name it with --model (its "
                         "config.json or its .gguf is enough, no weights)",
                         path, err_quotez(base));
    }
    return llama_read_shape(s, base, e);
}

/* "model" is not a template of its own: the base's tokenizer says which one it is. */
static int resolve_template(struct adapter_notes *notes, struct err *e)
{
    struct tokenizer *t;
    const struct template *known;
    if (!notes->template || strcmp(notes->template, "model") != 0) return 0;
    const char *base = model ? model : notes->base_path;
    struct llama m;
    struct err none;
    int code = tokenizer_find(&t, base, tokenizer, e);
    if (code) return code;
    if (llama_open_headers(&m, base, &none)) {
        code = setup_template(&known, "model", t, e);
    } else {
        code = setup_model_template(&known, "model", &m, base, t, e);
        llama_close(&m);
    }
    tokenizer_free(t);
    if (code) return code;
    mem_free(notes->template);
    notes->template = mem_strdup(template_definition(known), e);
    template_free(known);
    return notes->template ? 0 : e->code;
}

static int write_peft(const struct adapter *a, double dropout, const struct adapter_notes *notes,
                      struct err *e)
{
    char path[PATH_BYTES];
    int code = path_join(path, out, "adapter_config.json", e);
    if (!code && file_exists(path)) {
        code = err_set(e, "%s: holds an adapter already; choose another directory", out);
    }
    if (!code) code = dir_make(out, 0777, e);
    return code ? code : publish_adapter_in(a, dropout, notes, out, e);
}

static int write_adapter(const struct adapter *a, double dropout, struct adapter_notes *notes,
                         struct err *e)
{
    char *base = notes->base_path;
    int code = resolve_template(notes, e);
    if (!code && wants_gguf()) {
        code = adapter_gguf_write(a, notes, out, e);
        if (!code && notes->template) {
            term_print(stderr,
                       "note: a GGUF adapter has no place for its prompt template, %s: use "
                       "that where the adapter is served\n",
                       notes->template);
        }
        return code;
    }
    if (!code) {
        if (model) notes->base_path = (char *)(uintptr_t)model;
        /* licence files are copied from the base's directory, but the base may be a mere name */
        if (notes->base_path && !dir_exists(notes->base_path) && !file_exists(notes->base_path))
            notes->base_path = NULL;
        code = write_peft(a, dropout, notes, e);
        notes->base_path = base;
    }
    return code;
}

/* The base's weights are read only where they exist: its shape is enough for most adapters. */
static int open_for_base(struct adapter *a, struct adapter_notes *notes, const char *path,
                         struct err *e)
{
    struct dims s;
    struct llama m;
    struct err none;
    struct str lines = { 0 };
    const char *base = model ? model : notes->base_path;
    int code = find_base(&s, notes, path, e);
    if (code) return code;
    bool whole = !llama_open_headers(&m, base, &none);
    struct adapter_base for_base = { &s, whole ? &m : NULL, &lines };
    code = adapter_open(a, &for_base, path, e);
    if (!code && whole) code = base_note_other(&lines, &m, path, notes, BASE_GLANCE, NULL, e);
    if (!code) code = base_add_fingerprint(notes, &lines, whole ? &m : NULL, path, e);
    if (!code) notes_print(&lines);
    str_free(&lines);
    if (whole) llama_close(&m);
    return code;
}

static int convert_adapter(const char *path, struct err *e)
{
    struct adapter a = { 0 };
    struct adapter_notes notes;
    double dropout;
    if (quantize) return err_usage(e, "--quantize: is for models; adapters stay in float32");
    int code = adapter_notes_of(&notes, &dropout, path, e);
    if (code) return code;
    bool asks = notes.template && strcmp(notes.template, "model") == 0;
    if (tokenizer && !asks) {
        adapter_notes_free(&notes);
        return err_usage(e, "--tokenizer: is for models; an adapter is converted without one");
    }
    code = open_for_base(&a, &notes, path, e);
    if (!code) code = write_adapter(&a, dropout, &notes, e);
    if (!code) {
        term_print(stderr, "written   %s (adapter, r %zu, alpha %g)\n", out, a.r,
                   a.scale * (double)a.r);
    }
    adapter_free(&a);
    adapter_notes_free(&notes);
    return code;
}

/* ---- models ---------------------------------------------------------------------------------- */

static enum storage_type choose_storage(const struct llama *m)
{
    if (quantize) return storage_named(quantize);
    enum storage_type own = llama_storage(m);
    bool keeps = wants_gguf() ? storage_of(own)->written : !storage_of(own)->blocks;
    return keeps ? own : STORAGE_F16;
}

static int convert_model(const char *path, struct err *e)
{
    struct llama m;
    struct tokenizer *tok = NULL;
    const struct kernels *k;
    if (model) return err_usage(e, "--model: is for adapters; %s is a model", path);
    if (dir_exists(path) && path_within(out, path)) {
        return err_usage(e, "-o %s: lies inside the model it is made from", out);
    }
    int code = setup_kernels(&k, COMPUTE_F32, e);
    if (!code) code = llama_open(&m, path, e);
    if (code) return code;
    struct str remarks = { 0 };
    job_begin();
    struct merge_options o = { .base_path = path,
                               .dtype = choose_storage(&m),
                               .end = -1,
                               .watch = job_watch("writing", out),
                               .remarks = &remarks };
    if (storage_of(o.dtype)->blocks && !wants_gguf()) {
        code = err_usage(e, "--quantize %s: block types need a .gguf; wanted -o NAME.gguf",
                         storage_name(o.dtype));
    }
    if (!code) code = tokenizer_to_write(&tok, &m, path, tokenizer, e);
    o.tok = tok;
    o.named = tokenizer;
    struct adapter_notes notes = { 0 };
    if (!code) code = merged_notes_of(&notes, &m, path, e);
    if (notes.template || notes.merged.n) o.notes = &notes;
    if (!code)
        code = wants_gguf() ? merge_write_gguf(&m, NULL, k, out, &o, e)
                            : merge_write_hf(&m, NULL, k, out, &o, e);
    code = job_end(code, "nothing was written", e);
    if (!code) notes_print(&remarks);
    str_free(&remarks);
    if (!code) term_print(stderr, "written   %s (%s)\n", out, storage_name(o.dtype));
    adapter_notes_free(&notes);
    tokenizer_free(tok);
    llama_close(&m);
    return code;
}

/* ---- the difference of two models ------------------------------------------------------------ */

/* The content of the difference's lorac.json: the template that the model was merged with, and the
 * base. */
static int notes_of_difference(struct adapter_notes *n, const struct llama *tuned, const char *path,
                               const struct llama *base, struct err *e)
{
    char fingerprint[SHA256_HEX];
    int code = merged_notes_of(n, tuned, path, e);
    if (!code) code = fingerprint_files(fingerprint, base->files, base->n_files, e);
    if (code) return code;
    mem_free(n->base_path);
    mem_free(n->base_sha256);
    mem_free(n->base_fingerprint);
    digest_list_free(&n->merged);
    n->base_sha256 = NULL;
    n->base_path = mem_strdup(extract, e);
    n->base_fingerprint = mem_strdup(fingerprint, e);
    return n->base_path && n->base_fingerprint ? 0 : e->code;
}

static int write_extracted(const struct adapter *a, const struct extract_report *x,
                           const struct llama *tuned, const char *path, const struct llama *base,
                           struct err *e)
{
    struct adapter_notes notes = { .eval_loss = NAN };
    if (!x->changed) {
        return err_set(e, "no matrix of the model differs from that of %s: nothing to extract",
                       extract);
    }
    int code = notes_of_difference(&notes, tuned, path, base, e);
    if (!code) code = write_adapter(a, 0, &notes, e);
    adapter_notes_free(&notes);
    if (code) return code;
    fprintf(stderr, "%s %s; rank %zu holds %.2f %% of the squared difference\n",
            str_count(x->changed, "matrix"), x->changed == 1 ? "differs" : "differ", a->r,
            100 * x->kept);
    if (x->elsewhere > 0) {
        fprintf(stderr,
                "note: embeddings, head, norms or biases differ too, by %.2g of their size; an "
                "adapter cannot hold that\n",
                x->elsewhere);
    }
    term_print(stderr, "written   %s\n", out);
    return 0;
}

static int extract_difference(const char *path, struct err *e)
{
    struct llama tuned, base;
    struct adapter a;
    struct extract_report report;
    const struct kernels *k;
    if (quantize || model || tokenizer) return err_usage(e, "--extract goes with -o and --r only");
    int code = setup_kernels(&k, COMPUTE_F32, e);
    if (!code) code = llama_open(&tuned, path, e);
    if (code) return code;
    code = llama_open(&base, extract, e);
    if (!code) {
        job_begin();
        code = extract_adapter(&a, &report, &tuned, &base, r ? (size_t)r : RANK, k,
                               job_watch("comparing", path), e);
        code = job_end(code, "nothing was written", e);
        if (!code) {
            code = write_extracted(&a, &report, &tuned, path, &base, e);
            adapter_free(&a);
        }
        llama_close(&base);
    }
    llama_close(&tuned);
    return code;
}

/* Options of other conversions are not for a configuration. */
static int check_config_options(const char *path, struct err *e)
{
    const struct {
        const char *name;
        bool given;
    } rows[] = { { "model", model },
                 { "quantize", quantize },
                 { "extract", extract },
                 { "r", r },
                 { "tokenizer", tokenizer } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].given)
            return err_usage(e, "--%s: is for models and adapters; %s is a configuration",
                             rows[i].name, path);
    return 0;
}

static int run(int n, char **args, struct err *e)
{
    (void)n;
    if (!out) return err_usage(e, "-o is missing: where to?");
    if (is_config_name(args[0]) && !dir_exists(args[0])) {
        int code = check_config_options(args[0], e);
        return code ? code : convert_config(args[0], out, e);
    }
    if (extract) return extract_difference(args[0], e);
    if (r) return err_usage(e, "--r: goes with --extract only; an adapter keeps its rank");
    char path[PATH_BYTES];
    struct str notes = { 0 };
    int code = adapter_locate(path, &notes, args[0], e);
    notes_print(&notes);
    str_free(&notes);
    if (code) return code;
    return adapter_form_of(path) == ADAPTER_NONE ? convert_model(path, e)
                                                 : convert_adapter(path, e);
}

const struct command command_convert = {
    .name = "convert",
    .summary = "the same adapter, model or configuration in another form",
    .args = "IN",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .about =
        "Adapters: a PEFT directory, a run's directory, a GGUF adapter or a checkpoint becomes a "
        "PEFT\n"
        "directory or a GGUF adapter; rsLoRA and alpha patterns are folded, rows of q and k are "
        "put in the form's "
        "order.\n"
        "Models: a Hugging Face directory or a .gguf becomes either; --quantize makes it "
        "smaller.\n"
        "--extract: a fine-tuned model's difference from its base becomes an adapter (truncated "
        "SVD).\n"
        "Configurations: a LoRA training file (.yaml) of axolotl, LLaMA-Factory, mlx-lm, torchtune "
        "or TRL\n"
        "becomes one of lorac; what is left out, and what has to be put in, is said there and "
        "here.",
    .examples =
        "lorac convert checkpoints/runs/demo/train -o adapter.gguf\n"
        "lorac convert adapter.gguf --model models/base -o peft-adapter\n"
        "lorac convert checkpoints/runs/demo/step-000100.h5 -o peft-adapter\n"
        "lorac convert models/Llama-2-7b-hf --quantize q8_0 -o models/llama-2-7b-q8_0.gguf\n"
        "lorac convert models/tuned --extract models/base --r 32 -o adapter\n"
        "lorac convert theirs.yaml -o run.yaml\n",
    .run = run,
};
