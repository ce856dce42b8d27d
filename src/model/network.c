#include "src/model/network.h"

#include <math.h>

#include "src/base/stop.h"
#include "src/base/waiting.h"
#include "src/model/layer.h"

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

bool network_forward(struct network *n, const struct pass *p, size_t from, size_t to)
{
    size_t layers = n->base->shape.layers;
    bool bf16 = n->limits.train && n->limits.bf16, goes_on = true;
    waiting_begin();
    for (size_t l = from; l < to; l++) {
        goes_on = !stop_requested();
        if (!goes_on) break;
        if (bf16) {
            n->k->round_bf16(n->act[l].h, p->T * n->base->shape.C);
            activations_store(n, l, p, STORED_H, STORED_MID); /* its output takes its place */
        }
        layer_forward(n, l, p, &n->act[l], l + 1 < layers ? n->act[l + 1].h : n->out);
        if (bf16) activations_store(n, l, p, STORED_MID, STORED_VALUES);
    }
    waiting_end();
    return goes_on;
}

/* ---- backward ------------------------------------------------------------------------------- */

bool network_backward(struct network *n, const struct pass *p, size_t from, size_t to, real *grad)
{
    bool goes_on = true;
    waiting_begin();
    for (size_t l = to; l-- > from;) {
        goes_on = !stop_requested();
        if (!goes_on) break;
        struct layer_act *a = &n->act[l];
        if (n->limits.bf16) activations_load(n, l, p);
        if (network_keep(n, l) == KEEP_INPUT) layer_recompute(n, l, p, a);
        if (network_keep(n, l) == KEEP_NO_MLP) layer_recompute_mlp(n, l, p, a);
        if (n->limits.bf16) activations_round(n, l, p);
        layer_backward(n, l, p, a, l == 0, grad);
    }
    waiting_end();
    return goes_on;
}
