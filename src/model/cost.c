#include "src/model/cost.h"

#include "src/model/tensors.h"

double cost_total(const struct cost *c)
{
    return c->linear + c->adapter + c->attention + c->head;
}

static void add(struct cost *c, const struct dims *s, const struct adapter *a,
                const struct pass_work *w)
{
    double both = a ? 2 : 1; /* forward, and as much again for the gradient of the input */
    double rows = (double)w->rows;
    c->linear += rows * 2 * (double)dims_linear_params(s) * both;
    c->head += (double)w->targets * 2 * (double)shape_head_params(s) * both;
    /* two products forward; back: scores again are recomputation, so four */
    c->attention += (double)w->pairs * (double)(s->layers * s->H * s->D) * (a ? 12 : 4);
    if (a) c->adapter += rows * 6 * (double)a->n_params;
}

/* Pairs of a query and a key that it sees. */
static uint64_t attended_pairs(const struct pass *p)
{
    uint64_t pairs = 0;
    for (size_t i = 0; i < p->n_seg; i++) {
        uint64_t len = p->seg[i].len, before = p->seg[i].pos;
        pairs += len * before + len * (len + 1) / 2;
    }
    return pairs;
}

struct cost cost_of_batch(const struct dims *s, const struct adapter *a, struct batch *b)
{
    struct cost c = { 0 };
    for (size_t i = 0; i < b->n_passes; i++) {
        const struct pass *p = batch_pass(b, i);
        add(&c, s, a,
            &(struct pass_work){
                .rows = p->T, .targets = p->n_targets, .pairs = attended_pairs(p) });
    }
    return c;
}

void cost_passes(struct batch *b, const struct dims *s, const struct adapter *a)
{
    for (size_t i = 0; i < b->n_passes; i++) {
        struct cost c = { 0 };
        add(&c, s, a, &b->work[i]);
        b->work[i].cost = (uint64_t)(cost_total(&c) / 1000) + 1;
    }
}
