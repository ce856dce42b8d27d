#include "src/train/schedule.h"

#include <math.h>

struct schedule schedule_of(const struct config *c, size_t total)
{
    struct schedule s = { .type = c->train.lr_scheduler_type,
                          .peak = c->train.learning_rate,
                          .total = total };
    s.warmup = c->train.warmup_steps != CONFIG_NONE
                   ? (size_t)c->train.warmup_steps
                   : (size_t)ceil((double)total * c->train.warmup_ratio);
    return s;
}

double schedule_rate(const struct schedule *s, size_t step)
{
    double at = (double)step, warmup = (double)s->warmup, total = (double)s->total;
    if (s->type == CONFIG_SCHEDULE_CONSTANT) return s->peak;
    if (step < s->warmup) return s->peak * at / fmax(1, warmup);
    if (s->type == CONFIG_SCHEDULE_CONSTANT_WITH_WARMUP) return s->peak;
    double rest = fmax(1, total - warmup);
    if (s->type == CONFIG_SCHEDULE_LINEAR) return s->peak * fmax(0, (total - at) / rest);
    double progress = (at - warmup) / rest;
    return s->peak * fmax(0, 0.5 * (1 + cos(M_PI * progress)));
}
