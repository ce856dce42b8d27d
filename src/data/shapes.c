#include "src/data/shapes.h"

#include <stdio.h>
#include <string.h>

/* One record being read. */
struct reading {
    const char *where;
    const char *prompt, *completion; /* `columns`, or NULL */
    struct conversation *c;
    struct err *e;
};

/* ---- fields ------------------------------------------------------------------------------------
 */

static int unwanted(const struct reading *r, const char *field, const json_t *v, const char *wanted)
{
    return err_set(r->e, "%s: %s: found %s, wanted %s", r->where, field, json_kind(v), wanted);
}

/* Append the string v as a turn. */
static int add_turn(const struct reading *r, enum role role, const char *field, const json_t *v)
{
    if (!json_is_string(v)) return unwanted(r, field, v, "a string");
    return conversation_add(r->c, role, json_string_value(v), json_string_length(v), r->e);
}

/* Append a system text when the record has one; absent, null and empty are none. */
static int add_system(const struct reading *r, const char *key, const json_t *record)
{
    const json_t *v = json_object_get(record, key);
    if (!json_has(record, key) || (json_is_string(v) && json_string_length(v) == 0)) return 0;
    return add_turn(r, ROLE_SYSTEM, key, v);
}

/* ---- alpaca ------------------------------------------------------------------------------------
 */

struct alpaca_names {
    const char *instruction, *input, *output;
};

static const struct alpaca_names *alpaca_names(const json_t *v)
{
    static const struct alpaca_names stanford = { "instruction", "input", "output" };
    static const struct alpaca_names dolly = { "instruction", "context", "response" };
    bool is_dolly = !json_object_get(v, "output") && json_object_get(v, "response");
    return is_dolly ? &dolly : &stanford;
}

static bool is_alpaca(const json_t *v)
{
    if (!json_object_get(v, "instruction")) return false;
    return json_object_get(v, "output") ||
           (json_object_get(v, "response") && json_object_get(v, "context"));
}

static int add_history(const struct reading *r, const json_t *history)
{
    if (!history || json_is_null(history)) return 0;
    const char *wanted = "an array of [user, assistant] pairs";
    if (!json_is_array(history)) return unwanted(r, "history", history, wanted);
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *pair = json_array_get(history, i);
        char field[64];
        snprintf(field, sizeof field, "history[%zu]", i);
        if (!json_is_array(pair)) return unwanted(r, field, pair, "a [user, assistant] pair");
        if (json_array_size(pair) != 2) {
            return err_set(r->e, "%s: %s: found an array of %zu, wanted a [user, assistant] pair",
                           r->where, field, json_array_size(pair));
        }
        for (size_t j = 0; j < 2; j++) {
            snprintf(field, sizeof field, "history[%zu][%zu]", i, j);
            int code = add_turn(r, j ? ROLE_ASSISTANT : ROLE_USER, field, json_array_get(pair, j));
            if (code) return code;
        }
    }
    return 0;
}

static int read_alpaca(const struct reading *r, const json_t *v)
{
    const struct alpaca_names *names = alpaca_names(v);
    conversation_clear(r->c, RECORD_ALPACA);
    int code = add_system(r, "system", v);
    if (!code) code = add_history(r, json_object_get(v, "history"));
    if (!code) {
        code = add_turn(r, ROLE_USER, names->instruction, json_object_get(v, names->instruction));
    }
    if (!code && json_has(v, names->input)) {
        const json_t *input = json_object_get(v, names->input);
        if (!json_is_string(input)) return unwanted(r, names->input, input, "a string");
        code = conversation_add_input(r->c, json_string_value(input), json_string_length(input),
                                      r->e);
    }
    if (code) return code;
    return add_turn(r, ROLE_ASSISTANT, names->output, json_object_get(v, names->output));
}

/* ---- messages ----------------------------------------------------------------------------------
 */

static bool is_messages(const json_t *v)
{
    return json_object_get(v, "messages") != NULL;
}

static int role_of(enum role *out, const struct reading *r, const char *field, const json_t *v)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {
        { "system", ROLE_SYSTEM },
        { "developer", ROLE_SYSTEM },
        { "user", ROLE_USER },
        { "assistant", ROLE_ASSISTANT },
    };
    const char *wanted = "system, user or assistant";
    if (!json_is_string(v)) return unwanted(r, field, v, wanted);
    const char *name = json_string_value(v);
    bool whole = strlen(name) == json_string_length(v);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (whole && strcmp(name, roles[i].name) == 0) {
            *out = roles[i].role;
            return 0;
        }
    }
    enum { NAME_BYTES = 24 }; /* what is longer may be text that lost its way */
    bool is_short = json_string_length(v) <= NAME_BYTES;
    return err_set(r->e, "%s: %s: found %s, wanted %s", r->where, field,
                   is_short ? err_quote(name, json_string_length(v)) : "a long string", wanted);
}

