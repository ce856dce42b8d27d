#include "src/config/value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/config/scalar.h"
#include "src/config/words.h"

/* The row that a reader works for, and where it stores which line was wrong. */
struct value_reading {
    const struct key *key;
    size_t *line;
    struct err *e;
    value_tell *tell; /* NULL: the first fault ends the reading */
    void *to;
    bool *wrong;
};

static void *field_of(struct config *c, const struct key *k)
{
    return (char *)c + k->offset;
}

static const void *const_field_of(const struct config *c, const struct key *k)
{
    return (const char *)c + k->offset;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void add_words(struct str *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) str_addf(out, "%s%s", i ? " " : "", words[i]);
}

static const char *in_range(const struct key *k)
{
    return *k->allowed ? " in " : "";
}

void value_add_wanted(struct str *out, const struct key *k)
{
    const char *in = in_range(k), *range = k->allowed;
    switch (k->type) {
    case VALUE_TEXT:
    case VALUE_TEMPLATE:
        str_addf(out, "%s%s", k->by_default ? "null or " : "", k->allowed);
        break;
    case VALUE_BOOL:
        str_addz(out, "true or false");
        break;
    case VALUE_INT:
        str_addf(out, "an integer%s%s", in, range);
        break;
    case VALUE_AUTO_INT:
        str_addf(out, "auto or an integer%s%s", in, range);
        break;
    case VALUE_NULL_INT:
        str_addf(out, "null or an integer%s%s", in, range);
        break;
    case VALUE_AUTO_BYTES:
        str_addz(out, "auto or a size such as 16GiB");
        break;
    case VALUE_AUTO_SECONDS:
        str_addz(out, "auto or a time such as 30min");
        break;
    case VALUE_AUTO_REAL:
        str_addf(out, "auto or a number%s%s", in, range);
        break;
    case VALUE_REAL:
    case VALUE_NUMBER:
        str_addf(out, "a number%s%s", in, range);
        break;
    case VALUE_CHOICE:
        str_addz(out, "one of ");
        add_words(out, k->words);
        break;
    case VALUE_MODULES:
        str_addz(out, "all-linear or a list of ");
        add_words(out, module_words);
        break;
    case VALUE_SOURCES:
        str_addz(out, "a file, or a list of files or of {path, format, template, weight}");
        break;
    case VALUE_VALIDATION:
        str_addf(out, "a fraction in %s, a file, or a list of files or of {path, format, template}",
                 range);
        break;
    case VALUE_COLUMNS:
        str_addz(out, "null or {prompt: NAME, completion: NAME, ...}");
        break;
    case VALUE_INTERVAL:
        str_addf(out, "null, a number of steps in %s, or a time such as 10min", range);
        break;
    }
}

static const char *found(const struct yaml_node *v)
{
    if (v->kind != YAML_SCALAR) return yaml_kind_name(v->kind);
    if (!*v->text) return v->plain ? "nothing" : "an empty text";
    return err_quotez(v->text);
}

/* "found "x", wanted Y; remedy". Y comes from the caller or from the row. */
static int unwanted(const struct value_reading *r, const struct yaml_node *v, const char *wanted,
                    const char *remedy)
{
    struct str row = { 0 };
    if (!wanted) {
        value_add_wanted(&row, r->key);
        wanted = row.p ? row.p : "";
    }
    if (!*remedy && v->kind == YAML_SCALAR) remedy = word_remedy(r->key, v->text);
    *r->line = v->line;
    err_usage(r->e, "found %s, wanted %s%s%s", found(v), wanted, *remedy ? "; " : "", remedy);
    str_free(&row);
    return r->e->code;
}

/* After a fault in one item of a list: 0 when the next is to be read. */
static int go_on(const struct value_reading *r)
{
    if (!r->tell || r->e->code != ERR_USAGE) return r->e->code;
    *r->wrong = true;
    return r->tell(r->to, r->key, *r->line, r->e);
}

/* ---- simple values --------------------------------------------------------------------------- */

static bool is_null(const struct yaml_node *v)
{
    return v->kind == YAML_SCALAR && v->plain && scalar_is_null(v->text);
}

static bool is_word(const struct yaml_node *v, const char *word)
{
    return v->kind == YAML_SCALAR && !strcmp(v->text, word);
}

