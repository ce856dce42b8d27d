/* A run that is killed or stopped, or whose disk fails, at any moment, and is then resumed, ends
 * with the same bits as an undisturbed run, and leaves the same files.
 *
 * Every moment is tried, not a random one: this program stands between lorac and the C library for
 * each call that changes the file system (write, fsync, rename, unlink, mkdir ...) and in the place
 * of src/base/stop.c for each time that a run asks whether to stop. Runs are made in child
 * processes, which end without any clean-up at the n-th call, for n = 1, 2, 3 ... until there is no
 * n-th call. This process itself never enters a parallel region: its children could not use the
 * threads.
 *
 * LORAC_TEST_STRIDE=1 tries every call, as `make torture` does; the default tries every third, and
 * fewer under AddressSanitizer. */
#include "tests/train_util.h"

#include <dirent.h>
#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/commands/commands.h"
#include "src/base/stop.h"
#include "tests/sanitized.h"

/* ---- what a child is told -------------------------------------------------------------------- */

static struct plan {
    long die_at;      /* at this call of the file system, counted from 1, the process is gone */
    long fail_at;     /* at this one there is an error */
    bool fail_on;     /* and at all later ones */
    int error;        /* which */
    long stop_at;     /* from this question on, a stop is asked for */
    long save_at;     /* at this question of stop_wants_checkpoint(), one is wanted */
    long alloc_at;    /* at this question, something allocates */
    bool no_exchange; /* the file system cannot exchange two names */
} plan;

static long calls, questions, save_questions;

enum { KILLED = 137 };

/* Count one more call; true when it has to fail. Half of its bytes may be written then. */
static bool disturbed(void)
{
    calls++;
    if (calls == plan.die_at) _exit(KILLED);
    if (!plan.fail_at || (plan.fail_on ? calls < plan.fail_at : calls != plan.fail_at))
        return false;
    errno = plan.error;
    return true;
}

