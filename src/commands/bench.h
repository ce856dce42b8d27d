/* lorac bench: one file measures (bench_measure.c), the others say what is measured: kernels
 * (bench_kernels.c), whole training steps (bench_steps.c), generation (bench_generate.c). Each
 * result is a share of a limit that the same run measured. */
#ifndef LORAC_COMMANDS_BENCH_H
#define LORAC_COMMANDS_BENCH_H

#include <stdio.h>

#include "kernels/kernels.h"
#include "src/base/json.h"
#include "src/config/config.h"
#include "src/convert/synthetic.h"

struct bench {
    const struct kernels *k;   /* whose frozen products multiply as --compute says */
    const struct kernels *f32; /* the same in f32, to compare with; k without --compute bf16 */
    const struct synthetic_shape *dims;
    size_t layers;        /* of the shape, that whole steps run through */
    size_t rows, length;  /* examples of a step, tokens of each */
    size_t rounds, steps; /* of kernels; of whole steps */
    int threads;
    int64_t memory;        /* bytes that a step may use, weights included; or CONFIG_NONE */
    const char *directory; /* where synthetic weights are kept; NULL: the user's cache */
    FILE *out;             /* for people: stderr when stdout is for JSON */
    double fma, bandwidth; /* operations and bytes per second, all threads */
    size_t samples, disturbed;
    struct json_writer json; /* an open object */
};

/* Seconds that `repeats` calls of work(context) take, after one call that warms up. If other
 * processes (or the hypervisor) had more than a twentieth of the processors during a sample, it is
 * taken again, a few times; b counts the samples that stayed disturbed. */
typedef void bench_work(void *context);
double bench_time(struct bench *b, bench_work *work, void *context, size_t repeats);

/* How many calls of `flops` operations each make a sample long enough to trust. */
size_t bench_repeats(const struct bench *b, double flops);

/* Sorts x. */
double bench_median(double *x, size_t n);

/* Write a measured number to b->json. */
void bench_json_number(struct bench *b, const char *key, double v);

/* Rates of multiply-adds in registers and of reading memory, into b. */
int bench_limits(struct bench *b, struct err *e);

/* Operations per second of plain sgemm over the products of one layer at `tokens` tokens, from one
 * sample. The operands are made at the first call and kept until bench_yardstick_free(). */
int bench_yardstick(struct bench *b, size_t tokens, double *rate, struct err *e);
void bench_yardstick_free(void);

/* Whether --compute bf16 is measured, beside f32 in the same rounds. */
static inline bool bench_compares(const struct bench *b)
{
    return b->k->compute != COMPUTE_F32;
}

/* The most that registers allow in b->k's frozen products, in FLOP/s; 0: it was not measured. */
double bench_product_limit(const struct bench *b);

/* Frozen products of every storage type, and attention, as shares of sgemm. With bf16: of twice its
 * rate and of what registers allow, and how many times as fast as f32. */
void bench_products_head(const struct bench *b);
int bench_products(struct bench *b, size_t tokens, struct err *e);
int bench_attention(struct bench *b, size_t tokens, struct err *e);

/* Whole optimiser steps on synthetic weights, and what the adapters cost in them. */
int bench_steps(struct bench *b, struct err *e);
int bench_adapters(struct bench *b, struct err *e);

/* One token after another on weights of every storage type, as a share of reading memory. */
int bench_generation(struct bench *b, struct err *e);

#endif
