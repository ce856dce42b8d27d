#include "src/train/sweep_grid.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/config/keys.h"
#include "src/config/value.h"
#include "src/config/yaml.h"

/* ---- arguments ------------------------------------------------------------------------------- */

/* The last byte of a quoted text of YAML, or NULL. In double quotes a backslash protects the next
 * byte; in single ones a quote is written twice, which reads as the end of one text and the
 * beginning of another. */
static const char *quote_end(const char *p)
{
    char quote = *p++;
    for (; *p && *p != quote; p++)
        if (quote == '"' && *p == '\\' && p[1]) p++;
    return *p ? p : NULL;
}

/* The comma or the NUL that ends the value at `text`; NULL: a bracket or a quote stays open. As in
 * YAML, brackets and quotes inside a plain word are letters. */
static const char *value_end(const char *text)
{
    char close[YAML_DEPTH];
    size_t depth = 0;
    bool begins = true; /* here a text may begin */
    for (const char *p = text; *p; p++) {
        bool opens = (*p == '[' || *p == '{') && (depth || begins);
        if (*p == ',' && !depth) return p;
        if (begins && (*p == '"' || *p == '\'')) {
            if (!(p = quote_end(p))) return NULL;
        } else if (opens && depth == YAML_DEPTH) {
            return NULL;
        } else if (opens) {
            close[depth++] = *p == '[' ? ']' : '}';
        } else if (depth && (*p == ']' || *p == '}')) {
            if (*p != close[--depth]) return NULL;
        }
        begins = strchr("[{,: ", *p) && (begins || *p != ' ');
    }
    return depth ? NULL : text + strlen(text);
}

static int append_value(struct sweep_axis *a, const char *text, size_t n, struct err *e)
{
    while (n && *text == ' ') text++, n--;
    while (n && text[n - 1] == ' ') n--;
    char **value = mem_resize(a->value, a->n + 1, sizeof *value, e);
    if (!value) return e->code;
    a->value = value;
    a->value[a->n] = mem_strndup(text, n, e);
    if (!a->value[a->n]) return e->code;
    a->n++;
    return 0;
}

int sweep_axis_read(struct sweep_axis *a, const char *argument, struct err *e)
{
    *a = (struct sweep_axis){ 0 };
    const char *at = strchr(argument, '='), *end;
    if (!at || at == argument)
        return err_usage(e, "found %s, wanted key=value or key=value,value,...",
                         err_quotez(argument));
    a->key = mem_strndup(argument, (size_t)(at - argument), e);
    if (!a->key) return e->code;
    do {
        end = value_end(++at);
        if (!end)
            return err_usage(e,
                             "override %s: found %s, in which a bracket or a quote is not closed; "
                             "a value with commas is written [a,b]",
                             a->key, err_quotez(at));
        int code = append_value(a, at, (size_t)(end - at), e);
        if (code) return code;
        at = end;
    } while (*end);
    for (size_t i = 0; a->n > 1 && i < a->n; i++)
        if (!*a->value[i])
            return err_usage(e, "override %s: value %zu of %zu is empty, wanted one between commas",
                             a->key, i + 1, a->n);
    return 0;
}

void sweep_axis_free(struct sweep_axis *a)
{
    for (size_t i = 0; i < a->n; i++) mem_free(a->value[i]);
    mem_free(a->value);
    mem_free(a->key);
    *a = (struct sweep_axis){ 0 };
}

static const struct sweep_axis *axis_named(const struct sweep_grid *g, const char *key)
{
    for (size_t i = 0; i < g->n_axes; i++)
        if (strcmp(g->axis[i].key, key) == 0) return &g->axis[i];
    return NULL;
}

static bool varies(const struct sweep_grid *g, const char *key)
{
    const struct sweep_axis *a = axis_named(g, key);
    return a && a->n > 1;
}

static int read_arguments(struct sweep_grid *g, char *const *args, size_t n, struct err *e)
{
    g->axis = mem_alloc(n, sizeof *g->axis, e);
    if (!g->axis) return e->code;
    for (size_t i = 0; i < n; i++) {
        g->n_axes = i + 1;
        int code = sweep_axis_read(&g->axis[i], args[i], e);
        if (code) return code;
    }
    return 0;
}

/* ---- one run --------------------------------------------------------------------------------- */

/* Which value of each axis run i has: the seeds change fastest, then the last axis. */
static size_t value_of(const struct sweep_grid *g, size_t i, size_t axis)
{
    size_t at = g->seeds ? i / (size_t)g->seeds : i;
    for (size_t a = g->n_axes; --a > axis;) at /= g->axis[a].n;
    return at % g->axis[axis].n;
}

