#include "src/train/evaluate.h"

#include <math.h>

#include "src/train/gradsum.h"
#include "src/train/ranks.h"

/* Count what the network has just made of the pass; its loss = */
static double add_pass(struct evaluation *v, size_t *hits, const struct network *n,
                       const struct batch *b, const struct pass *p)
{
    double loss = 0;
    for (size_t i = 0; i < p->n_targets; i++) {
        loss += n->loss[i] * p->weight[i];
        if (n->hit[i]) *hits += p->weight[i];
    }
    v->exact_match += (double)batch_count_exact(b, n->hit);
    return loss;
}

bool evaluate(struct evaluation *out, struct network *n, struct batch *b, const struct stop *stop)
{
    const struct examples *x = b->examples;
    struct losssum sum = { 0 };
    size_t layers = n->base->shape.layers, hits = 0, items = examples_items(x);
    *out = (struct evaluation){ .examples = x->n };
    real p_drop = n->drop.p;
    n->drop.p = 0;
    bool going = true;
    for (size_t first = 0; first < items && going; first += b->batch_size) {
        size_t m = items - first < b->batch_size ? items - first : b->batch_size;
        batch_begin_range(b, (uint32_t)first, m);
        out->tokens += b->tokens;
        out->targets += b->targets;
        out->rows += b->rows;
        for (size_t p = 0; p < b->n_passes && going; p++) {
            const struct pass *pass = batch_pass(b, p);
            network_embed(n, pass);
            going = network_forward(n, pass, 0, layers, stop);
            if (!going) break;
            network_head(n, pass, 1, false);
            double loss = add_pass(out, &hits, n, b, pass);
            losssum_add(&sum, loss);
            if (isfinite(loss)) continue;
            out->bad_example = b->order[b->first[p]] + 1;
            out->loss = loss;
            n->drop.p = p_drop;
            return true;
        }
    }
    n->drop.p = p_drop;
    double targets = out->targets ? (double)out->targets : 1;
    out->loss = ranks_sum_losses(&sum) / targets;
    out->token_accuracy = (double)hits / targets;
    out->exact_match /= x->n ? (double)x->n : 1;
    return going;
}
