#include "src/session/session.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/convert/adapter_files.h"
#include "src/data/chat_template.h"
#include "src/train/base_match.h"
#include "src/train/run_match.h"
#include "src/train/setup.h"

/* ---- adapters -------------------------------------------------------------------------------- */

/* Computing in f32 what was trained in bf16 is the default, and not what the run measured. */
static int note_compute(struct str *notes, const struct session_options *o, const char *path,
                        const struct adapter_notes *about, struct err *e)
{
    bool bf16 = about->compute && word_index(compute_words, about->compute) == COMPUTE_BF16;
    if (!bf16 || o->compute == COMPUTE_BF16 || o->check == CHECK_MERGE) return 0;
    str_add_line(notes,
                 "%s: was trained with train.compute: bf16, and computes here in f32, which rounds "
                 "less; --compute bf16 computes as its training did\n",
                 path);
    return str_error(notes, e);
}

/* An adapter that is in the model already would count twice, and so would one that is named
 * twice. */
static int check_merged(struct session *s, const struct adapter *a, const char *path,
                        const struct session_options *o, struct str *notes, bool *is, struct err *e)
{
    char hex[SHA256_HEX];
    *is = false;
    if (!s->merged.n && o->check != CHECK_MERGE) return 0;
    int code = adapter_digest(hex, a, e);
    if (code) return code;
    *is = digest_list_has(&s->merged, hex);
    struct digest_list in_base = s->merged;
    in_base.n = s->n_merged;
    if (*is && o->check == CHECK_MERGE && !digest_list_has(&in_base, hex)) {
        return err_usage(e,
                         "%s: the same adapter was named before, and would count twice; write it "
                         "once, with its weight after it (%s=2)",
                         path, path);
    }
    if (*is && o->check == CHECK_MERGE) {
        return err_set(
            e,
            "%s: this adapter is already merged into %s, and would count twice; use that "
            "model as it is, or merge into the base that it was made from",
            path, o->model);
    }
    if (*is) {
        str_addf(
            notes,
            "%s: is already merged into %s, and now counts twice; leave --adapter out, or name "
            "the base that it was merged into\n",
            path, o->model);
        return str_error(notes, e);
    }
    return o->check == CHECK_MERGE ? digest_list_add(&s->merged, hex, e) : 0;
}

static int open_adapter(struct session *s, struct adapter *a, const struct session_adapter *from,
                        const struct session_options *o, struct str *notes, struct err *e)
{
    bool merged;
    struct adapter_notes about;
    struct adapter_base base = { &s->model.dims, &s->model, notes };
    int code = adapter_open(a, &base, from->path, e);
    if (code) return code;
    code = check_merged(s, a, from->path, o, notes, &merged, e);
    if (!code && !merged) {
        code = adapter_notes_of(&about, NULL, from->path, e);
        if (!code) {
            code = base_note_other(notes, &s->model, from->path, &about,
                                   o->check == CHECK_GLANCE ? BASE_GLANCE : BASE_READ, o->watch, e);
            if (!code) code = note_compute(notes, o, from->path, &about, e);
            adapter_notes_free(&about);
        }
    }
    if (!code) code = adapter_weigh(a, from->weight, from->path, e);
    if (code) adapter_free(a);
    return code;
}

static int open_adapters(struct session *s, const struct session_options *o, struct str *notes,
                         struct err *e)
{
    size_t n = 0;
    if (!o->n_adapters) return 0;
    struct adapter *parts = mem_alloc(o->n_adapters, sizeof *parts, e);
    int code = parts ? base_read_merged(&s->merged, &s->model, o->model, e) : e->code;
    s->n_merged = s->merged.n;
    for (; !code && n < o->n_adapters; n += !code)
        code = open_adapter(s, &parts[n], &o->adapters[n], o, notes, e);
    if (!code && n == 1) {
        s->adapter = parts[--n];
        s->has_adapter = true;
    } else if (!code) {
        code = adapter_combine(&s->adapter, parts, n, e);
        s->has_adapter = !code;
    }
    while (n > 0) adapter_free(&parts[--n]);
    mem_free(parts);
    return code;
}

/* ---- the template ---------------------------------------------------------------------------- */

/* The template that the first adapter was trained with, if it says. */
static int template_of_adapter(struct session *s, const struct session_options *o, struct err *e)
{
    struct adapter_notes notes;
    if (!o->n_adapters) return 0;
    const char *path = o->adapters[0].path;
    int code = adapter_notes_of(&notes, NULL, path, e);
    if (code) return code;
    if (notes.template) {
        code = setup_model_template(&s->template, notes.template, &s->model, o->model, s->tok, e);
        if (code) err_prefix(e, "%s", path);
    }
    adapter_notes_free(&notes);
    return code ? ERR_FAIL : 0;
}

