/* lorac generate: one answer to one prompt. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/commands/commands.h"
#include "src/commands/inference.h"
#include "src/model/generate.h"

static const char *model, *tokenizer, *prompt, *template, *system_text;
static struct option_list adapters;
static int64_t max_new_tokens = 256, top_k, seed;
static double temperature, top_p = 1;

static const struct option options[] = {
    { "model", 'm', "M", "the base model", .text = &model },
    { "adapter", 'a', "A", "an adapter on it, or A=WEIGHT; several are added up",
      .list = &adapters },
    { "prompt", 'p', "TEXT", "the question; - reads it from stdin", .text = &prompt },
    { "template", 't', "T",
      "the prompt template; left out: the adapter's, else the model's own, else plain",
      .text = &template },
    { "system", 's', "TEXT", "a system text", .text = &system_text },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "max-new-tokens", 'n', "N", "stop after that many", .allowed = "[1, 1048576]",
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
    if (text->n && text->p[text->n - 1] == '\n') text->p[--text->n] = 0; /* the shell's line end */
    return str_error(text, e);
}

static int encode_prompt(struct encoded *out, const struct inference *x, struct err *e)
{
    struct str text = { 0 };
    struct conversation c = { 0 };
    conversation_clear(&c, RECORD_CHAT);
    int code = 0;
    if (strcmp(prompt, "-") == 0) {
        code = read_stdin(&text, e);
    } else {
        str_addz(&text, prompt);
    }
    size_t at;
    if (!code && text.n && !utf8_valid(text.p, text.n, &at)) {
        code = err_set(e, "the prompt is not valid UTF-8 at byte %zu", at);
    }
    if (!code && system_text) {
        code = conversation_add(&c, ROLE_SYSTEM, system_text, strlen(system_text), e);
    }
    if (!code) code = conversation_add(&c, ROLE_USER, text.n ? text.p : "", text.n, e);
    if (!code) code = template_prompt(out, x->template, x->tok, &c, e);
    if (!code && out->tokens.n == 0) code = err_usage(e, "--prompt: is empty");
    conversation_free(&c);
    str_free(&text);
    return code;
}

/* Print what is whole UTF-8 of the text so far; characters whose last bytes are still to come wait. */
static size_t print_from(const struct str *text, size_t printed)
{
    size_t at = text->n;
    if (!utf8_valid(text->p + printed, text->n - printed, &at) && text->n - printed - at < 4) {
        at += printed;
    } else {
        at = text->n;
    }
    fwrite(text->p + printed, 1, at - printed, stdout);
    fflush(stdout);
    return at;
}

static int generate(const struct inference *x, const struct encoded *in, struct err *e)
{
    const struct shape *s = &x->model.shape;
    size_t n = in->tokens.n, room = n < s->context ? s->context - n : 0;
    size_t most = (size_t)max_new_tokens < room ? (size_t)max_new_tokens : room;
    if (!room) {
        return err_set(e, "the prompt has %zu tokens, the model's context is %zu", n, s->context);
    }
    struct generator g;
    struct sampling how = {
        .temperature = temperature, .top_p = top_p, .top_k = (size_t)top_k, .seed = (uint64_t)seed
    };
    uint32_t *scratch = mem_alloc(s->V, sizeof *scratch, e);
    int32_t *ids = mem_alloc(most, sizeof *ids, e);
    int code = scratch && ids ? 0 : e->code;
    if (!code) {
        code = generator_init(&g, &x->model, inference_adapter(x), x->k, 1, n, n + most, e);
    }
    if (!code) {
        const int32_t *first = in->tokens.ids;
        struct str text = { 0 };
        size_t printed = 0;
        generator_begin(&g, &first, &n);
        for (size_t i = 0; i < most; i++) {
            ids[i] = sample_token(g.logits, s->V, &how, 0, i, scratch);
            if (ids[i] < 0) {
                code = err_set(e,
                               "token %zu of the answer: the logits are not finite: the model's or "
                               "the adapter's numbers overflow",
                               i + 1);
                break;
            }
            if (template_stops(x->template, x->tok, ids[i])) break;
            str_clear(&text);
            tokenizer_decode(x->tok, &text, ids, i + 1, false, false);
            if (text.n) printed = print_from(&text, printed);
            if (i + 1 < most) generator_step(&g, &ids[i]);
        }
        if (text.n > printed) fwrite(text.p + printed, 1, text.n - printed, stdout);
        putchar('\n');
        str_free(&text);
        generator_free(&g);
    }
    mem_free(ids);
    mem_free(scratch);
    return code;
}

static int run(int argc, char **args, struct err *e)
{
    (void)argc, (void)args;
    struct inference x;
    struct encoded in = { 0 };
    if (!prompt) return err_usage(e, "--prompt is missing");
    int code = inference_open_text(&x, model, tokenizer, template, &adapters, e);
    if (code) return code;
    code = encode_prompt(&in, &x, e);
    if (!code) code = generate(&x, &in, e);
    encoded_free(&in);
    inference_close(&x);
    return code;
}

const struct command command_generate = {
    .name = "generate",
    .summary = "answer a prompt",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about = "Greedy when the temperature is 0, which is the default. The template is the one the "
             "adapter\n"
             "was trained with (its lorac.json) unless --template names another.",
    .examples =
        "lorac generate --model models/base --adapter checkpoints/runs/demo/best --prompt \"Hi\"\n"
        "lorac generate --model model.gguf --prompt - --temperature 0.7 --top-p 0.9 "
        "<question.txt\n",
    .run = run,
};
