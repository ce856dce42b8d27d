/* The configuration: every refusal with its line, overrides, and print -> parse -> print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/base/utf8.h"
#include "src/config/config.h"
#include "src/config/keys.h"
#include "src/config/scalar.h"
#include "src/config/value.h"
#include "src/config/yaml.h"
#include "tests/entry.h"

/* A minimal configuration of four lines, so that the lines that a test adds begin at 5. */
#define LEAST                                                                                      \
    "model: {path: m}\n"                                                                           \
    "output: {dir: o}\n"                                                                           \
    "data:\n"                                                                                      \
    "  train: d.jsonl\n"

static int parse(struct config *c, const char *text, struct err *e)
{
    return config_parse(c, text, strlen(text), "c.yaml", NULL, 0, e);
}

static void parse_ok(struct config *c, const char *text)
{
    struct err e;
    if (parse(c, text, &e)) fail_msg("%s\nrefused: %s", text, e.msg);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* A configuration and what the message must contain, the place first. */
static const struct wrong {
    const char *text, *where, *what;
} wrongs[] = {
    /* the YAML itself */
    { "", "c.yaml: model.path", "missing" },
    { "# nothing\n", "c.yaml: model.path", "missing" },
    { "just words\n", "c.yaml:1:",
      "found a text, wanted a configuration with the sections: model, data, adapter, train, "
      "output; data are named in it as data.train" },
    { "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n", "c.yaml:2:", "names them as data.train" },
    { "- a\n- b\n", "c.yaml:1:", "found a list" },
    { "model: {path: m\n", "c.yaml:", "not valid YAML" },
    { "model:\n\tpath: m\n", "c.yaml:2:", "not with tabs" },
    { "model:\n  path: m\n path: n\n", "c.yaml:3:", "not valid YAML" },
    { "model:\n  path: \xff\n", "c.yaml:2:", "not UTF-8" },
    { "\xff\xfem\0o\0", "c.yaml:1:", "not UTF-8" },
    { "model:\n  path: \"a\\0b\"\n", "c.yaml:2:", "NUL" },
    { "model: &m {path: m}\n", "c.yaml:1:", "the anchor \"m\"" },
    { "model:\n  path: *m\n", "c.yaml:2:", "the alias \"m\"" },
    { "model:\n  path: &m m\n", "c.yaml:2:", "the anchor \"m\"" },
    { "model:\n  path: !!python/name:os.system m\n", "c.yaml:2:", "tags are not read" },
    { "model: !foo {path: m}\n", "c.yaml:1:", "tags are not read" },
    { "model:\n  <<: {path: m}\n", "c.yaml:2:", "merge key" },
    { "%YAML 1.1\n---\nmodel: {path: m}\n", "c.yaml:1:", "directive" },
    { LEAST "---\nmodel: {path: m}\n", "c.yaml:5:", "a second document" },
    { "? [a, b]\n: c\n", "c.yaml:1:", "a list as a key" },
    { "model:\n  {a: b}: c\n", "c.yaml:2:", "as a key" },
    { "model:\n  \"\": m\n", "c.yaml:2:", "an empty key" },
    { "a: [[[[[[[[[[[[]]]]]]]]]]]]\n", "c.yaml:1:", "deeper than 8" },
    /* keys */
    { "model:\n  path: m\n  path: n\n", "c.yaml:3:", "it is already in line 2" },
    { LEAST "model:\n  tokenizer: t\n", "c.yaml:5:", "\"model\" again; it is already in line 1" },
    { LEAST "train:\n  learning_rte: 1\n", "c.yaml:6:", "did you mean train.learning_rate?" },
    { LEAST "train:\n  batchsize: 1\n", "c.yaml:6:", "did you mean train.batch_size?" },
    { LEAST "train:\n  l\xd0\xb5"
            "arning_rate: 1\n",
      "c.yaml:6:", "letter 8 is U+0435" },
    { LEAST "train:\n  lora_alpha: 1\n", "c.yaml:6:", "write adapter.lora_alpha" },
    { LEAST "seed: 1\n", "c.yaml:5:", "write train.seed" },
    { LEAST "weight_decay: 1\n", "c.yaml:5:", "write train.weight_decay" },
    { LEAST "train.seed: 1\n", "c.yaml:5:", "write train: and below it, indented, seed:" },
    { LEAST "trian:\n  seed: 1\n", "c.yaml:5:", "unknown section \"trian\"; did you mean train?" },
    { LEAST "wandb:\n  seed: 1\n", "c.yaml:5:", "unknown" },
    { LEAST "xyzzy: 1\n", "c.yaml:5:", "'lorac help keys' lists all" },
    { LEAST "train:\n  activations: f16\n", "c.yaml:6:", "one of f32 bf16" },
    { "model: meta-llama/Llama-2-7b-hf\n", "c.yaml:1: model:", "keys of: path, tokenizer" },
    { LEAST "adapter: lora\n", "c.yaml:5: adapter:", "keys of: r, lora_alpha" },
    { LEAST "train: [a]\n", "c.yaml:5: train:", "found a list" },
    /* other trainers' names */
    { "base_model: m\n", "c.yaml:1:", "write model.path" },
    { "model_name_or_path: m\n", "c.yaml:1:", "write model.path" },
    { LEAST "micro_batch_size: 1\n", "c.yaml:5:", "write train.pass_tokens" },
    { LEAST "per_device_train_batch_size: 1\n", "c.yaml:5:", "write train.batch_size" },
    { LEAST "gradient_accumulation_steps: 8\n", "c.yaml:5:", "batch size x accumulation steps" },
    { LEAST "lora_r: 8\n", "c.yaml:5:", "write adapter.r" },
    { LEAST "lora_alpha: 8\n", "c.yaml:5:", "write adapter.lora_alpha" },
    { LEAST "lora_target_modules: [q_proj]\n", "c.yaml:5:", "write adapter.target_modules" },
    { LEAST "sequence_len: 512\n", "c.yaml:5:", "write data.max_length" },
    { LEAST "  max_seq_length: 512\n", "c.yaml:5:", "write data.max_length" },
    { LEAST "  cutoff-len: 512\n", "c.yaml:5:", "write data.max_length" },
    { LEAST "val_set_size: 0.1\n", "c.yaml:5:", "write data.validation" },
    { LEAST "datasets:\n  - path: d\n", "c.yaml:5:", "write data.train" },
    { LEAST "train:\n  lr: 1\n", "c.yaml:6:", "write train.learning_rate" },
    { LEAST "train:\n  num_train_epochs: 1\n", "c.yaml:6:", "write train.num_epochs" },
    { LEAST "train:\n  warmup: 1\n", "c.yaml:6:", "write train.warmup_steps" },
    { LEAST "train:\n  patience: 1\n", "c.yaml:6:", "write train.early_stopping_patience" },
    { LEAST "early_stopping_patience: 1\n", "c.yaml:5:", "write train.early_stopping_patience" },
    { LEAST "initial_validation: true\n", "c.yaml:5:", "write train.eval_on_start" },
    { LEAST "load_best_model_at_end: true\n", "c.yaml:5:", "best/ in output.dir keeps" },
    { LEAST "train:\n  early_stopping_patience: 0\n", "c.yaml:6:", "wanted" },
    { LEAST "train:\n  optimizer: adamw_torch\n", "c.yaml:6:", "always AdamW" },
    { LEAST "bf16: auto\n", "c.yaml:5:", "write train.compute (the base stays as it is stored" },
    { LEAST "fp16: true\n", "c.yaml:5:", "train.compute is f32 or bf16" },
    { LEAST "gradient_checkpointing: true\n", "c.yaml:5:", "write train.memory_budget" },
    { LEAST "load_in_4bit: true\n", "c.yaml:5:", "as it is stored" },
    { LEAST "sample_packing: true\n", "c.yaml:5:", "always packed" },
    { LEAST "special_tokens:\n  pad_token: </s>\n", "c.yaml:5:", "read from the tokenizer" },
    { LEAST "output_dir: o\n", "c.yaml:5:", "write output.dir" },
    /* numbers and words */
    { LEAST "train:\n  learning_rate: 1e-4abc\n",
      "c.yaml:6: train.learning_rate:", "found \"1e-4abc\", wanted auto or a number in [0, 1]" },
    { LEAST "train:\n  learning_rate: .nan\n", "c.yaml:6:", "wanted auto or a number" },
    { LEAST "train:\n  learning_rate: inf\n", "c.yaml:6:", "wanted auto or a number" },
    { LEAST "train:\n  learning_rate: 1e999\n", "c.yaml:6:", "does not fit a double" },
    { LEAST "train:\n  learning_rate: 0x1p-4\n", "c.yaml:6:", "decimal digits" },
    { LEAST "train:\n  learning_rate: +0b1\n", "c.yaml:6:", "decimal digits" },
    { LEAST "train:\n  max_steps: 1,000.5\n", "c.yaml:6:", "without a comma" },
    { LEAST "train:\n  memory_budget: +16GiB\n", "c.yaml:6:", "with its unit" },
    { LEAST "train:\n  memory_budget: -16GiB\n", "c.yaml:6:", "with its unit" },
    { LEAST "train:\n  learning_rate: 2\n", "c.yaml:6:", "[0, 1]" },
    { LEAST "train:\n  learning_rate:\n", "c.yaml:6:", "found nothing" },
    { LEAST "train:\n  learning_rate: 0,1\n", "c.yaml:6:", "without a comma" },
    { LEAST "train:\n  batch_size: 0\n", "c.yaml:6: train.batch_size:", "[1, 1048576]" },
    { LEAST "train:\n  batch_size: 1_000\n", "c.yaml:6:", "write the digits without _" },
    { LEAST "train:\n  batch_size: 010\n", "c.yaml:6:", "without leading zeros" },
    { LEAST "train:\n  batch_size: 0x10\n", "c.yaml:6:", "decimal digits" },
    { LEAST "train:\n  batch_size: 8.5\n", "c.yaml:6:", "it must be a whole number" },
    { LEAST "train:\n  batch_size: 1e-3\n", "c.yaml:6:", "it must be a whole number" },
    { LEAST "train:\n  batch_size: 0.0\n", "c.yaml:6:", "[1, 1048576]" },
    { LEAST "train:\n  batch_size: 1,000\n", "c.yaml:6:", "digits without a comma" },
    { LEAST "train:\n  batch_size: 32 examples\n", "c.yaml:6:", "wanted an integer" },
    { LEAST "train:\n  pass_tokens: 2k\n", "c.yaml:6:", "units are not read here" },
    { LEAST "train:\n  seed: 1e18\n", "c.yaml:6:", "without a point, sign or exponent" },
    { LEAST "adapter:\n  lora_alpha: 16.5\n", "c.yaml:6: adapter.lora_alpha:", "whole number" },
    { LEAST "train:\n  warmup_steps: 0.03\n", "c.yaml:6:", "train.warmup_ratio" },
    { LEAST "train:\n  num_epochs: 0\n", "c.yaml:6: train.num_epochs:", "(0, 1000000]" },
    { LEAST "train:\n  num_epochs: -1\n", "c.yaml:6:", "(0, 1000000]" },
    { LEAST "train:\n  warmup_ratio: 5%\n", "c.yaml:6:", "5% is 0.05" },
    { LEAST "train:\n  batch_size: [8]\n", "c.yaml:6:", "found a list, wanted an integer" },
    { LEAST "train:\n  num_epochs: 1:30\n", "c.yaml:6:", "base 60" },
    { LEAST "train:\n  seed: 9223372036854775808\n", "c.yaml:6:", "does not fit 64 bits" },
    { LEAST "train:\n  seed: -1\n", "c.yaml:6:", "[0, 9223372036854775807]" },
    { LEAST "train:\n  shuffle: yes\n", "c.yaml:6: train.shuffle:", "write true" },
    { LEAST "train:\n  shuffle: Off\n", "c.yaml:6:", "write false" },
    { LEAST "train:\n  shuffle: True\n", "c.yaml:6:", "write true" },
    { LEAST "train:\n  adam_beta2: 1\n", "c.yaml:6:", "[0, 1)" },
    { LEAST "train:\n  adam_epsilon: 0\n", "c.yaml:6:", "(0, 1]" },
    { LEAST "train:\n  max_steps: auto\n", "c.yaml:6:", "null or an integer" },
    { LEAST "train:\n  pass_tokens: null\n", "c.yaml:6:", "auto or an integer" },
    { LEAST "train:\n  memory_budget: 16G\n", "c.yaml:6:", "with its unit" },
    { LEAST "train:\n  memory_budget: 16\n", "c.yaml:6:", "with its unit" },
    { LEAST "train:\n  memory_budget: 0.1B\n", "c.yaml:6:", "too small" },
    { LEAST "train:\n  memory_budget: 1e20GiB\n", "c.yaml:6:", "too large" },
    { LEAST "train:\n  save_steps: 10m\n", "c.yaml:6:", "s, min or h" },
    { LEAST "train:\n  save_steps: 0\n", "c.yaml:6:", "[1, 1000000000]" },
    { LEAST "train:\n  lr_scheduler_type: cosin\n", "c.yaml:6:", "did you mean cosine?" },
    { LEAST "train:\n  share_prefixes: yes\n", "c.yaml:6:", "one of auto true false" },
    { LEAST "adapter:\n  lora_dropout: 1\n", "c.yaml:6: adapter.lora_dropout:", "[0, 1)" },
    { LEAST "adapter:\n  r: 0\n", "c.yaml:6: adapter.r:", "[1, 4096]" },
    /* words that other programs have, and typing errors */
    { LEAST "train:\n  lr_scheduler_type: Cosine\n", "c.yaml:6:", "write cosine" },
    { LEAST "train:\n  lr_scheduler_type: cosine_with_warmup\n", "c.yaml:6:", "write cosine:" },
    { LEAST "train:\n  lr_scheduler_type: constant_with\n",
      "c.yaml:6:", "did you mean constant_with_warmup?" },
    { LEAST "train:\n  share_prefixes: Yes\n", "c.yaml:6:", "write true" },
    { LEAST "train:\n  max_steps: none\n", "c.yaml:6:", "write null" },
    { LEAST "train:\n  max_steps: -1\n", "c.yaml:6:", "write null to leave it to num_epochs" },
    { LEAST "train:\n  eval_steps: epoch\n", "c.yaml:6:", "the end of each epoch" },
    { LEAST "train:\n  save_steps: epoch\n", "c.yaml:6:", "the end of each epoch" },
    { LEAST "train:\n  pass_tokens: atuo\n", "c.yaml:6:", "did you mean auto?" },
    { LEAST "train:\n  memory_budget: Auto\n", "c.yaml:6:", "write auto" },
    { LEAST "train:\n  memory_budget: 80%\n", "c.yaml:6:", "with its unit" },
    { LEAST "train:\n  activations: bfloat16\n", "c.yaml:6:", "did you mean bf16?" },
    { LEAST "train:\n  compute: bfloat16\n", "c.yaml:6: train.compute:", "did you mean bf16?" },
    { LEAST "train:\n  compute: fp16\n", "c.yaml:6:", "bf16 is what is available in 16 bits" },
    { LEAST "train:\n  compute: auto\n", "c.yaml:6:", "so that you choose it" },
    { LEAST "train:\n  shuffle: flase\n", "c.yaml:6:", "did you mean false?" },
    { LEAST "train:\n  shuffle: none\n", "c.yaml:6:", "true or false" },
    { LEAST "  train_on: assistant\n", "c.yaml:5:", "did you mean responses?" },
    { LEAST "  overlong: skip\n", "c.yaml:5:", "did you mean drop?" },
    { LEAST "  on_error: ignore\n", "c.yaml:5:", "did you mean skip?" },
    { LEAST "  format: sharegtp\n", "c.yaml:5:", "did you mean sharegpt?" },
    { LEAST "  format: jsonl\n", "c.yaml:5:", "write auto" },
    { "data:\n  train: {path: a, format: openai}\n", "c.yaml:2:", "did you mean messages?" },
    { LEAST "  template: None\n", "c.yaml:5: data.template:", "write null" },
    { LEAST "  cache_dir: none\n", "c.yaml:5: data.cache_dir:", "write null" },
    { LEAST "  columns: None\n", "c.yaml:5:", "write null" },
    { LEAST "  validation: none\n", "c.yaml:5:", "write 0 to keep nothing aside" },
    { LEAST "  validation: 0,1\n", "c.yaml:5:", "found \"0,1\"" },
    { LEAST "  validation: 1_000\n", "c.yaml:5:", "digits without _" },
    { LEAST "adapter:\n  init_from: None\n", "c.yaml:6: adapter.init_from:", "write null" },
    { LEAST "adapter:\n  target_modules: all\n", "c.yaml:6:", "did you mean all-linear?" },
    { LEAST "adapter:\n  target_modules: all_linear\n", "c.yaml:6:", "write all-linear" },
    { LEAST "adapter:\n  target_modules: [all-linear]\n", "c.yaml:6:", "without brackets" },
    { LEAST "adapter:\n  target_modules: attention\n", "c.yaml:6:", "[q_proj, k_proj, v_proj" },
    { LEAST "adapter:\n  target_modules: [query]\n", "c.yaml:6:", "did you mean q_proj?" },
    { LEAST "adapter:\n  target_modules: [self_attn.v_proj]\n",
      "c.yaml:6:", "did you mean v_proj?" },
    { LEAST "adapter:\n  target_modules: [lm_head]\n", "c.yaml:6:", "only the layers'" },
    /* sections */
    { "modell:\n  path: m\n", "c.yaml:1: unknown section", "did you mean model?" },
    { "modell: m\n", "c.yaml:1: unknown section", "did you mean model?" },
    { "Model:\n  path: m\n", "c.yaml:1: unknown section", "did you mean model?" },
    { LEAST "training:\n  seed: 1\n", "c.yaml:5: unknown section", "did you mean train?" },
    { LEAST "lora:\n  r: 1\n", "c.yaml:5: unknown section", "did you mean adapter?" },
    { LEAST "trian:\n", "c.yaml:5: unknown section", "did you mean train?" },
    /* lists */
    { LEAST "adapter:\n  target_modules: q_proj,v_proj\n", "c.yaml:6:", "in brackets" },
    { LEAST "adapter:\n  target_modules: [q_proj, q_proj]\n", "c.yaml:6:", "each module once" },
    { LEAST "adapter:\n  target_modules:\n    - q_proj\n    - wq\n", "c.yaml:8:", "found \"wq\"" },
    { LEAST "adapter:\n  target_modules: [v_prj]\n", "c.yaml:6:", "did you mean v_proj?" },
    { LEAST "adapter:\n  target_modules: []\n", "c.yaml:6:", "all-linear or a list of" },
    { "data:\n  train: []\n", "c.yaml:2: data.train:", "at least one file" },
    { "data:\n  train: null\n", "c.yaml:2: data.train:", "a file, or a list" },
    { "data:\n  train: [[a]]\n", "c.yaml:2: data.train:", "found a list, wanted a file" },
    { "data:\n  train:\n    - a\n    - {weight: 2}\n", "c.yaml:4: data.train:", "no path" },
    { "data:\n  train:\n    - path: a\n      wieght: 2\n", "c.yaml:4:", "path, format, template" },
    { "data:\n  train:\n    - path: a\n      weight: 0\n",
      "c.yaml:4: data.train: weight:", "(0, 1000000]" },
    { "data:\n  train: {path: a, format: alpca}\n",
      "c.yaml:2: data.train: format:", "did you mean alpaca?" },
    { LEAST "  validation: 1.5\n", "c.yaml:5: data.validation:", "[0, 1)" },
    { LEAST "  validation: 10%\n", "c.yaml:5:", "write ten percent as 0.1" },
    { LEAST "  validation: [{path: v, weight: 2}]\n", "c.yaml:5:", "path, format or template" },
    { LEAST "  template: [alpaca]\n", "c.yaml:5: data.template: found a list", "a section" },
    { LEAST "  template: {}\n", "c.yaml:5: data.template: found a section", "a section" },
    { LEAST "  template:\n    user: {a: b}\n", "c.yaml:6: data.template: found a section",
      "a text for each part" },
    { LEAST "  columns: {prompt: a, answer: b}\n",
      "c.yaml:5:", "wanted prompt, completion, input" },
    { LEAST "  columns: {prompt: null}\n", "c.yaml:5:", "the name of a column" },
    { LEAST "  format: sharegpt4\n", "c.yaml:5: data.format:", "wanted one of auto alpaca" },
    { LEAST "  format: text\n  columns: {prompt: a}\n",
      "c.yaml:6: data.columns:", "found with data.format text" },
    { LEAST "  format: alpaca\n  columns: {messages: a}\n",
      "c.yaml:6: data.columns:", "wanted messages or auto" },
    { LEAST "  format: sharegpt\n  columns: {text: a}\n",
      "c.yaml:6: data.columns:", "wanted text or auto" },
    /* what must be given */
    { "data: {train: d}\noutput: {dir: o}\n", "c.yaml: model.path:", "missing" },
    { "model: {path: m}\noutput: {dir: o}\n", "c.yaml: data.train:", "missing" },
    { "model: {path: m}\ndata: {train: d}\n", "c.yaml: output.dir:", "missing" },
    { "model: {path: null}\n", "c.yaml:1: model.path:", "found \"null\", wanted a path" },
    { "model: {path: ~/m}\n", "c.yaml:1: model.path:", "~ is not expanded here" },
    { "model: {path: ''}\n", "c.yaml:1: model.path:", "found an empty text" },
};

static void wrong_configurations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        const struct wrong *w = &wrongs[i];
        struct config c;
        struct err e = { 0 };
        size_t n = w->text[0] == '\xff' ? 6 : strlen(w->text); /* UTF-16 holds NULs */
        int code = config_parse(&c, w->text, n, "c.yaml", NULL, 0, &e);
        if (code != ERR_USAGE || strncmp(e.msg, w->where, strlen(w->where)) != 0 ||
            !strstr(e.msg, w->what) || strchr(e.msg, '\n'))
            fail_msg("%s\ngave %d \"%s\"\nwanted %s ... %s", w->text, code, e.msg, w->where,
                     w->what);
        config_free(&c); /* stands a configuration that failed */
    }
}

