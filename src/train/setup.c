#include "src/train/setup.h"
#include "src/train/publish.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/data/dataset_open.h"
#include "src/train/ranks.h"

int setup_kernels(const struct kernels **k, enum compute compute, struct err *e)
{
    const char *why;
    *k = kernels_choose(getenv("LORAC_ISA"), getenv("LORAC_GEMM"), compute, &why);
    return *k ? 0 : err_usage(e, "%s", why);
}

const char *setup_compute(char out[COMPUTE_BYTES], const struct kernels *k)
{
    const struct product_choice *p = &k->product;
    snprintf(out, COMPUTE_BYTES, "%s by %s%s%s%s", compute_name(k->compute), p->isa,
             *p->why ? " (" : "", p->why, *p->why ? ")" : "");
    return out;
}

void setup_print_compute(FILE *f, const char *label, const struct kernels *k)
{
    char text[COMPUTE_BYTES];
    if (k->compute == COMPUTE_F32) return;
    term_line(f, strlen(label), "%sfrozen products in %s; all else in f32", label,
              setup_compute(text, k));
}

void setup_note_slow(struct str *notes, const struct kernels *k, const char *instead)
{
    if (k->compute == COMPUTE_F32 || k->product.faster) return;
    str_add_line(notes,
                 "products in bf16 are no faster than in f32 on this CPU; %s rounds less, with "
                 "another result\n",
                 instead);
}

/* Words that other programs use for a template, or for having none. */
static const char *template_synonym(const char *name)
{
    static const struct {
        const char *theirs, *ours;
    } rows[] = {
        { "auto", "model" },          { "default", "model" },  { "tokenizer_default", "model" },
        { "chat_template", "model" }, { "jinja", "model" },    { "none", "plain" },
        { "null", "plain" },          { "raw", "plain" },      { "vicuna", "vicuna_v1.1" },
        { "llama-2", "llama2" },      { "llama-3", "llama3" }, { "chat_ml", "chatml" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcasecmp(name, rows[i].theirs)) return rows[i].ours;
    return NULL;
}

static int unknown_template(const char *name, struct err *e)
{
    const char *names = template_names(), *best = template_synonym(name);
    if (!best) best = str_nearest_word(name, names);
    return err_usage(e, "template %s: unknown; %s%s%sthere are %s, and model for the model's own",
                     err_quotez(name), best ? "did you mean " : "", best ? best : "",
                     best ? "? " : "", names);
}

int setup_template(const struct template **t, const char *name, const struct tokenizer *tok,
                   struct err *e)
{
    *t = NULL;
    if (strcmp(name, "model") == 0) {
        if (!tok) return err_set(e, "template model: the model has no tokenizer");
        *t = template_of_model(tok, e);
        return *t ? 0 : e->code;
    }
    int code = 0;
    if (*name == '{') {
        code = template_define(t, name, e);
    } else if (!(*t = template_named(name))) {
        code = unknown_template(name, e);
    }
    if (!code && tok) code = template_check(*t, tok, e);
    if (code) {
        template_free(*t);
        *t = NULL;
    }
    return code;
}

int setup_model_template(const struct template **t, const char *name, const struct llama *m,
                         const char *path, const struct tokenizer *tok, struct err *e)
{
    struct adapter_notes notes;
    if (strcmp(name, "model") != 0) return setup_template(t, name, tok, e);
    int code = merged_notes_of(&notes, m, path, e);
    if (code) return code;
    bool noted = notes.template && strcmp(notes.template, "model") != 0;
    code = setup_template(t, noted ? notes.template : name, tok, e);
    adapter_notes_free(&notes);
    return code;
}

/* A line when a model that was made for one template is to learn another: both are served by the
 * template that the model's files carry, unless whoever serves it says otherwise. */
static void note_other(struct setup *s, const struct template *t, const char *key, const char *path)
{
    uint8_t x[SHA256_BYTES], y[SHA256_BYTES];
    struct err unknown;
    struct str line = { 0 };
    if (!s->tok || !tokenizer_chat_template(s->tok)) return;
    const struct template *own = NULL;
    if (setup_model_template(&own, "model", &s->model, path, s->tok, &unknown)) own = NULL;
    bool same = own && !template_digest(x, t, &unknown) && !template_digest(y, own, &unknown) &&
                !memcmp(x, y, sizeof x);
    const char *name = template_name(t);
    if (own && !same) {
        str_addf(&line,
                 "%s: template %s is not the model's own chat template, %s, with which it was "
                 "trained and "
                 "is served; to keep that write template: model\n",
                 key, name, template_name(own));
    } else if (!own) {
        str_addf(
            &line,
            "%s: template %s: the model has a chat template of its own, which lorac does not "
            "know, so that template: model is not available; it is served with that one unless "
            "told otherwise\n",
            key, name);
    }
    template_free(own);
    if (line.n && (!s->notes.n || !strstr(s->notes.p, line.p))) str_addz(&s->notes, line.p);
    str_free(&line);
}

/* The template that a key of the configuration names: the error says which key. */
static int named_template(const struct template **t, const char *name, const char *key,
                          const struct config *c, struct setup *s, struct err *e)
{
    int code = setup_model_template(t, name, &s->model, c->model.path, s->tok, e);
    if (!code && strcmp(name, "model") != 0) note_other(s, *t, key, c->model.path);
    if (code != ERR_USAGE) return code;
    struct err why = *e;
    return config_error(e, c, key, "%s", why.msg);
}

static size_t choose_max_length(const struct config *c, const struct llama *m)
{
    enum { USUAL = 2048 };
    if (c->data.max_length != CONFIG_NONE) return (size_t)c->data.max_length;
    return m->dims.context < USUAL ? m->dims.context : USUAL;
}

struct records_options setup_records(const struct config *c, const struct config_source *source)
{
    return (struct records_options){ .format = source->has_format ? source->format : c->data.format,
#define COLUMN(name) .columns.name = c->data.columns.name,
                                     RECORD_COLUMNS(COLUMN)
#undef COLUMN
    };
}

static int add_source(struct data_source *to, const struct config_source *from,
                      const struct config *c, struct setup *s, struct err *e)
{
    *to = (struct data_source){
        .path = from->path,
        .records = setup_records(c, from),
        .template = s->template,
        .weight = from->weight,
    };
    if (!from->template) return 0;
    return named_template(&to->template, from->template, "data.train", c, s, e);
}

static void free_sources(struct data_source *of, size_t n, const struct setup *s)
{
    for (size_t i = 0; of && i < n; i++) {
        if (of[i].template != s->template) template_free(of[i].template);
    }
    mem_free(of);
}

static struct data_source *add_sources(const struct config_sources *from, const struct config *c,
                                       struct setup *s, struct err *e)
{
    struct data_source *to = mem_alloc(from->n, sizeof *to, e);
    for (size_t i = 0; to && i < from->n; i++) {
        if (!add_source(to + i, from->at + i, c, s, e)) continue;
        free_sources(to, i, s);
        return NULL;
    }
    return to;
}

/* Whether all files hold token ids: then no tokenizer has to exist. */
static bool all_tokens(const struct config *c)
{
    const struct config_sources *both[] = { &c->data.train, &c->data.validation.files };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->n; i++) {
            const struct config_source *s = &both[k]->at[i];
            if ((s->has_format ? s->format : c->data.format) != FORMAT_TOKENS) return false;
        }
    return true;
}

