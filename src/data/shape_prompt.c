/* Records of two texts under one of the usual pairs of names, or under those of `columns`. */
#include "src/data/reading.h"

#include <string.h>

struct pair {
    const char *prompt, *completion;
};

/* In the order in which they are looked for. */
static const struct pair pairs[] = {
    { "prompt", "completion" },      { "prompt", "response" },      { "prompt", "chosen" },
    { "question", "answer" },        { "question", "response" },    { "question", "chosen" },
    { "instruction", "response" },   { "INSTRUCTION", "RESPONSE" }, { "query", "response" },
    { "instruction", "completion" }, { "instruction", "answer" },   { "prompt", "answer" },
    { "question", "output" },        { "query", "answer" },         { "problem", "solution" },
    { "input", "output" },           { "inputs", "targets" },       { "source", "target" },
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

/* ---- dialogues in one text ------------------------------------------------------------------ */

static const struct {
    const char *text;
    enum role role;
} speakers[] = { { "\n\nHuman:", ROLE_USER }, { "\n\nAssistant:", ROLE_ASSISTANT } };
enum { SPEAKERS = sizeof speakers / sizeof *speakers };

/* Whether the text goes on with a speaker's tag. */
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

/* The last answer is what was preferred; those before it are context. */
static int read_dialogue(const struct reading *r, const json_t *v)
{
    const json_t *chosen = json_object_get(v, "chosen");
    const char *text = json_string_value(chosen);
    size_t n = json_string_length(chosen), at = 0;
    struct conversation *c = r->c;
    int code = 0;
    c->chosen = true;
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

/* ---- two texts ------------------------------------------------------------------------------ */

bool is_prompt_completion(const json_t *v)
{
    return usual_pair(v) || is_dialogue(v);
}

static int no_pair(const struct reading *r, const json_t *v)
{
    for (size_t i = 0; i < PAIRS; i++) {
        if (json_object_get(v, pairs[i].prompt)) {
            return reading_unwanted(r, pairs[i].completion, NULL,
                                    "a string (or name the two texts with data.columns)");
        }
    }
    return reading_fault(r, FAULT_KEY, "prompt, completion",
                         "found neither, nor another usual pair (question, answer; instruction, "
                         "response; ...); name the two texts with data.columns");
}

/* Data of single judgements (KTO): a bad completion is not to be learnt. */
static bool is_bad(const json_t *v)
{
    return json_is_false(json_object_get(v, "label")) ||
           json_is_false(json_object_get(v, "kto_tag"));
}

int read_prompt_completion(const struct reading *r, const json_t *v)
{
    struct conversation *c = r->c;
    conversation_clear(c, RECORD_CHAT);
    struct pair columns = { r->prompt, r->completion };
    const struct pair *p = r->prompt ? &columns : usual_pair(v);
    if (!p && is_dialogue(v)) return read_dialogue(r, v);
    if (!p) return no_pair(r, v);
    int code = 0;
    if (!r->prompt) code = reading_system(r, "system", v);
    if (!r->prompt && !code && c->n == 0) code = reading_system(r, "system_prompt", v);
    if (!code) code = reading_turn(r, ROLE_USER, p->prompt, json_object_get(v, p->prompt));
    if (code) return code;
    code = reading_turn(r, ROLE_ASSISTANT, p->completion, json_object_get(v, p->completion));
    if (code || r->prompt) return code;
    c->chosen = json_object_get(v, "rejected") != NULL;
    if (is_bad(v)) c->turns[c->n - 1].train = false;
    return 0;
}
