/* Records that need no template: texts, token ids, segments. */
#include "src/data/reading.h"

#include <stdio.h>

#include "src/data/fields.h"

/* ---- text ------------------------------------------------------------------------------------ */

/* If there is also a prompt or an answer, the user must say what is learnt (hint.h). */
bool is_text(const json_t *v)
{
    struct fields f;
    if (!json_object_get(v, "text")) return false;
    fields_find(&f, v, NULL);
    for (int i = FIELD_PROMPT; i <= FIELD_COMPLETION; i++) {
        for (size_t k = 0; k < f.n[i]; k++)
            if (json_is_string(f.at[i][k].value) && json_string_length(f.at[i][k].value))
                return false;
    }
    return true;
}

int read_text(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_TEXT);
    const char *key = r->columns->text ? r->columns->text : "text";
    reading_use(r, key);
    return reading_turn(r, ROLE_ASSISTANT, key, json_object_get(v, key));
}

/* ---- segments -------------------------------------------------------------------------------- */

bool is_segments(const json_t *v)
{
    return json_object_get(v, "segments") != NULL;
}

static int read_segment(const struct reading *r, size_t i, const json_t *s)
{
    char at[48], field[64];
    const json_t *label = json_object_get(s, "label");
    struct used used = { .key = { "label", "text" }, .n = 2 };
    snprintf(at, sizeof at, "segments[%zu]", i);
    if (!json_is_object(s)) return reading_unwanted(r, at, s, "an object");
    snprintf(field, sizeof field, "%s.label", at);
    if (!json_is_boolean(label)) return reading_unwanted(r, field, label, "true or false");
    bool train = json_is_true(label);
    snprintf(field, sizeof field, "%s.text", at);
    int code = reading_turn(r, train ? ROLE_ASSISTANT : ROLE_USER, field,
                            json_object_get(s, "text"));
    const struct turn *t = code ? NULL : &r->c->turns[r->c->n - 1];
    if (!code) code = reading_train(&train, r, at, s, t->text, t->n, &used);
    if (code) return code;
    if (train != json_is_true(label)) {
        return reading_fault(r, FAULT_VALUE, at,
                             "found another key that says the opposite of label, wanted label "
                             "alone");
    }
    reading_leftover(r, at, s, &used);
    return 0;
}

int read_segments(const struct reading *r, const json_t *v)
{
    const json_t *list = json_object_get(v, "segments");
    conversation_clear(r->c, RECORD_SEGMENTS);
    reading_use(r, "segments");
    if (!json_is_array(list)) return reading_unwanted(r, "segments", list, "an array of segments");
    if (json_array_size(list) == 0) {
        return reading_fault(r, FAULT_VALUE, "segments",
                             "found an empty array, wanted at least one segment");
    }
    int code = 0;
    for (size_t i = 0; !code && i < json_array_size(list); i++) {
        code = read_segment(r, i, json_array_get(list, i));
    }
    return code;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

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
                             "found an id that differs from input_ids[%zu], wanted the same or %d "
                             "(labels are not shifted)",
                             i, LABEL_NONE);
    }
    return conversation_add_id(r->c, (int32_t)value, (int32_t)want, r->e);
}

/* Lists of 0 and 1, one for each id, that say which ids have loss. */
static const char *mask_of(const struct reading *r, const json_t *v)
{
    static const char *const names[] = { "loss_mask", "completion_mask", "assistant_masks",
                                         "assistant_mask" };
    const char *found = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!json_is_array(json_object_get(v, names[i]))) continue;
        reading_use(r, names[i]);
        found = names[i];
    }
    return found;
}

static int apply_mask(const struct reading *r, const char *name, const json_t *mask)
{
    struct conversation *c = r->c;
    if (json_array_size(mask) != c->n_ids) {
        return reading_fault(r, FAULT_VALUE, name, "found %zu, wanted %zu, as many as input_ids",
                             json_array_size(mask), c->n_ids);
    }
    for (size_t i = 0; i < c->n_ids; i++) {
        const json_t *v = json_array_get(mask, i);
        char field[64];
        bool whole = json_is_boolean(v) || (json_is_number(v) && (json_number_value(v) == 0 ||
                                                                  json_number_value(v) == 1));
        snprintf(field, sizeof field, "%s[%zu]", name, i);
        if (!whole) return reading_unwanted(r, field, v, "0 or 1");
        if (json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0)) {
            c->labels[i] = LABEL_NONE;
        }
    }
    return 0;
}

/* Padding is harmless at the end and without loss; anywhere else the model would train on it or
 * attend to it. */
static int check_padding(const struct reading *r, const json_t *mask)
{
    size_t n = json_array_size(mask), last = n;
    reading_use(r, "attention_mask");
    while (last > 0 && json_integer_value(json_array_get(mask, last - 1)) == 0) last--;
    for (size_t i = 0; last > 0 && i < n && i < r->c->n_ids; i++) {
        const json_t *v = json_array_get(mask, i);
        if (!json_is_integer(v) || json_integer_value(v) != 0) continue;
        if (i >= last && r->c->labels[i] == LABEL_NONE) continue;
        char field[64];
        snprintf(field, sizeof field, "attention_mask[%zu]", i);
        return reading_fault(r, FAULT_VALUE, field,
                             "found padding %s, wanted none: leave it out of input_ids and labels",
                             i < last ? "in front of tokens" : "that has loss");
    }
    return 0;
}

static int read_ids(const struct reading *r, const json_t *ids, const json_t *labels)
{
    size_t n = json_array_size(ids);
    int code = 0;
    if (!json_is_array(ids)) return reading_unwanted(r, "input_ids", ids, "an array of integers");
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
    for (size_t i = 0; !code && i < n; i++) {
        const json_t *label = labels ? json_array_get(labels, i) : NULL;
        code = read_token(r, i, json_array_get(ids, i), label);
    }
    return code;
}

int read_tokens(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_TOKENS);
    reading_use(r, "input_ids");
    reading_use(r, "labels");
    const json_t *labels = json_has(v, "labels") ? json_object_get(v, "labels") : NULL;
    int code = read_ids(r, json_object_get(v, "input_ids"), labels);
    const char *mask = mask_of(r, v);
    if (!code && mask) code = apply_mask(r, mask, json_object_get(v, mask));
    return code ? code : check_padding(r, json_object_get(v, "attention_mask"));
}
