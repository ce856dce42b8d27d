/* Whether stored numbers are numbers: a NaN or infinity in a weight makes every result one. */
#ifndef LORAC_MODEL_FINITE_H
#define LORAC_MODEL_FINITE_H

#include <stdbool.h>

#include "kernels/types.h"

/* n values (a multiple of the type's block) at `data`: true when none is NaN or infinite. Of blocks
 * their scales and minima are looked at, the rest are integers. Runs on all threads at the speed of
 * memory; not for DTYPE_OTHER. */
bool stored_finite(const void *data, enum dtype type, size_t n);

#endif
