#include "src/model/block.h"

#include <string.h>

/* The linear layers of the block. */
static struct lora block_lora(const struct network *n, const struct block *b)
{
    return (struct lora){ .k = n->k,
                          .w = n->base->layer[b->layer].w,
                          .adapter = n->adapter,
                          .drop = b->drop,
                          .layer = b->layer,
                          .du = n->du,
                          .dropped = n->dropped,
                          .work = n->product_work };
}

/* All rows of the pass. */
static struct rows all_rows(const struct pass *p)
{
    return (struct rows){ .n = p->T, .example = p->example, .pos = p->pos };
}

/* y (M, module's rows) += the module's bias, where it has one. It is frozen, so that nothing of the
 * backward depends on it. */
static void add_bias(real *y, const struct layer_weights *w, enum module m, size_t M)
{
    size_t n = w->w[m].rows;
    const real *bias = w->bias[m];
    if (!bias) return;
#pragma omp parallel for schedule(static) if (M > 16)
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < n; j++) y[i * n + j] += bias[j];
}

/* ---- fewer rows ---------------------------------------------------------------------------------
 * Rows that go on are moved to the front of an array and back to their places without a second
 * array, which their ascending order allows. */

/* The order of rows matters, that of columns does not: each thread moves some columns of all
 * rows. */
enum { MOVED_COLUMNS = 256 };

/* y (rows->n, width) = the rows of x; y may be x */
static void rows_gather(real *y, const real *x, const struct rows *rows, size_t width)
{
#pragma omp parallel for schedule(static)
    for (size_t from = 0; from < width; from += MOVED_COLUMNS) {
        size_t n = width - from < MOVED_COLUMNS ? width - from : MOVED_COLUMNS;
        for (size_t i = 0; i < rows->n; i++)
            memmove(y + i * width + from, x + rows->at[i] * width + from, n * sizeof(real));
    }
}

/* The columns [from, from + n) of rows [first, end) = 0 */
static void zero_rows(real *x, size_t first, size_t end, size_t width, size_t from, size_t n)
{
    for (size_t i = first; i < end; i++) memset(x + i * width + from, 0, n * sizeof(real));
}

/* The first rows->n of T rows of x to their places, zeros to all others. */
static void rows_spread(real *x, const struct rows *rows, size_t T, size_t width)
{
#pragma omp parallel for schedule(static)
    for (size_t from = 0; from < width; from += MOVED_COLUMNS) {
        size_t n = width - from < MOVED_COLUMNS ? width - from : MOVED_COLUMNS, end = T;
        for (size_t i = rows->n; i-- > 0; end = rows->at[i]) {
            zero_rows(x, rows->at[i] + 1, end, width, from, n);
            memmove(x + rows->at[i] * width + from, x + i * width + from, n * sizeof(real));
        }
        zero_rows(x, 0, end, width, from, n);
    }
}

/* The queries of those rows; others are zero, and their outputs are not read. Overwrites n->x. */
static void queries_forward(struct network *n, const struct lora *l, const struct block *b,
                            const struct layer_act *a)
{
    const struct dims *s = &n->base->dims;
    const struct rows *rows = &b->rows;
    rows_gather(n->x, n->x, rows, s->C);
    rows_gather(n->du, a->u[GROUP_QKV], rows, adapter_width(l->adapter, GROUP_QKV));
    struct lora_output q = { .m = Q_PROJ, .y = a->q };
    lora_product(l, &q, n->x, n->du, rows->n);
    add_bias(a->q, &n->base->layer[b->layer], Q_PROJ, rows->n);
    rows_spread(a->q, rows, b->pass->T, s->H * s->D);
}

/* dx (T, C) += what flows back through the frozen weight of the queries; compacts dq. */
static void queries_backward(struct network *n, const struct lora *l, const struct rows *rows,
                             real *dx)
{
    const struct dims *s = &n->base->dims;
    size_t Q = s->H * s->D;
    rows_gather(n->dq, n->dq, rows, Q);
    struct term t = { .a = n->dq, .lda = Q, .w = &l->w[Q_PROJ], .K = Q };
    n->k->matmul(n->wide, s->C, &t, 1, rows->n, s->C, false, n->product_work);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows->n; i++)
        for (size_t c = 0; c < s->C; c++) dx[rows->at[i] * s->C + c] += n->wide[i * s->C + c];
}

/* ---- the cache ------------------------------------------------------------------------------- */

