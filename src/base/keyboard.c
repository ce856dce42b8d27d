#include "src/base/keyboard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* ---- the terminal ---------------------------------------------------------------------------- */

/* Handlers have no other way to reach this, so there is one. */
static struct {
    bool terminal, marks_pastes;
    struct termios original; /* as the terminal was found */
    struct termios stopped;  /* as it was when Ctrl-Z came */
    volatile sig_atomic_t given_back;
} tty;

volatile bool keyboard_interrupted;
static volatile sig_atomic_t redraw;
static int wake[2] = { -1, -1 }; /* a pipe: holds a byte after a signal, for poll() to see */

/* A terminal that does not take a sequence cannot be helped. */
static void write_sequence(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void mark_pastes(bool on)
{
    if (tty.marks_pastes) write_sequence(on ? "\033[?2004h" : "\033[?2004l");
}

/* In the background the terminal is another's, and asking for it would stop the process. */
static bool has_terminal(void)
{
    return tty.terminal && !tty.given_back && tcgetpgrp(STDIN_FILENO) == getpgrp();
}

/* This and what it calls are safe in a handler. */
static void give_back(void)
{
    if (!has_terminal()) return;
    mark_pastes(false);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &tty.original);
}

/* ---- signals --------------------------------------------------------------------------------- */

/* The signals that end a process: the terminal is given back first. SIGBUS has a handler already,
 * which is called then. */
static const int ends[] = { SIGHUP,  SIGQUIT, SIGILL,  SIGABRT, SIGBUS,    SIGFPE, SIGUSR1,
                            SIGSEGV, SIGUSR2, SIGALRM, SIGTERM, SIGVTALRM, SIGXCPU };
enum { ENDS = sizeof ends / sizeof *ends };
static const int others[] = { SIGINT, SIGTSTP, SIGCONT, SIGWINCH };
enum { OTHERS = sizeof others / sizeof *others };
static struct sigaction ends_before[ENDS], others_before[OTHERS];

static void wake_up(void)
{
    if (write(wake[1], "", 1) != 1) return; /* full: it is awake */
}

static void on_interrupt(int sig)
{
    int before = errno;
    if (keyboard_interrupted) {
        give_back();
        _exit(128 + sig);
    }
    keyboard_interrupted = true;
    wake_up();
    errno = before;
}

static void on_end(int sig)
{
    give_back();
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i] == sig) sigaction(sig, &ends_before[i], NULL);
    raise(sig); /* acts when this handler returns */
}

/* In the background the terminal is another's; the signal comes again in the foreground. */
static void take_again(void)
{
    int before = errno;
    if (tty.given_back && tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        tcsetattr(STDIN_FILENO, TCSADRAIN, &tty.stopped);
        mark_pastes(true);
        tty.given_back = 0;
    }
    redraw = 1;
    wake_up();
    errno = before;
}

/* Ctrl-Z: stop as the signal does by default, with the terminal as the shell wants it. */
static void on_stop(int sig)
{
    int before = errno;
    struct sigaction stop = { .sa_handler = SIG_DFL }, mine;
    sigset_t only;
    if (has_terminal()) {
        tcgetattr(STDIN_FILENO, &tty.stopped);
        give_back();
        tty.given_back = 1;
    }
    sigaction(sig, &stop, &mine);
    sigemptyset(&only);
    sigaddset(&only, sig);
    raise(sig);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL); /* here it stops, until SIGCONT */
    sigaction(sig, &mine, NULL);
    take_again();
    errno = before;
}

static void on_other(int sig)
{
    (void)sig;
    take_again();
}

/* With SA_RESTART, a write of an answer that a signal interrupts is completed. What is ignored
 * (nohup) stays so. */
static void install(int sig, void (*handler)(int), struct sigaction *before)
{
    struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
    sigemptyset(&sa.sa_mask);
    sigaction(sig, NULL, before);
    if (before->sa_handler == SIG_IGN && handler == on_end) return;
    sigaction(sig, &sa, NULL);
}

