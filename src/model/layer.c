#include "src/model/layer.h"

#include <string.h>

struct lora layer_lora(struct network *n, size_t layer)
{
    return (struct lora){ .k = n->k,
                          .w = n->base->layer[layer].w,
                          .adapter = n->adapter,
                          .drop = n->drop.p > 0 ? &n->drop : NULL,
                          .layer = layer,
                          .du = n->du,
                          .dropped = n->dropped,
                          .work = n->product_work };
}

static struct rows rows_of(const struct pass *p)
{
    return (struct rows){ .n = p->T, .example = p->example, .pos = p->pos };
}

/* ---- the last block's rows --------------------------------------------------------------------
 * After its attention only rows with loss go on (network.h: top). They are moved to the front of
 * an array and back to their places without a second one, which their ascending order allows. */

static bool is_top(const struct network *n, size_t layer)
{
    return n->top_rows && layer + 1 == n->base->shape.layers;
}

/* y (m, width) = the rows of x; y may be x */
static void rows_gather(real *y, const real *x, const uint32_t *rows, size_t m, size_t width)
{
    for (size_t i = 0; i < m; i++)
        memmove(y + i * width, x + rows[i] * width, width * sizeof(real));
}

/* The first m of T rows of x to their places, zeros to all others. */
static void rows_spread(real *x, const uint32_t *rows, size_t m, size_t T, size_t width)
{
    size_t end = T;
    for (size_t i = m; i-- > 0; end = rows[i]) {
        memset(x + (rows[i] + 1) * width, 0, (end - rows[i] - 1) * width * sizeof(real));
        memmove(x + rows[i] * width, x + i * width, width * sizeof(real));
    }
    memset(x, 0, end * width * sizeof(real));
}

/* The queries of those rows; others are zero and their outputs not read. Overwrites n->x. */
static void top_queries(struct network *n, size_t layer, const struct pass *p, struct layer_act *a)
{
    const struct shape *s = &n->base->shape;
    size_t m = n->top.T, width = adapter_width(n->adapter, GROUP_QKV);
    rows_gather(n->x, n->x, n->top_rows, m, s->C);
    rows_gather(n->du, a->u[GROUP_QKV], n->top_rows, m, width);
    struct lora_output q = { .m = Q_PROJ, .y = a->q };
    struct lora l = layer_lora(n, layer);
    lora_product(&l, &q, n->x, n->du, m);
    rows_spread(a->q, n->top_rows, m, p->T, s->H * s->D);
}

/* dx (T, C) += what flows back through the frozen weight of the queries; compacts dq. */
static void top_queries_backward(struct network *n, size_t layer, real *dx)
{
    const struct shape *s = &n->base->shape;
    const struct matrix *w = &n->base->layer[layer].w[Q_PROJ];
    size_t m = n->top.T, Q = s->H * s->D;
    rows_gather(n->dq, n->dq, n->top_rows, m, Q);
    struct term t = { .a = n->dq, .lda = Q, .w = w, .K = Q };
    n->k->matmul(n->wide, s->C, &t, 1, m, s->C, false, n->product_work);
    for (size_t i = 0; i < m; i++)
        for (size_t c = 0; c < s->C; c++) dx[n->top_rows[i] * s->C + c] += n->wide[i * s->C + c];
}

/* ---- forward -------------------------------------------------------------------------------- */

static void norm(struct network *n, real *y, real *rstd, const real *x, const real *w, size_t T)
{
    const struct shape *s = &n->base->shape;
    n->k->rmsnorm_forward(y, rstd, x, w, T, s->C, (real)s->norm_eps);
}

