#include "src/model/base_copy.h"

#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"

static const char remedy[] = "let PEFT merge the adapter (merge_and_unload, save_pretrained) and "
                             "use the result as the model";

/* A norm as a matrix of one row; `real` may be double, which has no type of storage. */
struct weight {
    struct matrix matrix;
    const real *norm;
    size_t rows, cols; /* rows 0: a norm */
};

static bool find_in_layer(struct weight *w, const struct llama *m, size_t layer, const char *rest)
{
    const struct layer_weights *l = &m->layer[layer];
    for (int i = 0; i < MODULES; i++) {
        if (strcmp(rest, module_table[i].path) != 0) continue;
        *w = (struct weight){ .matrix = l->w[i], .rows = l->w[i].rows, .cols = l->w[i].cols };
        return true;
    }
    bool first = strcmp(rest, "input_layernorm") == 0;
    if (!first && strcmp(rest, "post_attention_layernorm") != 0) return false;
    *w = (struct weight){ .norm = first ? l->norm1 : l->norm2, .cols = m->shape.C };
    return true;
}

static bool find(struct weight *w, const struct llama *m, const char *module)
{
    size_t layer;
    int at = 0;
    const struct matrix *named = NULL;
    if (strcmp(module, "model.embed_tokens") == 0) named = &m->embedding;
    if (strcmp(module, "lm_head") == 0) named = &m->head;
    if (named) *w = (struct weight){ .matrix = *named, .rows = named->rows, .cols = named->cols };
    if (strcmp(module, "model.norm") == 0)
        *w = (struct weight){ .norm = m->norm, .cols = m->shape.C };
    if (w->cols) return true;
    if (sscanf(module, "model.layers.%9zu.%n", &layer, &at) != 1 || !at) return false;
    return layer < m->shape.layers && find_in_layer(w, m, layer, module + at);
}

/* Whether row i, rounded to the type of the copy, is the copy's. `row` and `bytes` are room. */
static bool same_row(const struct weight *w, const struct tensor *t, size_t i, real *row,
                     float *rounded, uint8_t *bytes)
{
    size_t n = dtype_bytes(t->type, w->cols);
    const struct kernels *k = kernels_baseline();
    if (w->rows) k->widen(row, &w->matrix, i, 0, w->cols);
    for (size_t j = 0; j < w->cols; j++) rounded[j] = (float)(w->rows ? row[j] : w->norm[j]);
    storage_narrow(bytes, t->type, rounded, w->cols);
    return memcmp(bytes, t->data + i * n, n) == 0;
}

static int compare(const struct weight *w, const struct tensor *t, const char *path, struct err *e)
{
    real *row = mem_alloc(w->cols, sizeof *row, e);
    float *rounded = mem_alloc(w->cols, sizeof *rounded, e);
    uint8_t *bytes = mem_alloc(w->cols, sizeof *rounded, e);
    int code = row && rounded && bytes ? 0 : e->code;
    size_t rows = w->rows ? w->rows : 1;
    bool quantised = w->rows && storage_of(w->matrix.type)->blocks;
    for (size_t i = 0; i < rows && !code; i++) {
        if (same_row(w, t, i, row, rounded, bytes)) continue;
        code = err_set(e,
                       "%s: tensor %s: is not the base's own weight (row %zu differs)%s, and lorac "
                       "uses no weights that were trained whole; %s",
                       path, err_quotez(t->name), i,
                       quantised ? " or the base was quantised since" : "", remedy);
    }
    mem_free(row);
    mem_free(rounded);
    mem_free(bytes);
    return code;
}

static bool shape_fits(const struct weight *w, const struct tensor *t)
{
    if (!w->rows) return t->rank == 1 && t->dims[0] == w->cols;
    return t->rank == 2 && t->dims[0] == w->rows && t->dims[1] == w->cols;
}

int base_copy_check(const struct llama *m, const struct shape *s, const struct tensor *t,
                    const char *module, const char *path, struct err *e)
{
    struct weight w = { .cols = 0 };
    if (!m) {
        return err_set(
            e,
            "%s: tensor %s: looks like a copy of a weight of the base, and whether it was "
            "changed only the base's weights tell; name the whole base with --model",
            path, err_quotez(t->name));
    }
    if (!find(&w, m, module)) {
        return err_set(e, "%s: tensor %s: does not belong to a LoRA adapter of this model", path,
                       err_quotez(t->name));
    }
    if (t->type == DTYPE_OTHER || storage_of(t->type)->blocks) {
        return err_set(e, "%s: tensor %s: found type %s, wanted F32, F16 or BF16", path,
                       err_quotez(t->name), t->type_name);
    }
    if (shape_fits(&w, t)) return compare(&w, t, path, e);
    bool grown = t->rank == 2 && w.rows == s->V && t->dims[1] == w.cols;
    return err_set(e, "%s: tensor %s: has %llu rows%s, the base's weight %zu%s; %s", path,
                   err_quotez(t->name), t->rank ? (unsigned long long)t->dims[0] : 0ull,
                   grown ? ", since its vocabulary was resized" : "", w.rows ? w.rows : w.cols,
                   grown ? "" : " and another shape", remedy);
}
