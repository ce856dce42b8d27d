/* src/formats/peft.c: files that PEFT writes are read; settings that would change the result are
 * refused by name. */
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

static bool targets(const struct peft_config *c, const char *module)
{
    bool is;
    struct err e;
    if (peft_targets(&is, c, module, &e)) fail_msg("%s", e.msg);
    return is;
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
    assert_true(targets(&c, "model.layers.0.self_attn.q_proj"));
    assert_false(targets(&c, "model.layers.0.self_attn.k_proj"));
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
    assert_true(targets(&c, "model.layers.0.self_attn.v_proj"));
    assert_false(targets(&c, "model.layers.0.self_attn.o_proj"));
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
        "\"fan_in_fan_out\": true",
        /* ms-swift and unsloth */
        "\"lora_dtype\": \"bfloat16\", \"lorap_lr_ratio\": 16.0, \"lorap_emb_lr\": 1e-06",
        "\"lora_dtype\": null, \"use_qa_lora\": false, \"use_merged_linear\": false",
        "\"swift_type\": \"LORA\", \"model_key_mapping\": null, \"enable_lora\": null",
        "\"auto_mapping\": {\"parent_library\": \"transformers.models.llama.modeling_llama\", "
        "\"unsloth_fixed\": true}, \"unsloth_fixed\": true",
        "\"corda_config\": {\"a\": 1}, \"lora_ga_config\": {\"a\": 1}, "
        "\"ensure_weight_tying\": true",
        "\"exclude_modules\": \"\", \"layers_pattern\": \"\", \"modules_to_save\": null",
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
    assert_true(targets(&c, "model.layers.1.mlp.up_proj"));
    assert_false(targets(&c, "model.layers.11.mlp.up_proj"));
    assert_true(targets(&c, "model.layers.11.self_attn.o_proj"));
    assert_false(targets(&c, "model.layers.11.self_attn.no_proj"));
    assert_true(targets(&c, "whole.path"));
    assert_false(targets(&c, "path"));
    peft_config_free(&c);
    c = config_ok("{\"peft_type\":\"LORA\",\"target_modules\":\"all-linear\"}");
    assert_true(c.all_linear);
    assert_true(targets(&c, "model.layers.1.mlp.gate_proj"));
    assert_false(targets(&c, "lm_head"));
    assert_false(targets(&c, "model.embed_tokens"));
    peft_config_free(&c);
}

/* Which modules are adapted: what PEFT 0.21.2's check_target_module_exists() says about the seven
 * modules (q k v o gate up down) of layers 0, 1 and 11, for each way to name them. */
