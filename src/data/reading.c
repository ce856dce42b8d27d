#include "src/data/reading.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int reading_fault(const struct reading *r, enum fault f, const char *field, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->c->fault = f;
    return err_set(r->e, "%s: %s: %s", r->where, field, text);
}

int reading_unwanted(const struct reading *r, const char *field, const json_t *v,
                     const char *wanted)
{
    return reading_fault(r, v ? FAULT_TYPE : FAULT_KEY, field, "found %s, wanted %s", json_kind(v),
                         wanted);
}

int reading_turn(const struct reading *r, enum role role, const char *field, const json_t *v)
{
    if (!json_is_string(v)) return reading_unwanted(r, field, v, "a string");
    return conversation_add(r->c, role, json_string_value(v), json_string_length(v), r->e);
}

static bool is_empty(const json_t *record, const char *key)
{
    const json_t *v = json_object_get(record, key);
    return !json_has(record, key) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

int reading_system(const struct reading *r, const char *key, const json_t *record)
{
    if (is_empty(record, key)) return 0;
    return reading_turn(r, ROLE_SYSTEM, key, json_object_get(record, key));
}

/* ---- messages ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum role role;
} roles[] = {
    { "system", ROLE_SYSTEM },
    { "developer", ROLE_SYSTEM },
    { "user", ROLE_USER },
    { "human", ROLE_USER },
    { "prompter", ROLE_USER },
    { "assistant", ROLE_ASSISTANT },
    { "gpt", ROLE_ASSISTANT },
    { "chatgpt", ROLE_ASSISTANT },
    { "bot", ROLE_ASSISTANT },
    { "model", ROLE_ASSISTANT },
    { "function_call", ROLE_ASSISTANT }, /* its text is the call, which is to be learnt */
    { "tool", ROLE_TOOL },
    { "function", ROLE_TOOL },
    { "observation", ROLE_TOOL },
    { "function_response", ROLE_TOOL },
    { "ipython", ROLE_TOOL },
};

static int role_of(enum role *out, const struct reading *r, const char *field, const json_t *v,
                   const char *wanted)
{
    if (!json_is_string(v)) return reading_unwanted(r, field, v, wanted);
    const char *name = json_string_value(v);
    bool whole = strlen(name) == json_string_length(v);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (whole && strcasecmp(name, roles[i].name) == 0) {
            *out = roles[i].role;
            return 0;
        }
    }
    enum { NAME_BYTES = 24 }; /* what is longer may be text that lost its way */
    bool is_short = json_string_length(v) <= NAME_BYTES;
    return reading_fault(r, FAULT_ROLE, field, "found %s, wanted %s",
                         is_short ? err_quote(name, json_string_length(v)) : "a long string",
                         wanted);
}

/* The message's own say on whether it is trained: axolotl's `train`, OpenAI's `weight`. */
static int read_train(bool *train, const struct reading *r, const char *at, const json_t *message)
{
    char field[96];
    if (json_has(message, "train")) {
        const json_t *v = json_object_get(message, "train");
        snprintf(field, sizeof field, "%s.train", at);
        if (!json_is_boolean(v)) return reading_unwanted(r, field, v, "true or false");
        *train = json_is_true(v);
    }
    if (json_has(message, "weight")) {
        const json_t *v = json_object_get(message, "weight");
        snprintf(field, sizeof field, "%s.weight", at);
        bool whole = json_is_number(v) && (json_number_value(v) == 0 || json_number_value(v) == 1);
        if (!whole) return reading_unwanted(r, field, v, "0 or 1");
        bool weight = json_number_value(v) != 0;
        if (json_has(message, "train") && weight != *train) {
            return reading_fault(r, FAULT_VALUE, field,
                                 "found the opposite of train, wanted them to agree or one of them "
                                 "left out");
        }
        *train = weight;
    }
    return 0;
}

/* A call as a text: {"name": ..., "arguments": ...}. Arguments are JSON inside a string as a rule;
 * they are taken as they stand. */
static int add_call(struct str *out, const struct reading *r, const char *field, const json_t *call)
{
    const json_t *f = json_object_get(call, "function");
    if (!f) f = call;
    const json_t *name = json_object_get(f, "name"), *arguments = json_object_get(f, "arguments");
    if (!json_is_string(name)) {
        return reading_unwanted(r, field, json_is_object(f) ? name : call,
                                "a call with a name and arguments");
    }
    str_addz(out, "{\"name\": ");
    json_add_string(out, json_string_value(name), json_string_length(name));
    str_addz(out, ", \"arguments\": ");
    if (!arguments) {
        str_addz(out, "{}");
    } else if (json_is_string(arguments)) {
        str_add(out, json_string_value(arguments), json_string_length(arguments));
    } else {
        json_add_line(out, arguments);
    }
    str_addc(out, '}');
    return str_error(out, r->e);
}

/* The calls of tools in a message, a line each, behind its content. */
static int add_calls(const struct reading *r, const char *at, const json_t *message)
{
    struct str text = { 0 };
    const json_t *list = json_object_get(message, "tool_calls");
    const json_t *one = json_object_get(message, "function_call");
    char field[96];
    int code = 0;
    if (json_has(message, "tool_calls") && !json_is_array(list)) {
        snprintf(field, sizeof field, "%s.tool_calls", at);
        return reading_unwanted(r, field, list, "an array of calls");
    }
    for (size_t i = 0; !code && i < json_array_size(list); i++) {
        snprintf(field, sizeof field, "%s.tool_calls[%zu]", at, i);
        if (text.n || r->c->turns[r->c->n - 1].n) str_addc(&text, '\n');
        code = add_call(&text, r, field, json_array_get(list, i));
    }
    if (!code && json_has(message, "function_call")) {
        snprintf(field, sizeof field, "%s.function_call", at);
        if (text.n || r->c->turns[r->c->n - 1].n) str_addc(&text, '\n');
        code = add_call(&text, r, field, one);
    }
    if (!code && text.n) code = conversation_extend(r->c, text.p, text.n, r->e);
    str_free(&text);
    return code;
}