static void wrong_overrides(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *message;
    } rows[] = {
        { "train.seed", NULL, "found \"train.seed\", wanted key=value" },
        { "=3", NULL, "found \"=3\", wanted key=value" },
        { "train.sed=3", NULL, "override: unknown key \"train.sed\"; did you mean train.seed?" },
        { "seed=3", NULL, "override: unknown key \"seed\": write train.seed" },
        { "hf_token=secret", NULL, "override: unknown key \"hf_token\"; 'lorac help keys' lists" },
        { "train.seed=x", NULL, "override train.seed: found \"x\", wanted an integer" },
        { "train.seed=", NULL, "override train.seed: found nothing, wanted an integer" },
        { "train.seed=1", "train.seed=2", "override train.seed: given twice" },
        { "train.seed={a: 1}", NULL, "override train.seed: found a section of keys" },
        { "adapter.target_modules=[q_proj", NULL,
          "override adapter.target_modules: not valid YAML" },
        { "adapter.target_modules=[q_prj]", NULL, "override adapter.target_modules: found" },
        { "adapter.target_modules=all", NULL,
          "override adapter.target_modules: found \"all\", wanted all-linear or a list" },
        { "modell.path=x", NULL, "override: unknown key \"modell.path\": write model.path" },
        { "trian.seed=1", NULL, "override: unknown key \"trian.seed\": write train.seed" },
        { "train.num_epoch=1", NULL,
          "override: unknown key \"train.num_epoch\"; did you mean train.num_epochs?" },
        { "output.dir=*a", NULL, "override output.dir: the alias \"a\"" },
        { "output.dir=\xff", NULL, "override output.dir: not UTF-8" },
        { "output.dir=a\x1b[1m", NULL,
          "override output.dir: control characters are not allowed (byte 1); in double quotes "
          "write" },
        { "data.columns={prompt: a, completion: a}", NULL,
          "override data.columns: found \"a\" as prompt and completion, wanted a column for each" },
        { "data.columns={system: b, prompt: a, input: b, completion: c}", NULL,
          "override data.columns: found \"b\" as system and input, wanted a column for each" },
        { "data.columns={prompt: a, prompt: b}", NULL,
          "override data.columns: the key \"prompt\" twice" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *overrides[] = { (char *)rows[i].first, (char *)rows[i].second };
        struct config c;
        struct err e = { 0 };
        int code = config_parse(&c, LEAST, strlen(LEAST), "c.yaml", overrides,
                                rows[i].second ? 2 : 1, &e);
        assert_int_equal(code, ERR_USAGE);
        if (strncmp(e.msg, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("gave \"%s\"\nwanted %s", e.msg, rows[i].message);
        assert_null(strstr(e.msg, "secret"));
    }
}

/* The file and the overrides of a mistaken user: every fault is kept, each with its place. */
static void all_at_once(void **state)
{
    (void)state;
    static const char text[] = "model: {pth: m}\n"
                               "adapter: {target_modules: [wq, q_proj, wk]}\n"
                               "data:\n"
                               "  format: text\n"
                               "  columns: {prompt: a}\n"
                               "  template: [a]\n"
                               "  train: [{path: a, type: b}, c, {format: d, path: e}, [f]]\n"
                               "train:\n"
                               "  seed: x\n"
                               "xyzzy: 1\n"
                               "train: {sed: 1}\n";
    static const struct {
        size_t line;
        const char *begin;
    } rows[] = {
        { 1, "c.yaml:1: unknown key \"model.pth\"" },
        { 2, "c.yaml:2: adapter.target_modules: found \"wq\"" },
        { 2, "c.yaml:2: adapter.target_modules: found \"wk\"" },
        { 5, "c.yaml:5: data.columns: found with data.format text" },
        { 6, "c.yaml:6: data.template: found a list" },
        { 7, "c.yaml:7: data.train: unknown name \"type\"" },
        { 7, "c.yaml:7: data.train: format: found \"d\"" },
        { 7, "c.yaml:7: data.train: found a list, wanted a file" },
        { 9, "c.yaml:9: train.seed: found \"x\"" },
        { 10, "c.yaml:10: unknown key \"xyzzy\"" },
        { 11, "c.yaml:11: the key \"train\" again; it is already in line 8" },
        { COMPLAINT_OVERRIDE, "override adapter.r: found \"0\"" },
        { COMPLAINT_OVERRIDE, "found \"b\", wanted key=value" },
        { COMPLAINT_MISSING, "c.yaml: model.path: missing" },
        { COMPLAINT_MISSING, "c.yaml: output.dir: missing" },
    };
    char *overrides[] = { (char[]){ "adapter.r=0" }, (char[]){ "b" }, (char[]){ "train.seed=1" } };
    enum { ROWS = sizeof rows / sizeof *rows };
    char path[] = "/tmp/lorac-config-XXXXXX";
    struct complaints all = { 0 };
    struct config c;
    struct err e;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    int code = config_load_all(&c, path, overrides, 3, &all, &e);
    unlink(path);
    assert_int_equal(code, ERR_USAGE);
    assert_int_equal(e.code, ERR_USAGE);
    assert_int_equal(all.n, ROWS);
    assert_int_equal(all.kept, ROWS);
    assert_non_null(strstr(e.msg, "(the first of 15 errors)"));
    for (size_t i = 0; i < ROWS; i++) {
        const char *begin = rows[i].begin, *found = all.at[i].text;
        if (!strncmp(begin, "c.yaml", 6) && !strncmp(found, path, strlen(path)))
            begin += 6, found += strlen(path);
        assert_int_equal(all.at[i].line, rows[i].line);
        if (strncmp(found, begin, strlen(begin)) != 0) fail_msg("%s\nwanted %s", found, begin);
    }
    complaints_free(&all);
}

/* A file of errors ends soon, keeps the first, and counts them. */
static void many_are_counted(void **state)
{
    (void)state;
    struct complaints all = { 0 };
    struct err e;
    size_t n = 0;
    do err_usage(&e, "fault %zu", n);
    while (!complaints_add(&all, n++, &e));
    assert_int_equal(n, COMPLAINTS_MOST);
    assert_int_equal(all.n, COMPLAINTS_MOST);
    assert_int_equal(all.kept, COMPLAINTS_KEPT);
    err_usage(&e, "an earlier line");
    complaints_add(&all, 3, &e);
    assert_int_equal(all.kept, COMPLAINTS_KEPT);
    assert_string_equal(all.at[4].text, "an earlier line");
    assert_string_equal(all.at[COMPLAINTS_KEPT - 1].text, "fault 98");
    assert_int_equal(complaints_error(&all, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "or more errors"));
    complaints_free(&all);
}

/* ---- what is accepted ------------------------------------------------------------------------ */

/* Whole numbers as other programs write them are accepted, and an epoch has parts. */
static void whole_floats_are_whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t alpha;
    } rows[] = { { "16.0", 16 }, { "16.", 16 },    { "1e3", 1000 },   { "1.6e1", 16 },
                 { "+16", 16 },  { "32.000", 32 }, { "\"16.0\"", 16 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config c;
        struct str text = { 0 };
        str_addf(&text, "%sadapter:\n  lora_alpha: %s\n", LEAST, rows[i].text);
        parse_ok(&c, text.p);
        assert_int_equal(c.adapter.lora_alpha, rows[i].alpha);
        config_free(&c);
        str_free(&text);
    }
}

static void epochs_print_as_they_are_written(void **state)
{
    (void)state;
    static const char *const rows[] = { "3", "0.5", "1.25", "1000000", "0.1" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct config c, again;
        struct str text = { 0 }, out = { 0 }, line = { 0 };
        str_addf(&text, "%strain:\n  num_epochs: %s\n", LEAST, rows[i]);
        parse_ok(&c, text.p);
        config_print(&out, &c);
        str_addf(&line, "  num_epochs: %s\n", rows[i]);
        if (!strstr(out.p, line.p)) fail_msg("no %s in %s", line.p, out.p);
        parse_ok(&again, out.p);
        assert_true(again.train.num_epochs == c.train.num_epochs);
        config_free(&c);
        config_free(&again);
        str_free(&text);
        str_free(&out);
        str_free(&line);
    }
}

static void defaults(void **state)
{
    (void)state;
    struct config c;
    parse_ok(&c, LEAST);
    assert_string_equal(c.model.path, "m");
    assert_null(c.model.tokenizer);
    assert_int_equal(c.data.train.n, 1);
    assert_string_equal(c.data.train.at[0].path, "d.jsonl");
    assert_int_equal(c.data.train.at[0].weight, 1);
    assert_true(c.data.validation.fraction == 0);
    assert_int_equal(c.data.format, FORMAT_AUTO);
    assert_null(c.data.template);
    assert_int_equal(c.data.max_length, CONFIG_NONE);
    assert_int_equal(c.adapter.r, 16);
    assert_int_equal(c.adapter.lora_alpha, 32);
    assert_int_equal(c.adapter.target_modules, 0x7f);
    assert_true(c.train.learning_rate == CONFIG_NONE);
    assert_true(c.train.adam_epsilon == 1e-8);
    assert_int_equal(c.train.max_steps, CONFIG_NONE);
    assert_int_equal(c.train.warmup_steps, CONFIG_NONE);
    assert_int_equal(c.train.memory_budget, CONFIG_NONE);
    assert_int_equal(c.train.save_steps.steps, CONFIG_NONE);
    assert_int_equal(c.train.save_steps.seconds, CONFIG_NONE);
    assert_true(c.train.shuffle && c.output.private);
    config_free(&c);
}

/* Every kind of value, written in the less usual ways that are allowed too. */
static const char full[] = "\xef\xbb\xbf" /* a byte order mark */
                           "--- # explicit\n"
                           "model:\n"
                           "  path: \"a \\\"b\\\" \\u00fc/\\x01\"\n"
                           "  tokenizer: ~\n"
                           "adapter:\n"
                           "data:\n"
                           "  train:\n"
                           "    - one.jsonl\n"
                           "    - {path: 'two words', weight: 3, format: messages}\n"
                           "    - path: three\n"
                           "      template: llama2\n"
                           "    - path: four\n"
                           "      template: {like: chatml, system: null, strip: true}\n"
                           "  validation:\n"
                           "    - v1\n"
                           "    - \"0.5\"\n"
                           "  columns: {completion: 'a: b', prompt: null_, input: i, system: s, "
                           "choices: 'c, d'}\n"
                           "  template:\n"
                           "    user: \"Q: {user}\\n\\u2028\"\n"
                           "    assistant: 'A: {answer}{<|im_end|>}'\n"
                           "  overlong: \"truncate\"\n"
                           "  max_length: 512\n"
                           "train:\n"
                           "  learning_rate: 1e-4\n"
                           "  weight_decay: .5\n"
                           "  adam_epsilon: 1.0E-12\n"
                           "  max_grad_norm: 3\n"
                           "  seed: 9223372036854775807\n"
                           "  warmup_steps: 0\n"
                           "  share_prefixes: true\n"
                           "  memory_budget: 1.5GiB\n"
                           "  save_steps: \"1.5h\"\n"
                           "output: {dir: /o, private: false}\n";

static void check_full(struct config c)
{
    assert_string_equal(c.model.path, "a \"b\" \xc3\xbc/\x01");
    assert_null(c.model.tokenizer);
    assert_int_equal(c.adapter.r, 16);
    assert_int_equal(c.data.train.n, 4);
    assert_string_equal(c.data.train.at[1].path, "two words");
    assert_int_equal(c.data.train.at[1].weight, 3);
    assert_true(c.data.train.at[1].has_format);
    assert_int_equal(c.data.train.at[1].format, FORMAT_MESSAGES);
    assert_false(c.data.train.at[2].has_format);
    assert_string_equal(c.data.train.at[2].template, "llama2");
    assert_string_equal(c.data.train.at[3].template,
                        "{\"like\": \"chatml\", \"system\": null, \"strip\": \"true\"}");
    assert_string_equal(c.data.template, "{\"user\": \"Q: {user}\\n\xe2\x80\xa8\", "
                                         "\"assistant\": \"A: {answer}{<|im_end|>}\"}");
    assert_int_equal(c.data.validation.files.n, 2);
    assert_string_equal(c.data.validation.files.at[1].path, "0.5");
    assert_string_equal(c.data.columns.prompt, "null_");
    assert_string_equal(c.data.columns.completion, "a: b");
    assert_string_equal(c.data.columns.input, "i");
    assert_string_equal(c.data.columns.system, "s");
    assert_string_equal(c.data.columns.choices, "c, d");
    assert_null(c.data.columns.messages);
    assert_int_equal(c.data.overlong, OVERLONG_TRUNCATE);
    assert_true(c.train.learning_rate == 1e-4);
    assert_true(c.train.weight_decay == 0.5);
    assert_true(c.train.adam_epsilon == 1e-12);
    assert_true(c.train.max_grad_norm == 3);
    assert_true(c.train.seed == INT64_MAX);
    assert_int_equal(c.train.warmup_steps, 0);
    assert_int_equal(c.train.share_prefixes, CONFIG_SHARE_ON);
    assert_int_equal(c.train.memory_budget, 1610612736);
    assert_int_equal(c.train.save_steps.seconds, 5400);
    assert_false(c.output.private);
}

static void all_kinds(void **state)
{
    (void)state;
    struct config c, again;
    struct str s = { 0 };
    parse_ok(&c, full);
    check_full(c);
    config_print(&s, &c);
    parse_ok(&again, s.p);
    check_full(again); /* a key that was not printed would now be missing */
    config_free(&c);
    config_free(&again);
    str_free(&s);
}

/* The place of a path: the key's line, an item's own, an override, the default; once. */
static void paths_say_their_line_and_key(void **state)
{
    (void)state;
    static const char text[] = "model:\n  path: m\ndata:\n  cache_dir: d/c\n  train:\n    - a\n"
                               "    - {weight: 2,\n       path: \"b\\nc\"}\n  validation: v\n"
                               "output:\n  dir: o\n";
    static const struct {
        const char *msg, *want;
    } rows[] = {
        { "a: no such file", "c.yaml:6: data.train: a: no such file" },
        { "b\nc: no such file", "c.yaml:8: data.train: b\\x0ac: no such file" },
        { "v: no such file", "c.yaml:9: data.validation: v: no such file" },
        { "d/c: cannot write", "c.yaml:4: data.cache_dir: d/c: cannot write" },
        { "d/c/x.h5: cannot write", "c.yaml:4: data.cache_dir: d/c/x.h5: cannot write" },
        { "a:17: found x", "a:17: found x" },
        { "ab: of another", "ab: of another" },
        { "d/cx: of another", "d/cx: of another" },
        { "a", "a" },
        { "out of memory", "out of memory" },
        { "c.yaml:6: data.train: a: said", "c.yaml:6: data.train: a: said" },
    };
    struct config c;
    struct err e;
    parse_ok(&c, text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        err_usage(&e, "%s", rows[i].msg);
        assert_int_equal(config_prefix_data(&e, &c), ERR_USAGE);
        assert_string_equal(e.msg, rows[i].want);
    }
    err_set(&e, "m: gone");
    assert_int_equal(config_prefix(&e, &c, "model.path", 0), ERR_FAIL);
    assert_string_equal(e.msg, "c.yaml:2: model.path: m: gone");
    err_set(&e, "t: gone");
    config_prefix(&e, &c, "model.tokenizer", 0); /* nowhere */
    assert_string_equal(e.msg, "c.yaml: model.tokenizer: t: gone");
    config_free(&c);
    char *given[] = { (char[]){ "data.train=[x, y]" } };
    assert_int_equal(config_parse(&c, text, sizeof text - 1, "c.yaml", given, 1, &e), 0);
    err_set(&e, "y: no such file");
    config_prefix_data(&e, &c);
    assert_string_equal(e.msg, "override data.train: y: no such file");
    config_free(&c);
}

static void overrides_win(void **state)
{
    (void)state;
    const char *const overrides[] = { "train.learning_rate=3e-4",
                                      "adapter.target_modules=[v_proj,q_proj]",
                                      "data.train=[x, {path: y, weight: 2}]",
                                      "data.validation=0.25",
                                      "model.tokenizer=",
                                      "data.columns={prompt: question}",
                                      "output.dir=a=b" };
    struct config c;
    struct err e;
    int code = config_parse(&c, full, strlen(full), "c.yaml", (char *const *)overrides, 7, &e);
    if (code) fail_msg("%s", e.msg);
    assert_true(c.train.learning_rate == 3e-4);
    assert_int_equal(c.adapter.target_modules, 1u << Q_PROJ | 1u << V_PROJ);
    assert_int_equal(c.data.train.n, 2);
    assert_int_equal(c.data.validation.files.n, 0);
    assert_true(c.data.validation.fraction == 0.25);
    assert_null(c.data.columns.completion);
    assert_string_equal(c.output.dir, "a=b");
    /* later stages name the place too */
    config_error(&e, &c, "output.dir", "is full");
    assert_string_equal(e.msg, "override output.dir: is full");
    config_error(&e, &c, "train.seed", "is odd");
    assert_string_equal(e.msg, "c.yaml:28: train.seed: is odd");
    config_error(&e, &c, "adapter.r", "is %d", 16);
    assert_string_equal(e.msg, "c.yaml: adapter.r: is 16");
    config_free(&c);
}

static void from_a_file(void **state)
{
    (void)state;
    char dir[] = "/tmp/lorac-config-XXXXXX", path[PATH_BYTES];
    struct err e = { 0 };
    struct config c;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(path_join(path, dir, "run.yaml", &e), 0);
    assert_int_equal(config_load(&c, path, NULL, 0, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "run.yaml: No such file"));
    assert_int_equal(config_load(&c, dir, NULL, 0, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "is a directory"));
    assert_int_equal(file_replace(path, LEAST, strlen(LEAST), 0600, &e), 0);
    assert_int_equal(config_load(&c, path, NULL, 0, &e), 0);
    assert_string_equal(c.output.dir, "o");
    config_free(&c);
    unlink(path);
    rmdir(dir);
}

/* ---- print, parse, print --------------------------------------------------------------------- */

static void check_round_trip(const struct config *c)
{
    struct str first = { 0 }, second = { 0 };
    struct config again;
    const char *names[CONFIG_KEYS];
    config_print(&first, c);
    parse_ok(&again, first.p);
    config_print(&second, &again);
    assert_string_equal(first.p, second.p);
    assert_int_equal(config_diff(names, c, &again, false), 0);
    config_free(&again);
    str_free(&first);
    str_free(&second);
}

static void round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = { LEAST,
                                         full,
                                         LEAST "  validation: 1.0e-5\n",
                                         LEAST "train:\n  memory_budget: 16GB\n  save_steps: 90s\n",
                                         LEAST "train:\n  save_steps: 7\n  eval_steps: 2\n",
                                         LEAST "adapter: {target_modules: [down_proj]}\n" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config c;
        parse_ok(&c, texts[i]);
        check_round_trip(&c);
        config_free(&c);
    }
}

