/* Records with one question and one answer: alpaca and prompt_completion, which are one format with
 * many names for its columns (fields.h); and dialogues in one text. */
#include "src/data/reading.h"

#include <string.h>
#include <strings.h>

#include "src/data/choices.h"
#include "src/data/fields.h"
#include "src/data/hint.h"

/* ---- dialogues in one text ------------------------------------------------------------------- */

static const struct {
    const char *text;
    enum role role;
} speakers[] = { { "\n\nHuman:", ROLE_USER }, { "\n\nAssistant:", ROLE_ASSISTANT } };
enum { SPEAKERS = sizeof speakers / sizeof *speakers };

/* Whether a speaker's tag comes next in the text: its length, or 0. */
static size_t speaker_at(enum role *role, const char *text, size_t n)
{
    for (size_t i = 0; i < SPEAKERS; i++) {
        size_t length = strlen(speakers[i].text);
        if (n < length || memcmp(text, speakers[i].text, length) != 0) continue;
        *role = speakers[i].role;
        return length;
    }
    return 0;
}

/* Anthropic's preference data: whole dialogues as one text, "\n\nHuman: ...\n\nAssistant: ...". */
static bool is_dialogue(const json_t *v)
{
    enum role role = ROLE_ASSISTANT;
    const json_t *chosen = json_object_get(v, "chosen");
    const char *text = json_string_value(chosen);
    return text && speaker_at(&role, text, json_string_length(chosen)) && role == ROLE_USER;
}

/* The last answer is the preferred one; the answers before it are context. */
static int read_dialogue(const struct reading *r, const json_t *v)
{
    const json_t *chosen = json_object_get(v, "chosen");
    const char *text = json_string_value(chosen);
    size_t n = json_string_length(chosen), at = 0;
    struct conversation *c = r->c;
    int code = 0;
    c->chosen = true;
    reading_use(r, "chosen");
    reading_use(r, "rejected");
    while (!code && at < n) {
        enum role role = ROLE_USER, next;
        at += speaker_at(&role, text + at, n - at);
        if (at < n && text[at] == ' ') at++;
        size_t begin = at;
        while (at < n && !speaker_at(&next, text + at, n - at)) at++;
        if (c->n) c->turns[c->n - 1].train = false;
        code = conversation_add(c, role, text + begin, at - begin, r->e);
    }
    if (!code && c->turns[c->n - 1].role != ROLE_ASSISTANT) {
        code = reading_fault(r, FAULT_ORDER, "chosen",
                             "found a dialogue that ends with the human, wanted an answer");
    }
    return code;
}

/* ---- what is asked --------------------------------------------------------------------------- */

/* The text of a prompt's column: the texts of a list are joined with blank lines. */
static int add_text(struct str *out, const struct reading *r, const struct column *at)
{
    size_t n = json_array_size(at->value);
    if (!json_is_array(at->value) || n == 0) return reading_text(out, r, at->key, at->value);
    int code = 0;
    for (size_t i = 0; !code && i < n; i++) {
        const json_t *item = json_array_get(at->value, i);
        if (!json_is_string(item)) return reading_unwanted(r, at->key, at->value, "a string");
        if (i) str_addz(out, "\n\n");
        code = reading_text(out, r, at->key, item);
    }
    return code;
}

static bool is_repeated(const struct column *at, size_t i)
{
    size_t k = 0;
    while (k < i && !json_equal(at[k].value, at[i].value)) k++;
    return k < i;
}

/* Append the n columns of a field, each text once, with blank lines between them. */
static int join(struct str *out, const struct reading *r, const struct column *at, size_t n)
{
    struct str names = { 0 };
    size_t joined = 0, from = out->n;
    int code = 0;
    for (size_t i = 0; !code && i < n; i++) {
        bool is_empty = json_is_string(at[i].value) && json_string_length(at[i].value) == 0;
        if ((is_empty && n > 1) || is_repeated(at, i)) continue;
        if (out->n > from) str_addz(out, "\n\n");
        code = add_text(out, r, &at[i]);
        if (joined++) str_addz(&names, " + ");
        hint_name(&names, at[i].key);
    }
    if (!code && joined > 1) conversation_remark(r->c, REMARK_JOINED, names.p);
    str_free(&names);
    return code ? code : str_error(out, r->e);
}

