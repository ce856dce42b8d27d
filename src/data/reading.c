#include "src/data/reading.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/data/fields.h"

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

/* ---- columns and members --------------------------------------------------------------------- */

void used_add(struct used *u, const char *key)
{
    for (size_t i = 0; i < u->n; i++)
        if (strcmp(u->key[i], key) == 0) return;
    if (u->n < sizeof u->key / sizeof *u->key) u->key[u->n++] = key;
}

void reading_use(const struct reading *r, const char *key)
{
    used_add(r->used, key);
}

void reading_remark(const struct reading *r, enum remark kind, const char *field)
{
    static const char message[] = "message "; /* of trees: a message is named by its number */
    char name[160];
    size_t n = 0;
    if (strncmp(field, message, sizeof message - 1) == 0) {
        n = (size_t)snprintf(name, sizeof name, "messages[]");
        field += sizeof message - 1;
        field += strspn(field, "0123456789");
    }
    for (; *field && n + 1 < sizeof name; field++) {
        name[n++] = *field;
        if (*field == '[') field += strspn(field + 1, "0123456789");
    }
    name[n] = 0;
    conversation_remark(r->c, kind, name);
}

/* null, "", [] and {} say nothing. */
static bool is_nothing(const json_t *v)
{
    return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

void reading_leftover(const struct reading *r, const char *at, const json_t *object,
                      const struct used *used)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        size_t i = 0;
        while (i < used->n && strcmp(used->key[i], key) != 0) i++;
        if (i < used->n || is_nothing(v)) continue;
        char field[160];
        if (*at) {
            snprintf(field, sizeof field, "%.60s.%.96s", at, key);
            reading_remark(r, REMARK_UNUSED, field);
        } else {
            conversation_remark(r->c, REMARK_UNUSED, key);
        }
    }
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* Add a number as it is written in the JSON: 12.50 stays 12.50. */
static void add_number(struct str *out, const struct reading *r, const json_t *v)
{
    const char *text;
    size_t n;
    if (r->o && r->o->text && json_number_text(&text, &n, r->o->text, r->o->n, r->record, v)) {
        str_add(out, text, n);
    } else if (json_is_integer(v)) {
        str_addf(out, "%lld", (long long)json_integer_value(v));
    } else {
        json_add_double(out, json_real_value(v));
    }
}

int reading_text(struct str *out, const struct reading *r, const char *field, const json_t *v)
{
    if (json_is_string(v)) {
        str_add(out, json_string_value(v), json_string_length(v));
    } else if (json_is_number(v)) {
        add_number(out, r, v);
    } else if (json_is_boolean(v)) {
        str_addz(out, json_is_true(v) ? "true" : "false");
    } else {
        return reading_unwanted(r, field, v, "a string");
    }
    if (!json_is_string(v)) reading_remark(r, REMARK_SCALAR, field);
    return str_error(out, r->e);
}

int reading_turn(const struct reading *r, enum role role, const char *field, const json_t *v)
{
    if (json_is_string(v)) {
        return conversation_add(r->c, role, json_string_value(v), json_string_length(v), r->e);
    }
    if (role == ROLE_SYSTEM) return reading_unwanted(r, field, v, "a string");
    struct str text = { 0 };
    int code = reading_text(&text, r, field, v);
    if (!code) code = conversation_add(r->c, role, text.p, text.n, r->e);
    str_free(&text);
    return code;
}

int reading_one(const json_t **out, const struct reading *r, const char *field, const json_t *v)
{
    const json_t *list = json_is_object(v) ? json_object_get(v, "text") : v;
    *out = v;
    if (!json_is_array(list)) return 0;
    if (json_array_size(list) == 0) {
        return reading_fault(
            r, FAULT_VALUE, field,
            "found an empty list, wanted an answer (data.on_error: skip leaves out "
            "records without one)");
    }
    for (size_t i = 1; i < json_array_size(list); i++) {
        if (json_equal(json_array_get(list, 0), json_array_get(list, i))) continue;
        return reading_fault(r, FAULT_VALUE, field,
                             "found a list of %zu answers that differ, wanted one: keep the one to "
                             "learn, or write a record for each",
                             json_array_size(list));
    }
    *out = json_array_get(list, 0);
    return 0;
}

int reading_think(struct str *out, const struct reading *r, const char *field, const json_t *v)
{
    if (!json_is_string(v)) return reading_unwanted(r, field, v, "a string");
    const char *text = json_string_value(v);
    size_t n = json_string_length(v);
    while (n && *text == '\n') text++, n--;
    while (n && text[n - 1] == '\n') n--;
    str_addz(out, "<think>\n");
    str_add(out, text, n);
    str_addz(out, "\n</think>\n\n");
    reading_remark(r, REMARK_REASONING, field);
    return str_error(out, r->e);
}

