#include "src/model/activations.h"

#include <math.h>
#include <string.h>

/* ---- the plan -------------------------------------------------------------------------------- */

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

static real *reals(struct arena *a, size_t n)
{
    return arena_take(a, n, sizeof(real));
}

/* What attention keeps, from norm to mid: the large values, and the small ones, which stay in
 * float. */
static void carve_attention_large(struct network *n, struct arena *a, struct layer_act *act)
{
    const struct dims *s = &n->base->dims;
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
    act->lse = reals(a, T * n->base->dims.H);
    act->u[GROUP_QKV] = reals(a, T * adapter_width(n->adapter, GROUP_QKV));
    act->u[GROUP_O] = reals(a, T * adapter_width(n->adapter, GROUP_O));
}

static void carve_mlp_large(struct network *n, struct arena *a, struct layer_act *act)
{
    size_t T = n->limits.rows_max, F = n->base->dims.F;
    act->gate = reals(a, T * F);
    act->up = reals(a, T * F);
}

static void carve_mlp_small(struct network *n, struct arena *a, struct layer_act *act)
{
    size_t T = n->limits.rows_max;
    act->rstd2 = reals(a, T);
    act->u[GROUP_GATE_UP] = reals(a, T * adapter_width(n->adapter, GROUP_GATE_UP));
}

/* It does not matter which layers recompute; lorac takes the lowest ones. */
enum keep network_keep(const struct network *n, size_t layer)
{
    if (layer < n->keeps[KEEP_INPUT]) return KEEP_INPUT;
    return layer < n->keeps[KEEP_INPUT] + n->keeps[KEEP_NO_MLP] ? KEEP_NO_MLP : KEEP_ALL;
}

/* Place the values that a layer keeps for its backward; those that it does not keep are
 * `shared`. */
static void carve_kept(struct network *n, struct arena *a, struct layer_act *own, enum keep keep)
{
    bool large = !n->limits.bf16;
    size_t T = n->limits.rows_max;
    if (large) own->h = reals(a, T * n->base->dims.C);
    own->u[GROUP_DOWN] = reals(a, T * adapter_width(n->adapter, GROUP_DOWN));
    if (keep != KEEP_INPUT) {
        carve_attention_small(n, a, own);
        if (large) carve_attention_large(n, a, own);
    }
    if (keep == KEEP_ALL) {
        carve_mlp_small(n, a, own);
        if (large) carve_mlp_large(n, a, own);
    }
}

static size_t stored_width(const struct dims *s, enum stored v)
{
    const size_t width[STORED_VALUES] = {
        [STORED_H] = s->C,        [STORED_MID] = s->C,      [STORED_Q] = s->H * s->D,
        [STORED_K] = s->G * s->D, [STORED_V] = s->G * s->D, [STORED_ATT] = s->H * s->D,
        [STORED_GATE] = s->F,     [STORED_UP] = s->F,
    };
    return width[v];
}

static void carve_stored(struct network *n, struct arena *a)
{
    const struct dims *s = &n->base->dims;
    n->stored = arena_take(a, s->layers, sizeof *n->stored);
    for (size_t l = 0; l < s->layers; l++)
        for (int v = 0; v < STORED_VALUES; v++) {
            enum keep keep = network_keep(n, l);
            bool kept = v == STORED_H || (keep != KEEP_INPUT && v < STORED_GATE) ||
                        keep == KEEP_ALL;
            uint16_t *p = NULL;
            if (kept) {
                p = arena_take(a, n->limits.rows_max * stored_width(s, (enum stored)v), sizeof *p);
            }
            if (n->stored) n->stored[l][v] = p;
        }
}

static void carve_layers(struct network *n, struct arena *a)
{
    const struct dims *s = &n->base->dims;
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
    if (!train) shared.u[GROUP_DOWN] = reals(a, T * adapter_width(n->adapter, GROUP_DOWN));
    struct layer_act *act = arena_take(a, s->layers, sizeof *act);
    for (size_t l = 0; l < s->layers; l++) {
        struct layer_act own = shared;
        if (train) carve_kept(n, a, &own, network_keep(n, l));
        if (act) act[l] = own;
    }
    n->act = act;
    if (train && bf16) carve_stored(n, a);
    n->out = train && !bf16 ? reals(a, T * s->C) : shared.h;
}

/* The other values that a pass needs from its first layer to its last gradient. */
static void carve_pass(struct network *n, struct arena *a)
{
    const struct dims *s = &n->base->dims;
    size_t T = n->limits.rows_max;
    n->cosines = reals(a, T * s->D / 2);
    n->sines = reals(a, T * s->D / 2);
    n->frequency = arena_take(a, s->D / 2, sizeof(double));
    if (n->limits.train) n->dh = reals(a, T * s->C);
    n->target_example = arena_take(a, T, sizeof *n->target_example);
    n->target_pos = arena_take(a, T, sizeof *n->target_pos);
    n->loss = arena_take(a, T, sizeof(double));
    n->hit = arena_take(a, T, 1);
    n->product_work = arena_take(a, n->k->matmul_work_bytes(), 1);
}

/* Values that a layer writes before it reads them and that no other layer needs. */
static void carve_scratch(struct network *n, struct arena *a)
{
    const struct dims *s = &n->base->dims;
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
    for (int g = 0; g < GROUPS; g++) most = largest(most, adapter_width(n->adapter, (enum group)g));
    n->du = reals(a, T * most);
    if (n->limits.dropout) n->dropped = reals(a, T * largest(s->C, inner));
    n->attention_work = arena_take(
        a, n->k->attention_work_bytes(T, n->limits.seg_max, s->H, s->G, s->D), 1);
}

