#include "src/translate/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/str.h"
#include "src/config/scalar.h"

/* Endings of files of records. */
static bool has_ending(const char *name)
{
    static const char *const endings[] = { ".jsonl", ".json", ".csv",     ".tsv", ".txt",
                                           ".gz",    ".zst",  ".parquet", ".gguf" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (str_ends_with(name, endings[i])) return true;
    return false;
}

bool is_local(const char *name)
{
    const char *slash = strchr(name, '/');
    if (*name && (strchr("/.~", *name) || has_ending(name))) return true;
    if (slash && strchr(slash + 1, '/')) return true;
    return file_exists(name) || dir_exists(name);
}

void add_path(struct str *out, const char *path)
{
    const char *home = getenv("HOME");
    bool below = home && *home && !strncmp(path, "~/", 2);
    if (below) str_addz(out, home);
    str_addz(out, below ? path + 1 : path);
}

/* ---- adding ---------------------------------------------------------------------------------- */

/* The path that is written for a name on the hub: datasets/NAME.jsonl. */
static char *path_for_hub(struct translation *t, const char *key, const char *name, struct err *e)
{
    char path[512];
    const char *slash = strrchr(name, '/');
    snprintf(path, sizeof path, "datasets/%s.jsonl", slash ? slash + 1 : name);
    want(t, key,
         "%s is a name on the Hugging Face hub, or a path that is not here; nothing is downloaded: "
         "put in a file of its records (JSONL, JSON, CSV); now it says %s",
         err_quotez(name), path);
    return mem_strdup(path, e);
}

int add_source(struct translation *t, bool validation, const struct theirs *g, const char *name,
               const char *format, const char *template, struct err *e)
{
    const char *key = validation ? "data.validation" : "data.train";
    size_t *n = validation ? &t->n_validation : &t->n_train;
    struct source *s = &(validation ? t->validation : t->train)[*n];
    if (*n == SOURCES) return refuse(t, g, e, "more than %d files of records", SOURCES);
    *s = (struct source){ .format = format, .template = template };
    struct str path = { 0 };
    add_path(&path, name);
    int code = str_error(&path, e);
    if (!code) s->path = is_local(name) ? mem_strdup(path.p, e) : path_for_hub(t, key, name, e);
    str_free(&path);
    if (!s->path) return e->code;
    if (dir_exists(name))
        want(t, key, "%s is a directory: name the file of records in it", err_quotez(name));
    ++*n;
    return 0;
}

int want_validation(struct translation *t, const char *why, struct err *e)
{
    want(t, "data.validation", "%s: write its path, or a fraction such as 0.1; now it says 0", why);
    return put_text(t, "data.validation", "0", e);
}

int add_column(struct translation *t, const struct theirs *g, const char *column, const char *name,
               struct err *e)
{
    int i = word_index(record_column_words, column);
    (void)e;
    CHECK(i >= 0);
    if (t->columns_seen & 1u << i) {
        leave(t, g, "data.columns has a name for %s already, which is that of all files", column);
        return 0;
    }
    t->columns_seen |= 1u << i;
    str_addf(&t->columns, "%s%s: ", t->columns.n ? ", " : "{", column);
    scalar_add_text(&t->columns, name);
    return 0;
}

int read_dataset(struct translation *t, const struct row *r, const struct theirs *g, struct err *e)
{
    bool validation = !strcmp(r->ours, "validation"), text = g->v->kind == YAML_SCALAR;
    int code = 0;
    for (const char *p = text ? g->v->text : ""; *p && !code; p += strspn(p, ", ")) {
        char name[512];
        size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        code = add_source(t, validation, g, name, NULL, NULL, e);
        p += n;
    }
    for (const struct yaml_node *m = text ? NULL : g->v->child; m && !code; m = m->next)
        if (m->kind == YAML_SCALAR && is_given(m))
            code = add_source(t, validation, g, m->text, NULL, NULL, e);
    return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Whether records of that format need no template. */
static bool is_whole(const char *format)
{
    return format &&
           (!strcmp(format, "text") || !strcmp(format, "segments") || !strcmp(format, "tokens"));
}

/* What all files have in common. */
struct common {
    bool same_format, same_template, asks;
    const char *format, *template;
};

/* Words, or NULL. */
static bool same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static void compare(struct common *c, const struct source *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *template = is_whole(s[i].format) ? c->template : s[i].template;
        if (!same(c->format, s[i].format)) c->same_format = false;
        if (!same(c->template, template)) c->same_template = false;
        if (!is_whole(s[i].format) && !s[i].template) c->asks = true;
    }
}

static int put_sources(struct translation *t, const char *key, const struct common *c,
                       const struct source *s, size_t n, struct err *e)
{
    struct str list = { 0 };
    for (size_t i = 0; i < n; i++) {
        str_addz(&list, i ? ", {path: " : "[{path: ");
        scalar_add_text(&list, s[i].path);
        if (!c->same_format && s[i].format) str_addf(&list, ", format: %s", s[i].format);
        if (!c->same_template && s[i].template) str_addf(&list, ", template: %s", s[i].template);
        str_addc(&list, '}');
    }
    str_addc(&list, ']');
    int code = str_error(&list, e);
    if (!code && put_text(t, key, list.p, e)) code = err_prefix(e, "%s", key);
    str_free(&list);
    return code;
}

int sources_finish(struct translation *t, struct err *e)
{
    const struct source *s = t->train;
    struct common c = { true, true, false, NULL, NULL };
    int code = 0;
    if (t->n_train) c.format = s->format, c.template = s->template;
    compare(&c, t->train, t->n_train);
    compare(&c, t->validation, t->n_validation);
    bool given = t->set[CONFIG_KEY_data_template];
    if (given && c.template) c.same_template = false;
    if (t->n_train) code = put_sources(t, "data.train", &c, t->train, t->n_train, e);
    if (!code && t->n_validation)
        code = put_sources(t, "data.validation", &c, t->validation, t->n_validation, e);
    if (!code && c.same_format && c.format) code = put_text(t, "data.format", c.format, e);
    if (!code && !given && c.same_template && c.template)
        code = put_text(t, "data.template", c.template, e);
    else if (!code && !given && (c.asks || !t->n_train)) {
        code = put_text(t, "data.template", "model", e);
        remark(t, "data.template", "the model's own; an untuned base has none: name one then");
    }
    if (!code && t->columns.n) {
        str_addc(&t->columns, '}');
        code = str_error(&t->columns, e);
        if (!code && put_text(t, "data.columns", t->columns.p, e))
            code = err_prefix(e, "data.columns");
    }
    return code;
}

void sources_free(struct translation *t)
{
    for (size_t i = 0; i < t->n_train; i++) mem_free(t->train[i].path);
    for (size_t i = 0; i < t->n_validation; i++) mem_free(t->validation[i].path);
    str_free(&t->columns);
}
