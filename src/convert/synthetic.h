/* Models of the usual shapes with random weights, to measure speed and memory without real ones. */
#ifndef LORAC_CONVERT_SYNTHETIC_H
#define LORAC_CONVERT_SYNTHETIC_H

#include "src/model/dims.h"

struct synthetic_shape {
    const char *name, *what;
    struct dims dims;
    size_t layers_max; /* of which that many are made; the rest is extrapolated */
};

/* The row of that name ("135m", "1.1b", "7b", "13b", "70b"); NULL when unknown. */
const struct synthetic_shape *synthetic_named(const char *name);

/* Write a Hugging Face directory of bf16 weights with `layers` layers into `dir`, unless it is
 * already complete there. Values are uniform with the variance of usual initialisation. */
int synthetic_make(const struct synthetic_shape *s, size_t layers, const char *dir, struct err *e);

#endif
