#include "src/model/dims.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"

enum { CONFIG_BYTES = 1 << 20, LAYERS_MOST = 1024, DIM_MOST = 1 << 24, HEADS_MOST = 65536 };
enum { KEY_BYTES = 96 };

enum dim_type { DIM_SIZE, DIM_REAL, DIM_SAME };
enum dim_need { OPTIONAL, REQUIRED, DERIVED };

static const struct dim {
    enum dim_type type;
    size_t field; /* offset within struct dims */
    const char *words, *config, *gguf;
    enum dim_need config_need, gguf_need;
    size_t most;
} dims[] = {
#define SIZE(field, words, config, need, gguf, gguf_need, most)                                    \
    { DIM_SIZE, offsetof(struct dims, field), words, config, gguf, need, gguf_need, most },
#define REAL(field, config, need, gguf, gguf_need)                                                 \
    { DIM_REAL, offsetof(struct dims, field), config, config, gguf, need, gguf_need, 0 },
#define SAME(field, gguf)                                                                          \
    { DIM_SAME, offsetof(struct dims, field), NULL, NULL, gguf, DERIVED, OPTIONAL, 0 },
#include "src/model/dims.def"
};
enum { DIMS = sizeof dims / sizeof *dims };

static size_t size_in(const struct dims *s, const struct dim *d)
{
    return *(const size_t *)((const char *)s + d->field);
}

static double real_in(const struct dims *s, const struct dim *d)
{
    return *(const double *)((const char *)s + d->field);
}

/* "llama.block_count" */
static const char *gguf_name(char key[KEY_BYTES], const struct dims *s, const char *name)
{
    snprintf(key, KEY_BYTES, "%s.%s", family_table[s->family].gguf, name);
    return key;
}

/* Sizes that agree and that the kernels can take, whatever file they came from. */
static int check_shape(const struct dims *s, const char *where, struct err *e)
{
    for (const struct dim *d = dims; d < dims + DIMS; d++) {
        if (d->type != DIM_SIZE) continue;
        size_t value = size_in(s, d);
        if (value == 0 || value > d->most) {
            return err_set(e, "%s: %s is %zu, wanted 1 to %zu", where, d->words, value, d->most);
        }
    }
    if (s->H % s->G) {
        return err_set(e, "%s: %zu attention heads cannot share %zu key/value heads", where, s->H,
                       s->G);
    }
    if (s->D % 2) return err_set(e, "%s: head size %zu is odd", where, s->D);
    if (!(s->norm_eps > 0 && s->norm_eps < 1)) {
        return err_set(e, "%s: rms_norm_eps is %g, wanted a small positive number", where,
                       s->norm_eps);
    }
    if (!(s->rope_theta > 1) || !isfinite(s->rope_theta)) {
        return err_set(e, "%s: rope_theta is %g, wanted a number above 1", where, s->rope_theta);
    }
    if (s->scaling != ROPE_DIVISORS && !(s->factor >= 1 && isfinite(s->factor))) {
        return err_set(e, "%s: rope scaling factor is %g, wanted 1 or more", where, s->factor);
    }
    if (s->scaling == ROPE_LLAMA3 &&
        !(s->low_freq_factor > 0 && s->high_freq_factor > s->low_freq_factor &&
          s->original_context > 0)) {
        return err_set(e,
                       "%s: llama3 rope scaling wants 0 < low_freq_factor < high_freq_factor and "
                       "original_max_position_embeddings, found %g, %g and %zu",
                       where, s->low_freq_factor, s->high_freq_factor, s->original_context);
    }
    return 0;
}

/* Members of the rope dictionary; an unknown one might change the positions. */
static int check_rope_members(const json_t *rope, const char *name, const char *where,
                              struct err *e)
{
    static const char *const known[] = { "type",
                                         "rope_type",
                                         "rope_theta",
                                         "factor",
                                         "low_freq_factor",
                                         "high_freq_factor",
                                         "original_max_position_embeddings" };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)rope, key, v)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(key, known[i]) != 0) i++;
        if (i == sizeof known / sizeof *known && !json_is_null(v)) {
            return err_set(e, "%s: %s: found %s, which is not supported", where, name,
                           err_quotez(key));
        }
    }
    return 0;
}

