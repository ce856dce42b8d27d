#include "src/convert/extract.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/model/tensors.h"

enum { OVERSAMPLE = 10, ROUNDS = 3, SWEEPS = 40 };

/* Room for the largest matrix of the model. */
struct work {
    const struct kernels *k;
    real *d, *other;              /* (rows, cols) the difference; a row of the base per row */
    real *y, *z;                  /* (rows, p), (cols, p) */
    double *gram, *vectors, *row; /* (p, p), (p, p), (p) */
    void *product;
    size_t p;
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int work_init(struct work *w, const struct dims *s, size_t r, const struct kernels *k,
                     struct err *e)
{
    size_t most = 0, longest = 0;
    for (int m = 0; m < MODULES; m++) {
        size_t rows = module_rows(s, (enum module)m), cols = module_cols(s, (enum module)m);
        most = larger(most, rows * cols);
        longest = larger(longest, larger(rows, cols));
    }
    size_t p = r + OVERSAMPLE;
    *w = (struct work){ .k = k, .p = p };
    w->d = mem_alloc(most, sizeof *w->d, e);
    w->other = mem_alloc(most, sizeof *w->other, e);
    w->y = mem_alloc(longest * p, sizeof *w->y, e);
    w->z = mem_alloc(longest * p, sizeof *w->z, e);
    w->gram = mem_alloc(p * p, sizeof *w->gram, e);
    w->vectors = mem_alloc(p * p, sizeof *w->vectors, e);
    w->row = mem_alloc(p, sizeof *w->row, e);
    w->product = mem_alloc(k->matmul_work_bytes(), 1, e);
    bool all = w->d && w->other && w->y && w->z && w->gram && w->vectors && w->row && w->product;
    return all ? 0 : e->code;
}

static void work_free(struct work *w)
{
    mem_free(w->d);
    mem_free(w->other);
    mem_free(w->y);
    mem_free(w->z);
    mem_free(w->gram);
    mem_free(w->vectors);
    mem_free(w->row);
    mem_free(w->product);
}

/* ---- small dense algebra --------------------------------------------------------------------- */

/* gram (p, p) = x^T x of x (n, p) */
static void gram_of(double *gram, const real *x, size_t n, size_t p)
{
    memset(gram, 0, p * p * sizeof *gram);
#pragma omp parallel for schedule(static)
    for (size_t a = 0; a < p; a++)
        for (size_t i = 0; i < n; i++) {
            double xa = (double)x[i * p + a];
            for (size_t b = 0; b <= a; b++) gram[a * p + b] += xa * (double)x[i * p + b];
        }
    for (size_t a = 0; a < p; a++)
        for (size_t b = 0; b < a; b++) gram[b * p + a] = gram[a * p + b];
}

/* The lower Cholesky factor in place. A direction that is spanned already gets a diagonal of 0. */
static void cholesky(double *g, size_t p)
{
    for (size_t j = 0; j < p; j++) {
        double d = g[j * p + j], left = d;
        for (size_t k = 0; k < j; k++) left -= g[j * p + k] * g[j * p + k];
        double root = left > 1e-11 * d && d > 0 ? sqrt(left) : 0;
        g[j * p + j] = root;
        for (size_t i = j + 1; i < p; i++) {
            double v = g[i * p + j];
            for (size_t k = 0; k < j; k++) v -= g[i * p + k] * g[j * p + k];
            g[i * p + j] = root > 0 ? v / root : 0;
        }
    }
}

/* The columns of x (n, p) made orthonormal; those that add nothing become zero. */
static void orthonormalise(struct work *w, real *x, size_t n, size_t p)
{
    for (int twice = 0; twice < 2; twice++) {
        gram_of(w->gram, x, n, p);
        cholesky(w->gram, p);
        const double *l = w->gram;
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++) {
            real *row = x + i * p;
            for (size_t j = 0; j < p; j++) {
                double v = (double)row[j];
                for (size_t k = 0; k < j; k++) v -= l[j * p + k] * (double)row[k];
                row[j] = l[j * p + j] > 0 ? (real)(v / l[j * p + j]) : 0;
            }
        }
    }
}

