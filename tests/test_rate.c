/* The products on which rates are measured are those of a layer; no test asks how fast they are. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>

#include "src/model/rate.h"
#include "src/model/tensors.h"
#include "tests/entry.h"

static const struct dims small = { .layers = 3, .C = 48, .F = 96, .H = 6, .G = 2, .D = 8 };

static const struct kernels *kernels(void)
{
    const char *why;
    return kernels_choose(NULL, NULL, COMPUTE_F32, &why);
}

static void all_products_of_a_layer_are_counted(void **state)
{
    (void)state;
    struct products p;
    struct err e;
    assert_int_equal(products_of_layer(&p, NULL, 1, &small, 7, &e), 0);
    /* 2 operations, twice: forward and for the gradient of the input */
    double each = (double)(dims_linear_params(&small) / small.layers);
    assert_true(products_flops(&p) == 4 * 7 * each);
    products_free(&p);
}

/* Of each in turn, since they share their operands and their result. */
static void sgemm_and_lorac_compute_the_same(void **state)
{
    (void)state;
    struct products sgemm, ours;
    struct err e;
    assert_int_equal(products_of_layer(&sgemm, NULL, 1, &small, 7, &e), 0);
    assert_int_equal(products_of_layer(&ours, kernels(), 1, &small, 7, &e), 0);
    for (; sgemm.n > 0; sgemm.n--, ours.n--) { /* the last one's result is left */
        size_t n = 7 * (ours.list[ours.n - 1].forward ? ours.list[ours.n - 1].N
                                                      : ours.list[ours.n - 1].K);
        products_run(&sgemm);
        products_run(&ours);
        for (size_t i = 0; i < n; i++)
            assert_true(fabs((double)(ours.y[i] - sgemm.y[i])) < 1e-5 && ours.y[i] != 0);
    }
    products_free(&sgemm);
    products_free(&ours);
}

static void rates_are_measured(void **state)
{
    (void)state;
    struct err e;
    double sgemm = 0, ours = 0;
    assert_true(rate_fma(kernels()) > 0);
    assert_int_equal(rate_sgemm(&sgemm, &small, 1, &e), 0);
    assert_int_equal(rate_product(&ours, kernels(), &small, 16, &e), 0);
    assert_true(sgemm > 0 && isfinite(sgemm) && ours > 0 && isfinite(ours));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(all_products_of_a_layer_are_counted, "rate: all products of a layer are counted"),
        ENTRY(sgemm_and_lorac_compute_the_same, "rate: sgemm and lorac compute the same"),
        ENTRY(rates_are_measured, "rate: rates are measured, and above 0"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
