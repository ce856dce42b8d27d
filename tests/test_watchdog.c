/* src/base/watchdog.c and ticker.c: a process that makes no progress ends with exit code 86 and one
 * line; a process that makes some, or was suspended, or whose reader is slow, does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/machine.h"
#include "src/base/ticker.h"
#include "src/base/watchdog.h"
#include "tests/entry.h"

/* ---- tools ----------------------------------------------------------------------------------- */

struct child {
    pid_t pid;
    int err; /* the reading end of its stderr */
};

static struct child start(void (*work)(void), double limit_s)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    struct child c = { fork(), ends[0] };
    if (c.pid == 0) {
        struct err e;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the test fails */
        dup2(ends[1], STDERR_FILENO);
        if (watchdog_start(limit_s, 1, 4, &e)) _exit(99);
        watchdog_phase("waiting for other ranks", 12);
        work();
        watchdog_stop();
        _exit(0);
    }
    close(ends[1]);
    return c;
}

/* Its exit code; what it wrote goes into text. */
static int finish(struct child *c, char text[1000])
{
    int status;
    size_t n = 0;
    for (ssize_t got; (got = read(c->err, text + n, 999 - n)) > 0;) n += (size_t)got;
    text[n] = 0;
    close(c->err);
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void work_for(double seconds, void (*each)(void))
{
    for (int i = 0; i < (int)(seconds * 20); i++) {
        usleep(50000);
        if (each) each();
    }
}

/* ---- what ends and what does not ------------------------------------------------------------- */

static void hang(void)
{
    for (;;) pause();
}

static void test_hang(void **state)
{
    (void)state;
    char text[1000], who[200];
    struct child c = start(hang, 0.5);
    snprintf(who, sizeof who, "rank 1 of 4, process %ld of %s", (long)c.pid, machine_host());
    assert_int_equal(finish(&c, text), WATCHDOG_EXIT);
    assert_non_null(strstr(text, who));
    assert_non_null(strstr(text, "at step 12 (waiting for other ranks)"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void beat_for_long(void)
{
    work_for(2, watchdog_beat);
}

static void test_beats(void **state)
{
    (void)state;
    char text[1000];
    struct child c = start(beat_for_long, 0.5);
    assert_int_equal(finish(&c, text), 0);
    assert_string_equal(text, "");
}

static void beat_and_hang(void)
{
    work_for(0.7, watchdog_beat);
    hang();
}

static void test_beats_then_hangs(void **state)
{
    (void)state;
    char text[1000];
    struct child c = start(beat_and_hang, 0.5);
    assert_int_equal(finish(&c, text), WATCHDOG_EXIT);
}

/* The looks are 0.05 s apart, and what counts of a longer pause is one of them. */
static void idle_shortly(void)
{
    work_for(1, NULL);
}

static void test_suspended(void **state)
{
    (void)state;
    char text[1000];
    struct child c = start(idle_shortly, 1.5);
    usleep(300000);
    kill(c.pid, SIGSTOP);
    sleep(2);
    kill(c.pid, SIGCONT);
    assert_int_equal(finish(&c, text), 0);
}

/* stderr is a pipe that nobody empties: the process waits for its reader. */
static void fill_stderr_and_wait(void)
{
    char block[4096] = { 0 };
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
    for (size_t size = sizeof block; size; size = size > 1 ? 1 : 0)
        while (write(STDERR_FILENO, block, size) > 0) continue;
    fcntl(STDERR_FILENO, F_SETFL, flags);
    if (write(STDERR_FILENO, block, sizeof block) < 0) _exit(98);
    watchdog_beat();
}

static void test_reader_waits(void **state)
{
    (void)state;
    int status;
    char block[4096];
    struct child c = start(fill_stderr_and_wait, 0.5);
    usleep(1300000);
    while (read(c.err, block, sizeof block) > 0) continue;
    close(c.err);
    assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_stopped_watchdog(void **state)
{
    (void)state;
    struct err e;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(watchdog_start(0.3, 0, 1, &e), 0);
        watchdog_stop();
        watchdog_stop();
    }
    watchdog_phase("nothing", 1);
    watchdog_step(1);
    usleep(600000); /* still here */
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void test_limits(void **state)
{
    (void)state;
    double steps[100] = { 0 };
    assert_true(watchdog_limit_after(steps, 0) == 3600);
    for (int i = 0; i < 100; i++) steps[i] = 1;
    assert_true(watchdog_limit_after(steps, 100) == 600); /* at least 10 minutes */
    for (int i = 0; i < 100; i++) steps[i] = i;
    assert_true(watchdog_limit_after(steps, 100) == 20 * 84); /* the median of 68 to 99 */
    steps[2] = 1000;
    assert_true(watchdog_limit_after(steps, 3) == 600); /* one long step is not the rule */
}

/* ---- the ticker ------------------------------------------------------------------------------ */

static void count(void *to)
{
    ++*(volatile int *)to;
}

static void test_ticker(void **state)
{
    (void)state;
    volatile int ticks = 0;
    struct ticker t;
    struct err e;
    assert_int_equal(ticker_start(&t, 0.02, count, (void *)(uintptr_t)&ticks, &e), 0);
    for (int i = 0; i < 500 && ticks < 3; i++) usleep(10000);
    ticker_stop(&t);
    int at_end = ticks;
    assert_true(at_end >= 3);
    usleep(100000);
    assert_int_equal(ticks, at_end);
    assert_int_equal(ticker_start(&t, 3600, count, (void *)(uintptr_t)&ticks, &e), 0);
    ticker_stop(&t); /* at once, not after an hour */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_hang, "watchdog: a process that hangs ends with 86 and names rank and phase"),
        ENTRY(test_beats, "watchdog: a process that makes progress goes on beyond the limit"),
        ENTRY(test_beats_then_hangs, "watchdog: progress at the beginning does not excuse a hang"),
        ENTRY(test_suspended, "watchdog: time in which the process was suspended does not count"),
        ENTRY(test_reader_waits, "watchdog: a process whose stderr is not read is not ended"),
        ENTRY(test_stopped_watchdog, "watchdog: nothing is ended after it was stopped"),
        ENTRY(test_limits, "watchdog: auto is the larger of 10 minutes and 20 median steps"),
        ENTRY(test_ticker, "ticker: ticks until it is stopped, which does not wait for a tick"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
