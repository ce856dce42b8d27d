/* What a run minimises. An objective is a row of the table in objective.c; step, evaluation and
 * loop know nothing else of it.
 *
 * A pass goes forward `sweeps` times. After each sweep head() computes from the last block's output
 * what the objective needs; after the last one that is the pass's loss and, in a step, the gradient
 * of its logits, from which the pass goes back. What an earlier sweep found is kept in the pass: a
 * target's weight is a real number that the objective may set, negative too. */
#ifndef LORAC_TRAIN_OBJECTIVE_H
#define LORAC_TRAIN_OBJECTIVE_H

#include "src/model/network.h"

/* Whom a step and an evaluation tell after each pass how far they are: `done` of `all` passes of a
 * step, or examples of an evaluation. A NULL in its place: nobody. */
struct listener {
    void (*passed)(void *context, size_t done, size_t all);
    void *context;
};
static inline void tell_passed(const struct listener *l, size_t done, size_t all)
{
    if (l) l->passed(l->context, done, all);
}

struct objective {
    const char *name;
    size_t sweeps;
    const char *needs;                      /* of the examples, for people */
    bool (*fits)(const struct examples *x); /* whether these have it */
    /* What the sum of the passes' losses is divided by. */
    double (*size)(const struct batch *b);
    /* After sweep number `sweep` of pass p: its loss, of which the last sweep's counts. `backward`
     * (of the last sweep): n->dh = gradient of scale * loss as well. */
    double (*head)(struct network *n, struct pass *p, size_t sweep, real scale, bool backward);
};

/* NULL: there is none of that name. */
const struct objective *objective_named(const char *name);

/* Take the pass forward, all sweeps. *loss = its loss; with `backward` network_backward() may
 * follow. False when `stop` said so. */
bool objective_forward(double *loss, const struct objective *o, struct network *n, struct pass *p,
                       real scale, bool backward, const struct stop *stop);

#endif
