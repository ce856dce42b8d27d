#include "src/translate/translate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/safe.h"
#include "src/config/value.h"
#include "src/translate/sources.h"
#include "src/translate/translation.h"

static const struct trainer *const trainers[] = {
#define TRAINER(name) &trainer_##name,
    TRAINERS(TRAINER)
#undef TRAINER
};
enum { N_TRAINERS = sizeof trainers / sizeof *trainers };

/* ---- whose file it is ------------------------------------------------------------------------ */

/* A single key can stand in any file; two of the same trainer are no accident. */
static const struct trainer *recognise(const struct yaml_node *root)
{
    const struct trainer *best = NULL;
    size_t most = 1;
    for (size_t i = 0; i < N_TRAINERS; i++) {
        size_t n = 0;
        const char *const *signs = trainers[i]->signs;
        for (size_t k = 0; signs[k]; k++) n += node_at(root, signs[k]) != NULL;
        if (n > most) most = n, best = trainers[i];
    }
    return best;
}

static int read_tree(struct yaml_node **root, const char *path, struct err *e)
{
    struct str text = { 0 };
    int code = file_read(&text, path, YAML_BYTES, e);
    if (!code) code = yaml_tree_parse(root, text.p ? text.p : "", text.n, path, true, e);
    str_free(&text);
    return code;
}

const char *trainer_of_file(const char *path)
{
    struct yaml_node *root;
    struct err unread;
    if (read_tree(&root, path, &unread)) return NULL;
    const struct trainer *known = recognise(root);
    yaml_tree_free(root);
    return known ? known->name : NULL;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_rows(struct translation *t, struct err *e)
{
    int code = 0;
    for (const struct row *r = t->from->rows; r->theirs && !code; r++) {
        const struct yaml_node *v = node_at(t->root, r->theirs);
        struct yaml_node *made = NULL;
        if (!v && r->by_default) {
            code = yaml_tree_parse(&made, r->by_default, strlen(r->by_default), r->theirs, false,
                                   e);
            if (code) return code;
        }
        struct theirs g = { r->theirs, v ? v : made, !v };
        if (g.v && r->read) code = r->read(t, r, &g, e);
        yaml_tree_free(made);
    }
    return code;
}

/* Whether a row reads the key, or a key below it. */
static bool has_row(const struct trainer *from, const char *name, bool below)
{
    size_t n = strlen(name);
    for (const struct row *r = from->rows; r->theirs; r++)
        if (!strncmp(r->theirs, name, n) && r->theirs[n] == (below ? '.' : 0)) return true;
    return false;
}

/* A key for which the trainer's table has no row, but which is ours, or a synonym of ours. */
static int read_other(struct translation *t, const struct theirs *g, struct err *e)
{
    const char *remark = NULL, *ours = key_translated(g->name, &remark);
    const struct key *k = ours ? key_named(ours) : NULL;
    if (!k || remark) {
        if (remark && ours)
            leave(t, g, "see %s: %s", ours, remark);
        else
            leave(t, g, "%s", remark ? remark : "lorac has nothing like it");
        return 0;
    }
    if (t->set[k - config_keys]) {
        leave(t, g, "%s is set by another key", ours);
        return 0;
    }
    if (k->type == VALUE_TEXT && g->v->kind == YAML_SCALAR && !is_local(g->v->text)) {
        leave(t, g, "%s is not a path that is here; see %s", err_quotez(g->v->text), ours);
        return 0;
    }
    if (!put(t, ours, g->v, e)) return 0;
    if (e->code != ERR_USAGE) return e->code;
    leave(t, g, "%s; %s stays %s", e->msg, ours, k->by_default ? k->by_default : "missing");
    return e->code = 0;
}

static int read_others(struct translation *t, const struct yaml_node *section, const char *prefix,
                       struct err *e)
{
    int code = 0;
    for (const struct yaml_node *m = section->child; m && !code; m = m->next) {
        char name[256];
        int n = snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "." : "", m->key);
        if (n < 0 || (size_t)n >= sizeof name || has_row(t->from, name, false)) continue;
        struct theirs g = { name, m, false };
        if (m->kind == YAML_MAPPING && has_row(t->from, name, true))
            code = read_others(t, m, name, e);
        else if (is_given(m))
            code = read_other(t, &g, e);
    }
    return code;
}

/* What a file of ours must have, and theirs did not give. */
static int put_required(struct translation *t, struct err *e)
{
    static const struct {
        size_t index;
        const char *key, *what, *path;
    } rows[] = {
        { CONFIG_KEY_model_path, "model.path", "model", "models/base" },
        { CONFIG_KEY_data_train, "data.train", "file of records", "datasets/train.jsonl" },
        { CONFIG_KEY_output_dir, "output.dir", "directory for the run",
          "checkpoints/runs/translated" },
    };
    int code = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !code; i++) {
        if (t->set[rows[i].index]) continue;
        want(t, rows[i].key, "%s names no %s: put one in; now it says %s", t->where, rows[i].what,
             rows[i].path);
        code = put_name(t, rows[i].key, rows[i].path, e);
    }
    return code;
}