static void test_modules_are_chosen_as_peft_does(void **state)
{
    (void)state;
    static const struct {
        const char *config, *chosen;
    } rows[] = {
        { "\"target_modules\": \".*q_proj\"", "100000010000001000000" },
        { "\"target_modules\": \"q_proj\"", "000000000000000000000" },
        { "\"target_modules\": \".*\\\\.(q|v)_proj\"", "101000010100001010000" },
        { "\"target_modules\": \"model\\\\.layers\\\\.1\\\\..*\"", "000000011111110000000" },
        { "\"target_modules\": \".*self_attn.*(q_proj|k_proj)$|.*mlp\\\\.down_proj\"",
          "110000111000011100001" },
        { "\"target_modules\": \"(?!.*mlp).*_proj\"", "111100011110001111000" },
        { "\"target_modules\": \".*layers\\\\.[0-9]\\\\..*proj\"", "111111111111110000000" },
        { "\"target_modules\": \".*q_pro\"", "000000000000000000000" },
        { "\"target_modules\": \"^(?:model)(?=\\\\.).*\\\\.(?P<name>gate_proj|up_proj)$\"",
          "000011000001100000110" },
        { "\"target_modules\": \"(?:.*?(?:vision|image|visual|patch|language|text).*?(?:s"
          "elf_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:k_proj|v_proj|q_proj|"
          "out_proj|fc1|fc2|o_proj|gate_proj|up_proj|down_proj).*?)|(?:\\\\bmodel\\\\.lay"
          "ers\\\\.[\\\\d]{1,}\\\\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense"
          ")\\\\.(?:(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)))\"",
          "111111111111111111111" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": 1", "000000010000000000000" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": 0", "100000000000000000000" },
        { "\"target_modules\": [\"q_proj\", \"up_proj\"], \"layers_to_transform\": [0, 11"
          "]",
          "100001000000001000010" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": []",
          "100000010000001000000" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_patte"
          "rn\": \"layers\"",
          "000000010000000000000" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_patte"
          "rn\": [\"h\", \"layers\"]",
          "000000010000000000000" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_patte"
          "rn\": \"blocks\"",
          "000000000000000000000" },
        { "\"target_modules\": [\"model.layers.0.self_attn.q_proj\", \"v_proj\"], \"layer"
          "s_to_transform\": [1]",
          "100000000100000000000" },
        { "\"target_modules\": [\"layers.11.mlp.up_proj\", \"k_proj\"], \"layers_to_trans"
          "form\": [1]",
          "000000001000000000000" },
        { "\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1], \"layers_patte"
          "rn\": \"lay.*\"",
          "000000010000000000000" },
        { "\"target_modules\": [\"q_proj\", \"v_proj\"], \"exclude_modules\": [\"v_proj\""
          "]",
          "100000010000001000000" },
        { "\"target_modules\": [\"q_proj\", \"v_proj\"], \"exclude_modules\": [\"layers.0"
          ".self_attn.v_proj\"]",
          "100000010100001010000" },
        { "\"target_modules\": [\"q_proj\", \"v_proj\"], \"exclude_modules\": \".*layers\\\\."
          "1\\\\..*\"",
          "101000000000001010000" },
        { "\"target_modules\": [\"q_proj\", \"v_proj\"], \"exclude_modules\": \"layers\\\\."
          "1\"",
          "101000010100001010000" },
        { "\"target_modules\": \".*_proj\", \"exclude_modules\": [\"mlp.down_proj\", \"o_"
          "proj\"]",
          "111011011101101110110" },
        { "\"target_modules\": [\"q_proj\", \"lm_head\"], \"modules_to_save\": [\"lm_head"
          "\"]",
          "100000010000001000000" },
        { "\"target_modules\": [\"q_proj\", \"v_proj\"], \"modules_to_save\": [\"q_proj\""
          "]",
          "001000000100000010000" },
        { "\"target_modules\": [\"q_proj\", \"down_proj\"], \"modules_to_save\": [\"self_"
          "attn\"]",
          "000000100000010000001" },
        { "\"target_modules\": [\"q_proj\", \"v_proj\"], \"exclude_modules\": [], \"layer"
          "s_pattern\": []",
          "101000010100001010000" },
    };
    static const char *const names[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                         "mlp.down_proj" };
    static const int layers[] = { 0, 1, 11 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024], path[64], found[22] = "";
        snprintf(text, sizeof text, "{\"peft_type\": \"LORA\", %s}", rows[i].config);
        struct peft_config c = config_ok(text);
        for (size_t k = 0; k < 21; k++) {
            snprintf(path, sizeof path, "model.layers.%d.%s", layers[k / 7], names[k % 7]);
            found[k] = targets(&c, path) ? '1' : '0';
        }
        if (strcmp(found, rows[i].chosen) != 0) {
            fail_msg("%s: %s, wanted %s", rows[i].config, found, rows[i].chosen);
        }
        peft_config_free(&c);
    }
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
        assert_int_equal(peft_r_alpha(&r, &alpha, &c, rows[i].module, &e), 0);
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
    { "\"target_modules\": []", "at least one name" },
    { "\"target_modules\": [\"q_proj\", 1]",
      "target_modules: found \"1\", wanted a list of names" },
    { "\"target_modules\": [\"\"]", "target_modules: found \"\"" },
    { "\"target_modules\": {\"q_proj\": 1}", "target_modules: found" },
    { "\"target_modules\": \"\"", "target_modules: found \"\", wanted a list of names, a regular" },
    { "\"target_modules\": \"(q_proj\"",
      "target_modules: found \"(q_proj\", wanted a regular expression" },
    { "\"target_modules\": \"q\\u0000\"", "target_modules: found" },
    { "\"target_modules\": \".*q_proj\", \"layers_to_transform\": [1]",
      "PEFT does not load that either" },
    { "\"target_modules\": \"all-linear\", \"layers_to_transform\": 1",
      "layers_to_transform: found \"1\"" },
    { "\"layers_to_transform\": \"1\"",
      "layers_to_transform: found \"1\", wanted a layer's number" },
    { "\"layers_to_transform\": [1, 1.5]", "layers_to_transform: found \"1.5\"" },
    { "\"layers_to_transform\": true", "layers_to_transform: found \"true\"" },
    { "\"layers_pattern\": [\"(\"], \"layers_to_transform\": 1", "layers_pattern: found \"(\"" },
    { "\"layers_pattern\": 3", "layers_pattern: found \"3\"" },
    { "\"exclude_modules\": \"(\"", "exclude_modules: found \"(\"" },
    { "\"exclude_modules\": [1]", "exclude_modules: found \"1\"" },
    { "\"exclude_modules\": {\"a\": 1}", "exclude_modules: found" },
    { "\"modules_to_save\": [1]", "modules_to_save: found \"1\"" },
    { "\"fan_in_fan_out\": 1", "fan_in_fan_out: found an integer" },
    { "\"use_qa_lora\": true", "\"use_qa_lora\": found \"true\"" },
    { "\"use_merged_linear\": true", "\"use_merged_linear\"" },
    { "\"model_key_mapping\": {\"a\": \"b\"}", "\"model_key_mapping\"" },
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
        { "{\"peft_type\": \"IA3\"}", "it is IA3; let PEFT merge it" },
        { "{\"peft_type\": \"PREFIX_TUNING\"}", "it is a prefix that was tuned" },
        { "{\"peft_type\": \"adalora\"}", "it is AdaLoRA" },
        { "{\"swift_type\": \"LONGLORA\"}", "swift_type: found \"LONGLORA\"" },
        { "{\"fine_tune_type\": \"lora\", \"num_layers\": 16, \"lora_parameters\": {\"rank\": 8}}",
          "it is the configuration of an MLX adapter (mlx_lm.lora); let mlx_lm.fuse" },
        { "{\"lora_layers\": 16}", "MLX" },
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

