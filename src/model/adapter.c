#include "src/model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/formats/peft.h"
#include "src/model/base_copy.h"

/* ---- PEFT directories ------------------------------------------------------------------------ */

static void module_path(char out[64], size_t layer, enum module m)
{
    snprintf(out, 64, "model.layers.%zu.%s", layer, module_table[m].path);
}

/* A pair for a layer that this base does not have was trained on another one. */
static int check_layers(const struct peft *p, const struct dims *s, struct err *e)
{
    for (size_t i = 0; i < p->file.n; i++) {
        const struct peft_entry *t = &p->entries[i];
        size_t layer;
        if (t->kind != PEFT_PAIR || sscanf(t->module, "model.layers.%9zu.", &layer) != 1) continue;
        if (layer < s->layers) continue;
        return err_set(e,
                       "%s: was trained on another base: tensor %s is of layer %zu, and this "
                       "base has %s",
                       p->path, err_quotez(p->file.tensors[t->tensor].name), layer,
                       str_count(s->layers, "layer"));
    }
    return 0;
}

/* A layer that is named and not there changes nothing, but it was meant for another base. */
static void note_layers(struct str *notes, const struct peft_config *c, const struct dims *s)
{
    const int64_t *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < c->n_layers; i++) {
        if (c->layers[i] >= 0 && (uint64_t)c->layers[i] < s->layers) continue;
        if (!n++) first = &c->layers[i];
    }
    if (!n) return;
    str_addf(notes, "%s: layers_to_transform: names layer %lld", c->path, (long long)*first);
    if (n > 1) str_addf(notes, " and %zu more", n - 1);
    str_addf(notes, " that this base does not have; its layers are 0 to %zu\n", s->layers - 1);
}

/* Modules that target_modules names and the file has nothing for. */
struct unheld {
    size_t n;
    char first[64];
};

static int find_pair(struct peft *p, const char *path, unsigned bit, unsigned *modules, size_t *r,
                     struct unheld *unheld, struct err *e)
{
    size_t lora_r;
    double alpha;
    bool named = false;
    int code = 0;
    if (!peft_has(p, path)) {
        code = peft_targets(&named, &p->config, path, e);
        if (!code && named && !unheld->n++)
            snprintf(unheld->first, sizeof unheld->first, "%s", path);
        return code;
    }
    code = peft_r_alpha(&lora_r, &alpha, &p->config, path, e);
    if (code) return code;
    *modules |= bit;
    if (lora_r > *r) *r = lora_r;
    return 0;
}

/* Which modules the file has pairs for, and the largest rank among them. PEFT's rules may single
 * out layers; a module that only some layers have is kept for all, as zeros where it is absent. */
static int find_pairs(struct peft *p, const struct adapter_base *base, unsigned *modules, size_t *r,
                      struct err *e)
{
    char path[64];
    const struct dims *s = base->dims;
    struct unheld unheld = { 0 };
    *modules = 0;
    *r = 0;
    int code = check_layers(p, s, e);
    for (size_t l = 0; !code && l < s->layers; l++)
        for (int m = 0; !code && m < MODULES; m++) {
            module_path(path, l, (enum module)m);
            code = find_pair(p, path, 1u << m, modules, r, &unheld, e);
        }
    if (code) return code;
    if (!*modules && unheld.n) {
        return err_set(e, "%s: holds no lora_A and lora_B for %s, nor for any other linear layer",
                       p->path, unheld.first);
    }
    if (!*modules) {
        return err_set(e, "%s: holds no adapter for a Llama's linear layers", p->path);
    }
    if (base->notes) note_layers(base->notes, &p->config, s);
    if (unheld.n && base->notes) {
        str_addf(base->notes,
                 "%s: has no tensors for %s that target_modules names, the first is %s; they stay "
                 "as they are in the base, as in PEFT\n",
                 p->path, str_count(unheld.n, "module"), unheld.first);
    }
    return 0;
}

