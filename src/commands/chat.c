/* lorac chat: a conversation on the terminal. It is not stored anywhere. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/term.h"
#include "src/base/utf8.h"
#include "src/commands/commands.h"
#include "src/commands/model_options.h"
#include "src/session/chat.h"

static const char *model, *tokenizer, *template, *system_text;
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

enum { LINE_BYTES = 1 << 20 };

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

static volatile bool interrupted;
static int wake[2] = { -1, -1 }; /* a pipe: holds a byte after an interrupt, for poll() to see */

/* The first signal stops the answer, or clears the line; a second one before that has happened ends
 * the program. */
static void on_interrupt(int sig)
{
    int before = errno;
    if (interrupted || write(wake[1], "", 1) != 1) _exit(128 + sig);
    interrupted = true;
    errno = before;
}

/* With SA_RESTART, a write of an answer that the signal interrupts is completed. */
static int install(struct err *e)
{
    struct sigaction sa = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART };
    if (pipe(wake)) return err_errno(e, "cannot make a pipe");
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    return 0;
}

/* Whether there was an interrupt, which is reset. */
static bool take_interrupt(void)
{
    char byte;
    if (!interrupted) return false;
    while (read(wake[0], &byte, 1) < 0 && errno == EINTR) continue;
    interrupted = false;
    return true;
}

/* ---- the conversation so far ----------------------------------------------------------------- */

struct talk {
    struct session session;
    struct chat chat;
    uint64_t answers; /* each with a seed of its own */
    bool terminal;    /* a person types */
    char typed[4096]; /* read from stdin and not yet used */
    size_t typed_at, typed_n;
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

static int reply(struct talk *t, struct err *e)
{
    bool printed = false;
    struct answer_options o = { .how = { .temperature = temperature,
                                         .top_p = top_p,
                                         .top_k = (size_t)top_k,
                                         .seed = (uint64_t)seed + t->answers++ },
                                .max_new_tokens = (size_t)max_new_tokens,
                                .stop = &interrupted,
                                .sink = print_answer,
                                .to = &printed };
    int code = make_prompt(t, e);
    if (!code) {
        code = chat_answer(&t->chat, &o, e);
        print_answer_end(printed, code);
    }
    if (take_interrupt() && !code) fprintf(stderr, "(stopped)\n");
    return code;
}

/* ---- what the person types ------------------------------------------------------------------- */

enum input { INPUT_TEXT, INPUT_AGAIN, INPUT_END };

static void prompt(const struct talk *t, bool more)
{
    if (!t->terminal) return;
    bool colored = term_has_color(stderr);
    fprintf(stderr, "%s%s%s ", colored ? "\033[1m" : "", more ? "|" : ">",
            colored ? "\033[0m" : "");
}

enum { CH_END = -1, CH_INTERRUPT = -2 };

/* The next byte of stdin, CH_END, or CH_INTERRUPT when Ctrl-C came first. */
static int next_byte(struct talk *t)
{
    while (t->typed_at == t->typed_n) {
        struct pollfd on[] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = wake[0], .events = POLLIN } };
        if (poll(on, 2, -1) < 0 && errno != EINTR) return CH_END;
        if (take_interrupt()) return CH_INTERRUPT;
        if (!on[0].revents) continue;
        ssize_t n = read(STDIN_FILENO, t->typed, sizeof t->typed);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return CH_END;
        t->typed_at = 0;
        t->typed_n = (size_t)n;
    }
    return (unsigned char)t->typed[t->typed_at++];
}

/* One line, or several where a line ends in a backslash. */
static enum input read_text(struct str *text, struct talk *t)
{
    int ch = CH_END;
    str_clear(text);
    prompt(t, false);
    while (text->n < LINE_BYTES && (ch = next_byte(t)) >= 0) {
        if (ch != '\n') {
            str_addc(text, (char)ch);
            continue;
        }
        if (!text->n || text->p[text->n - 1] != '\\') return INPUT_TEXT;
        text->p[text->n - 1] = '\n';
        prompt(t, true);
    }
    if (ch == CH_INTERRUPT) {
        fprintf(stderr, "\n(/quit or Ctrl-D ends)\n");
        return INPUT_AGAIN;
    }
    return text->n ? INPUT_TEXT : INPUT_END;
}

static void print_commands(void)
{
    fprintf(stderr,
            "/reset  forget what was said\n/quit   end (or Ctrl-D)\nCtrl-C  stop an answer\n"
            "A line that ends in \\ continues in the next one.\n");
}

/* Lines that begin with / are for us. */
static enum input run_line(struct talk *t, const struct str *line)
{
    static const char *const known[] = { "/quit", "/exit", "/reset", "/help" };
    const char *text = line->n ? line->p : "";
    if (text[0] != '/') return line->n ? INPUT_TEXT : INPUT_AGAIN;
    if (!strcmp(text, "/quit") || !strcmp(text, "/exit")) return INPUT_END;
    if (!strcmp(text, "/reset")) {
        chat_forget(&t->chat);
        fprintf(stderr, "(forgotten)\n");
    } else if (!strcmp(text, "/help")) {
        print_commands();
    } else {
        struct str_nearest nearest = { .word = text };
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            str_nearest_try(&nearest, known[i]);
        fprintf(stderr, "unknown command %s; %s%s\n", err_quotez(text),
                nearest.best ? "did you mean " : "there are ",
                nearest.best ? nearest.best : "/reset /quit /help");
    }
    return INPUT_AGAIN;
}

static int talk(struct talk *t, struct err *e)
{
    struct str line = { 0 };
    int code = 0;
    while (!code && !ferror(stdout)) {
        size_t at;
        enum input what = read_text(&line, t);
        if (what == INPUT_TEXT) what = run_line(t, &line);
        if (what == INPUT_END) break;
        if (what == INPUT_AGAIN) continue;
        if (!utf8_valid(line.p, line.n, &at)) {
            fprintf(stderr, "that is not valid UTF-8 (byte %zu)\n", at);
            continue;
        }
        code = chat_say(&t->chat, ROLE_USER, line.p, line.n, e);
        if (!code) code = reply(t, e);
    }
    if (!code) code = str_error(&line, e);
    str_free(&line);
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
    struct talk t = { .terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO) };
    struct session_options o = { .model = model, .tokenizer = tokenizer, .template = template };
    int code = model_open(&t.session, &o, &adapters, e);
    if (code) return code;
    model = o.model; /* where it was left out: the adapter's base */
    if (t.terminal) greet(&t);
    code = install(e);
    if (!code) code = chat_init(&t.chat, &t.session, system_text, e);
    if (!code) code = talk(&t, e);
    if (t.terminal) fputc('\n', stderr);
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
    .about =
        "Answers appear as they are made; Ctrl-C stops one, /quit ends. Nothing is stored. The\n"
        "template is the one the adapter was trained with unless --template names another.",
    .examples = "lorac chat --model models/base --adapter checkpoints/runs/demo/best\n"
                "lorac chat --model model.gguf --system \"Answer in one sentence.\"\n",
    .run = run,
};
