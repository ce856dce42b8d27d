#include "src/data/template_row.h"

#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"

#define ALPACA                                                                                     \
    .system = "{system}\n\n",                                                                      \
    .default_system = "Below is an instruction that describes a task. Write a response that "      \
                      "appropriately completes the request.",                                      \
    .default_system_input = "Below is an instruction that describes a task, paired with an input " \
                            "that provides further context. Write a response that appropriately "  \
                            "completes the request.",                                              \
    .user = "### Instruction:\n{user}\n\n", .input = "### Input:\n{input}\n\n", .between = "\n\n", \
    .alternate = true

#define ALPACA_LORA(called)                                                                        \
    {                                                                                              \
        .name = called, ALPACA, .assistant = "### Response:\n{answer}{eos}"                        \
    }

#define CHATML                                                                                     \
    .system = "{<|im_start|>}system\n{system}{<|im_end|>}\n",                                      \
    .user = "{<|im_start|>}user\n{user}{<|im_end|>}\n",                                            \
    .tool = "{<|im_start|>}tool\n{user}{<|im_end|>}\n",                                            \
    .assistant = "{<|im_start|>}assistant\n{answer}{<|im_end|>}\n"

#define LLAMA3(role) "{<|start_header_id|>}" role "{<|end_header_id|>}\n\n"

