/* lorac generate: one answer to one prompt. */
#include <stdio.h>
#include <string.h>

#include "src/base/term.h"
#include "src/base/utf8.h"
#include "src/commands/commands.h"
#include "src/commands/model_options.h"
#include "src/session/chat.h"

static const char *model, *tokenizer, *compute, *prompt, *template, *system_text;
static struct option_list adapters;
static int64_t max_new_tokens = 256, top_k, seed;
static double temperature, top_p = 1;

static const struct option options[] = {
    { "model", 'm', "M", BASE_HELP, .text = &model },
    { "adapter", 'a', "A", ADAPTER_HELP, .list = &adapters },
    { "prompt", 'p', "TEXT", "the question, if it is not an argument; - reads it from stdin",
      .text = &prompt },
    { "template", 't', "T",
      "the prompt template; left out: the adapter's, else the model's own, else plain",
      .text = &template },
    { "system", 's', "TEXT", "a system text", .text = &system_text },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "compute", 0, "C", COMPUTE_HELP, .allowed = COMPUTE_ALLOWED, .text = &compute },
    { "max-new-tokens", 'n', "N", "stop after N tokens", .allowed = "[1, 1048576]",
      .integer = &max_new_tokens },
    { "temperature", 0, "T", "0: always the likeliest token", .allowed = "[0, 100]",
      .real = &temperature },
    { "top-p", 0, "P", "sample from the likeliest tokens that together reach P",
      .allowed = "(0, 1]", .real = &top_p },
    { "top-k", 0, "K", "sample from the K likeliest tokens; 0: all", .allowed = "[0, 1048576]",
      .integer = &top_k },
    { "seed", 0, "S", "of sampling", .allowed = "[0, 9223372036854775807]", .integer = &seed },
    { 0 },
};

enum { PROMPT_BYTES = 16 << 20 };

static int read_stdin(struct str *text, struct err *e)
{
    char buf[4096];
    for (size_t n; (n = fread(buf, 1, sizeof buf, stdin)) > 0;) {
        str_add(text, buf, n);
        if (text->n > PROMPT_BYTES) return err_set(e, "stdin: the prompt is larger than 16 MiB");
    }
    if (text->n && text->p[text->n - 1] == '\n') text->p[--text->n] = 0; /* the shell's */
    return str_error(text, e);
}

/* A prompt that spells special tokens is not read as a rendered one, which may surprise its
 * author. */
static void note_spelt(const struct tokenizer *tok, const char *text, size_t n)
{
    for (size_t i = 0; tok && i < n; i++) {
        int32_t id;
        size_t length = tokenizer_special_at(tok, text + i, n - i, &id);
        if (!length) continue;
        term_print(
            stderr,
            "note: the prompt spells the special token %s, which is read as its letters; the "
            "template places special tokens itself\n",
            err_quote(text + i, length));
        return;
    }
}

static int say_prompt(struct chat *c, struct err *e)
{
    struct str text = { 0 };
    int code = 0;
    if (strcmp(prompt, "-") == 0) {
        code = read_stdin(&text, e);
    } else {
        str_addz(&text, prompt);
        code = str_error(&text, e);
    }
    size_t at, forgot;
    if (!code && text.n && !utf8_valid(text.p, text.n, &at)) {
        code = err_set(e, "the prompt is not valid UTF-8 at byte %zu", at);
    }
    if (!code && text.n) note_spelt(c->answerer.session->tok, text.p, text.n);
    if (!code) code = chat_say(c, ROLE_USER, text.n ? text.p : "", text.n, e);
    if (!code) code = chat_make_prompt(&forgot, c, e);
    if (!code && c->prompt.tokens.n == 0) code = err_usage(e, "the prompt is empty");
    str_free(&text);
    return code;
}

static int answer_prompt(struct chat *c, struct err *e)
{
    bool printed = false;
    struct answer_options o = { .how = { .temperature = temperature,
                                         .top_p = top_p,
                                         .top_k = (size_t)top_k,
                                         .seed = (uint64_t)seed },
                                .max_new_tokens = (size_t)max_new_tokens,
                                .sink = print_answer,
                                .to = &printed };
    int code = chat_answer(c, &o, e);
    print_answer_end(printed, code);
    return code;
}

/* The prompt is the only argument, or that of --prompt. */
static int take_prompt(int n, char **args, struct err *e)
{
    if (n > 1) {
        return err_usage(e,
                         "found %d arguments, %s and %s among them, wanted one prompt: put it in "
                         "quotation marks",
                         n, err_quotez(args[0]), err_quotez(args[1]));
    }
    if (n && prompt) {
        return err_usage(e, "found two prompts, %s and --prompt %s: which one?",
                         err_quotez(args[0]), err_quotez(prompt));
    }
    if (n) prompt = args[0];
    return prompt ? 0
                  : err_usage(e, "the prompt is missing: write it in quotation marks after the "
                                 "options, or - to read it from stdin");
}

static int run(int n, char **args, struct err *e)
{
    struct session s;
    struct chat c;
    struct session_options o = { .model = model,
                                 .tokenizer = tokenizer,
                                 .template = template,
                                 .compute = compute_option(compute) };
    int code = take_prompt(n, args, e);
    if (!code) code = model_open(&s, &o, &adapters, e);
    if (code) return code;
    code = chat_init(&c, &s, system_text, e);
    if (!code) code = say_prompt(&c, e);
    if (!code) code = answer_prompt(&c, e);
    chat_free(&c);
    session_close(&s);
    return code;
}

const struct command command_generate = {
    .name = "generate",
    .summary = "answer a prompt",
    .args = "PROMPT|-",
    .min_args = 0,
    .max_args = SIZE_MAX,
    .options = options,
    .about = "Greedy when the temperature is 0, which is the default. The template is the one the "
             "adapter\n"
             "was trained with (its lorac.json) unless --template names another. A run's directory "
             "stands\n"
             "for its best adapter, and the base that an adapter names is used where --model is "
             "missing.",
    .examples = "lorac generate --adapter checkpoints/runs/demo/train \"Which form is needed?\"\n"
                "lorac generate --model model.gguf --prompt - --temperature 0.7 --top-p 0.9 "
                "<question.txt\n",
    .run = run,
};