static void free_texts(char **texts, size_t n)
{
    for (size_t i = 0; texts && i < n; i++) mem_free(texts[i]);
    mem_free(texts);
}

static char *override_of(const struct sweep_grid *g, size_t i, size_t axis, struct err *e)
{
    struct str s = { 0 };
    const struct sweep_axis *a = &g->axis[axis];
    str_addf(&s, "%s=%s", a->key, a->value[value_of(g, i, axis)]);
    char *text = str_error(&s, e) ? NULL : mem_strdup(s.p, e);
    str_free(&s);
    return text;
}

/* The configuration of run i as the arguments give it. */
static int parse(struct config *c, const struct sweep_grid *g, size_t i, struct err *e)
{
    char **overrides = mem_alloc(g->n_axes, sizeof *overrides, e);
    int code = overrides ? 0 : e->code;
    for (size_t a = 0; !code && a < g->n_axes; a++)
        if (!(overrides[a] = override_of(g, i, a, e))) code = e->code;
    if (!code) {
        code = config_parse(c, g->text.p ? g->text.p : "", g->text.n, g->file, overrides, g->n_axes,
                            e);
    }
    free_texts(overrides, g->n_axes);
    return code;
}

static int parse_seeded(struct config *c, const struct sweep_grid *g, size_t i, struct err *e)
{
    int code = parse(c, g, i, e);
    if (code) return code;
    if (g->seeds) c->train.seed = g->first_seed + (int64_t)(i % (size_t)g->seeds);
    if (c->data.split_seed == CONFIG_NONE) c->data.split_seed = g->split_seed;
    return 0;
}

int sweep_grid_config(struct config *c, const struct sweep_grid *g, size_t i, struct err *e)
{
    char path[PATH_BYTES];
    int code = path_join(path, g->dir, g->name[i], e);
    if (!code) code = parse_seeded(c, g, i, e);
    return code ? code : config_set_output_dir(c, path, e);
}

/* ---- names ----------------------------------------------------------------------------------- */

enum { KEYS_BYTES = 72, DIGEST_CHARS = 8 };

/* Append a value so that it can be a part of a file's name. False: another value may read the
 * same. */
