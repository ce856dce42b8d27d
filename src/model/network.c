#include "src/model/network.h"

#include <math.h>
#include <string.h>

#include "src/base/waiting.h"
#include "src/model/layer.h"

/* ---- the plan ------------------------------------------------------------------------------- */

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static real *reals(struct arena *a, size_t n)
{
    return arena_take(a, n, sizeof(real));
}

static size_t u_width(const struct network *n, enum group g)
{
    return n->adapter ? n->adapter->group_targets[g] * n->adapter->r : 0;
}

/* What attention keeps, from norm to mid: the large values, and the small ones, which stay in float. */
static void carve_attention_large(struct network *n, struct arena *a, struct layer_act *act)
{
    const struct shape *s = &n->base->shape;
    size_t T = n->limits.rows_max;
    act->q = reals(a, T * s->H * s->D);
    act->k = reals(a, T * s->G * s->D);
    act->v = reals(a, T * s->G * s->D);
    act->att = reals(a, T * s->H * s->D);
    act->mid = reals(a, T * s->C);
}

static void carve_attention_small(struct network *n, struct arena *a, struct layer_act *act)
{
    size_t T = n->limits.rows_max;
    act->rstd1 = reals(a, T);
    act->lse = reals(a, T * n->base->shape.H);
    act->u[GROUP_QKV] = reals(a, T * u_width(n, GROUP_QKV));
    act->u[GROUP_O] = reals(a, T * u_width(n, GROUP_O));
}

static void carve_mlp_large(struct network *n, struct arena *a, struct layer_act *act)
{
    size_t T = n->limits.rows_max, F = n->base->shape.F;
    act->gate = reals(a, T * F);
    act->up = reals(a, T * F);
}

static void carve_mlp_small(struct network *n, struct arena *a, struct layer_act *act)
{
    size_t T = n->limits.rows_max;
    act->rstd2 = reals(a, T);
    act->u[GROUP_GATE_UP] = reals(a, T * u_width(n, GROUP_GATE_UP));
}

/* Which layers recompute does not matter; the lowest ones do. */
static enum keep keep_of(const struct network *n, size_t layer)
{
    if (layer < n->keeps[KEEP_INPUT]) return KEEP_INPUT;
    return layer < n->keeps[KEEP_INPUT] + n->keeps[KEEP_NO_MLP] ? KEEP_NO_MLP : KEEP_ALL;
}

/* What of its own a layer keeps for its backward; the rest is `shared`. */
static void carve_kept(struct network *n, struct arena *a, struct layer_act *own, enum keep keep)
{
    bool large = !n->limits.bf16;
    size_t T = n->limits.rows_max;
    if (large) own->h = reals(a, T * n->base->shape.C);
    own->u[GROUP_DOWN] = reals(a, T * u_width(n, GROUP_DOWN));
    if (keep != KEEP_INPUT) {
        carve_attention_small(n, a, own);
        if (large) carve_attention_large(n, a, own);
    }
    if (keep == KEEP_ALL) {
        carve_mlp_small(n, a, own);
        if (large) carve_mlp_large(n, a, own);
    }
}

static size_t half_width(const struct shape *s, enum half h)
{
    const size_t width[HALVES] = {
        [HALF_H] = s->C,        [HALF_MID] = s->C,      [HALF_Q] = s->H * s->D,
        [HALF_K] = s->G * s->D, [HALF_V] = s->G * s->D, [HALF_ATT] = s->H * s->D,
        [HALF_GATE] = s->F,     [HALF_UP] = s->F,
    };
    return width[h];
}

static void carve_halves(struct network *n, struct arena *a)
{
    const struct shape *s = &n->base->shape;
    n->half = arena_take(a, s->layers, sizeof *n->half);
    for (size_t l = 0; l < s->layers; l++)
        for (int h = 0; h < HALVES; h++) {
            enum keep keep = keep_of(n, l);
            bool kept = h == HALF_H || (keep != KEEP_INPUT && h < HALF_GATE) || keep == KEEP_ALL;
            uint16_t *p = NULL;
            if (kept) {
                p = arena_take(a, n->limits.rows_max * half_width(s, (enum half)h), sizeof *p);
            }
            if (n->half) n->half[l][h] = p;
        }
}

