/* src/formats/peft.c: what PEFT writes is read, what changes the result is refused by name. */
#include "tests/files_util.h"

#include <math.h>

#include "src/base/mem.h"
#include "src/formats/peft.h"

static const char *make_dir(const char *name)
{
    struct err e;
    const char *dir = temp_path(name);
    if (dir_make(dir, 0700, &e)) fail_msg("%s", e.msg);
    return dir;
}

static const char *with_config(const char *text)
{
    const char *dir = make_dir("config");
    put_text("config/adapter_config.json", text);
    return dir;
}

static struct peft_config config_ok(const char *text)
{
    struct peft_config c;
    struct err e;
    if (peft_config_read(&c, with_config(text), &e)) fail_msg("%s", e.msg);
    return c;
}

/* ---- configurations that are read ------------------------------------------------------------ */

/* As PEFT 0.21.2 saves LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]). */
static const char peft_0_21[] =
    "{\n  \"alora_invocation_tokens\": null,\n  \"alpha_pattern\": {},\n  \"arrow_config\": null,\n"
    "  \"auto_mapping\": null,\n  \"base_model_name_or_path\": \"meta-llama/Llama-2-7b-hf\",\n"
    "  \"bias\": \"none\",\n  \"corda_config\": null,\n  \"ensure_weight_tying\": false,\n"
    "  \"eva_config\": null,\n  \"exclude_modules\": null,\n  \"fan_in_fan_out\": false,\n"
    "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n  \"kasa_config\": null,\n"
    "  \"layer_replication\": null,\n  \"layers_pattern\": null,\n"
    "  \"layers_to_transform\": null,\n  \"loftq_config\": {},\n  \"lora_alpha\": 16,\n"
    "  \"lora_bias\": false,\n  \"lora_dropout\": 0.05,\n  \"lora_ga_config\": null,\n"
    "  \"megatron_config\": null,\n  \"megatron_core\": \"megatron.core\",\n"
    "  \"modules_to_save\": null,\n  \"monteclora_config\": null,\n  \"peft_type\": \"LORA\",\n"
    "  \"peft_version\": \"0.21.2\",\n  \"qalora_group_size\": 16,\n  \"r\": 4,\n"
    "  \"rank_pattern\": {},\n  \"revision\": null,\n"
    "  \"target_modules\": [\n    \"v_proj\",\n    \"q_proj\"\n  ],\n"
    "  \"target_parameters\": null,\n  \"task_type\": \"CAUSAL_LM\",\n"
    "  \"trainable_token_indices\": null,\n  \"use_bdlora\": null,\n  \"use_dora\": false,\n"
    "  \"use_qalora\": false,\n  \"use_rslora\": false,\n  \"velora_config\": null\n}";

static void test_config_of_peft(void **state)
{
    (void)state;
    struct peft_config c = config_ok(peft_0_21);
    assert_int_equal(c.r, 4);
    assert_true(c.lora_alpha == 16);
    assert_true(c.lora_dropout == 0.05);
    assert_false(c.use_rslora);
    assert_false(c.all_linear);
    assert_string_equal(c.base_model, "meta-llama/Llama-2-7b-hf");
    assert_int_equal(c.n_targets, 2);
    assert_string_equal(c.target_modules[0], "v_proj");
    assert_true(peft_targets(&c, "model.layers.0.self_attn.q_proj"));
    assert_false(peft_targets(&c, "model.layers.0.self_attn.k_proj"));
    peft_config_free(&c);
}

static void test_defaults(void **state)
{
    (void)state;
    struct peft_config c = config_ok("{\"peft_type\":\"LORA\"}");
    assert_int_equal(c.r, 8);
    assert_true(c.lora_alpha == 8);
    assert_true(c.lora_dropout == 0);
    assert_null(c.base_model);
    assert_true(peft_targets(&c, "model.layers.0.self_attn.v_proj"));
    assert_false(peft_targets(&c, "model.layers.0.self_attn.o_proj"));
    peft_config_free(&c);
}

