#include "src/train/advice.h"

#include <math.h>
#include <stdio.h>

/* ---- losses ---------------------------------------------------------------------------------- */

/* The mean loss of the steps after step `from` up to step `to`; NaN: there is none. */
static double mean_loss(const struct checkpoint *s, uint64_t from, uint64_t to)
{
    double sum = 0;
    for (uint64_t i = from; i < to; i++) sum += s->loss[i];
    return to > from ? sum / (double)(to - from) : NAN;
}

/* Losses of a few steps vary with their records, those of evaluations do not. */
static const double times_of_steps = 2, times_of_evaluations = 1.5;

static bool far_above(double now, double before, double times)
{
    return now > times * before && now > before + 1;
}

/* What step 0 of a run is. */
static const char *start_of(const struct config *c)
{
    return c->adapter.init_from ? "the start adapter" : "the base";
}

/* ---- during the run -------------------------------------------------------------------------- */

static void say_diverges(struct advice *w, struct str *lines)
{
    str_addf(lines,
             ": the training diverges; stop it, and begin again in another output.dir with a lower "
             "train.learning_rate (now %g)\n",
             w->schedule->peak);
    w->told = true;
}

void advice_step(struct advice *w, struct str *lines)
{
    enum { STEPS = 3 };
    const struct checkpoint *s = w->state;
    if (w->told || s->step < 2 * STEPS) return;
    double first = mean_loss(s, 0, STEPS), now = mean_loss(s, s->step - STEPS, s->step);
    if (!far_above(now, first, times_of_steps)) return;
    str_addf(lines,
             "warning: step %llu: the loss of the last %d steps is %.4f, and was %.4f at first",
             (unsigned long long)s->step, STEPS, now, first);
    say_diverges(w, lines);
}

/* Whether evaluation i is the second of two rises over which the training loss fell. */
static bool rose_by_heart(const struct checkpoint *s, size_t i)
{
    const struct history *h = &s->history;
    if (i < 2 || !(h->loss[i] > h->loss[i - 1] && h->loss[i - 1] > h->loss[i - 2])) return false;
    const int64_t *at = h->step + i;
    double before = mean_loss(s, (uint64_t)at[-2], (uint64_t)at[-1]);
    return mean_loss(s, (uint64_t)at[-1], (uint64_t)at[0]) < before;
}

/* Whether the newest evaluation is the first one of its rise that shows it. */
static bool learns_by_heart(const struct checkpoint *s)
{
    const struct history *h = &s->history;
    size_t i = h->n - 1;
    if (!rose_by_heart(s, i)) return false;
    while (--i >= 2 && h->loss[i] > h->loss[i - 1])
        if (rose_by_heart(s, i)) return false;
    return true;
}

static bool diverged(const struct checkpoint *s)
{
    const struct history *h = &s->history;
    if (h->n < 2 || !far_above(h->loss[h->n - 1], h->loss[0], times_of_evaluations)) return false;
    return mean_loss(s, (uint64_t)h->step[h->n - 2], s->step) >= s->loss[0];
}

void advice_evaluation(struct advice *w, struct str *lines)
{
    const struct checkpoint *s = w->state;
    const struct history *h = &s->history;
    if (!w->told && diverged(s)) {
        str_addf(lines, "warning: step %llu: the validation loss is %.4f, and was %.4f at first",
                 (unsigned long long)s->step, h->loss[h->n - 1], h->loss[0]);
        say_diverges(w, lines);
    }
    if (learns_by_heart(s)) {
        str_addf(lines,
                 "step %llu: the validation loss rose twice (%.4f, %.4f, %.4f) while the training "
                 "loss falls: the run learns the records by heart; ",
                 (unsigned long long)s->step, h->loss[h->n - 3], h->loss[h->n - 2],
                 h->loss[h->n - 1]);
        if (s->best_step) {
            str_addf(lines, "best was step %llu, which best/ keeps\n",
                     (unsigned long long)s->best_step);
        } else {
            str_addf(lines, "best was %s, before step 1\n", start_of(w->config));
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static double sum_rates(const struct schedule *k, int64_t from, int64_t to)
{
    double sum = 0;
    for (int64_t step = from; step < to; step++) sum += schedule_rate(k, (size_t)step);
    return sum;
}

static bool still_falls(const struct advice *w)
{
    static const double least_rates = 0.05, least_fall = 0.25;
    const struct checkpoint *s = w->state;
    const struct history *h = &s->history;
    if (h->n < 3 || (uint64_t)h->step[h->n - 1] != s->best_step) return false;
    size_t last = h->n - 1, from = last;
    double all = sum_rates(w->schedule, h->step[0], h->step[last]), since = 0;
    while (from > 0 && since < least_rates * all) {
        since += sum_rates(w->schedule, h->step[from - 1], h->step[from]);
        from--;
    }
    double fall = h->loss[from] - h->loss[last], whole = h->loss[0] - h->loss[last];
    return from > 0 && since > 0 && fall >= least_fall * whole * since / all;
}

static bool ever_rose(const struct history *h)
{
    size_t i = 1;
    while (i < h->n && h->loss[i] <= h->loss[i - 1]) i++;
    return i < h->n;
}

void advice_end(const struct advice *w, struct str *lines)
{
    static const double high = 3; /* times the usual rate: more is not advised */
    char rate[64] = "";
    const struct checkpoint *s = w->state;
    bool room = w->usual_rate <= 0 || w->schedule->peak < high * w->usual_rate;
    if (s->step < s->total_steps || !still_falls(w)) return;
    if (room && !ever_rose(&s->history)) /* otherwise the rate is high enough */
        snprintf(rate, sizeof rate, " or a higher train.learning_rate (now %g)", w->schedule->peak);
    str_addf(
        lines,
        "the validation loss was still falling at the end (%.4f, best): %s%s would learn more\n",
        s->best_eval_loss,
        w->config->train.max_steps != CONFIG_NONE ? "a larger train.max_steps"
                                                  : "more train.num_epochs",
        rate);
}

bool advice_ends_early(const struct checkpoint *s, int64_t patience)
{
    if (patience == CONFIG_NONE || s->step == s->total_steps) return false;
    return history_after(&s->history, s->best_step) >= (size_t)patience;
}

void advice_outcome(const struct advice *w, struct str *out)
{
    const struct checkpoint *s = w->state;
    int64_t patience = w->config->train.early_stopping_patience;
    if (advice_ends_early(s, patience)) {
        str_addf(out,
                 "ended early after step %llu of %llu: %s without a better validation loss "
                 "(train.early_stopping_patience: %lld)",
                 (unsigned long long)s->step, (unsigned long long)s->total_steps,
                 str_count(history_after(&s->history, s->best_step), "evaluation"),
                 (long long)patience);
    }
    if (s->history.n > 1 && s->best_step == 0 && isfinite(s->best_eval_loss)) {
        str_addf(out,
                 "%sno evaluation was better than %s's validation loss of %.4f, so there is no "
                 "best/, and adapter/ is that of the last step",
                 out->n ? "; " : "", start_of(w->config), s->best_eval_loss);
    }
}
