#include "src/model/network.h"

#include <math.h>
#include <string.h>

#include "src/base/waiting.h"
#include "src/model/block.h"

/* ---- forward --------------------------------------------------------------------------------- */

static void choose_target_rows(struct network *n, const struct pass *p)
{
    n->target_rows = (struct rows){ .n = p->T, .example = p->example, .pos = p->pos };
    if (p->n_targets == 0 || p->n_targets == p->T) return;
    for (size_t i = 0; i < p->n_targets; i++) {
        n->target_example[i] = p->example[p->target_row[i]];
        n->target_pos[i] = p->pos[p->target_row[i]];
    }
    n->target_rows = (struct rows){
        .n = p->n_targets, .at = p->target_row, .example = n->target_example, .pos = n->target_pos
    };
}

void network_embed(struct network *n, const struct pass *p)
{
    const struct dims *s = &n->base->dims;
    size_t half = s->D / 2;
    real *h = n->act[0].h;
    CHECK(p->T <= n->limits.rows_max && p->n_seg <= n->limits.seg_max);
    choose_target_rows(n, p);
#pragma omp parallel for schedule(static) if (p->T > 1)
    for (size_t t = 0; t < p->T; t++) {
        n->k->widen(h + t * s->C, &n->base->embedding, (size_t)p->ids[t], 0, s->C);
        for (size_t j = 0; j < half; j++) {
            double angle = (double)p->pos[t] * n->frequency[j];
            n->cosines[t * half + j] = (real)cos(angle);
            n->sines[t * half + j] = (real)sin(angle);
        }
    }
}

/* Block `layer` on the pass: only the last one drops rows after its attention. */
static struct block block_on(const struct network *n, const struct pass *p, size_t layer,
                             const struct dropout *drop)
{
    struct block b = { .layer = layer, .pass = p, .rows = n->target_rows, .drop = drop };
    if (layer + 1 < n->base->dims.layers)
        b.rows = (struct rows){ .n = p->T, .example = p->example, .pos = p->pos };
    return b;
}

/* Dropout in training; NULL: none. */
static const struct dropout *dropout_of(const struct network *n)
{
    return n->drop.p > 0 ? &n->drop : NULL;
}

static bool run_blocks(struct network *n, const struct pass *p, size_t from, size_t to,
                       const struct dropout *drop, const struct stop *stop)
{
    const struct dims *s = &n->base->dims;
    bool bf16 = n->limits.train && n->limits.bf16, goes_on = true;
    waiting_begin();
    for (size_t l = from; l < to; l++) {
        goes_on = !stop_asked(stop);
        if (!goes_on) break;
        struct block b = block_on(n, p, l, drop);
        const struct layer_act *a = &n->act[l];
        if (bf16) {
            n->k->round_bf16(a->h, p->T * s->C);
            /* its output takes its place */
            activations_store(n, l, p->T, b.rows.n, STORED_H, STORED_MID);
        }
        block_forward(n, &b, a, KEEP_INPUT, l + 1 < s->layers ? n->act[l + 1].h : n->out);
        if (bf16) activations_store(n, l, p->T, b.rows.n, STORED_MID, STORED_VALUES);
    }
    waiting_end();
    return goes_on;
}

bool network_forward(struct network *n, const struct pass *p, size_t from, size_t to,
                     const struct stop *stop)
{
    return run_blocks(n, p, from, to, dropout_of(n), stop);
}

bool network_evaluate(struct network *n, const struct pass *p, size_t from, size_t to,
                      const struct stop *stop)
{
    return run_blocks(n, p, from, to, NULL, stop);
}

/* ---- the head -----------------------------------------------------------------------------------
 *
 *     x = rmsnorm(out);  z = x W^T;  loss = -log softmax(z)[target]
 *     dz = weight * scale * (softmax(z) - one-hot);  dx = dz W;  dh = rmsnorm's backward of dx
 *
 * For rows with targets only and for some rows at a time, so that the logits of a pass never exist
 * all at once. */

/* Which row of the last block's output belongs to entry i of a list of rows: where only rows with a
 * target came so far, entry i of them. */
static size_t out_row(const struct network *n, const uint32_t *rows, size_t i)
{
    return n->target_rows.at ? i : rows[i];
}

/* x (m, C) = 0 */
static void zero(real *x, size_t m, size_t C)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < m; i++) memset(x + i * C, 0, C * sizeof(real));
}

/* x (m, C) = final norm of those rows from entry `first` on, which are also left in lm_head_h */
static void gather_normed(struct network *n, const uint32_t *rows, size_t first, size_t m)
{
    const struct dims *s = &n->base->dims;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < m; i++) {
        memcpy(n->lm_head_h + i * s->C, n->out + out_row(n, rows, first + i) * s->C,
               s->C * sizeof(real));
    }
    n->k->rmsnorm_forward(n->lm_head_x, n->lm_head_rstd, n->lm_head_h, n->base->norm, m, s->C,
                          (real)s->norm_eps);
}

