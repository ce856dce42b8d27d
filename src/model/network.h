/* The model at work on a pass: embedding, blocks, head, and back. Its memory is in
 * activations.h. */
#ifndef LORAC_MODEL_NETWORK_H
#define LORAC_MODEL_NETWORK_H

#include "src/base/stop.h"
#include "src/model/activations.h"

/* Rows of the embedding into the input of block 0, and the angles of the pass's positions. */
void network_embed(struct network *n, const struct pass *p);

/* Blocks [from, to). False when `stop` (NULL: never), which is asked before each block, says so;
 * the caller then drops the pass. */
bool network_forward(struct network *n, const struct pass *p, size_t from, size_t to,
                     const struct stop *stop);

/* The same without dropout, whatever n->drop says; no backward follows. */
bool network_evaluate(struct network *n, const struct pass *p, size_t from, size_t to,
                      const struct stop *stop);

/* Head and loss on the pass's targets: fills loss and hit, returns sum(weight * loss). With
 * backward, dh = gradient of that sum * scale with respect to the last block's output. */
double network_lm_head(struct network *n, const struct pass *p, real scale, bool backward);

/* Logits (n_rows, V) = of chosen rows after the last block, of a pass without targets. */
void network_logits(struct network *n, const uint32_t *rows, size_t n_rows, real *logits);

/* Logits (n_rows, V) = of all rows, each the newest token of its sequence (generation): of few rows
 * the matvec reads the head straight from storage. */
void network_next_logits(struct network *n, size_t n_rows, real *logits);

/* Blocks [from, to) downwards: dh in place; gradients of the adapter's pairs of these blocks = into
 * `grad`, which has the layout of the parameters. False as network_forward(). Consumes what forward
 * kept: a pass can go back only once. */
bool network_backward(struct network *n, const struct pass *p, size_t from, size_t to, real *grad,
                      const struct stop *stop);

#endif
