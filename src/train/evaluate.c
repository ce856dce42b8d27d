#include "src/train/evaluate.h"

#include <math.h>

#include "src/model/cost.h"
#include "src/train/gradsum.h"
#include "src/train/ranks.h"

/* What a rank counts of its own passes. */
struct counts {
    double hits, exact; /* target tokens, by weight; examples */
};

/* Count what the network has just made of the pass. */
static void count_pass(struct counts *c, const struct network *n, const struct batch *b,
                       const struct pass *p)
{
    for (size_t i = 0; i < p->n_targets; i++)
        if (n->hit[i]) c->hits += (double)p->weight[i];
    c->exact += (double)batch_count_exact(b, n->hit);
}

/* This rank's share of the batch's passes, after `before` examples. *bad: the number of the first
 * pass whose loss is not finite, times 2^32, and of its first example. */
static int run_share(struct losssum *sum, struct counts *c, uint64_t *bad, size_t before,
                     const struct objective *o, struct network *n, struct batch *b,
                     const struct stop *stop, const struct listener *listener,
                     const struct evaluate_observer *observer, struct err *e)
{
    size_t from, to;
    cost_passes(b, &n->base->dims, NULL);
    ranks_share(&from, &to, b);
    sum->next = from;
    for (size_t i = from; i < to && *bad == UINT64_MAX; i++) {
        struct pass *p = batch_pass(b, i);
        double loss;
        if (!objective_forward(&loss, o, n, p, 1, false, stop))
            return err_code(e, ERR_STOPPED, "stopped");
        count_pass(c, n, b, p);
        if (observer) observer->pass(observer->to, n, b);
        losssum_add(sum, loss);
        if (!isfinite(loss)) *bad = (uint64_t)i << 32 | b->order[b->first[i]];
        tell_passed(listener, before + b->first[i + 1], b->examples->n);
    }
    return 0;
}

int evaluate(struct evaluation *out, const struct objective *o, struct network *n, struct batch *b,
             const struct stop *stop, const struct listener *listener, struct err *e)
{
    return evaluate_observed(out, o, n, b, stop, listener, NULL, e);
}

int evaluate_observed(struct evaluation *out, const struct objective *o, struct network *n,
                      struct batch *b, const struct stop *stop, const struct listener *listener,
                      const struct evaluate_observer *observer, struct err *e)
{
    const struct examples *x = b->examples;
    struct losssum all = { 0 };
    struct counts c = { 0 };
    uint64_t bad = UINT64_MAX;
    size_t done = 0;
    double size = 0;
    *out = (struct evaluation){ .examples = x->n };
    for (size_t first = 0, items = examples_items(x); first < items; first += b->batch_size) {
        struct losssum sum = { 0 };
        size_t m = items - first < b->batch_size ? items - first : b->batch_size;
        batch_begin_range(b, (uint32_t)first, m);
        int code = run_share(&sum, &c, &bad, done, o, n, b, stop, listener, observer, e);
        code = ranks_agree(code, e);
        if (code) return code;
        done += b->n;
        losssum_add(&all, ranks_sum_losses(&sum));
        size += o->size(b);
        out->tokens += b->tokens;
        out->targets += b->targets;
        out->rows += b->rows;
        bad = ranks_least(bad);
        if (bad != UINT64_MAX) break;
    }
    double counts[] = { c.hits, c.exact };
    ranks_sum_counts(counts, 2);
    out->bad_example = bad != UINT64_MAX ? (size_t)(uint32_t)bad + 1 : 0;
    out->loss = losssum_total(&all) / (size > 0 ? size : 1);
    out->token_accuracy = counts[0] / (out->targets ? (double)out->targets : 1);
    out->exact_match = counts[1] / (x->n ? (double)x->n : 1);
    return 0;
}

int evaluation_check(const struct evaluation *v, uint64_t step, struct err *e)
{
    if (isfinite(v->loss)) return 0;
    return err_set(
        e,
        "step %llu: the validation loss is not finite (%g), first in the pass of "
        "validation example %zu (counted from 1); %s",
        (unsigned long long)step, v->loss, v->bad_example,
        step ? "the last checkpoint is untouched; a lower train.learning_rate often helps"
             : "nothing is trained yet: lorac inspect --verify tells whether the base and "
               "adapter.init_from are whole");
}
