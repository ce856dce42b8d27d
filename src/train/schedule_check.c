/* What a user should know of a schedule before the run. */
#include "src/train/schedule.h"

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
    return config_error(e, c, warmup_key(c),
                        "found a warm-up of %s in a run of %zu, which leaves no step with a "
                        "learning rate above 0, so nothing would be trained; wanted fewer warm-up "
                        "steps (train.warmup_steps: 0), or more steps by a smaller "
                        "train.batch_size or more train.num_epochs",
                        str_count(s->warmup, "step"), s->total);
}

/* transformers' constant schedule ignores it, too. */
static bool ignores_warmup(const struct config *c)
{
    bool ratio_given = c->line[CONFIG_KEY_train_warmup_ratio] ||
                       c->overridden[CONFIG_KEY_train_warmup_ratio];
    bool none = c->train.warmup_steps == 0 || c->train.warmup_ratio <= 0;
    if (c->train.lr_scheduler_type != CONFIG_SCHEDULE_CONSTANT || none) return false;
    return ratio_given || c->train.warmup_steps != CONFIG_NONE;
}

void schedule_notes(struct str *notes, const struct schedule *s, size_t examples,
                    const struct config *c)
{
    enum { FEW = 20 };
    if (s->total < FEW && c->train.max_steps != CONFIG_NONE) {
        str_addf(notes,
                 "train.max_steps: %s in all: few to learn from; a larger number makes more, or "
                 "null, for train.num_epochs\n",
                 str_count(s->total, "optimiser step"));
    } else if (s->total < FEW) {
        str_addf(notes,
                 "%s in batches of %lld are %s in all (train.num_epochs: %g), which is little to "
                 "learn from: a smaller batch_size or more num_epochs make more\n",
                 str_count(examples, "example"), (long long)c->train.batch_size,
                 str_count(s->total, "optimiser step"), c->train.num_epochs);
    }
    if (s->peak <= 0) {
        str_addz(notes, "train.learning_rate is 0: the adapter stays as it begins\n");
    } else if (s->type != CONFIG_SCHEDULE_CONSTANT && s->warmup >= s->total) {
        str_addf(notes,
                 "the warm-up of %s is not over when the run of %zu ends: the learning rate "
                 "gets no higher than %g of %g; lower %s\n",
                 str_count(s->warmup, "step"), s->total, schedule_rate(s, s->total - 1), s->peak,
                 warmup_key(c));
    }
    if (ignores_warmup(c)) {
        str_addf(notes,
                 "%s is not used: lr_scheduler_type constant has no warm-up, and "
                 "constant_with_warmup has one\n",
                 warmup_key(c));
    }
}
