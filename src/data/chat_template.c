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

#define LLAMA3_MESSAGES                                                                            \
    "{% set loop_messages = messages %}{% for message in loop_messages %}"                         \
    "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "      \
    "message['content'] | trim + '<|eot_id|>' %}"                                                  \
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"                  \
    "{{ content }}{% endfor %}"

#define LLAMA3_SHORT                                                                               \
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "    \
    "'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"

#define LLAMA3_HEADER "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"

#define LLAMA3_PROMPT "{% if add_generation_prompt %}" LLAMA3_HEADER "{% endif %}"

#define ZEPHYR                                                                                     \
    "{% for message in messages %}"                                                                \
    "{% if message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + eos_token }}\n"     \
    "{% elif message['role'] == 'system' %}"                                                       \
    "{{ '<|system|>\\n' + message['content'] + eos_token }}\n"                                     \
    "{% elif message['role'] == 'assistant' %}"                                                    \
    "{{ '<|assistant|>\\n' + message['content'] + eos_token }}\n{% endif %}"                       \
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}\n{% endif %}{% endfor %}"

#define MISTRAL                                                                                    \
    "{% if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}"    \
    "{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}"           \
    "{% endif %}{{ bos_token }}{% for message in loop_messages %}"                                 \
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"                               \
    "{{ raise_exception('After the optional system message, conversation roles must alternate "    \
    "user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}"          \
    "{% if loop.first and system_message is defined %}"                                            \
    "{{ ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}"               \
    "{% else %}{{ ' [INST] ' + message['content'] + ' [/INST]' }}{% endif %}"                      \
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"          \
    "{% else %}{{ raise_exception('Only user and assistant roles are supported, with the "         \
    "exception of an initial optional system message!') }}{% endif %}{% endfor %}"

#define MISTRAL_COMPACT                                                                            \
    "{{ bos_token }}{% for message in messages %}"                                                 \
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"                               \
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}" \
    "{% endif %}{% if message['role'] == 'user' %}"                                                \
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"   \
    "{{ message['content'] + eos_token }}{% else %}"                                               \
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"

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
    { "llama3", LLAMA3_MESSAGES LLAMA3_PROMPT },
    { "llama3", LLAMA3_MESSAGES LLAMA3_HEADER },
    { "llama3", LLAMA3_SHORT LLAMA3_PROMPT },
    { "zephyr", ZEPHYR },
    { "mistral", MISTRAL },
    { "mistral_compact", MISTRAL_COMPACT },
};

/* Markers that suggest a row when the program itself is not known. */
static const struct {
    const char *marker, *row;
} hints[] = {
    { "<|im_start|>", "chatml" },    { "<|start_header_id|>", "llama3" },
    { "<<SYS>>", "llama2" },         { "[INST]", "mistral" },
    { "<|prompter|>", "oasst" },     { "<|assistant|>", "zephyr" },
    { "ASSISTANT:", "vicuna_v1.1" }, { "### Response:", "alpaca" },
};

/* A program being written without what makes no difference. */
struct program {
    struct str out;
    size_t text;        /* where in `out` the text between two tags began */
    bool at_line_start; /* in the source, where that text begins */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A tag begins at p. In front of {%- and {{- white space is dropped; in front of {% what indents it
 * (lstrip_blocks, which transformers sets). Returns the last byte of its opening. */
static const char *open_tag(struct program *x, const char *p)
{
    size_t n = x->out.n;
    if (p[2] == '-') {
        while (n > x->text && is_blank(x->out.p[n - 1])) n--;
    } else if (p[1] == '%') {
        while (n > x->text && (x->out.p[n - 1] == ' ' || x->out.p[n - 1] == '\t')) n--;
        bool indents = n > x->text ? x->out.p[n - 1] == '\n' : x->at_line_start;
        if (!indents) n = x->out.n;
    }
    x->out.n = n;
    str_add(&x->out, p, 2);
    return p + (p[2] == '-' ? 2 : 1);
}

/* A tag has ended with the byte at p: behind -%} and -}} white space is dropped, behind %} one line
 * feed (trim_blocks). Returns the last byte that is done. */
static const char *close_tag(struct program *x, const char *p, bool dash)
{
    bool block = p[-1] == '%';
    x->at_line_start = false;
    if (dash) {
        while (is_blank(p[1])) p++;
    } else if (block && p[1] == '\n') {
        x->at_line_start = true;
        p++;
    }
    x->text = x->out.n;
    return p;
}

/* The program without what makes no difference: tags lose their white space outside of strings, and
 * what they drop around them; strings get single quotes and \n for a line feed. */
static void normalise(struct str *out, const char *jinja)
{
    struct program x = { .at_line_start = true };
    bool in_tag = false;
    char quote = 0;
    for (const char *p = jinja; *p; p++) {
        bool ends = (p[0] == '%' || p[0] == '}') && p[1] == '}';
        if (quote && *p == quote) {
            quote = 0;
            str_addc(&x.out, '\'');
        } else if (quote && *p == '\\' && p[1]) {
            str_add(&x.out, p++, 2);
        } else if (quote) {
            str_addz(&x.out, *p == '\n' ? "\\n" : (char[]){ *p, 0 });
        } else if (!in_tag && *p == '{' && (p[1] == '{' || p[1] == '%')) {
            in_tag = true;
            p = open_tag(&x, p);
        } else if (!in_tag) {
            str_addc(&x.out, *p);
        } else if (*p == '\'' || *p == '"') {
            quote = *p;
            str_addc(&x.out, '\'');
        } else if (ends) {
            bool dash = x.out.n && x.out.p[x.out.n - 1] == '-';
            if (dash) x.out.n--;
            str_add(&x.out, p, 2);
            in_tag = false;
            p = close_tag(&x, p + 1, dash);
        } else if (!is_blank(*p)) {
            str_addc(&x.out, *p);
        }
    }
    *out = x.out;
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