/* One Jacobi rotation in the plane (i, j): a (p, p) is symmetric, v's rows turn along. */
static void rotate(double *a, double *v, size_t p, size_t i, size_t j)
{
    double theta = (a[j * p + j] - a[i * p + i]) / (2 * a[i * p + j]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (size_t k = 0; k < p; k++) {
        double x = a[k * p + i], y = a[k * p + j];
        a[k * p + i] = c * x - s * y;
        a[k * p + j] = s * x + c * y;
    }
    for (size_t k = 0; k < p; k++) {
        double x = a[i * p + k], y = a[j * p + k];
        a[i * p + k] = c * x - s * y;
        a[j * p + k] = s * x + c * y;
        x = v[i * p + k], y = v[j * p + k];
        v[i * p + k] = c * x - s * y;
        v[j * p + k] = s * x + c * y;
    }
}

/* Eigenvalues on the diagonal of a, eigenvectors as rows of v, largest first. */
static void eigen(double *a, double *v, size_t p)
{
    double total = 0;
    memset(v, 0, p * p * sizeof *v);
    for (size_t i = 0; i < p; i++) v[i * p + i] = 1, total += a[i * p + i];
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool turned = false;
        for (size_t i = 0; i < p; i++)
            for (size_t j = i + 1; j < p; j++) {
                if (fabs(a[i * p + j]) <= 1e-15 * total) continue;
                rotate(a, v, p, i, j);
                turned = true;
            }
        if (!turned) break;
    }
    for (size_t i = 0; i < p; i++) {
        size_t top = i;
        for (size_t j = i + 1; j < p; j++)
            if (a[j * p + j] > a[top * p + top]) top = j;
        double value = a[i * p + i];
        a[i * p + i] = a[top * p + top];
        a[top * p + top] = value;
        for (size_t k = 0; k < p && top != i; k++) {
            double x = v[i * p + k];
            v[i * p + k] = v[top * p + k];
            v[top * p + k] = x;
        }
    }
}

/* ---- one matrix ------------------------------------------------------------------------------ */

static void widen_all(const struct kernels *k, real *out, const struct matrix *x)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < x->rows; i++) k->widen(out + i * x->cols, x, i, 0, x->cols);
}

/* The sum of squares of the difference, which is left in d (rows, cols), and that of the base. */
static double difference(struct work *w, const struct matrix *tuned, const struct matrix *base,
                         double *base_squares)
{
    size_t n = base->rows * base->cols;
    widen_all(w->k, w->d, tuned);
    widen_all(w->k, w->other, base);
    *base_squares += w->k->sum_squares(w->other, n);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) w->d[i] -= w->other[i];
    return w->k->sum_squares(w->d, n);
}

/* y (rows, p) = d z, or z (cols, p) = d^T y */
static void times(struct work *w, size_t rows, size_t cols, size_t p, bool transposed)
{
    struct term t = { .a = w->d,
                      .lda = cols,
                      .a_cols = transposed,
                      .K = transposed ? rows : cols,
                      .b = transposed ? w->y : w->z,
                      .ldb = p };
    w->k->matmul(transposed ? w->z : w->y, p, &t, 1, transposed ? cols : rows, p, false,
                 w->product);
}

/* B (rows, ldr) and A (r, cols) of d's best rank r; returns the squares that they hold. */
static double factor(struct work *w, real *A, real *B, size_t rows, size_t cols, size_t r,
                     uint32_t number)
{
    size_t p = smaller(w->p, smaller(rows, cols)), n = smaller(r, p);
    double held = 0;
    for (size_t i = 0; i < cols * p; i++) w->z[i] = (real)(rng_unit(1, RNG_SYNTH, number, i) - 0.5);
    times(w, rows, cols, p, false);
    for (int round = 0; round < ROUNDS; round++) {
        orthonormalise(w, w->y, rows, p);
        times(w, rows, cols, p, true);
        orthonormalise(w, w->z, cols, p);
        times(w, rows, cols, p, false);
    }
    orthonormalise(w, w->y, rows, p);
    times(w, rows, cols, p, true); /* z^T = y^T d: what is left to decompose */
    gram_of(w->gram, w->z, cols, p);
    eigen(w->gram, w->vectors, p);
    for (size_t j = 0; j < n; j++) {
        double square = w->gram[j * p + j], root = square > 0 ? sqrt(sqrt(square)) : 0;
        const double *v = w->vectors + j * p;
        held += root > 0 ? square : 0;
        for (size_t i = 0; i < rows; i++) {
            double x = 0;
            for (size_t q = 0; q < p; q++) x += (double)w->y[i * p + q] * v[q];
            B[i * r + j] = (real)(x * root);
        }
        for (size_t i = 0; i < cols; i++) {
            double x = 0;
            for (size_t q = 0; q < p; q++) x += (double)w->z[i * p + q] * v[q];
            A[j * cols + i] = root > 0 ? (real)(x / root) : 0;
        }
    }
    return held;
}

