#include "src/commands/inference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/convert/adapter_files.h"
#include "src/data/chat_template.h"
#include "src/train/base_match.h"
#include "src/train/run_match.h"
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

/* An adapter that is in the model already would count twice, as one that is named twice. */
static int check_merged(struct inference *x, const struct adapter *a, const char *dir,
                        const char *model, enum adapter_check check, struct str *notes, bool *is,
                        struct err *e)
{
    char hex[SHA256_HEX];
    *is = false;
    if (!x->merged.n && check != CHECK_MERGE) return 0;
    int code = adapter_digest(hex, a, e);
    if (code) return code;
    *is = digest_list_has(&x->merged, hex);
    struct digest_list in_base = x->merged;
    in_base.n = x->n_merged;
    if (*is && check == CHECK_MERGE && !digest_list_has(&in_base, hex)) {
        return err_usage(e,
                         "%s: the same adapter was named before, and would count twice; write it "
                         "once, with its weight after it (%s=2)",
                         dir, dir);
    }
    if (*is && check == CHECK_MERGE) {
        return err_set(
            e,
            "%s: this adapter is already merged into %s, and would count twice; use that "
            "model as it is, or merge into the base that it was made from",
            dir, model);
    }
    if (*is) {
        str_addf(
            notes,
            "%s: is already merged into %s, and now counts twice; leave --adapter out, or name "
            "the base that it was merged into\n",
            dir, model);
        return str_error(notes, e);
    }
    return check == CHECK_MERGE ? digest_list_add(&x->merged, hex, e) : 0;
}

static int open_adapter(struct inference *x, struct adapter *a, const char *text, const char *model,
                        enum adapter_check check, struct str *notes, struct err *e)
{
    char dir[PATH_BYTES];
    double weight;
    bool merged;
    struct adapter_notes about;
    struct adapter_base base = { &x->model.shape, &x->model, notes };
    int code = split_weight(dir, &weight, text, e);
    if (!code && check == CHECK_MERGE && weight == 0) {
        code = err_usage(e, "--adapter %s: nothing of it would be merged; leave it out", text);
    }
    if (!code) code = adapter_open(a, &base, dir, e);
    if (code) return code;
    code = check_merged(x, a, dir, model, check, notes, &merged, e);
    if (!code && !merged) {
        code = adapter_notes_of(&about, NULL, dir, e);
        if (!code) {
            code = base_note_other(notes, &x->model, dir, &about,
                                   check == CHECK_GLANCE ? BASE_GLANCE : BASE_READ, e);
            adapter_notes_free(&about);
        }
    }
    if (!code) code = adapter_weigh(a, weight, dir, e);
    if (code) adapter_free(a);
    return code;
}

static int open_adapters(struct inference *x, const struct option_list *list, const char *model,
                         enum adapter_check check, struct err *e)
{
    struct adapter parts[OPTION_LIST_MAX];
    struct str notes = { 0 };
    size_t n = 0;
    int code = list->n ? base_read_merged(&x->merged, &x->model, model, e) : 0;
    x->n_merged = x->merged.n;
    for (; !code && n < list->n; n += !code)
        code = open_adapter(x, &parts[n], list->at[n], model, check, &notes, e);
    if (!code) notes_print(&notes);
    str_free(&notes);
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
                   enum adapter_check check, struct err *e)
{
    *x = (struct inference){ 0 };
    if (!model) return err_usage(e, "--model is missing: which base?");
    int code = setup_kernels(&x->k, e);
    if (!code) code = llama_open(&x->model, model, e);
    if (!code) code = open_adapters(x, adapters, model, check, e);
    if (code) inference_close(x);
    return code;
}

int inference_adapter_path(char path[PATH_BYTES], const struct option_list *adapters, size_t i,
                           struct err *e)
{
    double weight;
    return split_weight(path, &weight, adapters->at[i], e);
}

/* The template that the first adapter was trained with, if it says. */
static int template_of_adapter(struct inference *x, const char *model,
                               const struct option_list *adapters, struct err *e)
{
    char dir[PATH_BYTES];
    double weight;
    struct adapter_notes notes;
    if (!adapters->n) return 0;
    int code = split_weight(dir, &weight, adapters->at[0], e);
    if (!code) code = adapter_notes_of(&notes, NULL, dir, e);
    if (code) return code;
    if (notes.template) {
        code = setup_model_template(&x->template, notes.template, &x->model, model, x->tok, e);
        if (code) err_prefix(e, "%s", dir);
    }
    adapter_notes_free(&notes);
    return code ? ERR_FAIL : 0;
}