static void test_accepted(void **state)
{
    (void)state;
    static const char *const extras[] = {
        "\"merge_weights\": false, \"enable_lora\": null", /* PEFT 0.2, alpaca-lora */
        "\"init_lora_weights\": false",
        "\"init_lora_weights\": \"Gaussian\"",
        "\"init_lora_weights\": \"eva\", \"eva_config\": {\"rho\": 2.0}",
        "\"init_lora_weights\": \"orthogonal\"",
        "\"target_modules\": \"all-linear\"",
        "\"lora_alpha\": 0.5",
        "\"lora_dropout\": 1",
        "\"use_rslora\": null, \"r\": null, \"bias\": null, \"target_modules\": null",
        "\"modules_to_save\": [], \"layers_to_transform\": []",
        "\"auto_mapping\": {\"base_model_class\": \"LlamaForCausalLM\"}, \"revision\": \"main\"",
        "\"a key of next year\": {}, \"another\": \"\", \"and another\": null",
        "\"rank_pattern\": null, \"alpha_pattern\": null",
    };
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"peft_type\": \"LORA\", %s}", extras[i]);
        struct peft_config c = config_ok(text);
        peft_config_free(&c);
    }
}

static void test_targets(void **state)
{
    (void)state;
    struct peft_config c = config_ok("{\"peft_type\":\"LORA\",\"target_modules\":["
                                     "\"layers.1.mlp.up_proj\",\"o_proj\",\"whole.path\"]}");
    assert_true(peft_targets(&c, "model.layers.1.mlp.up_proj"));
    assert_false(peft_targets(&c, "model.layers.11.mlp.up_proj"));
    assert_true(peft_targets(&c, "model.layers.11.self_attn.o_proj"));
    assert_false(peft_targets(&c, "model.layers.11.self_attn.no_proj"));
    assert_true(peft_targets(&c, "whole.path"));
    assert_false(peft_targets(&c, "path"));
    peft_config_free(&c);
    c = config_ok("{\"peft_type\":\"LORA\",\"target_modules\":\"all-linear\"}");
    assert_true(c.all_linear);
    assert_true(peft_targets(&c, "model.layers.1.mlp.gate_proj"));
    assert_false(peft_targets(&c, "lm_head"));
    assert_false(peft_targets(&c, "model.embed_tokens"));
    peft_config_free(&c);
}

static void test_patterns(void **state)
{
    (void)state;
    /* The values below are what PEFT's get_pattern_key() gives for the same patterns. */
    static const struct {
        const char *module;
        size_t r;
        double alpha;
    } rows[] = {
        { "model.layers.0.self_attn.q_proj", 2, 8 },  { "model.layers.0.self_attn.v_proj", 3, 8 },
        { "model.layers.0.self_attn.xq_proj", 8, 8 }, { "model.layers.1.self_attn.k_proj", 4, 8 },
        { "model.layers.11.self_attn.k_proj", 8, 8 }, { "model.layers.0.mlp.up_proj", 5, 8 },
        { "model.layers.0.mlp.down_proj", 8, 0.5 },   { "model.layers.0.mlp.gate_proj", 8, 1 },
        { "model.layers.1.mlp.gate_proj", 8, 2 },
    };
    struct peft_config c = config_ok(
        "{\"peft_type\":\"LORA\",\"rank_pattern\":{\"q_proj\":2,\"(q|v)_proj\":3,"
        "\"layers.1.self_attn.k_proj\":4,\"^model\\\\.layers\\\\.0\\\\.mlp\\\\.up_proj\":5},"
        "\"alpha_pattern\":{\"down_proj\":0.5,\"layers.0.mlp.gate_proj\":1,\"gate_proj\":2}}");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t r;
        double alpha;
        struct err e;
        assert_int_equal(peft_rank_alpha(&r, &alpha, &c, rows[i].module, &e), 0);
        if (r != rows[i].r || alpha != rows[i].alpha) {
            fail_msg("%s: r %zu alpha %g", rows[i].module, r, alpha);
        }
    }
    peft_config_free(&c);
}