static int add_content(const struct reading *r, enum role role, const char *field,
                       const json_t *message, const json_t *content)
{
    bool calls = role == ROLE_ASSISTANT &&
                 (!is_empty(message, "tool_calls") || json_has(message, "function_call"));
    if (calls && (!content || json_is_null(content))) {
        return conversation_add(r->c, role, "", 0, r->e);
    }
    if (!json_is_array(content)) return reading_turn(r, role, field, content);
    /* OpenAI's parts: [{"type": "text", "text": ...}, ...] */
    int code = conversation_add(r->c, role, "", 0, r->e);
    for (size_t i = 0; !code && i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        char part[128];
        snprintf(part, sizeof part, "%s[%zu].text", field, i);
        if (!json_is_string(text)) return reading_unwanted(r, part, text, "a string");
        code = conversation_extend(r->c, json_string_value(text), json_string_length(text), r->e);
    }
    return code;
}

static int read_message(const struct reading *r, const struct spelling *s, const char *at,
                        const json_t *message)
{
    static const struct spelling other[] = { { "role", "content", "" }, { "from", "value", "" } };
    if (!json_is_object(message)) return reading_unwanted(r, at, message, "an object");
    for (size_t i = 0; i < 2 && !json_object_get(message, s->role); i++) {
        if (json_object_get(message, other[i].role)) {
            return read_message(r, &(struct spelling){ other[i].role, other[i].content, s->wanted },
                                at, message);
        }
    }
    char field[96];
    enum role role = ROLE_USER;
    snprintf(field, sizeof field, "%s.%s", at, s->role);
    int code = role_of(&role, r, field, json_object_get(message, s->role), s->wanted);
    snprintf(field, sizeof field, "%s.%s", at, s->content);
    if (!code) code = add_content(r, role, field, message, json_object_get(message, s->content));
    if (!code && role == ROLE_ASSISTANT) code = add_calls(r, at, message);
    if (code) return code;
    bool train = role == ROLE_ASSISTANT;
    code = read_train(&train, r, at, message);
    if (code) return code;
    if (train && role != ROLE_ASSISTANT) {
        return reading_fault(r, FAULT_VALUE, at,
                             "found %s to be trained, wanted that of assistant messages only "
                             "(data.train_on: everything trains on all text)",
                             role == ROLE_USER     ? "a user message"
                             : role == ROLE_SYSTEM ? "a system message"
                                                   : "a tool's message");
    }
    r->c->turns[r->c->n - 1].train = train;
    return 0;
}

int reading_messages(const struct reading *r, const struct spelling *s, const char *field,
                     const json_t *v, size_t from)
{
    if (json_is_object(v)) return read_message(r, s, field, v);
    if (!json_is_array(v)) return reading_unwanted(r, field, v, "an array of messages");
    if (json_array_size(v) == 0) {
        return reading_fault(r, FAULT_VALUE, field,
                             "found an empty array, wanted at least one message");
    }
    int code = 0;
    for (size_t i = from; !code && i < json_array_size(v); i++) {
        char at[64];
        snprintf(at, sizeof at, "%.40s[%zu]", field, i);
        code = read_message(r, s, at, json_array_get(v, i));
    }
    return code;
}

/* ---- preferences, tools --------------------------------------------------------------------- */

/* A whole conversation whose beginning the rejected one has too: only what differs is learnt. */
static void mark_common(const struct reading *r, const json_t *chosen, const json_t *rejected)
{
    for (size_t i = 0; i < r->c->n && i < json_array_size(rejected); i++) {
        if (!json_equal(json_array_get(chosen, i), json_array_get(rejected, i))) return;
        r->c->turns[i].train = false;
    }
}

int reading_chosen(const struct reading *r, const struct spelling *s, const json_t *record)
{
    const json_t *chosen = json_object_get(record, "chosen");
    struct conversation *c = r->c;
    c->chosen = true;
    for (size_t i = 0; i < c->n; i++) c->turns[i].train = false;
    if (json_is_string(chosen)) return reading_turn(r, ROLE_ASSISTANT, "chosen", chosen);
    size_t before = c->n;
    int code = reading_messages(r, s, "chosen", chosen, 0);
    if (code) return code;
    if (c->turns[before].role != ROLE_ASSISTANT) { /* it repeats what was asked */
        memmove(c->turns, c->turns + before, (c->n - before) * sizeof *c->turns);
        c->n -= before;
        mark_common(r, chosen, json_object_get(record, "rejected"));
    }
    return 0;
}

int reading_tools(const struct reading *r, const json_t *record)
{
    if (is_empty(record, "tools")) return 0;
    const json_t *tools = json_object_get(record, "tools");
    if (!json_is_string(tools) && !json_is_array(tools)) {
        return reading_unwanted(r, "tools", tools, "a string or an array");
    }
    struct str text = { 0 };
    bool has_system = r->c->n > 0;
    if (has_system) str_addz(&text, "\n\n");
    if (json_is_string(tools)) {
        str_add(&text, json_string_value(tools), json_string_length(tools));
    } else {
        json_add_line(&text, tools);
    }
    int code = str_error(&text, r->e);
    if (!code && has_system) code = conversation_extend(r->c, text.p, text.n, r->e);
    if (!code && !has_system) code = conversation_add(r->c, ROLE_SYSTEM, text.p, text.n, r->e);
    str_free(&text);
    return code;
}
