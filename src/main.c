/* lorac: the command line. Finds the sub-command, reads its options, runs it, prints its error. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/base/stop.h"
#include "src/base/term.h"
#include "src/base/version.h"
#include "src/base/waiting.h"
#include "src/commands/commands.h"
#include "src/commands/manual.h"
#include "src/config/config.h"
#include "src/train/ranks.h"
#include "src/train/setup.h"

#ifndef LORAC_GIT
#define LORAC_GIT ""
#endif
#ifndef LORAC_DATE
#define LORAC_DATE ""
#endif

static const struct command *const commands[] = {
#define COMMAND(name) &command_##name,
#include "src/commands/commands.def"
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* ---- what the process promises --------------------------------------------------------------- */

/* A core dump would hold the training data and the weights, so none is written. The limit is 1 and
 * not 0, since at 1 the kernel does not write the dump to a handler's pipe either. (PR_SET_DUMPABLE
 * would also keep MPI ranks on one node from copying between each other.) */
static void forbid_cores(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) != 0) return;
    if (limit.rlim_max > 1) limit.rlim_max = 1;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
}

/* A file opened later must not take the place of a stdin, stdout or stderr that the caller closed.
 * That place gets a pipe without a writer: reading it finds the end, and writing fails, so that
 * results which nobody can read are an error. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        int ends[2]; /* not /dev/null, which is missing in a bare chroot */
        if (pipe(ends) != 0 || ends[0] != fd) _exit(ERR_FAIL);
        close(ends[1]);
    }
}

/* The signal comes when a mapped file shrinks, or when the disk under one of its pages fails. */
static void on_bus_error(int signal_number)
{
    static const char text[] = "lorac: a file in use was cut short or cannot be read any more "
                               "(SIGBUS); start again when it is complete\n";
    (void)signal_number;
    if (write(2, text, sizeof text - 1) < 0) _exit(ERR_FAIL);
    _exit(ERR_FAIL);
}

static void set_up_process(void)
{
    fill_standard_descriptors();
    forbid_cores();
    signal(SIGPIPE, SIG_IGN); /* a reader that left shows as EPIPE; training goes on without it */
    signal(SIGXFSZ, SIG_IGN); /* a limit on file size is an error like a full disk */
    signal(SIGBUS, on_bus_error);
}

/* Whether nobody reads stdout any more. errno does not tell: the write that failed may be long
 * ago. */
static bool reader_left(void)
{
    struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

static void die_of(int signal_number)
{
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* Results that did not reach stdout are a failure, whatever code the command returned. A reader
 * that had enough, such as head, is none: the process ends as SIGPIPE would have ended it. */
static int flush_results(int code)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) != 0) failed = true;
    if (!failed) return code;
    if (errno == EPIPE || reader_left()) {
        if (!code) die_of(SIGPIPE);
        return code;
    }
    fprintf(stderr, "lorac: cannot write to standard output%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    return code ? code : ERR_FAIL;
}

/* ---- help ------------------------------------------------------------------------------------ */

static int print_text(struct str *text, FILE *to)
{
    struct err e;
    int code = str_error(text, &e);
    if (code)
        fprintf(stderr, "lorac: %s\n", e.msg);
    else
        fwrite(text->p, 1, text->n, to);
    str_free(text);
    return code;
}

static int print_help(FILE *to)
{
    struct str s = { 0 };
    options_add_line(&s, "lorac fine-tunes Llama and Qwen2 models with LoRA on CPUs.", 0);
    str_addc(&s, '\n');
    options_add_line(&s, "Usage: lorac COMMAND [OPTION...] [ARGUMENT...]", 4);
    str_addc(&s, '\n');
    for (size_t i = 0; i < COMMANDS; i++)
        options_add_row(&s, commands[i]->name, commands[i]->summary);
    str_addc(&s, '\n');
    options_add_row(&s, "lorac COMMAND --help", "options and examples of a command");
    options_add_row(&s, "lorac help keys", "every key of a configuration, in Markdown");
    options_add_row(&s, "lorac --version", "this build and its libraries");
    return print_text(&s, to);
}

