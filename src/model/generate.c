#include "src/model/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/base/waiting.h"
#include "src/model/block.h"

/* How many of n_seq sequences, or of the tokens appended to one, go through the model at once. */
static size_t step_rows(const struct generator *g)
{
    size_t rows = g->net.limits.rows_max < GENERATOR_APPEND ? g->net.limits.rows_max
                                                            : GENERATOR_APPEND;
    return g->n_seq == 1 ? rows : g->n_seq;
}

static void carve(struct generator *g, struct arena *a, size_t prompt_rows)
{
    const struct dims *s = &g->net.base->dims;
    size_t cache = s->layers * g->n_seq * g->max_keys * s->G * s->D;
    g->length = arena_take(a, g->n_seq, sizeof *g->length);
    g->keys = arena_take(a, prompt_rows, sizeof *g->keys);
    g->rows = arena_take(a, prompt_rows, sizeof *g->rows);
    g->pass.ids = arena_take(a, prompt_rows, sizeof *g->pass.ids);
    g->pass.pos = arena_take(a, prompt_rows, sizeof *g->pass.pos);
    g->pass.seg = arena_take(a, g->n_seq, sizeof *g->pass.seg);
    g->k = arena_take(a, cache, sizeof(real));
    g->v = arena_take(a, cache, sizeof(real));
    g->logits = arena_take(a, g->n_seq * s->V, sizeof(real));
    g->scores = arena_take(a, step_rows(g) * s->H * g->max_keys, sizeof(real));
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
    g->pass.n_seg = n_seq;
    if (code) generator_free(g);
    return code;
}

void generator_free(struct generator *g)
{
    network_free(&g->net);
    arena_unmap(&g->arena);
    *g = (struct generator){ 0 };
}

/* ---- passes ---------------------------------------------------------------------------------- */

/* Segment i of the pass: n tokens that go on with sequence i. */
static void append(struct generator *g, size_t i, const int32_t *token, size_t n)
{
    struct pass *p = &g->pass;
    CHECK(g->length[i] + n <= g->max_keys);
    p->seg[i] = (struct segment){
        .start = (uint32_t)p->T, .len = (uint32_t)n, .parent = -1, .tree = (uint32_t)i
    };
    for (size_t j = 0; j < n; j++, p->T++) {
        p->ids[p->T] = token[j];
        p->pos[p->T] = g->length[i]++;
        g->keys[p->T] = g->length[i];
    }
}

/* The pass through all blocks, whose keys and values join the caches. */
static void run(struct generator *g)
{
    struct network *n = &g->net;
    const struct dims *s = &n->base->dims;
    size_t sequence_keys = g->max_keys * s->G * s->D, layer_keys = g->n_seq * sequence_keys;
    network_embed(n, &g->pass);
    for (size_t l = 0; l < s->layers; l++) {
        struct cache cache = { .k = g->k + l * layer_keys,
                               .v = g->v + l * layer_keys,
                               .length = g->length,
                               .keys = g->keys,
                               .max_keys = g->max_keys,
                               .stride = g->n_seq > 1 ? sequence_keys : 0,
                               .scores = g->scores };
        struct block b = { .layer = l, .pass = &g->pass, .rows = n->target_rows, .cache = &cache };
        struct layer_act a = n->act[l];
        a.mid = a.h; /* the residual stream stays in one place */
        block_forward(n, &b, &a, KEEP_INPUT, n->out);
    }
}

void generator_begin(struct generator *g, const int32_t *const *prompt, const size_t *n)
{
    size_t T = 0;
    for (size_t i = 0; i < g->n_seq; i++) T += n[i];
    CHECK(T <= g->net.limits.rows_max);
    g->pass.T = 0;
    for (size_t i = 0; i < g->n_seq; i++) {
        g->length[i] = 0;
        append(g, i, prompt[i], n[i]);
        g->rows[i] = (uint32_t)g->pass.T - 1;
    }
    waiting_begin();
    run(g);
    network_logits(&g->net, g->rows, g->n_seq, g->logits);
    waiting_end();
}

void generator_step(struct generator *g, const int32_t *token)
{
    g->pass.T = 0;
    for (size_t i = 0; i < g->n_seq; i++) append(g, i, &token[i], 1);
    waiting_begin();
    run(g);
    network_next_logits(&g->net, g->n_seq, g->logits);
    waiting_end();
}

/* ---- more tokens for one sequence ------------------------------------------------------------ */

void generator_append(struct generator *g, const int32_t *token, size_t n)
{
    CHECK(g->n_seq == 1 && n > 0);
    size_t C = g->net.base->dims.C, rows = 0;
    waiting_begin();
    for (size_t at = 0; at < n; at += rows) {
        rows = n - at < step_rows(g) ? n - at : step_rows(g);
        g->pass.T = 0;
        append(g, 0, token + at, rows);
        run(g);
    }
    memmove(g->net.out, g->net.out + (rows - 1) * C, C * sizeof(real));
    network_next_logits(&g->net, 1, g->logits);
    waiting_end();
}

void generator_truncate(struct generator *g, size_t n)
{
    CHECK(g->n_seq == 1 && n <= g->length[0]);
    g->length[0] = (uint32_t)n;
}

void generator_take_over(struct generator *g, const struct generator *from)
{
    const struct dims *s = &g->net.base->dims;
    size_t n = from->length[0], kv = s->G * s->D, bytes = n * kv * sizeof(real);
    CHECK(g->n_seq == 1 && from->n_seq == 1 && n <= g->max_keys);
    for (size_t l = 0; l < s->layers; l++) {
        size_t to = l * g->max_keys * kv, at = l * from->max_keys * kv;
        memcpy(g->k + to, from->k + at, bytes);
        memcpy(g->v + to, from->v + at, bytes);
    }
    g->length[0] = (uint32_t)n;
}

/* ---- choosing a token ------------------------------------------------------------------------ */

/* Whether token a comes before token b: by weight, the first of equals. */
static bool before(const real *weight, uint32_t a, uint32_t b)
{
    return weight[a] != weight[b] ? weight[a] > weight[b] : a < b;
}

/* A heap of tokens whose root comes before all others: sorting a whole vocabulary takes longer than
 * a small model's step, while only the likeliest few are ever asked for. */
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

/* Take the likeliest of the n tokens out of the heap; it is left at heap[n - 1]. */
static uint32_t pop(uint32_t *heap, size_t n, const real *weight)
{
    uint32_t top = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    sift(heap, n - 1, 0, weight);
    return top;
}

/* Probability, up to a common factor. */
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
    /* The tokens taken pile up after the heap: number i of the likeliest is scratch[V - 1 - i]. */
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