static void test_scale(void **state)
{
    (void)state;
    struct peft_config c = config_ok("{\"peft_type\":\"LORA\"}");
    assert_true(peft_scale(&c, 16, 32) == 2);
    peft_config_free(&c);
    c = config_ok("{\"peft_type\":\"LORA\",\"use_rslora\":true}");
    assert_true(peft_scale(&c, 16, 32) == 8);
    peft_config_free(&c);
}

/* ---- configurations that are refused --------------------------------------------------------- */

static const struct {
    const char *extra, *want;
} refused[] = {
    { "\"bias\": \"all\"", "bias: found \"all\", wanted \"none\"" },
    { "\"bias\": true", "bias: found \"true\"" },
    { "\"task_type\": \"SEQ_CLS\"", "task_type: found \"SEQ_CLS\"" },
    { "\"use_dora\": true", "\"use_dora\": found \"true\"" },
    { "\"fan_in_fan_out\": true", "\"fan_in_fan_out\"" },
    { "\"modules_to_save\": [\"lm_head\"]", "\"modules_to_save\": found \"[\"lm_head\"]\"" },
    { "\"layers_to_transform\": 0", "\"layers_to_transform\": found \"0\"" },
    { "\"layers_to_transform\": [1]", "\"layers_to_transform\"" },
    { "\"exclude_modules\": [\"v_proj\"]", "\"exclude_modules\"" },
    { "\"layer_replication\": [[0, 4]]", "\"layer_replication\"" },
    { "\"target_parameters\": [\"w\"]", "\"target_parameters\"" },
    { "\"trainable_token_indices\": [1]", "\"trainable_token_indices\"" },
    { "\"lora_bias\": true", "\"lora_bias\"" },
    { "\"use_qalora\": true", "\"use_qalora\"" },
    { "\"use_bdlora\": {\"nblocks\": 2}", "\"use_bdlora\"" },
    { "\"arrow_config\": {\"top_k\": 3}", "\"arrow_config\"" },
    { "\"alora_invocation_tokens\": [1, 2]", "\"alora_invocation_tokens\"" },
    { "\"megatron_config\": {\"a\": 1}", "\"megatron_config\"" },
    { "\"loftq_config\": {\"loftq_bits\": 4}", "\"loftq_config\"" },
    { "\"a key of next year\": 1", "\"a key of next year\": found \"1\"" },
    { "\"long\": [\"0123456789012345678901234567890123456789012345678901234567890123456789"
      "0123456789\"]",
      "\"long\": found an array" },
    { "\"init_lora_weights\": \"pissa\"", "init_lora_weights: found \"pissa\"" },
    { "\"init_lora_weights\": \"pissa_niter_16\"", "change the base model" },
    { "\"init_lora_weights\": \"olora\"", "\"olora\"" },
    { "\"init_lora_weights\": \"corda\"", "\"corda\"" },
    { "\"init_lora_weights\": \"loftq\"", "\"loftq\"" },
    { "\"init_lora_weights\": \"lora_ga\"", "\"lora_ga\"" },
    { "\"init_lora_weights\": 1", "init_lora_weights: found \"1\"" },
    { "\"r\": 0", "r: found 0, wanted 1" },
    { "\"r\": -4", "r: found an integer" },
    { "\"r\": 8.0", "r: found a number, wanted an integer" },
    { "\"r\": 2000000", "r: found 2000000" },
    { "\"lora_alpha\": \"16\"", "lora_alpha: found a string, wanted a number" },
    { "\"lora_dropout\": 1.5", "lora_dropout: found 1.5, wanted 0 to 1" },
    { "\"use_rslora\": 1", "use_rslora: found an integer, wanted true or false" },
    { "\"target_modules\": \".*q_proj\"", "target_modules: found \".*q_proj\", wanted a list" },
    { "\"target_modules\": []", "at least one name" },
    { "\"target_modules\": [\"q_proj\", 1]",
      "target_modules: found \"1\", wanted a list of names" },
    { "\"target_modules\": [\"\"]", "target_modules: found \"\"" },
    { "\"target_modules\": {\"q_proj\": 1}", "target_modules: found" },
    { "\"rank_pattern\": [1]", "rank_pattern: found \"[1]\", wanted an object" },
    { "\"rank_pattern\": {\"q_proj\": 0}", "rank_pattern: found \"0\", wanted ranks" },
    { "\"rank_pattern\": {\"q_proj\": 1.5}", "rank_pattern: found \"1.5\"" },
    { "\"rank_pattern\": {\"(q_proj\": 1}", "\"(q_proj\", wanted a regular expression" },
    { "\"alpha_pattern\": {\"q_proj\": \"1\"}",
      "alpha_pattern: found \"1\", wanted positive numbers" },
    { "\"base_model_name_or_path\": 7", "base_model_name_or_path: found an integer" },
    { "\"r\": 8, \"r\": 16", "duplicate" },
    { "\"\\u001b[2J\": 1", "\"\\x1b[2J\"" },
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"peft_type\": \"LORA\", %s}", refused[i].extra);
        const char *dir = with_config(text);
        struct peft_config c;
        struct err e;
        assert_refused(peft_config_read(&c, dir, &e), &e, dir, refused[i].extra, refused[i].want);
    }
}