/* The type decides which other members must be there. */
static int read_rope_type(struct dims *s, const json_t *rope, const char *name, const char *where,
                          struct err *e)
{
    const char *old = NULL, *type = NULL;
    int code = json_get_string(&old, rope, "type", where, e);
    if (!code) code = json_get_string(&type, rope, "rope_type", where, e);
    if (code) return code;
    if (old && type && strcmp(old, type) != 0) {
        return err_set(e, "%s: %s: found the type %s and the rope_type %s, wanted one of them",
                       where, name, err_quotez(old), err_quotez(type));
    }
    if (!type) type = old;
    bool factor = json_has(rope, "factor");
    if (!type || strcmp(type, "default") == 0) {
        s->scaling = ROPE_PLAIN;
        if (type || !factor) return 0;
        return err_set(e, "%s: %s: found a factor without a rope_type", where, name);
    }
    bool linear = strcmp(type, "linear") == 0;
    if (!linear && strcmp(type, "llama3") != 0) {
        return err_set(e, "%s: rope type %s is not supported; default, linear and llama3 are",
                       where, err_quotez(type));
    }
    s->scaling = linear ? ROPE_LINEAR : ROPE_LLAMA3;
    if (factor) return 0;
    return err_set(e, "%s: %s: found the rope_type %s without its factor", where, name, type);
}

/* A member that both dictionaries have, or one of them and the file itself, must have the same
 * value in both: which one counts depends on the version of transformers that reads the file. */
static int check_twice(const json_t *a, const char *in_a, const json_t *b, const char *in_b,
                       const char *key, const char *where, struct err *e)
{
    struct str x = { 0 }, y = { 0 };
    const json_t *v = json_object_get(a, key), *w = json_object_get(b, key);
    if (!json_has(a, key) || !json_has(b, key) || json_equal(v, w)) return 0;
    if (json_is_number(v) && json_is_number(w) && json_number_value(v) == json_number_value(w))
        return 0;
    json_add_line(&x, v);
    json_add_line(&y, w);
    int code = str_error(&x, e);
    if (!code) code = str_error(&y, e);
    if (!code) {
        code = err_set(e, "%s: %s: found %s%s and in %s %s, wanted one value", where, key,
                       err_quotez(x.p), in_a, in_b, err_quotez(y.p));
    }
    str_free(&x);
    str_free(&y);
    return code;
}

static const char *rope_type(const json_t *rope)
{
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    if (!type) type = json_string_value(json_object_get(rope, "type"));
    return type ? type : "default";
}

static int check_ropes(const json_t *config, const char *where, struct err *e)
{
    static const char old[] = "rope_scaling", new[] = "rope_parameters";
    const json_t *older = json_object_get(config, old), *newer = json_object_get(config, new);
    const char *key;
    json_t *v;
    int code = check_twice(config, "", newer, new, "rope_theta", where, e);
    if (!code) code = check_twice(config, "", older, old, "rope_theta", where, e);
    if (code || !json_is_object(older) || !json_is_object(newer)) return code;
    const char *a = rope_type(older), *b = rope_type(newer);
    if (strcmp(a, b) != 0) {
        return err_set(e, "%s: found the rope type %s in %s and %s in %s, wanted one", where,
                       err_quotez(a), old, err_quotez(b), new);
    }
    json_object_foreach((json_t *)(uintptr_t)older, key, v)
    {
        bool type = !strcmp(key, "type") || !strcmp(key, "rope_type");
        if (!code && !type)
            code = check_twice(older, " in rope_scaling", newer, new, key, where, e);
        if (code || type || json_is_null(v) || json_has(newer, key)) continue;
        code = err_set(e,
                       "%s: rope_scaling: found %s, which rope_parameters lacks, wanted one of "
                       "the two",
                       where, err_quotez(key));
    }
    return code;
}

/* The rope dictionary: `rope_scaling` of older files, `rope_parameters` of newer ones, which then
 * also holds rope_theta. */
static int read_rope(struct dims *s, const json_t *config, const char *where, struct err *e)
{
    int code;
    bool newer = json_has(config, "rope_parameters");
    const char *name = newer ? "rope_parameters" : "rope_scaling";
    const json_t *rope = json_object_get(config, name);
    if (!rope || json_is_null(rope)) return 0;
    if (!json_is_object(rope)) {
        return err_set(e, "%s: %s: found %s, wanted an object", where, name, json_kind(rope));
    }
    code = check_ropes(config, where, e);
    if (!code) code = check_rope_members(rope, name, where, e);
    if (!code) code = read_rope_type(s, rope, name, where, e);
    if (!code) code = json_get_double(&s->rope_theta, rope, "rope_theta", where, e);
    if (!code) code = json_get_double(&s->factor, rope, "factor", where, e);
    if (!code) code = json_get_double(&s->low_freq_factor, rope, "low_freq_factor", where, e);
    if (!code) code = json_get_double(&s->high_freq_factor, rope, "high_freq_factor", where, e);
    if (!code) {
        code = json_get_size(&s->original_context, rope, "original_max_position_embeddings", where,
                             e);
    }
    return code;
}

