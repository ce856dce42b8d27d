#include "src/model/network.h"

#include <math.h>

#include "src/base/waiting.h"
#include "src/model/block.h"

/* ---- forward -------------------------------------------------------------------------------- */

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
    const struct shape *s = &n->base->shape;
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
    if (layer + 1 < n->base->shape.layers)
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
    const struct shape *s = &n->base->shape;
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

/* ---- backward ------------------------------------------------------------------------------- */

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
