/* One block of a Llama on one pass: forward and its backward.
 *
 *     x1 = rmsnorm(h);  q, k, v = x1 W^T + LoRA;  rope(q, k);  att = attention(q, k, v)
 *     mid = h + att Wo^T + LoRA
 *     x2 = rmsnorm(mid);  y = silu(x2 Wg^T + LoRA) * (x2 Wu^T + LoRA)
 *     out = mid + y Wd^T + LoRA */
#ifndef LORAC_MODEL_LAYER_H
#define LORAC_MODEL_LAYER_H

#include "src/model/activations.h"

/* out (T, C) = the block's output; everything the backward needs into `a` (its h is the input; out
 * may be h itself where h is not needed again). With limits.bf16 mid is rounded. */
void layer_forward(struct network *n, size_t layer, const struct pass *p, struct layer_act *a,
                   real *out);

/* The parts of layer_forward() that recomputation repeats: everything from h but `out` and the down
 * projection's u (which is always kept); or gate, up and their u from mid. */
void layer_recompute(struct network *n, size_t layer, const struct pass *p, struct layer_act *a);
void layer_recompute_mlp(struct network *n, size_t layer, const struct pass *p,
                         struct layer_act *a);

/* n->dh (T, C): in, the gradient of `out`; out, that of h, unless `lowest`: nothing below needs it,
 * and only what this block's adapters need is computed. Gradients of the block's pairs = into grad.
 * Overwrites gate and up. */
void layer_backward(struct network *n, size_t layer, const struct pass *p, struct layer_act *a,
                    bool lowest, real *grad);

/* The block's linear layers, with dropout where n->drop says so. */
struct lora layer_lora(struct network *n, size_t layer);

#endif
