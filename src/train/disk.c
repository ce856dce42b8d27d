#include "src/train/disk.h"

/* How many checkpoints the run makes, the one before its first step included; when they are made by
 * time, as many as are certain to exist at once. */
static uint64_t count_saves(const struct config *c, const struct course *k)
{
    const struct config_interval *every = &c->train.save_steps;
    if (every->steps == CONFIG_NONE && every->seconds != CONFIG_NONE) return 3;
    uint64_t n = every->steps != CONFIG_NONE ? (uint64_t)every->steps : k->steps_per_epoch;
    return 1 + (k->total + n - 1) / n;
}

struct disk disk_plan(const struct config *c, const struct adapter *a, const struct course *k)
{
    enum { ADAPTERS = 3, LINE_BYTES = 300 };
    uint64_t made = count_saves(c, k), kept = (uint64_t)c->train.save_total_limit + 1;
    return (struct disk){
        .checkpoints = made < kept ? made : kept,
        .checkpoint_bytes = checkpoint_bytes(a, k->total),
        .adapters = ADAPTERS,
        .adapter_bytes = sizeof(float) * (uint64_t)a->n_params,
        .log_bytes = LINE_BYTES * k->total,
    };
}

uint64_t disk_bytes(const struct disk *d)
{
    return d->checkpoints * d->checkpoint_bytes + d->adapters * d->adapter_bytes + d->log_bytes;
}
