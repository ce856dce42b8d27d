#include "src/data/choices.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

void choices_free(struct choices *c)
{
    str_free(&c->texts);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Store the text of v without the space around it. */
static int store(size_t *at, size_t *n, struct choices *c, const struct reading *r,
                 const char *field, const json_t *v)
{
    struct str one = { 0 };
    int code = reading_text(&one, r, field, v);
    size_t from = 0, to = one.n;
    while (from < to && is_blank(one.p[from])) from++;
    while (to > from && is_blank(one.p[to - 1])) to--;
    *at = c->texts.n;
    *n = to - from;
    if (!code && *n) str_add(&c->texts, one.p + from, *n);
    if (!code) str_addc(&c->texts, 0);
    str_free(&one);
    return code ? code : str_error(&c->texts, r->e);
}

static int add(struct choices *c, const struct reading *r, const char *key, const json_t *text,
               const json_t *label)
{
    char field[64];
    if (c->n == CHOICES_MOST) {
        return reading_fault(r, FAULT_VALUE, key, "found more than %d choices", CHOICES_MOST);
    }
    struct choice *at = &c->at[c->n];
    *at = (struct choice){ .letter = (char)('A' + c->n) };
    snprintf(field, sizeof field, "%.40s[%zu]", key, c->n);
    int code = store(&at->text, &at->text_n, c, r, field, text);
    if (!code && at->text_n == 0) {
        return reading_fault(r, FAULT_VALUE, field, "found an empty choice, wanted a text");
    }
    snprintf(field, sizeof field, "%.40s[%zu].label", key, c->n);
    if (!code && label && !json_is_null(label)) {
        code = store(&at->label, &at->label_n, c, r, field, label);
    }
    c->n++;
    return code;
}

static int add_list(struct choices *c, const struct reading *r, const char *key, const json_t *list)
{
    int code = 0;
    for (size_t i = 0; !code && i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i), *label = NULL;
        if (json_is_object(v)) {
            label = json_object_get(v, "label");
            if (!label) label = json_object_get(v, "key");
            v = json_object_get(v, "text");
        }
        code = add(c, r, key, v, label);
    }
    return code;
}

/* {text: [...], label: [...]} */
static int add_pairs(struct choices *c, const struct reading *r, const char *key,
                     const json_t *texts, const json_t *labels)
{
    int code = 0;
    size_t n = json_array_size(texts);
    if (labels && json_array_size(labels) != n) {
        return reading_fault(r, FAULT_VALUE, key, "found %s, wanted %zu, as many as texts",
                             str_count(json_array_size(labels), "label"), n);
    }
    for (size_t i = 0; !code && i < n; i++) {
        code = add(c, r, key, json_array_get(texts, i), json_array_get(labels, i));
    }
    return code;
}

/* {"A": ..., "B": ...}; null marks a choice that this record does not have. */
static int add_map(struct choices *c, const struct reading *r, const char *key, const json_t *map)
{
    const char *name;
    json_t *v;
    int code = 0;
    json_object_foreach((json_t *)(uintptr_t)map, name, v)
    {
        if (json_is_null(v)) continue;
        json_t *label = json_string(name);
        if (!label) return err_set(r->e, "out of memory: choices");
        code = add(c, r, key, v, label);
        json_decref(label);
        if (code) return code;
    }
    return 0;
}

static char letter_of(const char *text, size_t n)
{
    if (n != 1) return 0;
    if (*text >= 'a' && *text <= 'z') return (char)(*text - 'a' + 'A');
    return *text >= 'A' && *text <= 'Z' ? *text : 0;
}

/* Labels that are different letters become the letters of the choices. */
static void take_letters(struct choices *c)
{
    uint32_t seen = 0;
    for (size_t i = 0; i < c->n; i++) {
        char letter = letter_of(c->texts.p + c->at[i].label, c->at[i].label_n);
        if (!letter || seen & 1u << (letter - 'A')) return;
        seen |= 1u << (letter - 'A');
    }
    for (size_t i = 0; i < c->n; i++)
        c->at[i].letter = letter_of(c->texts.p + c->at[i].label, c->at[i].label_n);
}