/* logits (m, V) = x W^T */
static void lm_head_forward(struct network *n, const real *x, size_t m, real *logits)
{
    const struct dims *s = &n->base->dims;
    struct term t = { .a = x, .lda = s->C, .w = &n->base->head, .K = s->C, .b_rows = true };
    n->k->matmul(logits, s->V, &t, 1, m, s->V, false, n->product_work);
}

/* dh at the same rows from the logits' gradient */
static void lm_head_backward(struct network *n, const uint32_t *rows, size_t first, size_t m)
{
    const struct dims *s = &n->base->dims;
    struct term t = { .a = n->logits, .lda = s->V, .w = &n->base->head, .K = s->V };
    n->k->matmul(n->lm_head_x, s->C, &t, 1, m, s->C, false, n->product_work);
    zero(n->lm_head_dx, m, s->C);
    n->k->rmsnorm_backward(n->lm_head_dx, n->lm_head_x, n->lm_head_h, n->base->norm,
                           n->lm_head_rstd, m, s->C);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < m; i++) {
        memcpy(n->dh + out_row(n, rows, first + i) * s->C, n->lm_head_dx + i * s->C,
               s->C * sizeof(real));
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

/* hit (m) of the targets from `first` on, whose logits are there */
static void count_unmuted(struct network *n, const struct pass *p, size_t first, size_t m)
{
    size_t V = n->base->dims.V;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < m; i++)
        n->hit[first + i] = hits_unmuted(n->logits + i * V, (size_t)p->target[first + i], n->mute,
                                         V);
}

double network_lm_head(struct network *n, const struct pass *p, real scale, bool backward)
{
    const struct dims *s = &n->base->dims;
    if (backward) zero(n->dh, n->target_rows.n, s->C);
    waiting_begin();
    for (size_t first = 0; first < p->n_targets; first += n->lm_head_rows) {
        size_t m = p->n_targets - first;
        if (m > n->lm_head_rows) m = n->lm_head_rows;
        gather_normed(n, p->target_row, first, m);
        lm_head_forward(n, n->lm_head_x, m, n->logits);
        for (size_t i = 0; i < m; i++) n->lm_head_weight[i] = scale * (real)p->weight[first + i];
        n->k->cross_entropy(n->loss + first, n->hit + first, n->logits, p->target + first,
                            n->lm_head_weight, m, s->V, backward);
        if (n->mute && !backward) count_unmuted(n, p, first, m);
        if (backward) lm_head_backward(n, p->target_row, first, m);
    }
    waiting_end();
    double loss = 0;
    for (size_t i = 0; i < p->n_targets; i++) loss += n->loss[i] * (double)p->weight[i];
    return loss;
}

void network_logits(struct network *n, const uint32_t *rows, size_t n_rows, real *logits)
{
    CHECK(!n->target_rows.at);
    for (size_t first = 0; first < n_rows; first += n->lm_head_rows) {
        size_t m = n_rows - first < n->lm_head_rows ? n_rows - first : n->lm_head_rows;
        gather_normed(n, rows, first, m);
        lm_head_forward(n, n->lm_head_x, m, logits + first * n->base->dims.V);
    }
}

void network_next_logits(struct network *n, size_t n_rows, real *logits)
{
    const struct dims *s = &n->base->dims;
    CHECK(!n->target_rows.at);
    n->k->rmsnorm_forward(n->x, n->act[0].rstd1, n->out, n->base->norm, n_rows, s->C,
                          (real)s->norm_eps);
    if (n_rows > MATVEC_ROWS) {
        lm_head_forward(n, n->x, n_rows, logits);
    } else {
        struct row_product p = { .y = logits,
                                 .ldy = s->V,
                                 .x = n->x,
                                 .ldx = s->C,
                                 .w = &n->base->head,
                                 .N = s->V,
                                 .K = s->C };
        n->k->matvec(&p, 1, n_rows);
    }
}

/* ---- backward -------------------------------------------------------------------------------- */

bool network_backward(struct network *n, const struct pass *p, size_t from, size_t to, real *grad,
                      const struct stop *stop)
{
    bool goes_on = true;
    waiting_begin();
    for (size_t l = to; l-- > from;) {
        goes_on = !stop_asked(stop);
        if (!goes_on) break;
        struct block b = block_on(n, p, l, dropout_of(n));
        const struct layer_act *a = &n->act[l];
        enum keep kept = network_keep(n, l);
        if (n->limits.bf16) activations_load(n, l, p->T, b.rows.n);
        if (kept != KEEP_ALL) block_forward(n, &b, a, kept, NULL);
        if (n->limits.bf16) activations_round(n, l, p->T, b.rows.n);
        block_backward(n, &b, a, l == 0, grad);
    }
    waiting_end();
    return goes_on;
}