static void carve_layers(struct network *n, struct arena *a)
{
    const struct shape *s = &n->base->shape;
    size_t T = n->limits.rows_max;
    bool train = n->limits.train, bf16 = n->limits.bf16;
    struct layer_act shared = { 0 };
    if (!train || bf16 || n->keeps[KEEP_INPUT]) {
        carve_attention_small(n, a, &shared);
        carve_attention_large(n, a, &shared);
    }
    if (!train || bf16 || n->keeps[KEEP_ALL] < s->layers) {
        carve_mlp_small(n, a, &shared);
        carve_mlp_large(n, a, &shared);
    }
    if (!train || bf16) shared.h = reals(a, T * s->C);
    if (!train) shared.u[GROUP_DOWN] = reals(a, T * u_width(n, GROUP_DOWN));
    struct layer_act *act = arena_take(a, s->layers, sizeof *act);
    for (size_t l = 0; l < s->layers; l++) {
        struct layer_act own = shared;
        if (train) carve_kept(n, a, &own, keep_of(n, l));
        if (act) act[l] = own;
    }
    n->act = act;
    if (train && bf16) carve_halves(n, a);
    n->out = train && !bf16 ? reals(a, T * s->C) : shared.h;
}

/* What a pass needs besides, from its first layer to its last gradient. */
static void carve_pass(struct network *n, struct arena *a)
{
    const struct shape *s = &n->base->shape;
    size_t T = n->limits.rows_max;
    n->cosines = reals(a, T * s->D / 2);
    n->sines = reals(a, T * s->D / 2);
    n->frequency = arena_take(a, s->D / 2, sizeof(double));
    if (n->limits.train) n->dh = reals(a, T * s->C);
    n->top.example = arena_take(a, T, sizeof *n->top.example);
    n->top.pos = arena_take(a, T, sizeof *n->top.pos);
    n->loss = arena_take(a, T, sizeof(double));
    n->hit = arena_take(a, T, 1);
    n->product_work = arena_take(a, n->k->matmul_work_bytes(), 1);
}

/* What one layer writes before it reads it, and no other looks for. */
static void carve_scratch(struct network *n, struct arena *a)
{
    const struct shape *s = &n->base->shape;
    size_t T = n->limits.rows_max, Q = s->H * s->D, inner = largest(s->F, Q);
    n->x = reals(a, T * s->C);
    n->y = reals(a, T * s->F);
    if (n->limits.train) {
        n->dx = reals(a, T * s->C);
        n->wide = reals(a, T * inner);
        n->dq = reals(a, T * Q);
        n->dk = reals(a, T * s->G * s->D);
        n->dv = reals(a, T * s->G * s->D);
    }
    size_t most = 0;
    for (int g = 0; g < GROUPS; g++) most = largest(most, u_width(n, (enum group)g));
    n->du = reals(a, T * most);
    if (n->limits.dropout) n->dropped = reals(a, T * largest(s->C, inner));
    n->attention_work = arena_take(
        a, n->k->attention_work_bytes(T, n->limits.seg_max, s->H, s->G, s->D), 1);
}

/* Logits are made for some rows at a time, so that they never fill more than this. */
enum { LOGITS_BYTES = 64 << 20, HEAD_ROWS_MIN = 64, HEAD_ROWS_MAX = 512 };

static void carve_head(struct network *n, struct arena *a)
{
    const struct shape *s = &n->base->shape;
    size_t rows = LOGITS_BYTES / sizeof(real) / s->V;
    if (rows < HEAD_ROWS_MIN) rows = HEAD_ROWS_MIN;
    if (rows > HEAD_ROWS_MAX) rows = HEAD_ROWS_MAX;
    if (rows > n->limits.rows_max) rows = n->limits.rows_max;
    n->head_rows = rows;
    n->head_h = reals(a, rows * s->C);
    n->head_x = reals(a, rows * s->C);
    n->head_dx = reals(a, rows * s->C);
    n->head_rstd = reals(a, rows);
    n->head_weight = reals(a, rows);
    n->logits = reals(a, rows * s->V);
}

