/* src/model/rate.h by the names under which the report of a run calls it. */
#ifndef LORAC_TRAIN_YARDSTICK_H
#define LORAC_TRAIN_YARDSTICK_H

#include "src/model/rate.h"

static inline double yardstick_fma(const struct kernels *k)
{
    return rate_fma(k);
}

/* 0 when memory is short. */
static inline double yardstick_sgemm(const struct shape *s, int threads)
{
    struct err ignored;
    double rate = 0;
    rate_sgemm(&rate, s, threads, &ignored);
    return rate;
}

#endif