/* Values of each type, at least one of them not the default. */
static const char *const *samples_of(const struct key *k)
{
    static const char *const samples[][4] = {
        [VALUE_TEXT] = { "x", "y z" },
        [VALUE_BOOL] = { "true", "false" },
        [VALUE_INT] = { "7", "8" },
        [VALUE_AUTO_INT] = { "auto", "7" },
        [VALUE_NULL_INT] = { "null", "7" },
        [VALUE_AUTO_BYTES] = { "auto", "3MiB" },
        [VALUE_AUTO_SECONDS] = { "auto", "3s" },
        [VALUE_REAL] = { "0.125", "0.25" },
        [VALUE_MODULES] = { "all-linear", "[o_proj]" },
        [VALUE_SOURCES] = { "x", "[x, y]" },
        [VALUE_VALIDATION] = { "0.0", "0.5", "[x, y]" },
        [VALUE_COLUMNS] = { "null", "{prompt: x}", "{completion: x}" },
        [VALUE_INTERVAL] = { "null", "7", "5min" },
    };
    return k->type == VALUE_CHOICE ? k->words : samples[k->type];
}

/* Each value of each key is printed, and differently from the other values. */
static void every_key_is_printed(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        struct str last = { 0 };
        for (const char *const *v = samples_of(&config_keys[i]); *v; v++) {
            struct config c;
            struct err e;
            struct str override = { 0 }, printed = { 0 };
            str_addf(&override, "%s=%s", config_keys[i].name, *v);
            if (config_parse(&c, LEAST, strlen(LEAST), "c.yaml", &override.p, 1, &e))
                fail_msg("%s", e.msg);
            check_round_trip(&c);
            config_print(&printed, &c);
            if (last.p && !strcmp(last.p, printed.p)) fail_msg("%s is not printed", override.p);
            config_free(&c);
            str_free(&override);
            str_free(&last);
            last = printed;
        }
        str_free(&last);
    }
}