/* Run once to count, once to place: the plan is exact because it is the same code. The head runs
 * between layers, so what it needs lies where their scratch does. */
static void carve(struct network *n, struct arena *a)
{
    carve_layers(n, a);
    carve_pass(n, a);
    size_t start = a->used;
    carve_head(n, a);
    size_t end = a->used;
    a->used = start;
    carve_scratch(n, a);
    a->used = largest(a->used, end);
}

static size_t count_bytes(struct network *n)
{
    struct arena a = { 0 };
    carve(n, &a);
    return a.used;
}

/* Multiply-adds per row that a block repeats. */
static double recompute_cost(const struct shape *s, enum keep keep)
{
    double mlp = 2.0 * (double)(s->C * s->F);
    double attention = (double)s->C * 2.0 * (double)((s->H + s->G) * s->D);
    return keep == KEEP_ALL ? 0 : keep == KEEP_NO_MLP ? mlp : mlp + attention;
}

/* The cheapest mixture of levels that fits. */
static int choose_keeps(struct network *n, struct err *e)
{
    const struct shape *s = &n->base->shape;
    size_t L = s->layers, budget = n->limits.budget_bytes, best[KEEPS] = { 0 }, least = SIZE_MAX;
    double best_cost = INFINITY;
    for (size_t input = 0; input <= L; input++) {
        for (size_t no_mlp = 0; input + no_mlp <= L; no_mlp++) {
            n->keeps[KEEP_INPUT] = input;
            n->keeps[KEEP_NO_MLP] = no_mlp;
            n->keeps[KEEP_ALL] = L - input - no_mlp;
            double cost = (double)input * recompute_cost(s, KEEP_INPUT) +
                          (double)no_mlp * recompute_cost(s, KEEP_NO_MLP);
            if (cost >= best_cost) continue;
            size_t bytes = count_bytes(n);
            if (bytes < least) least = bytes;
            if (budget && bytes > budget) continue;
            best_cost = cost;
            memcpy(best, n->keeps, sizeof best);
        }
    }
    memcpy(n->keeps, best, sizeof best);
    if (best_cost < INFINITY) return 0;
    return err_set(e,
                   "train.memory_budget: passes of %zu tokens need at least %.2f GiB for "
                   "activations and workspace, and %.2f GiB are to be had; lower train.pass_tokens "
                   "or data.max_length",
                   n->limits.rows_max, (double)least / (1 << 30), (double)budget / (1 << 30));
}

int network_plan(struct network *n, const struct llama *base, const struct adapter *adapter,
                 const struct kernels *k, const struct network_limits *limits, struct err *e)
{
    *n = (struct network){ .base = base, .adapter = adapter, .k = k, .limits = *limits };
    n->keeps[KEEP_ALL] = base->shape.layers;
    int code = limits->train ? choose_keeps(n, e) : 0;
    n->bytes = count_bytes(n);
    return code;
}

double network_repeated_flops(const struct network *n)
{
    double flops = 0;
    for (int keep = 0; keep < KEEPS; keep++)
        flops += 2 * (double)n->keeps[keep] * recompute_cost(&n->base->shape, (enum keep)keep);
    return flops;
}

int network_map(struct network *n, struct err *e)
{
    n->arena.used = n->bytes;
    int code = arena_map(&n->arena, e);
    if (code) return code;
    carve(n, &n->arena);
    shape_rope_frequencies(n->frequency, &n->base->shape);
    return 0;
}

void network_free(struct network *n)
{
    arena_unmap(&n->arena);
    *n = (struct network){ 0 };
}

/* ---- forward -------------------------------------------------------------------------------- */

static void choose_top(struct network *n, const struct pass *p)
{
    bool fewer = p->n_targets > 0 && p->n_targets < p->T;
    n->top_rows = fewer ? p->target_row : NULL;
    n->top.T = fewer ? p->n_targets : p->T;
    for (size_t i = 0; fewer && i < n->top.T; i++) {
        n->top.example[i] = p->example[n->top_rows[i]];
        n->top.pos[i] = p->pos[n->top_rows[i]];
    }
}

