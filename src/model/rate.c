#include "src/model/rate.h"

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/term.h"
#include "src/model/tensors.h"

enum { ROWS = 512, WIDEST = 2048, FMA_REPEATS = 20000000, SAMPLES = 3, PATTERN = 4096 };
static const double sample_s = 0.1;

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

/* ---- multiply-adds --------------------------------------------------------------------------- */

double rate_fma_run(const struct kernels *k)
{
    return k->fma_flops(FMA_REPEATS);
}

double rate_fma(const struct kernels *k)
{
    double best = 0;
    for (int i = 0; i < SAMPLES; i++) {
        double start = term_now_s(), flops = rate_fma_run(k);
        double rate = flops / (term_now_s() - start);
        if (rate > best) best = rate;
    }
    return best;
}

/* ---- products -------------------------------------------------------------------------------- */

/* Random numbers that repeat: zeros would cost a processor less power than a run does. */
static real *random_values(size_t n, uint64_t which, struct err *e)
{
    real pattern[PATTERN], *x = mem_alloc(n, sizeof *x, e);
    if (!x) return NULL;
    for (size_t i = 0; i < PATTERN; i++)
        pattern[i] = (real)(rng_unit(1, RNG_SYNTH, which, i) - 0.5);
    for (size_t i = 0; i < n; i++) x[i] = pattern[i % PATTERN];
    return x;
}

static void add_product(struct products *p, size_t N, size_t K, bool forward)
{
    p->list[p->n].N = N;
    p->list[p->n].K = K;
    p->list[p->n++].forward = forward;
}

/* Only products with stored weights multiply in bf16. */
static int narrow_weights(struct products *p, size_t n, struct err *e)
{
    p->stored = mem_alloc(n, sizeof(uint16_t), e);
    if (!p->stored) return e->code;
    p->k->to_bf16(p->stored, p->w, n);
    mem_free(p->w);
    p->w = NULL;
    return 0;
}

static int make_operands(struct products *p, struct err *e)
{
    size_t widest = 0, weights = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t N = p->list[i].N, K = p->list[i].K, wide = N > K ? N : K;
        if (wide > widest) widest = wide;
        if (N * K > weights) weights = N * K;
    }
    p->x = random_values(p->rows * widest, 0, e);
    p->y = mem_alloc(p->rows * widest, sizeof *p->y, e);
    p->w = random_values(weights, 1, e);
    p->work = mem_alloc(p->k ? p->k->matmul_work_bytes() : 0, 1, e);
    if (!p->x || !p->y || !p->w || !p->work) return e->code;
    return p->k && p->k->compute == COMPUTE_BF16 ? narrow_weights(p, weights, e) : 0;
}

int products_of_layer(struct products *p, const struct kernels *k, int threads,
                      const struct dims *s, size_t rows, struct err *e)
{
    *p = (struct products){ .k = k, .threads = threads, .rows = rows };
    for (int m = 0; m < MODULES; m++) {
        size_t N = module_rows(s, (enum module)m), K = module_cols(s, (enum module)m);
        add_product(p, N, K, true);
        add_product(p, N, K, false);
    }
    return make_operands(p, e);
}

double products_flops(const struct products *p)
{
    double flops = 0;
    for (size_t i = 0; i < p->n; i++)
        flops += 2 * (double)p->rows * (double)(p->list[i].N * p->list[i].K);
    return flops;
}

void products_run(void *products)
{
    struct products *p = products;
    for (size_t i = 0; i < p->n; i++) {
        bool forward = p->list[i].forward;
        size_t in = forward ? p->list[i].K : p->list[i].N;
        size_t out = forward ? p->list[i].N : p->list[i].K;
        struct matrix stored = {
            .data = p->stored, .type = STORAGE_BF16, .rows = p->list[i].N, .cols = p->list[i].K
        };
        struct term t = { .a = p->x, .lda = in, .b = p->w, .ldb = p->list[i].K, .K = in };
        t.b_rows = forward;
        if (p->stored) t.w = &stored;
        if (p->k) {
            p->k->matmul(p->y, out, &t, 1, p->rows, out, false, p->work);
        } else {
            blas_product(p->y, p->x, p->w, p->rows, out, in, forward, p->threads);
        }
    }
}

void products_free(struct products *p)
{
    mem_free(p->x);
    mem_free(p->y);
    mem_free(p->w);
    mem_free(p->stored);
    mem_free(p->work);
    *p = (struct products){ 0 };
}

/* ---- a quick look ---------------------------------------------------------------------------- */

void rate_start_sgemm(int threads)
{
    struct machine_binding bound;
    real one = 1, product;
    machine_unbind(&bound);
    blas_product(&product, &one, &one, 1, 1, 1, true, threads);
    machine_rebind(&bound);
}

static double best_rate(struct products *p)
{
    double best = 0, flops = products_flops(p);
    products_run(p); /* warms up */
    for (int i = 0; i < SAMPLES; i++) {
        double start = term_now_s(), seconds;
        int runs = 0;
        do {
            products_run(p);
            runs++;
            seconds = term_now_s() - start;
        } while (seconds < sample_s);
        if (flops * runs / seconds > best) best = flops * runs / seconds;
    }
    return best;
}

/* The rate of the MLP's product, whose operands are made here. */
static int measure(double *out, struct products *p, const struct dims *s, struct err *e)
{
    add_product(p, at_most(s->F, WIDEST), at_most(s->C, WIDEST), true);
    int code = make_operands(p, e);
    if (!code) *out = best_rate(p);
    products_free(p);
    return code;
}

int rate_sgemm(double *out, const struct dims *s, int threads, struct err *e)
{
    struct products p = { .threads = threads, .rows = ROWS };
    rate_start_sgemm(threads);
    return measure(out, &p, s, e);
}

int rate_product(double *out, const struct kernels *k, const struct dims *s, size_t rows,
                 struct err *e)
{
    struct products p = { .k = k, .rows = at_most(rows, ROWS) };
    return measure(out, &p, s, e);
}