/* Texts that YAML would read as something else, and numbers of every size, survive. */
static void values_survive(void **state)
{
    (void)state;
    static const char *const texts[] = { "null",
                                         "~",
                                         "true",
                                         "yes",
                                         "No",
                                         "1",
                                         "1e-4",
                                         "0x1",
                                         ".inf",
                                         ".nan",
                                         "..",
                                         "./a",
                                         "../b",
                                         "a b",
                                         " a",
                                         "a ",
                                         "a: b",
                                         "a #b",
                                         "#a",
                                         "- a",
                                         "[a]",
                                         "{a}",
                                         "*a",
                                         "&a",
                                         "!a",
                                         "%a",
                                         "@a",
                                         "`a",
                                         "'a'",
                                         "\"",
                                         "\\",
                                         "a\nb",
                                         "\t",
                                         "\x7f",
                                         "\xc2\x85",
                                         "\xe2\x80\xa8",
                                         "a \xe2\x80\xa9 b",
                                         "a \xc2\x85 b",
                                         "\xe2\x80\xae",
                                         "\xef\xbb\xbf",
                                         "\xf0\x9f\xa6\x99",
                                         "\xef\xbf\xbe",
                                         "a,b",
                                         "?",
                                         "<<",
                                         "=",
                                         "2026-01-01",
                                         "-",
                                         "---",
                                         "...",
                                         "a:",
                                         ":a",
                                         "\r\n" };
    struct config c;
    parse_ok(&c, LEAST);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct str s = { 0 };
        str_addz(&s, "output: {private: true, dir: ");
        scalar_add_text(&s, texts[i]);
        str_addz(&s, "}\nmodel: {path: m}\ndata:\n  train: ");
        scalar_add_text(&s, texts[i]);
        struct config d;
        parse_ok(&d, s.p);
        assert_string_equal(d.output.dir, texts[i]);
        assert_string_equal(d.data.train.at[0].path, texts[i]);
        check_round_trip(&d);
        config_free(&d);
        str_free(&s);
    }
    for (int i = -300; i < 300; i++) {
        struct str s = { 0 };
        double v = 1.2345678901234567, back;
        for (int j = 0; j < abs(i); j++) v = i < 0 ? v / 10 : v * 10;
        scalar_add_real(&s, v);
        assert_null(scalar_real(&back, s.p));
        assert_true(back == v);
        assert_non_null(strchr(s.p, '.')); /* a float to YAML 1.1 as well */
        str_free(&s);
    }
    config_free(&c);
}

