/* Records that no template writes: texts, token ids, segments. */
#include "src/data/reading.h"

#include <stdio.h>

/* ---- text ----------------------------------------------------------------------------------- */

bool is_text(const json_t *v)
{
    return json_object_get(v, "text") != NULL;
}

int read_text(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_TEXT);
    return reading_turn(r, ROLE_ASSISTANT, "text", json_object_get(v, "text"));
}

/* ---- segments ------------------------------------------------------------------------------- */

bool is_segments(const json_t *v)
{
    return json_object_get(v, "segments") != NULL;
}

int read_segments(const struct reading *r, const json_t *v)
{
    const json_t *list = json_object_get(v, "segments");
    conversation_clear(r->c, RECORD_SEGMENTS);
    if (!json_is_array(list)) return reading_unwanted(r, "segments", list, "an array of segments");
    if (json_array_size(list) == 0) {
        return reading_fault(r, FAULT_VALUE, "segments",
                             "found an empty array, wanted at least one segment");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i), *label = json_object_get(s, "label");
        char field[64];
        snprintf(field, sizeof field, "segments[%zu]", i);
        if (!json_is_object(s)) return reading_unwanted(r, field, s, "an object");
        snprintf(field, sizeof field, "segments[%zu].label", i);
        if (!json_is_boolean(label)) return reading_unwanted(r, field, label, "true or false");
        snprintf(field, sizeof field, "segments[%zu].text", i);
        int code = reading_turn(r, json_is_true(label) ? ROLE_ASSISTANT : ROLE_USER, field,
                                json_object_get(s, "text"));
        if (code) return code;
    }
    return 0;
}

/* ---- tokens --------------------------------------------------------------------------------- */

bool is_tokens(const json_t *v)
{
    return json_object_get(v, "input_ids") != NULL;
}

static int read_token(const struct reading *r, size_t i, const json_t *id, const json_t *label)
{
    char field[48];
    snprintf(field, sizeof field, "input_ids[%zu]", i);
    if (!json_is_integer(id)) return reading_unwanted(r, field, id, "an integer");
    json_int_t value = json_integer_value(id);
    if (value < 0 || value > INT32_MAX) {
        return reading_fault(r, FAULT_VALUE, field, "found %lld, wanted 0 to %d", (long long)value,
                             INT32_MAX);
    }
    if (!label) return conversation_add_id(r->c, (int32_t)value, (int32_t)value, r->e);
    snprintf(field, sizeof field, "labels[%zu]", i);
    if (!json_is_integer(label)) return reading_unwanted(r, field, label, "an integer");
    json_int_t want = json_integer_value(label);
    if (want != LABEL_NONE && want != value) {
        return reading_fault(r, FAULT_VALUE, field,
                             "found another id than input_ids[%zu], wanted the same or %d "
                             "(labels are not shifted)",
                             i, LABEL_NONE);
    }
    return conversation_add_id(r->c, (int32_t)value, (int32_t)want, r->e);
}

int read_tokens(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_TOKENS);
    const json_t *ids = json_object_get(v, "input_ids");
    const json_t *labels = json_has(v, "labels") ? json_object_get(v, "labels") : NULL;
    if (!json_is_array(ids)) return reading_unwanted(r, "input_ids", ids, "an array of integers");
    size_t n = json_array_size(ids);
    if (n == 0) {
        return reading_fault(r, FAULT_VALUE, "input_ids",
                             "found an empty array, wanted at least one id");
    }
    if (labels && !json_is_array(labels)) {
        return reading_unwanted(r, "labels", labels, "an array of integers");
    }
    if (labels && json_array_size(labels) != n) {
        return reading_fault(r, FAULT_VALUE, "labels",
                             "found %zu, wanted %zu, as many as input_ids", json_array_size(labels),
                             n);
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *label = labels ? json_array_get(labels, i) : NULL;
        int code = read_token(r, i, json_array_get(ids, i), label);
        if (code) return code;
    }
    return 0;
}
