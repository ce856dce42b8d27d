#include "src/data/chat_template.h"

#include <string.h>

#include "src/base/str.h"

#define GENERATION_DEFAULT                                                                         \
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"         \
    "{% endif %}"

#define CHATML_MESSAGE                                                                             \
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"

#define CHATML_PROMPT "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

#define LLAMA2_BEGIN                                                                               \
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"               \
    "{% set system_message = messages[0]['content'] %}{% else %}"                                  \
    "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"                \
    "{% for message in loop_messages %}"                                                           \
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"                               \
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}" \
    "{% endif %}{% if loop.index0 == 0 and system_message != false %}"                             \
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}" \
    "{% else %}{% set content = message['content'] %}{% endif %}"                                  \
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"

#define LLAMA2_END                                                                                 \
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}"       \
    "{% endif %}{% endfor %}"

static const struct {
    const char *row, *jinja;
} known[] = {
    { "chatml", "{% for message in messages %}" CHATML_MESSAGE "{% endfor %}" CHATML_PROMPT },
    { "chatml", GENERATION_DEFAULT "{% for message in messages %}" CHATML_MESSAGE
                                   "{% endfor %}" CHATML_PROMPT },
    { "chatml", "{% for message in messages %}" CHATML_MESSAGE "{% endfor %}" },
    { "smollm2",
      "{% for message in messages %}"
      "{% if loop.first and messages[0]['role'] != 'system' %}"
      "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by "
      "Hugging Face<|im_end|>\\n' }}{% endif %}" CHATML_MESSAGE "{% endfor %}" CHATML_PROMPT },
    { "llama2", LLAMA2_BEGIN LLAMA2_END },
    { "llama2",
      LLAMA2_BEGIN "{% elif message['role'] == 'system' %}"
                   "{{ '<<SYS>>\\n' + content.strip() + '\\n<</SYS>>\\n\\n' }}" LLAMA2_END },
};

/* Markers that suggest a row when the program itself is not known. */
static const struct {
    const char *marker, *row;
} hints[] = {
    { "<|im_start|>", "chatml" },
    { "<<SYS>>", "llama2" },
    { "[INST]", "llama2" },
};

/* The program without what makes no difference: outside of string literals the tags lose their
 * white space; literals get single quotes and \n for a line feed. Text between tags stays. */
static void normalise(struct str *out, const char *jinja)
{
    bool in_tag = false;
    char quote = 0;
    for (const char *p = jinja; *p; p++) {
        if (quote && *p == quote) {
            quote = 0;
            str_addc(out, '\'');
        } else if (quote && *p == '\\' && p[1]) {
            str_add(out, p++, 2);
        } else if (quote) {
            str_addz(out, *p == '\n' ? "\\n" : (char[]){ *p, 0 });
        } else if (!in_tag) {
            in_tag = *p == '{' && (p[1] == '{' || p[1] == '%');
            str_addc(out, *p);
        } else if (*p == '\'' || *p == '"') {
            quote = *p;
            str_addc(out, '\'');
        } else if (!strchr(" \t\r\n", *p)) {
            str_addc(out, *p);
            if (*p == '}' && (p[-1] == '%' || p[-1] == '}')) in_tag = false;
        }
    }
}

static bool same_program(const char *a, const char *b, struct err *e)
{
    struct str x = { 0 }, y = { 0 };
    normalise(&x, a);
    normalise(&y, b);
    bool same = !str_error(&x, e) && !str_error(&y, e) && x.n == y.n && x.n > 0 &&
                memcmp(x.p, y.p, x.n) == 0;
    str_free(&x);
    str_free(&y);
    return same;
}

const char *chat_template_row(const char *jinja, struct err *e)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (same_program(jinja, known[i].jinja, e)) return known[i].row;
    }
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        if (strstr(jinja, hints[i].marker)) {
            err_set(e,
                    "the model's chat template, %s, is not one that lorac knows; it has %s, as "
                    "data.template: %s has: compare the two with `lorac data show`",
                    err_quotez(jinja), hints[i].marker, hints[i].row);
            return NULL;
        }
    }
    err_set(e, "the model's chat template, %s, is not one that lorac knows", err_quotez(jinja));
    return NULL;
}