static ssize_t half_write(int fd, const void *bytes, size_t n, off_t at, bool positioned)
{
    if (calls + 1 == plan.die_at || calls + 1 == plan.fail_at) {
        if (positioned) {
            syscall(SYS_pwrite64, fd, bytes, n / 2, at);
        } else {
            syscall(SYS_write, fd, bytes, n / 2);
        }
    }
    if (disturbed()) return -1;
    return positioned ? syscall(SYS_pwrite64, fd, bytes, n, at) : syscall(SYS_write, fd, bytes, n);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return half_write(fd, bytes, n, at, true);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    return half_write(fd, bytes, n, at, true);
}
int fsync(int fd)
{
    return disturbed() ? -1 : (int)syscall(SYS_fsync, fd);
}
int ftruncate(int fd, off_t size)
{
    return disturbed() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off_t size)
{
    return disturbed() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int posix_fallocate(int fd, off_t at, off_t n)
{
    if (disturbed()) return errno;
    return syscall(SYS_fallocate, fd, 0, at, n) == 0 ? 0 : errno;
}
int rename(const char *from, const char *to)
{
    return disturbed() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (disturbed()) return -1;
    if (plan.no_exchange && flags) return errno = EINVAL, -1;
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
int unlink(const char *path)
{
    return disturbed() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
int rmdir(const char *path)
{
    return disturbed() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}
int mkdir(const char *path, mode_t mode)
{
    return disturbed() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

/* ---- in the place of src/base/stop.c --------------------------------------------------------- */

static bool out_of_time;

void stop_install(void) {}
void stop_install_ending(void) {}
void stop_uninstall_ending(void) {}
int stop_signal_number(void)
{
    return 0;
}
bool stop_requested(void)
{
    questions++;
    if (questions == plan.alloc_at) {
        struct err e;
        mem_free(mem_alloc(1, 1, &e));
    }
    return out_of_time || (plan.stop_at && questions >= plan.stop_at);
}
static bool asked(void *context)
{
    (void)context;
    return stop_requested();
}
const struct stop stop_by_signal = { .asked = asked };
void stop_for_time(int which)
{
    (void)which;
    out_of_time = true;
}
const char *stop_reason(void)
{
    return "the test";
}
bool stop_wants_checkpoint(void)
{
    return ++save_questions == plan.save_at;
}
int stop_cause(void)
{
    return 0;
}
void stop_adopt(int cause)
{
    (void)cause;
}
void stop_ask_checkpoint(void) {}

/* ---- runs in children ------------------------------------------------------------------------ */

/* Steps with and without a checkpoint, with and without validation, an epoch's short last batch. */
static const char *const keys[] = { "train.max_steps=5",
                                    "train.batch_size=3",
                                    "train.shuffle=true",
                                    "train.learning_rate=0.01",
                                    "train.pass_tokens=40",
                                    "train.eval_steps=2",
                                    "train.save_steps=2",
                                    "train.save_total_limit=1",
                                    "data.validation=0.3",
                                    "adapter.lora_dropout=0.1",
                                    NULL };

/* The undisturbed run, and the run that is tried now. */
static char whole[PATH_BYTES], dir[PATH_BYTES];

struct outcome {
    int code; /* of train_run(), or KILLED, or 1000 + a signal */
    char msg[1200];
    long calls, questions, save_questions;
};

/* Run in a child under `p`. Its message and its counts come through a file. */
static struct outcome run_child(enum resume_mode resume, struct plan p)
{
    struct outcome o = { 0 };
    const char *path = temp_path("outcome");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct err e = { 0 };
        setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
        omp_set_num_threads(1);
        int log = open(temp_path("stderr"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(log, 2);
        struct config c;
        struct train_options options = { .resume = resume };
        o.code = run_config(&c, "mha-untied", dir, keys, &e);
        calls = 0;
        plan = p;
        if (!o.code) o.code = train_run(&c, &options, &e);
        plan = (struct plan){ 0 };
        if (o.code) snprintf(o.msg, sizeof o.msg, "%s", e.msg);
        o.calls = calls;
        o.questions = questions;
        o.save_questions = save_questions;
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        _exit(write(fd, &o, sizeof o) == (ssize_t)sizeof o ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    struct err ignored;
    str_clear(&said);
    file_read(&said, temp_path("stderr"), 1 << 20, &ignored);
    if (WIFSIGNALED(status)) return (struct outcome){ .code = 1000 + WTERMSIG(status) };
    if (WEXITSTATUS(status) == KILLED) return (struct outcome){ .code = KILLED };
    assert_int_equal(WEXITSTATUS(status), 0);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, &o, sizeof o), sizeof o);
    close(fd);
    return o;
}

/* ---- what must be the same ------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory and in the directories in it, sorted, one a line. */
static void list_names(struct str *out, const char *where, const char *prefix)
{
    char *names[256];
    size_t n = 0;
    DIR *d = opendir(where);
    if (!d) fail_msg("%s: %s", where, strerror(errno));
    for (struct dirent *entry; (entry = readdir(d)) && n < 256;)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            names[n++] = strdup(entry->d_name);
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        char path[PATH_BYTES];
        struct err e;
        str_addf(out, "%s%s\n", prefix, names[i]);
        if (path_join(path, where, names[i], &e)) fail_msg("%s", e.msg);
        if (dir_exists(path)) list_names(out, path, names[i]);
        free(names[i]);
    }
}

/* Everything except when and how a run was made. */
static void check_same(const char *what)
{
    struct str a = { 0 }, b = { 0 };
    static const char *const files[] = {
        "adapter/adapter_config.json",    "adapter/lorac.json", "adapter/README.md",
        "best/adapter_model.safetensors", "best/lorac.json",    "step-000005.h5",
    };
    assert_same_run(dir, whole, what);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!same_file(dir, whole, files[i])) fail_msg("%s: %s differs", what, files[i]);
    list_names(&a, dir, "");
    list_names(&b, whole, "");
    if (strcmp(a.p, b.p) != 0) fail_msg("%s: the files are\n%swanted\n%s", what, a.p, b.p);
    str_clear(&a);
    get_file(&a, dir, "run.json");
    if (!strstr(a.p, "\"status\": \"finished\"")) fail_msg("%s: run.json: %s", what, a.p);
    str_free(&a);
    str_free(&b);
}

/* Run `lorac inspect DIR --verify` in a child; returns its exit code, its output is in `said`. */
static int verify(const char *where)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct err e = { 0 };
        int n, log = open(temp_path("verify"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        dup2(log, 1);
        dup2(log, 2);
        char path[PATH_BYTES], *argv[] = { path, (char[]){ "--verify" } };
        snprintf(path, sizeof path, "%s", where);
        int code = options_parse(command_inspect.options, 2, argv, &n, &e);
        if (!code) code = command_inspect.run(n, argv, &e);
        if (code) fprintf(stderr, "%s\n", e.msg);
        fflush(NULL);
        _exit(code);
    }
    int status;
    struct err ignored;
    assert_int_equal(waitpid(child, &status, 0), child);
    str_clear(&said);
    file_read(&said, temp_path("verify"), 1 << 20, &ignored);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static bool holds_run(void)
{
    return access(temp_path("run/run.json"), F_OK) == 0;
}

/* An auditor is never told that a file was changed when it only was not finished. */
static void check_record(const char *what)
{
    if (holds_run() && verify(dir) != 0) fail_msg("%s: verify says\n%s", what, said.p);
}

/* Continue to the end, and compare. */
static void finish(const char *what)
{
    struct outcome o = run_child(RESUME_AUTO, (struct plan){ 0 });
    if (o.code) fail_msg("%s: not resumed: %d, %s", what, o.code, o.msg);
    check_same(what);
}

static struct outcome undisturbed;

static int make_whole(void **state)
{
    if (make_test_dir(state)) return -1;
    /* no cache of hashes: another thread would write it, at another time in each run */
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    snprintf(whole, sizeof whole, "%s", temp_path("whole"));
    snprintf(dir, sizeof dir, "%s", temp_path("run"));
    /* made under the name that all runs have: checkpoints hold it */
    undisturbed = run_child(RESUME_NEVER, (struct plan){ 0 });
    if (undisturbed.code) fprintf(stderr, "%s\n%s\n", undisturbed.msg, said.p);
    return undisturbed.code ? undisturbed.code : rename(dir, whole);
}

static long stride(void)
{
    const char *text = getenv("LORAC_TEST_STRIDE");
    return text ? strtol(text, NULL, 10) : SANITIZED ? 13 : 3;
}

/* ---- the sweeps ------------------------------------------------------------------------------ */

static void test_killed_at_every_call(void **state)
{
    (void)state;
    remove_tree(dir);
    assert_true(undisturbed.calls > 100);
    for (long at = 1; at <= undisturbed.calls; at += stride()) {
        char what[64];
        snprintf(what, sizeof what, "killed at call %ld of %ld", at, undisturbed.calls);
        struct outcome o = run_child(RESUME_NEVER, (struct plan){ .die_at = at });
        if (o.code != KILLED) fail_msg("%s: ended with %d %s", what, o.code, o.msg);
        finish(what);
        remove_tree(dir);
    }
}

/* The last quarter of a run publishes everything several times: none of its calls is left out. The
 * calls before it do the same, so some are left out; make torture leaves out none. */
static void sweep_records(bool no_exchange)
{
    remove_tree(dir);
    struct outcome o = run_child(RESUME_NEVER, (struct plan){ .no_exchange = no_exchange });
    assert_int_equal(o.code, 0);
    long records = 0, interrupted = 0, tries = 0, step = SANITIZED ? 13 : stride();
    bool closely = !SANITIZED && !no_exchange;
    for (long at = 1; at <= o.calls; at += closely && at > o.calls / 4 * 3 ? 1 : step, tries++) {
        char what[80];
        remove_tree(dir);
        snprintf(what, sizeof what, "%skilled at call %ld of %ld",
                 no_exchange ? "no exchange, " : "", at, o.calls);
        struct plan p = { .die_at = at, .no_exchange = no_exchange };
        assert_int_equal(run_child(RESUME_NEVER, p).code, KILLED);
        check_record(what);
        records += holds_run();
        interrupted += holds_run() && strstr(said.p, "interrupted") != NULL;
        /* and again, early in the run that goes on */
        p.die_at = 1 + at % 40;
        if (at % 3 == 0 && run_child(RESUME_AUTO, p).code == KILLED)
            check_record("killed once more");
    }
    assert_true(records > tries / 2);
    assert_true(interrupted > 3);
    finish("after the sweep");
    check_record("after the sweep");
    if (strstr(said.p, "interrupted")) fail_msg("a finished run: %s", said.p);
    remove_tree(dir);
}

static void test_no_kill_makes_the_record_untrue(void **state)
{
    (void)state;
    sweep_records(false);
    sweep_records(true);
}

/* Flip a byte of a file of the run, in the middle. */
static void flip(const char *name)
{
    char path[PATH_BYTES];
    struct stat st;
    struct err e;
    if (path_join(path, dir, name, &e)) fail_msg("%s", e.msg);
    int fd = open(path, O_RDWR);
    char c;
    if (fd < 0) fail_msg("%s: %s", path, strerror(errno));
    fstat(fd, &st);
    assert_int_equal(pread(fd, &c, 1, st.st_size / 2), 1);
    c ^= 1;
    assert_int_equal(syscall(SYS_pwrite64, fd, &c, 1, st.st_size / 2), 1);
    close(fd);
}

/* A change is called a change, in a finished run and in one that was killed while it published. */
static void test_changes_are_told(void **state)
{
    (void)state;
    static const char *const files[] = { "adapter/adapter_model.safetensors",
                                         "adapter/adapter_config.json", "adapter/lorac.json",
                                         "best/adapter_model.safetensors", "config.yaml" };
    long told = 0, open_records = 0;
    for (long at = undisturbed.calls; at > undisturbed.calls / 3; at -= 7) {
        remove_tree(dir);
        run_child(RESUME_NEVER, (struct plan){ .die_at = at == undisturbed.calls ? 0 : at });
        if (verify(dir) != 0) fail_msg("%s", said.p);
        open_records += strstr(said.p, "interrupted") != NULL;
        const char *file = files[at % 5];
        flip(file);
        if (verify(dir) == 0) fail_msg("call %ld, %s: not told: %s", at, file, said.p);
        if (!strstr(said.p, "it was changed, or it is another file")) fail_msg("%s", said.p);
        if (!strstr(said.p, file)) fail_msg("%s is not named: %s", file, said.p);
        told++;
    }
    assert_true(told > 10 && open_records > 0);
    remove_tree(dir);
}

/* While a run is writing, verifying says so, and calls nothing changed. */
static void test_verify_beside_a_run(void **state)
{
    (void)state;
    remove_tree(dir);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct err e = { 0 };
        struct config c;
        struct train_options options = { .resume = RESUME_NEVER };
        const char *more[] = { "train.max_steps=2000", "train.batch_size=3",  "train.save_steps=1",
                               "train.eval_steps=1",   "data.validation=0.3", NULL };
        omp_set_num_threads(1);
        dup2(open(temp_path("stderr"), O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
        int code = run_config(&c, "mha-untied", dir, more, &e);
        _exit(code ? code : train_run(&c, &options, &e));
    }
    for (int i = 0; i < 3000 && access(temp_path("run/best"), F_OK) != 0; i++) usleep(10000);
    for (int i = 0; i < 40; i++) {
        if (verify(dir) != 0) fail_msg("verify says\n%s", said.p);
        if (!strstr(said.p, "a run is writing here")) fail_msg("not told: %s", said.p);
    }
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    if (verify(dir) != 0) fail_msg("killed: verify says\n%s", said.p);
    if (strstr(said.p, "a run is writing here")) fail_msg("%s", said.p);
    remove_tree(dir);
}

/* The disk fills, or breaks, once or for good: an error of one line, and nothing lost. */
static void test_errors_at_every_call(void **state)
{
    (void)state;
    remove_tree(dir);
    for (long at = 2; at <= undisturbed.calls; at += stride()) {
        char what[64];
        struct plan p = { .fail_at = at, .fail_on = at % 2, .error = at % 4 < 2 ? ENOSPC : EIO };
        snprintf(what, sizeof what, "%s%s at call %ld", strerror(p.error),
                 p.fail_on ? " for good" : "", at);
        struct outcome o = run_child(RESUME_NEVER, p);
        /* one error may be of a call that can do without, such as the removal of a leftover */
        if (p.fail_on ? o.code != ERR_FAIL : o.code && o.code != ERR_FAIL) {
            fail_msg("%s: ended with %d, %s", what, o.code, o.msg);
        }
        if (o.code && (!strstr(o.msg, strerror(p.error)) || strchr(o.msg, '\n'))) {
            fail_msg("%s: message is: %s", what, o.msg);
        }
        finish(what);
        remove_tree(dir);
    }
}

static void test_stopped_at_every_question(void **state)
{
    (void)state;
    remove_tree(dir);
    assert_true(undisturbed.questions > 40);
    for (long at = 1; at <= undisturbed.questions; at += stride()) {
        char what[64];
        snprintf(what, sizeof what, "stopped at question %ld of %ld", at, undisturbed.questions);
        struct outcome o = run_child(RESUME_NEVER, (struct plan){ .stop_at = at });
        if (o.code != ERR_STOPPED) fail_msg("%s: ended with %d, %s", what, o.code, o.msg);
        if (!strstr(o.msg, "stopped by the test after step") || !strstr(o.msg, "--resume auto")) {
            fail_msg("%s: message is: %s", what, o.msg);
        }
        finish(what);
        remove_tree(dir);
    }
}

/* An extra checkpoint changes nothing but the checkpoints. */
static void test_checkpoint_wanted(void **state)
{
    (void)state;
    remove_tree(dir);
    for (long at = 1; at <= undisturbed.save_questions; at++) {
        struct plan p = { .save_at = at, .die_at = undisturbed.calls };
        struct outcome o = run_child(RESUME_NEVER, p);
        assert_int_equal(o.code, KILLED);
        finish("a checkpoint out of turn");
        remove_tree(dir);
    }
}

/* A run is disturbed again and again, each time somewhere else, until it ends. */
static void test_random_chains(void **state)
{
    (void)state;
    remove_tree(dir);
    uint64_t drawn = 0;
    size_t disturbed = 0;
    for (int chain = 0; chain < 8; chain++) {
        struct outcome o = { .code = -1 };
        size_t runs = 0;
        while (o.code && runs++ < 100) {
            uint32_t kind = rng_u32(3, RNG_TEST, 0, drawn++) % 3;
            long within = kind == 2 ? undisturbed.questions : undisturbed.calls;
            long at = 1 + rng_u32(3, RNG_TEST, 0, drawn++) % (uint32_t)within;
            struct plan p = { .no_exchange = chain % 2 };
            if (kind == 0) p.die_at = at;
            if (kind == 1) p.fail_at = at, p.error = EIO;
            if (kind == 2) p.stop_at = at;
            o = run_child(RESUME_AUTO, p);
            disturbed += o.code != 0;
        }
        finish("a chain");
        remove_tree(dir);
    }
    assert_true(disturbed >=
                6); /* an error in tidying up is survived: not every run is cut short */
}

/* Where two directories cannot change places in one step, there are more moments. */
static void test_killed_without_exchange(void **state)
{
    (void)state;
    remove_tree(dir);
    struct outcome o = run_child(RESUME_NEVER, (struct plan){ .no_exchange = true });
    assert_int_equal(o.code, 0);
    check_same("no exchange");
    remove_tree(dir);
    for (long at = 3; at <= o.calls; at += 2 * stride()) {
        char what[64];
        struct plan p = { .die_at = at, .no_exchange = true };
        snprintf(what, sizeof what, "no exchange, killed at call %ld of %ld", at, o.calls);
        assert_int_equal(run_child(RESUME_NEVER, p).code, KILLED);
        finish(what);
        remove_tree(dir);
    }
}

/* The guard of the loop is on: an allocation after the first step ends the process, an earlier one
 * does not. */
static void test_allocation_in_a_step(void **state)
{
    (void)state;
    long aborted = 0, went = 0;
    for (long at = 1; at <= undisturbed.questions; at += 9) {
        remove_tree(dir);
        struct outcome o = run_child(RESUME_NEVER, (struct plan){ .alloc_at = at });
        if (o.code != 1000 + SIGABRT) {
            assert_int_equal(o.code, 0);
            went++;
            continue;
        }
        assert_non_null(strstr(said.p, "this should not happen: !guarded"));
        assert_true(at > undisturbed.questions / 10); /* not in the first step */
        aborted++;
    }
    assert_true(aborted >= 3 && went >= 3); /* validation may allocate */
    remove_tree(dir);
}

static int remove_whole(void **state)
{
    str_free(&said);
    return remove_test_dir(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_killed_at_every_call, "kill: a run killed at any call resumes to the same bits"),
        ENTRY(test_no_kill_makes_the_record_untrue,
              "kill: after a kill at any call, inspect --verify calls nothing changed"),
        ENTRY(test_changes_are_told,
              "kill: a file that was changed is called changed, also after a kill"),
        ENTRY(test_verify_beside_a_run, "kill: verifying beside a run says that it runs"),
        ENTRY(test_errors_at_every_call,
              "kill: a disk error at any call is one line, and nothing is lost"),
        ENTRY(test_stopped_at_every_question,
              "kill: a run stopped at any question resumes to the same bits"),
        ENTRY(test_checkpoint_wanted, "kill: an extra checkpoint changes nothing else"),
        ENTRY(test_random_chains, "kill: a run disturbed again and again ends with the same bits"),
        ENTRY(test_killed_without_exchange,
              "kill: without an exchange of directories a killed run resumes, too"),
        ENTRY(test_allocation_in_a_step,
              "kill: an allocation after the first step ends a guarded process"),
    };
    return cmocka_run_group_tests(tests, make_whole, remove_whole);
}