int reading_system(const struct reading *r, const json_t *record)
{
    struct fields f;
    const json_t *found = NULL;
    const char *name = NULL;
    fields_find(&f, record, r->columns);
    for (size_t i = 0; i < f.n[FIELD_SYSTEM]; i++) {
        const struct column *at = &f.at[FIELD_SYSTEM][i];
        reading_use(r, at->key);
        if (is_nothing(at->value)) continue;
        if (found && !json_equal(found, at->value)) {
            return reading_fault(r, FAULT_VALUE, at->key,
                                 "found a system text that differs from %s, wanted one",
                                 err_quotez(name));
        }
        found = at->value;
        name = at->key;
    }
    return found ? reading_turn(r, ROLE_SYSTEM, name, found) : 0;
}

/* ---- messages -------------------------------------------------------------------------------- */

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
    { "function_call", ROLE_ASSISTANT }, /* its text is the call, which must be learnt */
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
    enum { NAME_BYTES = 24 }; /* a longer name may be misplaced text of the record */
    bool is_short = json_string_length(v) <= NAME_BYTES;
    return reading_fault(r, FAULT_ROLE, field, "found %s, wanted %s",
                         is_short ? err_quote(name, json_string_length(v)) : "a long string",
                         wanted);
}

/* Add a call as a text: {"name": ..., "arguments": ...}. Arguments are usually JSON inside a
 * string; they are used unchanged. */
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

/* Add the tool calls of a message, one per line, after its content. */
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

/* Add the reasoning of an assistant's message, unless its content holds it already. */
static int add_reasoning(struct str *out, const struct reading *r, const char *at,
                         const json_t *message, const json_t *content, struct used *used)
{
    const char *key, *text = json_string_value(content);
    json_t *v;
    int code = 0;
    json_object_foreach((json_t *)(uintptr_t)message, key, v)
    {
        if (!field_has_name(FIELD_REASONING, key) || !json_is_string(v)) continue;
        used_add(used, key);
        if (is_nothing(v)) continue;
        if (text &&
            memmem(text, json_string_length(content), json_string_value(v), json_string_length(v)))
            continue;
        char field[96];
        snprintf(field, sizeof field, "%.60s.%.30s", at, key);
        if (out->n) {
            return reading_fault(r, FAULT_VALUE, field,
                                 "found a second reasoning, wanted one of the keys left out");
        }
        code = reading_think(out, r, field, v);
        if (code) return code;
    }
    return 0;
}

/* The type of a part that is not text, by a name of lorac's: the record's own word may be any
 * text. */
static const char *media_of(const json_t *part)
{
    static const char *const types[] = { "image_url", "image",     "input_image", "video_url",
                                         "video",     "audio_url", "audio",       "input_audio" };
    const char *type = json_string_value(json_object_get(part, "type"));
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i]) == 0) return types[i];
    return NULL;
}

/* OpenAI's parts: [{"type": "text", "text": ...}, ...] */
static int add_parts(const struct reading *r, const char *field, const json_t *content)
{
    int code = 0;
    for (size_t i = 0; !code && i < json_array_size(content); i++) {
        const json_t *item = json_array_get(content, i), *text = json_object_get(item, "text");
        const char *media = media_of(item);
        char part[128];
        snprintf(part, sizeof part, "%s[%zu].text", field, i);
        if (!text && media) {
            return reading_fault(r, FAULT_KEY, part,
                                 "found nothing, wanted a string: the part is of type %s, and "
                                 "lorac reads only text",
                                 media);
        }
        if (!json_is_string(text)) return reading_unwanted(r, part, text, "a string");
        code = conversation_extend(r->c, json_string_value(text), json_string_length(text), r->e);
    }
    return code;
}

/* Add a turn with the message's content, after its reasoning. */
static int add_content(const struct reading *r, enum role role, const char *field,
                       const json_t *content, bool calls, const struct str *reasoning)
{
    if (!reasoning->n && !json_is_array(content) && !(calls && (!content || json_is_null(content))))
        return reading_turn(r, role, field, content);
    int code = conversation_add(r->c, role, reasoning->n ? reasoning->p : "", reasoning->n, r->e);
    if (code) return code;
    if (json_is_array(content)) return add_parts(r, field, content);
    if (calls && (!content || json_is_null(content))) return 0;
    struct str text = { 0 };
    code = reading_text(&text, r, field, content);
    size_t from = code || !text.n ? 0 : strspn(text.p, "\n");
    if (!code) code = conversation_extend(r->c, text.p + from, text.n - from, r->e);
    str_free(&text);
    return code;
}