/* Add the user's turn: the prompt, the choices on lines after it, and separately the input. */
static int add_question(const struct reading *r, const struct fields *f, const struct choices *c)
{
    struct str text = { 0 };
    int code = join(&text, r, f->at[FIELD_PROMPT], f->n[FIELD_PROMPT]);
    if (!code && (c->n || c->is_text)) {
        str_addc(&text, '\n');
        choices_add(&text, c);
        code = str_error(&text, r->e);
    }
    if (!code) code = conversation_add(r->c, ROLE_USER, text.n ? text.p : "", text.n, r->e);
    if (!code) r->c->turns[r->c->n - 1].listed = c->n || c->is_text;
    str_clear(&text);
    const struct column *input = f->at[FIELD_INPUT];
    bool none = f->n[FIELD_INPUT] == 0 || json_is_null(input->value);
    if (!code && !none) code = join(&text, r, input, f->n[FIELD_INPUT]);
    if (!code && !none) code = conversation_add_input(r->c, text.n ? text.p : "", text.n, r->e);
    str_free(&text);
    return code;
}

/* ---- what is answered ------------------------------------------------------------------------ */

static int two_answers(const struct reading *r, const struct fields *f, const char *a,
                       const char *b)
{
    struct str s = { 0 };
    str_addz(&s, "found an answer that differs from ");
    hint_name(&s, a);
    str_addz(&s, ", wanted one: name it with data.columns: {prompt: ");
    hint_name(&s, f->at[FIELD_PROMPT][0].key);
    str_addz(&s, ", completion: ");
    hint_name(&s, a);
    str_addc(&s, '}');
    int code = str_error(&s, r->e);
    if (!code) code = reading_fault(r, FAULT_VALUE, b, "%s", s.p);
    str_free(&s);
    return code;
}

/* Pick the answer's column: the one that is not empty. */
static int pick(const struct column **out, const json_t **value, const struct reading *r,
                const struct fields *f)
{
    *out = NULL;
    for (size_t i = 0; i < f->n[FIELD_COMPLETION]; i++) {
        const struct column *at = &f->at[FIELD_COMPLETION][i];
        const json_t *one;
        int code = reading_one(&one, r, at->key, at->value);
        if (code) return code;
        bool empty = json_is_string(one) && json_string_length(one) == 0;
        if (*out && empty) continue;
        bool was_empty = *out && json_is_string(*value) && json_string_length(*value) == 0;
        if (*out && !was_empty && !json_equal(*value, one)) {
            return two_answers(r, f, (*out)->key, at->key);
        }
        *out = at;
        *value = one;
    }
    return 0;
}

/* Of the columns that may hold the right choice's key, those called answer_... must agree with the
 * answer; the others are keys only where there is no answer. */
static int check_keys(size_t *choice, bool *found, const struct reading *r, const struct fields *f,
                      const struct choices *c)
{
    for (size_t i = 0; i < f->n[FIELD_KEY]; i++) {
        const struct column *at = &f->at[FIELD_KEY][i];
        size_t now;
        if (*found && strncasecmp(at->key, "answer", 6) != 0) continue;
        int code = choices_find(&now, c, r, at->key, at->value);
        if (code) return code;
        reading_use(r, at->key);
        if (*found && now != *choice) {
            return reading_fault(
                r, FAULT_VALUE, at->key,
                "found a choice that differs from the answer's, wanted them to agree");
        }
        *choice = now;
        *found = true;
    }
    return 0;
}

static int add_choice(struct str *out, const struct reading *r, const struct fields *f,
                      const struct choices *c, const struct column *answer, const json_t *value)
{
    size_t choice = 0;
    bool empty = answer && json_is_string(value) && json_string_length(value) == 0;
    if (empty && f->n[FIELD_KEY]) answer = NULL;
    bool found = answer != NULL;
    int code = answer ? choices_find(&choice, c, r, answer->key, value) : 0;
    if (!code) code = check_keys(&choice, &found, r, f, c);
    if (!code) choices_add_one(out, c, choice);
    return code ? code : str_error(out, r->e);
}

