/* lorac eval: how well a model, with or without an adapter, predicts held-out records. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/model_options.h"
#include "src/config/config.h"
#include "src/convert/adapter_files.h"
#include "src/data/dataset_open.h"
#include "src/train/base_match.h"
#include "src/train/evaluate.h"
#include "src/train/run_match.h"
#include "src/train/prepare.h"

static const char *model, *tokenizer, *data, *format, *template, *train_on;
static struct option_list adapters;
static bool as_json;

static const struct option options[] = {
    { "model", 'm', "M", "the base model", .text = &model },
    { "adapter", 'a', "A", "an adapter on it, or A=WEIGHT; several are added up",
      .list = &adapters },
    { "data", 'd', "FILE", "the records", .text = &data },
    { "format", 'f', "F", "their format; auto when left out", .text = &format },
    { "template", 't', "T", "the prompt template; left out: the adapter's, else the model's own",
      .text = &template },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "train-on", 0, "WHAT", "which tokens count: " TRAIN_ON_WORDS(WORD_TEXT, ", "),
      .allowed = TRAIN_ON_WORDS(WORD_TEXT, " "), .text = &train_on },
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

enum { EVAL_BATCH = 32, EVAL_PASS_TOKENS = 2048 };

static int print_result(const struct evaluation *v, struct err *e)
{
    if (!as_json) {
        printf("loss            %.6f\nperplexity      %.4f\ntoken accuracy  %.4f\n", v->loss,
               exp(v->loss), v->token_accuracy);
        printf("exact match     %.4f  (%.0f of %s)\n", v->exact_match,
               v->exact_match * (double)v->examples, str_count(v->examples, "example"));
        printf("targets         %zu of %s\n", v->targets, str_count(v->tokens, "token"));
        return 0;
    }
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    json_write_object(&w, NULL, JSON_ONE_LINE);
    json_write_real(&w, "loss", v->loss);
    json_write_real(&w, "perplexity", exp(v->loss));
    json_write_count(&w, "targets", v->targets);
    json_write_count(&w, "tokens", v->tokens);
    json_write_count(&w, "examples", v->examples);
    json_write_real(&w, "token_accuracy", v->token_accuracy);
    json_write_real(&w, "exact_match", v->exact_match);
    json_write_end(&w);
    return json_print(&s, e);
}

static int evaluate_examples(const struct llama *m, const struct adapter *a,
                             const struct kernels *k, const struct examples *x,
                             const struct tokenizer *tok, struct err *e)
{
    struct batch b;
    struct network n = { 0 };
    uint8_t *mute = NULL;
    int code = tok ? tokenizer_mute(&mute, tok, m->dims.V, e) : 0;
    if (code) return code;
    code = batch_init(&b, x, EVAL_BATCH, EVAL_PASS_TOKENS, true, e);
    if (code) {
        mem_free(mute);
        return code;
    }
    struct network_limits limits = { .rows_max = b.rows_max, .seg_max = b.seg_max };
    code = network_plan(&n, m, a, k, &limits, e);
    if (!code) code = network_map(&n, e);
    n.mute = mute;
    if (!code) {
        struct evaluation v;
        code = evaluate(&v, objective_named("sft"), &n, &b, NULL, e);
        if (!code && isfinite(v.loss)) {
            code = print_result(&v, e);
        } else if (!code) {
            code = err_set(e,
                           "the loss is not finite (%g), first in the pass of example %zu (counted "
                           "from 1): the model's or the adapter's numbers overflow",
                           v.loss, v.bad_example);
        }
    }
    network_free(&n);
    batch_free(&b);
    mem_free(mute);
    return code;
}

/* These records are all for evaluation: no part is split off for training. */
static int run_data(struct err *e)
{
    struct session x;
    struct dataset d;
    struct str notes = { 0 };
    struct data_source source = { .path = data, .weight = 1 };
    if (!data) return err_usage(e, "--data is missing: which records?");
    if (format && strcmp(format, "auto") != 0 &&
        !data_format_named(&source.records.format, format)) {
        const char *near = str_nearest_word(format, data_format_names());
        return err_usage(e, "--format %s: unknown; %s%s%sthere are %s", err_quotez(format),
                         near ? "did you mean " : "", near ? near : "", near ? "? " : "",
                         data_format_names());
    }
    struct session_options from = { .model = model,
                                    .check = CHECK_READ,
                                    .ids_only = source.records.format == FORMAT_TOKENS,
                                    .tokenizer = tokenizer,
                                    .template = template };
    int code = model_open(&x, &from, &adapters, e);
    if (code) return code;
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
        notes_print(&notes);
        code = evaluate_examples(&x.model, session_adapter(&x), x.k, &d.train, x.tok, e);
        dataset_close(&d);
    }
    str_free(&notes);
    session_close(&x);
    return code;
}

