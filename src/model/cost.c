#include "src/model/cost.h"

#include "src/model/tensors.h"

double cost_total(const struct cost *c)
{
    return c->linear + c->adapter + c->attention + c->head;
}

/* Pairs of a query and a key that it sees. */
static double attended_pairs(const struct pass *p)
{
    double pairs = 0;
    for (size_t i = 0; i < p->n_seg; i++) {
        double len = p->seg[i].len, before = p->seg[i].pos;
        pairs += len * before + len * (len + 1) / 2;
    }
    return pairs;
}

struct cost cost_of_batch(const struct dims *s, const struct adapter *a, struct batch *b)
{
    struct cost c = { 0 };
    double both = a ? 2 : 1; /* forward, and as much again for the gradient of the input */
    double linear = 2 * (double)dims_linear_params(s), head = 2 * (double)shape_head_params(s);
    for (size_t i = 0; i < b->n_passes; i++) {
        const struct pass *p = batch_pass(b, i);
        double rows = (double)p->T;
        c.linear += rows * linear * both;
        c.head += (double)p->n_targets * head * both;
        /* two products forward; back: scores again are recomputation, so four */
        c.attention += attended_pairs(p) * (double)(s->layers * s->H * s->D) * (a ? 12 : 4);
        if (a) c.adapter += rows * 6 * (double)a->n_params;
    }
    return c;
}
