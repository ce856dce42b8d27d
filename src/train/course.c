#include "src/train/course.h"

#include "src/base/mem.h"
#include "src/model/tensors.h"

static struct learning_rate choose_rate(const struct setup *s, const struct adapter *a,
                                        const struct config *c)
{
    double given = c->train.learning_rate;
    struct learning_rate l = learning_rate_by_size((double)model_params(&s->model.dims), a);
    if (given != CONFIG_NONE) return (struct learning_rate){ .peak = given, .usual = l.usual };
    return l;
}

int course_open(struct course *k, const struct setup *s, const struct adapter *a,
                const struct config *c, struct err *e)
{
    *k = (struct course){ .batch_size = (size_t)c->train.batch_size, .rate = choose_rate(s, a, c) };
    int code = setup_sampler(&k->sampler, s, c, e);
    if (code) return code;
    k->steps_per_epoch = schedule_steps_per_epoch(c, k->sampler.n);
    k->total = schedule_steps(c, k->steps_per_epoch);
    k->schedule = schedule_of(c, k->rate.peak, k->total);
    k->order = mem_alloc(k->sampler.n, sizeof *k->order, e);
    return k->order ? 0 : e->code;
}

void course_free(struct course *k)
{
    sampler_free(&k->sampler);
    mem_free(k->order);
    *k = (struct course){ 0 };
}

void course_keep_rate(struct course *k, double peak)
{
    if (!k->rate.by_size || peak == k->rate.peak) return;
    k->rate = (struct learning_rate){ .peak = peak, .usual = k->rate.usual };
    k->schedule.peak = peak;
}

struct config course_config(const struct course *k, const struct config *c)
{
    struct config whole = *c;
    whole.train.learning_rate = k->rate.peak;
    return whole;
}

const uint32_t *course_batch(struct course *k, uint64_t step, size_t *n)
{
    uint64_t epoch = step / k->steps_per_epoch;
    size_t first = (size_t)(step % k->steps_per_epoch) * k->batch_size;
    if (k->order_epoch != epoch + 1) {
        sampler_epoch(k->order, &k->sampler, epoch);
        k->order_epoch = epoch + 1;
    }
    *n = k->sampler.n - first < k->batch_size ? k->sampler.n - first : k->batch_size;
    return k->order + first;
}

static uint64_t steps_per_eval(const struct course *k, const struct config *c)
{
    return c->train.eval_steps != CONFIG_NONE ? (uint64_t)c->train.eval_steps : k->steps_per_epoch;
}

bool course_eval_due(const struct course *k, const struct config *c, uint64_t step)
{
    return step == k->total || step % steps_per_eval(k, c) == 0;
}

uint64_t course_evals_after(const struct course *k, const struct config *c, uint64_t step)
{
    uint64_t every = steps_per_eval(k, c);
    return k->total / every - step / every + (k->total % every && step < k->total);
}
