#include "src/model/lora.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/waiting.h"

/* ---- the parameters -------------------------------------------------------------------------- */

enum group module_group(enum module m)
{
    switch (m) {
    case O_PROJ:
        return GROUP_O;
    case GATE_PROJ:
    case UP_PROJ:
        return GROUP_GATE_UP;
    case DOWN_PROJ:
        return GROUP_DOWN;
    default:
        return GROUP_QKV;
    }
}

void adapter_layout(struct adapter *a, const struct dims *s, size_t r, double lora_alpha,
                    unsigned modules)
{
    CHECK(modules && r);
    *a = (struct adapter){ .dims = *s, .r = r, .lora_alpha = lora_alpha, .modules = modules };
    a->scale = lora_alpha / (double)r;
    size_t at = 0;
    for (int m = 0; m < MODULES; m++) { /* modules of a group are neighbours in the enum */
        if (!adapter_has(a, (enum module)m)) continue;
        a->slot[m] = a->group_modules[module_group((enum module)m)]++;
        a->a_at[m] = at;
        at += r * module_cols(s, (enum module)m);
    }
    for (int m = 0; m < MODULES; m++) {
        if (!adapter_has(a, (enum module)m)) continue;
        a->b_at[m] = at;
        at += r * module_rows(s, (enum module)m);
    }
    a->layer_params = at;
    a->n_params = at * s->layers;
}

real *adapter_a(const struct adapter *a, real *flat, size_t layer, enum module m)
{
    return flat + layer * a->layer_params + a->a_at[m];
}

real *adapter_b(const struct adapter *a, real *flat, size_t layer, enum module m)
{
    return flat + layer * a->layer_params + a->b_at[m];
}

real *adapter_group_a(const struct adapter *a, real *flat, size_t layer, enum group g)
{
    for (int m = 0; m < MODULES; m++)
        if (module_group((enum module)m) == g && adapter_has(a, (enum module)m))
            return adapter_a(a, flat, layer, (enum module)m);
    return NULL;
}

void adapter_init(struct adapter *a, uint64_t seed)
{
    memset(a->params, 0, a->n_params * sizeof(real));
    for (size_t l = 0; l < a->dims.layers; l++)
        for (int i = 0; i < MODULES; i++) {
            enum module m = (enum module)i;
            if (!adapter_has(a, m)) continue;
            size_t cols = module_cols(&a->dims, m);
            double bound = 1 / sqrt((double)cols);
            real *A = adapter_a(a, a->params, l, m);
            for (size_t j = 0; j < a->r * cols; j++) {
                double u = rng_unit(seed, RNG_INIT_A, (uint32_t)(l * MODULES + m), j);
                A[j] = (real)((2 * u - 1) * bound);
            }
        }
}

int adapter_place(struct adapter *a, struct err *e)
{
    a->params = mem_alloc(a->n_params, sizeof(real), e);
    return a->params ? 0 : e->code;
}

int adapter_combine(struct adapter *out, const struct adapter *parts, size_t n, struct err *e)
{
    size_t r = 0;
    unsigned modules = 0;
    for (size_t i = 0; i < n; i++) r += parts[i].r, modules |= parts[i].modules;
    adapter_layout(out, &parts[0].dims, r, (double)r, modules); /* scale 1: folded into B */
    int code = adapter_place(out, e);
    if (code) return code;
    for (size_t l = 0; l < out->dims.layers; l++)
        for (int i = 0; i < MODULES; i++) {
            enum module m = (enum module)i;
            size_t at = 0, cols = module_cols(&out->dims, m), rows = module_rows(&out->dims, m);
            for (const struct adapter *p = parts; p < parts + n; at += p->r, p++) {
                if (!adapter_has(p, m)) continue;
                memcpy(adapter_a(out, out->params, l, m) + at * cols, adapter_a(p, p->params, l, m),
                       p->r * cols * sizeof(real));
                const real *from = adapter_b(p, p->params, l, m);
                real *to = adapter_b(out, out->params, l, m) + at;
                for (size_t j = 0; j < rows; j++)
                    for (size_t q = 0; q < p->r; q++)
                        to[j * r + q] = (real)p->scale * from[j * p->r + q];
            }
        }
    return 0;
}

void adapter_free(struct adapter *a)
{
    mem_free(a->params);
    *a = (struct adapter){ 0 };
}

/* ---- the products ---------------------------------------------------------------------------- */

/* y = or += x with dropout. The modules of a group read one input: they share its mask. */
static void drop(const struct lora *l, enum group g, const struct rows *rows, real *y,
                 const real *x, size_t cols, bool accumulate)
{
    struct dropout d = *l->drop;
    d.layer = (uint32_t)l->layer;
    d.input = (uint32_t)g;
    l->k->dropout(y, x, &d, rows->example, rows->pos, rows->n, cols, accumulate);
}

void lora_product(const struct lora *l, const struct lora_output *out, const real *x, const real *u,
                  size_t M)
{
    const struct adapter *a = l->adapter;
    const struct matrix *w = &l->w[out->m];
    /* y = x W^T */
    struct term t[2] = { { .a = x, .lda = w->cols, .w = w, .K = w->cols, .b_rows = true } };
    size_t terms = 1;
    if (a && adapter_has(a, out->m)) { /* + u B^T */
        t[terms++] = (struct term){ .a = u + a->slot[out->m] * a->r,
                                    .lda = adapter_width(a, module_group(out->m)),
                                    .b = adapter_b(a, a->params, l->layer, out->m),
                                    .ldb = a->r,
                                    .K = a->r,
                                    .b_rows = true };
    }
    l->k->matmul(out->y, w->rows, t, terms, M, w->rows, out->accumulate, l->work);
}

