/* The type that every floor shares: `real`. */
#ifndef LORAC_KERNELS_TYPES_H
#define LORAC_KERNELS_TYPES_H

/* Kernels and the model are written in `real`: float in the program, double in the builds that
 * check gradients by finite differences. */
#ifdef REAL_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#include "kernels/storage.h"

#endif
