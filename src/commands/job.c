#include "src/commands/job.h"

#include <math.h>
#include <stdio.h>

#include "src/base/term.h"

#define WORTH_A_LINE_S 1.0

static struct {
    struct progress line;
    char doing[200];
    double start_s;
    struct watch watch;
} job;

static void show(void *to, double done, double all)
{
    char left[HUMAN_BYTES];
    double seconds = term_now_s() - job.start_s, share = all > 0 ? done / all : 0;
    (void)to;
    if (seconds < WORTH_A_LINE_S) return;
    human_duration(left, share > 0 ? seconds * (1 - share) / share : NAN);
    progress_update(&job.line, "%s: %.0f %%, %s left", job.doing, floor(100 * share), left);
}

void job_begin(void)
{
    progress_init(&job.line, 30);
    stop_install_ending();
}

const struct watch *job_watch(const char *doing, const char *name)
{
    snprintf(job.doing, sizeof job.doing, "%s%s%s", doing, name ? " " : "", name ? name : "");
    job.start_s = term_now_s();
    if (!job.line.live) { /* the first line is not worth more than the others */
        job.line.any = true;
        job.line.last_s = job.start_s;
    }
    job.watch = (struct watch){ .stop = &stop_by_signal, .progress = show };
    return &job.watch;
}

void job_hide(void)
{
    if (job.line.out) progress_clear(&job.line);
}

static int interrupted(const char *left, struct err *e)
{
    return err_code(e, ERR_INTERRUPTED, "stopped by %s: %s", stop_reason(), left);
}

int job_pause(int code, const char *left, struct err *e)
{
    progress_clear(&job.line);
    stop_uninstall_ending();
    return stop_requested() ? interrupted(left, e) : code;
}

int job_end(int code, const char *left, struct err *e)
{
    progress_clear(&job.line);
    stop_uninstall_ending();
    return code == ERR_STOPPED ? interrupted(left, e) : code;
}
