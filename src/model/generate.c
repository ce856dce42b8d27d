#include "src/model/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/base/waiting.h"
#include "src/model/layer.h"

/* Few rows read the weights straight from storage; more are worth packing. */
enum { MATVEC_ROWS = 4 };

static void carve(struct generator *g, struct arena *a, size_t prompt_rows)
{
    const struct shape *s = &g->net.base->shape;
    size_t cache = s->layers * g->n_seq * g->max_keys * s->G * s->D;
    g->length = arena_take(a, g->n_seq, sizeof *g->length);
    g->rows = arena_take(a, prompt_rows, sizeof *g->rows);
    g->prompt.ids = arena_take(a, prompt_rows, sizeof *g->prompt.ids);
    g->prompt.pos = arena_take(a, prompt_rows, sizeof *g->prompt.pos);
    g->prompt.seg = arena_take(a, g->n_seq, sizeof *g->prompt.seg);
    g->k = arena_take(a, cache, sizeof(real));
    g->v = arena_take(a, cache, sizeof(real));
    g->logits = arena_take(a, g->n_seq * s->V, sizeof(real));
    g->scores = arena_take(a, g->n_seq * s->H * g->max_keys, sizeof(real));
}

int generator_init(struct generator *g, const struct llama *base, const struct adapter *adapter,
                   const struct kernels *k, size_t n_seq, size_t prompt_rows, size_t max_keys,
                   struct err *e)
{
    *g = (struct generator){ .n_seq = n_seq, .max_keys = max_keys };
    struct network_limits limits = { .rows_max = prompt_rows, .seg_max = n_seq };
    int code = network_plan(&g->net, base, adapter, k, &limits, e);
    if (!code) code = network_map(&g->net, e);
    if (!code) {
        carve(g, &g->arena, prompt_rows);
        code = arena_map(&g->arena, e);
    }
    if (!code) carve(g, &g->arena, prompt_rows);
    if (code) generator_free(g);
    return code;
}

void generator_free(struct generator *g)
{
    network_free(&g->net);
    arena_unmap(&g->arena);
    *g = (struct generator){ 0 };
}

/* Where row `at` of sequence i of a layer lies in the caches. */
static size_t cache_at(const struct generator *g, size_t layer, size_t i, size_t at)
{
    const struct shape *s = &g->net.base->shape;
    return ((layer * g->n_seq + i) * g->max_keys + at) * s->G * s->D;
}

/* ---- prompts -------------------------------------------------------------------------------- */

static void lay_out(struct pass *p, const int32_t *const *prompt, const size_t *n, size_t n_seq)
{
    p->T = 0;
    p->n_seg = n_seq;
    for (size_t i = 0; i < n_seq; i++) {
        p->seg[i] = (struct segment){
            .start = (uint32_t)p->T, .len = (uint32_t)n[i], .parent = -1, .tree = (uint32_t)i
        };
        for (size_t j = 0; j < n[i]; j++, p->T++) {
            p->ids[p->T] = prompt[i][j];
            p->pos[p->T] = (uint32_t)j;
        }
    }
}

void generator_begin(struct generator *g, const int32_t *const *prompt, const size_t *n)
{
    const struct shape *s = &g->net.base->shape;
    size_t T = 0, kv = s->G * s->D;
    for (size_t i = 0; i < g->n_seq; i++) T += n[i];
    CHECK(T <= g->net.limits.rows_max);
    struct pass *p = &g->prompt;
    lay_out(p, prompt, n, g->n_seq);
    network_embed(&g->net, p);
    for (size_t l = 0; l < s->layers; l++) {
        network_forward(&g->net, p, l, l + 1, NULL);
        for (size_t i = 0; i < g->n_seq; i++) {
            size_t from = p->seg[i].start * kv, bytes = n[i] * kv * sizeof(real);
            memcpy(g->k + cache_at(g, l, i, 0), g->net.act[l].k + from, bytes);
            memcpy(g->v + cache_at(g, l, i, 0), g->net.act[l].v + from, bytes);
        }
    }
    for (size_t i = 0; i < g->n_seq; i++) {
        g->length[i] = (uint32_t)n[i];
        g->rows[i] = p->seg[i].start + p->seg[i].len - 1;
    }
    network_logits(&g->net, g->rows, g->n_seq, g->logits);
}

/* ---- single tokens -------------------------------------------------------------------------- */

/* Block l for the newest token of every sequence; h (n_seq, C) in place. */
static void step_layer(struct generator *g, size_t l, real *h, bool matvec)
{
    struct network *n = &g->net;
    const struct shape *s = &n->base->shape;
    const struct layer_weights *w = &n->base->layer[l];
    const struct kernels *k = n->k;
    struct layer_act *a = &n->act[l];
    size_t M = g->n_seq, kv = s->G * s->D;
    k->rmsnorm_forward(n->x, a->rstd1, h, w->norm1, M, s->C, (real)s->norm_eps);
    struct projection qkv[3] = { { .m = Q_PROJ, .y = a->q },
                                 { .m = K_PROJ, .y = a->k },
                                 { .m = V_PROJ, .y = a->v } };
    project(n, l, GROUP_QKV, qkv, 3, n->x, a->u[GROUP_QKV], M, matvec);
    k->rope_half_forward(a->q, n->cosines, n->sines, M, s->H, s->D);
    k->rope_half_forward(a->k, n->cosines, n->sines, M, s->G, s->D);
    for (size_t i = 0; i < M; i++) {
        size_t at = cache_at(g, l, i, g->length[i] - 1);
        memcpy(g->k + at, a->k + i * kv, kv * sizeof(real));
        memcpy(g->v + at, a->v + i * kv, kv * sizeof(real));
    }
    size_t layer_at = cache_at(g, l, 0, 0);
    k->attention_decode(a->att, a->q, g->k + layer_at, g->v + layer_at, g->length, M,
                        g->max_keys * kv, g->max_keys, s->H, s->G, s->D, g->scores);
    struct projection o = { .m = O_PROJ, .y = h, .accumulate = true };
    project(n, l, GROUP_O, &o, 1, a->att, a->u[GROUP_O], M, matvec);
    k->rmsnorm_forward(n->x, a->rstd2, h, w->norm2, M, s->C, (real)s->norm_eps);
    struct projection gate_up[2] = { { .m = GATE_PROJ, .y = a->gate },
                                     { .m = UP_PROJ, .y = a->up } };
    project(n, l, GROUP_GATE_UP, gate_up, 2, n->x, a->u[GROUP_GATE_UP], M, matvec);
    k->swiglu_forward(n->y, a->gate, a->up, M * s->F);
    struct projection down = { .m = DOWN_PROJ, .y = h, .accumulate = true };
    project(n, l, GROUP_DOWN, &down, 1, n->y, a->u[GROUP_DOWN], M, matvec);
}