/* A pattern whose matching takes too long ends in an error, it does not hang. */
static void test_costly_pattern(void **state)
{
    (void)state;
    struct peft_config c = config_ok(
        "{\"peft_type\":\"LORA\",\"rank_pattern\":{\"(.*)*(.*)*(.*)*(.*)"
        "*x(.*)*y\":2}}");
    struct err e;
    size_t r;
    double alpha;
    int code = peft_r_alpha(&r, &alpha, &c, "model.layers.0.self_attn.q_proj_xxxxxxxxxxxxx", &e);
    assert_int_equal(code, ERR_FAIL);
    assert_non_null(strstr(e.msg, "takes too long"));
    peft_config_free(&c);
}

/* The same for a text that chooses the modules. */
static void test_costly_choice(void **state)
{
    (void)state;
    struct peft_config c = config_ok("{\"peft_type\":\"LORA\",\"target_modules\":"
                                     "\"(([a-z0-9._]+)+)+[A-Z]\"}");
    struct err e;
    bool is;
    assert_int_equal(peft_targets(&is, &c, "model.layers.0.self_attn.q_proj", &e), ERR_FAIL);
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
        assert_int_equal(t->type, STORAGE_F32);
        assert_memory_equal(t->data, o->data, o->rows * o->cols * 4);
    }
    assert_int_equal(peft_check_all_read(&p, &e), 0);
    peft_close(&p);
}