/* null as other programs write it; without quotes it is unlikely to be the name of a file. */
static bool is_nothing(const char *text)
{
    static const char *const words[] = { "none", "nil", "nothing", "false", "auto" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i])) return true;
    return false;
}

static int read_text(char **out, const struct value_reading *r, const struct yaml_node *v,
                     const char *wanted)
{
    if (v->kind != YAML_SCALAR || !*v->text || is_null(v)) return unwanted(r, v, wanted, "");
    if (!strncmp(v->text, "~/", 2)) return unwanted(r, v, wanted, "~ is not expanded here");
    bool names_one = r->key->type == VALUE_TEMPLATE && !strcasecmp(v->text, "auto"); /* model is */
    if (v->plain && r->key->by_default && !names_one && is_nothing(v->text)) {
        return unwanted(r, v, wanted, "write null, or quote it when it is a name");
    }
    *out = mem_strdup(v->text, r->e);
    return *out ? 0 : r->e->code;
}

/* In transformers 5, warmup_steps may be a fraction of all steps. */
static bool is_part(const struct value_reading *r, const char *text)
{
    double part;
    bool warmup = r->key->last && !strcmp(r->key->last, "warmup_steps");
    return warmup && !scalar_real(&part, text) && part > 0 && part < 1;
}

static int read_int(int64_t *out, const struct value_reading *r, const struct yaml_node *v)
{
    const char *remedy = v->kind == YAML_SCALAR ? scalar_int(out, v->text) : "";
    if (remedy && v->kind == YAML_SCALAR && is_part(r, v->text))
        remedy = "a part of all steps is written train.warmup_ratio";
    if (remedy) return unwanted(r, v, NULL, remedy);
    if (!scalar_within(r->key->allowed, (double)*out)) return unwanted(r, v, NULL, "");
    return 0;
}

static int read_real(double *out, const struct value_reading *r, const struct yaml_node *v)
{
    const char *remedy = v->kind == YAML_SCALAR ? scalar_real(out, v->text) : "";
    if (remedy) return unwanted(r, v, NULL, remedy);
    if (!scalar_within(r->key->allowed, *out)) return unwanted(r, v, NULL, "");
    return 0;
}

static int read_bool(bool *out, const struct value_reading *r, const struct yaml_node *v)
{
    const char *remedy = v->kind == YAML_SCALAR ? scalar_bool(out, v->text) : "";
    return remedy ? unwanted(r, v, NULL, remedy) : 0;
}

/* Anything else is a word and not a number with a wrong unit. */
static bool starts_number(const struct yaml_node *v)
{
    return v->kind == YAML_SCALAR && *v->text && strchr("+-.0123456789", *v->text);
}

static int read_bytes(int64_t *out, const struct value_reading *r, const struct yaml_node *v)
{
    const char *remedy = starts_number(v) ? scalar_bytes(out, v->text) : "";
    return remedy ? unwanted(r, v, NULL, remedy) : 0;
}

static int read_seconds(int64_t *out, const struct value_reading *r, const struct yaml_node *v)
{
    const char *remedy = starts_number(v) ? scalar_seconds(out, v->text) : "";
    return remedy ? unwanted(r, v, NULL, remedy) : 0;
}

static int read_interval(struct config_interval *out, const struct value_reading *r,
                         const struct yaml_node *v)
{
    *out = (struct config_interval){ CONFIG_NONE, CONFIG_NONE };
    if (is_null(v)) return 0;
    bool is_time = starts_number(v) && strpbrk(v->text, "smhSMH");
    if (!is_time) return read_int(&out->steps, r, v);
    return read_seconds(&out->seconds, r, v);
}

/* The number of the word v among `words`, written to *out. */
static int read_word(int *out, const struct value_reading *r, const struct yaml_node *v,
                     const char *const *words)
{
    *out = v->kind == YAML_SCALAR ? word_index(words, v->text) : -1;
    return *out < 0 ? unwanted(r, v, NULL, "") : 0;
}

/* ---- lists and small mappings ---------------------------------------------------------------- */

