#include "src/model/layer.h"

#include <string.h>

#include "src/base/waiting.h"

/* ---- LoRA around the frozen products -------------------------------------------------------- */

/* Which mask a group's input gets; q,k,v share one, as do gate,up. */
static void drop(struct network *n, size_t layer, enum group g, const struct pass *p, real *y,
                 const real *x, size_t width, bool accumulate)
{
    struct dropout d = n->drop;
    d.layer = (uint32_t)layer;
    d.input = (uint32_t)g;
    n->k->dropout(y, x, &d, p->example, p->pos, p->T, width, accumulate);
}

static size_t group_width(const struct adapter *a, enum group g)
{
    return a ? a->group_targets[g] * a->r : 0;
}

static size_t group_cols(const struct shape *s, enum group g)
{
    return g == GROUP_O ? s->H * s->D : g == GROUP_DOWN ? s->F : s->C;
}

/* u (M, targets * r) = s x A^T for all targets of the group */
static void group_u(struct network *n, size_t layer, enum group g, const real *x, real *u, size_t M)
{
    const struct adapter *a = n->adapter;
    size_t width = group_width(a, g), K = group_cols(&a->shape, g);
    struct term t = { .a = x,
                      .lda = K,
                      .b = adapter_group_a(a, a->params, layer, g),
                      .ldb = K,
                      .K = K,
                      .b_rows = true };
    n->k->matmul(u, width, &t, 1, M, width, false, n->product_work);
    n->k->scale(u, (real)a->scale, M * width);
}

/* The frozen product and its LoRA term. */
static void project_one(struct network *n, size_t layer, const struct projection *out,
                        const real *x, const real *u, size_t M)
{
    const struct adapter *a = n->adapter;
    const struct matrix *w = &n->base->layer[layer].w[out->m];
    bool lora = a && adapter_has(a, out->m);
    struct term t[2] = { { .a = x, .lda = w->cols, .w = w, .K = w->cols, .b_rows = true } };
    size_t terms = 1;
    if (lora) {
        size_t width = group_width(a, module_group(out->m));
        t[terms++] = (struct term){ .a = u + a->slot[out->m] * a->r,
                                    .lda = width,
                                    .b = adapter_b(a, a->params, layer, out->m),
                                    .ldb = a->r,
                                    .K = a->r,
                                    .b_rows = true };
    }
    n->k->matmul(out->y, w->rows, t, terms, M, w->rows, out->accumulate, n->product_work);
    layer_add_bias(out->y, &n->base->layer[layer], out->m, M);
}

/* The same for few rows: every product that reads x in one go, then those that read u. */
static void project_few(struct network *n, size_t layer, enum group g, const struct projection *out,
                        size_t n_out, const real *x, real *u, size_t M)
{
    const struct adapter *a = n->adapter;
    struct row_product p[4];
    size_t count = 0, width = group_width(a, g);
    for (size_t i = 0; i < n_out; i++) {
        const struct matrix *w = &n->base->layer[layer].w[out[i].m];
        p[count++] = (struct row_product){ .y = out[i].y,
                                           .ldy = w->rows,
                                           .x = x,
                                           .ldx = w->cols,
                                           .w = w,
                                           .N = w->rows,
                                           .K = w->cols,
                                           .accumulate = out[i].accumulate };
    }
    if (width) {
        size_t K = group_cols(&a->shape, g);
        const real *b = adapter_group_a(a, a->params, layer, g);
        p[count++] = (struct row_product){
            .y = u, .ldy = width, .x = x, .ldx = K, .b = b, .ldb = K, .N = width, .K = K
        };
    }
    n->k->matvec(p, count, M);
    if (!width) return;
    n->k->scale(u, (real)a->scale, M * width);
    count = 0;
    for (size_t i = 0; i < n_out; i++) {
        if (!adapter_has(a, out[i].m)) continue;
        size_t rows = n->base->layer[layer].w[out[i].m].rows;
        p[count++] = (struct row_product){ .y = out[i].y,
                                           .ldy = rows,
                                           .x = u + a->slot[out[i].m] * a->r,
                                           .ldx = width,
                                           .b = adapter_b(a, a->params, layer, out[i].m),
                                           .ldb = a->r,
                                           .N = rows,
                                           .K = a->r,
                                           .accumulate = true };
    }
    n->k->matvec(p, count, M);
}