static void attention_part(struct network *n, size_t layer, const struct pass *p,
                           struct layer_act *a)
{
    const struct shape *s = &n->base->shape;
    const struct layer_weights *w = &n->base->layer[layer];
    const struct kernels *k = n->k;
    size_t T = p->T;
    norm(n, n->x, a->rstd1, a->h, w->norm1, T);
    struct lora_output qkv[3] = { { .m = Q_PROJ, .y = a->q },
                                  { .m = K_PROJ, .y = a->k },
                                  { .m = V_PROJ, .y = a->v } };
    bool top = is_top(n, layer);
    const struct pass *behind = top ? &n->top : p;
    struct lora l = layer_lora(n, layer);
    struct rows rows = rows_of(p), rows_behind = rows_of(behind);
    lora_forward(&l, GROUP_QKV, top ? qkv + 1 : qkv, top ? 2 : 3, n->x, a->u[GROUP_QKV], &rows);
    if (top) top_queries(n, layer, p, a);
    k->rope_half_forward(a->q, n->cosines, n->sines, T, s->H, s->D);
    k->rope_half_forward(a->k, n->cosines, n->sines, T, s->G, s->D);
    k->attention_forward(a->att, a->lse, a->q, a->k, a->v, p->seg, p->n_seg, T, s->H, s->G, s->D,
                         n->attention_work);
    if (top) {
        rows_gather(a->mid, a->h, n->top_rows, behind->T, s->C);
        rows_gather(a->att, a->att, n->top_rows, behind->T, s->H * s->D);
    } else {
        k->copy(a->mid, a->h, T * s->C);
    }
    struct lora_output o = { .m = O_PROJ, .y = a->mid, .accumulate = true };
    lora_forward(&l, GROUP_O, &o, 1, a->att, a->u[GROUP_O], &rows_behind);
    if (n->limits.train && n->limits.bf16) k->round_bf16(a->mid, behind->T * s->C);
}

/* gate, up and their u from mid */
static void mlp_inputs(struct network *n, size_t layer, const struct pass *p, struct layer_act *a)
{
    norm(n, n->x, a->rstd2, a->mid, n->base->layer[layer].norm2, p->T);
    struct lora_output gate_up[2] = { { .m = GATE_PROJ, .y = a->gate },
                                      { .m = UP_PROJ, .y = a->up } };
    struct lora l = layer_lora(n, layer);
    struct rows rows = rows_of(p);
    lora_forward(&l, GROUP_GATE_UP, gate_up, 2, n->x, a->u[GROUP_GATE_UP], &rows);
}

static void swiglu(struct network *n, const struct pass *p, const struct layer_act *a)
{
    n->k->swiglu_forward(n->y, a->gate, a->up, p->T * n->base->shape.F);
}

void layer_forward(struct network *n, size_t layer, const struct pass *p, struct layer_act *a,
                   real *out)
{
    attention_part(n, layer, p, a);
    if (is_top(n, layer)) p = &n->top;
    mlp_inputs(n, layer, p, a);
    swiglu(n, p, a);
    n->k->copy(out, a->mid, p->T * n->base->shape.C);
    struct lora_output down = { .m = DOWN_PROJ, .y = out, .accumulate = true };
    struct lora l = layer_lora(n, layer);
    struct rows rows = rows_of(p);
    lora_forward(&l, GROUP_DOWN, &down, 1, n->y, a->u[GROUP_DOWN], &rows);
}

void layer_recompute(struct network *n, size_t layer, const struct pass *p, struct layer_act *a)
{
    attention_part(n, layer, p, a);
    layer_recompute_mlp(n, layer, p, a);
}

void layer_recompute_mlp(struct network *n, size_t layer, const struct pass *p, struct layer_act *a)
{
    mlp_inputs(n, layer, is_top(n, layer) ? &n->top : p, a);
}

/* ---- backward ------------------------------------------------------------------------------- */

static bool any_target(const struct adapter *a, enum group g)
{
    return a->group_targets[g] > 0;
}

