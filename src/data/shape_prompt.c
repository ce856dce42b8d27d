/* Records of two texts under one of the usual pairs of names, or under those of `columns`. */
#include "src/data/reading.h"

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

bool is_prompt_completion(const json_t *v)
{
    return usual_pair(v) != NULL;
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