/* The message's own say on whether it is trained: axolotl's `train`, OpenAI's `weight`. */
static int read_train(bool *train, const struct reading *r, const char *at, const json_t *message)
{
    char field[64];
    if (json_has(message, "train")) {
        const json_t *v = json_object_get(message, "train");
        snprintf(field, sizeof field, "%s.train", at);
        if (!json_is_boolean(v)) return unwanted(r, field, v, "true or false");
        *train = json_is_true(v);
    }
    if (json_has(message, "weight")) {
        const json_t *v = json_object_get(message, "weight");
        snprintf(field, sizeof field, "%s.weight", at);
        bool whole = json_is_number(v) && (json_number_value(v) == 0 || json_number_value(v) == 1);
        if (!whole) return unwanted(r, field, v, "0 or 1");
        bool weight = json_number_value(v) != 0;
        if (json_has(message, "train") && weight != *train) {
            return err_set(r->e,
                           "%s: %s: found the opposite of train, wanted them to agree or one "
                           "of them left out",
                           r->where, field);
        }
        *train = weight;
    }
    return 0;
}

static int refuse_calls(const struct reading *r, const char *at, const json_t *message)
{
    static const char *const keys[] = { "tool_calls", "function_call" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(message, keys[i]);
        if (json_has(message, keys[i]) && !(json_is_array(v) && json_array_size(v) == 0)) {
            char field[64];
            snprintf(field, sizeof field, "%s.%s", at, keys[i]);
            return unwanted(r, field, v, "none: calls of tools are not supported");
        }
    }
    return 0;
}

static int read_message(const struct reading *r, const char *at, const json_t *message)
{
    if (!json_is_object(message)) return unwanted(r, at, message, "an object");
    char field[64];
    enum role role = ROLE_USER;
    snprintf(field, sizeof field, "%s.role", at);
    int code = role_of(&role, r, field, json_object_get(message, "role"));
    if (!code) code = refuse_calls(r, at, message);
    if (code) return code;
    snprintf(field, sizeof field, "%s.content", at);
    code = add_turn(r, role, field, json_object_get(message, "content"));
    if (code) return code;
    bool train = role == ROLE_ASSISTANT;
    code = read_train(&train, r, at, message);
    if (code) return code;
    if (train && role != ROLE_ASSISTANT) {
        return err_set(r->e,
                       "%s: %s: found %s to be trained, wanted that of assistant messages only "
                       "(data.train_on: everything trains on all text)",
                       r->where, at, role == ROLE_USER ? "a user message" : "a system message");
    }
    r->c->turns[r->c->n - 1].train = train;
    return 0;
}

static int read_messages(const struct reading *r, const json_t *v)
{
    const json_t *messages = json_object_get(v, "messages");
    conversation_clear(r->c, RECORD_CHAT);
    if (!json_is_array(messages)) return unwanted(r, "messages", messages, "an array of messages");
    if (json_array_size(messages) == 0) {
        return err_set(r->e, "%s: messages: found an empty array, wanted at least one message",
                       r->where);
    }
    for (size_t i = 0; i < json_array_size(messages); i++) {
        char at[48];
        snprintf(at, sizeof at, "messages[%zu]", i);
        int code = read_message(r, at, json_array_get(messages, i));
        if (code) return code;
    }
    return 0;
}

/* ---- prompt_completion -------------------------------------------------------------------------
 */

struct pair {
    const char *prompt, *completion;
};

/* In the order in which they are looked for. */
static const struct pair pairs[] = {
    { "prompt", "completion" }, { "prompt", "response" },      { "question", "answer" },
    { "question", "response" }, { "instruction", "response" }, { "INSTRUCTION", "RESPONSE" },
    { "query", "response" },    { "input", "output" },
};
enum { PAIRS = sizeof pairs / sizeof *pairs };

static const struct pair *usual_pair(const json_t *v)
{
    for (size_t i = 0; i < PAIRS; i++) {
        if (json_object_get(v, pairs[i].prompt) && json_object_get(v, pairs[i].completion)) {
            return &pairs[i];
        }
    }
    return NULL;
}

static bool is_prompt_completion(const json_t *v)
{
    return usual_pair(v) != NULL;
}

static int no_pair(const struct reading *r, const json_t *v)
{
    for (size_t i = 0; i < PAIRS; i++) {
        if (json_object_get(v, pairs[i].prompt)) {
            return unwanted(r, pairs[i].completion, NULL,
                            "a string (or name the two texts with "
                            "data.columns)");
        }
    }
    return err_set(r->e,
                   "%s: prompt, completion: found neither, nor another usual pair (question, "
                   "answer; instruction, response; ...); name the two texts with data.columns",
                   r->where);
}

static int read_prompt_completion(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_CHAT);
    struct pair columns = { r->prompt, r->completion };
    const struct pair *p = r->prompt ? &columns : usual_pair(v);
    if (!p) return no_pair(r, v);
    int code = 0;
    if (!r->prompt) code = add_system(r, "system", v);
    if (!r->prompt && !code && r->c->n == 0) code = add_system(r, "system_prompt", v);
    if (!code) code = add_turn(r, ROLE_USER, p->prompt, json_object_get(v, p->prompt));
    if (code) return code;
    return add_turn(r, ROLE_ASSISTANT, p->completion, json_object_get(v, p->completion));
}

