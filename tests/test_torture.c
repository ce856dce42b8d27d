/* Everything fails once. A small run, a resumed one, an evaluation, an answer and two merges are
 * made again and again; each time another call - of open, read, write, fsync, rename, close,
 * malloc, mmap and the like - fails, once or from then on, or is the process's last. In each case
 * the end is a line that says what failed, or a success; no published file is lost; and the same
 * command afterwards ends as if nothing had happened.
 *
 * `make torture` tries every call. Here every few, as LORAC_TEST_STRIDE says.
 * LORAC_TEST_SUBJECT=eval disturbs nothing else. */
#include "tests/train_util.h"

#include <omp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "src/commands/commands.h"
#include "tests/torture.h"

/* ---- what is done ---------------------------------------------------------------------------- */

struct subject {
    const char *name;
    const struct command *command;
    const char *out;   /* what it writes, in test_dir; NULL: only on stdout */
    const char *start; /* a directory that `out` is a copy of in the beginning */
    bool resumes;      /* adding --resume auto goes on where it was; else the same command again */
    bool streams;      /* stdout gets each part when it is known: an error may come after some */
    const char *args[12];
};

static char yaml[PATH_BYTES], model[PATH_BYTES], adapter[PATH_BYTES], data[PATH_BYTES];
static char out_run[PATH_BYTES], out_hf[PATH_BYTES], out_gguf[PATH_BYTES], half[PATH_BYTES];

static const struct subject subjects[] = {
    { "train", &command_train, out_run, NULL, true, false, { yaml } },
    { "resume", &command_train, out_run, half, true, false, { yaml, "--resume", "auto" } },
    { "merge",
      &command_merge,
      out_hf,
      NULL,
      false,
      false,
      { "--model", model, "--adapter", adapter, "-o", out_hf } },
    { "merge to GGUF",
      &command_merge,
      out_gguf,
      NULL,
      false,
      false,
      { "--model", model, "--adapter", adapter, "-o", out_gguf } },
    { "eval",
      &command_eval,
      NULL,
      NULL,
      false,
      false,
      { "--model", model, "--adapter", adapter, "--data", data, "--format", "tokens", "--json" } },
    { "generate",
      &command_generate,
      NULL,
      NULL,
      false,
      true,
      { "--model", "checkpoints/tiny-base", "--prompt", "Category:", "--temperature", "0",
        "--max-new-tokens", "6" } },
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };

/* ---- children -------------------------------------------------------------------------------- */

/* Written by the child, read by us. */
static struct outcome {
    int code; /* of the command, or KILLED, or 1000 + a signal */
    long calls;
    bool fired;
    char place[32], msg[1200];
} * outcome;

static const char *stdout_path(void)
{
    return temp_path("stdout");
}