/* Which architecture: model_type, and where the file lists architectures, the one that computes
 * next tokens. */
static int check_architecture(enum family *family, const json_t *config, const char *where,
                              struct err *e)
{
    const char *model_type = NULL;
    int code = json_get_string(&model_type, config, "model_type", where, e);
    if (code) return code;
    if (!model_type || !family_of_type(family, model_type)) {
        struct str known = { 0 };
        family_add_names(&known, false);
        code = err_set(e, "%s: model_type is %s, wanted %s", where,
                       model_type ? err_quotez(model_type) : "missing", known.p ? known.p : "");
        str_free(&known);
        return code;
    }
    const char *wanted = family_table[*family].architecture;
    const json_t *list = json_object_get(config, "architectures");
    if (!list || json_is_null(list)) return 0;
    const json_t *first = json_array_get(list, 0);
    const char *name = json_string_value(first);
    if (name && json_array_size(list) == 1 && strcmp(name, wanted) == 0) return 0;
    return err_set(e, "%s: architectures: found %s, wanted [\"%s\"]", where,
                   name ? err_quote(name, json_string_length(first)) : json_kind(list), wanted);
}

/* Keys of relatives of Llama that compute something else, with the value that changes nothing (nor
 * does a null, false or absent key). */
static int refuse_relatives(enum family family, const json_t *config, const char *where,
                            struct err *e)
{
    static const struct {
        const char *key;
        double neutral;
    } keys[] = {
        { "use_sliding_window", 0 },
        { "sliding_window", 0 },
        { "partial_rotary_factor", 1 },
        { "num_local_experts", 0 },
        { "num_experts", 0 },
        { "n_routed_experts", 0 },
        { "attn_logit_softcapping", 0 },
        { "final_logit_softcapping", 0 },
        { "logits_scaling", 1 },
        { "logit_scale", 1 },
        { "embedding_multiplier", 1 },
        { "residual_multiplier", 1 },
        { "attention_multiplier", 0 },
        { "attention_chunk_size", 0 },
        { "clip_qkv", 0 },
        { "use_qk_norm", 0 },
        { "no_rope_layers", 0 },
        { "quantization_config", 0 },
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(config, keys[i].key);
        if (!v || json_is_null(v) || json_is_false(v)) continue;
        if (json_is_number(v) && json_number_value(v) == keys[i].neutral) continue;
        if (!strcmp(keys[i].key, "sliding_window") && family_has(family, WINDOW_SWITCH)) continue;
        if (strcmp(keys[i].key, "quantization_config") == 0) {
            return err_set(e,
                           "%s: quantization_config: weights quantised for bitsandbytes, GPTQ or "
                           "AWQ are not supported; use the original weights or a GGUF file",
                           where);
        }
        return err_set(e, "%s: %s: found %s, wanted no such key: lorac computes plain Llama models",
                       where, keys[i].key, json_kind(v));
    }
    return 0;
}

static int refuse_what_differs(struct dims *s, const json_t *config, const char *where,
                               struct err *e)
{
    const char *act = "silu";
    bool attention_bias = false, mlp_bias = false;
    size_t tp = 1;
    int code = check_architecture(&s->family, config, where, e);
    if (!code) code = refuse_relatives(s->family, config, where, e);
    if (!code) code = json_get_string(&act, config, "hidden_act", where, e);
    if (!code) code = json_get_bool(&attention_bias, config, "attention_bias", where, e);
    if (!code) code = json_get_bool(&mlp_bias, config, "mlp_bias", where, e);
    if (!code) code = json_get_size(&tp, config, "pretraining_tp", where, e);
    if (code) return code;
    if (strcmp(act, "silu") != 0) {
        return err_set(e, "%s: hidden_act is %s, wanted \"silu\"", where, err_quotez(act));
    }
    if (attention_bias || mlp_bias) {
        return err_set(e, "%s: %s is true; models with biases are not supported", where,
                       attention_bias ? "attention_bias" : "mlp_bias");
    }
    return 0;
}