void project(struct network *n, size_t layer, enum group g, const struct projection *out,
             size_t n_out, const real *x, real *u, size_t M, bool matvec)
{
    waiting_adapt();
    if (matvec) {
        project_few(n, layer, g, out, n_out, x, u, M);
        for (size_t i = 0; i < n_out; i++)
            layer_add_bias(out[i].y, &n->base->layer[layer], out[i].m, M);
        return;
    }
    if (group_width(n->adapter, g)) group_u(n, layer, g, x, u, M);
    for (size_t i = 0; i < n_out; i++) project_one(n, layer, out + i, x, u, M);
}

/* As project() for a pass in training: dropout stands between x and A. */
static void project_pass(struct network *n, size_t layer, enum group g, const struct pass *p,
                         const struct projection *out, size_t n_out, const real *x, real *u)
{
    if (group_width(n->adapter, g)) {
        const real *in = x;
        if (n->drop.p > 0) {
            drop(n, layer, g, p, n->dropped, x, group_cols(&n->base->shape, g), false);
            in = n->dropped;
        }
        group_u(n, layer, g, in, u, p->T);
    }
    for (size_t i = 0; i < n_out; i++) project_one(n, layer, out + i, x, u, p->T);
}

/* One output of a group on the way back: its gradient dy (T, rows). adapter_only: what flows back
 * through the frozen weight is the caller's. */
struct gradient {
    enum module m;
    const real *dy;
    bool adapter_only;
};

/* forward: u = s x A^T,  y = x W^T + u B^T
 * du = s dy B,  dB = dy^T u,  dA = du^T x,  dx = sum over the group of dy W + du A
 * dx may be NULL: not needed. With dropout, x and du A go through the mask. */
static void project_backward(struct network *n, size_t layer, enum group g, const struct pass *p,
                             const struct gradient *in, size_t n_in, const real *x, const real *u,
                             real *dx, real *grad)
{
    const struct adapter *a = n->adapter;
    size_t width = group_width(a, g), K = group_cols(&a->shape, g), T = p->T, terms = 0;
    struct term t[4];
    waiting_adapt();
    for (size_t i = 0; i < n_in; i++) {
        enum module m = in[i].m;
        const struct matrix *w = &n->base->layer[layer].w[m];
        if (!in[i].adapter_only) {
            t[terms++] = (struct term){ .a = in[i].dy, .lda = w->rows, .w = w, .K = w->rows };
        }
        if (!adapter_has(a, m)) continue;
        size_t at = a->slot[m] * a->r;
        struct term du = { .a = in[i].dy,
                           .lda = w->rows,
                           .K = w->rows,
                           .b = adapter_b(a, a->params, layer, m),
                           .ldb = a->r };
        n->k->matmul(n->du + at, width, &du, 1, T, a->r, false, n->product_work);
        struct term db = {
            .a = in[i].dy, .lda = w->rows, .a_cols = true, .b = u + at, .ldb = width, .K = T
        };
        n->k->matmul(adapter_b(a, grad, layer, m), a->r, &db, 1, w->rows, a->r, false,
                     n->product_work);
    }
    const real *lora_a = width ? adapter_group_a(a, a->params, layer, g) : NULL;
    if (width) {
        n->k->scale(n->du, (real)a->scale, T * width);
        bool dropping = n->drop.p > 0;
        if (dropping) drop(n, layer, g, p, n->dropped, x, K, false);
        struct term da = { .a = n->du,
                           .lda = width,
                           .a_cols = true,
                           .b = dropping ? n->dropped : x,
                           .ldb = K,
                           .K = T };
        n->k->matmul(adapter_group_a(a, grad, layer, g), K, &da, 1, width, K, false,
                     n->product_work);
    }
    if (!dx) return;
    struct term through_a = { .a = n->du, .lda = width, .b = lora_a, .ldb = K, .K = width };
    if (width && n->drop.p == 0) t[terms++] = through_a;
    n->k->matmul(dx, K, t, terms, T, K, false, n->product_work);
    if (width && n->drop.p > 0) {
        n->k->matmul(n->dropped, K, &through_a, 1, T, K, false, n->product_work);
        drop(n, layer, g, p, dx, n->dropped, K, true);
    }
}

