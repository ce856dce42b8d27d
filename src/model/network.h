/* The model at work on a pass: embedding, blocks, head, and back.
 *
 * A network owns the plan of everything large: what each block keeps for its backward, scratch,
 * workspace of the kernels. network_plan() decides and counts; network_map() places it in one
 * arena; nothing is allocated afterwards. */
#ifndef LORAC_MODEL_NETWORK_H
#define LORAC_MODEL_NETWORK_H

#include "src/base/mem.h"
#include "src/base/stop.h"
#include "src/data/pass.h"
#include "src/model/adapter.h"

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

/* With limits.bf16 blocks share one set of the large values and each keeps them in half the memory;
 * what its backward reads has gone through bf16 whether it was kept or is computed again, and so
 * has the residual stream in front of attention and MLP: the budget still changes no bit. */
enum half { HALF_H, HALF_MID, HALF_Q, HALF_K, HALF_V, HALF_ATT, HALF_GATE, HALF_UP, HALVES };

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

    size_t keeps[KEEPS];       /* how many layers keep what; the lowest keep least */
    struct layer_act *act;     /* (layers); what is not kept is shared */
    uint16_t *(*half)[HALVES]; /* (layers) with limits.bf16; NULL: not kept */
    real *out;                 /* (T, C) output of the last block */

    /* Rows of the last block behind its attention. A pass with targets: only those that have one
     * (top_rows = the pass's target_row), with example and position of each for dropout; `out`, and
     * the block's att, mid, gate, up and their u then have top.T rows. Else all: top_rows = NULL. */
    struct pass top;
    const uint32_t *top_rows;

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
    real *head_h, *head_x, *logits, *head_dx, *head_rstd, *head_weight;
    size_t head_rows;
    double *loss; /* (T) of each target of the pass */
    uint8_t *hit; /* (T) whether the target was the largest logit */
    /* (V) the caller's: set for ids that generation never picks, which beat no target; NULL: none.
     * The loss is over all V logits all the same, as in training. */
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

/* Operations per row of a pass that its backward repeats of the frozen products, a multiply-add
 * counted as two. */
double network_repeated_flops(const struct network *n);

/* Rows of the embedding into the input of block 0, and the angles of the pass's positions. */
void network_embed(struct network *n, const struct pass *p);

/* Blocks [from, to). False when `stop`, which is asked before each block, wishes it (NULL: never);
 * the pass is then to be dropped. */
bool network_forward(struct network *n, const struct pass *p, size_t from, size_t to,
                     const struct stop *stop);

/* Head and loss on the pass's targets: fills loss and hit, returns sum(weight * loss). With backward, dh = gradient of
 * sum(weight * loss) * scale with respect to the last block's output. */
double network_head(struct network *n, const struct pass *p, real scale, bool backward);

/* Blocks [from, to) downwards: dh in place; gradients of the adapter's pairs of these blocks = into
 * `grad`, which has the layout of the parameters. False as network_forward(). Consumes what forward
 * kept: a pass goes back once. */
bool network_backward(struct network *n, const struct pass *p, size_t from, size_t to, real *grad,
                      const struct stop *stop);

/* Logits (n_rows, V) = of chosen rows after the last block, of a pass without targets. */
void network_logits(struct network *n, const uint32_t *rows, size_t n_rows, real *logits);

#endif