static void test_refused_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "not valid JSON" },
        { "[]", "found an array, wanted an object" },
        { "{}", "peft_type: found nothing, wanted \"LORA\"" },
        { "{\"peft_type\": null}", "peft_type: found \"null\"" },
        { "{\"peft_type\": \"IA3\"}", "peft_type: found \"IA3\", wanted \"LORA\"" },
        { "{\"peft_type\": \"LORA\"", "not valid JSON" },
        { "{\"peft_type\": \"LORA\", \"lora_alpha\": NaN}", "not valid JSON" },
    };
    struct peft_config c;
    struct err e;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *dir = with_config(rows[i].text);
        assert_refused(peft_config_read(&c, dir, &e), &e, dir, rows[i].text, rows[i].want);
    }
    const char *dir = make_dir("nothing");
    assert_refused(peft_config_read(&c, dir, &e), &e, dir, "none", "found no adapter_config.json");
}

/* A pattern whose matching explodes ends in an error, not in a hang. */
static void test_costly_pattern(void **state)
{
    (void)state;
    struct peft_config c = config_ok(
        "{\"peft_type\":\"LORA\",\"rank_pattern\":{\"(.*)*(.*)*(.*)*(.*)"
        "*x(.*)*y\":2}}");
    struct err e;
    size_t r;
    double alpha;
    int code = peft_rank_alpha(&r, &alpha, &c, "model.layers.0.self_attn.q_proj_xxxxxxxxxxxxx", &e);
    assert_int_equal(code, ERR_FAIL);
    assert_non_null(strstr(e.msg, "takes too long"));
    peft_config_free(&c);
}

/* ---- whole adapters -------------------------------------------------------------------------- */

#define Q0 "model.layers.0.self_attn.q_proj"
#define V0 "model.layers.0.self_attn.v_proj"
static const float numbers[] = { 1, -2, 3.5f, 4e-30f, 5, 6, 7, 8 };
static const struct peft_output outputs[] = {
    { Q0, PEFT_A, 2, 3, numbers },
    { Q0, PEFT_B, 4, 2, numbers },
    { V0, PEFT_A, 2, 3, numbers + 2 },
    { V0, PEFT_B, 1, 2, numbers + 1 },
};

static const char *write_sample(const char *name)
{
    const char *targets[] = { "v_proj", "q_proj" };
    const char base[] = "models/Llama \"2\" \xc3\xa9";
    const struct peft_config c = {
        .r = 2, .lora_alpha = 4, .base_model = base, .target_modules = targets, .n_targets = 2
    };
    const char *dir = make_dir(name);
    struct err e;
    if (peft_write(dir, &c, outputs, 4, &e)) fail_msg("%s", e.msg);
    return dir;
}

