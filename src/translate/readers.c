#include "src/translate/readers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/config/scalar.h"
#include "src/translate/sources.h"

/* The text of a scalar, or the kind of anything else. */
static const char *shown(const struct yaml_node *v)
{
    return v->kind == YAML_SCALAR ? err_quotez(v->text) : yaml_kind_name(v->kind);
}

const char *word_of(const struct word_pair *pairs, const char *word)
{
    for (; pairs->theirs; pairs++)
        if (!strcasecmp(pairs->theirs, word)) return pairs->ours;
    return NULL;
}

static const char *default_of(const char *ours)
{
    const char *text = key_named(ours)->by_default;
    return text ? text : "missing";
}

/* A value that the key does not take is left out; lack of memory is an error. */
static int leave_refused(struct translation *t, const struct theirs *g, const char *ours,
                         struct err *e)
{
    if (e->code != ERR_USAGE) return e->code;
    leave(t, g, "%s; %s stays %s", e->msg, ours, default_of(ours));
    return e->code = 0;
}

static int copy_to(struct translation *t, const char *ours, const struct theirs *g, struct err *e)
{
    if (put(t, ours, g->v, e)) return leave_refused(t, g, ours, e);
    if (g->by_default)
        remark(t, ours, "%s's default", t->from->name);
    else
        str_clear(&t->why[key_named(ours) - config_keys]);
    return 0;
}

READER(read_copy)
{
    return copy_to(t, r->ours, g, e);
}

READER(read_positive)
{
    double v;
    bool none = g->v->kind == YAML_SCALAR && !scalar_real(&v, g->v->text) && v <= 0;
    return none ? 0 : copy_to(t, r->ours, g, e);
}

READER(read_factor)
{
    int64_t n;
    (void)r, (void)e;
    const char *why = g->v->kind == YAML_SCALAR ? scalar_int(&n, g->v->text) : "";
    if (why || n < 1 || n > 1048576) {
        leave(t, g, "found %s, wanted an integer in [1, 1048576]; it counts as 1", shown(g->v));
        return 0;
    }
    multiply_batch(t, g->name, n, g->by_default);
    return 0;
}

/* Whether v is one of the words that spaces separate. */
static bool is_among(const struct yaml_node *v, const char *words)
{
    size_t n = v->kind == YAML_SCALAR ? strlen(v->text) : 0;
    for (const char *p = words; n && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (len == n && !strncasecmp(p, v->text, n)) return true;
        p += len;
    }
    return false;
}

/* `row` is "WORD WORD ...; REASON": whether v is one of the words, and the reason if not. */
static bool is_word_in(const struct yaml_node *v, const char *row, const char **reason)
{
    char words[320];
    const char *end = strchr(row, ';');
    CHECK(end && (size_t)(end - row) < sizeof words);
    memcpy(words, row, (size_t)(end - row));
    words[end - row] = 0;
    *reason = end + 2;
    return is_among(v, words);
}

READER(read_known)
{
    const char *reason;
    (void)e;
    if (!is_word_in(g->v, r->ours, &reason)) leave(t, g, "found %s: %s", shown(g->v), reason);
    return 0;
}

READER(read_optimizer)
{
    static const char whole[] =
        "adamw adamw_torch adamw_torch_fused adamw_hf paged_adamw_32bit torch.optim.AdamW";
    static const char small[] = "adamw_torch_8bit adamw_torch_4bit adamw_8bit adamw_bnb_8bit "
                                "paged_adamw_8bit ao_adamw_8bit ao_adamw_4bit";
    (void)e;
    if (is_among(g->v, small))
        tell(t, g, "found %s: AdamW is used, with its moments in f32", shown(g->v));
    else if (!is_among(g->v, whole) && !is_among(g->v, r->ours))
        leave(t, g, "found %s: AdamW is used", shown(g->v));
    return 0;
}

READER(read_only)
{
    const char *reason;
    if (is_word_in(g->v, r->ours, &reason)) return 0;
    return refuse(t, g, e, "found %s: %s", shown(g->v), reason);
}

READER(read_left_out)
{
    (void)e;
    leave(t, g, "%s", r->ours);
    return 0;
}

/* ---- paths ----------------------------------------------------------------------------------- */

bool expand_names(struct str *out, const struct translation *t, const char *text)
{
    for (const char *mark; (mark = strstr(text, "${")) != NULL;) {
        char name[128];
        size_t n = strcspn(mark + 2, "}");
        if (!mark[2 + n] || n >= sizeof name) return false;
        memcpy(name, mark + 2, n);
        name[n] = 0;
        const char *value = text_at(t, name);
        if (!value || strstr(value, "${")) return false;
        str_add(out, text, (size_t)(mark - text));
        str_addz(out, value);
        text = mark + 2 + n + 1;
    }
    str_addz(out, text);
    return true;
}