/* dh: gradient of out -> of mid */
static void mlp_backward(struct network *n, size_t layer, const struct pass *p, struct layer_act *a,
                         bool need_mid, real *grad)
{
    const struct shape *s = &n->base->shape;
    const struct layer_weights *w = &n->base->layer[layer];
    size_t T = p->T;
    bool inner = need_mid || any_target(n->adapter, GROUP_GATE_UP);
    swiglu(n, p, a);
    struct lora_gradient down = { .m = DOWN_PROJ, .dy = n->dh };
    struct lora l = layer_lora(n, layer);
    struct rows rows = rows_of(p);
    lora_backward(&l, GROUP_DOWN, &down, 1, n->y, a->u[GROUP_DOWN], &rows, inner ? n->wide : NULL,
                  grad);
    if (!inner) return;
    /* the inputs are not needed again: their gradients take their place */
    n->k->swiglu_backward(a->gate, a->up, n->wide, a->gate, a->up, T * s->F);
    norm(n, n->x, a->rstd2, a->mid, w->norm2, T);
    struct lora_gradient gate_up[2] = { { .m = GATE_PROJ, .dy = a->gate },
                                        { .m = UP_PROJ, .dy = a->up } };
    lora_backward(&l, GROUP_GATE_UP, gate_up, 2, n->x, a->u[GROUP_GATE_UP], &rows,
                  need_mid ? n->dx : NULL, grad);
    if (need_mid) n->k->rmsnorm_backward(n->dh, n->dx, a->mid, w->norm2, a->rstd2, T, s->C);
}

/* dh: gradient of mid -> of h */
static void attention_part_backward(struct network *n, size_t layer, const struct pass *p,
                                    struct layer_act *a, bool need_h, real *grad)
{
    const struct shape *s = &n->base->shape;
    const struct layer_weights *w = &n->base->layer[layer];
    const struct kernels *k = n->k;
    size_t T = p->T, m = n->top.T;
    bool inner = need_h || any_target(n->adapter, GROUP_QKV), top = is_top(n, layer);
    struct lora_gradient o = { .m = O_PROJ, .dy = n->dh };
    struct lora l = layer_lora(n, layer);
    struct rows rows = rows_of(p), rows_behind = rows_of(top ? &n->top : p);
    lora_backward(&l, GROUP_O, &o, 1, a->att, a->u[GROUP_O], &rows_behind, inner ? n->wide : NULL,
                  grad);
    if (!inner) return;
    if (top) {
        rows_spread(n->dh, n->top_rows, m, T, s->C);
        rows_spread(n->wide, n->top_rows, m, T, s->H * s->D);
        rows_spread(a->att, n->top_rows, m, T, s->H * s->D);
    }
    k->attention_backward(n->dq, n->dk, n->dv, n->wide, a->q, a->k, a->v, a->att, a->lse, p->seg,
                          p->n_seg, T, s->H, s->G, s->D, n->attention_work);
    k->rope_half_backward(n->dq, n->cosines, n->sines, T, s->H, s->D);
    k->rope_half_backward(n->dk, n->cosines, n->sines, T, s->G, s->D);
    norm(n, n->x, a->rstd1, a->h, w->norm1, T);
    struct lora_gradient qkv[3] = { { Q_PROJ, n->dq, top },
                                    { K_PROJ, n->dk, false },
                                    { V_PROJ, n->dv, false } };
    lora_backward(&l, GROUP_QKV, qkv, 3, n->x, a->u[GROUP_QKV], &rows, need_h ? n->dx : NULL, grad);
    if (need_h && top) top_queries_backward(n, layer, n->dx);
    if (need_h) k->rmsnorm_backward(n->dh, n->dx, a->h, w->norm1, a->rstd1, T, s->C);
}

void layer_backward(struct network *n, size_t layer, const struct pass *p, struct layer_act *a,
                    bool lowest, real *grad)
{
    bool attention = !lowest || any_target(n->adapter, GROUP_QKV) ||
                     any_target(n->adapter, GROUP_O);
    mlp_backward(n, layer, is_top(n, layer) ? &n->top : p, a, attention, grad);
    if (attention) attention_part_backward(n, layer, p, a, !lowest, grad);
}