/* A number below n, the same in every run of the tests. */
static uint32_t below(size_t n)
{
    static uint64_t drawn;
    return rng_u32(1, RNG_TEST, 0, drawn++) % (uint32_t)n;
}

/* Random texts, so that no character was forgotten. */
static void random_texts_survive(void **state)
{
    (void)state;
    static const uint32_t ranges[] = { 0x7e, 0x7e, 0xff, 0x2fff, 0xffff, 0x10ffff };
    for (int i = 0; i < 2000; i++) {
        char text[200];
        size_t n = 0;
        for (uint32_t len = 1 + below(30); len; len--) {
            uint32_t c = 1 + below(ranges[below(6)]);
            if (c >= 0xd800 && c < 0xe000) c = 'x';
            n += utf8_write(text + n, c);
        }
        text[n] = 0;
        struct str s = { 0 };
        struct yaml_node *root;
        struct err e = { 0 };
        str_addz(&s, "{a: ");
        scalar_add_text(&s, text);
        str_addz(&s, "}");
        if (yaml_tree_parse(&root, s.p, s.n, "t", true, &e)) fail_msg("%s: %s", s.p, e.msg);
        assert_string_equal(root->child->text, text);
        yaml_tree_free(root);
        str_free(&s);
    }
}

/* Names of columns with the formats that have such columns. */
static void columns_with_a_format(void **state)
{
    (void)state;
    static const char *const fitting[] = {
        "format: prompt_completion\n  columns: {completion: a}",
        "format: alpaca\n  columns: {input: a}",
        "format: alpaca\n  columns: {choices: a}",
        "format: messages\n  columns: {messages: a}",
        "format: sharegpt\n  columns: {messages: a}",
        "format: text\n  columns: {text: a}",
        "format: auto\n  columns: {system: a}",
    };
    for (size_t i = 0; i < sizeof fitting / sizeof *fitting; i++) {
        char text[256];
        struct config c;
        snprintf(text, sizeof text, "model: {path: m}\ndata:\n  train: d\n  %s\noutput: {dir: o}\n",
                 fitting[i]);
        parse_ok(&c, text);
        struct str printed = { 0 };
        config_print(&printed, &c);
        assert_non_null(strstr(printed.p, strstr(fitting[i], "columns: ")));
        str_free(&printed);
        config_free(&c);
    }
}

