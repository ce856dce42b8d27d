/* Training files of other trainers: every key of short samples (tests/trainers) has an answer in
 * lorac's messages, and the translation keeps their numbers and says what it leaves out. */
#include "tests/files_util.h"

#include "src/config/config.h"
#include "src/translate/translate.h"

#define SAMPLES "tests/trainers/"

/* A file, what the translation must hold, and what its notes must hold. */
static const struct sample {
    const char *path, *trainer, *lines[30], *notes[16];
} samples[] = {
    { SAMPLES "axolotl.yml",
      "axolotl",
      { "path: models/Llama-3.2-1B\n",
        "train: datasets/support-tickets.jsonl\n",
        "validation: 0.05\n",
        "format: alpaca\n",
        "template: alpaca\n",
        "max_length: 1024\n",
        "overlong: truncate\n",
        "  r: 32\n",
        "lora_alpha: 16\n",
        "lora_dropout: 0.05\n",
        "target_modules: [q_proj, v_proj]\n",
        "# micro_batch_size 2 x gradient_accumulation_steps 4, for one GPU",
        "  batch_size: 8\n",
        "num_epochs: 2\n",
        "learning_rate: 0.0002\n",
        "lr_scheduler_type: cosine\n",
        "warmup_ratio: 0.1\n",
        "weight_decay: 0.01\n",
        "shuffle: true\n",
        "  # axolotl's default\n  seed: 42\n",
        "  dir: ./outputs/tickets\n",
        "# - sample_packing: passes are always packed" },
      { "model.path: \"meta-llama/Llama-3.2-1B\" is a name on the Hugging Face hub",
        "axolotl.yml:11: liger_rope: left out:",
        "axolotl.yml:50: optimizer: found \"adamw_bnb_8bit\": AdamW is used, with its moments in "
        "f32",
        "lora_target_modules: left out: \"lm_head\"", "wandb_entity: left out: there is no network",
        "fsdp_config: left out: not needed" } },
    { SAMPLES "llamafactory.yaml",
      "LLaMA-Factory",
      { "- {path: tests/trainers/tickets.jsonl, format: sharegpt}\n", "- datasets/identity.jsonl\n",
        "validation: 0.1\n", "columns: {messages: dialog}\n", "template: llama3\n",
        "max_length: 2048\n", "  r: 8\n",
        "  # LLaMA-Factory's default, 2 x lora_rank\n  lora_alpha: 16\n",
        "target_modules: [q_proj, v_proj]\n", "  batch_size: 16\n", "num_epochs: 3\n",
        "learning_rate: 0.0001\n", "warmup_ratio: 0.1\n", "eval_steps: 500\n", "save_steps: 500\n",
        "  seed: 42\n", "dir: saves/tickets\n", "overlong: truncate\n" },
      { "data.train: \"identity\" is a name for LLaMA-Factory",
        "max_samples: left out: every record", "loraplus_lr_ratio: left out" } },
    { SAMPLES "mlx-lm.yaml",
      "mlx-lm",
      { "path: models/Some-Model-4bit\n",
        "train: datasets/tickets.jsonl\n",
        "  r: 8\n",
        "  # scale 20 x rank 8\n  lora_alpha: 160\n",
        "target_modules: [q_proj, v_proj]\n",
        "train_on: last_response\n",
        "  batch_size: 8\n",
        "  # iters 600; a step is 2 of them\n  max_steps: 300\n",
        "learning_rate: 2.0e-05\n",
        "weight_decay: 0.02\n",
        "adam_beta1: 0.8\n",
        "adam_beta2: 0.9\n",
        "validation: 0.0\n",
        "lr_scheduler_type: cosine\n",
        "warmup_steps: 30\n",
        "max_grad_norm: 0.0\n",
        "  # iterations 200; a step is 2 of them\n  eval_steps: 100\n",
        "save_steps: 50\n",
        "  seed: 7\n",
        "dir: adapters/tickets\n" },
      { "num_layers: left out: every layer", "the schedules of lorac fall to 0",
        "val_batches: left out", "optimizer_config.adamw.bias_correction: left out",
        "data.validation: mlx-lm evaluates on valid.jsonl", "report_to: left out" } },
    { SAMPLES "torchtune.yaml",
      "torchtune",
      { "path: /tmp/Llama-3.2-1B/\n", "train: data/tickets.json\n", "format: prompt_completion\n",
        "columns: {prompt: ticket, completion: reply}\n", "template: model\n", "max_length: 512\n",
        "  r: 64\n", "lora_alpha: 128\n", "lora_dropout: 0.0\n",
        "target_modules: [q_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]\n",
        "  batch_size: 32\n", "num_epochs: 2\n", "learning_rate: 0.0003\n", "weight_decay: 0.01\n",
        "lr_scheduler_type: cosine\n", "warmup_steps: 100\n", "max_grad_norm: 0.0\n",
        "shuffle: true\n", "dir: /tmp/torchtune/tickets\n" },
      { "metric_logger: left out", "profiler: left out", "loss: left out", "device: left out" } },
    { SAMPLES "trl.yaml",
      "TRL",
      { "path: models/Some-Model\n", "train: datasets/conversations.jsonl\n", "max_length: 2048\n",
        "  r: 32\n", "lora_alpha: 16\n", "  # TRL's default\n  lora_dropout: 0.05\n",
        "  # TRL's default\n  target_modules: [q_proj, v_proj]\n", "  batch_size: 16\n",
        "num_epochs: 1\n", "learning_rate: 0.0002\n", "warmup_ratio: 0.1\n", "eval_steps: 100\n",
        "overlong: truncate\n", "dir: Some-Model-SFT\n" },
      { "packing: left out", "hub_token: left out: there is no network", "load_in_4bit: left out",
        "data.validation: TRL evaluates on another split" } },
};

