/* lorac eval: how well a model, with and without an adapter, predicts held-out records. */
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/config_argument.h"
#include "src/commands/eval.h"
#include "src/commands/job.h"
#include "src/commands/model_options.h"
#include "src/config/config.h"
#include "src/convert/adapter_files.h"
#include "src/data/dataset_open.h"
#include "src/train/base_match.h"
#include "src/train/prepare.h"
#include "src/train/ranks.h"
#include "src/train/ranks_check.h"
#include "src/train/run_match.h"

static const char *model, *tokenizer, *data, *format, *template, *train_on, *compute;
static struct option_list adapters;
static bool as_json, no_base;
static int64_t shown;

static const struct option options[] = {
    { "model", 'm', "M", BASE_HELP, .text = &model },
    { "adapter", 'a', "A", ADAPTER_HELP, .list = &adapters },
    { "data", 'd', "FILE", "the records; with a configuration, in the place of its own",
      .text = &data },
    { "format", 'f', "F", "their format; auto when left out", .text = &format },
    { "template", 't', "T", "the prompt template; left out: the adapter's, else the model's own",
      .text = &template },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "compute", 0, "C", COMPUTE_HELP, .allowed = COMPUTE_ALLOWED, .text = &compute },
    { "train-on", 0, "WHAT", "which tokens count: " TRAIN_ON_WORDS(WORD_TEXT, ", "),
      .allowed = TRAIN_ON_WORDS(WORD_TEXT, " "), .text = &train_on },
    { "no-base", 0, NULL, "the adapter alone: half the time", .flag = &no_base },
    { "show", 0, "N", "also the first N wrong answers, beside the right ones",
      .allowed = "[0, 1000000]", .integer = &shown },
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

static const char nothing_left[] = "nothing was written";

/* ---- the result ------------------------------------------------------------------------------ */

static int print_json(const struct exam *x, const struct exam_result *r, struct err *e)
{
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    json_write_object(&w, NULL, JSON_ONE_LINE);
    json_write_text(&w, "compute", compute_name(x->session->k->compute));
    exam_write_json(&w, r);
    int code = shown ? exam_show(x, r, (size_t)shown, &w, e) : 0;
    json_write_end(&w);
    job_hide();
    if (!code) return json_print(&s, e);
    str_free(&s);
    return code;
}

static int print_text(const struct exam *x, const struct exam_result *r, struct err *e)
{
    job_hide();
    exam_print(r);
    fflush(stdout);
    return shown ? exam_show(x, r, (size_t)shown, NULL, e) : 0;
}

static int examine(const struct exam *x, struct err *e)
{
    struct exam_result r;
    if (shown && !x->session->tok)
        return err_usage(e, "--show: there is no tokenizer, so that the records have no text");
    job_begin();
    int code = exam_measure(&r, x, !no_base, shown > 0, e);
    if (!code) code = as_json ? print_json(x, &r, e) : print_text(x, &r, e);
    exam_result_free(&r);
    return job_end(code, nothing_left, e);
}

/* ---- a model and a file ---------------------------------------------------------------------- */

/* "auto" is none of the formats, and is the default. */
static int read_format(enum data_format *out, struct err *e)
{
    if (!format || strcmp(format, "auto") == 0 || data_format_named(out, format)) return 0;
    const char *near = str_nearest_word(format, data_format_names());
    return err_usage(e, "--format %s: unknown; %s%s%sthere are %s", err_quotez(format),
                     near ? "did you mean " : "", near ? near : "", near ? "? " : "",
                     data_format_names());
}

