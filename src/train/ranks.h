/* The processes that train together: the ranks of MPI in lorac_mpi, else the one process.
 *
 * Every rank calls the same of these functions in the same order. What can fail on one rank alone
 * is followed by ranks_agree(), which shares the error before any rank leaves, and by that alone: a
 * rank that fails before the others' next agreement goes straight to ranks_leave(), and they learn
 * of it there. After a shared error every function here returns at once. */
#ifndef LORAC_TRAIN_RANKS_H
#define LORAC_TRAIN_RANKS_H

#include "src/base/str.h"
#include "src/data/pass.h"
#include "src/train/gradsum.h"

/* Join the other ranks, as the first thing of a program. On all but the first rank, stdout and
 * stderr print nothing from now on. */
void ranks_begin(int *argc, char ***argv);
/* Agree at the end of a command, whatever became of it; then part from the others. */
int ranks_leave(int code, struct err *e);
void ranks_end(void);
/* Until it is called with false, this process works as if there was no other one. */
void ranks_be_alone(bool alone);

size_t ranks_n(void);
size_t ranks_me(void);           /* 0 .. ranks_n() - 1 */
const char *ranks_library(void); /* "Open MPI v4.1.4"; NULL: none */
const char *ranks_host(size_t rank);
/* The ranks on this machine, and how many of them come before this one. */
size_t ranks_here(size_t *before);

/* ---- errors, signals ------------------------------------------------------------------------- */

/* The common result of the ranks' codes: 0 when all have 0, else the same code and message for
 * each, those of the lowest rank that failed; another rank than the first is named, unless all
 * failed. ERR_STOPPED gives way to an error. Signals are shared, too: after it stop_requested() and
 * stop_reason() hold on every rank what holds on one, and the first rank has the wish for a
 * checkpoint. */
int ranks_agree(int code, struct err *e);
/* The same; and where all have 0, an error unless `seal`, a digest of what every rank has computed
 * for itself, is the same on all. */
int ranks_agree_on(int code, uint64_t seal, struct err *e);

/* What every rank must have in common: a name for people, a short text (60 characters), and what to
 * do when it differs. */
struct ranks_fact {
    const char *name, *text, *remedy;
};
/* An error that names the lowest rank with another fact than the first rank, and both facts. */
int ranks_same(const struct ranks_fact *facts, size_t n, struct err *e);
/* Append to the first rank's notes (lines) those of the others that it does not have, with the
 * rank's name. */
int ranks_join_notes(struct str *notes, struct err *e);

/* Let `work` be done by the first rank, then by the first rank of each other machine, then by the
 * rest, if the first rank says `in_turn`; else by all at once. Returns what ranks_agree() says. */
int ranks_in_turn(bool in_turn, int (*work)(void *context, struct err *e), void *context,
                  struct err *e);

/* ---- work and sums --------------------------------------------------------------------------- */

/* Of the batch's passes, whose costs are set, those of this rank are the numbers from .. to-1: the
 * most costly share is as cheap as it can be. A rank may have none. */
void ranks_share(size_t *from, size_t *to, const struct batch *b);

/* The values of scratch memory that ranks_sum_tree() needs for a gradient of n values and at most
 * `passes` passes. */
size_t ranks_work(size_t n, size_t passes);
/* The sum over the passes of all ranks, each of which has added its share, along the one tree:
 * every rank returns the same bits, which do not depend on how many ranks there are. */
real *ranks_sum_tree(double *loss, struct gradsum *s, real *work, size_t n_work);
double ranks_sum_losses(const struct losssum *s);

/* counts[i] = the sum of the n counts over all ranks: whole numbers, whose sum has no order. */
void ranks_sum_counts(double *counts, size_t n);
/* x[i] = the largest of all ranks' x[i]; work (n). */
void ranks_largest(uint32_t *x, uint32_t *work, size_t n);
/* The least of all ranks' numbers. */
uint64_t ranks_least(uint64_t number);

/* The n bytes of rank 0, on every rank. */
void ranks_broadcast(void *bytes, size_t n);
/* all (ranks * n) = the n bytes of each rank. */
void ranks_gather(void *all, const void *mine, size_t n);

/* ---- time ------------------------------------------------------------------------------------ */

/* Seconds so far that this rank waited for others to agree, and in which it exchanged data. */
struct ranks_time {
    double waiting, communication;
};
struct ranks_time ranks_time(void);
/* The least, mean and most of a number over the ranks. */
struct ranks_spread {
    double least, mean, most;
};
struct ranks_spread ranks_spread(double x);

#endif