/* ---- the whole model ------------------------------------------------------------------------- */

static void add_norm(double *squares, double *base_squares, const real *x, const real *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        *squares += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        *base_squares += (double)y[i] * (double)y[i];
    }
}

static void add_rows(double *squares, double *base_squares, struct work *w, const struct matrix *x,
                     const struct matrix *y)
{
    for (size_t i = 0; i < x->rows; i++) {
        w->k->widen(w->d, x, i, 0, x->cols);
        w->k->widen(w->other, y, i, 0, x->cols);
        add_norm(squares, base_squares, w->d, w->other, x->cols);
    }
}

static double elsewhere(struct work *w, const struct llama *tuned, const struct llama *base)
{
    double squares = 0, all = 0;
    for (struct tensor_walk at = tensor_walk(&base->dims); tensor_next(&at);) {
        struct tensor_values x = tensor_values(tuned, &at), y = tensor_values(base, &at);
        if (at.module >= 0) continue;
        if (x.matrix) {
            add_rows(&squares, &all, w, x.matrix, y.matrix);
        } else {
            add_norm(&squares, &all, x.vector, y.vector, at.cols);
        }
    }
    return all > 0 ? sqrt(squares / all) : 0;
}

static int check_dims(const struct dims *a, const struct dims *b, size_t r, struct err *e)
{
    if (a->family != b->family || a->layers != b->layers || a->C != b->C || a->F != b->F ||
        a->H != b->H || a->G != b->G || a->D != b->D || a->V != b->V) {
        return err_set(e, "the model and its base differ in shape: an adapter cannot hold that");
    }
    size_t most = smaller(smaller(b->C, b->F), b->G * b->D);
    if (r == 0 || r > most || r > EXTRACT_R_MAX) {
        return err_usage(e, "--r: found %zu, wanted 1 to %zu", r, smaller(most, EXTRACT_R_MAX));
    }
    return 0;
}

/* Sums of squares: of the difference, of the part of it that the adapter holds, of the base. */
struct sums {
    double difference, held, base;
};

/* The pair of one matrix. */
static void extract_matrix(struct adapter *out, struct extract_report *report, struct sums *sums,
                           struct work *w, const struct llama *tuned, const struct llama *base,
                           size_t layer, enum module m)
{
    const struct dims *s = &base->dims;
    double d = difference(w, &tuned->layer[layer].w[m], &base->layer[layer].w[m], &sums->base);
    sums->difference += d;
    report->changed += d > 0;
    if (d > 0) {
        sums->held += factor(w, adapter_a(out, out->params, layer, m),
                             adapter_b(out, out->params, layer, m), module_rows(s, m),
                             module_cols(s, m), out->r, (uint32_t)(layer * MODULES + (size_t)m));
    }
}

int extract_adapter(struct adapter *out, struct extract_report *report, const struct llama *tuned,
                    const struct llama *base, size_t r, const struct kernels *k,
                    const struct watch *watch, struct err *e)
{
    struct work w = { 0 };
    const struct dims *s = &base->dims;
    struct sums sums = { 0 };
    *out = (struct adapter){ 0 };
    *report = (struct extract_report){ 0 };
    int code = check_dims(&tuned->dims, s, r, e);
    if (code) return code;
    code = work_init(&w, s, r, k, e);
    adapter_layout(out, s, r, (double)r, (1u << MODULES) - 1);
    if (!code) code = adapter_place(out, e);
    for (size_t i = 0, n = s->layers * MODULES; !code && i < n; i++) {
        extract_matrix(out, report, &sums, &w, tuned, base, i / MODULES,
                       (enum module)(i % MODULES));
        code = watch_step(watch, (double)(i + 1), (double)n, e);
    }
    if (!code) {
        report->kept = sums.difference > 0 ? sums.held / sums.difference : 1;
        report->elsewhere = elsewhere(&w, tuned, base);
    }
    for (size_t i = 0; !code && i < out->n_params; i++)
        if (!isfinite(out->params[i])) code = err_set(e, "the difference holds NaN or infinity");
    work_free(&w);
    if (code) adapter_free(out);
    return code;
}
