#include "src/base/stop.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal, checkpoint_wanted;

enum { TIME_LIMIT = -1 };

static void on_signal(int sig)
{
    if (sig == SIGUSR2) {
        checkpoint_wanted = 1;
        return;
    }
    if (stop_signal > 0 && sig != SIGUSR1) _exit(128 + sig);
    stop_signal = sig;
}

void stop_install(void)
{
    struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&sa.sa_mask);
    const int signals[] = { SIGINT, SIGTERM, SIGUSR1, SIGUSR2 };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &sa, NULL);
}

bool stop_requested(void)
{
    return stop_signal != 0;
}

void stop_for_time(void)
{
    stop_signal = TIME_LIMIT;
}

const char *stop_reason(void)
{
    switch (stop_signal) {
    case SIGINT:
        return "interrupt (SIGINT)";
    case SIGTERM:
        return "SIGTERM";
    case SIGUSR1:
        return "SIGUSR1";
    case TIME_LIMIT:
        return "the time limit";
    default:
        return "nothing";
    }
}

bool stop_wants_checkpoint(void)
{
    bool wanted = checkpoint_wanted;
    if (wanted) checkpoint_wanted = 0;
    return wanted;
}