static int template_of_merged(struct inference *x, const char *model, struct err *e)
{
    struct adapter_notes notes;
    const struct gguf *g = llama_gguf(&x->model);
    int code = merged_notes_of(&notes, &x->model, model, e);
    if (code) return code;
    if (notes.template && setup_template(&x->template, notes.template, x->tok, e)) {
        err_prefix(e, "%s: %s", model, g ? GGUF_TEMPLATE : "lorac.json");
        code = ERR_FAIL;
    }
    adapter_notes_free(&notes);
    return code;
}

/* A chat template that is not known is not guessed at: the model is asked as if it had none. */
static void note_unknown(const char *model, const struct tokenizer *tok)
{
    const char *jinja = tokenizer_chat_template(tok), *marker;
    const char *row = chat_template_nearest(&marker, jinja, tok);
    term_print(stderr,
               "note: %s: its chat template, %s, is not one that lorac knows, and is not used: "
               "the text is taken as it stands (plain), and answers may be poor. ",
               model, err_quotez(jinja));
    if (row) {
        term_print(stderr, "It has %s, as the template %s has: to use that, write --template %s\n",
                   marker, row, row);
    } else {
        term_print(stderr, "To use another one, write --template NAME: %s\n", template_names());
    }
}

static int find_template(struct inference *x, const char *model, const struct option_list *adapters,
                         struct err *e)
{
    struct err unknown;
    int code = template_of_adapter(x, model, adapters, e);
    if (!code && !x->template) code = template_of_merged(x, model, e);
    if (code || x->template || !tokenizer_chat_template(x->tok)) return code;
    x->template = template_of_model(x->tok, &unknown);
    if (!x->template) note_unknown(model, x->tok);
    return 0;
}

/* Adapters, or a merged model, that were trained with another template than they are asked with: one
 * was given, or they differ among each other. */
static int note_templates(const struct inference *x, const char *model,
                          const struct option_list *adapters, struct err *e)
{
    const struct template *used = x->template ? x->template : template_named("plain");
    struct str notes = { 0 };
    struct adapter_notes about;
    int code = 0;
    for (size_t i = 0; !code && i < adapters->n; i++) {
        char dir[PATH_BYTES];
        code = inference_adapter_path(dir, adapters, i, e);
        if (!code) code = adapter_notes_of(&about, NULL, dir, e);
        if (code) break;
        code = run_note_template(&notes, dir, about.template, used, x->tok, e);
        adapter_notes_free(&about);
    }
    if (!code && !adapters->n) {
        code = merged_notes_of(&about, &x->model, model, e);
        if (!code) code = run_note_template(&notes, model, about.template, used, x->tok, e);
        adapter_notes_free(&about);
    }
    if (!code) notes_print(&notes);
    str_free(&notes);
    return code;
}

int inference_open_text(struct inference *x, const char *model, const char *tokenizer,
                        const char *template, const struct option_list *adapters,
                        enum adapter_check check, struct err *e)
{
    int code = inference_open(x, model, adapters, check, e);
    if (code) return code;
    code = tokenizer_find(&x->tok, model, tokenizer, e);
    if (!code) code = tokenizer_fit(x->tok, x->model.shape.V, model, e);
    if (!code && template) {
        code = setup_model_template(&x->template, template, &x->model, model, x->tok, e);
    } else if (!code) {
        code = find_template(x, model, adapters, e);
    }
    if (!code) code = note_templates(x, model, adapters, e);
    if (code) inference_close(x);
    return code;
}

/* A tokenizer that takes the place of the base's own takes that of its chat template too. */
static int open_named(struct tokenizer **t, const struct llama *m, const char *model,
                      const char *named, struct err *e)
{
    struct tokenizer *own;
    struct err none;
    int code = tokenizer_find(t, model, named, e);
    if (!code) code = tokenizer_fit(*t, m->shape.V, model, e);
    if (code || tokenizer_chat_template(*t)) return code;
    if (tokenizer_find(&own, model, NULL, &none)) return 0;
    if (tokenizer_chat_template(own)) {
        term_print(stderr,
                   "note: the base's chat template is left out: it belongs to the base's own "
                   "tokenizer, and %s has none\n",
                   named);
    }
    tokenizer_free(own);
    return 0;
}

int tokenizer_to_write(struct tokenizer **t, const struct llama *m, const char *model,
                       const char *named, struct err *e)
{
    struct err none;
    *t = NULL;
    if (named) return open_named(t, m, model, named, e);
    if (tokenizer_find(t, model, NULL, &none)) {
        *t = NULL;
        term_print(stderr, "note: no tokenizer is written: %s\n", none.msg);
    }
    return 0;
}

void inference_close(struct inference *x)
{
    if (x->has_adapter) adapter_free(&x->adapter);
    template_free(x->template);
    tokenizer_free(x->tok);
    digest_list_free(&x->merged);
    if (x->model.storage) llama_close(&x->model);
    *x = (struct inference){ 0 };
}
