#include "src/convert/weights.h"

#include <math.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"

enum { BLOCK_BYTES = 16 << 20, F16_MAX = 65504 };

/* ---- the list -------------------------------------------------------------------------------- */

/* The type in which a matrix of this width is stored: block types need whole blocks, and embedding
 * and head, where rounding costs most, keep 8 bits (llama.cpp's quantiser gives them more, too). */
static enum storage_type type_for(enum storage_type dtype, size_t cols, bool outer)
{
    if (!storage_of(dtype)->blocks) return dtype;
    if (cols % storage_block_values(dtype)) return STORAGE_F16;
    return outer ? STORAGE_Q8_0 : dtype;
}

static void list(struct weights *w, bool gguf, enum storage_type dtype)
{
    const struct llama *m = w->model;
    for (struct tensor_walk at = tensor_walk(&m->dims); tensor_next(&at);) {
        struct weight *t = &w->at[w->n++];
        struct tensor_values v = tensor_values(m, &at);
        enum storage_type vectors = gguf ? STORAGE_F32 : dtype;
        bool outer = at.row->scope == SCOPE_MODEL;
        *t = (struct weight){ .matrix = v.matrix,
                              .vector = v.vector,
                              .rows = at.rows,
                              .cols = at.cols,
                              .layer = at.layer,
                              .module = at.module,
                              .meta_rows = gguf && at.turned,
                              .type = v.vector ? vectors : type_for(dtype, at.cols, outer) };
        tensor_name(t->name, &at, gguf);
    }
}

int weights_init(struct weights *w, const struct llama *m, const struct adapter *a,
                 const struct kernels *k, enum weight_names names, enum storage_type dtype,
                 struct err *e)
{
    *w = (struct weights){ .model = m, .adapter = a, .k = k };
    w->at = mem_alloc(tensor_count(&m->dims), sizeof *w->at, e);
    if (!w->at) return e->code;
    list(w, names == WEIGHT_NAMES_GGUF, dtype);
    size_t widest = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->at[i].cols > widest) widest = w->at[i].cols;
    w->block_rows = BLOCK_BYTES / sizeof(real) / widest;
    if (w->block_rows == 0) w->block_rows = 1;
    for (size_t i = 0; i < w->n; i++) w->all_bytes += weight_bytes(&w->at[i]);
    w->wide = mem_alloc(w->block_rows * widest, sizeof(real), e);
    w->narrow = mem_alloc(w->block_rows * widest, 4, e);
    w->b = mem_alloc(w->block_rows, (a ? a->r : 1) * sizeof(real), e);
    w->work = mem_alloc(k->matmul_work_bytes(), 1, e);
    if (w->wide && w->narrow && w->b && w->work) return 0;
    weights_free(w);
    return e->code;
}

void weights_free(struct weights *w)
{
    mem_free(w->at);
    mem_free(w->wide);
    mem_free(w->narrow);
    mem_free(w->b);
    mem_free(w->work);
    *w = (struct weights){ 0 };
}

size_t weight_bytes(const struct weight *t)
{
    return storage_bytes(t->type, t->rows * t->cols);
}

int weights_check_room(const struct weights *w, const char *path, struct err *e)
{
    return space_need(path, w->all_bytes, "the model takes",
                      "free some, choose another place, or a smaller --dtype", e);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The row, in Hugging Face's order, that is written as row `row`. */
static size_t source_row(const struct weight *t, size_t head, size_t row)
{
    return t->meta_rows ? tensor_turned_row(row, head) : row;
}

/* wide (m, cols) += s B A for the rows from `first` on */
static void add_adapter(struct weights *w, const struct weight *t, size_t first, size_t m)
{
    const struct adapter *a = w->adapter;
    enum module module = (enum module)t->module;
    const real *B = adapter_b(a, a->params, t->layer, module);
    for (size_t i = 0; i < m; i++) {
        const real *from = B + source_row(t, a->dims.D, first + i) * a->r;
        for (size_t j = 0; j < a->r; j++) w->b[i * a->r + j] = (real)a->scale * from[j];
    }
    struct term product = { .a = w->b,
                            .lda = a->r,
                            .K = a->r,
                            .ldb = t->cols,
                            .b = adapter_a(a, a->params, t->layer, module) };
    w->k->matmul(w->wide, t->cols, &product, 1, m, t->cols, true, w->work);
}

static int check_values(const struct weight *t, const real *x, size_t n, struct err *e)
{
    /* block types keep their scale as f16, of which values are multiples */
    double most = t->type == STORAGE_F16 || storage_of(t->type)->blocks ? F16_MAX : INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return err_set(e, "tensor %s: the merged weights are not finite", t->name);
        }
        if (fabs((double)x[i]) > most) {
            return err_set(e, "tensor %s: %g does not fit %s; bf16 would hold it", t->name,
                           (double)x[i], storage_name(t->type));
        }
    }
    return 0;
}

static void narrow_rows(struct weights *w, const struct weight *t, size_t m)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < m; i++) {
        const real *x = w->wide + i * t->cols;
        uint8_t *to = w->narrow + i * storage_bytes(t->type, t->cols);
#ifdef REAL_DOUBLE
        for (size_t j = 0; j < t->cols; j++) {
            float f = (float)x[j];
            storage_narrow(to + storage_bytes(t->type, j), t->type, &f, 1);
        }
#else
        storage_narrow(to, t->type, x, t->cols);
#endif
    }
}

int weights_write(struct weights *w, size_t i, weight_sink *sink, void *to, struct err *e)
{
    const struct weight *t = &w->at[i];
    bool changed = w->adapter && t->module >= 0 && adapter_has(w->adapter, (enum module)t->module);
    int code = 0;
    for (size_t first = 0; !code && first < t->rows; first += w->block_rows) {
        size_t m = t->rows - first < w->block_rows ? t->rows - first : w->block_rows;
        if (t->vector) memcpy(w->wide, t->vector, t->cols * sizeof(real));
        if (t->matrix) {
#pragma omp parallel for schedule(static)
            for (size_t j = 0; j < m; j++)
                w->k->widen(w->wide + j * t->cols, t->matrix,
                            source_row(t, w->model->dims.D, first + j), 0, t->cols);
        }
        if (changed) add_adapter(w, t, first, m);
        code = check_values(t, w->wide, m * t->cols, e);
        if (code) break;
        narrow_rows(w, t, m);
        size_t bytes = m * storage_bytes(t->type, t->cols);
        code = sink(to, w->narrow, bytes, e);
        w->done_bytes += bytes;
        if (!code) code = watch_step(w->watch, (double)w->done_bytes, (double)w->all_bytes, e);
    }
    return code;
}
