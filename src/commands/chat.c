/* lorac chat: a conversation, on a terminal or from a pipe. It is stored only where /save asks. */
#include <stdio.h>
#include <string.h>

#include "src/base/term.h"
#include "src/base/utf8.h"
#include "src/commands/chat_input.h"
#include "src/commands/chat_slash.h"
#include "src/commands/commands.h"
#include "src/commands/model_options.h"

static const char *model, *tokenizer, *compute, *template, *system_text;
static struct option_list adapters;
static int64_t max_new_tokens = 1024, top_k, seed;
static double temperature = 0.7, top_p = 0.95;

static const struct option options[] = {
    { "model", 'm', "M", BASE_HELP, .text = &model },
    { "adapter", 'a', "A", ADAPTER_HELP, .list = &adapters },
    { "template", 't', "T", "the prompt template; left out: the adapter's, else the model's own",
      .text = &template },
    { "system", 's', "TEXT", "a system text", .text = &system_text },
    { "tokenizer", 0, "FILE", "the model's tokenizer, if it is elsewhere", .text = &tokenizer },
    { "compute", 0, "C", COMPUTE_HELP, .allowed = COMPUTE_ALLOWED, .text = &compute },
    { "max-new-tokens", 'n', "N", "at most N tokens in an answer", .allowed = "[1, 1048576]",
      .integer = &max_new_tokens },
    { "temperature", 0, "T", "0: always the likeliest token; left out: 0.7", .allowed = "[0, 100]",
      .real = &temperature },
    { "top-p", 0, "P", "sample from the likeliest tokens that together reach P; left out: 0.95",
      .allowed = "(0, 1]", .real = &top_p },
    { "top-k", 0, "K", "sample from the K likeliest tokens; 0: all", .allowed = "[0, 1048576]",
      .integer = &top_k },
    { "seed", 0, "S", "of sampling", .allowed = "[0, 9223372036854775807]", .integer = &seed },
    { 0 },
};

struct talk {
    struct session session;
    struct chat chat;
    struct chat_input input;
    uint64_t answers; /* each with a seed of its own */
};

static int make_prompt(struct talk *t, struct err *e)
{
    size_t forgot;
    int code = chat_make_prompt(&forgot, &t->chat, e);
    if (forgot) {
        fprintf(stderr, "(the context of %zu tokens is full: forgot the oldest %zu exchange%s)\n",
                t->session.model.dims.context, forgot, forgot == 1 ? "" : "s");
    }
    return code;
}

/* Ctrl-C ends the answer; what there is of it counts as said. */
static int reply(struct talk *t, struct err *e)
{
    bool printed = false;
    struct answer_options o = { .how = { .temperature = temperature,
                                         .top_p = top_p,
                                         .top_k = (size_t)top_k,
                                         .seed = (uint64_t)seed + t->answers++ },
                                .max_new_tokens = (size_t)max_new_tokens,
                                .stop = &keyboard_interrupted,
                                .sink = print_answer,
                                .to = &printed };
    chat_input_pause(&t->input);
    int code = make_prompt(t, e);
    if (!code) {
        code = chat_answer(&t->chat, &o, e);
        print_answer_end(printed, code);
    }
    if (keyboard_take_interrupt(&t->input.keys) && !code) fprintf(stderr, "(stopped)\n");
    chat_input_resume(&t->input);
    return code;
}

/* A person goes on after an error; a script gets it. */
static int recover(const struct talk *t, int code, const struct err *e)
{
    if (!code || !t->input.keys.person || ferror(stdout)) return code;
    fprintf(stderr, "(not answered: %s)\n", e->msg);
    return 0;
}

static int say(struct talk *t, const struct str *text, struct err *e)
{
    size_t before = t->chat.n;
    int code = chat_say(&t->chat, ROLE_USER, text->p, text->n, e);
    if (!code) code = reply(t, e);
    if (code && t->chat.n > before) chat_take_back(&t->chat);
    return code;
}

/* The answer that is there stays where no other can be made. */
static int again(struct talk *t, struct err *e)
{
    struct err no_memory;
    struct str before = { 0 };
    const struct chat_message *last = &t->chat.said[t->chat.n - 1];
    bool answered = last->role == ROLE_ASSISTANT;
    if (answered) str_add(&before, last->text.n ? last->text.p : "", last->text.n);
    int code = str_error(&before, e);
    if (code) return code;
    if (!(temperature > 0))
        fprintf(stderr, "(at temperature 0 only /adapter and /system change the answer)\n");
    chat_again(&t->chat);
    code = reply(t, e);
    if (code && answered)
        chat_say(&t->chat, ROLE_ASSISTANT, before.n ? before.p : "", before.n, &no_memory);
    str_free(&before);
    return code;
}

static int talk(struct talk *t, struct err *e)
{
    struct str text = { 0 };
    size_t at;
    int code = 0;
    while (!code && !ferror(stdout)) {
        enum input what = chat_input_read(&text, &t->input);
        if (what == INPUT_END) break;
        if (what == INPUT_NONE || !text.n) continue;
        if (!utf8_valid(text.p, text.n, &at)) {
            fprintf(stderr, "(that is not valid UTF-8: byte %zu)\n", at);
            continue;
        }
        enum slash slash = chat_slash(&t->chat, text.p);
        if (slash == SLASH_END) break;
        if (slash == SLASH_TEXT) code = recover(t, say(t, &text, e), e);
        if (slash == SLASH_AGAIN) code = recover(t, again(t, e), e);
    }
    if (!code) code = str_error(&text, e);
    str_free(&text);
    return code;
}

static void greet(const struct talk *t)
{
    const struct template *used = t->session.template;
    term_print(stderr, "%s%s%s, template %s; /help lists commands\n", model,
               adapters.n ? " with " : "", adapters.n ? adapters.at[0] : "",
               used ? template_name(used) : "none");
}

static int run(int argc, char **args, struct err *e)
{
    (void)argc, (void)args;
    struct talk t = { 0 };
    struct session_options o = { .model = model,
                                 .tokenizer = tokenizer,
                                 .template = template,
                                 .compute = compute_option(compute) };
    int code = model_open(&t.session, &o, &adapters, e);
    if (code) return code;
    model = o.model; /* where it was left out: the adapter's base */
    code = chat_init(&t.chat, &t.session, system_text, e);
    if (!code) code = chat_input_open(&t.input, e);
    bool person = t.input.keys.person;
    if (!code && person) greet(&t);
    if (!code) code = talk(&t, e);
    if (person) fputc('\n', stderr);
    chat_input_close(&t.input);
    chat_free(&t.chat);
    session_close(&t.session);
    return code;
}

const struct command command_chat = {
    .name = "chat",
    .summary = "talk to a model",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about = "Answers appear as they are made; Ctrl-C stops one, /quit ends, /help lists what\n"
             "else a line can ask: /reset /system /again /save /adapter. On a terminal, lines\n"
             "are edited with the usual keys, and a paste of many lines is one message. What\n"
             "is typed during an answer waits for the next prompt. A line that ends in \\\n"
             "continues in the next one. Nothing is stored unless /save asks for it. The\n"
             "template is that of the adapter's training unless --template names another.",
    .examples = "lorac chat --adapter checkpoints/runs/demo/train\n"
                "lorac chat --model model.gguf --system \"Answer in one sentence.\"\n",
    .run = run,
};