static bool add_value(struct str *out, const char *value)
{
    static const char kept[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
    bool exact = true, gap = true; /* the dash before the value is there already */
    for (; *value; value++) {
        if (strchr(kept, *value)) {
            str_addc(out, *value);
            gap = false;
        } else {
            exact = exact && strchr("[], -", *value);
            if (!gap) str_addc(out, '-');
            gap = true;
        }
    }
    if (gap && out->n && out->p[out->n - 1] == '-') out->p[--out->n] = 0;
    return exact;
}

/* The last name of a key, unless another key that varies has the same. */
static const char *short_key(const struct sweep_grid *g, const struct key *k)
{
    for (size_t a = 0; a < g->n_axes; a++) {
        const struct key *other = key_named(g->axis[a].key);
        if (other && other != k && g->axis[a].n > 1 && strcmp(other->last, k->last) == 0)
            return k->name;
    }
    return k->last;
}

/* Append a digest to a text that is cut or ambiguous. */
static int add_digest(struct str *out, const struct str *whole, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    int code = sha256_of(digest, whole->p, whole->n, e);
    if (code) return code;
    hex_of(hex, digest);
    if (out->n > KEYS_BYTES) out->p[out->n = KEYS_BYTES] = 0;
    str_addf(out, "-%.*s", DIGEST_CHARS, hex);
    return 0;
}

/* Append the keys that vary, with their values: "learning_rate-0.0001+r-8". */
static int add_keys(struct str *out, const struct sweep_grid *g, const struct config *c,
                    struct err *e)
{
    struct str whole = { 0 };
    bool exact = true;
    for (size_t a = 0; a < g->n_axes; a++) {
        const struct key *k = key_named(g->axis[a].key);
        size_t from = whole.n;
        if (g->axis[a].n == 1 || strcmp(k->name, "train.seed") == 0) continue;
        str_addf(&whole, "%s:", k->name);
        value_print(&whole, k, c);
        if (whole.failed) break;
        str_addf(out, "%s%s-", out->n ? "+" : "", short_key(g, k));
        exact = add_value(out, whole.p + from + strlen(k->name) + 1) && exact;
        str_addc(&whole, '\n');
    }
    int code = str_error(&whole, e);
    if (!code) code = str_error(out, e);
    if (!code && (!exact || out->n > KEYS_BYTES)) code = add_digest(out, &whole, e);
    str_free(&whole);
    return code;
}

static int make_name(struct sweep_grid *g, size_t i, struct err *e)
{
    struct config c;
    struct str s = { 0 };
    int code = parse_seeded(&c, g, i, e);
    if (code) return code;
    code = add_keys(&s, g, &c, e);
    str_addf(&s, "%sseed-%" PRId64, s.n ? "+" : "", c.train.seed);
    if (!code) code = str_error(&s, e);
    if (!code) snprintf(g->name[i], SWEEP_NAME_BYTES, "%s", s.p);
    str_free(&s);
    config_free(&c);
    return code;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const struct sweep_grid *g, struct err *e)
{
    const char **sorted = mem_alloc(g->n, sizeof *sorted, e);
    if (!sorted) return e->code;
    for (size_t i = 0; i < g->n; i++) sorted[i] = g->name[i];
    qsort(sorted, g->n, sizeof *sorted, compare_names);
    int code = 0;
    for (size_t i = 1; !code && i < g->n; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            code = err_usage(e, "two runs would both be %s: give each value of a key once",
                             sorted[i]);
    mem_free(sorted);
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static int check_arguments(const struct sweep_grid *g, struct err *e)
{
    bool any = g->seeds > 0;
    for (size_t a = 0; a < g->n_axes; a++) any = any || g->axis[a].n > 1;
    if (!any)
        return err_usage(e, "no key has several values: give one as key=value,value, or --seeds N; "
                            "lorac train makes a single run");
    if (varies(g, "output.dir"))
        return err_usage(e, "override output.dir: found several values, wanted one: each run gets "
                            "a directory of its own in it");
    if (g->seeds && varies(g, "train.seed"))
        return err_usage(e, "override train.seed: found several values and --seeds: wanted one of "
                            "both");
    return 0;
}

static int count_runs(struct sweep_grid *g, bool yes, struct err *e)
{
    size_t n = g->seeds ? (size_t)g->seeds : 1;
    bool fits = true;
    for (size_t a = 0; fits && a < g->n_axes; a++) fits = mem_mul(&n, n, g->axis[a].n);
    if (!fits || n > SWEEP_MOST)
        return err_usage(e, "a sweep of more than %d runs: wanted fewer values or seeds",
                         SWEEP_MOST);
    if (n > SWEEP_ASK && !yes)
        return err_usage(e, "a sweep of %zu runs, more than %d: if that is meant, add --yes", n,
                         SWEEP_ASK);
    g->n = n;
    return 0;
}

/* What all runs take from the first one: where they are, where their seeds begin. */
static int take_first(struct sweep_grid *g, struct err *e)
{
    struct config c;
    int code = parse(&c, g, 0, e);
    if (code) return code;
    bool seeded = g->seeds > 1 || varies(g, "train.seed");
    g->first_seed = c.train.seed;
    g->split_seed = config_split_seed(&c);
    g->holds_split = seeded && c.data.split_seed == CONFIG_NONE && c.data.validation.fraction > 0;
    g->measured = c.data.validation.fraction > 0 || c.data.validation.files.n > 0;
    g->dir = mem_strdup(c.output.dir, e);
    if (!g->dir) code = e->code;
    if (!code && g->seeds && g->first_seed > INT64_MAX - g->seeds)
        code = config_error(e, &c, "train.seed", "found %" PRId64 ", too large to count on from",
                            g->first_seed);
    config_free(&c);
    return code;
}

int sweep_grid_open(struct sweep_grid *g, const char *file, char *const *args, size_t n,
                    int64_t seeds, bool yes, struct err *e)
{
    *g = (struct sweep_grid){ .seeds = seeds };
    if (file_read(&g->text, file, YAML_BYTES, e)) return e->code = ERR_USAGE;
    g->file = mem_strdup(file, e);
    int code = g->file ? read_arguments(g, args, n, e) : e->code;
    if (!code) code = check_arguments(g, e);
    if (!code) code = take_first(g, e);
    if (!code) code = count_runs(g, yes, e);
    if (!code && !(g->name = mem_alloc(g->n, sizeof *g->name, e))) code = e->code;
    for (size_t i = 0; !code && i < g->n; i++) code = make_name(g, i, e);
    return code ? code : check_names(g, e);
}

void sweep_grid_free(struct sweep_grid *g)
{
    for (size_t a = 0; g->axis && a < g->n_axes; a++) sweep_axis_free(&g->axis[a]);
    mem_free(g->axis);
    mem_free(g->file);
    mem_free(g->dir);
    mem_free(g->name);
    str_free(&g->text);
    *g = (struct sweep_grid){ 0 };
}
