/* Records of one instruction: Stanford's, Dolly's names for the same, self-instruct's with several
 * instances. */
#include "src/data/reading.h"

#include <stdio.h>

struct names {
    const char *instruction, *input, *output;
};

static const struct names *names_of(const json_t *v)
{
    static const struct names stanford = { "instruction", "input", "output" };
    static const struct names dolly = { "instruction", "context", "response" };
    bool is_dolly = !json_object_get(v, "output") && json_object_get(v, "response");
    return is_dolly ? &dolly : &stanford;
}

bool is_alpaca(const json_t *v)
{
    if (!json_object_get(v, "instruction")) return false;
    return json_object_get(v, "output") || json_object_get(v, "instances") ||
           json_object_get(v, "chosen") ||
           (json_object_get(v, "response") && json_object_get(v, "context"));
}

static int add_history(const struct reading *r, const json_t *history)
{
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
    if (!json_is_string(input)) return reading_unwanted(r, field, input, "a string");
    return conversation_add_input(r->c, json_string_value(input), json_string_length(input), r->e);
}

/* self-instruct's: each instance is a conversation of its own. */
static int read_instances(const struct reading *r, const json_t *v)
{
    const json_t *instances = json_object_get(v, "instances");
    struct conversation *c = r->c;
    int code = 0;
    if (!json_is_array(instances) || json_array_size(instances) == 0) {
        return reading_unwanted(r, "instances", instances, "an array of at least one instance");
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
    }
    return code;
}

int read_alpaca(const struct reading *r, const json_t *v)
{
    const struct names *names = names_of(v);
    conversation_clear(r->c, RECORD_ALPACA);
    if (json_object_get(v, "instances")) return read_instances(r, v);
    int code = reading_system(r, "system", v);
    if (!code) code = add_history(r, json_object_get(v, "history"));
    if (!code) {
        code = reading_turn(r, ROLE_USER, names->instruction,
                            json_object_get(v, names->instruction));
    }
    if (!code) code = add_input(r, names->input, json_object_get(v, names->input));
    if (code) return code;
    const json_t *output = json_object_get(v, names->output);
    if (!output && json_has(v, "chosen")) {
        return reading_chosen(r, &(struct spelling){ "role", "content", "assistant" }, v);
    }
    return reading_turn(r, ROLE_ASSISTANT, names->output, output);
}