/* One column in two roles, for each two roles. */
static void one_column_has_one_role(void **state)
{
    (void)state;
    for (size_t i = 0; record_column_words[i]; i++)
        for (size_t k = 0; record_column_words[k]; k++) {
            char text[256];
            struct config c;
            struct err e;
            snprintf(text, sizeof text,
                     "model: {path: m}\ndata: {train: d, columns: {%s: a, %s: a}}\n"
                     "output: {dir: o}\n",
                     record_column_words[i], record_column_words[k]);
            assert_int_equal(parse(&c, text, &e), ERR_USAGE);
        }
}

static void another_output_dir(void **state)
{
    (void)state;
    struct config c;
    struct err e;
    parse_ok(&c, LEAST);
    assert_int_equal(config_set_output_dir(&c, "elsewhere", &e), 0);
    assert_string_equal(c.output.dir, "elsewhere");
    config_free(&c);
}

static void differences(void **state)
{
    (void)state;
    struct config a, b;
    const char *names[CONFIG_KEYS];
    parse_ok(&a, LEAST);
    parse_ok(&b, LEAST "train: {seed: 1, memory_budget: 1GiB, save_steps: 5, eval_steps: 5, "
                       "save_total_limit: 9, warmup_ratio: 0.030}\n");
    assert_int_equal(config_diff(names, &a, &b, false), 5);
    assert_int_equal(config_diff(names, &a, &b, true), 1);
    assert_string_equal(names[0], "train.seed");
    config_free(&a);
    config_free(&b);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static void rows_hold_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        assert_true(*k->help && k->help[strlen(k->help) - 1] != '.');
        assert_ptr_equal(key_named(k->name), k);
        if (k->type == VALUE_INT || k->type == VALUE_REAL || k->type == VALUE_AUTO_INT)
            assert_true(*k->allowed == '[' || *k->allowed == '(');
        /* a default is printed as it is written in the table */
        if (!k->by_default || k->type == VALUE_VALIDATION) continue;
        struct config c = { 0 };
        struct err e = { 0 };
        struct str s = { 0 };
        if (value_default(&c, k, &e)) fail_msg("%s: %s", k->name, e.msg);
        value_print(&s, k, &c);
        double written, printed;
        if (k->type == VALUE_REAL) {
            assert_null(scalar_real(&written, k->by_default));
            assert_null(scalar_real(&printed, s.p + 1));
            assert_true(written == printed);
        } else {
            assert_string_equal(s.p + 1, k->by_default);
        }
        config_free(&c);
        str_free(&s);
    }
}

