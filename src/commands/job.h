/* What a command that takes long shows and how it ends early: a line of progress on stderr, and an
 * end in order after Ctrl-C. One for each process.
 *
 *     job_begin();
 *     code = long_work(job_watch("writing", name), e);
 *     return job_end(code, "nothing was written", e);
 *
 * Between job_begin() and job_end() SIGINT, SIGTERM and SIGHUP only ask the watch to stop, so that
 * temporary files are removed; job_pause() lets them end the process again, for work that is not
 * watched. */
#ifndef LORAC_COMMANDS_JOB_H
#define LORAC_COMMANDS_JOB_H

#include "src/base/watch.h"

void job_begin(void);
/* The watch of the next stage, "writing out.gguf" of "writing" and "out.gguf" (NULL: no name): its
 * line has the share that is done and the time that is left. On a terminal it appears after a
 * second; elsewhere there is a line every half minute. Valid until the next call. */
const struct watch *job_watch(const char *doing, const char *name);
/* Take the line from the terminal, because something is printed now. Harmless without a job. */
void job_hide(void);
/* ERR_INTERRUPTED with a message when a signal has asked to stop, whatever `code` is; else code. */
int job_pause(int code, const char *left, struct err *e);
/* The same when `code` says that the work was stopped. The line of progress is gone. */
int job_end(int code, const char *left, struct err *e);

#endif
