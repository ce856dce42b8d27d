/* Records that are lists of messages: OpenAI's `messages` and ShareGPT's `conversations`. */
#include "src/data/reading.h"

#include <stdio.h>
#include <string.h>

static const struct spelling openai = { "role", "content", "system, user, assistant or tool" };
static const struct spelling sharegpt = {
    "from", "value", "system, human, gpt, tool, function_call or observation"
};

static bool begins_with_system(const json_t *list)
{
    const json_t *first = json_array_get(list, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    if (!role) role = json_string_value(json_object_get(first, "from"));
    return role && strcmp(role, "system") == 0;
}

/* A list that begins with its system text needs no other; a different one beside the list would be
 * lost. */
static int check_system(const struct reading *r, const json_t *v)
{
    const struct conversation *c = r->c;
    struct conversation beside = { 0 };
    struct reading aside = *r;
    aside.c = &beside;
    int code = reading_system(&aside, v);
    const struct turn *a = c->turns, *b = beside.turns;
    bool same = beside.n == 0 || (a->n == b->n && memcmp(a->text, b->text, a->n) == 0);
    r->c->fault = code ? beside.fault : r->c->fault;
    conversation_free(&beside);
    if (code || same) return code;
    return reading_fault(r, FAULT_VALUE, "system",
                         "found a system text that differs from that of the messages, wanted one");
}

/* Read the messages, with the system text and the tools that the record has beside the list. */
static int read_items(const struct reading *r, const struct spelling *s, const char *field,
                      const json_t *list, const json_t *v)
{
    bool begins = begins_with_system(list);
    int code = 0;
    if (begins) {
        const json_t *first = json_array_get(list, 0);
        char at[64];
        snprintf(at, sizeof at, "%s[0]", field);
        code = reading_messages(r, s, at, first, 0);
        if (!code) code = check_system(r, v);
    } else {
        code = reading_system(r, v);
    }
    if (!code) code = reading_tools(r, v);
    return code ? code : reading_messages(r, s, field, list, begins);
}

/* Exports of tables hold the list as a text in JSON. */
static int read_encoded(const struct reading *r, const struct spelling *s, const char *field,
                        const json_t *text, const json_t *v)
{
    struct err why;
    const char *begin = json_string_value(text);
    json_t *list = json_parse(begin, json_string_length(text), JSON_DUP_REFUSED, field, &why);
    bool python = !list && strncmp(begin + strspn(begin, " \n"), "[{'", 3) == 0;
    if (!list && why.code == ERR_MEMORY) {
        *r->e = why;
        return why.code;
    }
    if (!json_is_array(list)) {
        json_decref(list);
        return reading_fault(r, FAULT_TYPE, field,
                             "found a string%s, wanted an array of messages, or a string that "
                             "holds one as JSON",
                             python ? " that Python printed (write it with json.dumps)" : "");
    }
    int code = read_items(r, s, field, list, v);
    json_decref(list);
    return code;
}

/* Read the list under `field`. */
static int read_list(const struct reading *r, const struct spelling *s, const char *field,
                     const json_t *v)
{
    const json_t *list = json_object_get(v, field);
    reading_use(r, field);
    return json_is_string(list) ? read_encoded(r, s, field, list, v)
                                : read_items(r, s, field, list, v);
}

bool is_sharegpt(const json_t *v)
{
    return json_object_get(v, "conversations") != NULL;
}

int read_sharegpt(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_CHAT);
    int code = read_list(r, &sharegpt, "conversations", v);
    if (!code && json_has(v, "chosen")) code = reading_chosen(r, &sharegpt, v);
    return code;
}

bool is_messages(const json_t *v)
{
    return json_object_get(v, "messages") || json_is_array(json_object_get(v, "chosen")) ||
           (json_is_array(json_object_get(v, "prompt")) &&
            json_is_array(json_object_get(v, "completion")));
}

/* The text before `chosen` or `completion`, when it is not in `messages`. */
static int read_prompt(const struct reading *r, const json_t *v)
{
    const json_t *prompt = json_object_get(v, "prompt");
    int code = reading_system(r, v);
    reading_use(r, "prompt");
    if (code || !json_has(v, "prompt")) return code;
    if (json_is_string(prompt)) return reading_turn(r, ROLE_USER, "prompt", prompt);
    return reading_messages(r, &openai, "prompt", prompt, 0);
}

int read_messages(const struct reading *r, const json_t *v)
{
    struct conversation *c = r->c;
    conversation_clear(c, RECORD_CHAT);
    const char *list = r->columns->messages ? r->columns->messages : "messages";
    bool listed = json_object_get(v, list) || !is_messages(v);
    int code = listed ? read_list(r, &openai, list, v) : read_prompt(r, v);
    if (code) return code;
    if (json_has(v, "chosen")) return reading_chosen(r, &openai, v);
    if (listed) return 0;
    for (size_t i = 0; i < c->n; i++) c->turns[i].train = false; /* only the completion is learnt */
    reading_use(r, "completion");
    return reading_messages(r, &openai, "completion", json_object_get(v, "completion"), 0);
}