void network_embed(struct network *n, const struct pass *p)
{
    const struct shape *s = &n->base->shape;
    size_t half = s->D / 2;
    real *h = n->act[0].h;
    CHECK(p->T <= n->limits.rows_max && p->n_seg <= n->limits.seg_max);
    choose_top(n, p);
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < p->T; t++) {
        n->k->widen(h + t * s->C, &n->base->embedding, (size_t)p->ids[t], 0, s->C);
        for (size_t j = 0; j < half; j++) {
            double angle = (double)p->pos[t] * n->frequency[j];
            n->cosines[t * half + j] = (real)cos(angle);
            n->sines[t * half + j] = (real)sin(angle);
        }
    }
}

static real *half_value(const struct layer_act *a, enum half h)
{
    real *const value[HALVES] = {
        [HALF_H] = a->h, [HALF_MID] = a->mid, [HALF_Q] = a->q,       [HALF_K] = a->k,
        [HALF_V] = a->v, [HALF_ATT] = a->att, [HALF_GATE] = a->gate, [HALF_UP] = a->up,
    };
    return value[h];
}

/* Rows of a value of the block: those behind the attention of the last one may be fewer. */
static size_t half_count(const struct network *n, size_t layer, const struct pass *p, enum half h)
{
    bool behind = h == HALF_MID || h == HALF_ATT || h == HALF_GATE || h == HALF_UP;
    size_t rows = behind && layer + 1 == n->base->shape.layers ? n->top.T : p->T;
    return rows * half_width(&n->base->shape, h);
}

/* Keep values [from, to) of the block. */
static void halves_save(struct network *n, size_t layer, const struct pass *p, enum half from,
                        enum half to)
{
    for (enum half h = from; h < to; h++) {
        uint16_t *kept = n->half[layer][h];
        if (kept) n->k->to_bf16(kept, half_value(&n->act[layer], h), half_count(n, layer, p, h));
    }
}

/* Bring back what was kept. */
static void halves_load(struct network *n, size_t layer, const struct pass *p)
{
    for (enum half h = 0; h < HALVES; h++) {
        const uint16_t *kept = n->half[layer][h];
        if (kept) n->k->from_bf16(half_value(&n->act[layer], h), kept, half_count(n, layer, p, h));
    }
}

/* What was computed again gets the rounding that it would have been kept with. */
static void halves_round(struct network *n, size_t layer, const struct pass *p)
{
    for (enum half h = HALF_Q; h < HALVES; h++) {
        if (n->half[layer][h]) continue;
        n->k->round_bf16(half_value(&n->act[layer], h), half_count(n, layer, p, h));
    }
}

bool network_forward(struct network *n, const struct pass *p, size_t from, size_t to,
                     const struct stop *stop)
{
    size_t layers = n->base->shape.layers;
    bool bf16 = n->limits.train && n->limits.bf16, goes_on = true;
    waiting_begin();
    for (size_t l = from; l < to; l++) {
        goes_on = !stop_asked(stop);
        if (!goes_on) break;
        if (bf16) {
            n->k->round_bf16(n->act[l].h, half_count(n, l, p, HALF_H));
            halves_save(n, l, p, HALF_H, HALF_MID); /* its output takes its place */
        }
        layer_forward(n, l, p, &n->act[l], l + 1 < layers ? n->act[l + 1].h : n->out);
        if (bf16) halves_save(n, l, p, HALF_MID, HALVES);
    }
    waiting_end();
    return goes_on;
}

/* x (m, C) = final norm of rows of the last block's output, which are also left in head_h: those
 * listed, or where only rows with loss came so far, from `first` on */
static void gather_normed(struct network *n, const uint32_t *rows, size_t first, size_t m)
{
    const struct shape *s = &n->base->shape;
    for (size_t i = 0; i < m; i++) {
        size_t row = n->top_rows ? first + i : rows[first + i];
        memcpy(n->head_h + i * s->C, n->out + row * s->C, s->C * sizeof(real));
    }
    n->k->rmsnorm_forward(n->head_x, n->head_rstd, n->head_h, n->base->norm, m, s->C,
                          (real)s->norm_eps);
}

