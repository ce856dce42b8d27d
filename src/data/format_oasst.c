/* OpenAssistant's exports: trees of messages, threads, and the flat list of a tree's messages. */
#include "src/data/reading.h"

#include <stdio.h>

/* ---- a message ------------------------------------------------------------------------------- */

/* Messages that the reviewers removed are not read, and neither are their replies. */
static bool is_deleted(const json_t *node)
{
    return json_is_true(json_object_get(node, "deleted")) ||
           json_is_false(json_object_get(node, "review_result"));
}

static int add_message(const struct reading *r, const char *at, const json_t *node, uint32_t parent)
{
    static const struct spelling spelling = { "role", "text", "prompter or assistant" };
    struct conversation *c = r->c;
    if (c->n >= TURN_ROOT) return err_set(r->e, "%s: too many messages", r->where);
    int code = reading_messages(r, &spelling, at, node, 0);
    if (code) return code;
    enum role role = c->turns[c->n - 1].role;
    if (parent == TURN_ROOT ? role != ROLE_USER : role == c->turns[parent].role) {
        char field[96];
        snprintf(field, sizeof field, "%s.role", at);
        return reading_fault(r, FAULT_ORDER, field, "found %s, wanted %s: it %s", role_name(role),
                             role == ROLE_USER ? "assistant" : "prompter",
                             parent == TURN_ROOT ? "begins the tree" : "answers a message like it");
    }
    c->turns[c->n - 1].parent = parent;
    return 0;
}

/* ---- trees ----------------------------------------------------------------------------------- */

/* Add the node and its replies; json_parse() has limited the depth. */
static int add_node(const struct reading *r, const json_t *node, uint32_t parent)
{
    char at[48];
    snprintf(at, sizeof at, "message %zu", r->c->n + 1);
    if (is_deleted(node)) return 0;
    int code = add_message(r, at, node, parent);
    if (code) return code;
    uint32_t self = (uint32_t)(r->c->n - 1);
    const json_t *replies = json_object_get(node, "replies");
    if (json_has(node, "replies") && !json_is_array(replies)) {
        return reading_fault(r, FAULT_TYPE, at, "replies: found %s, wanted an array of messages",
                             json_kind(replies));
    }
    for (size_t i = 0; !code && i < json_array_size(replies); i++) {
        code = add_node(r, json_array_get(replies, i), self);
    }
    return code;
}

/* ---- flat lists ------------------------------------------------------------------------------ */

/* The turn that the message answers, by its id; *gone when that turn was left out. */
static int find_parent(uint32_t *out, bool *gone, const struct reading *r, const json_t *turns,
                       const char *at, const json_t *message)
{
    const json_t *id = json_object_get(message, "parent_id");
    char field[64];
    *out = TURN_ROOT;
    *gone = false;
    if (!id || json_is_null(id)) return 0;
    snprintf(field, sizeof field, "%s.parent_id", at);
    if (!json_is_string(id)) return reading_unwanted(r, field, id, "a string");
    const json_t *turn = json_object_get(turns, json_string_value(id));
    if (!turn) {
        return reading_fault(r, FAULT_ORDER, field,
                             "found none of the messages before it, wanted one of them: a tree's "
                             "messages must stand together, each after the one it answers");
    }
    *gone = json_is_null(turn);
    *out = (uint32_t)json_integer_value(turn);
    return 0;
}

static int add_flat(const struct reading *r, json_t *turns, const json_t *message, size_t i)
{
    char at[32];
    uint32_t parent;
    bool gone;
    snprintf(at, sizeof at, "message %zu", i + 1);
    const json_t *id = json_object_get(message, "message_id");
    if (!json_is_string(id)) {
        return reading_fault(r, id ? FAULT_TYPE : FAULT_KEY, at,
                             "message_id: found %s, wanted a string", json_kind(id));
    }
    int code = find_parent(&parent, &gone, r, turns, at, message);
    if (code) return code;
    gone = gone || is_deleted(message);
    if (!gone) code = add_message(r, at, message, parent);
    json_t *turn = gone ? json_null() : json_integer((json_int_t)r->c->n - 1);
    if (json_object_set_new(turns, json_string_value(id), turn) && !code) {
        code = err_set(r->e, "out of memory: a tree of messages");
    }
    return code;
}

static int read_flat(const struct reading *r, const json_t *messages)
{
    json_t *turns = json_object();
    int code = turns ? 0 : err_set(r->e, "out of memory: a tree of messages");
    for (size_t i = 0; !code && i < json_array_size(messages); i++) {
        code = add_flat(r, turns, json_array_get(messages, i), i);
    }
    json_decref(turns);
    return code;
}

/* ---- the formats ----------------------------------------------------------------------------- */

bool is_oasst(const json_t *v)
{
    return json_is_object(json_object_get(v, "prompt")) ||
           (json_object_get(v, "message_id") && json_object_get(v, "role"));
}

bool is_oasst_threads(const json_t *v)
{
    return json_object_get(v, "thread") != NULL;
}

/* Note the export's own members beside the messages as used. The members of a record that is itself
 * a message are remarked on as a message's. */
static void use_tree(const struct reading *r)
{
    static const char *const keys[] = { "prompt",          "thread",     "thread_id",
                                        "message_tree_id", "tree_state", "origin" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) reading_use(r, keys[i]);
    const char *key;
    json_t *value;
    if (!json_object_get(r->record, "message_id")) return;
    json_object_foreach((json_t *)(uintptr_t)r->record, key, value) reading_use(r, key);
}

int read_oasst(const struct reading *r, const json_t *v)
{
    conversation_clear(r->c, RECORD_CHAT);
    r->c->forest = true;
    if (json_is_array(v)) return read_flat(r, v);
    use_tree(r);
    const json_t *prompt = json_object_get(v, "prompt");
    if (!prompt && json_object_get(v, "message_id")) return add_node(r, v, TURN_ROOT);
    if (!json_is_object(prompt)) {
        return reading_unwanted(r, "prompt", prompt, "an object, the tree's first message");
    }
    int code = add_node(r, prompt, TURN_ROOT);
    if (!code && r->c->n == 0) {
        code = reading_fault(r, FAULT_VALUE, "prompt",
                             "found it deleted by its reviewers, wanted a message");
    }
    return code;
}

int read_oasst_threads(const struct reading *r, const json_t *v)
{
    static const struct spelling spelling = { "role", "text", "prompter or assistant" };
    if (!json_object_get(v, "thread")) {
        int code = read_oasst(r, v);
        r->c->every_path = true;
        return code;
    }
    conversation_clear(r->c, RECORD_CHAT);
    use_tree(r);
    return reading_messages(r, &spelling, "thread", json_object_get(v, "thread"), 0);
}
