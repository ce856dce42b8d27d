#include "src/data/hint.h"

#include <string.h>

#include "src/data/fields.h"

void hint_name(struct str *out, const char *key)
{
    enum { SHOWN = 40 }; /* a longer name may be misplaced text of the record */
    static const char word[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.[]-";
    size_t n = strlen(key);
    bool plain = n > 0 && strspn(key, word) == n && key[0] != '-' && key[0] != '[';
    str_addz(out, n > SHOWN ? "(a long name)" : plain ? key : err_quotez(key));
}

/* The column that each field would be, by its name or by a similar name. */
struct guess {
    const char *key[FIELDS];
    const char *misspelt, *meant; /* the first name that is similar to a known one */
};

static void guess_fields(struct guess *g, const json_t *record)
{
    struct fields f;
    const char *key;
    json_t *value;
    *g = (struct guess){ 0 };
    fields_find(&f, record, NULL);
    for (int i = 0; i < FIELDS; i++)
        if (f.n[i]) g->key[i] = f.at[i][0].key;
    if (f.input_is_prompt) {
        g->key[FIELD_INPUT] = g->key[FIELD_PROMPT];
        g->key[FIELD_PROMPT] = NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)record, key, value)
    {
        enum field field;
        const char *meant = field_nearest(&field, key);
        if (!meant || g->key[field]) continue;
        g->key[field] = key;
        if (!g->misspelt) g->misspelt = key, g->meant = meant;
    }
    if (g->key[FIELD_PROMPT] || !g->key[FIELD_INPUT]) return;
    g->key[FIELD_PROMPT] = g->key[FIELD_INPUT];
    g->key[FIELD_INPUT] = NULL;
}

static void add_columns(struct str *out, const struct guess *g)
{
    static const enum field order[] = { FIELD_PROMPT, FIELD_INPUT, FIELD_CHOICES,
                                        FIELD_COMPLETION };
    const char *before = "data.columns: {";
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if (!g->key[order[i]]) continue;
        str_addf(out, "%s%s: ", before, field_column(order[i]));
        hint_name(out, g->key[order[i]]);
        before = ", ";
    }
    str_addc(out, '}');
}

/* A name similar to a key that holds the records of another format. */
static const char *near_format(const char **meant, const json_t *record)
{
    static const char *const names[] = {
        "messages",  "conversations", "conversation", "dialogue",
        "input_ids", "segments",      "thread",       "instances"
    };
    const char *key, *best = NULL;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)record, key, value)
    {
        size_t least = strlen(key) < 7 ? 2 : 3;
        if (strlen(key) < 5 || !json_is_array(value)) continue;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            size_t distance = str_distance(key, names[i]);
            if (distance >= least) continue;
            least = distance;
            *meant = i == 2 || i == 3 ? names[1] : names[i];
            best = key;
        }
    }
    return best;
}

/* A text beside a prompt or an answer: the user must say which of the two is learnt. */
static bool hint_text(struct str *out, const struct guess *g, const json_t *record)
{
    struct guess with = *g;
    enum field other = g->key[FIELD_COMPLETION] ? FIELD_COMPLETION : FIELD_PROMPT;
    if (!json_is_string(json_object_get(record, "text")) || !g->key[other]) return false;
    str_addz(out, "; text stands beside ");
    hint_name(out, g->key[other]);
    str_addz(out, ": write data.format: text to train on the text alone, or ");
    with.key[other == FIELD_PROMPT ? FIELD_COMPLETION : FIELD_PROMPT] = "text";
    add_columns(out, &with);
    return true;
}

void hint_columns(struct str *out, const json_t *record)
{
    struct guess g;
    const char *meant;
    guess_fields(&g, record);
    if (hint_text(out, &g, record)) return;
    if (g.misspelt) {
        str_addz(out, "; is ");
        hint_name(out, g.misspelt);
        str_addf(out, " meant as %s? Then write ", g.meant);
        if (!g.key[FIELD_PROMPT]) g.key[FIELD_PROMPT] = "...";
        if (!g.key[FIELD_COMPLETION]) g.key[FIELD_COMPLETION] = "...";
        add_columns(out, &g);
        return;
    }
    const char *key = near_format(&meant, record);
    if (!key) return;
    str_addz(out, "; is ");
    hint_name(out, key);
    str_addf(out, " meant as %s?", meant);
    if (strcmp(meant, "messages") != 0 && strcmp(meant, "conversations") != 0) return;
    str_addz(out, " Then write data.columns: {messages: ");
    hint_name(out, key);
    str_addc(out, '}');
}
