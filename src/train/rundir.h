/* A run's directory: who may write it, which checkpoints it holds, how directories in it are
 * replaced. */
#ifndef LORAC_TRAIN_RUNDIR_H
#define LORAC_TRAIN_RUNDIR_H

#include <stdint.h>

#include "src/base/file.h"
#include "src/train/runlock.h"

struct rundir {
    char path[PATH_BYTES];
    bool is_private;
    struct runlock lock;
    bool begun;            /* a run has begun here: what rundir_open() made stays */
    char made[PATH_BYTES]; /* the uppermost directory that rundir_open() made; "": none */
};

/* Whether a run could be here, before anything is made or read for it. Refused are a path that is
 * not a directory and cannot become one, a directory that another run is writing, and one that does
 * not belong to a run and holds anything but `config` (the configuration's file), *.log, *.out,
 * *.err and what file managers and git leave. Changes nothing. */
int rundir_look(const char *path, const char *config, struct err *e);

/* Make the directory if it is missing and lock it until rundir_close(): a second run in it is
 * refused, naming host, process and job of the first. The unfinished work of a killed run is
 * removed. Unless `begun` is set in between, rundir_close() removes what this made. */
int rundir_open(struct rundir *r, const char *path, bool is_private, struct err *e);
void rundir_close(struct rundir *r);

/* out = the path of `name` in it. */
int rundir_path(char out[PATH_BYTES], const struct rundir *r, const char *name, struct err *e);

/* The mode of files that hold or mirror training text. */
mode_t rundir_mode(const struct rundir *r);

/* Whether the directory at `path`, which may be missing, is that of a run, however little of it is
 * there; an error when that cannot be told. */
int rundir_used(bool *used, const char *path, struct err *e);

/* step-000100.h5 */
int rundir_checkpoint(char out[PATH_BYTES], const struct rundir *r, uint64_t step, struct err *e);

/* Steps of the checkpoints in it, newest first; at most `most`, *n of them. */
int rundir_list(uint64_t *steps, size_t most, size_t *n, const struct rundir *r, struct err *e);

/* Remove all but the `keep` newest checkpoints. */
int rundir_prune(const struct rundir *r, size_t keep, struct err *e);
/* Remove those newer than `step`; *n: how many there were. */
int rundir_prune_after(const struct rundir *r, uint64_t step, size_t *n, struct err *e);

/* Replace the directory `name` by a new one that is filled in between: begin makes an empty one
 * beside it (tmp), commit puts it in place in one step where the file system can, abort removes
 * it. */
int rundir_replace_begin(char tmp[PATH_BYTES], const struct rundir *r, const char *name,
                         struct err *e);
int rundir_replace_commit(const char *tmp, const struct rundir *r, const char *name, struct err *e);
void rundir_replace_abort(const char *tmp);

#endif