static void test_round_trip_of_settings(void **state)
{
    (void)state;
    struct peft_pattern rank = { .key = "q_proj", .value = 4 };
    struct peft_pattern alpha[] = { { .key = "q_proj", .value = 0.5 },
                                    { .key = "(v|k)_proj", .value = 2 } };
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
    assert_int_equal(t->type, STORAGE_BF16);
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
    assert_refused(peft_open(&p, dir, &e), &e, dir, "tensors", "after the last tensor");
    dir = make_dir("old");
    put_text("old/adapter_config.json", "{\"peft_type\":\"LORA\"}");
    assert_refused(peft_open(&p, dir, &e), &e, dir, "none", "No such file");
    put_text("old/adapter_model.bin", "x");
    assert_refused(peft_open(&p, dir, &e), &e, dir, "bin", "found adapter_model.bin");
}

/* ---- other spellings, and what PEFT passes over ---------------------------------------------- */

/* A file of F32 tensors with one value each, in the order of the list; NULL ends it. */
static const char *with_names(const char *name, const char *config, const char *const *tensors)
{
    char path[64];
    struct str h = { 0 }, s = { 0 };
    size_t n = 0;
    const char *dir = make_dir(name);
    snprintf(path, sizeof path, "%s/adapter_config.json", name);
    put_text(path, config);
    for (; tensors[n]; n++)
        str_addf(&h, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[%zu,%zu]}",
                 n ? "," : "{", tensors[n], 4 * n, 4 * n + 4);
    str_addz(&h, "}");
    while (h.n % 8) str_addc(&h, ' ');
    for (unsigned i = 0; i < 8; i++) str_addc(&s, (char)((uint64_t)h.n >> (8 * i)));
    str_add(&s, h.p, h.n);
    for (size_t i = 0; i < 4 * n; i++) str_addc(&s, 0);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", name);
    put_file(path, s.p, s.n);
    str_free(&h);
    str_free(&s);
    return dir;
}

#define PLAIN "{\"peft_type\":\"LORA\",\"r\":1}"

static void test_names_spelt_otherwise(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "base_model.model." Q0 ".lora_A.weight", "base_model.model." Q0 ".lora_B.weight" },
        { "base_model.model." Q0 ".lora_A.default.weight",
          "base_model.model." Q0 ".lora_B.default.weight" },
        { Q0 ".lora_A.weight", Q0 ".lora_B.weight" },
        { Q0 ".lora_A.mine.weight", Q0 ".lora_B.mine.weight" },
        { "_orig_mod.base_model.model." Q0 ".lora_A.weight",
          "_orig_mod.base_model.model." Q0 ".lora_B.weight" },
        { "base_model.model._orig_mod." Q0 ".lora_A.weight",
          "base_model.model._orig_mod." Q0 ".lora_B.weight" },
        { "module.base_model.model." Q0 ".lora_A.weight",
          "module.base_model.model." Q0 ".lora_B.weight" },
        { "module._orig_mod." Q0 ".lora_A.default.weight",
          "module._orig_mod." Q0 ".lora_B.default.weight" },
        { "base_model.model.model.layers.0._checkpoint_wrapped_module.self_attn.q_proj.lora_A."
          "weight",
          "base_model.model.model.layers.0._fsdp_wrapped_module.self_attn.q_proj.lora_B.weight" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct peft p;
        struct err e;
        struct str notes = { 0 };
        const struct tensor *t;
        const char *names[] = { rows[i][0], rows[i][1], NULL };
        if (peft_open(&p, with_names("spelt", PLAIN, names), &e)) fail_msg("%s", e.msg);
        if (!peft_has(&p, Q0)) fail_msg("%s: not found", rows[i][0]);
        assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_A, 1, 1, &e), 0);
        assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_B, 1, 1, &e), 0);
        assert_int_equal(peft_check_all_read(&p, &e), 0);
        peft_notes(&notes, &p);
        if (i == 0) assert_null(notes.p);
        if (i > 0 && (!notes.p || !strstr(notes.p, "not named as PEFT names them"))) {
            fail_msg("%s: no note: %s", rows[i][0], notes.p ? notes.p : "");
        }
        str_free(&notes);
        peft_close(&p);
    }
}

