#include "src/base/stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal, checkpoint_wanted;
static volatile sig_atomic_t quit_asked; /* SIGINT and SIGTERM seen so far */
static struct timespec asked_at;
static bool on_terminal;
static const char *told; /* what a person at the terminal reads after Ctrl-C */

/* timeout(1), mpirun and other launchers send a signal to a process and then to its group: a second
 * one this soon after the first is the same request. A person takes longer for a second Ctrl-C. */
enum { SAME_INT_MS = 250, SAME_TERM_MS = 1000 };

static bool is_second(int sig)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!quit_asked) {
        asked_at = now;
        quit_asked = 1;
        return false;
    }
    long ms = (now.tv_sec - asked_at.tv_sec) * 1000 + (now.tv_nsec - asked_at.tv_nsec) / 1000000;
    return ms >= (sig == SIGINT ? SAME_INT_MS : SAME_TERM_MS);
}

static void tell(void)
{
    int before = errno;
    if (on_terminal && write(2, told, strlen(told)) < 0) on_terminal = false;
    errno = before;
}

static void on_signal(int sig)
{
    if (sig == SIGUSR2) {
        checkpoint_wanted = 1;
        return;
    }
    bool quits = sig == SIGINT || sig == SIGTERM;
    if (quits && is_second(sig)) _exit(128 + sig);
    if (quits && stop_signal == 0) tell();
    stop_signal = sig;
}

static void install(const int *signals, size_t n, const char *text)
{
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < n; i++) sigaddset(&sa.sa_mask, signals[i]); /* one signal at a time */
    told = text;
    for (size_t i = 0; i < n; i++) sigaction(signals[i], &sa, NULL);
    on_terminal = isatty(2) == 1;
}

void stop_install(void)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU };
    install(signals, sizeof signals / sizeof *signals,
            "\nstopping at the next layer, then the checkpoint is written; once more to quit at "
            "once\n");
    signal(SIGHUP, SIG_IGN);
}

static const int ending[] = { SIGINT, SIGTERM, SIGHUP };

void stop_install_ending(void)
{
    struct sigaction hup = { 0 };
    sigaction(SIGHUP, NULL, &hup);
    bool ignored = hup.sa_handler == SIG_IGN; /* nohup */
    install(ending, sizeof ending / sizeof *ending - ignored,
            "\nstopping; once more to quit at once\n");
}

void stop_uninstall_ending(void)
{
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        struct sigaction now = { 0 };
        sigaction(ending[i], NULL, &now);
        if (now.sa_handler == on_signal) signal(ending[i], SIG_DFL);
    }
}

static bool asked_by_signal(void *context)
{
    (void)context;
    return stop_requested();
}
const struct stop stop_by_signal = { .asked = asked_by_signal };

bool stop_requested(void)
{
    return stop_signal != 0;
}

void stop_for_time(int which)
{
    stop_signal = which;
}

const char *stop_reason(void)
{
    switch (stop_signal) {
    case SIGINT:
        return "interrupt (SIGINT)";
    case SIGTERM:
        return "SIGTERM";
    case SIGHUP:
        return "SIGHUP, the end of its terminal";
    case SIGUSR1:
        return "SIGUSR1";
    case SIGXCPU:
        return "the limit of CPU time (SIGXCPU)";
    case STOP_TIME_LIMIT:
        return "the time limit";
    case STOP_JOB_END:
        return "the end of the job's time (SLURM_JOB_END_TIME)";
    default:
        return "nothing";
    }
}

int stop_signal_number(void)
{
    return stop_signal < STOP_TIME_LIMIT ? stop_signal : 0;
}

bool stop_wants_checkpoint(void)
{
    bool wanted = checkpoint_wanted;
    if (wanted) checkpoint_wanted = 0;
    return wanted;
}

int stop_cause(void)
{
    return stop_signal;
}

void stop_adopt(int cause)
{
    if (!stop_signal) stop_signal = cause;
}

void stop_ask_checkpoint(void)
{
    checkpoint_wanted = 1;
}
