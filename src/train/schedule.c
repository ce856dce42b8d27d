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

struct schedule schedule_of(const struct config *c, size_t total)
{
    bool none = c->train.warmup_steps == CONFIG_NONE && (double)total * c->train.warmup_ratio < 1;
    return (struct schedule){ .type = c->train.lr_scheduler_type,
                              .peak = c->train.learning_rate,
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

/* The first rate is often 0, the second never is. */
static bool has_rate(const struct schedule *s)
{
    for (size_t step = 0; step < s->total; step++)
        if (schedule_rate(s, step) > 0) return true;
    return false;
}

static const char *warmup_key(const struct config *c)
{
    return c->train.warmup_steps != CONFIG_NONE ? "train.warmup_steps" : "train.warmup_ratio";
}

int schedule_check(const struct schedule *s, const struct config *c, struct err *e)
{
    if (s->peak <= 0 || has_rate(s)) return 0;
    return config_error(
        e, c, warmup_key(c),
        "found a warm-up of %zu step%s in a run of %zu, which leaves no step with a "
        "learning rate above 0, so nothing would be trained; wanted fewer warm-up "
        "steps (train.warmup_steps: 0), or more steps by a smaller "
        "train.batch_size or more train.num_epochs",
        s->warmup, s->warmup == 1 ? "" : "s", s->total);
}

/* transformers' constant does not look at it either. */
static bool ignores_warmup(const struct config *c)
{
    bool ratio_given = c->line[CONFIG_KEY_train_warmup_ratio] ||
                       c->overridden[CONFIG_KEY_train_warmup_ratio];
    bool none = c->train.warmup_steps == 0 || c->train.warmup_ratio <= 0;
    if (c->train.lr_scheduler_type != CONFIG_SCHEDULE_CONSTANT || none) return false;
    return ratio_given || c->train.warmup_steps != CONFIG_NONE;
}

void schedule_notes(struct str *notes, const struct schedule *s, const struct config *c)
{
    enum { FEW = 20 };
    if (s->total < FEW) {
        str_addf(notes,
                 "%zu optimiser step%s in all: few to learn from; %s or a smaller "
                 "train.batch_size (now %lld)%s\n",
                 s->total, s->total == 1 ? "" : "s",
                 c->train.max_steps != CONFIG_NONE ? "a larger train.max_steps makes more"
                                                   : "more train.num_epochs",
                 (long long)c->train.batch_size,
                 c->train.max_steps != CONFIG_NONE ? " with epochs instead" : " make more");
    }
    if (s->peak <= 0) {
        str_addz(notes, "train.learning_rate is 0: the adapter stays as it begins\n");
    } else if (s->type != CONFIG_SCHEDULE_CONSTANT && s->warmup >= s->total) {
        str_addf(notes,
                 "the warm-up of %zu steps is not over when the run of %zu ends: the learning rate "
                 "gets no higher than %g of %g; lower %s\n",
                 s->warmup, s->total, schedule_rate(s, s->total - 1), s->peak, warmup_key(c));
    }
    if (ignores_warmup(c)) {
        str_addf(notes,
                 "%s is not used: lr_scheduler_type constant has no warm-up, and "
                 "constant_with_warmup has one\n",
                 warmup_key(c));
    }
}
