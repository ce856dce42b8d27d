#include "src/convert/adapter_gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/formats/gguf.h"
#include "src/model/tensors.h"
#include "src/train/publish.h"

enum { NAME_BYTES = 96 };

static void part_name(char out[NAME_BYTES], size_t layer, enum module m, char part)
{
    snprintf(out, NAME_BYTES, "blk.%zu.%s.weight.lora_%c", layer, module_table[m].gguf, part);
}

/* The row, in Hugging Face's order, that is row `row` of the file (see kernels/storage.h). */
static size_t source_row(const struct dims *s, enum module m, size_t row)
{
    return module_turned(s, m) ? tensor_turned_row(row, s->D) : row;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int check_kind(const struct gguf *g, const struct dims *s, struct err *e)
{
    const struct {
        const char *key, *wanted;
    } rows[] = {
        { "general.type", "adapter" },
        { "general.architecture", family_table[s->family].gguf },
        { "adapter.type", "lora" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *text;
        size_t n;
        int code = gguf_get_string(&text, &n, g, rows[i].key, true, e);
        if (code) return code;
        if (n == strlen(rows[i].wanted) && memcmp(text, rows[i].wanted, n) == 0) continue;
        return err_set(e, "%s: %s is %s, wanted %s", g->path, rows[i].key, err_quote(text, n),
                       rows[i].wanted);
    }
    return 0;
}

struct pair {
    const struct tensor *a, *b;
};

static struct pair pair_of(const struct gguf *g, size_t layer, enum module m)
{
    char name[NAME_BYTES];
    struct pair p;
    part_name(name, layer, m, 'a');
    p.a = gguf_find(g, name);
    part_name(name, layer, m, 'b');
    p.b = gguf_find(g, name);
    return p;
}

/* `base_side`: the dimension that is the base's; the other one is the rank. */
static int check_part(const struct gguf *g, const struct tensor *t, size_t rows, size_t cols,
                      unsigned base_side, struct err *e)
{
    if (t->rank != 2 || t->dims[0] != rows || t->dims[1] != cols) {
        bool other = t->rank == 2 && t->dims[base_side] != (base_side ? cols : rows);
        return err_set(e, "%s: %stensor %s: found shape (%llu, %llu), wanted (%zu, %zu)", g->path,
                       other ? "was trained on another base: " : "", t->name,
                       (unsigned long long)t->dims[0],
                       t->rank > 1 ? (unsigned long long)t->dims[1] : 0, rows, cols);
    }
    if (t->type != STORAGE_OTHER && !storage_of(t->type)->blocks) return 0;
    return err_set(e, "%s: tensor %s: found type %s, wanted F32, F16 or BF16", g->path, t->name,
                   t->type_name);
}

/* The error for the first tensor that does not belong to a pair on this base. */
static int refuse_rest(const struct gguf *g, const struct dims *s, struct err *e)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        const char *name = g->tensors[i].name;
        bool known = false;
        size_t layer = 0;
        for (size_t l = 0; l < s->layers && !known; l++)
            for (int m = 0; m < MODULES && !known; m++) {
                struct pair p = pair_of(g, l, (enum module)m);
                known = p.a == &g->tensors[i] || p.b == &g->tensors[i];
            }
        if (known) continue;
        if (sscanf(name, "blk.%9zu.", &layer) == 1 && layer >= s->layers) {
            return err_set(e,
                           "%s: was trained on another base: tensor %s is of layer %zu, and this "
                           "base has %s",
                           g->path, err_quotez(name), layer, str_count(s->layers, "layer"));
        }
        return err_set(e, "%s: tensor %s: does not belong to a pair on a linear layer of this base",
                       g->path, err_quotez(name));
    }
    return err_set(e, "%s: holds no adapter", g->path);
}