static int template_of_merged(struct session *s, const char *model, struct err *e)
{
    struct adapter_notes notes;
    const struct gguf *g = llama_gguf(&s->model);
    int code = merged_notes_of(&notes, &s->model, model, e);
    if (code) return code;
    if (notes.template && setup_template(&s->template, notes.template, s->tok, e)) {
        err_prefix(e, "%s: %s", model, g ? GGUF_TEMPLATE : "lorac.json");
        code = ERR_FAIL;
    }
    adapter_notes_free(&notes);
    return code;
}

/* An unknown chat template is not guessed: the model is used as if it had none. */
static int note_unknown(struct str *notes, const char *model, const struct tokenizer *tok,
                        struct err *e)
{
    const char *jinja = tokenizer_chat_template(tok), *marker;
    const char *row = chat_template_nearest(&marker, jinja, tok);
    str_add_line(notes,
                 "%s: its chat template, %s, is not one that lorac knows, and is not used: the "
                 "text is taken as it is (plain), and answers may be poor. ",
                 model, err_quotez(jinja));
    const char *other = chat_template_model(jinja);
    if (other) {
        str_add_line(notes,
                     "It looks like %s's, for which there is no template; a `template` section of "
                     "a configuration describes one\n",
                     other);
    } else if (row) {
        str_add_line(notes, "It has %s, as the template %s has: to use that, write --template %s\n",
                     marker, row, row);
    } else {
        str_add_line(notes, "To use another one, write --template NAME: %s\n", template_names());
    }
    return str_error(notes, e);
}

static int find_template(struct session *s, const struct session_options *o, struct str *notes,
                         struct err *e)
{
    struct err unknown;
    int code = template_of_adapter(s, o, e);
    if (!code && !s->template) code = template_of_merged(s, o->model, e);
    if (code || s->template || !tokenizer_chat_template(s->tok)) return code;
    s->template = template_of_model(s->tok, &unknown);
    return s->template ? 0 : note_unknown(notes, o->model, s->tok, e);
}

/* Note adapters, or a merged model, that were trained with another template than the one in use:
 * the user named one, or the adapters differ. */
static int note_templates(const struct session *s, const struct session_options *o,
                          struct str *notes, struct err *e)
{
    const struct template *used = s->template ? s->template : template_named("plain");
    struct adapter_notes about;
    int code = 0;
    for (size_t i = 0; !code && i < o->n_adapters; i++) {
        const char *path = o->adapters[i].path;
        code = adapter_notes_of(&about, NULL, path, e);
        if (code) break;
        code = run_note_template(notes, path, about.template, used, s->tok, e);
        adapter_notes_free(&about);
    }
    if (!code && !o->n_adapters) {
        code = merged_notes_of(&about, &s->model, o->model, e);
        if (!code) code = run_note_template(notes, o->model, about.template, used, s->tok, e);
        adapter_notes_free(&about);
    }
    return code;
}

/* ---- opening a session ----------------------------------------------------------------------- */

static int open_text(struct session *s, const struct session_options *o, struct str *notes,
                     struct err *e)
{
    int code = tokenizer_find(&s->tok, o->model, o->tokenizer, e);
    if (!code) code = tokenizer_fit(s->tok, s->model.dims.V, o->model, e);
    if (!code && o->template) {
        code = setup_model_template(&s->template, o->template, &s->model, o->model, s->tok, e);
    } else if (!code) {
        code = find_template(s, o, notes, e);
    }
    return code ? code : note_templates(s, o, notes, e);
}

/* The default, f32, goes without saying. */
static void note_product(struct str *notes, const struct kernels *k)
{
    char text[COMPUTE_BYTES];
    if (k->compute == COMPUTE_F32) return;
    str_add_line(notes, "products with the weights are in %s\n", setup_compute(text, k));
    setup_note_slow(notes, k, "--compute f32");
}

int session_open(struct session *s, const struct session_options *o, struct str *notes,
                 struct err *e)
{
    *s = (struct session){ 0 };
    int code = setup_kernels(&s->k, o->compute, e);
    if (!code) note_product(notes, s->k);
    if (!code) code = llama_open(&s->model, o->model, e);
    if (!code) code = open_adapters(s, o, notes, e);
    if (!code && !o->ids_only) code = open_text(s, o, notes, e);
    if (code) session_close(s);
    return code;
}

void session_close(struct session *s)
{
    if (s->has_adapter) adapter_free(&s->adapter);
    template_free(s->template);
    tokenizer_free(s->tok);
    digest_list_free(&s->merged);
    if (s->model.storage) llama_close(&s->model);
    *s = (struct session){ 0 };
}