static void widen_part(real *out, size_t out_cols, const struct tensor *t, double factor)
{
    const struct kernels *k = kernels_baseline();
    struct matrix w = { .data = t->data, .type = t->type, .rows = t->dims[0], .cols = t->dims[1] };
    for (size_t i = 0; i < w.rows; i++) {
        k->widen(out + i * out_cols, &w, i, 0, w.cols);
        if (factor == 1) continue;
        for (size_t j = 0; j < w.cols; j++) out[i * out_cols + j] *= (real)factor;
    }
}

static int check_tensor(const struct tensor *t, const char *path, struct err *e)
{
    if (storage_finite(t->data, t->type, t->dims[0] * t->dims[1])) return 0;
    return err_set(e, "%s: tensor %s: holds NaN or infinity", path, t->name);
}

static int load_pair(struct adapter *a, struct peft *p, size_t layer, enum module m, struct err *e)
{
    char path[64];
    size_t r, rows = module_rows(&a->dims, m), cols = module_cols(&a->dims, m);
    double alpha;
    const struct tensor *ta, *tb;
    module_path(path, layer, m);
    if (!peft_has(p, path)) return 0;
    int code = peft_r_alpha(&r, &alpha, &p->config, path, e);
    if (!code) code = peft_tensor(&ta, p, path, PEFT_A, r, cols, e);
    if (!code) code = peft_tensor(&tb, p, path, PEFT_B, rows, r, e);
    if (!code) code = check_tensor(ta, p->path, e);
    if (!code) code = check_tensor(tb, p->path, e);
    if (code) return code;
    widen_part(adapter_a(a, a->params, layer, m), cols, ta, 1);
    widen_part(adapter_b(a, a->params, layer, m), a->r, tb,
               peft_scale(&p->config, r, alpha) / a->scale);
    return 0;
}

static int check_finite(const struct adapter *a, const char *path, struct err *e)
{
    for (size_t i = 0; i < a->n_params; i++)
        if (!isfinite(a->params[i])) return err_set(e, "%s: holds NaN or infinity", path);
    return 0;
}

/* Every tensor that is not part of a pair must be an exact copy of a weight of this base. */
static int drop_copies(struct peft *p, const struct adapter_base *base, struct err *e)
{
    const struct tensor *t, *first = NULL;
    const char *module;
    size_t n = 0, i = 0;
    int code = 0;
    while (!code && peft_copy(&t, &module, p, &i)) {
        code = base_copy_check(base->model, base->dims, t, module, p->path, e);
        if (!n++) first = t;
    }
    if (code || !n || !base->notes) return code;
    str_addf(base->notes, "%s: tensor %s", p->path, err_quotez(first->name));
    if (n > 1) str_addf(base->notes, " and %zu more are unchanged copies", n - 1);
    if (n == 1) str_addz(base->notes, " is an unchanged copy");
    str_addz(base->notes, " of the base's weights, and not needed\n");
    return 0;
}

static int load_pairs(struct adapter *a, struct peft *p, struct err *e)
{
    int code = 0;
    for (size_t l = 0; !code && l < a->dims.layers; l++)
        for (int m = 0; !code && m < MODULES; m++)
            if (adapter_has(a, (enum module)m)) code = load_pair(a, p, l, (enum module)m, e);
    return code;
}

int adapter_load(struct adapter *a, const struct adapter_base *base, const char *dir, struct err *e)
{
    struct peft p;
    unsigned modules;
    size_t r;
    *a = (struct adapter){ 0 };
    int code = peft_open(&p, dir, e);
    if (code) return code;
    code = find_pairs(&p, base, &modules, &r, e);
    if (!code) {
        /* the file's own scale, so that B stays as it is in the common case */
        double alpha = p.config.lora_alpha;
        if (p.config.use_rslora) alpha = peft_scale(&p.config, r, alpha) * (double)r;
        adapter_layout(a, base->dims, r, alpha, modules);
        if (!(a->scale > 0)) {
            code = err_set(e, "%s: lora_alpha is %g, wanted a positive number", dir,
                           p.config.lora_alpha);
        }
    }
    if (!code) code = adapter_place(a, e);
    if (!code) code = load_pairs(a, &p, e);
    if (!code) code = drop_copies(&p, base, e);
    if (!code) code = peft_check_all_read(&p, e);
    if (!code) code = check_finite(a, p.path, e);
    if (!code && base->notes) peft_notes(base->notes, &p);
    peft_close(&p);
    if (code) adapter_free(a);
    return code;
}

