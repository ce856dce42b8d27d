/* How fast this machine multiplies just now, measured in a blink: what a run's speed is held against. */
#ifndef LORAC_TRAIN_YARDSTICK_H
#define LORAC_TRAIN_YARDSTICK_H

#include "src/model/shape.h"

/* Operations per second of OpenBLAS's own sgemm on a product like those of this shape (cut down to what
 * takes a few MB: the rate of larger ones is the same). 0 when memory is short. Takes about 0.3 s. */
double yardstick_sgemm(const struct shape *s, int threads);

/* Start OpenBLAS's own threads: yardstick_sgemm() does, others who measure it call this before. Where
 * OpenMP's first thread is bound to a place they would otherwise all be started on that. */
void yardstick_start(int threads);

/* Of multiply-adds in registers: the limit of the processor. */
double yardstick_fma(const struct kernels *k);

#endif