/* The bytes of "B. ", "B) ", "(b) ", "B: " or "B" at the beginning of a text; 0 when there is
 * none. */
static size_t letter_prefix(char *letter, const char *text, size_t n)
{
    bool bracket = n > 2 && *text == '(';
    size_t i = bracket;
    *letter = i < n ? letter_of(text + i, 1) : 0;
    if (!*letter) return 0;
    i++;
    if (i == n && !bracket) return i;
    if (i == n || !strchr(bracket ? ")" : ".):", text[i])) return 0;
    i++;
    while (i < n && is_blank(text[i])) i++;
    return i;
}

/* When all texts begin with their own letters, in order, those letters are removed. */
static void strip_letters(struct choices *c)
{
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < c->n; i++) {
            struct choice *at = &c->at[i];
            char letter;
            size_t n = letter_prefix(&letter, c->texts.p + at->text, at->text_n);
            if (n < 2 || n == at->text_n || letter != at->letter) return;
            if (round == 1) at->text += n, at->text_n -= n;
        }
    }
}

int choices_read(struct choices *c, const struct reading *r, const char *key, const json_t *v)
{
    const json_t *texts = json_object_get(v, "text"), *labels = json_object_get(v, "label");
    c->n = 0;
    c->is_text = json_is_string(v) && json_string_length(v) > 0;
    str_clear(&c->texts);
    if (!v || json_is_null(v)) return 0;
    if (json_is_string(v)) {
        str_add(&c->texts, json_string_value(v), json_string_length(v));
        return str_error(&c->texts, r->e);
    }
    if (!json_is_array(v) && !json_is_object(v)) {
        return reading_unwanted(r, key, v, "a list of choices, or {text: [...], label: [...]}");
    }
    int code = json_is_array(v)       ? add_list(c, r, key, v)
               : json_is_array(texts) ? add_pairs(c, r, key, texts, labels)
                                      : add_map(c, r, key, v);
    if (code) return code;
    take_letters(c);
    strip_letters(c);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

void choices_add_one(struct str *out, const struct choices *c, size_t i)
{
    str_addc(out, c->at[i].letter);
    str_addz(out, ". ");
    str_add(out, c->texts.p + c->at[i].text, c->at[i].text_n);
}

void choices_add(struct str *out, const struct choices *c)
{
    if (c->is_text) str_add(out, c->texts.p, c->texts.n);
    for (size_t i = 0; i < c->n; i++) {
        if (i) str_addc(out, '\n');
        choices_add_one(out, c, i);
    }
}

/* ---- the answer ------------------------------------------------------------------------------ */

enum { NOT_FOUND = CHOICES_MOST, SEVERAL };

static size_t by_text(const struct choices *c, const char *text, size_t n, bool any_case)
{
    size_t found = NOT_FOUND;
    for (size_t i = 0; i < c->n; i++) {
        const char *own = c->texts.p + c->at[i].text;
        if (c->at[i].text_n != n || (any_case ? strncasecmp(own, text, n) : memcmp(own, text, n)))
            continue;
        found = found == NOT_FOUND ? i : SEVERAL;
    }
    return found;
}

static size_t by_label(const struct choices *c, const char *text, size_t n)
{
    for (size_t i = 0; i < c->n; i++) {
        if (c->at[i].label_n == n && n && strncasecmp(c->texts.p + c->at[i].label, text, n) == 0)
            return i;
    }
    return NOT_FOUND;
}

/* An answer "B", "(b)", or "B. text" when that is B's text. */
static size_t by_letter(const struct choices *c, const char *text, size_t n)
{
    char letter;
    size_t prefix = letter_prefix(&letter, text, n), i = 0;
    if (prefix == 0) return NOT_FOUND;
    while (i < c->n && c->at[i].letter != letter) i++;
    if (i == c->n) return NOT_FOUND;
    if (prefix == n) return i;
    bool same = c->at[i].text_n == n - prefix &&
                strncasecmp(c->texts.p + c->at[i].text, text + prefix, n - prefix) == 0;
    return same ? i : NOT_FOUND;
}

static size_t by_index(const struct choices *c, const char *text, size_t n)
{
    size_t index = 0;
    if (n == 0 || n > 2 || strspn(text, "0123456789") != n) return NOT_FOUND;
    for (size_t i = 0; i < n; i++) index = 10 * index + (size_t)(text[i] - '0');
    return index < c->n ? index : NOT_FOUND;
}

/* Whether the choices have their own numbers: then an index could be off by one. */
static bool are_numbered(const struct choices *c)
{
    for (size_t i = 0; i < c->n; i++) {
        size_t n = c->at[i].label_n;
        if (n && strspn(c->texts.p + c->at[i].label, "0123456789") == n) return true;
    }
    return false;
}

/* The choice that an answer means. Every way to read the answer must mean the same choice; labels
 * are stronger than an index. *counted: the answer is an index and nothing else. */
static size_t meant(bool *counted, const struct choices *c, const char *text, size_t n)
{
    size_t label = by_label(c, text, n), own = by_text(c, text, n, false);
    if (own == NOT_FOUND) own = by_text(c, text, n, true);
    size_t letter = label == NOT_FOUND ? by_letter(c, text, n) : label;
    size_t index = label != NOT_FOUND ? label : are_numbered(c) ? NOT_FOUND : by_index(c, text, n);
    size_t ways[] = { label, letter, own, index }, found = NOT_FOUND;
    *counted = label == NOT_FOUND && letter == NOT_FOUND && own == NOT_FOUND;
    for (size_t i = 0; i < 4; i++) {
        if (ways[i] == NOT_FOUND) continue;
        if (found != NOT_FOUND && found != ways[i]) return SEVERAL;
        found = ways[i];
    }
    return found;
}

int choices_find(size_t *out, const struct choices *c, const struct reading *r, const char *key,
                 const json_t *v)
{
    struct str text = { 0 };
    if (json_is_object(v) || json_is_array(v) || json_is_null(v)) {
        return reading_unwanted(r, key, v, "one of the choices: a letter, a text or an index");
    }
    if (json_is_boolean(v)) str_addz(&text, json_is_true(v) ? "true" : "false");
    if (json_is_integer(v)) str_addf(&text, "%lld", (long long)json_integer_value(v));
    if (json_is_string(v)) str_add(&text, json_string_value(v), json_string_length(v));
    int code = json_is_real(v) ? reading_text(&text, r, key, v) : 0;
    size_t from = 0, n = text.n;
    while (from < n && is_blank(text.p[from])) from++;
    while (n > from && is_blank(text.p[n - 1])) n--;
    if (!code) code = str_error(&text, r->e);
    bool counted = false;
    if (!code) *out = n > from ? meant(&counted, c, text.p + from, n - from) : NOT_FOUND;
    str_free(&text);
    if (!code && *out < CHOICES_MOST && counted) reading_remark(r, REMARK_INDEX, key);
    if (code || *out < CHOICES_MOST) return code;
    if (*out == SEVERAL) {
        return reading_fault(r, FAULT_VALUE, key,
                             "found an answer that can mean more than one of the %s, "
                             "wanted its letter (or, to read no choices, data.columns)",
                             str_count(c->n, "choice"));
    }
    char index[48] = "number", found[48] = "something other than the only choice";
    if (c->n > 1) snprintf(found, sizeof found, "none of the %zu choices", c->n);
    if (!are_numbered(c)) snprintf(index, sizeof index, "index (from 0 to %zu)", c->n - 1);
    return reading_fault(r, FAULT_VALUE, key,
                         "found %s, wanted the letter, the text or the %s of one; or, to read the "
                         "answer as it stands, data.columns: {prompt: ..., completion: ...}",
                         found, index);
}