/* The error for a missing key; it suggests a similar key. */
static int lacking(const struct reading *r, const char *field, const char *key,
                   const json_t *object, const char *wanted)
{
    struct str_nearest nearest = { .word = key };
    const char *other;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)object, other, v) str_nearest_try(&nearest, other);
    return reading_fault(r, FAULT_KEY, field, "found nothing, wanted %s%s%s%s", wanted,
                         nearest.best ? "; is " : "", nearest.best ? err_quotez(nearest.best) : "",
                         nearest.best ? " meant?" : "");
}

/* Add the role, content, reasoning and calls of a message as a turn. */
static int add_message(enum role *role, const struct reading *r, const struct spelling *s,
                       const char *at, const json_t *message, struct used *used)
{
    char field[96];
    const json_t *content = json_object_get(message, s->content);
    struct str reasoning = { 0 };
    snprintf(field, sizeof field, "%s.%s", at, s->role);
    if (!json_object_get(message, s->role)) return lacking(r, field, s->role, message, s->wanted);
    int code = role_of(role, r, field, json_object_get(message, s->role), s->wanted);
    if (code) return code;
    bool answers = *role == ROLE_ASSISTANT;
    bool calls = answers && (!is_nothing(json_object_get(message, "tool_calls")) ||
                             json_has(message, "function_call"));
    snprintf(field, sizeof field, "%s.%s", at, s->content);
    if (!content && !calls) return lacking(r, field, s->content, message, "a string");
    if (answers) code = add_reasoning(&reasoning, r, at, message, content, used);
    if (!code) code = add_content(r, *role, field, content, calls, &reasoning);
    str_free(&reasoning);
    return code || !answers ? code : add_calls(r, at, message);
}

/* Note OpenAssistant's annotations of a message as used. */
static void use_annotations(struct used *used)
{
    static const char *const keys[] = {
        "message_id",    "parent_id",       "user_id",    "created_date", "lang",    "review_count",
        "review_result", "deleted",         "rank",       "synthetic",    "labels",  "model_name",
        "detoxify",      "message_tree_id", "tree_state", "emojis",       "replies",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) used_add(used, keys[i]);
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
    enum role role = ROLE_USER;
    struct used used = { .key = { s->role, s->content }, .n = 2 };
    if (strcmp(s->content, "text") == 0) use_annotations(&used);
    int code = add_message(&role, r, s, at, message, &used);
    if (code) return code;
    if (role == ROLE_ASSISTANT) used_add(&used, "tool_calls"), used_add(&used, "function_call");
    const struct turn *t = &r->c->turns[r->c->n - 1];
    bool train = role == ROLE_ASSISTANT;
    code = reading_train(&train, r, at, message, t->text, t->n, &used);
    if (code) return code;
    if (train && role != ROLE_ASSISTANT) {
        return reading_fault(r, FAULT_VALUE, at,
                             "found %s to be trained, wanted only assistant messages to be "
                             "(data.train_on: everything trains on all text)",
                             role == ROLE_USER     ? "a user message"
                             : role == ROLE_SYSTEM ? "a system message"
                                                   : "a tool's message");
    }
    r->c->turns[r->c->n - 1].train = train;
    reading_leftover(r, at, message, &used);
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

/* ---- preferences, tools ---------------------------------------------------------------------- */

/* For a whole conversation with the same beginning as the rejected one, only the different end is
 * learnt. */
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
    reading_use(r, "chosen");
    reading_use(r, "rejected");
    for (size_t i = 0; i < c->n; i++) c->turns[i].train = false;
    if (json_is_string(chosen)) return reading_turn(r, ROLE_ASSISTANT, "chosen", chosen);
    size_t before = c->n;
    int code = reading_messages(r, s, "chosen", chosen, 0);
    if (code) return code;
    if (c->turns[before].role != ROLE_ASSISTANT) { /* it repeats the question */
        memmove(c->turns, c->turns + before, (c->n - before) * sizeof *c->turns);
        c->n -= before;
        mark_common(r, chosen, json_object_get(record, "rejected"));
    }
    return 0;
}

int reading_tools(const struct reading *r, const json_t *record)
{
    const char *key = is_nothing(json_object_get(record, "tools")) ? "functions" : "tools";
    const json_t *tools = json_object_get(record, key);
    reading_use(r, key);
    if (is_nothing(tools)) return 0;
    if (!json_is_string(tools) && !json_is_array(tools)) {
        return reading_unwanted(r, key, tools, "a string or an array");
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
