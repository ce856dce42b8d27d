#include "src/config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/safe.h"
#include "src/config/keys.h"
#include "src/config/value.h"
#include "src/config/yaml.h"

void config_free(struct config *c)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) value_free(c, &config_keys[i]);
    mem_free(c->file);
    *c = (struct config){ 0 };
}

/* A configuration while it is read. */
struct reading {
    struct config *c;
    struct complaints *all;
    bool wrong[CONFIG_KEYS]; /* which values could not be read */
    struct err *e;
};

static int complain(struct reading *r, size_t line)
{
    return complaints_add(r->all, line, r->e);
}

/* ---- the file -------------------------------------------------------------------------------- */

/* What another trainer's value means where lorac has a section of that name. */
static const struct {
    const char *section, *remedy;
} one_value[] = {
    { "model", "write model: and below it, indented, path:" },
    { "data", "write data: and below it, indented, train:" },
    { "adapter", "adapters are always LoRA; leave it out, or write keys such as r: below it" },
    { "train", "'lorac train' trains whatever is written here; leave it out" },
    { "output", "write output: and below it, indented, dir:" },
};

static int refuse_structure(struct reading *r, const struct yaml_node *v, const char *section)
{
    const char *where = r->c->file, *remedy = NULL;
    struct str keys = { 0 };
    key_list(&keys, section);
    for (size_t i = 0; section && i < sizeof one_value / sizeof *one_value; i++)
        if (v->kind == YAML_SCALAR && !strcmp(section, one_value[i].section))
            remedy = one_value[i].remedy;
    if (!section) remedy = "data are named in it as data.train";
    /* A whole file of text may be the user's data, which no message shows. */
    bool quotes = v->kind == YAML_SCALAR && section;
    err_usage(r->e, "%s:%zu: %s%sfound %s, wanted %s: %s%s%s", where, v->line,
              section ? section : "", section ? ": " : "",
              quotes ? err_quotez(v->text) : yaml_kind_name(v->kind),
              section ? "a section with keys of" : "a configuration with the sections",
              keys.p ? keys.p : "", remedy ? "; " : "", remedy ? remedy : "");
    str_free(&keys);
    return complain(r, v->line);
}

static int tell_fault(void *to, const struct key *k, size_t line, struct err *e)
{
    struct reading *r = to;
    err_prefix(e, "%s:%zu: %s", r->c->file, line, k->name);
    return complain(r, line);
}

/* One member of a section. */
static int read_member(struct reading *r, const char *section, const struct yaml_node *m)
{
    struct config *c = r->c;
    char name[128];
    snprintf(name, sizeof name, "%s.%s", section, m->key);
    const struct key *k = key_named(name);
    if (!k) {
        key_unknown(r->e, name, false);
        err_prefix(r->e, "%s:%zu", c->file, m->key_line);
        return complain(r, m->key_line);
    }
    c->line[k - config_keys] = m->key_line;
    return value_read_all(c, k, m, &r->wrong[k - config_keys], tell_fault, r, r->e);
}

static int unknown_section(struct reading *r, const struct yaml_node *m)
{
    const char *dot = strchr(m->key, '.');
    if (key_named(m->key)) {
        err_usage(r->e,
                  "%s:%zu: %s in one word; write %.*s: and below it, indented, %s:", r->c->file,
                  m->key_line, m->key, (int)(dot - m->key), m->key, dot + 1);
    } else {
        key_unknown(r->e, m->key, m->kind == YAML_MAPPING);
        err_prefix(r->e, "%s:%zu", r->c->file, m->key_line);
    }
    return complain(r, m->key_line);
}

static int read_section(struct reading *r, const struct yaml_node *section)
{
    if (!key_section_exists(section->key)) return unknown_section(r, section);
    bool empty = section->kind == YAML_SCALAR && section->plain && !*section->text;
    if (section->kind != YAML_MAPPING && !empty) return refuse_structure(r, section, section->key);
    int code = 0;
    for (const struct yaml_node *m = section->child; m && !code; m = m->next)
        code = read_member(r, section->key, m);
    return code;
}

/* *whole: the text is YAML, so that what is not in it is missing. */
static int read_document(struct reading *r, bool *whole, const char *text, size_t bytes)
{
    struct yaml_node *root;
    int code = yaml_tree_parse_all(&root, text, bytes, r->c->file, r->all, r->e);
    *whole = !code;
    if (code) return complain(r, COMPLAINT_SYNTAX);
    if (root && root->kind != YAML_MAPPING) {
        *whole = false;
        code = refuse_structure(r, root, NULL);
    } else if (root) {
        for (const struct yaml_node *m = root->child; m && !code; m = m->next)
            code = read_section(r, m);
    }
    yaml_tree_free(root);
    return code;
}

