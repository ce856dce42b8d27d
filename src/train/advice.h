/* What the losses of a run say about it, in lines for whoever watches it, and when a run ends
 * before its last step. The losses, the best evaluation and the learning rates are all that counts,
 * and a checkpoint holds them: a resumed run says what an undisturbed one says.
 *
 *   learns by heart   the validation loss rose at two evaluations in a row, and the mean training
 *                     loss fell from the steps before the last evaluation but one to those after it
 *   diverges          the mean loss of three steps is more than twice that of the first three, and
 *                     more than 1 above it; or the validation loss is more than 1.5 times the first
 *                     one, and more than 1 above it, while the mean training loss since the
 *                     evaluation before is not below that of the first step (else the records are
 *                     learnt by heart). Said once a process
 *   still falling     at the end: the last evaluation is the best, and it fell since an earlier one
 *                     by at least a quarter of what the run's whole fall would give for the
 *                     learning rates in between. A fall alone says nothing, because the rate of a
 *                     cosine is near 0 in the last steps: the last of three epochs has 6 % of the
 *                     sum of all rates. The earlier evaluation is the last one with at least 5 %
 *                     of that sum after it, and a third one must lie before it. A higher rate is
 *                     advised only where no evaluation was worse than the one before it */
#ifndef LORAC_TRAIN_ADVICE_H
#define LORAC_TRAIN_ADVICE_H

#include "src/base/str.h"
#include "src/config/config.h"
#include "src/train/checkpoint.h"
#include "src/train/schedule.h"

struct advice {
    const struct config *config;
    const struct schedule *schedule;
    const struct checkpoint *state;
    double usual_rate; /* what auto takes; 0: not known */
    bool told;         /* that it diverges */
};

/* Append what there is to say after a step, and after an evaluation: nothing, or lines. */
void advice_step(struct advice *w, struct str *lines);
void advice_evaluation(struct advice *w, struct str *lines);
/* The same after the last step of a run that was not ended early. */
void advice_end(const struct advice *w, struct str *lines);

/* Whether so many evaluations (CONFIG_NONE: never) brought no better validation loss. */
bool advice_ends_early(const struct checkpoint *s, int64_t patience);

/* Append how a finished run ended where that is not plain: early, or without an evaluation that was
 * better than what it started from. One line, without its end. */
void advice_outcome(const struct advice *w, struct str *out);

#endif