/* Where a child crashed, for whoever looks at TMPDIR/.../stderr. */
static void on_crash(int sig)
{
    void *frames[32];
    plan.on = false;
    backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* We leave by _exit(): a library that calls exit() ends the process without us. */
static void on_exit_of_a_library(void)
{
    on_crash(SIGABRT);
}

static void run_in_child(const struct subject *s, struct plan p, bool resume)
{
    char *argv[16];
    int argc = 0, n;
    struct err e = { 0 };
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
    omp_set_num_threads(1);
    int log = open(temp_path("stderr"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(log, 2);
    log = open(stdout_path(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(log, 1);
    while (s->args[argc]) argv[argc] = (char *)(uintptr_t)s->args[argc], argc++;
    if (resume && argc == 1) {
        argv[argc++] = (char *)(uintptr_t) "--resume";
        argv[argc++] = (char *)(uintptr_t) "auto";
    }
    find_spared();
    static const int crashes[] = { SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL };
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) signal(crashes[i], on_crash);
    atexit(on_exit_of_a_library);
    p.on = true;
    plan = p;
    int code = options_parse(s->command->options, argc, argv, &n, &e);
    if (!code) code = s->command->run(n, argv, &e);
    if (!code && fflush(stdout) != 0) code = err_errno(&e, "cannot write to standard output");
    plan.on = false;
    outcome->code = err_exit_status(code); /* as main() */
    outcome->calls = calls;
    outcome->fired = fired;
    snprintf(outcome->place, sizeof outcome->place, "%s", place ? place : "");
    if (code) snprintf(outcome->msg, sizeof outcome->msg, "%s", e.msg);
    fflush(NULL);
    _exit(0);
}

static struct outcome run(const struct subject *s, struct plan p, bool resume)
{
    int status;
    *outcome = (struct outcome){ 0 };
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) run_in_child(s, p, resume);
    assert_int_equal(waitpid(child, &status, 0), child);
    struct outcome o = *outcome;
    if (WIFSIGNALED(status)) o.code = 1000 + WTERMSIG(status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == KILLED) o.code = KILLED;
    bool left = WIFEXITED(status) && WEXITSTATUS(status) != 0 && o.code != KILLED;
    if (left) o.code = 2000 + WEXITSTATUS(status); /* not by us */
    return o;
}

/* ---- trees ----------------------------------------------------------------------------------- */

static __attribute__((format(printf, 1, 2))) void shell(const char *fmt, ...)
{
    char command[4 * PATH_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    if (system(command) != 0) fail_msg("failed: %s", command);
}

/* The digests and names of the files under a path, without what says when they were made. */
static void describe(struct str *to, const char *path)
{
    char command[2 * PATH_BYTES], line[512];
    str_clear(to);
    snprintf(
        command, sizeof command,
        "test -e '%s' || exit 0; cd '%s' 2>/dev/null || { sha256sum <'%s'; exit; }; "
        "find . -type f ! -name run.json ! -name .lock ! -name metrics.jsonl | LC_ALL=C sort | "
        "xargs -r sha256sum; find . -mindepth 1 | LC_ALL=C sort; test ! -f metrics.jsonl || "
        "sed 's/\"tokens_per_s.*//' metrics.jsonl; "
        "test ! -f run.json || grep '^  \"status\"' run.json",
        path, path, path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) str_addz(to, line);
    pclose(f);
}

/* The directory that holds the outputs: leftovers beside them count. */
static void describe_all(struct str *to)
{
    struct str part = { 0 };
    str_clear(to);
    const char *paths[] = { out_run, out_hf, out_gguf };
    for (size_t i = 0; i < 3; i++) {
        describe(&part, paths[i]);
        str_add(to, part.p ? part.p : "", part.n);
    }
    str_free(&part);
    char line[512];
    snprintf(line, sizeof line, "cd '%s' && find . -name '*.tmp.*' | LC_ALL=C sort", test_dir);
    FILE *f = popen(line, "r");
    while (fgets(line, sizeof line, f)) str_addz(to, line);
    pclose(f);
}

static void begin(const struct subject *s)
{
    shell("rm -rf '%s' '%s' '%s'*", out_run, out_hf, out_gguf);
    if (s->start) shell("cp -a '%s' '%s'", s->start, s->out);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static struct str wanted, wanted_stdout, found, inputs_before, inputs_now;

static void read_stdout(struct str *to)
{
    struct err e;
    str_clear(to);
    if (file_read(to, stdout_path(), 1 << 20, &e)) fail_msg("%s", e.msg);
}

static bool same_text(const struct str *a, const struct str *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

/* Faults are printed and counted; the loop continues, so that one run shows all of them. */
static long complaints;

static __attribute__((format(printf, 1, 2))) void complain(const char *fmt, ...)
{
    va_list ap;
    char text[4096];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    print_message("# %s\n", text);
    complaints++;
}

/* The end is a line that says what failed, not a crash. */
static void check_end(const char *what, const struct outcome *o, enum kind kind)
{
    if (o->code == 0 || o->code == KILLED) return;
    if (o->code != ERR_FAIL && o->code != ERR_USAGE) {
        struct err e;
        str_clear(&said);
        file_read(&said, temp_path("stderr"), 1 << 20, &e);
        complain("%s: ended with %d\n%s", what, o->code, said.n ? said.p : "");
        return;
    }
    if (!*o->msg || strchr(o->msg, '\n')) complain("%s: message is: %s", what, o->msg);
    static const char *const reasons[][5] = {
        [CALLS_FILES] = { "Input/output error", "No space left on device", "No locks available",
                          "No such file", "no such model" },
        [CALLS_MEMORY] = { "memory", "allocate", "Resource temporarily", "start a thread", NULL },
    };
    for (size_t i = 0; i < 5 && reasons[kind][i]; i++)
        if (strstr(o->msg, reasons[kind][i])) return;
    complain("%s: the message does not say so: %s", what, o->msg);
}

/* Complain of the lines of `one` that `other` does not have. */
static void complain_of_lines(const char *what, const char *verb, const struct str *one,
                              const struct str *other)
{
    for (const char *p = one->n ? one->p : ""; *p;) {
        size_t n = strcspn(p, "\n") + 1;
        if (!other->n || !memmem(other->p, other->n, p, n))
            complain("%s: %s %.*s", what, verb, (int)(n - 1), p);
        p += n - (p[n - 1] == 0);
    }
}

static void check_whole(const char *what, const struct subject *s)
{
    describe_all(&found);
    complain_of_lines(what, "found", &found, &wanted);
    complain_of_lines(what, "misses", &wanted, &found);
    if (s->out) return;
    read_stdout(&found);
    if (!same_text(&found, &wanted_stdout)) complain("%s: stdout is %s", what, found.p);
}

/* Do it again, undisturbed. A merge that is complete refuses to be made again. */
static void finish(const char *what, const struct subject *s)
{
    describe_all(&found);
    if (!s->resumes && same_text(&found, &wanted) && s->out) return;
    struct outcome o = run(s, (struct plan){ 0 }, s->resumes);
    if (o.code) return complain("%s: not made up for: %d, %s", what, o.code, o.msg);
    check_whole(what, s);
}

/* Make one disturbance. False when there are fewer calls. */
static bool disturb(const struct subject *s, struct plan p)
{
    char what[160];
    begin(s);
    struct outcome o = run(s, p, false);
    long at = p.die_at ? p.die_at : p.fail_at;
    snprintf(what, sizeof what, "%s, %s %s call %ld (%s)", s->name,
             p.kind == CALLS_FILES ? "files:" : "memory:",
             p.die_at    ? "killed at"
             : p.fail_on ? "errors from"
                         : "error at",
             at, o.place);
    if (o.code != KILLED && !o.fired && o.code < 1000) return false;
    check_end(what, &o, p.kind);
    if (o.code == 0 && !s->out) {
        read_stdout(&found);
        if (!same_text(&found, &wanted_stdout)) complain("%s: 0, and stdout is wrong", what);
    }
    if (o.code != 0 && !s->out && !s->streams) {
        read_stdout(&found);
        if (found.n && o.code != KILLED && !strstr(o.msg, "standard output"))
            complain("%s: half a result on stdout: %s", what, found.p);
    }
    finish(what, s);
    describe(&inputs_now, model);
    if (!same_text(&inputs_before, &inputs_now)) complain("%s: the base was touched", what);
    return true;
}

/* Every how many calls; a prime, and begun at another place for each way to fail, so that all of
 * them together see most calls. */
static long stride(enum kind kind)
{
    const char *text = getenv("LORAC_TEST_STRIDE");
    long given = text ? strtol(text, NULL, 10) : 0;
    return given > 0 ? given : kind == CALLS_FILES ? 61 : 613;
}

static void sweep(const struct subject *s, enum kind kind)
{
    const char *only = getenv("LORAC_TEST_SUBJECT");
    if (only && strcmp(only, s->name) != 0) return;
    begin(s);
    struct outcome o = run(s, (struct plan){ .kind = kind }, false);
    if (o.code) fail_msg("%s: undisturbed: %d, %s", s->name, o.code, o.msg);
    assert_true(o.calls > 20);
    describe_all(&wanted);
    read_stdout(&wanted_stdout);
    describe(&inputs_before, model);
    long step = stride(kind), tried = 0;
    if (getenv("LORAC_TEST_CALL")) { /* SUBJECT:KIND:WAY:CALL, as in a complaint */
        char name[64];
        int k, way;
        struct plan p = { .kind = kind };
        long at;
        if (sscanf(getenv("LORAC_TEST_CALL"), "%63[^:]:%d:%d:%ld", name, &k, &way, &at) == 4 &&
            k == (int)kind && !strcmp(name, s->name)) {
            p.fail_on = way == 1;
            *(way == 2 ? &p.die_at : &p.fail_at) = at;
            disturb(s, p);
        }
        return;
    }
    for (int way = 0; way < (kind == CALLS_FILES ? 3 : 2); way++)
        for (long at = 1 + (way * step) / 3; at <= o.calls; at += step) {
            struct plan p = { .kind = kind, .fail_on = way == 1 };
            *(way == 2 ? &p.die_at : &p.fail_at) = at;
            tried += disturb(s, p);
        }
    print_message("# %s: %ld of %ld calls of %s disturbed\n", s->name, tried, o.calls,
                  kind == CALLS_FILES ? "files" : "memory");
    assert_true(tried > 0);
}

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < SUBJECTS; i++) sweep(&subjects[i], CALLS_FILES);
    assert_int_equal(complaints, 0);
}

static void test_memory(void **state)
{
    (void)state;
    if (SANITIZED) skip();
    complaints = 0;
    for (size_t i = 0; i < SUBJECTS; i++) sweep(&subjects[i], CALLS_MEMORY);
    assert_int_equal(complaints, 0);
}

/* ---- setting up ------------------------------------------------------------------------------ */

static void put_text_file(const char *path, const char *text)
{
    struct err e;
    if (file_replace(path, text, strlen(text), 0600, &e)) fail_msg("%s", e.msg);
}

/* A run that was stopped after its second step: one of five steps, without its newest
 * checkpoint. */
static void make_half(void)
{
    struct outcome o = run(&subjects[0], (struct plan){ 0 }, false);
    if (o.code) fail_msg("%s", o.msg);
    shell("cp -a '%s' '%s' && rm '%s'/step-000003.h5", out_run, half, half);
}

static int set_up(void **state)
{
    if (make_test_dir(state)) return -1;
    unsetenv("XDG_CACHE_HOME"); /* no cache of hashes: a second run would not read the files */
    unsetenv("HOME");
    outcome = mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
    struct {
        char *to;
        const char *name;
    } outputs[] = { { yaml, "run.yaml" },
                    { out_run, "run" },
                    { out_hf, "hf" },
                    { out_gguf, "merged.gguf" },
                    { half, "half" } };
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        snprintf(outputs[i].to, PATH_BYTES, "%s", temp_path(outputs[i].name));
    snprintf(model, sizeof model, "%s/gqa-tied/model", golden_root());
    snprintf(adapter, sizeof adapter, "%s/gqa-tied/adapter", golden_root());
    snprintf(data, sizeof data, "%s/gqa-tied/batch.jsonl", golden_root());
    struct str s = { 0 };
    str_addf(&s, "model:\n  path: %s\ndata:\n  train: %s\n  format: tokens\n  validation: 0.3\n",
             model, data);
    str_addf(&s,
             "adapter:\n  r: 4\n  target_modules: [q_proj, v_proj]\n"
             "train:\n  max_steps: 3\n  batch_size: 3\n  save_steps: 2\n  eval_steps: 2\n"
             "  learning_rate: 0.01\noutput:\n  dir: %s\n",
             out_run);
    put_text_file(yaml, s.p);
    str_free(&s);
    make_half();
    return 0;
}

static int tear_down(void **state)
{
    struct str *all[] = { &wanted, &wanted_stdout, &found, &inputs_before, &inputs_now, &said };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) str_free(all[i]);
    return remove_test_dir(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_files, "torture: a call of the file system that fails anywhere loses nothing"),
        ENTRY(test_memory,
              "torture: an allocation that fails anywhere is one line and loses nothing"),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