/* Whether the cache holds earlier tokens, so that the pass has only the newest ones. */
static bool has_earlier(const struct block *b)
{
    return b->cache && b->cache->length[0] > b->pass->seg[0].len;
}

/* Append keys and values of the pass's rows to the cache. kv: the width of a row. */
static void cache_append(const struct cache *c, const struct pass *p, const struct layer_act *a,
                         size_t kv)
{
    for (size_t i = 0; i < p->n_seg; i++) {
        size_t from = p->seg[i].start * kv, bytes = p->seg[i].len * kv * sizeof(real);
        size_t to = (i * c->max_keys + c->length[i] - p->seg[i].len) * kv;
        memcpy(c->k + to, a->k + from, bytes);
        memcpy(c->v + to, a->v + from, bytes);
    }
}

/* ---- forward and backward -------------------------------------------------------------------- */

void block_forward(struct network *n, const struct block *b, const struct layer_act *a,
                   enum keep from, real *out)
{
    const struct dims *s = &n->base->dims;
    const struct layer_weights *w = &n->base->layer[b->layer];
    const struct kernels *k = n->k;
    const struct pass *p = b->pass;
    const struct cache *cache = b->cache;
    const struct rows all = all_rows(p), *rows = &b->rows;
    const bool earlier = has_earlier(b), fewer = rows->at;
    const size_t T = p->T, H = s->H, G = s->G, D = s->D, C = s->C;
    const real eps = (real)s->norm_eps;
    struct lora l = block_lora(n, b);
    l.few_rows = earlier;

    if (from == KEEP_INPUT) {
        /* x1 = rmsnorm(h) */
        k->rmsnorm_forward(n->x, a->rstd1, a->h, w->norm1, T, C, eps);

        /* q, k, v = x1 W^T + LoRA + bias; q only of the rows that go on */
        struct lora_output qkv[3] = { { .m = Q_PROJ, .y = a->q },
                                      { .m = K_PROJ, .y = a->k },
                                      { .m = V_PROJ, .y = a->v } };
        lora_forward(&l, GROUP_QKV, fewer ? qkv + 1 : qkv, fewer ? 2 : 3, n->x, a->u[GROUP_QKV],
                     &all);
        for (size_t i = fewer; i < 3; i++) add_bias(qkv[i].y, w, qkv[i].m, T);
        if (fewer) queries_forward(n, &l, b, a);

        /* q, k turn by the angle of their position */
        k->rope_half_forward(a->q, n->cosines, n->sines, T, H, D);
        k->rope_half_forward(a->k, n->cosines, n->sines, T, G, D);

        /* att = softmax(q k^T / sqrt(D)) v, over the row's own past */
        if (cache) cache_append(cache, p, a, G * D);
        if (earlier) {
            k->attention_decode(a->att, a->q, cache->k, cache->v, cache->keys, T, cache->stride,
                                cache->max_keys, H, G, D, cache->scores);
        } else {
            k->attention_forward(a->att, a->lse, a->q, a->k, a->v, p->seg, p->n_seg, T, H, G, D,
                                 n->attention_work);
        }

        /* mid = h + att Wo^T + LoRA; from here on only rows that go on */
        if (fewer) {
            rows_gather(a->mid, a->h, rows, C);
            rows_gather(a->att, a->att, rows, H * D);
        } else if (a->mid != a->h) {
            k->copy(a->mid, a->h, T * C);
        }
        struct lora_output o = { .m = O_PROJ, .y = a->mid, .accumulate = true };
        lora_forward(&l, GROUP_O, &o, 1, a->att, a->u[GROUP_O], rows);
        if (n->limits.train && n->limits.bf16) k->round_bf16(a->mid, rows->n * C);
    }

    /* x2 = rmsnorm(mid) */
    k->rmsnorm_forward(n->x, a->rstd2, a->mid, w->norm2, rows->n, C, eps);

    /* gate, up = x2 W^T + LoRA */
    struct lora_output gate_up[2] = { { .m = GATE_PROJ, .y = a->gate },
                                      { .m = UP_PROJ, .y = a->up } };
    lora_forward(&l, GROUP_GATE_UP, gate_up, 2, n->x, a->u[GROUP_GATE_UP], rows);
    if (!out) return;

    /* y = silu(gate) * up */
    k->swiglu_forward(n->y, a->gate, a->up, rows->n * s->F);

    /* out = mid + y Wd^T + LoRA */
    if (out != a->mid) k->copy(out, a->mid, rows->n * C);
    struct lora_output down = { .m = DOWN_PROJ, .y = out, .accumulate = true };
    lora_forward(&l, GROUP_DOWN, &down, 1, n->y, a->u[GROUP_DOWN], rows);
}