static int print_command_help(const struct command *c)
{
    struct str s = { 0 }, head = { 0 };
    str_addf(&head, "lorac %s: %s", c->name, c->summary);
    options_add_line(&s, head.p ? head.p : "", 0);
    str_clear(&head);
    str_addf(&head, "Usage: lorac %s%s%s%s", c->name, c->options ? " [OPTION...]" : "",
             *c->args ? " " : "", c->args);
    str_addc(&s, '\n');
    options_add_line(&s, head.p ? head.p : "", 4);
    str_free(&head);
    if (c->about) {
        str_addc(&s, '\n');
        options_add_about(&s, c->about);
    }
    if (c->options) {
        str_addz(&s, "\nOptions:\n");
        options_add_help(&s, c->options);
    }
    str_addz(&s, "\nExamples:\n");
    for (const char *line = c->examples; *line;) {
        int n = (int)strcspn(line, "\n");
        str_addf(&s, "  %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
    return print_text(&s, stdout);
}

/* The kernel set in use, which LORAC_ISA may have named, and the others that this CPU can run. */
static void add_kernels(struct str *s, const struct kernels *chosen)
{
    const struct kernels *k;
    bool runs;
    const char *before = "; this CPU also runs ";
    str_addf(s, "  kernels %s, products %s", chosen->isa, chosen->gemm);
    for (size_t i = 0; (k = kernels_nth(i, &runs)); i++) {
        if (!runs || !strcmp(k->isa, chosen->isa)) continue;
        str_addf(s, "%s%s", before, k->isa);
        before = ", ";
    }
    str_addz(s, "\n");
}

static int print_version(void)
{
    struct str s = { 0 };
    struct err e;
    const struct kernels *chosen;
    int code = setup_kernels(&chosen, COMPUTE_F32, &e);
    if (code) {
        fprintf(stderr, "lorac: %s\n", e.msg);
        return code;
    }
    str_addf(&s, "lorac %s%s%s%s\n", LORAC_VERSION, *LORAC_GIT ? " (" : "", LORAC_GIT,
             *LORAC_GIT ? ")" : "");
    str_addf(&s, "  compiler %s%s\n",
#ifdef __clang__
             "",
#else
             "gcc ",
#endif
             __VERSION__);
    add_kernels(&s, chosen);
    version_add_libraries(&s, "  ");
    if (ranks_library()) str_addf(&s, "  MPI %s\n", ranks_library());
    return print_text(&s, stdout);
}

/* ---- commands -------------------------------------------------------------------------------- */

static const struct command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i]->name, name)) return commands[i];
    return NULL;
}

/* Names of commands in other programs. */
static const struct {
    const char *theirs, *ours;
} synonyms[] = {
    { "finetune", "train" },   { "fine-tune", "train" },   { "sft", "train" },
    { "fit", "train" },        { "run", "generate" },      { "infer", "generate" },
    { "predict", "generate" }, { "complete", "generate" }, { "evaluate", "eval" },
    { "test", "eval" },        { "export", "convert" },    { "quantize", "convert" },
    { "extract", "convert" },  { "info", "inspect" },      { "show", "data show, or inspect" },
    { "verify", "inspect" },   { "estimate", "plan" },     { "encode", "tokenize" },
    { "fuse", "merge" },       { "diagnose", "doctor" },   { "benchmark", "bench" },
    { "talk", "chat" },        { "version", "--version" },
};

/* Actions of `lorac data` that users take for commands. */
static const struct {
    const char *action, *whole;
} actions[] = {
    { "check", "lorac data check" },
    { "prepare", "lorac data prepare" },
    { "validate", "lorac data check" },
    { "dataset", "data" },
};

/* The nearest word that can stand in a command's place, or NULL. */
static const char *nearest_command(const char *name)
{
    struct str_nearest nearest = { .word = name };
    for (size_t i = 0; i < COMMANDS; i++) str_nearest_try(&nearest, commands[i]->name);
    str_nearest_try(&nearest, "help");
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        const char *before = nearest.best;
        str_nearest_try(&nearest, actions[i].action);
        if (nearest.best != before) nearest.best = actions[i].whole;
    }
    return nearest.best;
}

static int unknown_command(const char *name)
{
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++) {
        if (strcmp(name, synonyms[i].theirs) != 0) continue;
        fprintf(stderr, "lorac: unknown command %s: write %s\n", err_quotez(name),
                synonyms[i].ours);
        return ERR_USAGE;
    }
    const char *nearest = nearest_command(name);
    fprintf(stderr, "lorac: unknown command %s; ", err_quotez(name));
    if (nearest)
        fprintf(stderr, "did you mean %s?\n", nearest);
    else
        fprintf(stderr, "'lorac --help' lists all\n");
    return ERR_USAGE;
}

/* For `make install`: lorac help man [COMMAND|config], lorac help completion */
static int print_manual(int argc, char **argv)
{
    const struct manual m = { commands, COMMANDS, LORAC_VERSION, LORAC_DATE };
    struct str s = { 0 };
    if (!strcmp(argv[2], "completion")) {
        manual_completion(&s, &m);
    } else if (argc < 4) {
        manual_program(&s, &m);
    } else if (!strcmp(argv[3], "config")) {
        manual_keys(&s, &m);
    } else {
        const struct command *c = command_named(argv[3]);
        if (!c) return unknown_command(argv[3]);
        manual_command(&s, &m, c);
    }
    return print_text(&s, stdout);
}

