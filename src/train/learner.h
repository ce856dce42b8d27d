/* What learns: an adapter on a base, its gradients and moments, and the step that improves it.
 * Everything large is planned by learner_plan() and placed by learner_map(). */
#ifndef LORAC_TRAIN_LEARNER_H
#define LORAC_TRAIN_LEARNER_H

#include "src/config/config.h"
#include "src/model/network.h"
#include "src/train/gradsum.h"
#include "src/train/objective.h"

struct learner {
    struct network net;
    struct adapter adapter; /* its params lie in the arena */
    struct batch batch;     /* over the training examples */
    struct gradsum sum;
    real *ranks_work; /* (ranks_values) for the sum over the ranks */
    size_t ranks_values;
    const struct objective *objective; /* sft, as planned */
    real *m, *v;                       /* AdamW's moments */
    size_t passes_max;
    const struct stop *stop; /* asked before each block of a step; NULL, as planned: never */
    const struct listener *listener; /* told after each pass of a step; NULL, as planned: nobody */
    struct arena arena;
    size_t state_bytes; /* adapter, moments, gradients, the copy that publishing makes */
    double beta1, beta2, eps, weight_decay, max_grad_norm;
};

struct step_result {
    double loss, grad_norm;
    size_t passes, own_passes, tokens, rows, targets; /* own: of this rank */
    double forward_s, backward_s, update_s;
    double waiting_s, exchange_s; /* for the other ranks' passes; in the sum over the ranks */
    /* A digest of the updated adapter and moments, for ranks_agree_on(). */
    uint64_t seal;
};

/* Lay out and count: the adapter (shape of `base`; from = NULL: as the configuration says, else as
 * loaded), the network for these training and validation examples, within `budget_bytes` (0: no
 * limit) for everything counted here. */
int learner_plan(struct learner *l, const struct config *c, const struct llama *base,
                 const struct adapter *from, const struct examples *train,
                 const struct examples *validation, const struct kernels *k, size_t budget_bytes,
                 struct err *e);
/* Allocate and fill: from `from`, or freshly initialised. */
int learner_map(struct learner *l, const struct config *c, const struct adapter *from,
                struct err *e);
void learner_free(struct learner *l);
/* Free the network's memory: nothing is computed after it. */
void learner_release(struct learner *l);

/* Bytes planned in all, without the mapped weights. */
size_t learner_bytes(const struct learner *l);

/* One optimiser step on the n items numbered in `which`, as step number `step` (from 1), with the
 * rate lr. Returns 0; ERR_STOPPED when a stop was asked for (the step is undone: nothing changed);
 * an error that names step and examples when a loss or a gradient is not finite (nothing changed
 * either), or when the updated adapter or its moments are not (they are then of no use). */
int learner_step(struct learner *l, struct step_result *out, const uint32_t *which, size_t n,
                 uint64_t step, double lr, struct err *e);

#endif