static int read_dim(struct dims *s, const struct dim *d, const json_t *config, const char *where,
                    struct err *e)
{
    void *field = (char *)s + d->field;
    if (d->type == DIM_SAME) return 0;
    int code = d->type == DIM_SIZE ? json_get_size(field, config, d->config, where, e)
                                   : json_get_double(field, config, d->config, where, e);
    if (code || d->config_need != REQUIRED || json_has(config, d->config)) return code;
    return err_set(e, "%s: %s is missing", where, d->config);
}

static int read_config(struct dims *s, const json_t *config, const char *where, struct err *e)
{
    if (!json_is_object(config)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(config));
    }
    int code = refuse_what_differs(s, config, where, e);
    for (size_t i = 0; !code && i < DIMS; i++) code = read_dim(s, &dims[i], config, where, e);
    if (!code) code = json_get_bool(&s->tied, config, "tie_word_embeddings", where, e);
    if (!code) code = read_rope(s, config, where, e);
    if (code) return code;
    if (!s->G) s->G = s->H;
    if (!s->D) {
        if (!s->H || s->C % s->H) {
            return err_set(e, "%s: hidden_size %zu is not a multiple of num_attention_heads %zu",
                           where, s->C, s->H);
        }
        s->D = s->C / s->H;
    }
    if (!s->original_context) s->original_context = s->context;
    return check_shape(s, where, e);
}

int dims_from_config(struct dims *s, const char *path, struct err *e)
{
    /* the defaults of transformers' LlamaConfig for what a file may leave out */
    *s = (struct dims){ .context = 2048, .rope_theta = 10000, .factor = 1 };
    json_t *config = json_read(path, CONFIG_BYTES, e);
    if (!config) return e->code;
    int code = read_config(s, config, path, e);
    json_decref(config);
    return code;
}

/* llama.cpp writes llama3 scaling not as numbers but as the tensor rope_freqs.weight. */
static int read_gguf_rope(struct dims *s, const struct gguf *g, struct err *e)
{
    const char *type = NULL;
    char key[KEY_BYTES], old[KEY_BYTES];
    size_t n = 0;
    gguf_name(key, s, "rope.scaling.type");
    int code = gguf_get_string(&type, &n, g, key, false, e);
    gguf_name(key, s, "rope.scaling.factor");
    gguf_name(old, s, "rope.scale_linear");
    if (!code) code = gguf_get_double(&s->factor, g, key, false, e);
    if (!code) code = gguf_get_double(&s->factor, g, old, false, e);
    if (code) return code;
    bool factor = gguf_key(g, key) || gguf_key(g, old);
    bool linear = type ? n == 6 && memcmp(type, "linear", 6) == 0 : s->factor != 1;
    if (type && linear && !factor) {
        return err_set(e, "%s: %s is missing, which linear scaling needs", g->path, key);
    }
    if (type && !linear && !(n == 4 && memcmp(type, "none", 4) == 0)) {
        return err_set(e, "%s: %s is %s, which is not supported; none and linear are", g->path,
                       gguf_name(key, s, "rope.scaling.type"), err_quote(type, n));
    }
    s->scaling = linear ? ROPE_LINEAR : ROPE_PLAIN;
    const struct tensor *freqs = gguf_find(g, "rope_freqs.weight");
    if (!freqs) return 0;
    if (freqs->type != STORAGE_F32 || freqs->rank != 1 || freqs->dims[0] != s->D / 2) {
        return err_set(e, "%s: rope_freqs.weight: wanted %zu values of F32", g->path, s->D / 2);
    }
    if (linear) {
        return err_set(e, "%s: found linear rope scaling and rope_freqs.weight, wanted one of them",
                       g->path);
    }
    s->scaling = ROPE_DIVISORS;
    memcpy(s->divisors, freqs->data, s->D / 2 * sizeof(float));
    for (size_t j = 0; j < s->D / 2; j++) {
        if (!(s->divisors[j] > 0) || !isfinite(s->divisors[j])) {
            return err_set(e, "%s: rope_freqs.weight[%zu] is %g, wanted a positive number", g->path,
                           j, (double)s->divisors[j]);
        }
    }
    return 0;
}

static bool is_known_key(const char *name)
{
    static const char *const others[] = {
        "tensor_data_layout",  "rope.scale_linear",      "rope.scaling.type",
        "rope.scaling.factor", "rope.scaling.finetuned", "rope.scaling.original_context_length",
    };
    for (size_t i = 0; i < DIMS; i++)
        if (strcmp(name, dims[i].gguf) == 0) return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0) return true;
    return false;
}