/* ---- the last block's rows --------------------------------------------------------------------
 * Behind its attention only rows with loss go on (network.h: top). They are moved to the front of an
 * array and back to their places without a second one, which their ascending order allows. */

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
    size_t m = n->top.T, width = group_width(n->adapter, GROUP_QKV);
    rows_gather(n->x, n->x, n->top_rows, m, s->C);
    rows_gather(n->du, a->u[GROUP_QKV], n->top_rows, m, width);
    struct projection q = { .m = Q_PROJ, .y = a->q };
    project_one(n, layer, &q, n->x, n->du, m);
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
    struct projection qkv[3] = { { .m = Q_PROJ, .y = a->q },
                                 { .m = K_PROJ, .y = a->k },
                                 { .m = V_PROJ, .y = a->v } };
    bool top = is_top(n, layer);
    const struct pass *behind = top ? &n->top : p;
    project_pass(n, layer, GROUP_QKV, p, top ? qkv + 1 : qkv, top ? 2 : 3, n->x, a->u[GROUP_QKV]);
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
    struct projection o = { .m = O_PROJ, .y = a->mid, .accumulate = true };
    project_pass(n, layer, GROUP_O, behind, &o, 1, a->att, a->u[GROUP_O]);
    if (n->limits.train && n->limits.bf16) k->round_bf16(a->mid, behind->T * s->C);
}

/* gate, up and their u from mid */
static void mlp_inputs(struct network *n, size_t layer, const struct pass *p, struct layer_act *a)
{
    norm(n, n->x, a->rstd2, a->mid, n->base->layer[layer].norm2, p->T);
    struct projection gate_up[2] = { { .m = GATE_PROJ, .y = a->gate },
                                     { .m = UP_PROJ, .y = a->up } };
    project_pass(n, layer, GROUP_GATE_UP, p, gate_up, 2, n->x, a->u[GROUP_GATE_UP]);
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
    struct projection down = { .m = DOWN_PROJ, .y = out, .accumulate = true };
    project_pass(n, layer, GROUP_DOWN, p, &down, 1, n->y, a->u[GROUP_DOWN]);
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
    struct gradient down = { .m = DOWN_PROJ, .dy = n->dh };
    project_backward(n, layer, GROUP_DOWN, p, &down, 1, n->y, a->u[GROUP_DOWN],
                     inner ? n->wide : NULL, grad);
    if (!inner) return;
    /* the inputs are not needed again: their gradients take their place */
    n->k->swiglu_backward(a->gate, a->up, n->wide, a->gate, a->up, T * s->F);
    norm(n, n->x, a->rstd2, a->mid, w->norm2, T);
    struct gradient gate_up[2] = { { .m = GATE_PROJ, .dy = a->gate },
                                   { .m = UP_PROJ, .dy = a->up } };
    project_backward(n, layer, GROUP_GATE_UP, p, gate_up, 2, n->x, a->u[GROUP_GATE_UP],
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
    struct gradient o = { .m = O_PROJ, .dy = n->dh };
    project_backward(n, layer, GROUP_O, top ? &n->top : p, &o, 1, a->att, a->u[GROUP_O],
                     inner ? n->wide : NULL, grad);
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
    struct gradient qkv[3] = { { Q_PROJ, n->dq, top },
                               { K_PROJ, n->dk, false },
                               { V_PROJ, n->dv, false } };
    project_backward(n, layer, GROUP_QKV, p, qkv, 3, n->x, a->u[GROUP_QKV], need_h ? n->dx : NULL,
                     grad);
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