static int put_batch(struct translation *t, struct err *e)
{
    char text[32];
    struct str *why = &t->why[CONFIG_KEY_train_batch_size];
    if (!t->batch) return 0;
    str_addz(why, ", for one GPU: there each GPU or process adds as many");
    snprintf(text, sizeof text, "%lld", (long long)t->batch);
    if (!put_text(t, "train.batch_size", text, e)) return 0;
    return e->code == ERR_USAGE ? err_prefix(e, "train.batch_size") : e->code;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A comment, wrapped at words; `first` begins its first line, `next` the others. */
static void add_comment(struct str *out, const char *first, const char *next, const char *text)
{
    enum { WIDTH = 98 };
    size_t at = strlen(first);
    str_addz(out, first);
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at + 1 + n > WIDTH && at > strlen(next)) {
            str_addf(out, "\n%s", next);
            at = strlen(next);
        }
        str_addc(out, ' ');
        str_add(out, text, n);
        at += 1 + n;
        text += n + strspn(text + n, " ");
    }
    str_addc(out, '\n');
}

/* The notes of one kind, as a list below a title. */
static void add_list(struct str *out, const struct translation *t, int kind, const char *title)
{
    bool any = false;
    for (size_t i = 0; i < t->n_notes; i++) {
        char line[1600];
        const struct note *n = &t->notes[i];
        if ((int)n->kind != kind) continue;
        if (!any) str_addf(out, "#\n# %s\n", title);
        any = true;
        snprintf(line, sizeof line, "%s: %s", n->name, n->text);
        add_comment(out, "# -", "#  ", line);
    }
}

/* What the terminal shows. */
static void list_notes(struct translated *out, const struct translation *t)
{
    for (size_t i = 0; i < t->n_notes; i++) {
        const struct note *n = &t->notes[i];
        const char *how = n->kind == NOTE_LEFT_OUT ? "left out: " : "";
        if (n->line)
            str_add_line(&out->notes, "%s:%zu: %s: %s%s\n", t->where, n->line, n->name, how,
                         n->text);
        else
            str_add_line(&out->notes, "%s: %s%s\n", n->name, how, n->text);
        out->wanted |= n->kind == NOTE_PUT_IN;
    }
    out->left = t->n_left;
}

static void write_keys(struct translated *out, const struct translation *t)
{
    const char *section = "";
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (!t->set[i]) continue;
        if (strcmp(section, k->section) != 0) str_addf(&out->text, "%s:\n", k->section);
        section = k->section;
        if (t->why[i].n) add_comment(&out->text, "  #", "  #", t->why[i].p);
        str_addf(&out->text, "  %s:", k->last);
        value_print(&out->text, k, &t->to);
        str_addc(&out->text, '\n');
        out->keys++;
    }
}

static int write_all(struct translated *out, const struct translation *t, struct err *e)
{
    struct config read_back;
    char raw[PATH_BYTES + 100], title[1200];
    snprintf(raw, sizeof raw, "Translated by lorac convert from %s, which is written for %s.",
             t->where, t->from->name);
    safe_fit(title, sizeof title, raw, strlen(raw));
    add_comment(&out->text, "#", "#", title);
    add_list(&out->text, t, NOTE_PUT_IN, "To be put in:");
    add_list(&out->text, t, NOTE_LEFT_OUT, "Left out:");
    write_keys(out, t);
    list_notes(out, t);
    int code = str_error(&out->text, e);
    if (!code) code = str_error(&out->notes, e);
    if (code) return code;
    code = config_parse(&read_back, out->text.p, out->text.n, "the translation", NULL, 0, e);
    if (!code) config_free(&read_back);
    return code;
}

static int translate(struct translated *out, struct translation *t, struct err *e)
{
    int code = 0;
    for (size_t i = 0; i < CONFIG_KEYS && !code; i++)
        code = value_default(&t->to, &config_keys[i], e);
    if (!code) code = read_rows(t, e);
    if (!code) code = read_others(t, t->root, "", e);
    if (!code && t->from->finish) code = t->from->finish(t, e);
    if (!code) code = put_batch(t, e);
    if (!code) code = sources_finish(t, e);
    if (!code) code = put_required(t, e);
    if (!code && t->n_notes == NOTES)
        code = err_set(e, "%s: more than %d keys are not known: not a training file", t->where,
                       NOTES);
    if (code == ERR_USAGE) code = err_prefix(e, "%s", t->where); /* what two keys make together */
    if (!code && t->failed) code = err_code(e, ERR_MEMORY, "%s: out of memory", t->where);
    return code ? code : write_all(out, t, e);
}

static void translation_free(struct translation *t)
{
    sources_free(t);
    config_free(&t->to);
    for (size_t i = 0; i < CONFIG_KEYS; i++) str_free(&t->why[i]);
    notes_free(t);
}

static int unknown_file(const struct yaml_node *root, const char *path, struct err *e)
{
    struct config own;
    struct err why;
    if (!config_load(&own, path, NULL, 0, &why)) {
        config_free(&own);
        return err_usage(e, "%s: is a configuration of lorac already", path);
    }
    if (!root) return err_set(e, "%s: is empty, wanted a training file of " TRAINER_NAMES, path);
    return err_set(e, "%s: found no keys of a training file of " TRAINER_NAMES, path);
}

int translate_file(struct translated *out, const char *path, struct err *e)
{
    struct yaml_node *root = NULL;
    *out = (struct translated){ 0 };
    int code = read_tree(&root, path, e);
    if (code) return code;
    struct translation *t = mem_alloc(1, sizeof *t, e);
    const struct trainer *from = recognise(root);
    if (!t) {
        code = e->code;
    } else if (!from) {
        code = unknown_file(root, path, e);
    } else {
        *t = (struct translation){ .from = from, .root = root, .where = path };
        out->trainer = from->name;
        code = translate(out, t, e);
        translation_free(t);
    }
    mem_free(t);
    yaml_tree_free(root);
    return code;
}

void translated_free(struct translated *out)
{
    str_free(&out->text);
    str_free(&out->notes);
}