/* A key under "llama." that is not read must be 0 (a number or boolean) unless it changes nothing:
 * GGUF's "llama" has variants that compute something else. */
static int refuse_gguf_relatives(const struct dims *s, const struct gguf *g, struct err *e)
{
    char prefix[KEY_BYTES];
    size_t n = strlen(gguf_name(prefix, s, ""));
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        if (strncmp(kv->key, prefix, n) != 0) continue;
        size_t zeros = 0;
        while (zeros < kv->raw_bytes && kv->raw[zeros] == 0) zeros++;
        if (is_known_key(kv->key + n) || zeros == kv->raw_bytes) continue;
        return err_set(e,
                       "%s: key %s: not supported, wanted 0 or no such key: lorac computes plain "
                       "Llama models",
                       g->path, err_quotez(kv->key));
    }
    return 0;
}

static int read_gguf_dim(struct dims *s, const struct dim *d, const struct gguf *g, struct err *e)
{
    char key[KEY_BYTES];
    void *field = (char *)s + d->field;
    bool required = d->gguf_need == REQUIRED;
    if (d->type == DIM_SAME || d->gguf_need == DERIVED) return 0;
    gguf_name(key, s, d->gguf);
    return d->type == DIM_SIZE ? gguf_get_size(field, g, key, required, e)
                               : gguf_get_double(field, g, key, required, e);
}

/* A second key of a size must say the same as the first, or 0. */
static int check_same(const struct dims *s, const struct dim *d, const struct gguf *g,
                      struct err *e)
{
    char key[KEY_BYTES];
    size_t value = 0;
    int code = gguf_get_size(&value, g, gguf_name(key, s, d->gguf), false, e);
    if (code || value == 0 || value == size_in(s, d)) return code;
    return err_set(e, "%s: %s is %zu, wanted the head size %zu: others are not supported", g->path,
                   key, value, size_in(s, d));
}

static int check_gguf_family(enum family *family, const struct gguf *g, struct err *e)
{
    const char *arch;
    size_t n;
    struct str known = { 0 };
    int code = gguf_get_string(&arch, &n, g, "general.architecture", true, e);
    if (code || family_of_gguf(family, arch, n)) return code;
    family_add_names(&known, true);
    code = err_set(e, "%s: general.architecture is %s, wanted %s", g->path, err_quote(arch, n),
                   known.p ? known.p : "");
    str_free(&known);
    return code;
}

int dims_from_gguf(struct dims *s, const struct gguf *g, struct err *e)
{
    *s = (struct dims){ .rope_theta = 10000, .factor = 1 };
    char key[KEY_BYTES];
    int code = check_gguf_family(&s->family, g, e);
    for (size_t i = 0; !code && i < DIMS; i++) code = read_gguf_dim(s, &dims[i], g, e);
    if (code) return code;
    if (!gguf_key(g, gguf_name(key, s, "attention.head_count_kv"))) s->G = s->H;
    if (!s->D && s->H) s->D = s->C / s->H;
    if (s->D == 0 || s->D > ATTENTION_D_MAX) return check_shape(s, g->path, e);
    for (size_t i = 0; !code && i < DIMS; i++)
        if (dims[i].type == DIM_SAME) code = check_same(s, &dims[i], g, e);
    if (!code) code = refuse_gguf_relatives(s, g, e);
    if (!code) code = read_gguf_rope(s, g, e);
    const struct tensor *embedding = gguf_find(g, "token_embd.weight");
    if (!code && (!embedding || embedding->rank != 2)) {
        code = err_set(e, "%s: token_embd.weight is missing", g->path);
    }
    if (code) return code;
    s->V = embedding->dims[0];
    s->original_context = s->context;
    return check_shape(s, g->path, e);
}

/* ---- writing --------------------------------------------------------------------------------- */

void dims_to_gguf(struct gguf_writer *w, const struct dims *s)
{
    char key[KEY_BYTES];
    const char *name = family_table[s->family].gguf;
    gguf_put_string(w, "general.architecture", name, strlen(name));
    for (const struct dim *d = dims; d < dims + DIMS; d++) {
        gguf_name(key, s, d->gguf);
        if (d->type == DIM_REAL) {
            gguf_put_f32(w, key, (float)real_in(s, d));
        } else {
            gguf_put_u32(w, key, (uint32_t)size_in(s, d));
        }
    }
    if (s->scaling != ROPE_LINEAR) return;
    gguf_put_string(w, gguf_name(key, s, "rope.scaling.type"), "linear", 6);
    gguf_put_f32(w, gguf_name(key, s, "rope.scaling.factor"), (float)s->factor);
}

