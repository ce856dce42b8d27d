/* Requests to stop: SIGINT, SIGTERM, SIGUSR1 and SIGXCPU set a flag that is checked between blocks
 * of work. A second SIGINT at least a quarter of a second after the first ends the process at once,
 * and so does a second SIGTERM after at least a second; sooner, it is a launcher that sent one
 * request twice. SIGUSR1, a batch system's early warning, may come before either. SIGUSR2 asks for
 * a checkpoint. SIGHUP is ignored: work goes on when its terminal is closed. */
#ifndef LORAC_BASE_STOP_H
#define LORAC_BASE_STOP_H

#include <stdbool.h>
#include <stddef.h>

/* Install the handlers of training. */
void stop_install(void);

/* Those of a command that leaves nothing when it ends early: SIGINT, SIGTERM and SIGHUP ask it to
 * stop; nothing else is handled, and SIGHUP is not where it is ignored (nohup). Then let these
 * signals end the process again, as in commands that install nothing. */
void stop_install_ending(void);
void stop_uninstall_ending(void);

/* How long work asks whether to stop, without knowing who wants that. NULL: it never stops. */
struct stop {
    bool (*asked)(void *context);
    void *context;
};
static inline bool stop_asked(const struct stop *s)
{
    return s && s->asked(s->context);
}

/* This one asks whether a signal, or stop_for_time(), has requested it. */
extern const struct stop stop_by_signal;

bool stop_requested(void);
/* The name of the signal that asked, or "the time limit". */
const char *stop_reason(void);
/* Its number; 0: none did. */
int stop_signal_number(void);
/* Request a stop without a signal: because of --max-hours, or of the end of the batch job. */
enum { STOP_TIME_LIMIT = 254, STOP_JOB_END = 255 };
void stop_for_time(int which);

/* True once after each SIGUSR2. */
bool stop_wants_checkpoint(void);

/* For processes that work together: what stopped this one (0: nothing), to be adopted by another
 * one that nothing has stopped; and a SIGUSR2 that another one got. */
int stop_cause(void);
void stop_adopt(int cause);
void stop_ask_checkpoint(void);

#endif
