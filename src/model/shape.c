#include "src/model/shape.h"

#include <math.h>
#include <string.h>

#include "src/base/json.h"

enum { CONFIG_BYTES = 1 << 20, LAYERS_MAX = 1024, SIZE_MAX_DIM = 1 << 24 };

/* Sizes that hang together and that the kernels can take, whatever file they came from. */
static int check_shape(const struct shape *s, const char *where, struct err *e)
{
    const struct {
        const char *name;
        size_t value, most;
    } sizes[] = {
        { "number of layers", s->layers, LAYERS_MAX },
        { "hidden size", s->C, SIZE_MAX_DIM },
        { "intermediate size", s->F, SIZE_MAX_DIM },
        { "number of attention heads", s->H, 65536 },
        { "number of key/value heads", s->G, 65536 },
        { "head size", s->D, ATTENTION_D_MAX },
        { "vocabulary size", s->V, SIZE_MAX_DIM },
        { "context length", s->context, SIZE_MAX_DIM },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i].value == 0 || sizes[i].value > sizes[i].most) {
            return err_set(e, "%s: %s is %zu, wanted 1 to %zu", where, sizes[i].name,
                           sizes[i].value, sizes[i].most);
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

/* Members of the rope dictionary; one that is not known would change the positions. */
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

/* What the type says of the other members: which have to be there. */
static int read_rope_type(struct shape *s, const json_t *rope, const char *name, const char *where,
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

/* The rope dictionary: `rope_scaling` of older files, `rope_parameters` of newer ones, which then
 * also holds rope_theta. */
static int read_rope(struct shape *s, const json_t *config, const char *where, struct err *e)
{
    int code = json_get_double(&s->rope_theta, config, "rope_theta", where, e);
    if (code) return code;
    bool newer = json_has(config, "rope_parameters");
    const char *name = newer ? "rope_parameters" : "rope_scaling";
    const json_t *rope = json_object_get(config, name);
    if (!rope || json_is_null(rope)) return 0;
    if (!json_is_object(rope)) {
        return err_set(e, "%s: %s: found %s, wanted an object", where, name, json_kind(rope));
    }
    code = check_rope_members(rope, name, where, e);
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
static int check_architecture(const json_t *config, const char *where, struct err *e)
{
    static const char wanted[] = "LlamaForCausalLM";
    const char *model_type = NULL;
    int code = json_get_string(&model_type, config, "model_type", where, e);
    if (code) return code;
    if (!model_type || strcmp(model_type, "llama") != 0) {
        return err_set(e, "%s: model_type is %s, wanted \"llama\"", where,
                       model_type ? err_quotez(model_type) : "missing");
    }
    const json_t *list = json_object_get(config, "architectures");
    if (!list || json_is_null(list)) return 0;
    const json_t *first = json_array_get(list, 0);
    const char *name = json_string_value(first);
    if (name && json_array_size(list) == 1 && strcmp(name, wanted) == 0) return 0;
    return err_set(e, "%s: architectures: found %s, wanted [\"%s\"]", where,
                   name ? err_quote(name, json_string_length(first)) : json_kind(list), wanted);
}

/* Keys of relatives of Llama that compute something else, with the value that changes nothing (a
 * null, false or absent key never does). */
static int refuse_relatives(const json_t *config, const char *where, struct err *e)
{
    static const struct {
        const char *key;
        double neutral;
    } keys[] = {
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
        if (strcmp(keys[i].key, "quantization_config") == 0) {
            return err_set(e,
                           "%s: quantization_config: weights quantised for bitsandbytes, GPTQ or "
                           "AWQ are not supported; use the original weights or a GGUF file",
                           where);
        }
        return err_set(e, "%s: %s: found %s, wanted nothing: lorac computes plain Llama models",
                       where, keys[i].key, json_kind(v));
    }
    return 0;
}

static int refuse_what_differs(const json_t *config, const char *where, struct err *e)
{
    const char *act = "silu";
    bool attention_bias = false, mlp_bias = false;
    size_t tp = 1;
    int code = check_architecture(config, where, e);
    if (!code) code = refuse_relatives(config, where, e);
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

static int read_config(struct shape *s, const json_t *config, const char *where, struct err *e)
{
    if (!json_is_object(config)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(config));
    }
    int code = refuse_what_differs(config, where, e);
    const struct {
        const char *key;
        size_t *to;
        bool required;
    } sizes[] = {
        { "num_hidden_layers", &s->layers, true },
        { "hidden_size", &s->C, true },
        { "intermediate_size", &s->F, true },
        { "num_attention_heads", &s->H, true },
        { "num_key_value_heads", &s->G, false },
        { "head_dim", &s->D, false },
        { "vocab_size", &s->V, true },
        { "max_position_embeddings", &s->context, false },
    };
    for (size_t i = 0; !code && i < sizeof sizes / sizeof *sizes; i++) {
        code = json_get_size(sizes[i].to, config, sizes[i].key, where, e);
        if (!code && sizes[i].required && !json_has(config, sizes[i].key)) {
            code = err_set(e, "%s: %s is missing", where, sizes[i].key);
        }
    }
    if (!code && !json_has(config, "rms_norm_eps")) {
        /* transformers' class default (1e-6) is not what Llama 2 was trained with */
        code = err_set(e, "%s: rms_norm_eps is missing", where);
    }
    if (!code) code = json_get_double(&s->norm_eps, config, "rms_norm_eps", where, e);
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

int shape_from_config(struct shape *s, const char *path, struct err *e)
{
    /* the defaults of transformers' LlamaConfig for what a file may leave out */
    *s = (struct shape){ .context = 2048, .rope_theta = 10000, .factor = 1 };
    json_t *config = json_read(path, CONFIG_BYTES, e);
    if (!config) return e->code;
    int code = read_config(s, config, path, e);
    json_decref(config);
    return code;
}

/* llama.cpp writes llama3 scaling not as numbers but as the tensor rope_freqs.weight. */
static int read_gguf_rope(struct shape *s, const struct gguf *g, struct err *e)
{
    const char *type = NULL;
    size_t n = 0, rotated = 0;
    int code = gguf_get_double(&s->rope_theta, g, "llama.rope.freq_base", false, e);
    if (!code) code = gguf_get_string(&type, &n, g, "llama.rope.scaling.type", false, e);
    if (!code) code = gguf_get_double(&s->factor, g, "llama.rope.scaling.factor", false, e);
    if (!code) code = gguf_get_double(&s->factor, g, "llama.rope.scale_linear", false, e);
    if (!code) code = gguf_get_size(&rotated, g, "llama.rope.dimension_count", false, e);
    if (code) return code;
    if (rotated && rotated != s->D) {
        return err_set(e, "%s: llama.rope.dimension_count is %zu, wanted the head size %zu",
                       g->path, rotated, s->D);
    }
    bool factor = gguf_key(g, "llama.rope.scaling.factor") ||
                  gguf_key(g, "llama.rope.scale_linear");
    bool linear = type ? n == 6 && memcmp(type, "linear", 6) == 0 : s->factor != 1;
    if (type && linear && !factor) {
        return err_set(e, "%s: llama.rope.scaling.factor is missing, wanted it with linear scaling",
                       g->path);
    }
    if (type && !linear && !(n == 4 && memcmp(type, "none", 4) == 0)) {
        return err_set(e, "%s: llama.rope.scaling.type %s is not supported; none and linear are",
                       g->path, err_quote(type, n));
    }
    s->scaling = linear ? ROPE_LINEAR : ROPE_PLAIN;
    const struct tensor *freqs = gguf_find(g, "rope_freqs.weight");
    if (!freqs) return 0;
    if (freqs->type != DTYPE_F32 || freqs->rank != 1 || freqs->dims[0] != s->D / 2) {
        return err_set(e, "%s: rope_freqs.weight: wanted %zu values of F32", g->path, s->D / 2);
    }
    if (linear) {
        return err_set(e, "%s: both linear rope scaling and rope_freqs.weight", g->path);
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

/* Keys under "llama." that are read above, or that change nothing. What else stands there must be a
 * number or boolean of 0: GGUF's "llama" has variants that compute something else. */
static int refuse_gguf_relatives(const struct gguf *g, struct err *e)
{
    static const char *const known[] = {
        "vocab_size",           "context_length",          "block_count",
        "embedding_length",     "feed_forward_length",     "tensor_data_layout",
        "attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon",
        "attention.key_length", "attention.value_length",  "rope.dimension_count",
        "rope.freq_base",       "rope.scale_linear",       "rope.scaling.type",
        "rope.scaling.factor",  "rope.scaling.finetuned",  "rope.scaling.original_context_length",
    };
    static const char prefix[] = "llama.";
    enum { PREFIX = sizeof prefix - 1, KNOWN = sizeof known / sizeof *known };
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        if (strncmp(kv->key, prefix, PREFIX) != 0) continue;
        size_t k = 0, zeros = 0;
        while (k < KNOWN && strcmp(kv->key + PREFIX, known[k]) != 0) k++;
        while (zeros < kv->raw_bytes && kv->raw[zeros] == 0) zeros++;
        if (k < KNOWN || zeros == kv->raw_bytes) continue;
        return err_set(e,
                       "%s: key %s: not supported, wanted 0 or nothing: lorac computes plain "
                       "Llama models",
                       g->path, err_quotez(kv->key));
    }
    return 0;
}

int shape_from_gguf(struct shape *s, const struct gguf *g, struct err *e)
{
    *s = (struct shape){ .rope_theta = 10000, .factor = 1 };
    const char *arch;
    size_t n, key_length = 0, value_length = 0;
    int code = gguf_get_string(&arch, &n, g, "general.architecture", true, e);
    if (code) return code;
    if (n != 5 || memcmp(arch, "llama", 5) != 0) {
        return err_set(e, "%s: general.architecture is %s, wanted \"llama\"", g->path,
                       err_quote(arch, n));
    }
    code = gguf_get_size(&s->layers, g, "llama.block_count", true, e);
    if (!code) code = gguf_get_size(&s->C, g, "llama.embedding_length", true, e);
    if (!code) code = gguf_get_size(&s->F, g, "llama.feed_forward_length", true, e);
    if (!code) code = gguf_get_size(&s->H, g, "llama.attention.head_count", true, e);
    s->G = s->H;
    if (!code) code = gguf_get_size(&s->G, g, "llama.attention.head_count_kv", false, e);
    if (!code) code = gguf_get_size(&s->context, g, "llama.context_length", true, e);
    if (!code) {
        code = gguf_get_double(&s->norm_eps, g, "llama.attention.layer_norm_rms_epsilon", true, e);
    }
    if (!code) code = gguf_get_size(&key_length, g, "llama.attention.key_length", false, e);
    if (!code) code = gguf_get_size(&value_length, g, "llama.attention.value_length", false, e);
    if (code) return code;
    s->D = key_length ? key_length : s->H ? s->C / s->H : 0;
    if (value_length && value_length != s->D) {
        return err_set(e, "%s: keys of %zu and values of %zu channels are not supported", g->path,
                       s->D, value_length);
    }
    if (s->D == 0 || s->D > ATTENTION_D_MAX) return check_shape(s, g->path, e);
    code = refuse_gguf_relatives(g, e);
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

void shape_to_config(struct str *out, const struct shape *s, const char *dtype, int32_t bos,
                     int32_t eos)
{
    CHECK(s->scaling != ROPE_DIVISORS);
    str_addf(out, "{\n  \"architectures\": [\n    \"LlamaForCausalLM\"\n  ],\n");
    str_addf(out, "  \"attention_bias\": false,\n  \"attention_dropout\": 0.0,\n");
    if (bos >= 0) str_addf(out, "  \"bos_token_id\": %d,\n", bos);
    if (eos >= 0) str_addf(out, "  \"eos_token_id\": %d,\n", eos);
    str_addf(out, "  \"head_dim\": %zu,\n  \"hidden_act\": \"silu\",\n  \"hidden_size\": %zu,\n",
             s->D, s->C);
    str_addf(out, "  \"intermediate_size\": %zu,\n  \"max_position_embeddings\": %zu,\n", s->F,
             s->context);
    str_addf(out, "  \"mlp_bias\": false,\n  \"model_type\": \"llama\",\n");
    str_addf(out, "  \"num_attention_heads\": %zu,\n  \"num_hidden_layers\": %zu,\n", s->H,
             s->layers);
    str_addf(out, "  \"num_key_value_heads\": %zu,\n  \"rms_norm_eps\": ", s->G);
    json_add_double(out, s->norm_eps);
    if (s->scaling == ROPE_PLAIN) {
        str_addz(out, ",\n  \"rope_scaling\": null");
    } else {
        str_addz(out, ",\n  \"rope_scaling\": {\n    \"factor\": ");
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
    str_addz(out, ",\n  \"rope_theta\": ");
    json_add_double(out, s->rope_theta);
    str_addf(out, ",\n  \"tie_word_embeddings\": %s,\n", s->tied ? "true" : "false");
    str_addf(out, "  \"torch_dtype\": \"%s\",\n  \"use_cache\": true,\n  \"vocab_size\": %zu\n}\n",
             dtype, s->V);
}

/* Llama 3.1's rule: long wavelengths are slowed by `factor`, short ones kept, those in between
 * interpolated. */
static double llama3_frequency(const struct shape *s, double f)
{
    double wavelength = 2 * M_PI / f, original = (double)s->original_context;
    if (wavelength < original / s->high_freq_factor) return f;
    if (wavelength > original / s->low_freq_factor) return f / s->factor;
    double smooth = (original / wavelength - s->low_freq_factor) /
                    (s->high_freq_factor - s->low_freq_factor);
    return (1 - smooth) * f / s->factor + smooth * f;
}

void shape_rope_frequencies(double *freq, const struct shape *s)
{
    for (size_t j = 0; j < s->D / 2; j++) {
        double f = pow(s->rope_theta, -2.0 * (double)j / (double)s->D);
        if (s->scaling == ROPE_LINEAR) f /= s->factor;
        if (s->scaling == ROPE_DIVISORS) f /= (double)s->divisors[j];
        if (s->scaling == ROPE_LLAMA3) f = llama3_frequency(s, f);
        freq[j] = f;
    }
}