static int read_modules(unsigned *out, const struct value_reading *r, const struct yaml_node *v)
{
    *out = (1u << MODULES) - 1;
    if (is_word(v, "all-linear")) return 0;
    if (v->kind == YAML_SCALAR && (strchr(v->text, ',') || strstr(v->text, "_proj")))
        return unwanted(r, v, NULL, "a list is written in brackets: [q_proj, v_proj]");
    if (v->kind != YAML_SEQUENCE || !v->child) return unwanted(r, v, NULL, "");
    *out = 0;
    for (const struct yaml_node *item = v->child; item; item = item->next) {
        int module = -1;
        int code = read_word(&module, r, item, module_words);
        if (!code && *out & 1u << module) code = unwanted(r, item, "each module once", "");
        if (code && (code = go_on(r))) return code;
        if (module >= 0) *out |= 1u << module;
    }
    return 0;
}

/* A member of a small mapping whose names are not keys of the table. */
static int unknown_member(const struct value_reading *r, const struct yaml_node *m,
                          const char *names)
{
    *r->line = m->key_line;
    return err_usage(r->e, "unknown name %s, wanted %s", err_quotez(m->key), names);
}

static int unknown_column(const struct value_reading *r, const struct yaml_node *m)
{
    struct str names = { 0 };
    const char *const *words = record_column_words;
    for (size_t i = 0; words[i]; i++)
        str_addf(&names, "%s%s", !i ? "" : words[i + 1] ? ", " : " or ", words[i]);
    int code = str_error(&names, r->e);
    if (!code) code = unknown_member(r, m, names.p);
    str_free(&names);
    return code;
}

