#include "src/config/words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *key, *theirs, *remedy;
} theirs[] = {
#define WORD(key, word, remedy) { key, word, remedy },
#include "src/config/words.def"
};

/* In lower case, with _ in place of other separators. */
static void normalise(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        out[n++] = strchr("-. ", *text) ? '_' : (char)tolower((unsigned char)*text);
    out[n] = 0;
}

/* The words that a key takes, one at a time; NULL after the last. */
static const char *word_of(const struct key *k, size_t i)
{
    static const char *const truths[] = { "true", "false", NULL }, *const automatic[] = { "auto" };
    static const char *const null[] = { "null" }, *const all[] = { "all-linear" };
    switch (k->type) {
    case VALUE_CHOICE:
        return k->words[i];
    case VALUE_BOOL:
        return truths[i];
    case VALUE_MODULES:
        return i < MODULES ? module_words[i] : i == MODULES ? all[0] : NULL;
    case VALUE_AUTO_INT:
    case VALUE_AUTO_REAL:
    case VALUE_AUTO_BYTES:
    case VALUE_AUTO_SECONDS:
        return i ? NULL : automatic[0];
    case VALUE_NULL_INT:
    case VALUE_INTERVAL:
    case VALUE_COLUMNS:
        return i ? NULL : null[0];
    case VALUE_TEXT:
    case VALUE_TEMPLATE:
        return i || !k->by_default ? NULL : null[0];
    default:
        return NULL;
    }
}

static bool takes(const struct key *k, const char *word)
{
    for (size_t i = 0; word_of(k, i); i++)
        if (!strcmp(word_of(k, i), word)) return true;
    return false;
}

/* Words of other languages and YAML readers for one of the usual words. */
static const char *usual_word(const struct key *k, const char *text)
{
    static const struct {
        const char *theirs, *ours;
    } rows[] = {
        { "yes", "true" },    { "on", "true" },        { "y", "true" },     { "1", "true" },
        { "no", "false" },    { "off", "false" },      { "n", "false" },    { "0", "false" },
        { "none", "null" },   { "nil", "null" },       { "nan", "null" },   { "undefined", "null" },
        { "~", "null" },      { "null", "auto" },      { "none", "auto" },  { "default", "auto" },
        { "always", "true" }, { "never", "false" },    { "false", "null" }, { "no", "null" },
        { "auto", "null" },   { "automatic", "auto" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(text, rows[i].theirs) && takes(k, rows[i].ours)) return rows[i].ours;
    return NULL;
}

/* The word that begins with text, or that text begins or ends with. */
static const char *word_with_beginning(const struct key *k, const char *text)
{
    char word[64];
    size_t n = strlen(text);
    const char *begins = NULL;
    for (size_t i = 0; word_of(k, i); i++) {
        normalise(word, sizeof word, word_of(k, i));
        if (n && !strncmp(word, text, n)) return word_of(k, i);
        size_t m = strlen(word);
        if (!strncmp(word, text, m) && text[m] == '_') begins = word_of(k, i);
        if (n > m && text[n - m - 1] == '_' && !strcmp(text + n - m, word)) begins = word_of(k, i);
    }
    return begins;
}

const char *word_remedy(const struct key *k, const char *text)
{
    static char remedy[96];
    char word[64];
    if (strlen(text) >= sizeof word) return "";
    normalise(word, sizeof word, text);
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        if (k->last && !strcmp(theirs[i].key, k->last) && !strcmp(theirs[i].theirs, word))
            return theirs[i].remedy;
    const char *ours = usual_word(k, word);
    struct str_nearest nearest = { .word = word };
    for (size_t i = 0; word_of(k, i) && !ours; i++) {
        char one[64];
        normalise(one, sizeof one, word_of(k, i));
        if (!strcmp(one, word)) ours = word_of(k, i);
        const struct str_nearest before = nearest;
        str_nearest_try(&nearest, one);
        if (nearest.best != before.best) nearest.best = word_of(k, i);
    }
    if (ours) {
        snprintf(remedy, sizeof remedy, "write %s", ours);
        return remedy;
    }
    const char *near = nearest.best ? nearest.best : word_with_beginning(k, word);
    if (!near) return "";
    snprintf(remedy, sizeof remedy, "did you mean %s?", near);
    return remedy;
}
