/* What is left of a run, for those who compare runs: read from run.json and metrics.jsonl of any
 * lorac run, finished or not. */
#ifndef LORAC_TRAIN_SWEEP_RECORD_H
#define LORAC_TRAIN_SWEEP_RECORD_H

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/config/config.h"

/* KILLED: run.json says that it runs, but no process holds its lock. UNREADABLE: there is
 * something, and it cannot be read. ABSENT: there is nothing. */
enum record_state {
    RECORD_FINISHED,
    RECORD_RUNNING,
    RECORD_STOPPED,
    RECORD_FAILED,
    RECORD_KILLED,
    RECORD_UNREADABLE,
    RECORD_ABSENT,
    RECORD_STATES
};

struct run_record {
    char *dir;
    enum record_state state;
    char *why;            /* it stopped, failed or cannot be read; NULL: nothing to say */
    struct config config; /* resolved; empty where it is unreadable or absent */
    char base_sha256[SHA256_HEX], data_sha256[SHA256_HEX]; /* "": not known */
    uint64_t step, total_steps;
    uint64_t validation_examples, validation_targets;
    /* Of the evaluation with the least loss after step 0; NaN: not measured. */
    double loss, exact_match;
    uint64_t best_step;
    double base_loss; /* of the evaluation at step 0; NaN: not measured */
    double seconds;   /* that its optimiser steps took, those of all sessions */
};

/* Read the run in `dir`. What is wrong with its files makes it unreadable; the only errors are
 * those of memory. run_record_free() after failure too. */
int run_record_read(struct run_record *r, const char *dir, struct err *e);
void run_record_free(struct run_record *r);

/* "finished", "running", ... */
const char *record_state_name(enum record_state s);

/* Whether its configuration can be compared. */
bool run_record_is_readable(const struct run_record *r);

/* out = its best adapter: best/, or adapter/ where there is none. */
int run_record_adapter(char out[PATH_BYTES], const struct run_record *r, struct err *e);

/* Paths of all runs in `dir` and below it, symbolic links not followed, in the order of strcmp().
 * Release with run_paths_free(). */
struct run_paths {
    char **at;
    size_t n;
};
int run_paths_find(struct run_paths *p, const char *dir, struct err *e);
void run_paths_free(struct run_paths *p);

#endif