/* A column has one role: as prompt and answer it would teach the model to repeat. */
static int check_apart(const struct config_columns *c, char *const *one,
                       const struct value_reading *r, const struct yaml_node *m)
{
#define COMPARE(name)                                                                              \
    if (one != &c->name && c->name && *one && strcmp(c->name, *one) == 0) {                        \
        *r->line = m->key_line;                                                                    \
        return err_usage(r->e, "found %s as %s and %s, wanted a column for each",                  \
                         err_quotez(*one), #name, m->key);                                         \
    }
    RECORD_COLUMNS(COMPARE)
#undef COMPARE
    return 0;
}

static int read_columns(struct config_columns *out, const struct value_reading *r,
                        const struct yaml_node *v)
{
    if (is_null(v)) return 0;
    if (v->kind != YAML_MAPPING || !v->child) return unwanted(r, v, NULL, "");
    for (const struct yaml_node *m = v->child; m; m = m->next) {
        char **to = NULL;
#define MATCH(name)                                                                                \
    if (strcmp(m->key, #name) == 0) to = &out->name;
        RECORD_COLUMNS(MATCH)
#undef MATCH
        if (!to) return unknown_column(r, m);
        int code = read_text(to, r, m, "the name of a column");
        if (!code) code = check_apart(out, to, r, m);
        if (code) return code;
    }
    return 0;
}

/* A name, or the parts of a template. They become a JSON object, because only src/data knows their
 * meaning. */
static int read_template(char **out, const struct value_reading *r, const struct yaml_node *v)
{
    if (v->kind == YAML_SCALAR) return read_text(out, r, v, "a template's name");
    if (v->kind != YAML_MAPPING || !v->child) return unwanted(r, v, NULL, "");
    struct str text = { 0 };
    struct json_writer w = { .out = &text };
    json_write_object(&w, NULL, JSON_ONE_LINE);
    for (const struct yaml_node *m = v->child; m; m = m->next) {
        if (m->kind != YAML_SCALAR) {
            str_free(&text);
            return unwanted(r, m, "a text for each part of the template", "");
        }
        json_write_text(&w, m->key, is_null(m) ? NULL : m->text);
    }
    json_write_end(&w);
    int code = str_error(&text, r->e);
    if (!code && !(*out = mem_strdup(text.p, r->e))) code = r->e->code;
    str_free(&text);
    return code;
}

static int read_source_member(struct config_source *s, const struct value_reading *r,
                              const struct yaml_node *m, bool weighted)
{
    static const struct key weight = { .type = VALUE_REAL, .allowed = "(0, 1000000]" };
    static const struct key format = {
        .last = "format", .type = VALUE_CHOICE, .words = data_format_words, .allowed = ""
    };
    struct value_reading of_weight = { .key = &weight, .line = r->line, .e = r->e },
                         of_format = { .key = &format, .line = r->line, .e = r->e };
    int code, word;
    if (!strcmp(m->key, "path")) {
        code = read_text(&s->path, r, m, "a path");
        s->line = m->line;
    } else if (!strcmp(m->key, "format")) {
        code = read_word(&word, &of_format, m, data_format_words);
        s->has_format = !code;
        if (!code) s->format = (enum data_format)word;
    } else if (!strcmp(m->key, "template")) {
        code = read_template(&s->template, r, m);
    } else if (!strcmp(m->key, "weight") && weighted) {
        code = read_real(&s->weight, &of_weight, m);
    } else {
        return unknown_member(
            r, m, weighted ? "path, format, template or weight" : "path, format or template");
    }
    return code ? err_prefix(r->e, "%s", m->key) : 0;
}

static int read_source(struct config_source *s, const struct value_reading *r,
                       const struct yaml_node *v, bool weighted)
{
    s->weight = 1;
    s->line = v->line;
    if (v->kind == YAML_SCALAR) return read_text(&s->path, r, v, "the path of a file");
    if (v->kind == YAML_SEQUENCE) return unwanted(r, v, "a file", "");
    for (const struct yaml_node *m = v->child; m; m = m->next) {
        int code = read_source_member(s, r, m, weighted);
        if (code) return code;
    }
    if (s->path) return 0;
    *r->line = v->line;
    return err_usage(r->e, "found no path, wanted {path: FILE, ...}");
}

/* One file, or a list of files. */
static int read_sources(struct config_sources *out, const struct value_reading *r,
                        const struct yaml_node *v, bool weighted)
{
    if (is_null(v)) return unwanted(r, v, NULL, "");
    bool list = v->kind == YAML_SEQUENCE;
    size_t n = list ? 0 : 1;
    for (const struct yaml_node *item = list ? v->child : NULL; item; item = item->next) n++;
    if (n == 0) return unwanted(r, v, "at least one file in the list", "");
    out->at = mem_alloc(n, sizeof *out->at, r->e);
    if (!out->at) return r->e->code;
    for (const struct yaml_node *item = list ? v->child : v; item; item = item->next) {
        int code = read_source(&out->at[out->n++], r, item, weighted);
        if (code && (code = go_on(r))) return code;
        if (!list) break;
    }
    return 0;
}

/* A number without quotes is a fraction; anything else names files. */
static int read_validation(struct config_validation *out, const struct value_reading *r,
                           const struct yaml_node *v)
{
    bool plain = v->kind == YAML_SCALAR && v->plain;
    if (plain && *v->text && strchr("+-.0123456789", *v->text)) {
        bool number = !v->text[strspn(v->text, "+-.,_0123456789eE%")];
        if (v->text[strlen(v->text) - 1] == '%')
            return unwanted(r, v, NULL, "write ten percent as 0.1");
        if (number) return read_real(&out->fraction, r, v);
    }
    if (plain && (is_nothing(v->text) || is_null(v))) return unwanted(r, v, NULL, "");
    return read_sources(&out->files, r, v, false);
}

/* ---- by type --------------------------------------------------------------------------------- */

static int read_field(struct config *c, struct value_reading r, const struct yaml_node *v)
{
    const struct key *k = r.key;
    void *field = field_of(c, k);
    int code = 0, word = 0;
    value_free(c, k);
    switch (k->type) {
    case VALUE_TEXT:
        if (k->by_default && is_null(v)) return 0;
        return read_text(field, &r, v, NULL);
    case VALUE_TEMPLATE:
        return is_null(v) ? 0 : read_template(field, &r, v);
    case VALUE_BOOL:
        return read_bool(field, &r, v);
    case VALUE_INT:
        return read_int(field, &r, v);
    case VALUE_REAL:
    case VALUE_NUMBER:
        return read_real(field, &r, v);
    case VALUE_AUTO_REAL:
        *(double *)field = CONFIG_NONE;
        return is_word(v, "auto") ? 0 : read_real(field, &r, v);
    case VALUE_NULL_INT:
    case VALUE_AUTO_INT:
    case VALUE_AUTO_BYTES:
    case VALUE_AUTO_SECONDS:
        *(int64_t *)field = CONFIG_NONE;
        if (k->type == VALUE_NULL_INT ? is_null(v) : is_word(v, "auto")) return 0;
        if (k->type == VALUE_AUTO_SECONDS) return read_seconds(field, &r, v);
        return (k->type == VALUE_AUTO_BYTES ? read_bytes : read_int)(field, &r, v);
    case VALUE_CHOICE:
        code = read_word(&word, &r, v, k->words);
        if (!code) memcpy(field, &word, sizeof word);
        return code;
    case VALUE_MODULES:
        return read_modules(field, &r, v);
    case VALUE_SOURCES:
        return read_sources(field, &r, v, true);
    case VALUE_VALIDATION:
        return read_validation(field, &r, v);
    case VALUE_COLUMNS:
        return read_columns(field, &r, v);
    case VALUE_INTERVAL:
        return read_interval(field, &r, v);
    }
    return code;
}

int value_read(struct config *c, const struct key *k, const struct yaml_node *v, size_t *line,
               struct err *e)
{
    return read_field(c, (struct value_reading){ .key = k, .line = line, .e = e }, v);
}

int value_read_all(struct config *c, const struct key *k, const struct yaml_node *v, bool *wrong,
                   value_tell *tell, void *to, struct err *e)
{
    size_t line = v->line;
    struct value_reading r = { k, &line, e, tell, to, wrong };
    *wrong = false;
    return read_field(c, r, v) ? go_on(&r) : 0;
}

int value_default(struct config *c, const struct key *k, struct err *e)
{
    if (!k->by_default) return 0;
    char *text = mem_strdup(k->by_default, e);
    if (!text) return e->code;
    struct yaml_node v = { .kind = YAML_SCALAR, .plain = true, .text = text };
    size_t line;
    int code = value_read(c, k, &v, &line, e);
    mem_free(text);
    return code;
}

static void sources_free(struct config_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        mem_free(s->at[i].path);
        mem_free(s->at[i].template);
    }
    mem_free(s->at);
    *s = (struct config_sources){ 0 };
}

void value_free(struct config *c, const struct key *k)
{
    void *field = field_of(c, k);
    if (k->type == VALUE_TEXT || k->type == VALUE_TEMPLATE) {
        char **text = field;
        mem_free(*text);
        *text = NULL;
    } else if (k->type == VALUE_COLUMNS) {
        struct config_columns *columns = field;
#define FREE(name) mem_free(columns->name);
        RECORD_COLUMNS(FREE)
#undef FREE
        *columns = (struct config_columns){ 0 };
    } else if (k->type == VALUE_SOURCES) {
        sources_free(field);
    } else if (k->type == VALUE_VALIDATION) {
        struct config_validation *v = field;
        v->fraction = 0;
        sources_free(&v->files);
    }
}

/* ---- printing -------------------------------------------------------------------------------- */

static void print_template(struct str *out, const char *text)
{
    struct err ignored;
    const char *key;
    json_t *v,
        *o = *text == '{' ? json_parse(text, strlen(text), JSON_DUP_REFUSED, "", &ignored) : NULL;
    if (!o) {
        scalar_add_text(out, text);
        return;
    }
    const char *before = "{";
    json_object_foreach(o, key, v)
    {
        str_addz(out, before);
        scalar_add_text(out, key);
        str_addz(out, ": ");
        if (json_is_string(v)) {
            scalar_add_text(out, json_string_value(v));
        } else {
            str_addz(out, "null");
        }
        before = ", ";
    }
    str_addc(out, '}');
    json_decref(o);
}

/* A value that is usually whole, and then written without a point. */
static void print_count(struct str *out, double v)
{
    if (v == floor(v)) {
        str_addf(out, "%.0f", v);
    } else {
        scalar_add_real(out, v);
    }
}

static void print_source(struct str *out, const struct config_source *s)
{
    if (!s->has_format && !s->template && s->weight == 1) {
        scalar_add_text(out, s->path);
        return;
    }
    str_addz(out, "{path: ");
    scalar_add_text(out, s->path);
    if (s->has_format) str_addf(out, ", format: %s", data_format_name(s->format));
    if (s->template) {
        str_addz(out, ", template: ");
        print_template(out, s->template);
    }
    if (s->weight != 1) {
        str_addz(out, ", weight: ");
        print_count(out, s->weight);
    }
    str_addc(out, '}');
}

static void print_sources(struct str *out, const struct config_sources *s)
{
    if (s->n == 1) str_addc(out, ' ');
    for (size_t i = 0; i < s->n; i++) {
        if (s->n > 1) str_addz(out, "\n    - ");
        print_source(out, &s->at[i]);
    }
}

static void print_modules(struct str *out, unsigned modules)
{
    if (modules == (1u << MODULES) - 1) {
        str_addz(out, " all-linear");
        return;
    }
    const char *before = " [";
    for (int m = 0; m < MODULES; m++) {
        if (!(modules & 1u << m)) continue;
        str_addf(out, "%s%s", before, module_words[m]);
        before = ", ";
    }
    str_addc(out, ']');
}

static void print_columns(struct str *out, const struct config_columns *columns)
{
    const char *before = " {";
#define PRINT(name)                                                                                \
    if (columns->name) {                                                                           \
        str_addf(out, "%s" #name ": ", before);                                                    \
        scalar_add_text(out, columns->name);                                                       \
        before = ", ";                                                                             \
    }
    RECORD_COLUMNS(PRINT)
#undef PRINT
    str_addz(out, *before == ' ' ? " null" : "}");
}

static void print_interval(struct str *out, const struct config_interval *i)
{
    str_addc(out, ' ');
    if (i->steps != CONFIG_NONE)
        str_addf(out, "%" PRId64, i->steps);
    else if (i->seconds != CONFIG_NONE)
        scalar_add_seconds(out, i->seconds);
    else
        str_addz(out, "null");
}

/* A number, or the word in its place. */
static void print_number(struct str *out, const struct key *k, int64_t v)
{
    str_addc(out, ' ');
    if (v == CONFIG_NONE)
        str_addz(out, k->type == VALUE_NULL_INT ? "null" : "auto");
    else if (k->type == VALUE_AUTO_BYTES)
        scalar_add_bytes(out, v);
    else if (k->type == VALUE_AUTO_SECONDS)
        scalar_add_seconds(out, v);
    else
        str_addf(out, "%" PRId64, v);
}

void value_print(struct str *out, const struct key *k, const struct config *c)
{
    const void *field = const_field_of(c, k);
    const struct config_validation *validation = field;
    int word;
    switch (k->type) {
    case VALUE_TEXT:
        str_addc(out, ' ');
        if (*(char *const *)field)
            scalar_add_text(out, *(char *const *)field);
        else
            str_addz(out, "null");
        break;
    case VALUE_TEMPLATE:
        str_addc(out, ' ');
        if (*(char *const *)field)
            print_template(out, *(char *const *)field);
        else
            str_addz(out, "null");
        break;
    case VALUE_BOOL:
        str_addz(out, *(const bool *)field ? " true" : " false");
        break;
    case VALUE_REAL:
        str_addc(out, ' ');
        scalar_add_real(out, *(const double *)field);
        break;
    case VALUE_AUTO_REAL:
        str_addc(out, ' ');
        if (*(const double *)field == CONFIG_NONE)
            str_addz(out, "auto");
        else
            scalar_add_real(out, *(const double *)field);
        break;
    case VALUE_NUMBER:
        str_addc(out, ' ');
        print_count(out, *(const double *)field);
        break;
    case VALUE_INT:
    case VALUE_AUTO_INT:
    case VALUE_NULL_INT:
    case VALUE_AUTO_BYTES:
    case VALUE_AUTO_SECONDS:
        print_number(out, k, *(const int64_t *)field);
        break;
    case VALUE_CHOICE:
        memcpy(&word, field, sizeof word);
        str_addf(out, " %s", k->words[word]);
        break;
    case VALUE_MODULES:
        print_modules(out, *(const unsigned *)field);
        break;
    case VALUE_SOURCES:
        print_sources(out, field);
        break;
    case VALUE_VALIDATION:
        if (validation->files.n) {
            print_sources(out, &validation->files);
        } else {
            str_addc(out, ' ');
            scalar_add_real(out, validation->fraction);
        }
        break;
    case VALUE_COLUMNS:
        print_columns(out, field);
        break;
    case VALUE_INTERVAL:
        print_interval(out, field);
        break;
    }
}