static void test_two_adapters_in_a_file(void **state)
{
    (void)state;
    static const char *const names[] = { Q0 ".lora_A.one.weight", Q0 ".lora_A.two.weight", NULL };
    struct peft p;
    struct err e;
    const char *dir = with_names("two", PLAIN, names);
    assert_refused(peft_open(&p, dir, &e), &e, dir, "two", "wanted one adapter");
}

/* The notes of a directory, whose file has q_proj and o_proj of layer 0. */
static void notes_of(struct str *notes, const char *settings)
{
    static const char *const names[] = {
        "base_model.model." Q0 ".lora_A.weight", "base_model.model." Q0 ".lora_B.weight",
        "base_model.model.model.layers.0.self_attn.o_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight", NULL
    };
    char text[512];
    struct peft p;
    struct err e;
    snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",\"r\":1,%s}", settings);
    if (peft_open(&p, with_names("notes", text, names), &e)) fail_msg("%s", e.msg);
    str_clear(notes);
    peft_notes(notes, &p);
    peft_close(&p);
}

static void test_what_has_no_effect_is_noted(void **state)
{
    (void)state;
    static const struct {
        const char *settings, *want; /* want NULL: nothing is said */
    } rows[] = {
        { "\"target_modules\": [\"q_proj\", \"o_proj\"]", NULL },
        { "\"target_modules\": \".*_proj\"", NULL },
        { "\"target_modules\": [\"q_proj\"]", "2 tensors are not used" },
        { "\"target_modules\": [\"q_proj\"]", "self_attn.o_proj" },
        { "\"target_modules\": \"all-linear\", \"exclude_modules\": [\"o_proj\"]",
          "2 tensors are not used" },
        { "\"target_modules\": \"all-linear\", \"fan_in_fan_out\": true", "fan_in_fan_out: true" },
        { "\"target_modules\": \"all-linear\", \"layers_pattern\": \"layers\"",
          "layers_pattern has no effect" },
        { "\"target_modules\": \"all-linear\", \"alpha_pattern\": {\"q_proj\": 2}", NULL },
        { "\"target_modules\": \"all-linear\", \"alpha_pattern\": {\"qproj\": 2}",
          "alpha_pattern: \"qproj\" matches no module" },
        { "\"target_modules\": \"all-linear\", \"rank_pattern\": {\"layers.1.self_attn.q_proj\": "
          "1}",
          "rank_pattern: \"layers.1.self_attn.q_proj\" matches no module" },
        /* for a module that is not adapted */
        { "\"target_modules\": [\"q_proj\"], \"alpha_pattern\": {\"o_proj\": 2}",
          "alpha_pattern: \"o_proj\" matches no module" },
    };
    struct str notes = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        notes_of(&notes, rows[i].settings);
        if (!rows[i].want && notes.n) fail_msg("%s: %s", rows[i].settings, notes.p);
        if (rows[i].want && (!notes.n || !strstr(notes.p, rows[i].want))) {
            fail_msg("%s: no '%s' in: %s", rows[i].settings, rows[i].want, notes.n ? notes.p : "");
        }
    }
    str_free(&notes);
}

static void test_tensors_that_are_not_named(void **state)
{
    (void)state;
    static const char *const names[] = { "base_model.model." Q0 ".lora_A.weight",
                                         "base_model.model." Q0 ".lora_B.weight", NULL };
    struct peft p;
    struct err e;
    const char *dir = with_names("unnamed",
                                 "{\"peft_type\":\"LORA\",\"target_modules\":[\"k_proj\"]}", names);
    assert_refused(peft_open(&p, dir, &e), &e, dir, "none", "names none of the modules");
    static const struct {
        const char *layers, *want;
    } rows[] = {
        { "7", "layers_to_transform of adapter_config.json names layer 7, for which it has none" },
        { "[7, 8]", "names layer 7 and 1 more, for which" },
        { "-1", "names layer -1, for which" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];
        snprintf(text, sizeof text,
                 "{\"peft_type\":\"LORA\",\"target_modules\":[\"q_proj\"],"
                 "\"layers_to_transform\":%s}",
                 rows[i].layers);
        dir = with_names("layers", text, names);
        assert_refused(peft_open(&p, dir, &e), &e, dir, rows[i].layers, rows[i].want);
    }
    dir = with_names("saved", "{\"peft_type\":\"LORA\",\"r\":1,\"modules_to_save\":[\"lm_head\"]}",
                     names);
    assert_refused(peft_open(&p, dir, &e), &e, dir, "saved", "modules_to_save names \"lm_head\"");
}