/* The same as lora_forward() without dropout: all that reads x in one go, then all that reads u. */
static void forward_few(const struct lora *l, enum group g, const struct lora_output *out,
                        size_t n_out, const real *x, real *u, size_t M)
{
    const struct adapter *a = l->adapter;
    struct row_product p[4];
    size_t count = 0, width = adapter_width(a, g), K = l->w[out->m].cols;
    for (size_t i = 0; i < n_out; i++) { /* y = x W^T */
        const struct matrix *w = &l->w[out[i].m];
        p[count++] = (struct row_product){ .y = out[i].y,
                                           .ldy = w->rows,
                                           .x = x,
                                           .ldx = K,
                                           .w = w,
                                           .N = w->rows,
                                           .K = K,
                                           .accumulate = out[i].accumulate };
    }
    if (width) { /* u = x A^T */
        const real *A = adapter_group_a(a, a->params, l->layer, g);
        p[count++] = (struct row_product){
            .y = u, .ldy = width, .x = x, .ldx = K, .b = A, .ldb = K, .N = width, .K = K
        };
    }
    l->k->matvec(p, count, M);
    if (!width) return;
    l->k->scale(u, (real)a->scale, M * width);
    count = 0;
    for (size_t i = 0; i < n_out; i++) { /* y += u B^T */
        if (!adapter_has(a, out[i].m)) continue;
        size_t rows = l->w[out[i].m].rows;
        p[count++] = (struct row_product){ .y = out[i].y,
                                           .ldy = rows,
                                           .x = u + a->slot[out[i].m] * a->r,
                                           .ldx = width,
                                           .b = adapter_b(a, a->params, l->layer, out[i].m),
                                           .ldb = a->r,
                                           .N = rows,
                                           .K = a->r,
                                           .accumulate = true };
    }
    l->k->matvec(p, count, M);
}

void lora_forward(const struct lora *l, enum group g, const struct lora_output *out, size_t n_out,
                  const real *x, real *u, const struct rows *rows)
{
    const struct adapter *a = l->adapter;
    size_t M = rows->n, width = adapter_width(a, g), K = l->w[out->m].cols;
    waiting_adapt();
    if (l->few_rows && M <= MATVEC_ROWS) {
        forward_few(l, g, out, n_out, x, u, M);
        return;
    }
    if (width) { /* u = s drop(x) A^T */
        const real *in = x;
        if (l->drop) {
            drop(l, g, rows, l->dropped, x, K, false);
            in = l->dropped;
        }
        const real *A = adapter_group_a(a, a->params, l->layer, g);
        struct term t = { .a = in, .lda = K, .b = A, .ldb = K, .K = K, .b_rows = true };
        l->k->matmul(u, width, &t, 1, M, width, false, l->work);
        l->k->scale(u, (real)a->scale, M * width);
    }
    for (size_t i = 0; i < n_out; i++) lora_product(l, out + i, x, u, M);
}

void lora_backward(const struct lora *l, enum group g, const struct lora_gradient *in, size_t n_in,
                   const real *x, const real *u, const struct rows *rows, real *dx, real *grad)
{
    const struct kernels *k = l->k;
    const struct adapter *a = l->adapter;
    size_t M = rows->n, width = adapter_width(a, g), K = l->w[in->m].cols, terms = 0;
    struct term t[4]; /* of dx */
    waiting_adapt();
    for (size_t i = 0; i < n_in; i++) {
        enum module m = in[i].m;
        size_t N = l->w[m].rows, at = a->slot[m] * a->r;
        struct term dy = { .a = in[i].dy, .lda = N, .K = N };
        if (!in[i].adapter_only) { /* y = x W^T: dx = dy W */
            t[terms] = dy;
            t[terms++].w = &l->w[m];
        }
        if (!adapter_has(a, m)) continue;
        /* y = u B^T: du = dy B, dB = dy^T u */
        dy.b = adapter_b(a, a->params, l->layer, m);
        dy.ldb = a->r;
        k->matmul(l->du + at, width, &dy, 1, M, a->r, false, l->work);
        struct term db = {
            .a = in[i].dy, .lda = N, .a_cols = true, .b = u + at, .ldb = width, .K = M
        };
        k->matmul(adapter_b(a, grad, l->layer, m), a->r, &db, 1, N, a->r, false, l->work);
    }
    struct term through_a = { .a = l->du, .lda = width, .ldb = K, .K = width };
    if (width) { /* u = s drop(x) A^T: dA = s du^T drop(x) */
        k->scale(l->du, (real)a->scale, M * width);
        if (l->drop) drop(l, g, rows, l->dropped, x, K, false);
        struct term da = { .a = l->du,
                           .lda = width,
                           .a_cols = true,
                           .b = l->drop ? l->dropped : x,
                           .ldb = K,
                           .K = M };
        k->matmul(adapter_group_a(a, grad, l->layer, g), K, &da, 1, width, K, false, l->work);
        through_a.b = adapter_group_a(a, a->params, l->layer, g);
    }
    if (!dx) return;
    /* dx = dy W + s du A, the latter through the mask */
    if (width && !l->drop) t[terms++] = through_a;
    k->matmul(dx, K, t, terms, M, K, false, l->work);
    if (width && l->drop) {
        k->matmul(l->dropped, K, &through_a, 1, M, K, false, l->work);
        drop(l, g, rows, dx, l->dropped, K, true);
    }
}