static void synonyms_lead_somewhere(void **state)
{
    (void)state;
    for (const struct synonym *s = config_synonyms; s->name; s++) {
        if (s->ours && !key_named(s->ours)) fail_msg("%s: no key %s", s->name, s->ours);
        if (!s->ours && !s->remark) fail_msg("%s: says nothing", s->name);
        if (key_named(s->name)) fail_msg("%s: is a key", s->name);
        for (const struct synonym *t = s + 1; t->name; t++)
            if (!strcmp(s->name, t->name)) fail_msg("%s: twice", s->name);
        for (size_t i = 0; i < CONFIG_KEYS; i++)
            if (!strcmp(config_keys[i].last, s->name)) fail_msg("%s: is a key's name", s->name);
    }
}

static void intervals(void **state)
{
    (void)state;
    assert_true(scalar_within("", 1e300));
    assert_true(scalar_within("[0, 1]", 0) && scalar_within("[0, 1]", 1));
    assert_false(scalar_within("(0, 1)", 0) || scalar_within("(0, 1)", 1));
    assert_true(scalar_within("[0, inf)", 1e300));
    assert_false(scalar_within("[0, inf)", -1e-300));
}

/* Broken files must fail within bounds, whatever they hold: every prefix and many mutations. */
static void mutations_are_survived(void **state)
{
    (void)state;
    char text[sizeof full];
    struct config c;
    struct err e = { 0 };
    for (size_t n = 0; n < sizeof full; n++) {
        config_parse(&c, full, n, "c.yaml", NULL, 0, &e);
        config_free(&c);
    }
    static const char special[] = "{}[]:,-*&!|>'\"%@`#?\n\t \\\0\xff~=.<";
    for (int i = 0; i < 20000; i++) {
        memcpy(text, full, sizeof full);
        for (uint32_t j = 1 + below(4); j; j--)
            text[below(sizeof full - 1)] = below(2) ? special[below(sizeof special - 1)]
                                                    : (char)below(256);
        int code = config_parse(&c, text, sizeof full - 1, "c.yaml", NULL, 0, &e);
        if (code) assert_true(strncmp(e.msg, "c.yaml", 6) == 0 && !strchr(e.msg, '\n'));
        config_free(&c);
    }
}

