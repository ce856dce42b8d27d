#include "src/train/evaluate.h"

#include <math.h>

/* Fold in the pass that the network has just seen. */
static void add_pass(struct evaluation *v, size_t *hits, const struct network *n,
                     const struct batch *b, const struct pass *p)
{
    for (size_t i = 0; i < p->n_targets; i++) {
        v->loss += n->loss[i] * p->weight[i];
        if (n->hit[i]) *hits += p->weight[i];
    }
    v->exact_match += (double)batch_count_exact(b, n->hit);
}

bool evaluate(struct evaluation *out, struct network *n, struct batch *b)
{
    const struct examples *x = b->examples;
    size_t layers = n->base->shape.layers, hits = 0, items = examples_items(x);
    *out = (struct evaluation){ .examples = x->n };
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
            going = network_evaluate(n, pass, 0, layers);
            if (!going) break;
            network_head(n, pass, 1, false);
            add_pass(out, &hits, n, b, pass);
            if (isfinite(out->loss)) continue;
            out->bad_example = b->order[b->first[p]] + 1;
            return true;
        }
    }
    double targets = out->targets ? (double)out->targets : 1;
    out->loss /= targets;
    out->token_accuracy = (double)hits / targets;
    out->exact_match /= x->n ? (double)x->n : 1;
    return going;
}