void block_backward(struct network *n, const struct block *b, const struct layer_act *a,
                    bool lowest, real *grad)
{
    const struct dims *s = &n->base->dims;
    const struct layer_weights *w = &n->base->layer[b->layer];
    const struct kernels *k = n->k;
    const struct pass *p = b->pass;
    const struct rows all = all_rows(p), *rows = &b->rows;
    const size_t T = p->T, H = s->H, G = s->G, D = s->D, C = s->C;
    const real eps = (real)s->norm_eps;
    const struct lora l = block_lora(n, b);
    /* How far down gradients are wanted: the lowest block ends with its lowest pair. */
    const size_t *modules = n->adapter->group_modules;
    const bool to_h = !lowest, to_qkv = to_h || modules[GROUP_QKV];
    const bool to_mid = to_qkv || modules[GROUP_O], to_gate = to_mid || modules[GROUP_GATE_UP];

    /* out = mid + y Wd^T:  dy = dout Wd; dmid begins as dout. Both are dh. */
    k->swiglu_forward(n->y, a->gate, a->up, rows->n * s->F);
    struct lora_gradient down = { .m = DOWN_PROJ, .dy = n->dh };
    real *dy = to_gate ? n->wide : NULL;
    lora_backward(&l, GROUP_DOWN, &down, 1, n->y, a->u[GROUP_DOWN], rows, dy, grad);
    if (!to_gate) return;

    /* y = silu(gate) * up: gate and up are not needed again, dgate and dup take their places */
    k->swiglu_backward(a->gate, a->up, dy, a->gate, a->up, rows->n * s->F);

    /* gate, up = x2 W^T:  dx2 = dgate Wg + dup Wu */
    k->rmsnorm_forward(n->x, a->rstd2, a->mid, w->norm2, rows->n, C, eps);
    struct lora_gradient gate_up[2] = { { .m = GATE_PROJ, .dy = a->gate },
                                        { .m = UP_PROJ, .dy = a->up } };
    real *dx2 = to_mid ? n->dx : NULL;
    lora_backward(&l, GROUP_GATE_UP, gate_up, 2, n->x, a->u[GROUP_GATE_UP], rows, dx2, grad);
    if (!to_mid) return;

    /* x2 = rmsnorm(mid):  dmid += ... */
    k->rmsnorm_backward(n->dh, dx2, a->mid, w->norm2, a->rstd2, rows->n, C);

    /* mid = h + att Wo^T:  datt = dmid Wo; dh begins as dmid */
    struct lora_gradient o = { .m = O_PROJ, .dy = n->dh };
    real *datt = to_qkv ? n->wide : NULL;
    lora_backward(&l, GROUP_O, &o, 1, a->att, a->u[GROUP_O], rows, datt, grad);
    if (!to_qkv) return;
    if (rows->at) { /* from here on all rows; those that did not go on have no gradient */
        rows_spread(n->dh, rows, T, C);
        rows_spread(datt, rows, T, H * D);
        rows_spread(a->att, rows, T, H * D);
    }

    /* att = attention(q, k, v), and back by the same angles */
    k->attention_backward(n->dq, n->dk, n->dv, datt, a->q, a->k, a->v, a->att, a->lse, p->seg,
                          p->n_seg, T, H, G, D, n->attention_work);
    k->rope_half_backward(n->dq, n->cosines, n->sines, T, H, D);
    k->rope_half_backward(n->dk, n->cosines, n->sines, T, G, D);

    /* q, k, v = x1 W^T:  dx1 = dq Wq + dk Wk + dv Wv */
    k->rmsnorm_forward(n->x, a->rstd1, a->h, w->norm1, T, C, eps);
    struct lora_gradient qkv[3] = { { .m = Q_PROJ, .dy = n->dq, .adapter_only = rows->at },
                                    { .m = K_PROJ, .dy = n->dk },
                                    { .m = V_PROJ, .dy = n->dv } };
    real *dx1 = to_h ? n->dx : NULL;
    lora_backward(&l, GROUP_QKV, qkv, 3, n->x, a->u[GROUP_QKV], &all, dx1, grad);
    if (!to_h) return;
    if (rows->at) queries_backward(n, &l, rows, dx1);

    /* x1 = rmsnorm(h):  dh += ... */
    k->rmsnorm_backward(n->dh, dx1, a->h, w->norm1, a->rstd1, T, C);
}
