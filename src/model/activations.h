/* What the model holds while it works on passes: what each block keeps for its backward, scratch,
 * workspace of the kernels.
 *
 * network_plan() decides and counts; network_map() places it in one arena; nothing is allocated
 * afterwards. */
#ifndef LORAC_MODEL_ACTIVATIONS_H
#define LORAC_MODEL_ACTIVATIONS_H

#include "src/base/mem.h"
#include "src/data/pass.h"
#include "src/model/lora.h"

/* What a block keeps between forward and backward. Recomputing gives the same bits. */
enum keep {
    KEEP_ALL,    /* every input of a product: the backward repeats none */
    KEEP_NO_MLP, /* not gate and up: their products run again */
    KEEP_INPUT,  /* only the block's input: all but the down projection runs again */
};
enum { KEEPS = 3 };

/* Values of one block that its backward reads. (T, ...) */
struct layer_act {
    real *h;             /* (C) the block's input */
    real *rstd1, *rstd2; /* () */
    real *q, *k, *v;     /* (H D), (G D), (G D): rotated, as attention reads them */
    real *att, *lse;     /* (H D); (H, T) */
    real *mid;           /* (C) after attention */
    real *gate, *up;     /* (F) */
    real *u[GROUPS];     /* (targets of the group * r): s x A^T */
};

/* With limits.bf16 blocks share one set of the large values and each keeps them in half the memory.
 * What its backward reads has gone through bf16 whether it was kept or is computed again, and so
 * has the residual stream before attention and MLP: the budget still does not change a bit. */
enum stored {
    STORED_H,
    STORED_MID,
    STORED_Q,
    STORED_K,
    STORED_V,
    STORED_ATT,
    STORED_GATE,
    STORED_UP,
    STORED_VALUES
};

struct network_limits {
    size_t rows_max, seg_max;
    bool train; /* backward follows; otherwise blocks share one set of values */
    bool dropout;
    bool bf16;
    size_t budget_bytes; /* for the arena; 0: no limit */
};

struct network {
    const struct llama *base;
    const struct adapter *adapter; /* NULL: the base alone */
    const struct kernels *k;
    struct network_limits limits;
    struct dropout drop; /* p = 0: none; the caller sets step for each step */

    size_t keeps[KEEPS];                /* how many layers keep what; the lowest keep least */
    struct layer_act *act;              /* (layers); what is not kept is shared */
    uint16_t *(*stored)[STORED_VALUES]; /* (layers) with limits.bf16; NULL: not kept */
    real *out;                          /* (T, C) output of the last block */

    /* Rows of the pass embedded last that go through all of the last block: those with a target, or
     * all where there are none. `out` has only these. Their example and position are copied. */
    struct rows target_rows;
    uint32_t *target_example, *target_pos; /* (T) */

    /* scratch */
    real *x, *dx; /* (T, C) normalised input, its gradient */
    real *y;      /* (T, F) the MLP's inner value */
    real *wide;   /* (T, max(F, H D)) gradients of inner values */
    real *dh;     /* (T, C) gradient of the residual stream */
    real *dq, *dk, *dv;
    real *du;              /* (T, targets of a group * r) */
    real *dropped;         /* (T, max(C, F, H D)) */
    real *cosines, *sines; /* (T, D/2) of each row's position */
    double *frequency;     /* (D/2) */
    real *lm_head_h, *lm_head_x, *logits, *lm_head_dx, *lm_head_rstd, *lm_head_weight;
    size_t lm_head_rows;
    double *loss; /* (T) of each target of the pass */
    uint8_t *hit; /* (T) whether the target was the largest logit */
    /* (V) of the caller: set for ids that generation never picks, so that they beat no target;
     * NULL: none. The loss still runs over all V logits, as in training. */
    const uint8_t *mute;
    void *product_work, *attention_work;

    struct arena arena;
    size_t bytes; /* of the arena, as planned */
};

/* Decide what is kept so that the arena fits the budget, and count. An error when even keeping
 * nothing does not fit. After it `bytes` is exact. */
int network_plan(struct network *n, const struct llama *base, const struct adapter *adapter,
                 const struct kernels *k, const struct network_limits *limits, struct err *e);
/* Allocate and place what was planned. */
int network_map(struct network *n, struct err *e);
void network_free(struct network *n);

/* What block `layer` keeps. */
enum keep network_keep(const struct network *n, size_t layer);

/* Operations per row of a pass that its backward repeats of the frozen products, a multiply-add
 * counted as two. */
double network_repeated_flops(const struct network *n);

/* With limits.bf16: keep values [from, to) of the block; bring back what was kept; give what was
 * computed again the rounding that it would have been kept with. T: rows of the pass; after: of
 * those the ones that go on after attention. */
void activations_store(struct network *n, size_t layer, size_t T, size_t after, enum stored from,
                       enum stored to);
void activations_load(struct network *n, size_t layer, size_t T, size_t after);
void activations_round(struct network *n, size_t layer, size_t T, size_t after);

#endif
