/* Reads whether records and messages are to be trained, under the names that other trainers use:
 * axolotl's train and training, OpenAI's weight, ms-swift's loss, NeMo's mask, and others. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/data/reading.h"

enum { TAKES_BOOL = 1, TAKES_NUMBER = 2, LEAVES_OUT = 4 };

static const struct {
    const char *name;
    unsigned kind; /* LEAVES_OUT: true means that it is not trained */
} rows[] = {
    { "train", TAKES_BOOL },
    { "training", TAKES_BOOL | TAKES_NUMBER },
    { "trainable", TAKES_BOOL | TAKES_NUMBER },
    { "do_train", TAKES_BOOL | TAKES_NUMBER },
    { "is_trainable", TAKES_BOOL | TAKES_NUMBER },
    { "loss", TAKES_BOOL | TAKES_NUMBER },
    { "compute_loss", TAKES_BOOL | TAKES_NUMBER },
    { "loss_mask", TAKES_BOOL | TAKES_NUMBER }, /* 1 means loss */
    { "weight", TAKES_NUMBER },
    { "loss_weight", TAKES_BOOL | TAKES_NUMBER },
    { "mask", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "masked", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "is_masked", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "ignore", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "ignore_loss", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "no_loss", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "no_train", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
    { "exclude", TAKES_BOOL | TAKES_NUMBER | LEAVES_OUT },
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool is_used(const struct used *used, const char *key)
{
    size_t i = 0;
    while (i < used->n && strcmp(used->key[i], key) != 0) i++;
    return i < used->n;
}

static const char *wanted_of(unsigned kind)
{
    switch (kind & (TAKES_BOOL | TAKES_NUMBER)) {
    case TAKES_BOOL:
        return "true or false";
    case TAKES_NUMBER:
        return "0 or 1 (an answer is learnt wholly or not at all)";
    default:
        return "true, false, 0 or 1 (an answer is learnt wholly or not at all)";
    }
}

/* true, false, 0, 1, or a string that spells one of them, as in the cells of tables. */
static bool is_said(bool *out, unsigned kind, const json_t *v)
{
    static const char *const words[] = { "false", "true", "0", "1" };
    if (json_is_boolean(v)) {
        *out = json_is_true(v);
        return kind & TAKES_BOOL;
    }
    if (json_is_number(v)) {
        *out = json_number_value(v) != 0;
        return kind & TAKES_NUMBER && (json_number_value(v) == 0 || json_number_value(v) == 1);
    }
    for (size_t i = 0; json_is_string(v) && i < 4; i++) {
        if (strcasecmp(json_string_value(v), words[i]) != 0) continue;
        *out = i & 1;
        return kind & (i < 2 ? TAKES_BOOL : TAKES_NUMBER);
    }
    return false;
}

/* "messages[2].loss", "loss" */
static const char *place(char out[96], const char *at, const char *key)
{
    snprintf(out, 96, "%.60s%s%.30s", at, *at ? "." : "", key);
    return out;
}

static size_t count_characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* axolotl marks parts of a message; lorac can only leave out a whole message. */
static int read_detail(bool *train, bool *said, const struct reading *r, const char *field,
                       const json_t *v, size_t characters)
{
    size_t n = json_array_size(v), next = 0;
    if (json_is_null(v) || (json_is_array(v) && n == 0)) return 0;
    bool first = json_is_true(json_object_get(json_array_get(v, 0), "train"));
    bool same = json_is_array(v);
    for (size_t i = 0; same && i < n; i++) {
        const json_t *part = json_array_get(v, i), *on = json_object_get(part, "train");
        json_int_t begin = json_integer_value(json_object_get(part, "begin_offset"));
        json_int_t end = json_integer_value(json_object_get(part, "end_offset"));
        same = json_is_boolean(on) && json_is_true(on) == first && begin == (json_int_t)next &&
               end >= begin;
        next = (size_t)end + 1;
    }
    if (!same || next < characters) {
        return reading_fault(r, FAULT_VALUE, field,
                             "found parts of a message to be left out, wanted it trained wholly or "
                             "not at all: write the texts as data.format: segments");
    }
    *train = first;
    *said = true;
    return 0;
}

static int unwanted(const struct reading *r, const char *at, const char *field, const json_t *v,
                    const char *wanted)
{
    return reading_fault(r, FAULT_TYPE, field, "found %s, wanted %s%s", json_kind(v), wanted,
                         *at ? "" : "; give the column another name if it says something else");
}

/* Whether an unknown key seems to speak about training: guessing its meaning would be a mistake. */
static bool sounds_like_one(const char *key, const json_t *v)
{
    static const char *const words[] = { "train",  "loss",          "mask",    "learn", "supervis",
                                         "target", "requires_grad", "no_grad", "skip" };
    if (!json_is_boolean(v) && !json_is_number(v)) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(key, words[i])) return true;
    return false;
}

static int unknown_key(const struct reading *r, const char *at, const json_t *object,
                       const struct used *used)
{
    const char *key;
    json_t *v;
    char field[96];
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        if (is_used(used, key) || !sounds_like_one(key, v)) continue;
        return reading_fault(r, FAULT_KEY, at,
                             "found %s, which may say whether it is trained; wanted \"train\": "
                             "false to leave it out, or no such key",
                             err_quotez(place(field, "", key)));
    }
    return 0;
}