/* ---- text --------------------------------------------------------------------------------------
 */

static bool is_text(const json_t *v)
{
    return json_object_get(v, "text") != NULL;
}

static int read_text(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_TEXT);
    return add_turn(r, ROLE_ASSISTANT, "text", json_object_get(v, "text"));
}

/* ---- tokens ------------------------------------------------------------------------------------
 */

static bool is_tokens(const json_t *v)
{
    return json_object_get(v, "input_ids") != NULL;
}

static int read_token(const struct reading *r, size_t i, const json_t *id, const json_t *label)
{
    char field[48];
    snprintf(field, sizeof field, "input_ids[%zu]", i);
    if (!json_is_integer(id)) return unwanted(r, field, id, "an integer");
    json_int_t value = json_integer_value(id);
    if (value < 0 || value > INT32_MAX) {
        return err_set(r->e, "%s: %s: found %lld, wanted 0 to %d", r->where, field,
                       (long long)value, INT32_MAX);
    }
    if (!label) return conversation_add_id(r->c, (int32_t)value, (int32_t)value, r->e);
    snprintf(field, sizeof field, "labels[%zu]", i);
    if (!json_is_integer(label)) return unwanted(r, field, label, "an integer");
    json_int_t want = json_integer_value(label);
    if (want != LABEL_NONE && want != value) {
        return err_set(r->e,
                       "%s: %s: found another id than input_ids[%zu], wanted the same or %d "
                       "(labels are not shifted)",
                       r->where, field, i, LABEL_NONE);
    }
    return conversation_add_id(r->c, (int32_t)value, (int32_t)want, r->e);
}

static int read_tokens(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_TOKENS);
    const json_t *ids = json_object_get(v, "input_ids");
    const json_t *labels = json_has(v, "labels") ? json_object_get(v, "labels") : NULL;
    if (!json_is_array(ids)) return unwanted(r, "input_ids", ids, "an array of integers");
    size_t n = json_array_size(ids);
    if (n == 0) {
        return err_set(r->e, "%s: input_ids: found an empty array, wanted at least one id",
                       r->where);
    }
    if (labels && !json_is_array(labels)) {
        return unwanted(r, "labels", labels, "an array of integers");
    }
    if (labels && json_array_size(labels) != n) {
        return err_set(r->e, "%s: labels: found %zu, wanted %zu, as many as input_ids", r->where,
                       json_array_size(labels), n);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *label = labels ? json_array_get(labels, i) : NULL;
        int code = read_token(r, i, json_array_get(ids, i), label);
        if (code) return code;
    }
    return 0;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

struct format {
    const char *name;
    const char *keys; /* for messages: what the value must have */
    bool (*is)(const json_t *v);
    int (*read)(const struct reading *r, const json_t *v);
};

#define ROW(upper, lower, keys) [FORMAT_##upper] = { #lower, keys, is_##lower, read_##lower },
static const struct format formats[FORMATS] = { [FORMAT_AUTO] = { "auto", NULL, NULL, NULL },
                                                DATA_FORMATS(ROW) };

bool data_format_named(enum data_format *out, const char *name)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            *out = (enum data_format)i;
            return true;
        }
    }
    return false;
}

const char *data_format_name(enum data_format f)
{
    return formats[f].name;
}

const char *data_format_names(void)
{
#define NAME(upper, lower, keys) " " #lower
    return "auto" DATA_FORMATS(NAME);
}

enum data_format shape_detect(const json_t *v)
{
    for (size_t i = FORMAT_AUTO + 1; i < FORMATS; i++) {
        if (formats[i].is(v)) return (enum data_format)i;
    }
    return FORMAT_AUTO;
}

int shape_unknown(const json_t *v, const char *where, struct err *e)
{
    if (!json_is_object(v)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(v));
    }
    enum { SHOWN = 6 };
    struct str s = { 0 };
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)v, key, value)
    {
        if (n++ < SHOWN) str_addf(&s, "%s%s", n > 1 ? ", " : "", err_quotez(key));
    }
    str_addf(&s, "%s; wanted those of", n == 0 ? "none" : n > SHOWN ? ", ..." : "");
    for (size_t i = FORMAT_AUTO + 1; i < FORMATS; i++) {
        const struct format *f = &formats[i];
        str_addf(&s, "%s %s (%s)", i > FORMAT_AUTO + 1 ? "," : "", f->name, f->keys);
    }
    int code = str_error(&s, e);
    if (!code) {
        code = err_set(e, "%s: keys: found %s; or set data.format and data.columns", where, s.p);
    }
    str_free(&s);
    return code;
}

int shape_read(struct conversation *c, enum data_format f, const json_t *v, const char *prompt,
               const char *completion, const char *where, struct err *e)
{
    CHECK(f != FORMAT_AUTO && f < FORMATS && !prompt == !completion);
    if (!json_is_object(v)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(v));
    }
    struct reading r = { where, prompt, completion, c, e };
    return formats[f].read(&r, v);
}
