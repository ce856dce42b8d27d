#include "src/train/evaluate.h"

#include <math.h>

#include "src/train/gradsum.h"
#include "src/train/ranks.h"

/* Count what the network has just made of the pass. */
static void count_pass(struct evaluation *v, double *hits, const struct network *n,
                       const struct batch *b, const struct pass *p)
{
    for (size_t i = 0; i < p->n_targets; i++)
        if (n->hit[i]) *hits += (double)p->weight[i];
    v->exact_match += (double)batch_count_exact(b, n->hit);
}

bool evaluate(struct evaluation *out, const struct objective *o, struct network *n, struct batch *b,
              const struct stop *stop)
{
    const struct examples *x = b->examples;
    struct losssum sum = { 0 };
    size_t items = examples_items(x);
    double hits = 0, size = 0;
    *out = (struct evaluation){ .examples = x->n };
    bool going = true;
    for (size_t first = 0; first < items && going; first += b->batch_size) {
        size_t m = items - first < b->batch_size ? items - first : b->batch_size;
        batch_begin_range(b, (uint32_t)first, m);
        out->tokens += b->tokens;
        out->targets += b->targets;
        out->rows += b->rows;
        size += o->size(b);
        for (size_t p = 0; p < b->n_passes && going; p++) {
            struct pass *pass = batch_pass(b, p);
            double loss;
            going = objective_forward(&loss, o, n, pass, 1, false, stop);
            if (!going) break;
            count_pass(out, &hits, n, b, pass);
            losssum_add(&sum, loss);
            if (isfinite(loss)) continue;
            out->bad_example = b->order[b->first[p]] + 1;
            out->loss = loss;
            return true;
        }
    }
    double targets = out->targets ? (double)out->targets : 1;
    out->loss = ranks_sum_losses(&sum) / (size > 0 ? size : 1);
    out->token_accuracy = hits / targets;
    out->exact_match /= x->n ? (double)x->n : 1;
    return going;
}
