#include "src/train/deadline.h"

#include <stdlib.h>
#include <time.h>

#include "src/base/stop.h"
#include "src/base/term.h"
#include "src/config/scalar.h"

/* The share of --max-hours that is used, as in other programs of the field; and what is left at
 * the end of a job, for its script. */
static const double share_of_hours = 0.99, job_rest_s = 20;

/* A job without a limit has an end that is years away. An end that has passed is one of a job
 * that somebody's shell remembers. */
static double job_end(double now_s, struct str *notes)
{
    const char *text = getenv("SLURM_JOB_END_TIME"), *why = NULL;
    char left[HUMAN_BYTES];
    int64_t end = 0;
    if (!text) return 0;
    double rest = 0;
    if (scalar_int(&end, text) || end <= 0)
        why = "wanted seconds since 1970";
    else if ((rest = (double)(end - (int64_t)time(NULL))) <= 0)
        why = "that time has passed";
    if (why) {
        str_addf(notes, "SLURM_JOB_END_TIME: found %s, %s: it is ignored\n", err_quotez(text), why);
        return 0;
    }
    str_addf(notes,
             "the job ends in %s (SLURM_JOB_END_TIME): the run stops before that, with a "
             "checkpoint\n",
             human_duration(left, rest));
    return now_s + rest - job_rest_s;
}

struct deadline deadline_read(double max_hours, double start_s, struct str *notes)
{
    return (struct deadline){
        .hours_s = max_hours > 0 ? start_s + max_hours * 3600 * share_of_hours : 0,
        .job_s = job_end(term_now_s(), notes),
    };
}

int deadline_passed(const struct deadline *d, double needed_s)
{
    double end = term_now_s() + needed_s;
    if (d->hours_s > 0 && end > d->hours_s) return STOP_TIME_LIMIT;
    return d->job_s != 0 && end > d->job_s ? STOP_JOB_END : 0;
}
