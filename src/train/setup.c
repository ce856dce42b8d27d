#include "src/train/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

int setup_kernels(const struct kernels **k, struct err *e)
{
    const char *why;
    *k = kernels_choose(getenv("LORAC_ISA"), getenv("LORAC_GEMM"), &why);
    return *k ? 0 : err_usage(e, "%s", why);
}

static int unknown_template(const char *name, struct err *e)
{
    const char *names = template_names();
    struct str_nearest nearest = { .word = name };
    char word[64], best[64] = "";
    for (const char *p = names; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, p);
        str_nearest_try(&nearest, word);
        if (nearest.best == word) { /* the buffer is reused */
            snprintf(best, sizeof best, "%s", word);
            nearest.best = best;
        }
        p += n;
    }
    return err_usage(e, "template %s: unknown; %s%s%sthere are %s, and model for the model's own",
                     err_quotez(name), *best ? "did you mean " : "", best, *best ? "? " : "",
                     names);
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
    *t = template_named(name);
    if (!*t) return unknown_template(name, e);
    return tok ? template_check(*t, tok, e) : 0;
}

static size_t choose_max_length(const struct config *c, const struct llama *m)
{
    enum { USUAL = 2048 };
    if (c->data.max_length != CONFIG_NONE) return (size_t)c->data.max_length;
    return m->shape.context < USUAL ? m->shape.context : USUAL;
}

static enum data_format format_of(enum config_format f)
{
    enum data_format format = FORMAT_AUTO;
    CHECK(f == CONFIG_FORMAT_AUTO || data_format_named(&format, config_format_name(f)));
    return format;
}

static int add_source(struct data_source *to, const struct config_source *from,
                      const struct config *c, const struct setup *s, struct err *e)
{
    *to = (struct data_source){
        .path = from->path,
        .records = { .format = format_of(from->has_format ? from->format : c->data.format),
                     .prompt_column = c->data.columns.prompt,
                     .completion_column = c->data.columns.completion },
        .template = s->template,
        .repeat = (size_t)from->weight,
    };
    return from->template ? setup_template(&to->template, from->template, s->tok, e) : 0;
}

static struct data_source *add_sources(const struct config_sources *from, const struct config *c,
                                       const struct setup *s, struct err *e)
{
    struct data_source *to = mem_alloc(from->n, sizeof *to, e);
    for (size_t i = 0; to && i < from->n; i++) {
        if (!add_source(to + i, from->at + i, c, s, e)) continue;
        mem_free(to);
        return NULL;
    }
    return to;
}

/* Whether any file needs a tokenizer; for token ids alone none has to exist. */
static bool all_tokens(const struct config *c)
{
    const struct config_sources *both[] = { &c->data.train, &c->data.validation.files };
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->n; i++) {
            const struct config_source *s = &both[k]->at[i];
            if ((s->has_format ? s->format : c->data.format) != CONFIG_FORMAT_TOKENS) return false;
        }
    return true;
}

static int open_tokenizer(struct setup *s, const struct config *c, struct err *e)
{
    if (all_tokens(c)) return 0;
    int code = tokenizer_find(&s->tok, c->model.path, c->model.tokenizer, e);
    if (code) return code;
    if (tokenizer_size(s->tok) > s->model.shape.V) {
        return err_set(e,
                       "%s: the tokenizer has %zu ids, the model's vocabulary %zu; they do not "
                       "belong together (added tokens need a base with a larger embedding)",
                       c->model.path, tokenizer_size(s->tok), s->model.shape.V);
    }
    return c->data.template ? setup_template(&s->template, c->data.template, s->tok, e) : 0;
}

static int open_data(struct setup *s, const struct config *c, struct err *e)
{
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
            .render = { .train_on = (enum train_on)c->data.train_on,
                        .train_on_eos = c->data.train_on_eos },
            .max_length = s->max_length,
            .overlong = (enum overlong)c->data.overlong,
            .skip_errors = c->data.on_error == CONFIG_ON_ERROR_SKIP,
            .seed = (uint64_t)c->train.seed,
            .vocab_size = s->model.shape.V,
        };
        code = dataset_open(&s->data, &o, s->tok, &s->notes, e);
    }
    mem_free(train);
    mem_free(validation);
    return code;
}

/* The words of the configuration and of the data floor are the same, in the same order. */
_Static_assert((int)CONFIG_TRAIN_ON_EVERYTHING == (int)TRAIN_ON_EVERYTHING, "train_on");
_Static_assert((int)CONFIG_OVERLONG_ERROR == (int)OVERLONG_ERROR, "overlong");

int setup_open(struct setup *s, const struct config *c, struct err *e)
{
    *s = (struct setup){ 0 };
    int code = llama_open(&s->model, c->model.path, e);
    if (!code) {
        s->max_length = choose_max_length(c, &s->model);
        if (s->max_length > s->model.shape.context) {
            code = config_error(e, c, "data.max_length",
                                "%zu tokens are more than the model's context of %zu",
                                s->max_length, s->model.shape.context);
        }
    }
    if (!code) code = open_tokenizer(s, c, e);
    if (!code) code = open_data(s, c, e);
    if (code) setup_close(s);
    return code;
}

void setup_close(struct setup *s)
{
    dataset_close(&s->data);
    tokenizer_free(s->tok);
    llama_close(&s->model);
    str_free(&s->notes);
    *s = (struct setup){ 0 };
}
