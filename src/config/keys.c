#include "src/config/keys.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "src/base/utf8.h"

_Static_assert(sizeof(enum data_format) == sizeof(int), "value.c stores choices as int");

#define WORD(id, word) word,
#define WORDS(name)                                                                                \
    static const char *const config_##name##_words[] = { CONFIG_WORDS_##name(WORD) NULL }
WORDS(on_error);
WORDS(lr_scheduler_type);
WORDS(share_prefixes);
WORDS(activations);

/* CHOICE(overlong) in keys.def becomes VALUE_CHOICE(overlong), which also names the words. */
#define VALUE_CHOICE(name) VALUE_CHOICE, .words = name##_words
#define SAME               true
#define FREE               false

const struct key config_keys[CONFIG_KEYS] = {
#define SECTION(s)
#define END(s)
#define KEY(section_, name_, type_, default_, allowed_, resume_, help_)                            \
    { .section = #section_,                                                                        \
      .last = #name_,                                                                              \
      .name = #section_ "." #name_,                                                                \
      .type = VALUE_##type_,                                                                       \
      .by_default = default_,                                                                      \
      .allowed = allowed_,                                                                         \
      .help = help_,                                                                               \
      .same_on_resume = resume_,                                                                   \
      .offset = offsetof(struct config, section_.name_) },
#include "src/config/keys.def"
};

const struct synonym config_synonyms[] = {
#define SYNONYM(theirs, ours, remark) { theirs, ours, remark },
#include "src/config/synonyms.def"
    { NULL, NULL, NULL },
};

const struct key *key_named(const char *name)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (!strcmp(config_keys[i].name, name)) return &config_keys[i];
    return NULL;
}

bool key_section_exists(const char *section)
{
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (!strcmp(config_keys[i].section, section)) return true;
    return false;
}

void key_list(struct str *out, const char *section)
{
    const char *before = "";
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (section && strcmp(section, k->section) != 0) continue;
        if (!section && i && !strcmp(k->section, config_keys[i - 1].section)) continue;
        str_addf(out, "%s%s", before, section ? k->last : k->section);
        before = ", ";
    }
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* Their names are compared as Python's argparse would: Lora-R is lora_r. A * at b's end stands for
 * any rest. */
static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        int c = *a == '-' ? '_' : tolower((unsigned char)*a);
        if (c != *b) break;
    }
    return *a == *b || (*b == '*' && !b[1]);
}

static const struct synonym *synonym_of(const char *name)
{
    const struct synonym *found = NULL;
    for (const struct synonym *s = config_synonyms; s->name; s++) {
        if (same_name(name, s->name)) return s;
        if (!found && same_name(last_part(name), s->name)) found = s;
    }
    return found;
}

const char *key_translated(const char *theirs, const char **remark)
{
    const struct synonym *s = synonym_of(theirs);
    *remark = s ? s->remark : NULL;
    if (s) return s->ours;
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (!strcmp(config_keys[i].last, last_part(theirs))) return config_keys[i].name;
    return NULL;
}

/* A letter that only looks like an ASCII one: " (its letter 2 is U+0435, not plain ASCII)". */
static void tell_foreign_letter(char *out, size_t size, const char *name)
{
    *out = 0;
    size_t left = strlen(name);
    for (size_t i = 1; left; i++) {
        uint32_t c = 0;
        size_t n = utf8_decode(&c, name, left);
        if (n > 1) snprintf(out, size, " (its letter %zu is U+%04X, not plain ASCII)", i, c);
        if (n != 1) return;
        name += n;
        left -= n;
    }
}

/* A key with that last name in another section, or else the key that is spelt most like it. */
static const char *nearest_key(const char *name, bool *elsewhere)
{
    struct str_nearest whole = { .word = name }, last = { .word = last_part(name) };
    const char *of_last = NULL;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (!strcmp(k->last, last.word)) {
            *elsewhere = true;
            return k->name;
        }
        str_nearest_try(&whole, k->name);
        const char *before = last.best;
        str_nearest_try(&last, k->last);
        if (last.best != before) of_last = k->name;
    }
    /* A slip in the last name counts as much as one in the whole. */
    return whole.best && (!last.best || whole.distance <= last.distance) ? whole.best : of_last;
}

/* Other trainers' names for a section. */
static const struct {
    const char *theirs, *ours;
} sections[] = {
    { "training", "train" },      { "trainer", "train" },    { "train_args", "train" },
    { "training_args", "train" }, { "sft", "train" },        { "hyperparameters", "train" },
    { "optimization", "train" },  { "peft", "adapter" },     { "lora", "adapter" },
    { "lora_config", "adapter" }, { "adapters", "adapter" }, { "peft_config", "adapter" },
    { "base", "model" },          { "llm", "model" },        { "dataset", "data" },
    { "datasets", "data" },       { "run", "output" },       { "logging", "output" },
    { "tokenizer", "model" },
};

/* The section that a name probably means, or NULL. */
static const char *nearest_section(const char *name)
{
    struct str_nearest nearest = { .word = name };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (same_name(name, sections[i].theirs)) return sections[i].ours;
    for (size_t i = 0; i < CONFIG_KEYS; i++) str_nearest_try(&nearest, config_keys[i].section);
    return nearest.best;
}

static int section_unknown(struct err *e, const char *name)
{
    struct str all = { 0 };
    const char *nearest = nearest_section(name), *shown = err_quotez(name);
    key_list(&all, NULL);
    if (nearest)
        err_usage(e, "unknown section %s; did you mean %s?", shown, nearest);
    else
        err_usage(e, "unknown section %s, wanted one of %s", shown, all.p ? all.p : "");
    str_free(&all);
    return e->code;
}

int key_unknown(struct err *e, const char *name, bool section)
{
    const char *shown = err_quotez(name);
    const struct synonym *s = synonym_of(name);
    if (section && nearest_section(name)) return section_unknown(e, name);
    if (s && !s->ours) return err_usage(e, "unknown key %s: %s", shown, s->remark);
    if (s && !s->remark) return err_usage(e, "unknown key %s: write %s", shown, s->ours);
    if (s) return err_usage(e, "unknown key %s: write %s (%s)", shown, s->ours, s->remark);
    if (section) return section_unknown(e, name);
    bool elsewhere = false;
    const char *nearest = nearest_key(name, &elsewhere);
    if (elsewhere) return err_usage(e, "unknown key %s: write %s", shown, nearest);
    char foreign[64];
    tell_foreign_letter(foreign, sizeof foreign, name);
    if (!strchr(name, '.') && nearest_section(name)) return section_unknown(e, name);
    if (nearest) return err_usage(e, "unknown key %s%s; did you mean %s?", shown, foreign, nearest);
    return err_usage(e, "unknown key %s%s; 'lorac help keys' lists all", shown, foreign);
}