static void every_key_has_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct config c;
        struct complaints all = { 0 };
        struct err e;
        assert_int_equal(config_load_all(&c, samples[i].path, NULL, 0, &all, &e), ERR_USAGE);
        assert_true(all.n > 20);
        assert_true(all.kept == all.n);
        for (size_t k = 0; k < all.kept; k++) {
            const char *text = all.at[k].text;
            bool section = strstr(text, "unknown section") != NULL;
            if (strstr(text, "help keys") || strstr(text, "wanted one of model") ||
                (strstr(text, "did you mean") && !section))
                fail_msg("answered with nothing: %s", text);
            if (k && all.at[k].line < all.at[k - 1].line) fail_msg("not in order: %s", text);
        }
        complaints_free(&all);
    }
}

static void samples_are_translated(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *s = &samples[i];
        struct translated t;
        struct err e;
        if (translate_file(&t, s->path, &e)) fail_msg("%s", e.msg);
        assert_string_equal(t.trainer, s->trainer);
        assert_string_equal(trainer_of_file(s->path), s->trainer);
        for (size_t k = 0; s->lines[k]; k++)
            if (!strstr(t.text.p, s->lines[k]))
                fail_msg("no \"%s\" in the translation of %s:\n%s", s->lines[k], s->path, t.text.p);
        for (size_t k = 0; s->notes[k]; k++)
            if (!strstr(t.notes.p, s->notes[k]))
                fail_msg("no \"%s\" in the notes on %s:\n%s", s->notes[k], s->path, t.notes.p);
        assert_null(strstr(t.notes.p, "secret"));
        assert_null(strstr(t.text.p, "secret"));
        translated_free(&t);
    }
}

#define AXOLOTL      "base_model: /m\ndatasets: [{path: /d.jsonl, type: alpaca}]\noutput_dir: o\n"
#define LLAMAFACTORY "model_name_or_path: /m\nlora_rank: 8\ncutoff_len: 512\n"

/* What is no LoRA training on answers or texts. */
static void others_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } rows[] = {
        { "", "is empty, wanted a training file of axolotl" },
        { "hello: world\n", "found no keys of a training file of axolotl" },
        { "- a\n- b\n", "found no keys of a training file" },
        { "iters: 5\n", "found no keys of a training file" }, /* one alone is no sign */
        { "model: {path: m}\ndata: {train: d}\noutput: {dir: o}\n", "of lorac already" },
        { AXOLOTL "micro_batch_size: 1\n", "without adapter: found \"none\": lorac trains LoRA" },
        { AXOLOTL "adapter: lora\nrl: dpo\n", "rl: found \"dpo\": lorac trains on answers" },
        { LLAMAFACTORY "stage: dpo\n", "stage: found \"dpo\"" },
        { LLAMAFACTORY "finetuning_type: full\n", "finetuning_type: found \"full\"" },
        { LLAMAFACTORY "dataset_dir: " SAMPLES "\ndataset: ranked\n", "ranked answers" },
        { "model_name_or_path: m\ndataset_name: d\nlora_r: 8\n", "without use_peft" },
        { "model: m\nfine_tune_type: dora\niters: 5\n", "fine_tune_type: found \"dora\"" },
        { "model:\n  _component_: torchtune.models.llama2.llama2_7b\noptimizer:\n"
          "  _component_: torch.optim.AdamW\n",
          "model._component_: found" },
        { AXOLOTL "adapter: lora\ntest_datasets: [{path: /v, type: {field_instruction: a, "
                  "field_output: a}}]\n",
          "wanted a column for each" },
        { "base_model: &a m\nsequence_len: 5\n", "anchors and aliases are not read" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = put_text("other.yaml", rows[i].text);
        struct translated t;
        struct err e = { 0 };
        int code = translate_file(&t, path, &e);
        if (!code || strncmp(e.msg, path, strlen(path)) != 0 || !strstr(e.msg, rows[i].message))
            fail_msg("%s\ngave %d \"%s\", wanted \"%s\"", rows[i].text, code, e.msg,
                     rows[i].message);
        translated_free(&t);
    }
}

