/* src/train/runlock.c: one process writes a run's directory, also where flock() does not reach. The
 * test's own flock() stands for file systems without locks and for those whose locks hold on one
 * machine only. */
#include "tests/files_util.h"

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "src/base/machine.h"
#include "src/base/term.h"
#include "src/train/runlock.h"

enum { REACHES, LOCAL_ONLY, NO_LOCKS };
static int kernel;

int flock(int fd, int operation)
{
    if (kernel == LOCAL_ONLY) return 0;
    if (kernel == NO_LOCKS) return errno = ENOSYS, -1;
    return (int)syscall(SYS_flock, fd, operation);
}

/* ---- tools ----------------------------------------------------------------------------------- */

static const char *fresh_dir(void)
{
    static int number;
    char name[32];
    struct err e;
    snprintf(name, sizeof name, "run%d", number++);
    assert_int_equal(dir_make(temp_path(name), 0700, &e), 0);
    return temp_path(name);
}

static const char *lock_of(const char *dir)
{
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/.lock", dir);
    return path;
}

static void write_lock(const char *dir, const char *text)
{
    FILE *f = fopen(lock_of(dir), "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void assert_lock_begins(const char *dir, const char *want)
{
    char text[256] = "";
    FILE *f = fopen(lock_of(dir), "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    if (strncmp(text, want, strlen(want)) != 0 || (!*want && *text))
        fail_msg(".lock: found %s, wanted %s", text, want);
}

/* A child ends with the test, also where that fails: else it would keep the test's output open. */
static pid_t fork_child(void)
{
    pid_t pid = fork();
    if (pid == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) _exit(1);
    return pid;
}

/* A process that takes the lock and keeps it until it is killed. */
static pid_t start_holder(const char *dir)
{
    char answer = 0;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork_child();
    if (pid == 0) {
        struct runlock l;
        struct err e;
        answer = runlock_take(&l, dir, &e) == 0 ? 'y' : 'n';
        if (write(ready[1], &answer, 1) != 1) _exit(1);
        for (;;) pause();
    }
    assert_int_equal(read(ready[0], &answer, 1), 1);
    assert_int_equal(answer, 'y');
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void assert_busy(const char *dir, const char *who)
{
    struct runlock l;
    struct err e = { 0 };
    assert_int_equal(runlock_take(&l, dir, &e), ERR_FAIL);
    runlock_release(&l, true);
    if (!strstr(e.msg, who)) fail_msg("found %s, wanted %s", e.msg, who);
    assert_non_null(strstr(e.msg, "another run is writing here"));
}

/* Seconds that taking it needs. */
static double take(struct runlock *l, const char *dir)
{
    struct err e = { 0 };
    double start = term_now_s();
    if (runlock_take(l, dir, &e)) fail_msg("%s", e.msg);
    return term_now_s() - start;
}

static const char *begin(int way)
{
    kernel = way;
    runlock_every_s = 0.1;
    return fresh_dir();
}

/* ---- the kernel's lock ----------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    const char *dir = begin(REACHES);
    char who[256], busy[256];
    setenv("SLURM_JOB_ID", "77", 1);
    pid_t pid = start_holder(dir);
    unsetenv("SLURM_JOB_ID");
    snprintf(who, sizeof who, "(process %ld on %s, Slurm job 77)", (long)pid, machine_host());
    assert_busy(dir, who);
    assert_true(runlock_busy(busy, sizeof busy, dir));
    assert_memory_equal(busy, who + 1, strlen(busy));
    end(pid);
    assert_false(runlock_busy(busy, sizeof busy, dir));
}

static void test_left_behind(void **state)
{
    (void)state;
    struct runlock l;
    const char *dir = begin(REACHES);
    end(start_holder(dir));
    assert_true(take(&l, dir) < 2 * runlock_every_s);
    runlock_release(&l, false);
    assert_lock_begins(dir, "");
}

static void test_discarded(void **state)
{
    (void)state;
    struct runlock l;
    const char *dir = begin(REACHES);
    take(&l, dir);
    runlock_release(&l, true);
    assert_int_equal(access(lock_of(dir), F_OK), -1);
    write_lock(dir, "");
    take(&l, dir);
    runlock_release(&l, true); /* not its own file */
    assert_int_equal(access(lock_of(dir), F_OK), 0);
}

/* ---- where that does not reach --------------------------------------------------------------- */

static void test_gone(void **state)
{
    (void)state;
    struct runlock l;
    const char *dir = begin(LOCAL_ONLY);
    write_lock(dir, "process 1 on elsewhere, Slurm job 5\nalive 3\n");
    double seconds = take(&l, dir);
    assert_true(seconds > 2 * runlock_every_s);
    runlock_release(&l, false);
    assert_true(take(&l, dir) < 2 * runlock_every_s); /* released in order: nobody to wait for */
    runlock_release(&l, false);
}

static void test_alive_elsewhere(void **state)
{
    (void)state;
    const char *dir = begin(LOCAL_ONLY);
    static const char text[] = "process 1 on elsewhere, Slurm job 5\nalive ";
    write_lock(dir, text);
    pid_t pid = fork_child();
    if (pid == 0) {
        for (int i = 0;; i++) {
            char line[128];
            snprintf(line, sizeof line, "%s%d\n", text, i);
            int fd = open(lock_of(dir), O_WRONLY);
            if (pwrite(fd, line, strlen(line), 0) < 0) _exit(1);
            close(fd);
            usleep(50000);
        }
    }
    assert_busy(dir, "(process 1 on elsewhere, Slurm job 5)");
    end(pid);
    assert_lock_begins(dir, text);
}

static void test_no_locks(void **state)
{
    (void)state;
    struct runlock l;
    char who[256];
    const char *dir = begin(NO_LOCKS);
    pid_t pid = start_holder(dir);
    snprintf(who, sizeof who, "(process %ld on %s)", (long)pid, machine_host());
    assert_busy(dir, who);
    end(pid);
    assert_true(take(&l, dir) > 2 * runlock_every_s);
    runlock_release(&l, false);
    assert_lock_begins(dir, "");
}

static void test_at_once(void **state)
{
    (void)state;
    enum { MANY = 6 };
    int won = 0, gate[2], result[2];
    char go, answer;
    pid_t pid[MANY];
    const char *dir = begin(NO_LOCKS);
    runlock_every_s = 1; /* who is late by less than a fifth of it is seen */
    assert_int_equal(pipe(gate) | pipe(result), 0);
    for (int i = 0; i < MANY; i++) {
        if ((pid[i] = fork_child())) continue;
        struct runlock l;
        struct err e;
        close(gate[1]);
        if (read(gate[0], &go, 1) != 0) _exit(1); /* until all have been started */
        answer = runlock_take(&l, dir, &e) == 0;
        if (write(result[1], &answer, 1) != 1) _exit(1);
        for (;;) pause();
    }
    close(gate[1]);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(read(result[0], &answer, 1), 1);
        won += answer;
    }
    for (int i = 0; i < MANY; i++) end(pid[i]);
    close(gate[0]);
    close(result[0]);
    close(result[1]);
    assert_int_equal(won, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_refused, "runlock: a second process is refused with process, host and job"),
        ENTRY(test_left_behind, "runlock: what a killed process left on this host is no obstacle"),
        ENTRY(test_discarded, "runlock: a refused run removes only a file that it made"),
        ENTRY(test_gone, "runlock: a process of another host that shows no life is replaced"),
        ENTRY(test_alive_elsewhere, "runlock: a process of another host that counts is respected"),
        ENTRY(test_no_locks, "runlock: without locks of the kernel the count alone decides"),
        ENTRY(test_at_once, "runlock: of several at once without such locks one gets it"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
