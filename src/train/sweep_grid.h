/* The runs of a sweep: a configuration, keys of which some take several values, and seeds.
 *
 * An argument is "section.key=value" or "section.key=value,value,...". A comma divides values
 * unless it stands in brackets, braces or quotes: "adapter.target_modules=[q_proj,v_proj],
 * all-linear" has two. One value is an override for all runs; of the others every combination is a
 * run, the last key changing fastest, the seeds faster still.
 *
 * Each run has a directory of its own in output.dir, named after the keys that take several values,
 * as they are written in config.yaml, and the seed: "learning_rate-0.0001+r-8+seed-0". Bytes that a
 * shell or a file system may not like become "-". A name that this makes ambiguous, or that is too
 * long, gets the beginning of a digest. The same values have the same name in every sweep.
 *
 * data.split_seed, where it is null, is that of the first run in all runs: they are measured on the
 * same records. */
#ifndef LORAC_TRAIN_SWEEP_GRID_H
#define LORAC_TRAIN_SWEEP_GRID_H

#include "src/config/config.h"

/* More runs than SWEEP_ASK are only made when the user confirms it (--yes). */
enum { SWEEP_ASK = 256, SWEEP_MOST = 10000, SWEEP_NAME_BYTES = 128 };

struct sweep_axis {
    char *key;
    char **value; /* (n) as given */
    size_t n;
};

struct sweep_grid {
    char *file; /* the configuration: its path, and its text as it was at the start */
    struct str text;
    struct sweep_axis *axis; /* (n_axes) in the order of the arguments */
    size_t n_axes;
    int64_t seeds; /* of each combination; 0: train.seed stays as it is */
    int64_t first_seed, split_seed;
    bool holds_split; /* data.split_seed is null, and some run has another train.seed */
    bool measured;    /* the first run has validation records */
    char *dir;        /* output.dir */
    size_t n;         /* runs */
    char (*name)[SWEEP_NAME_BYTES]; /* (n) */
};

/* Read the file and the arguments, and check the configuration of every run. `seeds`: train.seed
 * takes so many values from its own on; 0: it does not vary. Errors are ERR_USAGE: those of
 * config_parse(), nothing that varies, a grid that needs `yes`, values that make the same run.
 * sweep_grid_free() after failure too. */
int sweep_grid_open(struct sweep_grid *g, const char *file, char *const *args, size_t n,
                    int64_t seeds, bool yes, struct err *e);
void sweep_grid_free(struct sweep_grid *g);

/* The configuration of run i, with its own train.seed, data.split_seed and output.dir. */
int sweep_grid_config(struct config *c, const struct sweep_grid *g, size_t i, struct err *e);

/* Divide one argument. The axis is released with sweep_axis_free(), after failure too. */
int sweep_axis_read(struct sweep_axis *a, const char *argument, struct err *e);
void sweep_axis_free(struct sweep_axis *a);

#endif