void generator_step(struct generator *g, const int32_t *token)
{
    struct network *n = &g->net;
    const struct shape *s = &n->base->shape;
    size_t M = g->n_seq, half = s->D / 2;
    bool matvec = M <= MATVEC_ROWS;
    real *h = n->out;
    waiting_begin();
    for (size_t i = 0; i < M; i++) {
        CHECK(g->length[i] < g->max_keys);
        n->k->widen(h + i * s->C, &n->base->embedding, (size_t)token[i], 0, s->C);
        for (size_t j = 0; j < half; j++) {
            double angle = (double)g->length[i] * n->frequency[j];
            n->cosines[i * half + j] = (real)cos(angle);
            n->sines[i * half + j] = (real)sin(angle);
        }
        g->length[i]++;
    }
    for (size_t l = 0; l < s->layers; l++) step_layer(g, l, h, matvec);
    n->k->rmsnorm_forward(n->x, n->act[0].rstd1, h, n->base->norm, M, s->C, (real)s->norm_eps);
    if (matvec) {
        struct row_product head = { .y = g->logits,
                                    .ldy = s->V,
                                    .x = n->x,
                                    .ldx = s->C,
                                    .w = &n->base->head,
                                    .N = s->V,
                                    .K = s->C };
        n->k->matvec(&head, 1, M);
    } else {
        struct term t = { .a = n->x, .lda = s->C, .w = &n->base->head, .K = s->C, .b_rows = true };
        n->k->matmul(g->logits, s->V, &t, 1, M, s->V, false, n->product_work);
    }
    waiting_end();
}

/* ---- choosing a token ----------------------------------------------------------------------- */

/* Whether token a comes before token b: by weight, the first of equals. */
static bool before(const real *weight, uint32_t a, uint32_t b)
{
    return weight[a] != weight[b] ? weight[a] > weight[b] : a < b;
}

/* A heap of tokens whose root comes before all others: sorting a whole vocabulary takes longer than a
 * small model's step, while only the likeliest few are ever asked for. */
static void sift(uint32_t *heap, size_t n, size_t at, const real *weight)
{
    uint32_t token = heap[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(weight, heap[child + 1], heap[child])) child++;
        if (!before(weight, heap[child], token)) break;
        heap[at] = heap[child];
    }
    heap[at] = token;
}

/* Takes the likeliest of the n tokens of the heap away, and leaves it behind their end. */
static uint32_t pop(uint32_t *heap, size_t n, const real *weight)
{
    uint32_t top = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    sift(heap, n - 1, 0, weight);
    return top;
}

/* Probability, but for a common factor. */
static double odds(real logit, double top, const struct sampling *s)
{
    return exp(((double)logit - top) / s->temperature);
}

int32_t sample_token(const real *logits, size_t V, const struct sampling *s, uint32_t sequence,
                     uint64_t number, uint32_t *scratch)
{
    size_t best = 0, strange = 0;
    for (size_t j = 0; j < V; j++) {
        strange += logits[j] != logits[j];
        if (logits[j] > logits[best]) best = j;
    }
    if (strange || !isfinite(logits[best])) return -1;
    if (s->temperature <= 0) return (int32_t)best;
    for (size_t j = 0; j < V; j++) scratch[j] = (uint32_t)j;
    for (size_t j = V / 2; j-- > 0;) sift(scratch, V, j, logits);
    /* What is taken piles up behind the heap: number i of the likeliest is scratch[V - 1 - i]. */
    size_t n = s->top_k && s->top_k < V ? s->top_k : V, taken = 0;
    double top = (double)logits[best], sum = 0;
    for (; n < V && taken < n; taken++)
        sum += odds(logits[pop(scratch, V - taken, logits)], top, s);
    for (size_t j = 0; n == V && j < V; j++) sum += odds(logits[j], top, s);
    /* the fewest tokens whose probability reaches top_p, at least one */
    size_t m = s->top_p < 1 ? 0 : n;
    double kept = s->top_p < 1 ? 0 : sum;
    while (m < n && (m == 0 || kept < s->top_p * sum)) {
        if (m == taken) pop(scratch, V - taken++, logits);
        kept += odds(logits[scratch[V - 1 - m++]], top, s);
    }
    double at = rng_unit(s->seed, RNG_SAMPLE, sequence, number) * kept;
    for (size_t j = 0; j < m; j++) {
        if (j == taken) pop(scratch, V - taken++, logits);
        at -= odds(logits[scratch[V - 1 - j]], top, s);
        if (at < 0) return (int32_t)scratch[V - 1 - j];
    }
    return (int32_t)best; /* sums in another order may leave a rounding error */
}