/* float32 copies of a flat array's parts as PEFT wants them; the names live in `paths`. */
static size_t list_outputs(const struct adapter *a, const float *params, struct peft_output *out,
                           char (*paths)[64])
{
    size_t n = 0;
    for (size_t l = 0; l < a->dims.layers; l++)
        for (int i = 0; i < MODULES; i++) {
            enum module m = (enum module)i;
            if (!adapter_has(a, m)) continue;
            const float *layer = params + l * a->layer_params;
            module_path(paths[n / 2], l, m);
            out[n] = (struct peft_output){ .module = paths[n / 2],
                                           .part = PEFT_A,
                                           .rows = a->r,
                                           .cols = module_cols(&a->dims, m),
                                           .data = layer + a->a_at[m] };
            out[n + 1] = (struct peft_output){ .module = paths[n / 2],
                                               .part = PEFT_B,
                                               .rows = module_rows(&a->dims, m),
                                               .cols = a->r,
                                               .data = layer + a->b_at[m] };
            n += 2;
        }
    return n;
}

int adapter_save(const struct adapter *a, const char *dir, const char *base_name, double dropout,
                 struct err *e)
{
    size_t most = 2 * MODULES * a->dims.layers;
    struct peft_output *out = mem_alloc(most, sizeof *out, e);
    char(*paths)[64] = mem_alloc(most / 2, sizeof *paths, e);
    float *params = mem_alloc(a->n_params, sizeof *params, e);
    int code = out && paths && params ? 0 : e->code;
    if (!code) {
        for (size_t i = 0; i < a->n_params; i++) params[i] = (float)a->params[i];
        const char *names[MODULES];
        struct peft_config c = { .r = a->r,
                                 .lora_alpha = a->lora_alpha,
                                 .lora_dropout = dropout,
                                 .base_model = (char *)(uintptr_t)base_name,
                                 .target_modules = names };
        for (int m = 0; m < MODULES; m++)
            if (adapter_has(a, (enum module)m)) names[c.n_targets++] = module_table[m].name;
        code = check_finite(a, "the adapter to be saved", e);
        if (!code) code = peft_write(dir, &c, out, list_outputs(a, params, out, paths), e);
    }
    mem_free(params);
    mem_free(paths);
    mem_free(out);
    return code;
}

/* ---- which adapter it is --------------------------------------------------------------------- */

static void hash_number(struct sha256 *h, uint64_t v, size_t bytes)
{
    uint8_t text[8];
    for (size_t i = 0; i < bytes; i++) text[i] = (uint8_t)(v >> (8 * i));
    sha256_add(h, text, bytes);
}

static void hash_float(struct sha256 *h, double v)
{
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    hash_number(h, bits, sizeof bits);
}

int adapter_digest(char hex[SHA256_HEX], const struct adapter *a, struct err *e)
{
    static const char name[] = "lorac-adapter-1\n";
    enum { PIECE = 4096 };
    uint8_t digest[SHA256_BYTES], bytes[4 * PIECE];
    struct sha256 h;
    int code = sha256_begin(&h, e);
    if (code) return code;
    sha256_add(&h, name, sizeof name - 1);
    hash_number(&h, a->dims.layers, 8);
    hash_number(&h, a->modules, 8);
    hash_number(&h, a->r, 8);
    hash_float(&h, a->scale * (double)a->r);
    for (size_t i = 0; i < a->n_params; i += PIECE) {
        size_t n = a->n_params - i < PIECE ? a->n_params - i : PIECE;
        for (size_t j = 0; j < n; j++) {
            float f = (float)a->params[i + j];
            uint32_t bits;
            memcpy(&bits, &f, sizeof bits);
            for (size_t k = 0; k < 4; k++) bytes[4 * j + k] = (uint8_t)(bits >> (8 * k));
        }
        sha256_add(&h, bytes, 4 * n);
    }
    sha256_end(&h, digest);
    hex_of(hex, digest);
    return 0;
}
