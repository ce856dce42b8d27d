#include "src/translate/translation.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/mem.h"
#include "src/base/safe.h"
#include "src/config/scalar.h"
#include "src/config/value.h"

static bool is_one_of(const struct yaml_node *v, const char *const *words)
{
    for (size_t i = 0; v->kind == YAML_SCALAR && words[i]; i++)
        if (!strcasecmp(v->text, words[i])) return true;
    return false;
}

bool is_true(const struct yaml_node *v)
{
    static const char *const words[] = { "true", "yes", "on", NULL };
    return is_one_of(v, words);
}

bool is_false(const struct yaml_node *v)
{
    static const char *const words[] = { "false", "no", "off", NULL };
    return is_one_of(v, words);
}

bool is_given(const struct yaml_node *v)
{
    if (v->kind != YAML_SCALAR) return v->child != NULL;
    return *v->text && !(v->plain && scalar_is_null(v->text));
}

const struct yaml_node *node_at(const struct yaml_node *root, const char *name)
{
    const char *dot = strchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : strlen(name);
    if (!root || root->kind != YAML_MAPPING) return NULL;
    for (const struct yaml_node *m = root->child; m; m = m->next) {
        if (strncmp(m->key, name, n) != 0 || m->key[n]) continue;
        if (dot) return node_at(m, dot + 1);
        return is_given(m) ? m : NULL;
    }
    return NULL;
}

const char *text_at(const struct translation *t, const char *name)
{
    const struct yaml_node *v = node_at(t->root, name);
    return v && v->kind == YAML_SCALAR ? v->text : NULL;
}

/* ---- keys of ours ---------------------------------------------------------------------------- */

static size_t index_of(const char *ours)
{
    const struct key *k = key_named(ours);
    CHECK(k);
    return (size_t)(k - config_keys);
}

/* What Python calls True is true here. */
static struct yaml_node spelt(const struct key *k, const struct yaml_node *v)
{
    struct yaml_node out = *v;
    if (k->type == VALUE_BOOL && is_true(v)) out.text = (char *)(uintptr_t) "true";
    if (k->type == VALUE_BOOL && is_false(v)) out.text = (char *)(uintptr_t) "false";
    return out;
}

int put(struct translation *t, const char *ours, const struct yaml_node *v, struct err *e)
{
    size_t i = index_of(ours), line = 0;
    struct yaml_node value = spelt(&config_keys[i], v);
    if (!value_read(&t->to, &config_keys[i], &value, &line, e)) {
        t->set[i] = true;
        return 0;
    }
    struct err failed = *e;
    value_free(&t->to, &config_keys[i]);
    int code = value_default(&t->to, &config_keys[i], e);
    t->set[i] = false;
    if (!code) *e = failed;
    return e->code;
}

int put_text(struct translation *t, const char *ours, const char *yaml, struct err *e)
{
    struct yaml_node *root;
    int code = yaml_tree_parse(&root, yaml, strlen(yaml), ours, false, e);
    if (!code && !root) return err_usage(e, "%s: found nothing", ours);
    if (!code) code = put(t, ours, root, e);
    yaml_tree_free(root);
    return code;
}

int put_name(struct translation *t, const char *ours, const char *name, struct err *e)
{
    struct str quoted = { 0 };
    scalar_add_text(&quoted, name);
    int code = str_error(&quoted, e);
    if (!code) code = put_text(t, ours, quoted.p, e);
    str_free(&quoted);
    return code;
}

/* ---- what is said ---------------------------------------------------------------------------- */

/* A safe line. */
__attribute__((format(printf, 3, 0))) static void say(char *out, size_t size, const char *fmt,
                                                      va_list ap)
{
    char raw[2400];
    vsnprintf(raw, sizeof raw, fmt, ap);
    safe_fit(out, size, raw, strlen(raw));
}

#define SAY(out, fmt)                                                                              \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        say(out, sizeof out, fmt, ap);                                                             \
        va_end(ap);                                                                                \
    } while (0)

void remark(struct translation *t, const char *ours, const char *fmt, ...)
{
    char text[1200];
    struct str *why = &t->why[index_of(ours)];
    SAY(text, fmt);
    if (why->n) str_addz(why, "; ");
    str_addz(why, text);
}

void multiply_batch(struct translation *t, const char *name, int64_t n, bool by_default)
{
    enum { MOST = 1048576 }; /* what the key takes */
    struct str *why = &t->why[CONFIG_KEY_train_batch_size];
    int64_t before = t->batch ? t->batch : 1;
    t->batch = before > MOST ? before : before * n;
    str_addf(why, "%s%s %lld%s", why->n ? " x " : "", name, (long long)n,
             by_default ? " (default)" : "");
}

/* Notes are kept in the order of the lines; those of one line in the order in which they came. */
static void add_note(struct translation *t, struct note n, const char *name, const char *text)
{
    struct err none;
    size_t i = t->n_notes;
    if (i == NOTES) t->failed = true;
    if (t->failed) return;
    n.name = mem_strdup(name, &none);
    n.text = mem_strdup(text, &none);
    t->failed = !n.name || !n.text;
    for (; i && t->notes[i - 1].line > n.line; i--) t->notes[i] = t->notes[i - 1];
    t->notes[i] = n;
    t->n_notes++;
    t->n_left += n.kind == NOTE_LEFT_OUT;
}

/* A name of theirs can hold anything. */
static void note_key(struct translation *t, const struct theirs *g, struct note n, const char *text)
{
    char name[160];
    safe_fit(name, sizeof name, g->name, strlen(g->name));
    n.line = g->v->key_line;
    add_note(t, n, name, text);
}

void leave(struct translation *t, const struct theirs *g, const char *fmt, ...)
{
    char text[1200], whole[1400];
    SAY(text, fmt);
    if (!g->by_default) {
        note_key(t, g, (struct note){ .kind = NOTE_LEFT_OUT }, text);
        return;
    }
    snprintf(whole, sizeof whole, "not given, and %s has a default of its own: %s", t->from->name,
             text);
    add_note(t, (struct note){ .kind = NOTE_OTHER }, g->name, whole);
}

void tell(struct translation *t, const struct theirs *g, const char *fmt, ...)
{
    char text[1200];
    SAY(text, fmt);
    note_key(t, g, (struct note){ .kind = NOTE_OTHER }, text);
}

void want(struct translation *t, const char *ours, const char *fmt, ...)
{
    char text[1200];
    SAY(text, fmt);
    add_note(t, (struct note){ .kind = NOTE_PUT_IN }, ours, text);
}

void notes_free(struct translation *t)
{
    for (size_t i = 0; i < t->n_notes; i++) {
        mem_free(t->notes[i].name);
        mem_free(t->notes[i].text);
    }
    t->n_notes = 0;
}

int refuse(const struct translation *t, const struct theirs *g, struct err *e, const char *fmt, ...)
{
    char text[1200];
    SAY(text, fmt);
    if (g->by_default) return err_set(e, "%s: without %s: %s", t->where, g->name, text);
    return err_set(e, "%s:%zu: %s: %s", t->where, g->v->key_line, g->name, text);
}