/* The pairs' modules, largest rank and number; every pair is whole and fits the base. */
static int find_pairs(const struct gguf *g, const struct dims *s, unsigned *modules, size_t *r,
                      struct err *e)
{
    size_t tensors = 0;
    *modules = 0;
    *r = 0;
    for (size_t l = 0; l < s->layers; l++)
        for (int i = 0; i < MODULES; i++) {
            enum module m = (enum module)i;
            struct pair p = pair_of(g, l, m);
            if (!p.a && !p.b) continue;
            if (!p.a || !p.b) {
                const char *has = p.a ? p.a->name : p.b->name;
                return err_set(e, "%s: tensor %s is there without its partner", g->path, has);
            }
            size_t lora_r = p.b->rank == 2 ? p.b->dims[1] : 0;
            int code = check_part(g, p.b, module_rows(s, m), lora_r, 0, e);
            if (!code) code = check_part(g, p.a, lora_r, module_cols(s, m), 1, e);
            if (code) return code;
            *modules |= 1u << m;
            if (lora_r > *r) *r = lora_r;
            tensors += 2;
        }
    return tensors == g->n_tensors && tensors > 0 ? 0 : refuse_rest(g, s, e);
}

static void widen_row(real *out, const struct tensor *t, size_t row, double factor)
{
    const struct kernels *k = kernels_baseline();
    struct matrix w = { .data = t->data, .type = t->type, .rows = t->dims[0], .cols = t->dims[1] };
    k->widen(out, &w, row, 0, w.cols);
    for (size_t j = 0; factor != 1 && j < w.cols; j++) out[j] *= (real)factor;
}

static void load_pair(struct adapter *a, const struct pair *p, size_t layer, enum module m,
                      double alpha)
{
    size_t r = p->b->dims[1], cols = p->a->dims[1];
    double scale = alpha != 0 ? alpha / (double)r : 1;
    real *A = adapter_a(a, a->params, layer, m), *B = adapter_b(a, a->params, layer, m);
    for (size_t i = 0; i < r; i++) widen_row(A + i * cols, p->a, i, 1);
    for (size_t i = 0; i < p->b->dims[0]; i++)
        widen_row(B + source_row(&a->dims, m, i) * a->r, p->b, i, scale / a->scale);
}

static int load(struct adapter *a, const struct gguf *g, const struct dims *s, struct err *e)
{
    double alpha = 0;
    unsigned modules = 0;
    size_t r = 0;
    int code = check_kind(g, s, e);
    if (!code) code = gguf_get_double(&alpha, g, "adapter.lora.alpha", true, e);
    if (!code) code = find_pairs(g, s, &modules, &r, e);
    if (!code && alpha < 0) {
        code = err_set(e, "%s: adapter.lora.alpha is %g, wanted 0 or more", g->path, alpha);
    }
    if (code) return code;
    adapter_layout(a, s, r, alpha != 0 ? alpha : (double)r, modules);
    code = adapter_place(a, e);
    for (size_t l = 0; !code && l < s->layers; l++)
        for (int m = 0; m < MODULES; m++) {
            struct pair p = pair_of(g, l, (enum module)m);
            if (p.a) load_pair(a, &p, l, (enum module)m, alpha);
        }
    for (size_t i = 0; !code && i < a->n_params; i++)
        if (!isfinite(a->params[i])) code = err_set(e, "%s: holds NaN or infinity", g->path);
    return code;
}

int adapter_gguf_read(struct adapter *a, const struct dims *s, const char *path, struct err *e)
{
    struct gguf g;
    *a = (struct adapter){ 0 };
    int code = gguf_open(&g, path, e);
    if (code) return code;
    code = load(a, &g, s, e);
    gguf_close(&g);
    if (code) adapter_free(a);
    return code;
}

/* What is known about its base, by key. */
static char **notes_field(struct adapter_notes *n, size_t i, const char **key)
{
    static const char *const keys[] = { GGUF_BASE_SHA256, GGUF_BASE_FINGERPRINT };
    char **fields[] = { &n->base_sha256, &n->base_fingerprint };
    if (i >= sizeof keys / sizeof *keys) return NULL;
    *key = keys[i];
    return fields[i];
}

