/* The parts of alpaca's records that format_prompt.c does not read: earlier exchanges, and
 * self-instruct's several instances of one instruction. */
#include "src/data/reading.h"

#include <stdio.h>

bool is_alpaca(const json_t *v)
{
    if (!json_object_get(v, "instruction")) return false;
    return json_object_get(v, "output") || json_object_get(v, "instances") ||
           json_object_get(v, "chosen") ||
           (json_object_get(v, "response") && json_object_get(v, "context"));
}

int reading_history(const struct reading *r, const json_t *record)
{
    const json_t *history = json_object_get(record, "history");
    reading_use(r, "history");
    if (!history || json_is_null(history)) return 0;
    const char *wanted = "an array of [user, assistant] pairs";
    if (!json_is_array(history)) return reading_unwanted(r, "history", history, wanted);
    for (size_t i = 0; i < json_array_size(history); i++) {
        const json_t *pair = json_array_get(history, i);
        char field[64];
        snprintf(field, sizeof field, "history[%zu]", i);
        if (!json_is_array(pair)) {
            return reading_unwanted(r, field, pair, "a [user, assistant] pair");
        }
        if (json_array_size(pair) != 2) {
            return reading_fault(r, FAULT_VALUE, field,
                                 "found an array of %zu, wanted a [user, assistant] pair",
                                 json_array_size(pair));
        }
        for (size_t j = 0; j < 2; j++) {
            snprintf(field, sizeof field, "history[%zu][%zu]", i, j);
            int code = reading_turn(r, j ? ROLE_ASSISTANT : ROLE_USER, field,
                                    json_array_get(pair, j));
            if (code) return code;
        }
    }
    return 0;
}

static int add_input(const struct reading *r, const char *field, const json_t *input)
{
    if (!input || json_is_null(input)) return 0;
    struct str text = { 0 };
    int code = reading_text(&text, r, field, input);
    if (!code) code = conversation_add_input(r->c, text.n ? text.p : "", text.n, r->e);
    str_free(&text);
    return code;
}

/* Records of self-instruct: each instance is a separate conversation. */
int reading_instances(const struct reading *r, const json_t *v)
{
    const json_t *instances = json_object_get(v, "instances");
    struct conversation *c = r->c;
    int code = 0;
    if (!json_is_array(instances) || json_array_size(instances) == 0) {
        return reading_unwanted(r, "instances", instances, "an array of at least one instance");
    }
    reading_use(r, "instruction");
    reading_use(r, "instances");
    if (json_has(v, "system") || json_has(v, "history")) {
        return reading_fault(
            r, FAULT_VALUE, "instances",
            "found system or history beside it, wanted a record for each instance");
    }
    c->forest = c->every_path = json_array_size(instances) > 1;
    for (size_t i = 0; !code && i < json_array_size(instances); i++) {
        const json_t *one = json_array_get(instances, i);
        char field[64];
        code = reading_turn(r, ROLE_USER, "instruction", json_object_get(v, "instruction"));
        snprintf(field, sizeof field, "instances[%zu].input", i);
        if (!code) code = add_input(r, field, json_object_get(one, "input"));
        snprintf(field, sizeof field, "instances[%zu].output", i);
        if (!code) code = reading_turn(r, ROLE_ASSISTANT, field, json_object_get(one, "output"));
        if (!code) c->turns[c->n - 1].parent = (uint32_t)(c->n - 2);
        snprintf(field, sizeof field, "instances[%zu]", i);
        struct used used = { .key = { "input", "output" }, .n = 2 };
        if (!code) reading_leftover(r, field, one, &used);
    }
    return code;
}