/* lorac help [COMMAND|keys|man|completion] */
static int run_help(int argc, char **argv)
{
    if (argc < 3) return print_help(stdout);
    if (!strcmp(argv[2], "keys")) {
        struct str s = { 0 };
        config_reference(&s);
        return print_text(&s, stdout);
    }
    if (!strcmp(argv[2], "man") || !strcmp(argv[2], "completion")) return print_manual(argc, argv);
    const struct command *c = command_named(argv[2]);
    return c ? print_command_help(c) : unknown_command(argv[2]);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

static int check_count(const struct command *c, int n, char **args, struct err *e)
{
    if (n >= 0 && (size_t)n > c->max_args)
        return err_usage(e, "%s is one argument too many; 'lorac %s --help' shows how it is used",
                         err_quotez(args[c->max_args]), c->name);
    if ((size_t)n < c->min_args)
        return err_usage(e, "needs %s; 'lorac %s --help' shows how it is used", c->args, c->name);
    return 0;
}

/* What is not shared among the ranks of lorac_mpi is done by the first one, for which the others
 * wait. */
static int run_by_ranks(const struct command *c, int n, char **args, struct err *e)
{
    int code = 0;
    bool alone = !c->by_ranks && ranks_n() > 1;
    if (alone && ranks_me() == 0) {
        term_line(stderr, strlen("note: "),
                  "note: %s is done by one process; the other %zu of this job wait for it", c->name,
                  ranks_n() - 1);
        ranks_be_alone(true);
        code = c->run(n, args, e);
        ranks_be_alone(false);
    } else if (!alone) {
        code = c->run(n, args, e);
    }
    return ranks_leave(code, e);
}

/* argv: the arguments after the command's name. */
static int run_command(const struct command *c, int argc, char **argv)
{
    struct err e = { 0 };
    int n;
    const char *why;
    if (asks_for_help(argc, argv)) return print_command_help(c);
    int code = options_parse(c->options, argc, argv, &n, &e);
    if (!code) code = check_count(c, n, argv, &e);
    if (code) {
        fprintf(stderr, "lorac %s: %s\n", c->name, e.msg);
        return code;
    }
    machine_threads(&why); /* for every command, whether or not it prints the number */
    code = run_by_ranks(c, n, argv, &e);
    if (code && *e.msg) term_line(stderr, strlen("lorac: "), "lorac: %s", e.msg);
    return code;
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) {
        print_help(stderr);
        return ERR_USAGE;
    }
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
        return run_help(argc, argv);
    if (!strcmp(name, "--version") || !strcmp(name, "-V")) return print_version();
    const struct command *c = command_named(name);
    return c ? run_command(c, argc - 2, argv + 2) : unknown_command(name);
}

/* Where OpenBLAS computes, or is the measure for others, it should use all that this CPU offers. It
 * chooses its kernels while it is loaded, so the program starts itself again. */
static void choose_blas_core(int argc, char **argv)
{
    static const char *const measuring[] = { "bench", "train", "sweep" };
    const char *gemm = getenv("LORAC_GEMM"), *core;
    bool used = gemm && strcmp(gemm, "blas") == 0;
    for (size_t i = 0; argc > 1 && i < sizeof measuring / sizeof *measuring; i++)
        used |= strcmp(argv[1], measuring[i]) == 0;
    if (!used || getenv("OPENBLAS_CORETYPE") || !(core = blas_better_core())) return;
    char path[4096]; /* run through the link itself, the process would be called "exe" */
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    const char *started_as = (const char *)getauxval(AT_EXECFN); /* where there is no /proc */
    if (n <= 0 && !started_as) return;
    if (n > 0)
        path[n] = 0;
    else
        snprintf(path, sizeof path, "%s", started_as);
    setenv("OPENBLAS_CORETYPE", core, 1);
    struct machine_binding bound; /* else the program would start on one core and see no other */
    machine_unbind(&bound);
    execv(path, argv); /* if this fails, the loaded kernels do the work, only slower */
    machine_rebind(&bound);
}

int main(int argc, char **argv)
{
    waiting_restore_environment();
    choose_blas_core(argc, argv);
    set_up_process();
    ranks_begin(&argc, &argv);
    int code = flush_results(err_exit_status(run(argc, argv)));
    ranks_end();
    if (code == ERR_INTERRUPTED && stop_signal_number()) die_of(stop_signal_number());
    return code;
}
