/* Low-rank adapters: for every layer and target module W (rows, cols) a pair A (r, cols) and
 * B (rows, r),
 *
 *     forward    u = s drop(x) A^T       y = x W^T + u B^T        s = lora_alpha / r
 *     backward   du = s dy B             dB = dy^T u   dA = du^T drop(x)   dx = dy W + drop(du A)
 *
 * (rsLoRA: s = lora_alpha / sqrt(r)). W is frozen.
 *
 * All pairs live in one flat array of parameters, so that the optimiser, the sums of gradients and
 * the checkpoint see one vector. Modules that read the same input form a group (q,k,v | o | gate,up
 * | down); the A of a group's targets stand one after the other, so that the group's x A^T is one
 * product. Order: for each layer, for each group the A of its targets, then for each target its
 * B. */
#ifndef LORAC_MODEL_LORA_H
#define LORAC_MODEL_LORA_H

#include "src/model/llama.h"

/* ---- the parameters -------------------------------------------------------------------------- */

enum group { GROUP_QKV, GROUP_O, GROUP_GATE_UP, GROUP_DOWN, GROUPS };

enum group module_group(enum module m);

struct adapter {
    struct dims dims; /* of the base */
    size_t r;
    double lora_alpha, scale;
    unsigned modules;    /* bit m: module m has a pair */
    size_t layer_params; /* of one layer */
    size_t n_params;
    size_t a_at[MODULES], b_at[MODULES]; /* within a layer's parameters */
    size_t group_modules[GROUPS];        /* how many modules of a group are targets */
    size_t slot[MODULES];                /* a target's place within its group */
    real *params;                        /* n_params, or NULL until adapter_place() */
};

static inline bool adapter_has(const struct adapter *a, enum module m)
{
    return a->modules >> m & 1;
}

/* Columns of a group's u: targets * r. 0 without an adapter (NULL). */
static inline size_t adapter_width(const struct adapter *a, enum group g)
{
    return a ? a->group_modules[g] * a->r : 0;
}

/* Lay out the parameters; nothing is allocated. targets: a bit set that is not empty. */
void adapter_layout(struct adapter *a, const struct dims *s, size_t r, double lora_alpha,
                    unsigned modules);

/* Allocate params, zeroed; freed by adapter_free(). */
int adapter_place(struct adapter *a, struct err *e);
void adapter_free(struct adapter *a);

/* A or B of a module in any array that has the layout of the parameters, such as gradients. */
real *adapter_a(const struct adapter *a, real *flat, size_t layer, enum module m);
real *adapter_b(const struct adapter *a, real *flat, size_t layer, enum module m);
/* The stacked A of a group: group_targets * r rows. */
real *adapter_group_a(const struct adapter *a, real *flat, size_t layer, enum group g);

/* PEFT's initialisation: A uniform in +-1/sqrt(cols) (Kaiming with a = sqrt 5), B zero.
 * Counter-based: a number depends on the seed and its place only. */
void adapter_init(struct adapter *a, uint64_t seed);

/* Stack adapters of one base into one whose effect is the sum of theirs (ranks add up). */
int adapter_combine(struct adapter *out, const struct adapter *parts, size_t n, struct err *e);

/* ---- the products ---------------------------------------------------------------------------- */

/* Up to this many rows read the weights straight from storage; for more, packing pays. */
enum { MATVEC_ROWS = 4 };

/* Rows of a pass. example and pos name a row for dropout's mask; not read without dropout. */
struct rows {
    size_t n;
    const uint32_t *at; /* (n) their numbers in the pass, ascending; NULL: 0 .. n-1, all of them */
    const uint32_t *example, *pos; /* (n) */
};

/* The linear layers of one block, and room to work. */
struct lora {
    const struct kernels *k;
    const struct matrix *w;        /* (MODULES) the frozen weights */
    const struct adapter *adapter; /* NULL: W alone */
    const struct dropout *drop;    /* NULL: none */
    size_t layer;
    bool few_rows; /* a row per sequence (generation): up to MATVEC_ROWS go through the matvec */
    real *du;      /* (rows, width of a group) */
    real *dropped; /* (rows, cols); only with dropout */
    void *work;    /* of matmul */
};

/* y (rows, module's rows) = or += */
struct lora_output {
    enum module m;
    real *y;
    bool accumulate;
};

/* dy (rows, module's rows). adapter_only: the caller adds what flows back through W. */
struct lora_gradient {
    enum module m;
    const real *dy;
    bool adapter_only;
};

/* Outputs of modules of one group from their input x (rows, cols); leaves u (rows, width). */
void lora_forward(const struct lora *l, enum group g, const struct lora_output *out, size_t n_out,
                  const real *x, real *u, const struct rows *rows);

/* One output where u is known. M rows; x, u and y belong together row by row. */
void lora_product(const struct lora *l, const struct lora_output *out, const real *x, const real *u,
                  size_t M);

/* dA, dB = into grad, which has the layout of the parameters; dx (rows, cols) = the sum over the
 * group, or NULL: not needed. Every target of the group must be among `in`. Overwrites du. */
void lora_backward(const struct lora *l, enum group g, const struct lora_gradient *in, size_t n_in,
                   const real *x, const real *u, const struct rows *rows, real *dx, real *grad);

#endif