static void test_written_config(void **state)
{
    (void)state;
    write_sample("written");
    struct str s = { 0 };
    get_file(&s, temp_path("written/adapter_config.json"));
    assert_string_equal(s.p, "{\n"
                             "  \"base_model_name_or_path\": \"models/Llama \\\"2\\\" \xc3\xa9\",\n"
                             "  \"bias\": \"none\",\n"
                             "  \"inference_mode\": true,\n"
                             "  \"init_lora_weights\": true,\n"
                             "  \"lora_alpha\": 4,\n"
                             "  \"lora_dropout\": 0.0,\n"
                             "  \"peft_type\": \"LORA\",\n"
                             "  \"r\": 2,\n"
                             "  \"target_modules\": [\n"
                             "    \"q_proj\",\n"
                             "    \"v_proj\"\n"
                             "  ],\n"
                             "  \"task_type\": \"CAUSAL_LM\"\n"
                             "}\n");
    str_free(&s);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct peft p;
    struct err e;
    if (peft_open(&p, write_sample("round"), &e)) fail_msg("%s", e.msg);
    assert_int_equal(p.config.r, 2);
    assert_true(peft_has(&p, Q0));
    assert_false(peft_has(&p, "model.layers.1.self_attn.q_proj"));
    for (size_t i = 0; i < 4; i++) {
        const struct peft_output *o = &outputs[i];
        const struct tensor *t;
        assert_int_equal(peft_check_all_read(&p, &e), ERR_FAIL);
        if (peft_tensor(&t, &p, o->module, o->part, o->rows, o->cols, &e)) fail_msg("%s", e.msg);
        assert_int_equal(t->type, DTYPE_F32);
        assert_memory_equal(t->data, o->data, o->rows * o->cols * 4);
    }
    assert_int_equal(peft_check_all_read(&p, &e), 0);
    peft_close(&p);
}