/* Put the reasoning before the answer, unless the answer holds it already. */
static int add_reasoning(struct str *out, const struct reading *r, const struct fields *f,
                         const json_t *answer)
{
    const char *text = json_string_value(answer);
    for (size_t i = 0; i < f->n[FIELD_REASONING]; i++) {
        const struct column *at = &f->at[FIELD_REASONING][i];
        size_t n = json_string_length(at->value);
        if (!json_is_string(at->value)) continue;
        reading_use(r, at->key);
        if (n == 0 || is_repeated(f->at[FIELD_REASONING], i)) continue;
        if (text && memmem(text, json_string_length(answer), json_string_value(at->value), n))
            continue;
        if (out->n) {
            return reading_fault(r, FAULT_VALUE, at->key,
                                 "found another reasoning beside it, wanted one of them");
        }
        int code = reading_think(out, r, at->key, at->value);
        if (code) return code;
    }
    return 0;
}

static int add_answer(const struct reading *r, const struct fields *f, const struct choices *c)
{
    const struct column *at;
    const json_t *value = NULL;
    struct str text = { 0 };
    int code = pick(&at, &value, r, f);
    if (!code) code = add_reasoning(&text, r, f, value);
    bool thinks = text.n > 0;
    if (!code && c->n) {
        code = add_choice(&text, r, f, c, at, value);
    } else if (!code) {
        size_t from = text.n;
        code = reading_text(&text, r, at ? at->key : f->at[FIELD_KEY][0].key,
                            at ? value : f->at[FIELD_KEY][0].value);
        size_t feeds = thinks && !code && text.n > from ? strspn(text.p + from, "\n") : 0;
        if (feeds) memmove(text.p + from, text.p + from + feeds, text.n - from - feeds);
        text.n -= feeds;
    }
    if (!code) code = conversation_add(r->c, ROLE_ASSISTANT, text.n ? text.p : "", text.n, r->e);
    str_free(&text);
    return code;
}

/* ---- the record ------------------------------------------------------------------------------ */

bool is_prompt_completion(const json_t *v)
{
    struct fields f;
    fields_find(&f, v, NULL);
    return fields_complete(&f) || is_dialogue(v);
}

/* The error for a missing prompt or answer; it suggests a similar name. */
static int lacking(const struct reading *r, const struct fields *f, const json_t *v,
                   const char *prompt, const char *completion)
{
    bool no_prompt = f->n[FIELD_PROMPT] == 0;
    struct str hint = { 0 };
    hint_columns(&hint, v);
    const char *more = hint.n ? hint.p : "", *key = no_prompt ? prompt : completion;
    int code;
    if (no_prompt && f->n[FIELD_COMPLETION] == 0 && strcmp(prompt, "instruction") != 0) {
        code = reading_fault(r, FAULT_KEY, "prompt, completion",
                             "found neither, nor another usual pair (question, answer; "
                             "instruction, response; ...)%s; name the two texts with data.columns",
                             more);
    } else {
        code = reading_fault(r, FAULT_KEY, key, "found nothing, wanted a string%s%s", more,
                             hint.n ? "" : " (or name the texts with data.columns)");
    }
    str_free(&hint);
    return code;
}

/* The error for a missing column that data.columns names; it suggests a name that differs in
 * case. */
static int lacking_named(const struct reading *r, const json_t *v, const char *name)
{
    const char *key, *near = NULL;
    json_t *value;
    size_t least = strlen(name) < 5 ? 1 : 3;
    struct str hint = { 0 };
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        size_t distance = strcasecmp(key, name) == 0 ? 0 : str_distance(key, name);
        if (distance >= least) continue;
        least = distance;
        near = key;
    }
    str_addz(&hint, "a string: data.columns names it");
    if (near) str_addz(&hint, "; did you mean ");
    if (near) hint_name(&hint, near);
    if (near) str_addc(&hint, '?');
    int code = str_error(&hint, r->e);
    if (!code) code = reading_unwanted(r, name, NULL, hint.p);
    str_free(&hint);
    return code;
}

