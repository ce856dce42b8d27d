#include "src/train/learning_rate.h"

#include <math.h>

#include "src/base/term.h"

static const double table_alpha = 32;
static const double most = 1; /* what the key takes: config.yaml is read again on resuming */

static const struct {
    double below, rate;
} by_size[] = {
#define LEARNING_RATE(below, rate, why) { below, rate },
#include "src/config/learning_rates.def"
#undef LEARNING_RATE
};

struct learning_rate learning_rate_by_size(double params, const struct adapter *a)
{
    size_t i = 0;
    while (params >= by_size[i].below) i++;
    double alpha = a->scale * (double)a->r;
    double peak = by_size[i].rate * table_alpha / alpha;
    peak = fmin(peak, most);
    return (struct learning_rate){ .peak = peak,
                                   .usual = peak,
                                   .by_size = true,
                                   .params = params,
                                   .table = by_size[i].rate,
                                   .alpha = alpha };
}

void learning_rate_say(struct str *out, const struct learning_rate *l)
{
    char params[HUMAN_BYTES];
    str_addf(out, "learning rate %g", l->peak);
    static const double far = 10.001; /* not for a factor of ten that was rounded */
    bool unusual = l->peak > far * l->usual || l->peak < l->usual / far;
    if (!l->by_size && l->usual > 0 && unusual) str_addf(out, " (auto takes %g)", l->usual);
    if (!l->by_size) return;
    str_addf(out, " (auto: %g for %s parameters", l->table, human_count(params, l->params));
    if (fabs(l->alpha - table_alpha) > 1e-6 * table_alpha)
        str_addf(out, ", times 32 / %.6g for lora_alpha", l->alpha);
    str_addc(out, ')');
}