/* Copies of the base's weights are handed out by the module that they belong to. */
static void test_copies(void **state)
{
    (void)state;
    static const char *const names[] = {
        "base_model.model." Q0 ".lora_A.weight",
        "base_model.model." Q0 ".lora_B.weight",
        "base_model.model." Q0 ".base_layer.weight",
        "base_model.model.lm_head.modules_to_save.default.weight",
        "base_model.model.lm_head.original_module.weight",
        "base_model.model.model.embed_tokens.weight",
        "model.norm.weight",
        NULL,
    };
    static const char *const want[] = { "lm_head", "lm_head", "model.embed_tokens", Q0,
                                        "model.norm" };
    struct peft p;
    struct err e;
    const struct tensor *t;
    const char *module;
    size_t i = 0, n = 0;
    if (peft_open(&p, with_names("copies", PLAIN, names), &e)) fail_msg("%s", e.msg);
    assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_A, 1, 1, &e), 0);
    assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_B, 1, 1, &e), 0);
    assert_int_equal(peft_check_all_read(&p, &e), ERR_FAIL);
    for (; peft_copy(&t, &module, &p, &i); n++) assert_string_equal(module, want[n]);
    assert_int_equal(n, 5);
    assert_int_equal(peft_check_all_read(&p, &e), 0);
    peft_close(&p);
}

/* A file that is not a LoRA of PEFT's form is named as what it is. */
static void test_other_programs_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *tensor, *want;
    } rows[] = {
        { "model.layers.0.self_attn.q_proj.lora_a", "MLX" },
        { "layers.0.attn.q_proj.lora_a.weight", "torchtune" },
        { "lora_unet_down_blocks_0.lora_down.weight", "image model (kohya)" },
        { "lora_te_text_model_encoder.lora_up.weight", "kohya" },
        { "unet.down_blocks.0.attn1.to_q.lora_A.weight", "does not name" },
        { "base_model.model." Q0 ".ia3_l", "IA3" },
        { "base_model.model." Q0 ".hada_w1_a", "LoHa" },
        { "base_model.model." Q0 ".lokr_w1", "LoKr" },
        { "prompt_embeddings", "prompt" },
        { "base_model.model.model.layers.0.self_attn.adaption_prompt", "LLaMA-Adapter" },
        { "model.layers.0.self_attn.q_proj.weight", "weights of a model" },
        { "tok_embeddings.weight", "" },
        { "blk.0.attn_q.weight", "llama.cpp" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *names[] = { rows[i].tensor, NULL };
        struct peft p;
        struct err e;
        const char *dir = with_names("other", PLAIN, names);
        int code = peft_open(&p, dir, &e);
        if (!*rows[i].want && !code) {
            peft_close(&p);
            continue;
        }
        if (strcmp(rows[i].want, "does not name") == 0) {
            assert_refused(code, &e, dir, rows[i].tensor, "image model (diffusers)");
        } else {
            assert_refused(code, &e, dir, rows[i].tensor, rows[i].want);
        }
    }
    /* beside pairs that could be used */
    static const char *const dora[] = { "base_model.model." Q0 ".lora_A.weight",
                                        "base_model.model." Q0 ".lora_magnitude_vector", NULL };
    struct peft p;
    struct err e;
    const struct tensor *t;
    if (peft_open(&p, with_names("dora", PLAIN, dora), &e)) fail_msg("%s", e.msg);
    assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_A, 1, 1, &e), 0);
    assert_refused(peft_check_all_read(&p, &e), &e, p.path, "dora", "it is DoRA");
    peft_close(&p);
    const char *dir = make_dir("mlx");
    put_text("mlx/adapter_config.json", PLAIN);
    put_text("mlx/adapters.safetensors", "x");
    assert_refused(peft_open(&p, dir, &e), &e, dir, "mlx", "MLX");
}