/* A part of the prompt under a misspelt name would be lost if the rest makes a complete record. */
static int check_misspelt(const struct reading *r, const struct fields *f, const json_t *v)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        enum field field;
        const char *meant = field_nearest(&field, key);
        if (!meant || field == FIELD_COMPLETION) continue;
        bool is_list = json_is_array(value) || json_is_object(value);
        if (field == FIELD_CHOICES ? !is_list : !json_is_string(value)) continue;
        if (f->n[field] && !(field == FIELD_PROMPT && f->input_is_prompt)) continue;
        struct str hint = { 0 };
        hint_columns(&hint, v);
        int code = reading_fault(r, FAULT_KEY, "keys", "found a name that is similar to %s%s",
                                 meant, hint.n ? hint.p : "");
        str_free(&hint);
        return code;
    }
    return 0;
}

/* Read choices that have one column each. */
static int read_options(struct choices *c, const struct reading *r, const struct fields *f)
{
    json_t *map = json_object();
    int code = map ? 0 : err_set(r->e, "out of memory: choices");
    for (size_t i = 0; !code && i < f->n_options; i++) {
        const char label[] = { f->option[i].label, 0 };
        reading_use(r, f->option[i].key);
        if (json_object_set(map, label, (json_t *)(uintptr_t)f->option[i].value))
            code = err_set(r->e, "out of memory: choices");
    }
    if (!code) code = choices_read(c, r, f->option[0].key, map);
    json_decref(map);
    return code;
}

static void use_fields(const struct reading *r, const struct fields *f)
{
    for (int i = 0; i < FIELDS; i++) {
        if (i == FIELD_KEY || i == FIELD_REASONING || i == FIELD_SYSTEM) continue;
        for (size_t k = 0; k < f->n[i]; k++) reading_use(r, f->at[i][k].key);
    }
}

static int read_turns(const struct reading *r, const struct fields *f, const json_t *v)
{
    const struct column *chosen = f->at[FIELD_COMPLETION], *choices = f->at[FIELD_CHOICES];
    struct choices c = { 0 };
    int code = reading_system(r, v);
    if (!code && !r->columns->prompt) code = reading_history(r, v);
    if (!code && f->n[FIELD_CHOICES]) code = choices_read(&c, r, choices->key, choices->value);
    if (!code && f->n_options) code = read_options(&c, r, f);
    if (!code && f->n[FIELD_COMPLETION] == 0 && c.n == 0) {
        code = reading_fault(r, FAULT_VALUE, choices->key,
                             "found the key of a choice, but no choices and no other answer");
    }
    if (!code) code = add_question(r, f, &c);
    bool only = f->n[FIELD_COMPLETION] == 1 && field_has_name(FIELD_COMPLETION, chosen->key);
    if (!code && only && strcmp(chosen->key, "chosen") == 0) {
        code = reading_chosen(r, &(struct spelling){ "role", "content", "assistant" }, v);
    } else if (!code) {
        code = add_answer(r, f, &c);
    }
    choices_free(&c);
    return code;
}

static int read_exchange(const struct reading *r, const json_t *v, const char *prompt,
                         const char *completion)
{
    struct fields f;
    bool named = r->columns->prompt;
    if (named) prompt = r->columns->prompt, completion = r->columns->completion;
    fields_find(&f, v, r->columns);
    if (!named && !fields_complete(&f) && is_dialogue(v)) return read_dialogue(r, v);
    if (named && !fields_complete(&f)) {
        return lacking_named(r, v, f.n[FIELD_PROMPT] ? completion : prompt);
    }
    if (!fields_complete(&f)) return lacking(r, &f, v, prompt, completion);
    int code = named ? 0 : check_misspelt(r, &f, v);
    use_fields(r, &f);
    if (!code) code = read_turns(r, &f, v);
    if (code || named) return code;
    if (json_object_get(v, "rejected")) r->c->chosen = true;
    reading_use(r, "rejected");
    return 0;
}

int read_prompt_completion(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_CHAT);
    return read_exchange(r, v, "prompt", "completion");
}

int read_alpaca(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_ALPACA);
    if (json_object_get(v, "instances")) return reading_instances(r, v);
    return read_exchange(r, v, "instruction", "output");
}