/* Logits are made for some rows at a time, so that they never fill more than this. */
enum { LOGITS_BYTES = 64 << 20, HEAD_ROWS_MIN = 64, HEAD_ROWS_MAX = 512 };

static void carve_lm_head(struct network *n, struct arena *a)
{
    const struct dims *s = &n->base->dims;
    size_t rows = LOGITS_BYTES / sizeof(real) / s->V;
    if (rows < HEAD_ROWS_MIN) rows = HEAD_ROWS_MIN;
    if (rows > HEAD_ROWS_MAX) rows = HEAD_ROWS_MAX;
    if (rows > n->limits.rows_max) rows = n->limits.rows_max;
    n->lm_head_rows = rows;
    n->lm_head_h = reals(a, rows * s->C);
    n->lm_head_x = reals(a, rows * s->C);
    n->lm_head_dx = reals(a, rows * s->C);
    n->lm_head_rstd = reals(a, rows);
    n->lm_head_weight = reals(a, rows);
    n->logits = reals(a, rows * s->V);
}

/* Run once to count, once to place: the plan is exact because it is the same code. The head runs
 * between layers, so what it needs lies where their scratch does. */
static void carve(struct network *n, struct arena *a)
{
    carve_layers(n, a);
    carve_pass(n, a);
    size_t start = a->used;
    carve_lm_head(n, a);
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
static double recompute_cost(const struct dims *s, enum keep keep)
{
    double mlp = 2.0 * (double)(s->C * s->F);
    double attention = (double)s->C * 2.0 * (double)((s->H + s->G) * s->D);
    return keep == KEEP_ALL ? 0 : keep == KEEP_NO_MLP ? mlp : mlp + attention;
}

/* The cheapest mixture of levels that fits. */
static int choose_keeps(struct network *n, struct err *e)
{
    const struct dims *s = &n->base->dims;
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
    return err_code(
        e, ERR_BUDGET,
        "train.memory_budget: passes of %zu tokens need at least %.2f GiB for "
        "activations and workspace, and %.2f GiB are available; lower train.pass_tokens "
        "or data.max_length",
        n->limits.rows_max, (double)least / (1 << 30), (double)budget / (1 << 30));
}

int network_plan(struct network *n, const struct llama *base, const struct adapter *adapter,
                 const struct kernels *k, const struct network_limits *limits, struct err *e)
{
    *n = (struct network){ .base = base, .adapter = adapter, .k = k, .limits = *limits };
    n->keeps[KEEP_ALL] = base->dims.layers;
    int code = limits->train ? choose_keeps(n, e) : 0;
    n->bytes = count_bytes(n);
    return code;
}

double network_repeated_flops(const struct network *n)
{
    double flops = 0;
    for (int keep = 0; keep < KEEPS; keep++)
        flops += 2 * (double)n->keeps[keep] * recompute_cost(&n->base->dims, (enum keep)keep);
    return flops;
}

int network_map(struct network *n, struct err *e)
{
    n->arena.used = n->bytes;
    int code = arena_map(&n->arena, e);
    if (code) return code;
    carve(n, &n->arena);
    dims_rope_frequencies(n->frequency, &n->base->dims);
    return 0;
}

void network_free(struct network *n)
{
    arena_unmap(&n->arena);
    *n = (struct network){ 0 };
}

/* ---- kept as bf16 ---------------------------------------------------------------------------- */

static real *stored_value(const struct layer_act *a, enum stored v)
{
    real *const value[STORED_VALUES] = {
        [STORED_H] = a->h, [STORED_MID] = a->mid, [STORED_Q] = a->q,       [STORED_K] = a->k,
        [STORED_V] = a->v, [STORED_ATT] = a->att, [STORED_GATE] = a->gate, [STORED_UP] = a->up,
    };
    return value[v];
}

/* How many numbers a value of the block has. */
static size_t stored_count(const struct network *n, size_t T, size_t after, enum stored v)
{
    bool late = v == STORED_MID || v == STORED_ATT || v == STORED_GATE || v == STORED_UP;
    return (late ? after : T) * stored_width(&n->base->dims, v);
}

/* Keep values [from, to) of the block. */
void activations_store(struct network *n, size_t layer, size_t T, size_t after, enum stored from,
                       enum stored to)
{
    for (enum stored v = from; v < to; v++) {
        uint16_t *kept = n->stored[layer][v];
        if (kept)
            n->k->to_bf16(kept, stored_value(&n->act[layer], v), stored_count(n, T, after, v));
    }
}

/* Bring back what was kept. */
void activations_load(struct network *n, size_t layer, size_t T, size_t after)
{
    for (enum stored v = 0; v < STORED_VALUES; v++) {
        const uint16_t *kept = n->stored[layer][v];
        if (kept)
            n->k->from_bf16(stored_value(&n->act[layer], v), kept, stored_count(n, T, after, v));
    }
}

/* Round values that were computed again as if they had been kept. */
void activations_round(struct network *n, size_t layer, size_t T, size_t after)
{
    for (enum stored v = STORED_Q; v < STORED_VALUES; v++) {
        if (n->stored[layer][v]) continue;
        n->k->round_bf16(stored_value(&n->act[layer], v), stored_count(n, T, after, v));
    }
}
