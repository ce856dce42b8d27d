/* How good a model is on examples that it does not learn from. */
#ifndef LORAC_TRAIN_EVALUATE_H
#define LORAC_TRAIN_EVALUATE_H

#include "src/train/objective.h"

struct evaluation {
    size_t examples, tokens, targets;
    size_t rows; /* computed, after sharing */
    /* The first example whose pass had a loss that is not finite, counted from 1; 0: none. */
    size_t bad_example;
    double loss;           /* mean over all targets, as the objective has it */
    double token_accuracy; /* targets that are the largest logit given what truly came before */
    double exact_match;    /* examples of which every target is: exactly those that greedy
                              generation reproduces to the last token */
};

/* Run all examples of `b` (in batches of its size, in order) through n; every rank runs its share
 * of each batch's passes. Losses are added along the tree over the passes of a batch, and those of
 * the batches along another (gradsum.h). ERR_STOPPED when `stop` (NULL: nothing does) ended it; a
 * loss that is not finite is not an error here, and ends what is counted. `listener` (NULL: nobody)
 * hears of the examples that this rank's passes are done with. */
int evaluate(struct evaluation *out, const struct objective *o, struct network *n, struct batch *b,
             const struct stop *stop, const struct listener *listener, struct err *e);

/* The same, seen by somebody: after each pass of this rank, when the network still holds what it
 * made of it (hit). NULL: nobody. */
struct evaluate_observer {
    void (*pass)(void *to, const struct network *n, const struct batch *b);
    void *to;
};
int evaluate_observed(struct evaluation *out, const struct objective *o, struct network *n,
                      struct batch *b, const struct stop *stop, const struct listener *listener,
                      const struct evaluate_observer *observer, struct err *e);

/* The error where the loss measured after `step` steps is not finite; the remedy is another one
 * before the first step. */
int evaluation_check(const struct evaluation *v, uint64_t step, struct err *e);

#endif