static int put_path(struct translation *t, const char *ours, const struct theirs *g, struct err *e)
{
    struct str path = { 0 };
    int code = 0;
    if (g->v->kind != YAML_SCALAR) {
        leave(t, g, "found %s, wanted a path", yaml_kind_name(g->v->kind));
    } else if (!expand_names(&path, t, g->v->text)) {
        leave(t, g, "%s: a name in ${} that is not in this file", err_quotez(g->v->text));
    } else {
        struct str whole = { 0 };
        add_path(&whole, path.p ? path.p : "");
        code = str_error(&path, e) ? e->code : str_error(&whole, e);
        if (!code && put_name(t, ours, whole.p, e)) code = leave_refused(t, g, ours, e);
        str_free(&whole);
    }
    str_free(&path);
    return code;
}

READER(read_path)
{
    return put_path(t, r->ours, g, e);
}

READER(read_model)
{
    const char *name = g->v->text;
    char path[512];
    if (g->v->kind != YAML_SCALAR || is_local(name) || strstr(name, "${"))
        return put_path(t, r->ours, g, e);
    const char *slash = strrchr(name, '/');
    snprintf(path, sizeof path, "models/%s", slash ? slash + 1 : name);
    want(t, r->ours,
         "%s is a name on the Hugging Face hub, or a path that is not here; nothing is downloaded: "
         "put in the model's directory or its .gguf; now it says %s",
         err_quotez(name), path);
    return put_name(t, r->ours, path, e);
}

READER(read_local)
{
    if (g->v->kind == YAML_SCALAR && !is_local(g->v->text)) {
        leave(t, g,
              "%s is a name on the Hugging Face hub, or a path that is not here; %s takes a path",
              err_quotez(g->v->text), r->ours);
        return 0;
    }
    return put_path(t, r->ours, g, e);
}

/* ---- words ----------------------------------------------------------------------------------- */

static const struct word_pair module_names[] = {
    { "wq", "q_proj" },    { "wk", "k_proj" },          { "wv", "v_proj" },
    { "wo", "o_proj" },    { "output_proj", "o_proj" }, { "w1", "gate_proj" },
    { "w2", "down_proj" }, { "w3", "up_proj" },         { NULL, NULL },
};

/* The last part of "self_attn.q_proj", as lorac calls the module; NULL if there is none of that
 * name. */
static const char *module_of(const char *name)
{
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    if (word_index(module_words, last) >= 0) return last;
    return word_of(module_names, last);
}

/* Adds one name to "[q_proj, ..." in `list`. */
static void add_module(struct translation *t, const struct theirs *g, struct str *list,
                       const char *name)
{
    const char *module = module_of(name);
    if (!module) {
        leave(t, g, "%s: only the layers' linear modules get an adapter: %s", err_quotez(name),
              MODULE_WORDS(NAME_TEXT, ", "));
    } else if (!list->p || !strstr(list->p, module)) {
        str_addf(list, "%s%s", list->n ? ", " : "[", module);
    }
}

static bool means_all(const char *word)
{
    static const char *const words[] = { "all", "all-linear", "all_linear", NULL };
    for (size_t i = 0; words[i]; i++)
        if (!strcasecmp(word, words[i])) return true;
    return false;
}

READER(read_modules)
{
    struct str list = { 0 };
    bool text = g->v->kind == YAML_SCALAR;
    if (t->set[CONFIG_KEY_adapter_target_modules] && g->by_default) return 0;
    if (text && means_all(g->v->text)) return put_text(t, r->ours, "all-linear", e);
    for (const char *p = text ? g->v->text : ""; *p; p += strspn(p, ", ")) {
        char name[128];
        size_t n = strcspn(p, ", ");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        add_module(t, g, &list, name);
        p += n;
    }
    for (const struct yaml_node *m = text ? NULL : g->v->child; m; m = m->next)
        if (m->kind == YAML_SCALAR) add_module(t, g, &list, m->text);
    int code = 0;
    if (list.n) {
        str_addc(&list, ']');
        code = str_error(&list, e);
        if (!code) code = put_text(t, r->ours, list.p, e);
        if (!code && g->by_default) remark(t, r->ours, "%s's default", t->from->name);
    }
    str_free(&list);
    return code;
}

READER(read_all_linear)
{
    return is_true(g->v) ? put_text(t, r->ours, "all-linear", e) : 0;
}

