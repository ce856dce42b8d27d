#include "src/commands/inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/commands/adapters.h"
#include "src/train/setup.h"

/* "DIR=WEIGHT" or "DIR"; a path that exists as it stands has no weight. */
static int split_weight(char dir[PATH_BYTES], double *weight, const char *text, struct err *e)
{
    const char *equals = strrchr(text, '=');
    *weight = 1;
    size_t n = strlen(text);
    if (equals && !dir_exists(text) && !file_exists(text)) {
        char *end;
        *weight = strtod(equals + 1, &end);
        if (end == equals + 1 || *end || !isfinite(*weight)) {
            return err_usage(e, "--adapter %s: the weight behind = is no number", err_quotez(text));
        }
        n = (size_t)(equals - text);
    }
    if (n >= PATH_BYTES) return err_usage(e, "--adapter: path too long");
    memcpy(dir, text, n);
    dir[n] = 0;
    return 0;
}

static int open_adapters(struct inference *x, const struct option_list *list, struct err *e)
{
    struct adapter parts[OPTION_LIST_MAX];
    char dir[PATH_BYTES];
    size_t n = 0;
    int code = 0;
    for (; !code && n < list->n; n += !code) {
        double weight;
        code = split_weight(dir, &weight, list->at[n], e);
        if (!code) code = adapter_open(&parts[n], &x->model.shape, dir, weight, e);
    }
    if (!code && n == 1) {
        x->adapter = parts[0];
        x->has_adapter = true;
        return 0;
    }
    if (!code && n > 1) {
        code = adapter_combine(&x->adapter, parts, n, e);
        x->has_adapter = !code;
    }
    while (n > 0) adapter_free(&parts[--n]);
    return code;
}

int inference_open(struct inference *x, const char *model, const struct option_list *adapters,
                   struct err *e)
{
    *x = (struct inference){ 0 };
    if (!model) return err_usage(e, "--model is missing: which base?");
    int code = setup_kernels(&x->k, e);
    if (!code) code = llama_open(&x->model, model, e);
    if (!code) code = open_adapters(x, adapters, e);
    if (code) inference_close(x);
    return code;
}

/* The template that the first adapter was trained with, if it says. */
static int template_of_adapter(struct inference *x, const struct option_list *adapters,
                               struct err *e)
{
    char dir[PATH_BYTES];
    double weight;
    struct adapter_notes notes;
    if (!adapters->n) return 0;
    int code = split_weight(dir, &weight, adapters->at[0], e);
    if (!code) code = adapter_read_notes(&notes, NULL, dir, e);
    if (code) return code;
    if (notes.template) {
        code = setup_template(&x->template, notes.template, x->tok, e);
        if (code) err_prefix(e, "%s", dir);
    }
    adapter_notes_free(&notes);
    return code ? ERR_FAIL : 0;
}

int inference_open_text(struct inference *x, const char *model, const char *tokenizer,
                        const char *template, const struct option_list *adapters, struct err *e)
{
    int code = inference_open(x, model, adapters, e);
    if (code) return code;
    code = tokenizer_find(&x->tok, model, tokenizer, e);
    if (!code) code = tokenizer_fit(x->tok, x->model.shape.V, model, e);
    if (!code && template) {
        code = setup_template(&x->template, template, x->tok, e);
    } else if (!code) {
        struct err ignored;
        code = template_of_adapter(x, adapters, e);
        if (!code && !x->template && tokenizer_chat_template(x->tok)) {
            x->template = template_of_model(x->tok, &ignored);
        }
    }
    if (code) inference_close(x);
    return code;
}

void inference_close(struct inference *x)
{
    if (x->has_adapter) adapter_free(&x->adapter);
    template_free(x->template);
    tokenizer_free(x->tok);
    if (x->model.storage) llama_close(&x->model);
    *x = (struct inference){ 0 };
}