/* A shape that does not fit the base is reported before everything else; a rank is not. */
static void test_another_base(void **state)
{
    (void)state;
    struct peft p;
    struct err e;
    const struct tensor *t;
    if (peft_open(&p, write_sample("another"), &e)) fail_msg("%s", e.msg);
    assert_refused(peft_tensor(&t, &p, Q0, PEFT_A, 2, 5, &e), &e, p.path, "A",
                   "was trained on another base, \"models/Llama");
    assert_refused(peft_tensor(&t, &p, Q0, PEFT_B, 8, 2, &e), &e, p.path, "B", "another base");
    assert_int_equal(peft_tensor(&t, &p, Q0, PEFT_A, 5, 3, &e), ERR_FAIL);
    assert_null(strstr(e.msg, "another base"));
    peft_close(&p);
}

/* No file is left when the directory cannot be written; a config alone never appears. */
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
        ENTRY(test_config_of_peft, "peft: a configuration that PEFT wrote is read"),
        ENTRY(test_defaults, "peft: keys that are absent have PEFT's defaults"),
        ENTRY(test_accepted, "peft: settings that change nothing are accepted"),
        ENTRY(test_targets, "peft: target_modules choose as in PEFT"),
        ENTRY(test_patterns, "peft: rank and alpha patterns apply as in PEFT"),
        ENTRY(test_scale, "peft: the scale is alpha / r, with rsLoRA alpha / sqrt(r)"),
        ENTRY(test_refused, "peft: a setting that changes the result is refused by key and value"),
        ENTRY(test_refused_files,
              "peft: a file that is not a LoRA configuration is refused as what it is"),
        ENTRY(test_costly_pattern, "peft: a pattern that takes too long ends in an error"),
        ENTRY(test_written_config, "peft: the configuration that is written has the minimal keys"),
        ENTRY(test_round_trip, "peft: what is written is read"),
        ENTRY(test_round_trip_of_settings,
              "peft: rsLoRA, patterns and all-linear are written and read"),
        ENTRY(test_tensor_errors, "peft: a tensor that is missing or misshapen is refused by name"),
        ENTRY(test_other_types, "peft: tensors are F32, F16 or BF16, others are refused"),
        ENTRY(test_half_a_module, "peft: a lora_B without its lora_A is refused"),
        ENTRY(test_broken_adapters,
              "peft: a directory without valid tensors is refused with the reason"),
        ENTRY(test_write_errors,
              "peft: a failed write leaves nothing, never a configuration alone"),
        ENTRY(test_modules_are_chosen_as_peft_does,
              "peft: each way to name modules chooses what PEFT chooses"),
        ENTRY(test_costly_choice, "peft: a choice of modules that takes too long ends in an error"),
        ENTRY(test_names_spelt_otherwise, "peft: tensor names with wrappers are read, and noted"),
        ENTRY(test_two_adapters_in_a_file, "peft: a file with two adapters is refused"),
        ENTRY(test_what_has_no_effect_is_noted, "peft: settings without effect are noted"),
        ENTRY(test_tensors_that_are_not_named,
              "peft: tensors of modules that nothing names are refused with the key to blame"),
        ENTRY(test_copies, "peft: copies of base weights are listed by module"),
        ENTRY(test_other_programs_are_named,
              "peft: an adapter of another program is named as what it is"),
        ENTRY(test_another_base, "peft: a shape of another base is reported first"),
    };
    return cmocka_run_group_tests_name("peft", tests, make_test_dir, remove_test_dir);
}