/* ---- overrides ------------------------------------------------------------------------------- */

static int read_override(struct reading *r, const char *text)
{
    struct config *c = r->c;
    struct err *e = r->e;
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    char name[128], where[160];
    if (n == 0) return err_usage(e, "found %s, wanted key=value", err_quotez(text));
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    snprintf(where, sizeof where, "override %s", name);
    const struct key *k = n < sizeof name ? key_named(name) : NULL;
    if (!k) {
        key_unknown(e, name, false);
        return err_prefix(e, "override");
    }
    size_t i = (size_t)(k - config_keys), line = 0;
    if (c->overridden[i]) return err_usage(e, "%s: given twice", where);
    struct yaml_node *root,
        nothing = { .kind = YAML_SCALAR, .plain = true, .text = (char[]){ "" } };
    c->overridden[i] = true;
    r->wrong[i] = true;
    int code = yaml_tree_parse(&root, equals + 1, strlen(equals + 1), where, false, e);
    if (code) return code;
    code = value_read(c, k, root ? root : &nothing, &line, e);
    yaml_tree_free(root);
    if (code) return err_prefix(e, "%s", where);
    r->wrong[i] = false;
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int check_given(struct reading *r)
{
    const struct config *c = r->c;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (k->by_default || c->line[i] || c->overridden[i]) continue;
        err_usage(r->e, "%s: %s: missing; %.*s", c->file, k->name, (int)strcspn(k->help, ";"),
                  k->help);
        int code = complain(r, COMPLAINT_MISSING);
        if (code) return code;
    }
    return 0;
}

/* Checks that need more than one key; a key whose value could not be read has had its complaint. */
static int check_together(struct reading *r)
{
    const struct config *c = r->c;
    enum data_format f = c->data.format;
    const struct config_columns *n = &c->data.columns;
    bool pair = n->prompt || n->completion || n->input || n->choices;
    bool like = f == FORMAT_AUTO ||
                (pair && (f == FORMAT_PROMPT_COMPLETION || f == FORMAT_ALPACA)) ||
                (n->messages && (f == FORMAT_MESSAGES || f == FORMAT_SHAREGPT)) ||
                (n->text && f == FORMAT_TEXT);
    size_t i = CONFIG_KEY_data_columns;
    if (r->wrong[CONFIG_KEY_data_format] || r->wrong[i] || like) return 0;
    if (!pair && !n->messages && !n->text && !n->system) return 0;
    config_error(r->e, c, "data.columns", "found with data.format %s, wanted %s or auto",
                 data_format_name(f),
                 n->messages ? "messages"
                 : n->text   ? "text"
                             : "prompt_completion");
    return complain(r, c->overridden[i] ? COMPLAINT_OVERRIDE : c->line[i]);
}

static int parse_all(struct config *c, const char *text, size_t bytes, const char *where,
                     char *const *overrides, size_t n, struct complaints *all, struct err *e)
{
    bool whole = false;
    *c = (struct config){ 0 };
    struct reading r = { .c = c, .all = all, .e = e };
    c->file = mem_strdup(where, e);
    int code = c->file ? 0 : e->code;
    for (size_t i = 0; i < CONFIG_KEYS && !code; i++) code = value_default(c, &config_keys[i], e);
    if (!code) code = read_document(&r, &whole, text, bytes);
    for (size_t i = 0; i < n && !code; i++)
        if (read_override(&r, overrides[i])) code = complain(&r, COMPLAINT_OVERRIDE);
    if (!code && whole) code = check_given(&r);
    if (!code && whole) code = check_together(&r);
    if (!code || code == ERR_USAGE) code = complaints_error(all, e);
    if (code) config_free(c);
    return code;
}

int config_parse(struct config *c, const char *text, size_t bytes, const char *where,
                 char *const *overrides, size_t n, struct err *e)
{
    struct complaints all = { 0 };
    int code = parse_all(c, text, bytes, where, overrides, n, &all, e);
    complaints_free(&all);
    return code;
}

int config_load_all(struct config *c, const char *path, char *const *overrides, size_t n,
                    struct complaints *all, struct err *e)
{
    *c = (struct config){ 0 };
    struct str text = { 0 };
    int code = file_read(&text, path, YAML_BYTES, e);
    if (code)
        code = e->code = ERR_USAGE; /* a wrong CONFIG argument, not a failed run */
    else
        code = parse_all(c, text.p ? text.p : "", text.n, path, overrides, n, all, e);
    str_free(&text);
    return code;
}