/* Our word for one of theirs, or else their word itself. */
static int put_word(struct translation *t, const struct row *r, const struct theirs *g,
                    const char *ours, struct err *e)
{
    if (!ours) return copy_to(t, r->ours, g, e);
    if (g->by_default) remark(t, r->ours, "%s's default", t->from->name);
    return put_text(t, r->ours, ours, e);
}

READER(read_schedule)
{
    static const struct word_pair words[] = {
        { "cosine_with_warmup", "cosine" },
        { "cosine_decay", "cosine" },
        { "get_cosine_schedule_with_warmup", "cosine" },
        { "linear_with_warmup", "linear" },
        { "linear_schedule", "linear" },
        { "get_linear_schedule_with_warmup", "linear" },
        { "get_constant_schedule", "constant" },
        { "get_constant_schedule_with_warmup", "constant_with_warmup" },
        { NULL, NULL },
    };
    const char *dot = g->v->kind == YAML_SCALAR ? strrchr(g->v->text, '.') : NULL;
    const char *ours = g->v->kind == YAML_SCALAR ? word_of(words, dot ? dot + 1 : g->v->text)
                                                 : NULL;
    return put_word(t, r, g, ours, e);
}

/* In transformers 5, warmup_steps below 1 is a part of all steps. */
READER(read_warmup)
{
    double v;
    bool part = g->v->kind == YAML_SCALAR && !scalar_real(&v, g->v->text) && v > 0 && v < 1;
    return copy_to(t, part ? "train.warmup_ratio" : r->ours, g, e);
}

READER(read_overlong)
{
    static const struct word_pair words[] = {
        { "raise", "error" }, { "truncate", "truncate" },
        { "drop", "drop" },   { "keep_start", "truncate" },
        { NULL, NULL },
    };
    const char *ours = g->v->kind == YAML_SCALAR ? word_of(words, g->v->text) : NULL;
    return put_word(t, r, g, ours, e);
}

READER(read_held_out)
{
    double v;
    if (g->v->kind == YAML_SCALAR && !scalar_real(&v, g->v->text) && v >= 1) {
        leave(t, g,
              "found %s, a number of records; %s takes a fraction below 1, or files, and stays 0",
              shown(g->v), r->ours);
        return 0;
    }
    return copy_to(t, r->ours, g, e);
}

READER(read_betas)
{
    static const char *const keys[] = { "train.adam_beta1", "train.adam_beta2" };
    const struct yaml_node *m = g->v->kind == YAML_SEQUENCE ? g->v->child : NULL;
    (void)r;
    if (!m) leave(t, g, "found %s, wanted a list of two numbers", shown(g->v));
    for (size_t i = 0; i < 2 && m; i++, m = m->next) {
        if (!put(t, keys[i], m, e)) continue;
        if (e->code != ERR_USAGE) return e->code;
        leave(t, g, "%s", e->msg);
    }
    return 0;
}

READER(read_template)
{
    static const struct word_pair words[] = {
        { "tokenizer_default", "model" },
        { "llama2", "llama2" },
        { "llama-2", "llama2" },
        { "llama3", "llama3" },
        { "chatml", "chatml" },
        { "qwen_25", "qwen2.5" },
        { "qwen", "qwen2.5" },
        { "smollm", "chatml" },
        { "smollm2", "smollm2" },
        { "vicuna", "vicuna_v1.1" },
        { "vicuna_v1.1", "vicuna_v1.1" },
        { "empty", "plain" },
        { NULL, NULL },
    };
    const char *ours = g->v->kind == YAML_SCALAR ? word_of(words, g->v->text) : NULL;
    if (!ours) {
        remark(t, r->ours, "%s %s is not a template of lorac; model: the model's own", g->name,
               shown(g->v));
        tell(t, g,
             "%s is not a template of lorac; %s is model, the model's own: datasets/README.md has "
             "the others",
             shown(g->v), r->ours);
    }
    return put_text(t, r->ours, ours ? ours : "model", e);
}

/* ---- switches -------------------------------------------------------------------------------- */

static int put_pair(struct translation *t, const char *pair, const struct theirs *g, struct err *e)
{
    char key[64];
    const char *equals = strchr(pair, '=');
    CHECK(equals && (size_t)(equals - pair) < sizeof key);
    memcpy(key, pair, (size_t)(equals - pair));
    key[equals - pair] = 0;
    if (g->by_default) remark(t, key, "%s's default", t->from->name);
    return put_text(t, key, equals + 1, e);
}

READER(read_if_true)
{
    return is_true(g->v) ? put_pair(t, r->ours, g, e) : 0;
}

READER(read_if_false)
{
    return is_false(g->v) ? put_pair(t, r->ours, g, e) : 0;
}
