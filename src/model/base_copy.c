#include "src/model/base_copy.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

static const char remedy[] = "let PEFT merge the adapter (merge_and_unload, save_pretrained) and "
                             "use the result as the model";

struct weight {
    struct tensor_values values;
    size_t rows, cols; /* a vector: 1 row */
};

/* A tied head is looked for too: its copy is one of the embedding. */
static bool find(struct weight *out, const struct llama *m, const char *module)
{
    struct dims untied = m->dims;
    char name[TENSOR_NAME], wanted[TENSOR_NAME];
    size_t n = (size_t)snprintf(wanted, sizeof wanted, "%s.weight", module);
    untied.tied = false;
    for (struct tensor_walk w = tensor_walk(&untied); n < sizeof wanted && tensor_next(&w);) {
        tensor_name(name, &w, false);
        if (strcmp(name, wanted) != 0) continue;
        *out = (struct weight){ tensor_values(m, &w), w.rows, w.cols };
        return true;
    }
    return false;
}

/* Whether row i, rounded to the type of the copy, is the copy's. `row` and `bytes` are scratch. */
static bool same_row(const struct weight *w, const struct tensor *t, size_t i, real *row,
                     float *rounded, uint8_t *bytes)
{
    size_t n = storage_bytes(t->type, w->cols);
    const struct kernels *k = kernels_baseline();
    const real *values = w->values.vector ? w->values.vector : row;
    if (w->values.matrix) k->widen(row, w->values.matrix, i, 0, w->cols);
    for (size_t j = 0; j < w->cols; j++) rounded[j] = (float)values[j];
    storage_narrow(bytes, t->type, rounded, w->cols);
    return memcmp(bytes, t->data + i * n, n) == 0;
}

static int compare(const struct weight *w, const struct tensor *t, const char *path, struct err *e)
{
    real *row = mem_alloc(w->cols, sizeof *row, e);
    float *rounded = mem_alloc(w->cols, sizeof *rounded, e);
    uint8_t *bytes = mem_alloc(w->cols, sizeof *rounded, e);
    int code = row && rounded && bytes ? 0 : e->code;
    const struct matrix *matrix = w->values.matrix;
    bool quantised = matrix && storage_of(matrix->type)->blocks;
    for (size_t i = 0; i < w->rows && !code; i++) {
        if (same_row(w, t, i, row, rounded, bytes)) continue;
        code = err_set(e,
                       "%s: tensor %s: is not the base's own weight (row %zu differs)%s, and lorac "
                       "does not use weights that were trained whole; %s",
                       path, err_quotez(t->name), i,
                       quantised ? " or the base was quantised since" : "", remedy);
    }
    mem_free(row);
    mem_free(rounded);
    mem_free(bytes);
    return code;
}

static bool format_fits(const struct weight *w, const struct tensor *t)
{
    if (w->values.vector) return t->rank == 1 && t->dims[0] == w->cols;
    return t->rank == 2 && t->dims[0] == w->rows && t->dims[1] == w->cols;
}

int base_copy_check(const struct llama *m, const struct dims *s, const struct tensor *t,
                    const char *module, const char *path, struct err *e)
{
    struct weight w = { .cols = 0 };
    if (!m) {
        return err_set(
            e,
            "%s: tensor %s: looks like a copy of a weight of the base, but only the base's weights "
            "can tell whether it was changed; name the whole base with --model",
            path, err_quotez(t->name));
    }
    if (!find(&w, m, module)) {
        return err_set(e, "%s: tensor %s: does not belong to a LoRA adapter of this model", path,
                       err_quotez(t->name));
    }
    if (t->type == STORAGE_OTHER || storage_of(t->type)->blocks) {
        return err_set(e, "%s: tensor %s: found type %s, wanted F32, F16 or BF16", path,
                       err_quotez(t->name), t->type_name);
    }
    if (format_fits(&w, t)) return compare(&w, t, path, e);
    bool vector = w.values.vector;
    bool grown = t->rank == 2 && w.rows == s->V && t->dims[1] == w.cols;
    return err_set(e, "%s: tensor %s: has %llu rows%s, the base's weight %zu%s; %s", path,
                   err_quotez(t->name), t->rank ? (unsigned long long)t->dims[0] : 0ull,
                   grown ? ", since its vocabulary was resized" : "", vector ? w.cols : w.rows,
                   grown ? "" : " and another shape", remedy);
}
