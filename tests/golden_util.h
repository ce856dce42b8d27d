/* Golden models of tests/golden (see its README.md), as the tests that use them read them. Included
 * by programs in float and in double. */
#ifndef LORAC_TESTS_GOLDEN_UTIL_H
#define LORAC_TESTS_GOLDEN_UTIL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/formats/safetensors.h"
#include "src/model/adapter.h"
#include "src/model/network.h"
#include "tests/entry.h"

struct golden {
    char dir[256];
    struct llama model;
    struct adapter adapter; /* params: as in adapter/ */
    struct examples examples;
    json_t *json;
};

#define OK(call, e)                                                                                \
    do {                                                                                           \
        if ((call) != 0) fail_msg("%s", (e).msg);                                                  \
    } while (0)

static inline const struct kernels *golden_kernels(void)
{
    const char *why;
    const struct kernels *k = kernels_choose(getenv("LORAC_ISA"), getenv("LORAC_GEMM"), COMPUTE_F32,
                                             &why);
    if (!k) fail_msg("%s", why);
    return k;
}

/* flat = the tensors of a PEFT file, in the layout of the parameters */
static inline void golden_read_flat(const struct golden *g, real *flat, const char *file)
{
    struct err e;
    struct safetensors st;
    char path[512], name[160];
    snprintf(path, sizeof path, "%s/%s", g->dir, file);
    OK(safetensors_open(&st, path, &e), e);
    const struct adapter *a = &g->adapter;
    for (size_t l = 0; l < a->dims.layers; l++)
        for (int m = 0; m < MODULES; m++)
            for (int b = 0; b < 2; b++) {
                if (!adapter_has(a, (enum module)m)) continue;
                snprintf(name, sizeof name, "base_model.model.model.layers.%zu.%s.lora_%c.weight",
                         l, module_table[m].path, b ? 'B' : 'A');
                const struct tensor *t = safetensors_find(&st, name);
                assert_non_null(t);
                real *to = b ? adapter_b(a, flat, l, (enum module)m)
                             : adapter_a(a, flat, l, (enum module)m);
                for (size_t i = 0; i < t->bytes / 4; i++) {
                    float v;
                    memcpy(&v, t->data + 4 * i, 4);
                    to[i] = v;
                }
            }
    safetensors_close(&st);
}

static inline void golden_read_examples(struct examples *x, const char *path)
{
    struct err e;
    struct str text = { 0 };
    OK(file_read(&text, path, 1 << 20, &e), e);
    size_t cap = 4096;
    *x = (struct examples){ .ids = calloc(cap, sizeof *x->ids),
                            .target = calloc(cap, 1),
                            .at = calloc(64, sizeof *x->at) };
    char *save = NULL;
    for (char *line = strtok_r(text.p, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *record = json_parse(line, strlen(line), JSON_DUP_REFUSED, path, &e);
        assert_non_null(record);
        json_t *ids = json_object_get(record, "input_ids"),
               *labels = json_object_get(record, "labels");
        size_t n = json_array_size(ids), at = x->at[x->n];
        for (size_t i = 0; i < n; i++) {
            x->ids[at + i] = (int32_t)json_integer_value(json_array_get(ids, i));
            x->target[at + i] = i > 0 && json_integer_value(json_array_get(labels, i)) != -100;
        }
        x->at[++x->n] = at + n;
        json_decref(record);
    }
    str_free(&text);
}

/* dir: of the golden model; PEFT's config is read for r, alpha and targets alone. */
static inline void golden_open(struct golden *g, const char *name)
{
    struct err e;
    char path[512];
    const char *root = getenv("LORAC_GOLDEN") ? getenv("LORAC_GOLDEN") : "tests/golden";
    *g = (struct golden){ 0 };
    snprintf(g->dir, sizeof g->dir, "%s/%s", root, name);
    snprintf(path, sizeof path, "%s/model", g->dir);
    OK(llama_open(&g->model, path, &e), e);
    snprintf(path, sizeof path, "%s/adapter/adapter_config.json", g->dir);
    json_t *config = json_read(path, 1 << 20, &e), *targets;
    assert_non_null(config);
    targets = json_object_get(config, "target_modules");
    unsigned bits = 0;
    for (size_t i = 0; i < json_array_size(targets); i++) {
        int m = word_index(module_words, json_string_value(json_array_get(targets, i)));
        assert_true(m >= 0);
        bits |= 1u << m;
    }
    adapter_layout(&g->adapter, &g->model.dims,
                   (size_t)json_integer_value(json_object_get(config, "r")),
                   json_number_value(json_object_get(config, "lora_alpha")), bits);
    json_decref(config);
    g->adapter.params = calloc(g->adapter.n_params, sizeof(real));
    golden_read_flat(g, g->adapter.params, "adapter/adapter_model.safetensors");
    snprintf(path, sizeof path, "%s/batch.jsonl", g->dir);
    golden_read_examples(&g->examples, path);
    snprintf(path, sizeof path, "%s/golden.json", g->dir);
    g->json = json_read(path, 1 << 22, &e);
    assert_non_null(g->json);
}

static inline void golden_close(struct golden *g)
{
    llama_close(&g->model);
    free(g->adapter.params);
    free(g->examples.ids);
    free(g->examples.target);
    free(g->examples.at);
    json_decref(g->json);
}

static inline double golden_number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

/* |a - b| / |b| over n values */
static inline double relative_error(const real *a, const real *b, size_t n)
{
    double d = 0, s = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)a[i] - (double)b[i];
        d += x * x;
        s += (double)b[i] * (double)b[i];
    }
    return sqrt(d / (s > 0 ? s : 1));
}

/* Run the batch of all examples forward and back; returns the loss and leaves the summed gradient
 * in grad. Passes are added by plain sums: the trainer's order is tested elsewhere. */
static inline double golden_gradient(struct network *n, struct batch *b, real *grad)
{
    size_t layers = n->base->dims.layers, params = n->adapter->n_params;
    real *one = calloc(params, sizeof(real));
    double loss = 0;
    memset(grad, 0, params * sizeof(real));
    for (size_t p = 0; p < b->n_passes; p++) {
        const struct pass *pass = batch_pass(b, p);
        network_embed(n, pass);
        assert_true(network_forward(n, pass, 0, layers, NULL));
        loss += network_lm_head(n, pass, 1 / (real)b->targets, true);
        assert_true(network_backward(n, pass, 0, layers, one, NULL));
        for (size_t i = 0; i < params; i++) grad[i] += one[i];
    }
    free(one);
    return loss / (double)b->targets;
}

#endif