static void head_forward(struct network *n, size_t m, real *logits)
{
    const struct shape *s = &n->base->shape;
    struct term t = { .a = n->head_x, .lda = s->C, .w = &n->base->head, .K = s->C, .b_rows = true };
    n->k->matmul(logits, s->V, &t, 1, m, s->V, false, n->product_work);
}

/* dh at the same rows from the logits' gradient */
static void head_backward(struct network *n, const uint32_t *rows, size_t first, size_t m)
{
    const struct shape *s = &n->base->shape;
    struct term t = { .a = n->logits, .lda = s->V, .w = &n->base->head, .K = s->V };
    n->k->matmul(n->head_x, s->C, &t, 1, m, s->C, false, n->product_work);
    memset(n->head_dx, 0, m * s->C * sizeof(real));
    n->k->rmsnorm_backward(n->head_dx, n->head_x, n->head_h, n->base->norm, n->head_rstd, m, s->C);
    for (size_t i = 0; i < m; i++) {
        size_t row = n->top_rows ? first + i : rows[first + i];
        memcpy(n->dh + row * s->C, n->head_dx + i * s->C, s->C * sizeof(real));
    }
}

/* Whether the target is the largest of the logits that may be picked, the first of equals. */
static bool hits_unmuted(const real *z, size_t target, const uint8_t *mute, size_t V)
{
    if (mute[target]) return false;
    for (size_t v = 0; v < V; v++) {
        if (mute[v]) continue;
        if (z[v] > z[target] || (z[v] == z[target] && v < target)) return false;
    }
    return true;
}

double network_head(struct network *n, const struct pass *p, real scale, bool backward)
{
    const struct shape *s = &n->base->shape;
    if (backward) memset(n->dh, 0, n->top.T * s->C * sizeof(real));
    waiting_begin();
    for (size_t first = 0; first < p->n_targets; first += n->head_rows) {
        size_t m = p->n_targets - first;
        if (m > n->head_rows) m = n->head_rows;
        gather_normed(n, p->target_row, first, m);
        head_forward(n, m, n->logits);
        for (size_t i = 0; i < m; i++) n->head_weight[i] = scale * (real)p->weight[first + i];
        n->k->cross_entropy(n->loss + first, n->hit + first, n->logits, p->target + first,
                            n->head_weight, m, s->V, backward);
        for (size_t i = 0; n->mute && !backward && i < m; i++) {
            n->hit[first + i] = hits_unmuted(n->logits + i * s->V, (size_t)p->target[first + i],
                                             n->mute, s->V);
        }
        if (backward) head_backward(n, p->target_row, first, m);
    }
    waiting_end();
    double loss = 0;
    for (size_t i = 0; i < p->n_targets; i++) loss += n->loss[i] * (double)p->weight[i];
    return loss;
}

void network_logits(struct network *n, const uint32_t *rows, size_t n_rows, real *logits)
{
    CHECK(!n->top_rows);
    for (size_t first = 0; first < n_rows; first += n->head_rows) {
        size_t m = n_rows - first < n->head_rows ? n_rows - first : n->head_rows;
        gather_normed(n, rows, first, m);
        head_forward(n, m, logits + first * n->base->shape.V);
    }
}

/* ---- backward ------------------------------------------------------------------------------- */

bool network_backward(struct network *n, const struct pass *p, size_t from, size_t to, real *grad,
                      const struct stop *stop)
{
    bool goes_on = true;
    waiting_begin();
    for (size_t l = to; l-- > from;) {
        goes_on = !stop_asked(stop);
        if (!goes_on) break;
        struct layer_act *a = &n->act[l];
        if (n->limits.bf16) halves_load(n, l, p);
        if (keep_of(n, l) == KEEP_INPUT) layer_recompute(n, l, p, a);
        if (keep_of(n, l) == KEEP_NO_MLP) layer_recompute_mlp(n, l, p, a);
        if (n->limits.bf16) halves_round(n, l, p);
        layer_backward(n, l, p, a, l == 0, grad);
    }
    waiting_end();
    return goes_on;
}
