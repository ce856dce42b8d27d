#include "src/train/schedule.h"

#include <math.h>

uint64_t schedule_steps_per_epoch(const struct config *c, size_t items)
{
    uint64_t size = (uint64_t)c->train.batch_size;
    return (items + size - 1) / size;
}

uint64_t schedule_steps(const struct config *c, uint64_t steps_per_epoch)
{
    if (c->train.max_steps != CONFIG_NONE) return (uint64_t)c->train.max_steps;
    return (uint64_t)ceil(c->train.num_epochs * (double)steps_per_epoch);
}

size_t schedule_warmup_before(const struct config *c, size_t total)
{
    if (c->train.warmup_steps != CONFIG_NONE) return (size_t)c->train.warmup_steps;
    return (size_t)ceil((double)total * c->train.warmup_ratio);
}

struct schedule schedule_of(const struct config *c, double peak, size_t total)
{
    bool none = c->train.warmup_steps == CONFIG_NONE && (double)total * c->train.warmup_ratio < 1;
    return (struct schedule){ .type = c->train.lr_scheduler_type,
                              .peak = peak,
                              .warmup = none ? 0 : schedule_warmup_before(c, total),
                              .total = total };
}

double schedule_rate(const struct schedule *s, size_t step)
{
    double at = (double)step, warmup = (double)s->warmup, total = (double)s->total;
    if (s->type == CONFIG_SCHEDULE_CONSTANT) return s->peak;
    if (step < s->warmup) return s->peak * (at / fmax(1, warmup));
    if (s->type == CONFIG_SCHEDULE_CONSTANT_WITH_WARMUP) return s->peak;
    double rest = fmax(1, total - warmup);
    if (s->type == CONFIG_SCHEDULE_LINEAR) return s->peak * fmax(0, (total - at) / rest);
    double progress = (at - warmup) / rest;
    return s->peak * fmax(0, 0.5 * (1 + cos(M_PI * progress)));
}