/* These records are all for evaluation: no part is split off for training. */
static int run_data(struct err *e)
{
    struct session x = { 0 };
    struct dataset d;
    struct str notes = { 0 };
    struct data_source source = { .path = data, .weight = 1 };
    if (!data) return err_usage(e, "--data is missing: which records?");
    int code = read_format(&source.records.format, e);
    if (!code) code = ranks_check_start(NULL, e);
    if (code) return code;
    job_begin();
    struct session_options from = { .model = model,
                                    .check = ranks_me() ? CHECK_GLANCE : CHECK_READ,
                                    .watch = job_watch("hashing the base", NULL),
                                    .ids_only = source.records.format == FORMAT_TOKENS,
                                    .tokenizer = tokenizer,
                                    .compute = compute_option(compute),
                                    .template = template };
    code = model_open(&x, &from, &adapters, e);
    code = job_pause(code, nothing_left, e);
    if (code) {
        session_close(&x);
        return code;
    }
    source.template = x.template;
    struct data_options o = {
        .train = &source,
        .n_train = 1,
        .render = { .train_on = train_on ? (enum train_on)word_index(train_on_words, train_on)
                                         : TRAIN_ON_RESPONSES,
                    .train_on_eos = true },
        .max_length = x.model.dims.context,
        .vocab_size = x.model.dims.V,
        .prepare = PREPARE_NEVER,
    };
    code = dataset_open(&d, &o, x.tok, &notes, e);
    if (!code) {
        code = ranks_check_inputs(&x.model, &d, session_adapter(&x), e);
        if (!code) code = ranks_join_notes(&notes, e);
        if (!code) notes_print(&notes);
        if (!code) code = examine(&(struct exam){ &x, &d.train, &d.train_origins, &data }, e);
        dataset_close(&d);
    }
    str_free(&notes);
    session_close(&x);
    return code;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* The adapter of the run in c's output.dir, and what to know about it and the records. */
static int load_adapter(struct adapter *a, const char *dir, const struct config *c,
                        const struct setup *s, struct str *notes, struct err *e)
{
    struct adapter_notes about;
    struct adapter_base base = { &s->model.dims, &s->model, notes };
    int code = adapter_open(a, &base, dir, e);
    if (code) return code;
    code = adapter_notes_of(&about, NULL, dir, e);
    if (code) {
        adapter_free(a);
        return code;
    }
    if (ranks_me() == 0) { /* one rank hashes the base */
        code = base_note_other(notes, &s->model, dir, &about, BASE_READ,
                               job_watch("hashing the base", NULL), e);
        if (!code) code = run_note_other(notes, c, s, &about, dir, e);
        if (!code && data) code = run_note_trained(notes, c, &s->data.train, data, &about, e);
    }
    adapter_notes_free(&about);
    if (code) adapter_free(a);
    return code;
}

/* Which adapter of the run counts; only one that is not best/ is worth a note. */
static int find_adapter(char dir[PATH_BYTES], const struct config *c, struct str *notes,
                        struct err *e)
{
    struct str why = { 0 };
    if (!dir_exists(c->output.dir))
        return err_set(e, "%s: there is no run yet; lorac train makes it", c->output.dir);
    int code = adapter_locate(dir, &why, c->output.dir, e);
    if (!code && strcmp(path_base(dir), "best") != 0 && why.n) str_add(notes, why.p, why.n);
    str_free(&why);
    return code;
}

static int find_and_load(struct adapter *a, char dir[PATH_BYTES], const struct config *c,
                         const struct setup *s, struct err *e)
{
    struct str notes = { 0 };
    job_begin();
    int code = find_adapter(dir, c, &notes, e);
    if (!code) code = load_adapter(a, dir, c, s, &notes, e);
    if (code) config_prefix(e, c, "output.dir", 0);
    bool loaded = !code;
    code = job_pause(code, nothing_left, e);
    if (code && loaded) adapter_free(a);
    if (!code) notes_print(&notes);
    str_free(&notes);
    return code;
}

/* The side that was kept aside, or all records where nothing was. */
static int examine_run(const struct training *t, const struct config *c, const struct adapter *a,
                       const char *dir, struct err *e)
{
    const struct dataset *d = &t->setup.data;
    bool aside = d->validation.n > 0, own = aside && c->data.validation.files.n;
    const struct config_sources *from = own ? &c->data.validation.files : &c->data.train;
    const struct session s = { .model = t->setup.model,
                               .adapter = *a,
                               .has_adapter = true,
                               .tok = t->setup.tok,
                               .template = t->setup.template,
                               .k = t->kernels };
    const char **paths = mem_alloc(from->n, sizeof *paths, e);
    if (!paths) return e->code;
    for (size_t i = 0; i < from->n; i++) paths[i] = from->at[i].path;
    struct exam x = { &s, aside ? &d->validation : &d->train,
                      aside ? &d->validation_origins : &d->train_origins, paths };
    term_print(stderr, "%s on %s of %s%s\n", dir, str_count(x.examples->n, "example"),
               aside  ? "the validation part"
               : data ? data
                      : "the training data",
               aside || data ? "" : ": no records are kept aside, so the adapter has seen these");
    int code = examine(&x, e);
    mem_free(paths);
    return code;
}

static int use_data(struct config *c, struct err *e)
{
    enum path_kind kind;
    struct config_source *first = &c->data.train.at[0];
    if (path_look(&kind, data, e)) return e->code;
    if (kind == PATH_NOTHING) return err_set(e, "--data %s: no such file", data);
    int code = config_use_file(c, data, e);
    if (!code && format) {
        first->format = FORMAT_AUTO;
        first->has_format = true;
        code = read_format(&first->format, e);
    }
    return code;
}

/* A run's directory stands for the configuration in it, wherever it lies now. */
static int load_config(struct config *c, const char *path, char *const *overrides, size_t n,
                       struct err *e)
{
    char own[PATH_BYTES];
    if (!dir_exists(path)) return config_argument(c, path, overrides, n, e);
    int code = path_join(own, path, "config.yaml", e);
    if (!code) code = config_argument(c, own, overrides, n, e);
    return code ? code : config_set_output_dir(c, path, e);
}

/* A run's evaluation computes as its training does. */
static void note_product(struct training *t)
{
    char text[COMPUTE_BYTES];
    if (t->kernels->compute == COMPUTE_F32) return;
    str_add_line(&t->setup.notes, "train.compute: products with the weights are in %s\n",
                 setup_compute(text, t->kernels));
}

static int run_config(const char *path, char *const *overrides, size_t n, struct err *e)
{
    struct config c;
    struct training t = { 0 };
    struct adapter a = { 0 };
    char dir[PATH_BYTES];
    int code = load_config(&c, path, overrides, n, e);
    if (code) return code;
    if (data) code = use_data(&c, e);
    if (!code) code = ranks_check_start(&c, e);
    if (!code) code = prepare(&t, &c, PREPARE_TO_EVAL, e);
    if (!code) code = ranks_join_notes(&t.setup.notes, e);
    if (!code) {
        note_product(&t);
        notes_print(&t.setup.notes);
        code = find_and_load(&a, dir, &c, &t.setup, e);
    }
    if (!code) {
        code = ranks_check_inputs(&t.setup.model, &t.setup.data, &a, e);
        if (!code) code = examine_run(&t, &c, &a, dir, e);
        adapter_free(&a);
    }
    training_free(&t);
    config_free(&c);
    return code;
}

static int run(int n, char **args, struct err *e)
{
    static const struct {
        const char *option, *instead;
        const char *const *given;
    } alone[] = {
        { "model", "model.path=M after it", &model },
        { "tokenizer", "model.tokenizer=FILE after it", &tokenizer },
        { "template", "data.template=T after it", &template },
        { "train-on", "data.train_on=WHAT after it", &train_on },
        { "compute", "train.compute=C after it", &compute },
        { "adapter", "--model M --adapter A --data FILE without it", &adapters.at[0] },
    };
    if (n == 0) return run_data(e);
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
        if (*alone[i].given)
            return err_usage(e, "a configuration and --%s exclude each other: write %s",
                             alone[i].option, alone[i].instead);
    if (format && !data)
        return err_usage(e, "--format goes with --data; the configuration has data.format");
    return run_config(args[0], args + 1, (size_t)n - 1, e);
}

const struct command command_eval = {
    .name = "eval",
    .summary = "loss and accuracy, with and without the adapter",
    .args = "[CONFIG.yaml|RUN [key=value ...]]",
    .min_args = 0,
    .max_args = 256,
    .options = options,
    .about =
        "With a configuration, or a run's directory: the best adapter of the run, on the records "
        "that were kept aside, or on FILE in the run's template and format.\n"
        "The base is measured on the same records, with the adapter off.\n"
        "exact match: the examples in which every target token is the likeliest one, so that "
        "greedy generation reproduces them to the last token.\n"
        "--show prints text of the records to stdout: where the question is long, its end.",
    .examples = "lorac eval configs/demo.yaml\n"
                "lorac eval configs/demo.yaml --data held.jsonl --show 5\n"
                "lorac eval --adapter checkpoints/runs/demo/train --data held.jsonl --no-base\n"
                "lorac eval --model model.gguf --data held.jsonl --template chatml --json\n",
    .run = run,
    .by_ranks = true,
};