/* Whether any member may speak about training: nearly no object has one. */
static bool may_say(const json_t *object)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        if (strncmp(key, "train", 5) == 0 || sounds_like_one(key, v)) return true;
        for (size_t i = 0; i < ROWS; i++)
            if (rows[i].name[0] == *key && strcmp(rows[i].name, key) == 0) return true;
    }
    return false;
}

int reading_train(bool *train, const struct reading *r, const char *at, const json_t *object,
                  const char *text, size_t n, struct used *used)
{
    static const char *const details[] = { "training_detail", "train_detail" };
    char field[96];
    const char *first = NULL; /* the key that decided */
    bool was = *train;
    int code = 0;
    if (!may_say(object)) return 0;
    for (size_t i = 0; !code && i < ROWS + 2; i++) {
        const char *key = i < ROWS ? rows[i].name : details[i - ROWS];
        const json_t *v = json_object_get(object, key);
        bool says = false, said = true, now;
        if (!v || is_used(used, key)) continue; /* a key with another meaning here is used */
        used_add(used, key);
        if (json_is_null(v)) continue;
        place(field, at, key);
        if (i < ROWS && !is_said(&says, rows[i].kind, v)) {
            return unwanted(r, at, field, v, wanted_of(rows[i].kind));
        }
        now = i < ROWS && rows[i].kind & LEAVES_OUT ? !says : says;
        if (i >= ROWS) {
            said = false;
            code = read_detail(&now, &said, r, field, v, count_characters(text, n));
        }
        /* "mask": false has no effect where nothing would be trained */
        if (code || !said || (i < ROWS && rows[i].kind & LEAVES_OUT && !says && !was)) continue;
        if (first && now != *train) {
            return reading_fault(r, FAULT_VALUE, field,
                                 "found the opposite of %s, wanted them to agree or one of them "
                                 "left out",
                                 first);
        }
        *train = now;
        first = key;
    }
    return code || !*at ? code : unknown_key(r, at, object, used);
}

/* NeMo's "mask": "User" names the role whose turns are masked; here these turns never have loss. */
static void read_role_mask(const struct reading *r, const json_t *record, bool *answers)
{
    static const struct {
        const char *name;
        bool answers;
    } roles[] = { { "user", false },   { "human", false },    { "prompter", false },
                  { "system", false }, { "assistant", true }, { "gpt", true } };
    const char *mask = json_string_value(json_object_get(record, "mask"));
    for (size_t i = 0; mask && i < sizeof roles / sizeof *roles; i++) {
        if (strcasecmp(mask, roles[i].name) != 0) continue;
        *answers = roles[i].answers;
        reading_use(r, "mask");
    }
}

/* Data of single judgements (KTO): a bad answer must not be learnt. */
static bool is_bad(const struct reading *r, const json_t *record)
{
    static const char *const keys[] = { "label", "kto_tag" };
    bool bad = false;
    if (r->columns->prompt || r->c->kind == RECORD_TEXT || r->c->kind == RECORD_TOKENS)
        return false;
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_object_get(record, keys[i]);
        if (!json_is_boolean(v) || is_used(r->used, keys[i])) continue;
        reading_use(r, keys[i]);
        bad = bad || json_is_false(v);
    }
    return bad;
}

/* Empty answers are learnt as an EOS alone. */
static void remark_empty(const struct conversation *c, const struct reading *r)
{
    static const char white[] = " \t\r\n";
    if (c->kind != RECORD_CHAT && c->kind != RECORD_ALPACA) return;
    for (size_t i = 0; i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        if (t->role != ROLE_ASSISTANT || !t->train || t->context) continue;
        if (t->text[strspn(t->text, white)]) continue;
        conversation_remark(r->c, REMARK_EMPTY, "answers");
        return;
    }
}

int reading_excluded(const struct reading *r, const json_t *record)
{
    bool train = true, answers = false;
    if (is_bad(r, record)) {
        for (size_t i = 0; i < r->c->n; i++) r->c->turns[i].train = false;
    }
    read_role_mask(r, record, &answers);
    int code = reading_train(&train, r, "", record, "", 0, r->used);
    if (!code && (!train || answers)) conversation_exclude(r->c);
    if (!code) remark_empty(r->c, r);
    return code;
}