int adapter_gguf_notes(struct adapter_notes *notes, const char *path, struct err *e)
{
    struct gguf g;
    const char *key, *text;
    int code = gguf_open(&g, path, e);
    if (code) return code;
    for (size_t i = 0; !code && notes_field(notes, i, &key); i++) {
        char **field = notes_field(notes, i, &key);
        size_t n = 0;
        text = NULL;
        code = gguf_get_string(&text, &n, &g, key, false, e);
        if (code || !text) continue;
        *field = mem_strndup(text, n, e);
        if (!*field) code = e->code;
    }
    gguf_close(&g);
    if (code) adapter_notes_free(notes);
    return code;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_notes(struct gguf_writer *w, const struct adapter_notes *notes)
{
    struct adapter_notes n = *notes; /* the strings stay the caller's */
    const char *key;
    for (size_t i = 0; notes_field(&n, i, &key); i++) {
        const char *text = *notes_field(&n, i, &key);
        if (text) gguf_put_string(w, key, text, strlen(text));
    }
}

static void put_header(struct gguf_writer *w, const struct adapter *a,
                       const struct adapter_notes *notes)
{
    const char *family = family_table[a->dims.family].gguf;
    gguf_put_string(w, "general.architecture", family, strlen(family));
    gguf_put_string(w, "general.type", "adapter", 7);
    gguf_put_string(w, "adapter.type", "lora", 4);
    gguf_put_f32(w, "adapter.lora.alpha", (float)(a->scale * (double)a->r));
    gguf_put_u32(w, "general.file_type", 0);
    if (notes) put_notes(w, notes);
    for (size_t l = 0; l < a->dims.layers; l++)
        for (int i = 0; i < MODULES; i++) {
            enum module m = (enum module)i;
            char name[NAME_BYTES];
            if (!adapter_has(a, m)) continue;
            uint64_t in[2] = { a->r, module_cols(&a->dims, m) };
            uint64_t out[2] = { module_rows(&a->dims, m), a->r };
            part_name(name, l, m, 'a');
            gguf_put_tensor(w, name, STORAGE_F32, 2, in);
            part_name(name, l, m, 'b');
            gguf_put_tensor(w, name, STORAGE_F32, 2, out);
        }
}

static int put_row(struct gguf_writer *w, float *row, const real *x, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) row[i] = (float)x[i];
    return gguf_writer_add(w, row, n * sizeof *row, e);
}

static int put_pair(struct gguf_writer *w, const struct adapter *a, size_t layer, enum module m,
                    float *row, struct err *e)
{
    size_t cols = module_cols(&a->dims, m), rows = module_rows(&a->dims, m);
    const real *A = adapter_a(a, a->params, layer, m), *B = adapter_b(a, a->params, layer, m);
    int code = 0;
    for (size_t i = 0; !code && i < a->r; i++) code = put_row(w, row, A + i * cols, cols, e);
    if (!code) code = gguf_writer_pad(w, e);
    for (size_t i = 0; !code && i < rows; i++)
        code = put_row(w, row, B + source_row(&a->dims, m, i) * a->r, a->r, e);
    return code ? code : gguf_writer_pad(w, e);
}

int adapter_gguf_write(const struct adapter *a, const struct adapter_notes *notes, const char *path,
                       struct err *e)
{
    struct gguf_writer w;
    size_t widest = a->r;
    for (int m = 0; m < MODULES; m++)
        if (module_cols(&a->dims, (enum module)m) > widest)
            widest = module_cols(&a->dims, (enum module)m);
    if (file_exists(path)) return err_set(e, "%s: exists already; choose another name", path);
    float *row = mem_alloc(widest, sizeof *row, e);
    int code = row ? gguf_writer_begin(&w, path, 0666, e) : e->code;
    if (!code) {
        put_header(&w, a, notes);
        code = gguf_writer_data(&w, e);
        for (size_t l = 0; !code && l < a->dims.layers; l++)
            for (int m = 0; !code && m < MODULES; m++)
                if (adapter_has(a, (enum module)m))
                    code = put_pair(&w, a, l, (enum module)m, row, e);
        if (!code) code = gguf_writer_commit(&w, e);
        if (code) gguf_writer_abort(&w);
    }
    mem_free(row);
    return code;
}
