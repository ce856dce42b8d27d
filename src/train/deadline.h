/* When a run has to end: after --max-hours, and before its batch job does. Nothing is executed to
 * ask; Slurm (from 23.02 on) says the job's end in the environment. */
#ifndef LORAC_TRAIN_DEADLINE_H
#define LORAC_TRAIN_DEADLINE_H

#include "src/base/str.h"

/* Seconds of term_now_s(); 0: no limit. */
struct deadline {
    double hours_s, job_s;
};

/* max_hours (0: none) count from start_s. What is to be said of SLURM_JOB_END_TIME becomes a line
 * of `notes`: when the job ends, or why the variable is ignored. */
struct deadline deadline_read(double max_hours, double start_s, struct str *notes);

/* STOP_TIME_LIMIT or STOP_JOB_END when what takes `needed_s` seconds no longer fits, else 0. */
int deadline_passed(const struct deadline *d, double needed_s);

#endif
