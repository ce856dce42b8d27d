#include "src/train/objective.h"

#include <string.h>

static bool have_targets(const struct examples *x)
{
    for (size_t i = 0; i < examples_tokens(x); i++)
        if (x->target[i]) return true;
    return false;
}

static double count_targets(const struct batch *b)
{
    return (double)b->targets;
}

/* The mean cross entropy of the targets. */
static double sft_head(struct network *n, struct pass *p, size_t sweep, real scale, bool backward)
{
    (void)sweep;
    return network_lm_head(n, p, scale, backward);
}

static const struct objective objectives[] = {
    { "sft", 1, "tokens to learn", have_targets, count_targets, sft_head },
};

const struct objective *objective_named(const char *name)
{
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++)
        if (strcmp(objectives[i].name, name) == 0) return &objectives[i];
    return NULL;
}

bool objective_forward(double *loss, const struct objective *o, struct network *n, struct pass *p,
                       real scale, bool backward, const struct stop *stop)
{
    size_t layers = n->base->dims.layers;
    for (size_t sweep = 0; sweep < o->sweeps; sweep++) {
        network_embed(n, p);
        bool done = backward ? network_forward(n, p, 0, layers, stop)
                             : network_evaluate(n, p, 0, layers, stop);
        if (!done) return false;
        *loss = o->head(n, p, sweep, scale, backward && sweep + 1 == o->sweeps);
    }
    return true;
}