/* Texts that would take long if a bound were missing. */
static void bombs_are_refused(void **state)
{
    (void)state;
    static const char *const pieces[] = { "[", "{a: ", "- ", "? ", "k: v\n" };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct str s = { 0 };
        struct config c;
        struct err e;
        while (s.n < YAML_BYTES - 100) str_addz(&s, pieces[i]);
        assert_int_equal(config_parse(&c, s.p, s.n, "c.yaml", NULL, 0, &e), ERR_USAGE);
        str_free(&s);
    }
    struct str s = { 0 };
    struct config c;
    struct err e;
    for (int i = 0; i < 100000; i++) str_addf(&s, "k%d:\n", i);
    assert_int_equal(config_parse(&c, s.p, s.n, "c.yaml", NULL, 0, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "c.yaml:257: more than 256 keys"));
    while (s.n <= YAML_BYTES) str_addz(&s, "# more\n");
    assert_int_equal(config_parse(&c, s.p, s.n, "c.yaml", NULL, 0, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "wanted at most"));
    str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(wrong_configurations,
              "config: a wrong file is refused with line, key and what is wanted"),
        ENTRY(wrong_overrides,
              "config: a wrong override is refused with the key that may be meant"),
        ENTRY(all_at_once,
              "config: all faults of a file and of overrides are told, in their order"),
        ENTRY(many_are_counted, "config: of very many faults the first are kept, the rest counted"),
        ENTRY(defaults, "config: keys that are left out have their documented defaults"),
        ENTRY(whole_floats_are_whole_numbers, "config: 16.0 is a whole number, 16.5 is not"),
        ENTRY(epochs_print_as_they_are_written, "config: num_epochs prints as it is written"),
        ENTRY(all_kinds, "config: a file with every key is read, printed and read again alike"),
        ENTRY(overrides_win, "config: an override wins over the file"),
        ENTRY(paths_say_their_line_and_key, "config: an error about a path names its line and key"),
        ENTRY(from_a_file, "config: a file that cannot be read is refused by name"),
        ENTRY(round_trips, "config: what is printed reads back as the same"),
        ENTRY(every_key_is_printed, "config: every value of every key is printed as itself"),
        ENTRY(values_survive,
              "config: texts that look like other YAML, and numbers of any size, survive printing"),
        ENTRY(random_texts_survive, "config: random texts survive printing"),
        ENTRY(columns_with_a_format, "config: columns go with each format that has them"),
        ENTRY(one_column_has_one_role, "config: a column has one role"),
        ENTRY(another_output_dir, "config: the output directory can be another one"),
        ENTRY(differences,
              "config: keys that differ are listed, and which of them a resumed run must keep"),
        ENTRY(rows_hold_together,
              "config: each row of the key table has help, a range and a printable default"),
        ENTRY(synonyms_lead_somewhere, "config: each synonym leads to a key or to a remark"),
        ENTRY(intervals, "config: ranges include and exclude their ends as they are written"),
        ENTRY(mutations_are_survived, "config: broken files end in one line, whatever they hold"),
        ENTRY(bombs_are_refused, "config: files that would take long are refused at once"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