static int open_tokenizer(struct setup *s, const struct config *c, struct err *e)
{
    if (all_tokens(c)) return 0;
    const char *key = c->model.tokenizer ? "model.tokenizer" : "model.path";
    int code = tokenizer_find(&s->tok, c->model.path, c->model.tokenizer, e);
    if (!code) code = tokenizer_fit(s->tok, s->model.dims.V, c->model.path, e);
    if (code) return config_prefix(e, c, key, 0);
    if (!c->data.template) return 0;
    return named_template(&s->template, c->data.template, "data.template", c, s, e);
}

struct reading_progress {
    struct progress line;
    double start_s;
    bool any;
};

/* Small data sets are read fast enough without a progress line. */
static void show_records(size_t records, void *context)
{
    enum { WORTH_A_LINE_S = 3 };
    struct reading_progress *r = context;
    double seconds = term_now_s() - r->start_s;
    if (seconds < WORTH_A_LINE_S) return;
    r->any = true;
    progress_update(&r->line, "data: %s read, %.0f a second", str_count(records, "record"),
                    (double)records / seconds);
}

static int open_data(struct setup *s, const struct config *c, struct err *e)
{
    struct reading_progress progress = { 0 };
    struct data_source *train = add_sources(&c->data.train, c, s, e), *validation = NULL;
    if (!train) return e->code;
    validation = add_sources(&c->data.validation.files, c, s, e);
    int code = validation ? 0 : e->code;
    if (!code) {
        struct data_options o = {
            .train = train,
            .n_train = c->data.train.n,
            .validation = validation,
            .n_validation = c->data.validation.files.n,
            .validation_frac = c->data.validation.fraction,
            .render = { .train_on = c->data.train_on,
                        .train_on_eos = c->data.train_on_eos,
                        .parse_special = c->data.parse_special },
            .max_length = s->max_length,
            .overlong = c->data.overlong,
            .skip_errors = c->data.on_error == CONFIG_ON_ERROR_SKIP,
            .max_skipped_frac = c->data.max_skipped_frac,
            .deduplicate = c->data.deduplicate,
            .seed = (uint64_t)config_split_seed(c),
            .vocab_size = s->model.dims.V,
            .prepare = c->data.prepare,
            .cache_dir = c->data.cache_dir,
            .progress = show_records,
            .context = &progress,
        };
        progress_init(&progress.line, 30);
        progress.start_s = term_now_s();
        code = dataset_open(&s->data, &o, s->tok, &s->notes, e);
        if (progress.any) progress_end(&progress.line);
        if (code) config_prefix_data(e, c);
    }
    free_sources(train, c->data.train.n, s);
    free_sources(validation, c->data.validation.files.n, s);
    return code;
}

