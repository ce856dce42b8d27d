#include "src/model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/rng.h"

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

void adapter_layout(struct adapter *a, const struct shape *s, size_t r, double lora_alpha,
                    unsigned targets)
{
    CHECK(targets && r);
    *a = (struct adapter){ .shape = *s, .r = r, .lora_alpha = lora_alpha, .targets = targets };
    a->scale = lora_alpha / (double)r;
    size_t at = 0;
    for (int m = 0; m < MODULES; m++) { /* modules of a group are neighbours in the enum */
        if (!adapter_has(a, (enum module)m)) continue;
        a->slot[m] = a->group_targets[module_group((enum module)m)]++;
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
    for (size_t l = 0; l < a->shape.layers; l++)
        for (int i = 0; i < MODULES; i++) {
            enum module m = (enum module)i;
            if (!adapter_has(a, m)) continue;
            size_t cols = module_cols(&a->shape, m);
            double bound = 1 / sqrt((double)cols);
            real *A = adapter_a(a, a->params, l, m);
            for (size_t j = 0; j < a->r * cols; j++) {
                double u = rng_unit(seed, RNG_INIT_A, (uint32_t)(l * MODULES + m), j);
                A[j] = (real)((2 * u - 1) * bound);
            }
        }
}

static int allocate(struct adapter *a, struct err *e)
{
    a->params = mem_alloc(a->n_params, sizeof(real), e);
    return a->params ? 0 : e->code;
}

void adapter_free(struct adapter *a)
{
    mem_free(a->params);
    *a = (struct adapter){ 0 };
}

int adapter_targets(unsigned *targets, const char *const *names, size_t n, struct err *e)
{
    *targets = 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "all-linear") == 0) {
            *targets |= (1u << MODULES) - 1;
            continue;
        }
        int m = 0;
        while (m < MODULES && strcmp(names[i], module_table[m].name) != 0) m++;
        if (m == MODULES) {
            return err_usage(e,
                             "adapter.target_modules: %s is not a linear layer of a Llama; wanted "
                             "all-linear or some of q_proj, k_proj, v_proj, o_proj, gate_proj, "
                             "up_proj, down_proj",
                             err_quotez(names[i]));
        }
        *targets |= 1u << m;
    }
    return *targets ? 0 : err_usage(e, "adapter.target_modules: is empty");
}