static void test_round_trip_of_settings(void **state)
{
    (void)state;
    struct peft_pattern rank = { "q_proj", 4, NULL };
    struct peft_pattern alpha[] = { { "q_proj", 0.5, NULL }, { "(v|k)_proj", 2, NULL } };
    const char base[] = "not UTF-8: \xff";
    const struct peft_config c = { .r = 3,
                                   .lora_alpha = 1.25,
                                   .lora_dropout = 0.1,
                                   .use_rslora = true,
                                   .all_linear = true,
                                   .base_model = base,
                                   .rank_pattern = &rank,
                                   .n_rank = 1,
                                   .alpha_pattern = alpha,
                                   .n_alpha = 2 };
    const char *dir = make_dir("settings");
    struct err e;
    struct peft_config d;
    if (peft_write(dir, &c, outputs, 4, &e)) fail_msg("%s", e.msg);
    if (peft_config_read(&d, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(d.r, 3);
    assert_true(d.lora_alpha == 1.25 && d.lora_dropout == 0.1 && d.use_rslora);
    assert_null(d.base_model);
    assert_false(d.all_linear);
    assert_int_equal(d.n_targets, 7);
    assert_string_equal(d.target_modules[0], "down_proj");
    assert_int_equal(d.n_rank, 1);
    assert_int_equal(d.n_alpha, 2);
    assert_string_equal(d.alpha_pattern[1].key, "(v|k)_proj");
    assert_true(d.alpha_pattern[0].value == 0.5 && d.rank_pattern[0].value == 4);
    peft_config_free(&d);
}

static void test_tensor_errors(void **state)
{
    (void)state;
    struct peft p;
    struct err e;
    const struct tensor *t;
    if (peft_open(&p, write_sample("errors"), &e)) fail_msg("%s", e.msg);
    const char *path = p.path;
    assert_refused(peft_tensor(&t, &p, "model.layers.9.self_attn.q_proj", PEFT_A, 2, 3, &e), &e,
                   path, "missing", "layers.9.self_attn.q_proj.lora_A.weight is missing");
    assert_refused(peft_tensor(&t, &p, Q0, PEFT_A, 3, 2, &e), &e, path, "shape",
                   "found shape (2, 3), wanted (3, 2)");
    assert_refused(peft_tensor(&t, &p, Q0, PEFT_B, 4, 3, &e), &e, path, "shape", "wanted (4, 3)");
    assert_refused(peft_check_all_read(&p, &e), &e, path, "left",
                   "base_model.model.\"" V0 ".lora_A.weight\": does not belong");
    peft_close(&p);
}

static const char *with_tensors(const char *name, const char *header, size_t data)
{
    char path[64];
    struct str s = { 0 };
    const char *dir = make_dir(name);
    size_t n = strlen(header);
    snprintf(path, sizeof path, "%s/adapter_config.json", name);
    put_text(path, "{\"peft_type\":\"LORA\",\"r\":1}");
    for (unsigned i = 0; i < 8; i++) str_addc(&s, (char)((uint64_t)n >> (8 * i)));
    str_addz(&s, header);
    for (size_t i = 0; i < data; i++) str_addc(&s, 0);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", name);
    put_file(path, s.p, s.n);
    str_free(&s);
    return dir;
}

static void test_other_types(void **state)
{
    (void)state;
    struct peft p;
    struct err e;
    const struct tensor *t;
    const char *dir = with_tensors(
        "types",
        "{\"base_model.model." Q0 ".lora_A.weight\":{\"dtype\":\"BF16\",\"shape\":[1,2],"
        "\"data_offsets\":[0,4]},\"base_model.model." Q0 ".lora_B.weight\":{\"dtype\":"
        "\"I8\",\"shape\":[2,1],\"data_offsets\":[4,6]}} ",
        6);
    if (peft_open(&p, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_A, 1, 2, &e), 0);
    assert_int_equal(t->type, DTYPE_BF16);
    assert_refused(peft_tensor(&t, &p, Q0, PEFT_B, 2, 1, &e), &e, p.path, "type", "found type I8");
    peft_close(&p);
}

static void test_half_a_module(void **state)
{
    (void)state;
    struct peft p;
    struct err e;
    const struct tensor *t;
    const char *dir = with_tensors("half",
                                   "{\"base_model.model." V0 ".lora_B.weight\":{\"dtype\":\"U8\","
                                   "\"shape\":[1],\"data_offsets\":[0,1]}}",
                                   1);
    if (peft_open(&p, dir, &e)) fail_msg("%s", e.msg);
    assert_true(peft_has(&p, V0));
    assert_refused(peft_tensor(&t, &p, V0, PEFT_A, 1, 1, &e), &e, p.path, "half",
                   "v_proj.lora_A.weight is missing");
    peft_close(&p);
}

static void test_broken_adapters(void **state)
{
    (void)state;
    struct peft p;
    struct err e;
    const char *dir = with_tensors("broken", "{}", 1);
    assert_refused(peft_open(&p, dir, &e), &e, dir, "tensors", "behind the last tensor");
    dir = make_dir("old");
    put_text("old/adapter_config.json", "{\"peft_type\":\"LORA\"}");
    assert_refused(peft_open(&p, dir, &e), &e, dir, "none", "No such file");
    put_text("old/adapter_model.bin", "x");
    assert_refused(peft_open(&p, dir, &e), &e, dir, "bin", "found adapter_model.bin");
}

/* Nothing is left behind when the directory cannot be written; a config alone never appears. */
static void test_write_errors(void **state)
{
    (void)state;
    const struct peft_config c = { .r = 2, .lora_alpha = 4, .all_linear = true };
    struct err e;
    const char *dir = temp_path("absent");
    assert_refused(peft_write(dir, &c, outputs, 4, &e), &e, dir, "absent", "No such file");
    dir = make_dir("blocked");
    make_dir("blocked/adapter_model.safetensors");
    assert_refused(peft_write(dir, &c, outputs, 4, &e), &e, dir, "blocked", "cannot rename");
    assert_false(file_exists(temp_path("blocked/adapter_config.json")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_of_peft), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_accepted),       cmocka_unit_test(test_targets),
        cmocka_unit_test(test_patterns),       cmocka_unit_test(test_scale),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_costly_pattern), cmocka_unit_test(test_written_config),
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_round_trip_of_settings),
        cmocka_unit_test(test_tensor_errors),  cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_half_a_module),  cmocka_unit_test(test_broken_adapters),
        cmocka_unit_test(test_write_errors),
    };
    return cmocka_run_group_tests_name("peft", tests, make_test_dir, remove_test_dir);
}
