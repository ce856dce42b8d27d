#include "src/model/tensors.h"

#include <stddef.h>
#include <stdio.h>

#define OWNER_MODEL struct llama
#define OWNER_BLOCK struct layer_weights

static const struct tensor_row table[] = {
#define TENSOR(slot, scope, hf, gguf, rows, cols, kind, order, present)                            \
    { hf,                                                                                          \
      gguf,                                                                                        \
      SCOPE_##scope,                                                                               \
      KIND_##kind,                                                                                 \
      ORDER_##order,                                                                               \
      PRESENT_##present,                                                                           \
      offsetof(OWNER_##scope, slot) },
#include "src/model/tensors.def"
};
enum { ROWS = sizeof table / sizeof *table };

static void size_of_row(size_t *rows_out, size_t *cols_out, size_t row, const struct dims *s)
{
    const size_t V = s->V, C = s->C, F = s->F, Q = s->H * s->D, KV = s->G * s->D;
    const size_t sizes[ROWS][2] = {
#define TENSOR(slot, scope, hf, gguf, rows, cols, kind, order, present) { rows, cols },
#include "src/model/tensors.def"
    };
    *rows_out = sizes[row][0];
    *cols_out = sizes[row][1];
}

/* ---- modules --------------------------------------------------------------------------------- */

const struct module_info module_table[MODULES] = {
#define MODULE(id, part, name, gguf, rows, cols, order) [id] = { #name, part #name, gguf },
#include "src/model/tensors.def"
};

/* Each module has one row, under the name that src/base/wordlists.h gives it. */
enum {
#define MODULE_NUMBER(id, name) NUMBER_OF_##name = id,
    MODULE_WORDS(MODULE_NUMBER, )
};
enum {
    MODULE_ROWS = 0
#define MODULE(id, part, name, gguf, rows, cols, order) +1
#include "src/model/tensors.def"
};
#define MODULE(id, part, name, gguf, rows, cols, order)                                            \
    _Static_assert((int)id == (int)NUMBER_OF_##name, "another module's name");
#include "src/model/tensors.def"
_Static_assert(MODULE_ROWS == (int)MODULES, "a row for each module");

static int module_of(const struct tensor_row *r)
{
    if (r->scope != SCOPE_BLOCK || r->kind != KIND_MATRIX) return -1;
    return (int)((r->slot - offsetof(struct layer_weights, w)) / sizeof(struct matrix));
}

static size_t row_of_module(enum module m)
{
    size_t i = 0;
    while (module_of(&table[i]) != (int)m) i++;
    return i;
}

size_t module_rows(const struct dims *s, enum module m)
{
    size_t rows, cols;
    size_of_row(&rows, &cols, row_of_module(m), s);
    return rows;
}

size_t module_cols(const struct dims *s, enum module m)
{
    size_t rows, cols;
    size_of_row(&rows, &cols, row_of_module(m), s);
    return cols;
}

static bool is_turned(const struct tensor_row *r, const struct dims *s)
{
    return r->order == ORDER_TURNED && family_has(s->family, INTERLEAVED);
}

bool module_turned(const struct dims *s, enum module m)
{
    return is_turned(&table[row_of_module(m)], s);
}

/* ---- the walk -------------------------------------------------------------------------------- */

struct tensor_walk tensor_walk(const struct dims *s)
{
    return (struct tensor_walk){ .dims = s };
}

static bool is_present(const struct tensor_row *r, const struct dims *s)
{
    switch (r->present) {
    case PRESENT_UNTIED:
        return !s->tied;
    case PRESENT_QKV_BIAS:
        return family_has(s->family, QKV_BIAS);
    default:
        return true;
    }
}

/* The row after `i`, which after the last of a block is the first of the next layer's. */
static size_t row_after(size_t i, struct tensor_walk *w)
{
    bool block = table[i].scope == SCOPE_BLOCK;
    bool last = block && (i + 1 == ROWS || table[i + 1].scope != SCOPE_BLOCK);
    if (!last) return i + 1;
    if (++w->layer == w->dims->layers) {
        w->layer = 0;
        return i + 1;
    }
    while (i > 0 && table[i - 1].scope == SCOPE_BLOCK) i--;
    return i;
}

bool tensor_next(struct tensor_walk *w)
{
    size_t i = w->row ? row_after((size_t)(w->row - table), w) : 0;
    while (i < ROWS && !is_present(&table[i], w->dims)) i = row_after(i, w);
    if (i == ROWS) return false;
    w->row = &table[i];
    w->module = module_of(w->row);
    w->turned = is_turned(w->row, w->dims);
    size_of_row(&w->rows, &w->cols, i, w->dims);
    return true;
}

size_t tensor_count(const struct dims *s)
{
    size_t n = 0;
    for (struct tensor_walk w = tensor_walk(s); tensor_next(&w);) n++;
    return n;
}

size_t tensor_vector_values(const struct dims *s)
{
    size_t n = 0;
    for (struct tensor_walk w = tensor_walk(s); tensor_next(&w);)
        if (w.row->kind != KIND_MATRIX) n += w.cols;
    return n;
}

size_t model_params(const struct dims *s)
{
    size_t n = 0;
    for (struct tensor_walk w = tensor_walk(s); tensor_next(&w);) n += w.rows * w.cols;
    return n;
}

size_t dims_linear_params(const struct dims *s)
{
    size_t n = 0;
    for (struct tensor_walk w = tensor_walk(s); tensor_next(&w);)
        if (w.module >= 0) n += w.rows * w.cols;
    return n;
}

size_t shape_head_params(const struct dims *s)
{
    size_t i = 0, rows, cols;
    while (table[i].scope != SCOPE_MODEL || table[i].slot != offsetof(struct llama, head)) i++;
    size_of_row(&rows, &cols, i, s);
    return rows * cols;
}

void tensor_name(char out[TENSOR_NAME], const struct tensor_walk *w, bool gguf)
{
    const char *name = gguf ? w->row->gguf : w->row->hf;
    const char *ending = w->row->kind == KIND_BIAS ? "bias" : "weight";
    if (w->row->scope == SCOPE_MODEL) {
        snprintf(out, TENSOR_NAME, "%s.%s", name, ending);
    } else {
        snprintf(out, TENSOR_NAME, "%s.%zu.%s.%s", gguf ? "blk" : "model.layers", w->layer, name,
                 ending);
    }
}

void *tensor_slot(struct llama *m, const struct tensor_walk *w)
{
    char *owner = w->row->scope == SCOPE_MODEL ? (char *)m : (char *)&m->layer[w->layer];
    return owner + w->row->slot;
}

struct tensor_values tensor_values(const struct llama *m, const struct tensor_walk *w)
{
    bool model = w->row->scope == SCOPE_MODEL;
    const char *owner = model ? (const char *)m : (const char *)&m->layer[w->layer];
    const void *slot = owner + w->row->slot;
    if (w->row->kind == KIND_MATRIX) return (struct tensor_values){ .matrix = slot };
    return (struct tensor_values){ .vector = *(const real *const *)slot };
}

size_t tensor_turned_row(size_t row, size_t D)
{
    size_t i = row % D;
    return row - i + (i % 2) * (D / 2) + i / 2;
}