/* Values that cannot be kept as they are. */
static void odd_values_are_said(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line, *note;
    } rows[] = {
        { "adapter: lora\nlora_r: many\n", "output:",
          "lora_r: left out: found \"many\", wanted an "
          "integer in [1, 4096]" },
        { "adapter: lora\nmicro_batch_size: 0\n", "batch_size: 1\n",
          "micro_batch_size: left out: found \"0\"" },
        { "adapter: lora\nlr_scheduler: rex\n",
          "output:", "lr_scheduler: left out: found \"rex\"" },
        { "adapter: qlora\nval_set_size: 200\n", "output:", "a number of records" },
        { "adapter: lora\nlora_target_linear: true\n", "target_modules: all-linear\n", "" },
        { "adapter: lora\nbatch_size: 64\nmicro_batch_size: 2\n", "  batch_size: 64\n", "" },
        { "adapter: lora\ntrain_on_inputs: true\n", "train_on: everything\n", "" },
        { "adapter: lora\nlora_model_dir: ~/a\n", "init_from: /home/someone/a\n", "" },
        { "adapter: lora\nxyzzy: 1\n", "# - xyzzy: lorac has nothing like it\n",
          "xyzzy: left out: lorac has nothing like it" },
        { "adapter: lora\n\"a\\nb: c\": 1\n", "# - a\\x0ab: c: lorac has nothing like it\n", "" },
        { "adapter: lora\nchat_template: gemma\n", "template: alpaca",
          "chat_template: \"gemma\" is not a template of lorac" },
        { "adapter: lora\nwandb_name:\n", "output:", "" },
        { "adapter: lora\noptimizer: lion\n", "output:", "optimizer: left out: found \"lion\"" },
        { "adapter: lora\ntest_datasets: [{path: /v.jsonl, type: alpaca}]\n",
          "validation: /v.jsonl\n", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str text = { 0 };
        struct translated t;
        struct err e = { 0 };
        setenv("HOME", "/home/someone", 1);
        str_addf(&text, AXOLOTL "%s", rows[i].text);
        if (translate_file(&t, put_text("odd.yaml", text.p), &e)) fail_msg("%s", e.msg);
        if (!strstr(t.text.p, rows[i].line) || !strstr(t.notes.p ? t.notes.p : "", rows[i].note))
            fail_msg("%s\ngave\n%s\n%s\nwanted %s and %s", rows[i].text, t.text.p,
                     t.notes.p ? t.notes.p : "", rows[i].line, rows[i].note);
        translated_free(&t);
        str_free(&text);
    }
}

/* Whatever stands in a file, the translation reads or is refused in one line. */
static void mutations_are_survived(void **state)
{
    (void)state;
    uint64_t at = 1;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct str whole = { 0 };
        get_file(&whole, samples[i].path);
        for (size_t n = 0; n < 300; n++) {
            struct str text = { 0 };
            struct translated t;
            struct err e = { 0 };
            str_add(&text, whole.p, whole.n);
            for (size_t k = 0; k < 3; k++) {
                at = at * 6364136223846793005u + 1442695040888963407u;
                text.p[(at >> 33) % text.n] = " :-#[]{},'\"&*!%a01.\n\t~"[(at >> 20) % 23];
            }
            const char *path = put_file("mutated.yaml", text.p, text.n);
            if (translate_file(&t, path, &e)) {
                if (e.code == ERR_MEMORY || strchr(e.msg, '\n') ||
                    strncmp(e.msg, path, strlen(path)) != 0)
                    fail_msg("%s", e.msg);
            } else {
                struct config c;
                if (config_parse(&c, t.text.p, t.text.n, "ours", NULL, 0, &e))
                    fail_msg("%s\n%s", e.msg, t.text.p);
                config_free(&c);
            }
            translated_free(&t);
            str_free(&text);
        }
        str_free(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(every_key_has_an_answer,
              "translate: each key of other trainers' files is answered with a key or a reason"),
        ENTRY(samples_are_translated,
              "translate: a file of each trainer keeps its numbers and says what is left out"),
        ENTRY(others_are_refused,
              "translate: a file that trains no LoRA adapter on answers is refused with its key"),
        ENTRY(odd_values_are_said, "translate: values that cannot be kept are said"),
        ENTRY(mutations_are_survived,
              "translate: broken files give a file that reads, or one line"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