static void install_all(void)
{
    install(SIGINT, on_interrupt, &others_before[0]);
    if (!tty.terminal) return;
    install(SIGTSTP, on_stop, &others_before[1]);
    install(SIGCONT, on_other, &others_before[2]);
    install(SIGWINCH, on_other, &others_before[3]);
    for (size_t i = 0; i < ENDS; i++) install(ends[i], on_end, &ends_before[i]);
}

static void uninstall_all(void)
{
    for (size_t i = 0; i < (tty.terminal ? (size_t)OTHERS : 1); i++)
        sigaction(others[i], &others_before[i], NULL);
    for (size_t i = 0; tty.terminal && i < ENDS; i++) sigaction(ends[i], &ends_before[i], NULL);
}

/* ---- the keyboard ---------------------------------------------------------------------------- */

int keyboard_open(struct keyboard *k, struct err *e)
{
    *k = (struct keyboard){ 0 };
    if (pipe(wake)) return err_errno(e, "cannot make a pipe");
    for (int i = 0; i < 2; i++) {
        fcntl(wake[i], F_SETFL, O_NONBLOCK);
        fcntl(wake[i], F_SETFD, FD_CLOEXEC);
    }
    k->terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &tty.original) == 0;
    k->person = k->terminal && isatty(STDERR_FILENO);
    tty.terminal = k->terminal;
    tty.marks_pastes = false;
    tty.given_back = redraw = 0;
    keyboard_interrupted = false;
    install_all();
    return 0;
}

void keyboard_close(struct keyboard *k)
{
    if (wake[0] < 0) return;
    give_back();
    uninstall_all();
    for (int i = 0; i < 2; i++) close(wake[i]);
    wake[0] = wake[1] = -1;
    tty.terminal = false;
    *k = (struct keyboard){ 0 };
}

bool keyboard_take_interrupt(struct keyboard *k)
{
    if (!keyboard_interrupted) return false;
    k->at = k->n = 0;
    keyboard_interrupted = false;
    return true;
}

/* Wait for bytes or a signal, at most `ms` (-1: for ever). False: nothing came. */
static bool wait_for_input(int ms)
{
    char bytes[64];
    struct pollfd on[] = { { .fd = STDIN_FILENO, .events = POLLIN },
                           { .fd = wake[0], .events = POLLIN } };
    if (poll(on, 2, ms) <= 0) return false;
    while (read(wake[0], bytes, sizeof bytes) > 0) continue;
    return on[0].revents != 0;
}

/* False: stdin is at its end. */
static bool fill(struct keyboard *k)
{
    ssize_t n = read(STDIN_FILENO, k->bytes, sizeof k->bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    k->at = 0;
    k->n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

int keyboard_byte(struct keyboard *k)
{
    for (;;) {
        if (keyboard_take_interrupt(k)) return KEY_INTERRUPT;
        if (redraw) {
            redraw = 0;
            return KEY_REDRAW;
        }
        if (k->at < k->n) return (unsigned char)k->bytes[k->at++];
        /* what comes with Ctrl-C was typed after it, so the signal is taken first */
        if (wait_for_input(-1) && !keyboard_interrupted && !fill(k)) return KEY_END;
    }
}

void keyboard_drain(struct keyboard *k, int quiet_ms)
{
    k->at = k->n = 0;
    while (!keyboard_interrupted && wait_for_input(quiet_ms) && fill(k)) k->n = 0;
}

void keyboard_mark_pastes(void)
{
    if (!tty.terminal) return;
    tty.marks_pastes = true;
    mark_pastes(true);
}

/* Not canonical, so that FIONREAD counts what is typed before Enter, too. */
void keyboard_hide(const struct keyboard *k)
{
    struct termios quiet = tty.original;
    if (!k->terminal) return;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
}

bool keyboard_show(struct keyboard *k)
{
    int waiting = 0;
    if (!k->terminal) return false;
    bool any = k->at < k->n || (ioctl(STDIN_FILENO, FIONREAD, &waiting) == 0 && waiting > 0);
    k->at = k->n = 0;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &tty.original);
    return any;
}
