/* Runs compared: those that differ in train.seed alone are one row, and a row is as good as the
 * mean of its seeds' best validation losses.
 *
 * Two rows are within noise of each other if |difference of their means| < 2 x its standard error,
 * which is sqrt(s1^2/n1 + s2^2/n2): s the standard deviation of a row's losses over its n seeds,
 * with n - 1 in the denominator. A row of one seed has no s, and nothing can be told. */
#ifndef LORAC_TRAIN_SWEEP_TABLE_H
#define LORAC_TRAIN_SWEEP_TABLE_H

#include "src/config/keys.h"
#include "src/train/sweep_record.h"

/* Mean and standard deviation of n values; of none the mean is NaN, of one the deviation. */
struct spread {
    double mean, deviation;
    size_t n;
};
struct spread spread_of(const double *x, size_t n);

enum noise { NOISE_UNKNOWN, NOISE_WITHIN, NOISE_BEYOND };
/* Whether the difference of the two means may be noise. Equal means differ by nothing: within. */
enum noise noise_between(const struct spread *a, const struct spread *b);

/* How a row's loss compares with the best row's. NONE: it has no loss, or there is no best row. */
enum row_verdict { ROW_NONE, ROW_BEST, ROW_WITHIN_NOISE, ROW_WORSE, ROW_UNKNOWN };
const char *row_verdict_name(enum row_verdict v);

struct table_row {
    size_t *run; /* (n) numbers of its runs, in the order of their seeds */
    size_t n;
    size_t counted;            /* of them, in what follows: finished, each seed once */
    struct spread loss, exact; /* of the evaluation with the least loss after step 0 */
    double step, seconds;      /* means: of those evaluations, of the optimiser steps' time */
    size_t best_run;           /* the run with the least loss, where loss.n > 0 */
    enum row_verdict verdict;
};

struct sweep_table {
    struct run_record *run; /* (n) */
    size_t n;
    struct table_row *row; /* (n_rows) the least loss first, rows without one last */
    size_t n_rows;
    const struct key *key[CONFIG_KEYS]; /* (n_keys) whose values differ, in the table's order */
    size_t n_keys;
    bool one_base, one_data; /* the same for all runs */
    struct str notes;        /* lines: what the reader of the table should know */
};

/* Read the runs in these directories and compare them. A directory without a run counts as one that
 * has not begun. sweep_table_free() after failure too. */
int sweep_table_make(struct sweep_table *t, char *const *dirs, size_t n, struct err *e);
void sweep_table_free(struct sweep_table *t);

/* The best row, or NULL. */
const struct table_row *sweep_table_best(const struct sweep_table *t);

/* Append the value of a key in a row's runs, as config.yaml has it on one line. */
void sweep_table_value(struct str *out, const struct sweep_table *t, const struct table_row *row,
                       const struct key *k);

#endif