void notes_write_json(struct json_writer *w, const char *key, const struct str *notes)
{
    json_write_array(w, key, JSON_ONE_LINE);
    for (const char *p = notes->p; p && *p;) {
        size_t n = strcspn(p, "\n");
        json_write_text_n(w, NULL, p, n);
        p += n + (p[n] == '\n');
    }
    json_write_end(w);
}

static int open_all(struct setup *s, const struct config *c,
                    int (*open_model)(struct llama *, const char *, struct err *), struct err *e)
{
    *s = (struct setup){ 0 };
    int code = open_model(&s->model, c->model.path, e);
    if (code) config_prefix(e, c, "model.path", 0);
    if (!code) {
        s->max_length = choose_max_length(c, &s->model);
        if (s->max_length > s->model.dims.context) {
            code = config_error(e, c, "data.max_length",
                                "%zu tokens are more than the model's context of %zu",
                                s->max_length, s->model.dims.context);
        }
    }
    if (!code) code = open_tokenizer(s, c, e);
    if (!code) code = open_data(s, c, e);
    if (code) setup_close(s);
#ifdef __GLIBC__
    malloc_trim(0); /* what parsing left free is not part of the plan */
#endif
    return code;
}

struct opening {
    struct setup *setup;
    const struct config *config;
    int (*open_model)(struct llama *, const char *, struct err *);
};

static int open_one(void *context, struct err *e)
{
    const struct opening *o = context;
    return open_all(o->setup, o->config, o->open_model, e);
}

/* Whether the data are worth preparing: the first rank then makes the file, and hashes what it is
 * made of, and the others find it. */
static bool is_prepared(const struct config *c)
{
    const struct config_sources *both[] = { &c->data.train, &c->data.validation.files };
    uint64_t bytes = 0;
    struct stat st;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->n; i++)
            if (stat(both[k]->at[i].path, &st) == 0) bytes += (uint64_t)st.st_size;
    return c->data.prepare == PREPARE_ALWAYS ||
           (c->data.prepare == PREPARE_AUTO && bytes > PREPARE_ABOVE_BYTES);
}

static int open_by_ranks(struct setup *s, const struct config *c,
                         int (*open_model)(struct llama *, const char *, struct err *),
                         struct err *e)
{
    struct opening o = { s, c, open_model };
    *s = (struct setup){ 0 };
    int code = ranks_in_turn(is_prepared(c), open_one, &o, e);
    if (code) setup_close(s);
    return code;
}

int setup_open(struct setup *s, const struct config *c, struct err *e)
{
    return open_by_ranks(s, c, llama_open, e);
}

int setup_open_headers(struct setup *s, const struct config *c, struct err *e)
{
    return open_by_ranks(s, c, llama_open_headers, e);
}

int setup_sampler(struct sampler *s, const struct setup *setup, const struct config *c,
                  struct err *e)
{
    return sampler_init(s, setup->data.shares, setup->data.n_shares, (uint64_t)c->train.seed,
                        c->train.shuffle, e);
}

void setup_close(struct setup *s)
{
    dataset_close(&s->data);
    template_free(s->template);
    tokenizer_free(s->tok);
    llama_close(&s->model);
    str_free(&s->notes);
    *s = (struct setup){ 0 };
}
