/* The head: final norm, logits, loss and its gradient, for rows with targets only and for some rows
 * at a time, so that the logits of a pass never exist at once.
 *
 *     x = rmsnorm(out);  z = x W^T;  loss = -log softmax(z)[target]
 *     dz = weight * scale * (softmax(z) - one-hot);  dx = dz W;  dh = rmsnorm's backward of dx */
#ifndef LORAC_MODEL_HEAD_H
#define LORAC_MODEL_HEAD_H

#include "src/model/activations.h"

/* Head and loss on the pass's targets: fills loss and hit, returns sum(weight * loss). With backward,
 * dh = gradient of that sum * scale with respect to the last block's output. */
double network_head(struct network *n, const struct pass *p, real scale, bool backward);

/* Logits (n_rows, V) = of chosen rows after the last block, of a pass without targets. */
void network_logits(struct network *n, const uint32_t *rows, size_t n_rows, real *logits);

/* Logits (n_rows, V) = of all rows, each the newest token of its sequence (generation): of few rows
 * the matvec reads the head straight from storage. */
void network_next_logits(struct network *n, size_t n_rows, real *logits);

#endif
