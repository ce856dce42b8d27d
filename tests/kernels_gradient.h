/* Gradients against finite differences, in the double build. */
#ifndef LORAC_TESTS_KERNELS_GRADIENT_H
#define LORAC_TESTS_KERNELS_GRADIENT_H

#include "tests/kernels_test.h"

/* An array that value() depends on, and the gradient that a backward gave for it. */
struct argument {
    const char *name;
    real *x;
    const real *dx;
    size_t n;
};

/* A scalar function: the forward's outputs times a random cotangent. (A plain sum of the outputs
 * would hide everything orthogonal to ones: softmax passes with a gradient of zero.) */
struct function {
    double (*value)(const void *context);
    const void *context;
    struct argument args[4];
    size_t n_args;
};

static inline double inner(const real *a, const real *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* The derivative at step 0 of at(step): central differences over five points, whose truncation is
 * STEP^4 f'''''/30. At STEP = 1/4096 that is 1e-16 f''''', below the rounding of 1e-16 f / STEP =
 * 5e-13 f, for functions that bend as gently as ours at inputs of the order of 1. */
#define STEP           0x1p-12
#define DERIVATIVE(at) ((8 * ((at(1)) - (at(-1))) - ((at(2)) - (at(-2)))) / (12 * STEP))

static inline double shifted_one(const struct function *f, real *x, double steps)
{
    real before = *x;
    *x += steps * STEP;
    double value = f->value(f->context);
    *x = before;
    return value;
}

/* signs[i] is bit i of a random stream, redrawn from `seed`. */
static inline void move_all(const struct function *f, uint64_t seed, double steps)
{
    uint64_t saved = random_state;
    random_state = seed;
    for (size_t a = 0; a < f->n_args; a++)
        for (size_t i = 0; i < f->args[a].n; i++)
            f->args[a].x[i] += (random_bits() >> 63 ? 1 : -1) * steps * STEP;
    random_state = saved;
}

static inline double shifted_all(const struct function *f, uint64_t seed, double steps)
{
    move_all(f, seed, steps);
    double value = f->value(f->context);
    move_all(f, seed, -steps);
    return value;
}

/* <gradient, direction>, and the norm of the gradient. */
static inline double slope_along(const struct function *f, uint64_t seed, double *norm)
{
    double slope = 0, squares = 0;
    uint64_t saved = random_state;
    random_state = seed;
    for (size_t a = 0; a < f->n_args; a++)
        for (size_t i = 0; i < f->args[a].n; i++) {
            double g = f->args[a].dx[i];
            slope += (random_bits() >> 63 ? 1 : -1) * g;
            squares += g * g;
        }
    random_state = saved;
    *norm = sqrt(squares);
    return slope;
}

/* Compares at most `per_array` single derivatives of every array, relative to the largest gradient
 * of all, and four derivatives along random directions, relative to the gradient's norm. */
static inline void check_gradient(const char *what, const struct function *f, size_t per_array,
                                  double tolerance)
{
    double scale = 0, worst = 0, norm;
    for (size_t a = 0; a < f->n_args; a++)
        for (size_t i = 0; i < f->args[a].n; i++) scale = fmax(scale, fabs(f->args[a].dx[i]));
    for (size_t a = 0; a < f->n_args; a++) {
        const struct argument *x = &f->args[a];
        size_t stride = x->n / per_array + 1;
        for (size_t i = random_below(stride); i < x->n; i += stride) {
#define AT(steps) shifted_one(f, x->x + i, steps)
            double want = DERIVATIVE(AT), error = fabs(x->dx[i] - want) / scale;
#undef AT
            if (!(error <= tolerance)) {
                fail_msg("%s: %s[%zu] is %.12g, finite differences give %.12g", what, x->name, i,
                         x->dx[i], want);
            }
            worst = fmax(worst, error);
        }
    }
    report_error(what, worst, tolerance);
    for (int n = 0; n < 4; n++) {
        uint64_t seed = random_bits();
#define AT(steps) shifted_all(f, seed, steps)
        double got = slope_along(f, seed, &norm), want = DERIVATIVE(AT);
#undef AT
        if (!(fabs(got - want) <= tolerance * norm)) {
            fail_msg("%s: along a random direction %.12g, finite differences give %.12g", what, got,
                     want);
        }
        report_error("  along a direction", fabs(got - want) / norm, tolerance);
    }
}

#endif
