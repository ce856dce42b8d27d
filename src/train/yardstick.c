#include "src/train/yardstick.h"

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/term.h"

enum { ROWS = 512, WIDEST = 2048, FMA_REPEATS = 10000000 };
static const double sample_s = 0.1;

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

void yardstick_start(int threads)
{
    struct machine_binding bound;
    real one = 1, product;
    machine_unbind(&bound);
    blas_product(&product, &one, &one, 1, 1, 1, true, threads);
    machine_rebind(&bound);
}

/* The best of three: what disturbs only ever slows down. */
double yardstick_sgemm(const struct shape *s, int threads)
{
    struct err ignored;
    size_t K = at_most(s->C, WIDEST), N = at_most(s->F, WIDEST);
    real *x = mem_alloc(ROWS * K, sizeof *x, &ignored),
         *y = mem_alloc(ROWS * N, sizeof *y, &ignored);
    real *w = mem_alloc(K * N, sizeof *w, &ignored);
    double flops = 2.0 * ROWS * (double)K * (double)N, best = 0;
    yardstick_start(threads);
    for (int sample = -1; x && y && w && sample < 3; sample++) {
        double start = term_now_s(), seconds;
        int runs = 0;
        do {
            blas_product(y, x, w, ROWS, N, K, true, threads);
            runs++;
            seconds = term_now_s() - start;
        } while (sample >= 0 && seconds < sample_s);
        if (sample >= 0 && flops * runs / seconds > best) best = flops * runs / seconds;
    }
    mem_free(x);
    mem_free(y);
    mem_free(w);
    return best;
}

double yardstick_fma(const struct kernels *k)
{
    double best = 0;
    for (int sample = 0; sample < 3; sample++) {
        double start = term_now_s(), flops = k->fma_flops(FMA_REPEATS);
        double rate = flops / (term_now_s() - start);
        if (rate > best) best = rate;
    }
    return best;
}