/* Load the best adapter of a run, and check it against the base, the data and the template that the
 * configuration names now. */
static int load_best(struct adapter *a, const struct config *c, const struct setup *s,
                     const char *dir, struct err *e)
{
    struct str notes = { 0 };
    struct adapter_notes about;
    struct adapter_base base = { &s->model.dims, &s->model, &notes };
    int code = adapter_open(a, &base, dir, e);
    if (code) return code;
    code = adapter_notes_of(&about, NULL, dir, e);
    if (!code) {
        code = base_note_other(&notes, &s->model, dir, &about, BASE_READ, NULL, e);
        if (!code) code = run_note_other(&notes, c, s, &about, dir, e);
        adapter_notes_free(&about);
    }
    if (!code) notes_print(&notes);
    str_free(&notes);
    if (code) adapter_free(a);
    return code;
}

/* With a configuration, the validation side of its data is evaluated with the best adapter of its
 * run. */
static int run_config(const char *path, char *const *overrides, size_t n, struct err *e)
{
    struct config c;
    struct training t;
    struct adapter a = { 0 };
    int code = config_load(&c, path, overrides, n, e);
    if (code) return code;
    code = prepare(&t, &c, PREPARE_TO_EVAL, e);
    if (code) {
        training_free(&t);
        config_free(&c);
        return code;
    }
    const struct setup *s = &t.setup;
    notes_print(&s->notes);
    const struct examples *x = s->data.validation.n ? &s->data.validation : &s->data.train;
    char dir[PATH_BYTES], best[PATH_BYTES];
    code = path_join(best, c.output.dir, "best", e);
    if (!code) code = path_join(dir, c.output.dir, "adapter", e);
    const char *from = dir_exists(best) ? best : dir;
    if (!code) code = load_best(&a, &c, s, from, e);
    if (code) config_prefix(e, &c, "output.dir", 0);
    if (!code) {
        term_print(stderr, "%s on %zu %s examples\n", from, x->n,
                   s->data.validation.n ? "validation" : "training (there is no validation part)");
        code = evaluate_examples(&s->model, &a, t.kernels, x, s->tok, e);
        adapter_free(&a);
    }
    training_free(&t);
    config_free(&c);
    return code;
}

static int run(int n, char **args, struct err *e)
{
    if (n == 0) return run_data(e);
    if (model || data || adapters.n) {
        return err_usage(e, "a configuration and --model, --adapter or --data exclude each other");
    }
    return run_config(args[0], args + 1, (size_t)n - 1, e);
}

const struct command command_eval = {
    .name = "eval",
    .summary = "loss, accuracy and exact match on held-out records",
    .args = "[CONFIG.yaml [key=value ...]]",
    .min_args = 0,
    .max_args = 256,
    .options = options,
    .about = "With a configuration: its validation records, with the best adapter of its run.\n"
             "exact match: the examples in which every target token is the likeliest one, so that\n"
             "greedy generation reproduces them to the last token.",
    .examples =
        "lorac eval --model models/base --adapter checkpoints/runs/demo/best --data held.jsonl\n"
        "lorac eval --model model.gguf --data held.jsonl --template chatml --json\n"
        "lorac eval configs/demo.yaml\n",
    .run = run,
};