/* Members of config.json, which are written in the order of their keys. */
struct members {
    struct member {
        const char *key;
        struct str value;
    } at[32];
    size_t n;
};

static struct str *member(struct members *m, const char *key)
{
    CHECK(m->n < sizeof m->at / sizeof *m->at);
    m->at[m->n].key = key;
    return &m->at[m->n++].value;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static void add_members(struct str *out, struct members *m)
{
    qsort(m->at, m->n, sizeof *m->at, by_key);
    for (size_t i = 0; i < m->n; i++) {
        struct str *v = &m->at[i].value;
        str_addf(out, "%s  \"%s\": %s", i ? ",\n" : "{\n", m->at[i].key, v->p ? v->p : "");
        out->failed |= v->failed;
        str_free(v);
    }
    str_addz(out, "\n}\n");
}

static void add_rope_scaling(struct str *out, const struct dims *s)
{
    if (s->scaling == ROPE_PLAIN) {
        str_addz(out, "null");
        return;
    }
    str_addz(out, "{\n    \"factor\": ");
    json_add_double(out, s->factor);
    if (s->scaling == ROPE_LLAMA3) {
        str_addz(out, ",\n    \"high_freq_factor\": ");
        json_add_double(out, s->high_freq_factor);
        str_addz(out, ",\n    \"low_freq_factor\": ");
        json_add_double(out, s->low_freq_factor);
        str_addf(out, ",\n    \"original_max_position_embeddings\": %zu", s->original_context);
    }
    str_addf(out, ",\n    \"rope_type\": \"%s\"\n  }",
             s->scaling == ROPE_LINEAR ? "linear" : "llama3");
}

void dims_to_config(struct str *out, const struct dims *s, const char *dtype, int32_t bos,
                    int32_t eos)
{
    struct members m = { .n = 0 };
    const struct family_info *f = &family_table[s->family];
    CHECK(s->scaling != ROPE_DIVISORS);
    for (const struct dim *d = dims; d < dims + DIMS; d++) {
        if (d->type == DIM_SIZE) str_addf(member(&m, d->config), "%zu", size_in(s, d));
        if (d->type == DIM_REAL) json_add_double(member(&m, d->config), real_in(s, d));
    }
    str_addf(member(&m, "architectures"), "[\n    \"%s\"\n  ]", f->architecture);
    str_addf(member(&m, "model_type"), "\"%s\"", f->model_type);
    if (!family_has(s->family, QKV_BIAS)) str_addz(member(&m, "attention_bias"), "false");
    if (!family_has(s->family, QKV_BIAS)) str_addz(member(&m, "mlp_bias"), "false");
    str_addz(member(&m, "attention_dropout"), "0.0");
    if (bos >= 0) str_addf(member(&m, "bos_token_id"), "%d", bos);
    if (eos >= 0) str_addf(member(&m, "eos_token_id"), "%d", eos);
    str_addz(member(&m, "hidden_act"), "\"silu\"");
    add_rope_scaling(member(&m, "rope_scaling"), s);
    str_addz(member(&m, "tie_word_embeddings"), s->tied ? "true" : "false");
    str_addf(member(&m, "torch_dtype"), "\"%s\"", dtype);
    str_addz(member(&m, "use_cache"), "true");
    add_members(out, &m);
}

/* Llama 3.1's rule: long wavelengths are slowed by `factor`, short ones kept, those in between
 * interpolated. */
static double llama3_frequency(const struct dims *s, double f)
{
    double wavelength = 2 * M_PI / f, original = (double)s->original_context;
    if (wavelength < original / s->high_freq_factor) return f;
    if (wavelength > original / s->low_freq_factor) return f / s->factor;
    double smooth = (original / wavelength - s->low_freq_factor) /
                    (s->high_freq_factor - s->low_freq_factor);
    return (1 - smooth) * f / s->factor + smooth * f;
}

void dims_rope_frequencies(double *freq, const struct dims *s)
{
    for (size_t j = 0; j < s->D / 2; j++) {
        double f = pow(s->rope_theta, -2.0 * (double)j / (double)s->D);
        if (s->scaling == ROPE_LINEAR) f /= s->factor;
        if (s->scaling == ROPE_DIVISORS) f /= (double)s->divisors[j];
        if (s->scaling == ROPE_LLAMA3) f = llama3_frequency(s, f);
        freq[j] = f;
    }
}