static const struct template templates[] = {
    ALPACA_LORA("alpaca"), /* people who do not name a form mean this one */
    ALPACA_LORA("alpaca_lora"),
    { .name = "alpaca_stanford", ALPACA, .assistant = "### Response:{answer}{eos}" },
    { .name = "alpaca_qlora", ALPACA, .assistant = "### Response: {answer}{eos}" },
    { .name = "vicuna_v0",
      .system = "{system}\n",
      .default_system = "A chat between a curious human and an artificial intelligence assistant. "
                        "The assistant gives helpful, detailed, and polite answers to the human's "
                        "questions.",
      .user = "### Human: {user}\n",
      .assistant = "### Assistant: {answer}{eos}\n",
      .alternate = true },
    { .name = "vicuna_v1.1",
      .system = "{system} ",
      .default_system = "A chat between a curious user and an artificial intelligence assistant. "
                        "The assistant gives helpful, detailed, and polite answers to the user's "
                        "questions.",
      .user = "USER: {user} ",
      .assistant = "ASSISTANT: {answer}{eos}",
      .alternate = true },
    { .name = "llama2",
      .begin = "",
      .fold = "<<SYS>>\n{system}\n<</SYS>>\n\n{user}",
      .user = "{bos}[INST] {user} [/INST]",
      .assistant = " {answer} {eos}",
      .strip = true,
      .alternate = true },
    { .name = "llama3",
      .begin = "{<|begin_of_text|>}",
      .system = LLAMA3("system") "{system}{<|eot_id|>}",
      .user = LLAMA3("user") "{user}{<|eot_id|>}",
      .tool = LLAMA3("ipython") "{user}{<|eot_id|>}",
      .assistant = LLAMA3("assistant") "{answer}{<|eot_id|>}",
      .strip = true },
    { .name = "llama3.1",
      .begin = "{<|begin_of_text|>}",
      .system = LLAMA3("system") "Cutting Knowledge Date: December 2023\nToday Date: {date}\n\n"
                                 "{system}{<|eot_id|>}",
      .default_system = "",
      .user = LLAMA3("user") "{user}{<|eot_id|>}",
      .tool = LLAMA3("ipython") "{user}{<|eot_id|>}",
      .assistant = LLAMA3("assistant") "{answer}{<|eot_id|>}",
      .date = "26 Jul 2024",
      .strip = true },
    { .name = "chatml", CHATML },
    { .name = "smollm2",
      CHATML,
      .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face" },
    { .name = "qwen2.5",
      CHATML,
      .default_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant." },
    { .name = "mistral",
      .begin = "{bos}",
      .fold = "{system}\n\n{user}",
      .user = " [INST] {user} [/INST]",
      .assistant = " {answer}{eos}",
      .alternate = true,
      .spaced = true },
    { .name = "mistral_compact",
      .begin = "{bos}",
      .fold = "{system}\n\n{user}",
      .user = "[INST] {user} [/INST]",
      .assistant = "{answer}{eos}",
      .alternate = true },
    { .name = "mistral_v0.1",
      .begin = "{bos}",
      .fold = "{system}\n\n{user}",
      .user = "[INST] {user} [/INST]",
      .assistant = "{answer}{eos}",
      .between = " ",
      .alternate = true },
    { .name = "mistral_v3",
      .begin = "{bos}",
      .fold = "{system}\n\n{user}",
      .user = "{[INST]} {user}{[/INST]}",
      .assistant = " {answer}{eos}",
      .alternate = true,
      .fold_last = true,
      .spaced = true },
    { .name = "zephyr",
      .system = "<|system|>\n{system}{eos}\n",
      .user = "<|user|>\n{user}{eos}\n",
      .assistant = "<|assistant|>\n{answer}{eos}\n" },
    { .name = "oasst",
      .system = "{<|system|>}{system}{eos}",
      .user = "{<|prompter|>}{user}{eos}",
      .assistant = "{<|assistant|>}{answer}{eos}",
      .alternate = true },
    { .name = "wizardlm",
      .system = "{system}\n\n",
      .user = "{user}\n\n",
      .assistant = "### Response:{answer}{eos}",
      .between = "\n\n",
      .alternate = true },
    { .name = "plain", .system = "{system}", .user = "{user}", .assistant = "{answer}{eos}" },
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

/* ---- the table ------------------------------------------------------------------------------- */

const struct template *template_named(const char *name)
{
    for (size_t i = 0; i < TEMPLATES; i++) {
        if (strcmp(templates[i].name, name) == 0) return &templates[i];
    }
    return NULL;
}

const char *template_name(const struct template *t)
{
    return t->name;
}

const char *template_definition(const struct template *t)
{
    return t->definition ? t->definition : t->name;
}

const char *template_names(void)
{
    static char names[TEMPLATES * 32];
#pragma omp critical(template_names)
    if (!names[0]) {
        struct str s = { 0 };
        for (size_t i = 0; i < TEMPLATES; i++) {
            str_addf(&s, "%s%s", i ? " " : "", templates[i].name);
        }
        CHECK(s.n < sizeof names);
        if (s.n) memcpy(names, s.p, s.n);
        str_free(&s);
    }
    return names;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

bool piece_next(struct template_piece *out, const char **at)
{
    const char *p = *at;
    if (!p || !*p) return false;
    if ((*p == '{' && p[1] == '{') || *p == '}') {
        *out = (struct template_piece){ p, 1, false };
        *at = p + (p[1] == *p ? 2 : 1);
    } else if (*p == '{') {
        const char *end = strchr(p, '}');
        CHECK(end);
        *out = (struct template_piece){ p + 1, (size_t)(end - p) - 1, true };
        *at = end + 1;
    } else {
        *out = (struct template_piece){ p, strcspn(p, "{}"), false };
        *at = p + out->n;
    }
    return true;
}

bool piece_is(const struct template_piece *p, const char *name)
{
    return p->is_name && p->n == strlen(name) && memcmp(p->text, name, p->n) == 0;
}

bool piece_is_special(const struct template_piece *p)
{
    return p->is_name && !piece_is(p, "system") && !piece_is(p, "user") && !piece_is(p, "input") &&
           !piece_is(p, "answer") && !piece_is(p, "date");
}

const char *part_find(const char *part, const char *name)
{
    struct template_piece p;
    const char *at = part, *begin = at;
    for (; piece_next(&p, &at); begin = at) {
        if (piece_is(&p, name)) return begin;
    }
    return NULL;
}

/* ---- definitions ----------------------------------------------------------------------------- */

#define TEMPLATE_NAME(part, help) #part,
static const char *const part_names[] = { TEMPLATE_PARTS(TEMPLATE_NAME) };
enum { PARTS = sizeof part_names / sizeof *part_names };

static const char **part_of(struct template *t, size_t i)
{
#define TEMPLATE_PLACE(part, help) &t->part,
    const char **places[] = { TEMPLATE_PARTS(TEMPLATE_PLACE) };
    return places[i];
}

#define TEMPLATE_FLAG_NAME(flag, help) #flag,
static const char *const flag_names[] = { TEMPLATE_FLAGS(TEMPLATE_FLAG_NAME) };
enum { FLAGS = sizeof flag_names / sizeof *flag_names };

static bool *flag_of(struct template *t, const char *name)
{
#define TEMPLATE_FLAG_PLACE(flag, help) &t->flag,
    bool *places[] = { TEMPLATE_FLAGS(TEMPLATE_FLAG_PLACE) };
    for (size_t i = 0; i < FLAGS; i++)
        if (!strcmp(name, flag_names[i])) return places[i];
    return NULL;
}

/* The texts of the record that each part must place, and those that it may place. */
static const struct {
    const char *part, *text;
} must[] = {
    { "system", "system" }, { "fold", "system" }, { "fold", "user" },        { "user", "user" },
    { "input", "input" },   { "tool", "user" },   { "assistant", "answer" },
};

static int refuse_part(struct err *e, const char *part, const char *why)
{
    return err_usage(e, "template: %s: %s", part, why);
}

static int check_braces(const char *part, const char *text, struct err *e)
{
    for (const char *p = text; *p; p++) {
        if (*p != '{') continue;
        if (p[1] == '{') {
            p++;
            continue;
        }
        const char *end = strchr(p, '}');
        if (!end)
            return refuse_part(e, part, "found { without }, wanted {name}, or {{ for a brace");
        if (end == p + 1) return refuse_part(e, part, "found {}, wanted a name in it");
        if (end - p > 64)
            return refuse_part(e, part, "found a name of more than 63 bytes in braces");
        p = end;
    }
    return 0;
}

/* Check that a part places each text that belongs there once, and no other. */
static int check_texts(const char *part, const char *text, struct err *e)
{
    static const char *const texts[] = { "system", "user", "input", "answer" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        bool wanted = false;
        size_t n = 0;
        struct template_piece p;
        for (size_t k = 0; k < sizeof must / sizeof *must; k++) {
            wanted |= !strcmp(must[k].part, part) && !strcmp(must[k].text, texts[i]);
        }
        for (const char *at = text; piece_next(&p, &at);) n += piece_is(&p, texts[i]);
        if (n != wanted) {
            return err_usage(e, "template: %s: found {%s} %zu times, wanted it %s", part, texts[i],
                             n, wanted ? "once" : "nowhere here");
        }
    }
    if (strcmp(part, "system") != 0 && part_find(text, "date")) {
        return refuse_part(e, part, "found {date}, wanted it in `system` only");
    }
    return 0;
}

static int check_definition(struct template *t, struct err *e)
{
    for (size_t i = 0; i < PARTS; i++) {
        const char *text = *part_of(t, i), *part = part_names[i];
        if (!text) continue;
        bool is_text = !strncmp(part, "default_system", 14) || !strcmp(part, "date");
        /* these parts are used unchanged */
        int code = is_text ? 0 : check_braces(part, text, e);
        if (!code && !is_text) code = check_texts(part, text, e);
        if (code) return code;
    }
    if (!t->user)
        return refuse_part(e, "user", "not given, and there is no `like` to take it from");
    if (!t->assistant)
        return refuse_part(e, "assistant", "not given, and there is no `like` to take it from");
    if (t->date && !part_find(t->system, "date"))
        return refuse_part(e, "date", "given, but `system` has no {date}");
    if (!t->date && part_find(t->system, "date"))
        return refuse_part(e, "system", "found {date}, but no `date` to put there");
    bool ends = false;
    struct template_piece p;
    for (const char *at = part_find(t->assistant, "answer"); piece_next(&p, &at);) {
        ends |= piece_is_special(&p);
    }
    if (!ends) {
        return refuse_part(e, "assistant",
                           "found no special token after {answer}, wanted {eos} or another one: "
                           "without it the model would not learn to stop");
    }
    for (const char *at = t->fold; piece_next(&p, &at);) {
        if (piece_is_special(&p)) {
            return refuse_part(e, "fold", "found a special token, wanted text only");
        }
    }
    if (t->system && t->fold)
        return refuse_part(e, "fold", "found beside system, wanted one of them");
    return 0;
}

static int unknown_part(const char *key, struct err *e)
{
    struct str_nearest nearest = { .word = key };
    for (size_t i = 0; i < PARTS; i++) str_nearest_try(&nearest, part_names[i]);
    for (size_t i = 0; i < FLAGS; i++) str_nearest_try(&nearest, flag_names[i]);
    struct str s = { 0 };
    for (size_t i = 0; i < PARTS; i++) str_addf(&s, "%s, ", part_names[i]);
    for (size_t i = 0; i < FLAGS; i++) str_addf(&s, "%s, ", flag_names[i]);
    err_usage(e, "template: unknown name %s%s%s; the names are %sname and like", err_quotez(key),
              nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "",
              s.p ? s.p : "");
    str_free(&s);
    return e->code;
}

/* Set one member of a definition. null removes a part that `like` has. */
static int set_member(struct template *t, const char *key, const json_t *v, struct err *e)
{
    bool *flag = flag_of(t, key);
    if (flag) {
        const char *word = json_string_value(v);
        if (word && (!strcmp(word, "true") || !strcmp(word, "false"))) {
            *flag = *word == 't';
            return 0;
        }
        if (!json_is_boolean(v)) return refuse_part(e, key, "wanted true or false");
        *flag = json_is_true(v);
        return 0;
    }
    if (!json_is_string(v) && !json_is_null(v)) return refuse_part(e, key, "wanted a text");
    const char *text = json_string_value(v);
    if (text && strlen(text) != json_string_length(v)) return refuse_part(e, key, "holds a NUL");
    if (!strcmp(key, "like")) return 0;
    if (!strcmp(key, "name")) {
        if (!text || template_named(text))
            return refuse_part(e, key, "wanted a name that no built-in template has");
        t->name = text;
        return 0;
    }
    for (size_t i = 0; i < PARTS; i++) {
        if (strcmp(key, part_names[i])) continue;
        *part_of(t, i) = text;
        return 0;
    }
    return unknown_part(key, e);
}

static int start_like(struct template *t, const json_t *o, struct err *e)
{
    const char *like = json_string_value(json_object_get(o, "like"));
    *t = (struct template){ .name = "own" };
    if (!json_object_get(o, "like")) return 0;
    const struct template *row = like ? template_named(like) : NULL;
    if (!row) {
        const char *near = like ? str_nearest_word(like, template_names()) : NULL;
        return err_usage(e, "template: like: found %s, wanted one of %s%s%s%s",
                         like ? err_quotez(like) : "no text", template_names(),
                         near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    *t = *row;
    t->name = "own";
    return 0;
}

/* Make a copy with its texts after it in one block, so that they live as long as it does. */
static int keep(const struct template **out, struct template *t, const char *json, struct err *e)
{
    size_t n = sizeof *t + strlen(json) + 1 + strlen(t->name) + 1;
    for (size_t i = 0; i < PARTS; i++) n += *part_of(t, i) ? strlen(*part_of(t, i)) + 1 : 0;
    char *block = mem_alloc(n, 1, e);
    if (!block) return e->code;
    struct template *copy = (struct template *)(void *)block;
    char *at = block + sizeof *t;
    *copy = *t;
    for (size_t i = 0; i < PARTS + 2; i++) {
        const char *text = i < PARTS ? *part_of(t, i) : i == PARTS ? t->name : json;
        if (!text) continue;
        size_t length = strlen(text) + 1;
        memcpy(at, text, length);
        if (i < PARTS) *part_of(copy, i) = at;
        if (i == PARTS) copy->name = at;
        if (i > PARTS) copy->definition = at;
        at += length;
    }
    *out = copy;
    return 0;
}

int template_define(const struct template **out, const char *json, struct err *e)
{
    struct template t;
    struct err why;
    const char *key;
    json_t *v, *o = json_parse(json, strlen(json), JSON_DUP_REFUSED, "template", &why);
    int code = json_is_object(o) ? start_like(&t, o, e)
                                 : err_usage(e, "%s", o ? "template: wanted an object" : why.msg);
    if (!code) {
        json_object_foreach(o, key, v)
        {
            code = set_member(&t, key, v, e);
            if (code) break;
        }
    }
    if (!code) code = check_definition(&t, e);
    if (!code) code = keep(out, &t, json, e);
    json_decref(o);
    return code;
}

void template_free(const struct template *t)
{
    if (t && t->definition) mem_free((void *)(uintptr_t)t);
}