int config_load(struct config *c, const char *path, char *const *overrides, size_t n, struct err *e)
{
    struct complaints all = { 0 };
    int code = config_load_all(c, path, overrides, n, &all, e);
    complaints_free(&all);
    return code;
}

int config_set_output_dir(struct config *c, const char *dir, struct err *e)
{
    char *own = mem_strdup(dir, e);
    if (!own) {
        config_free(c);
        return e->code;
    }
    mem_free(c->output.dir);
    c->output.dir = own;
    return 0;
}

int64_t config_split_seed(const struct config *c)
{
    return c->data.split_seed == CONFIG_NONE ? c->train.seed : c->data.split_seed;
}

/* The same configuration, with the values that follow from other keys filled in; it shares c's
 * texts. */
static struct config resolved(const struct config *c)
{
    struct config whole = *c;
    whole.data.split_seed = config_split_seed(c);
    return whole;
}

void config_print(struct str *out, const struct config *c)
{
    const char *section = "";
    struct config whole = resolved(c);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (strcmp(section, k->section) != 0) str_addf(out, "%s:\n", k->section);
        section = k->section;
        str_addf(out, "  %s:", k->last);
        value_print(out, k, &whole);
        str_addc(out, '\n');
    }
}

size_t config_diff(const char *names[CONFIG_KEYS], const struct config *a, const struct config *b,
                   bool resuming)
{
    size_t n = 0;
    bool follows = a->data.split_seed == CONFIG_NONE && b->data.split_seed == CONFIG_NONE;
    struct config first = follows ? *a : resolved(a), second = follows ? *b : resolved(b);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        struct str x = { 0 }, y = { 0 };
        value_print(&x, k, &first);
        value_print(&y, k, &second);
        bool same = !x.failed && !y.failed && !strcmp(x.p, y.p);
        if (!same && !(resuming && !k->same_on_resume)) names[n++] = k->name;
        str_free(&x);
        str_free(&y);
    }
    return n;
}

int config_use_file(struct config *c, const char *path, struct err *e)
{
    struct config_sources *train = &c->data.train;
    char *own = mem_strdup(path, e);
    if (!own) return e->code;
    mem_free(train->at[0].path);
    train->at[0].path = own;
    train->at[0].weight = 1;
    while (train->n > 1) {
        const struct config_source *last = &train->at[--train->n];
        mem_free(last->path);
        mem_free(last->template);
    }
    c->overridden[CONFIG_KEY_data_train] = true;
    value_free(c, &config_keys[CONFIG_KEY_data_validation]);
    return 0;
}

int config_error(struct err *e, const struct config *c, const char *key, const char *fmt, ...)
{
    char msg[PATH_BYTES + sizeof e->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    err_usage(e, "%s", msg);
    return config_prefix(e, c, key, 0);
}

int config_prefix(struct err *e, const struct config *c, const char *key, size_t line)
{
    const struct key *k = key_named(key);
    CHECK(k);
    size_t i = (size_t)(k - config_keys);
    if (c->overridden[i]) return err_prefix(e, "override %s", key);
    if (!line) line = c->line[i];
    if (line) return err_prefix(e, "%s:%zu: %s", c->file, line, key);
    return err_prefix(e, "%s: %s", c->file, key);
}

/* Whether the message begins with the path, as messages show it, and then ": " or a byte of
 * `after`. */
static bool is_about(const struct err *e, const char *path, const char *after)
{
    char shown[sizeof e->msg];
    size_t n = safe_fit(shown, sizeof shown, path, strlen(path));
    if (strncmp(e->msg, shown, n) != 0) return false;
    return !strncmp(e->msg + n, ": ", 2) || (e->msg[n] && strchr(after, e->msg[n]));
}

int config_prefix_data(struct err *e, const struct config *c)
{
    const struct config_sources *both[] = { &c->data.train, &c->data.validation.files };
    static const char *const keys[] = { "data.train", "data.validation" };
    const char *dir = c->data.cache_dir;
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < both[k]->n; i++)
            if (is_about(e, both[k]->at[i].path, ""))
                return config_prefix(e, c, keys[k], both[k]->at[i].line);
    return dir && is_about(e, dir, "/") ? config_prefix(e, c, "data.cache_dir", 0) : e->code;
}
