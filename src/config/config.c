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

/* ---- the file -------------------------------------------------------------------------------- */

static int refuse_structure(const char *where, const struct yaml_node *v, const char *section,
                            struct err *e)
{
    struct str keys = { 0 };
    key_list(&keys, section);
    err_usage(e, "%s:%zu: %s%sfound %s, wanted %s: %s", where, v->line, section ? section : "",
              section ? ": " : "",
              v->kind == YAML_SCALAR ? err_quotez(v->text) : yaml_kind_name(v->kind),
              section ? "a section with keys of" : "the sections", keys.p ? keys.p : "");
    str_free(&keys);
    return e->code;
}

/* One member of a section. */
static int read_member(struct config *c, const char *section, const struct yaml_node *m,
                       struct err *e)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", section, m->key);
    const struct key *k = key_named(name);
    if (!k) {
        key_unknown(e, name, false);
        return err_prefix(e, "%s:%zu", c->file, m->key_line);
    }
    size_t line = m->line;
    if (value_read(c, k, m, &line, e)) return err_prefix(e, "%s:%zu: %s", c->file, line, k->name);
    c->line[k - config_keys] = m->key_line;
    return 0;
}

static int unknown_section(const struct config *c, const struct yaml_node *m, struct err *e)
{
    const char *dot = strchr(m->key, '.');
    if (key_named(m->key)) {
        return err_usage(e,
                         "%s:%zu: %s in one word; write %.*s: and below it, indented, %s:", c->file,
                         m->key_line, m->key, (int)(dot - m->key), m->key, dot + 1);
    }
    key_unknown(e, m->key, m->kind == YAML_MAPPING);
    return err_prefix(e, "%s:%zu", c->file, m->key_line);
}

static int read_document(struct config *c, const struct yaml_node *root, struct err *e)
{
    if (!root) return 0;
    if (root->kind != YAML_MAPPING) return refuse_structure(c->file, root, NULL, e);
    for (const struct yaml_node *section = root->child; section; section = section->next) {
        if (!key_section_exists(section->key)) return unknown_section(c, section, e);
        bool empty = section->kind == YAML_SCALAR && section->plain && !*section->text;
        if (section->kind != YAML_MAPPING && !empty)
            return refuse_structure(c->file, section, section->key, e);
        for (const struct yaml_node *m = section->child; m; m = m->next) {
            int code = read_member(c, section->key, m, e);
            if (code) return code;
        }
    }
    return 0;
}

/* ---- overrides ------------------------------------------------------------------------------- */

static int read_override(struct config *c, const char *text, struct err *e)
{
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
    if (c->overridden[k - config_keys]) return err_usage(e, "%s: given twice", where);
    struct yaml_node *root,
        nothing = { .kind = YAML_SCALAR, .plain = true, .text = (char[]){ "" } };
    size_t line = 0;
    int code = yaml_tree_parse(&root, equals + 1, strlen(equals + 1), where, false, e);
    if (code) return code;
    code = value_read(c, k, root ? root : &nothing, &line, e);
    yaml_tree_free(root);
    if (code) return err_prefix(e, "%s", where);
    c->overridden[k - config_keys] = true;
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int check_given(const struct config *c, struct err *e)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (k->by_default || c->line[i] || c->overridden[i]) continue;
        return err_usage(e, "%s: %s: missing; %s", c->file, k->name, k->help);
    }
    return 0;
}

/* Checks that need more than one key. */
static int check_together(const struct config *c, struct err *e)
{
    enum data_format f = c->data.format;
    const struct config_columns *n = &c->data.columns;
    bool pair = n->prompt || n->completion || n->input || n->choices;
    bool like = f == FORMAT_AUTO ||
                (pair && (f == FORMAT_PROMPT_COMPLETION || f == FORMAT_ALPACA)) ||
                (n->messages && (f == FORMAT_MESSAGES || f == FORMAT_SHAREGPT)) ||
                (n->text && f == FORMAT_TEXT);
    if ((pair || n->messages || n->text || n->system) && !like) {
        return config_error(e, c, "data.columns", "found with data.format %s, wanted %s or auto",
                            data_format_name(f),
                            n->messages ? "messages"
                            : n->text   ? "text"
                                        : "prompt_completion");
    }
    return 0;
}

int config_parse(struct config *c, const char *text, size_t bytes, const char *where,
                 char *const *overrides, size_t n, struct err *e)
{
    *c = (struct config){ 0 };
    struct yaml_node *root = NULL;
    c->file = mem_strdup(where, e);
    int code = c->file ? 0 : e->code;
    for (size_t i = 0; i < CONFIG_KEYS && !code; i++) code = value_default(c, &config_keys[i], e);
    if (!code) code = yaml_tree_parse(&root, text, bytes, where, true, e);
    if (!code) code = read_document(c, root, e);
    for (size_t i = 0; i < n && !code; i++) code = read_override(c, overrides[i], e);
    if (!code) code = check_given(c, e);
    if (!code) code = check_together(c, e);
    yaml_tree_free(root);
    if (code) config_free(c);
    return code;
}

int config_load(struct config *c, const char *path, char *const *overrides, size_t n, struct err *e)
{
    *c = (struct config){ 0 };
    struct str text = { 0 };
    int code = file_read(&text, path, YAML_BYTES, e);
    if (code)
        code = e->code = ERR_USAGE; /* a wrong CONFIG argument, not a failed run */
    else
        code = config_parse(c, text.p ? text.p : "", text.n, path, overrides, n, e);
    str_free(&text);
    return code;
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
