/* train.learning_rate: auto. The best learning rate of LoRA hardly depends on the rank when the
 * adapter's output is scaled by lora_alpha / r, and falls slowly with the size of the model.
 *
 * Source: Schulman et al., LoRA Without Regret (2025), and the table of the Tinker cookbook, for
 * models of 1B parameters and more; configs/README.md has the numbers, and what was measured here
 * for smaller ones. */
#ifndef LORAC_TRAIN_LEARNING_RATE_H
#define LORAC_TRAIN_LEARNING_RATE_H

#include <stdbool.h>

#include "src/base/str.h"
#include "src/model/lora.h"

/* How a run got its peak learning rate. */
struct learning_rate {
    double peak;
    double usual;  /* what auto takes; 0: not known */
    bool by_size;  /* auto: from the table, and scaled */
    double params; /* of the base */
    double table;  /* the table's rate for that many parameters, at lora_alpha 32 */
    double alpha;  /* scale * r: lora_alpha where the scale is lora_alpha / r */
};

/* The rate for a base of so many parameters and an adapter with this scale: the table's, times
 * 32 / (scale * r). */
struct learning_rate learning_rate_by_size(double params, const struct adapter *a);

/* Append "learning rate 0.001", and for auto what it follows from; for a given rate that is far
 * from it, what auto takes. */
void learning_rate_say(struct str *out, const struct learning_rate *l);

#endif
