/* The key reference, generated from the key table, so that it cannot be out of date. */
#include "src/config/config.h"
#include "src/config/keys.h"
#include "src/config/value.h"

#include <math.h>
#include <string.h>

static const char opening[] =
    "# Configuration\n"
    "\n"
    "A run is described by one YAML file. Only the keys without a default must be in it; a key "
    "that\n"
    "is unknown, misspelt or given twice is an error that names its line and the nearest key. On "
    "the\n"
    "command line `key=value` overrides a key of the file; the value is YAML too:\n"
    "\n"
    "    lorac train run.yaml train.learning_rate=1e-4 'adapter.target_modules=[q_proj, v_proj]'\n"
    "\n"
    "Paths are relative to the directory in which the command is started. Numbers are decimal; "
    "booleans\n"
    "are `true` and `false`. A run writes its resolved configuration, with every key, to\n"
    "`config.yaml` in its `output.dir`. A run that is resumed must agree with the interrupted one "
    "in\n"
    "all keys but those marked ‡.\n"
    "\n"
    "This page is generated (`lorac help keys`).\n";

static const char rates[] =
    "\n"
    "## Learning rates\n"
    "\n"
    "`train.learning_rate: auto` takes the rate of this table. It is for an adapter that is scaled "
    "by\n"
    "`lora_alpha / r` with `lora_alpha: 32`; the best rate then hardly depends on the rank `r`. "
    "For "
    "another\n"
    "`lora_alpha` lorac multiplies it by 32 / `lora_alpha`, and for another scale (an rsLoRA "
    "adapter that\n"
    "`init_from` names) by 32 / (scale x `r`). The header of the run says the number, and its\n"
    "`config.yaml` holds it. A resumed run keeps the rate that it was begun with.\n"
    "\n"
    "| parameters of the model | rate | source |\n"
    "| --- | --- | --- |\n";

static const char rates_source[] =
    "\n"
    "Published: Schulman and others, *LoRA Without Regret* (Thinking Machines Lab, 2025), and the "
    "table of the\n"
    "Tinker cookbook. They also found that LoRA's best rate is about ten times that of training "
    "all weights,\n"
    "and that LoRA loses more by large batches than training all weights does. Nothing is "
    "published below 1B.\n"
    "\n"
    "Measured here: SmolLM2-135M-Instruct (Q4_1), r 16, `lora_alpha: 32`, batches of 8, 60 steps "
    "on\n"
    "`datasets/handbook.jsonl`, held out `datasets/handbook-questions.jsonl`; one seed each so "
    "far, so that\n"
    "small differences may be chance. `scripts/learning-rates.py` makes it, also with more seeds "
    "and data.\n"
    "\n"
    "| learning rate | validation loss after the last step | answers exactly right, of 20 |\n"
    "| --- | --- | --- |\n"
    "| the base | 4.346 | 0 |\n"
    "| 3e-4 | 1.640 | 0 |\n"
    "| 1e-3 | 0.555 | 2 |\n"
    "| 3e-3 | 0.357 | 10 |\n"
    "| 1e-2 | 0.491 | 7 |\n";

static const char migrating[] =
    "\n"
    "## Coming from another trainer\n"
    "\n"
    "`lorac convert theirs.yaml -o run.yaml` translates a LoRA training file of axolotl,\n"
    "LLaMA-Factory, mlx-lm, torchtune or TRL (the file of `trl sft --config`), which it knows by "
    "its\n"
    "keys. Ranks, rates, lengths, epochs and schedules are kept, and where the trainer's default "
    "is\n"
    "not lorac's, the default is written out. The batch is batch size x accumulation on one GPU.\n"
    "mlx-lm's scale becomes `lora_alpha` = scale x rank. Nothing is downloaded: for a model or a\n"
    "data set that is named as on the Hugging Face hub, a path is written, and the file says "
    "above\n"
    "its first key what to put there. It also lists what was left out, and why; so does the "
    "terminal.\n"
    "Files that train all weights, or on preferences, are refused.\n"
    "\n"
    "`lorac train` and `lorac plan` name everything that is wrong with a file at once. What "
    "axolotl,\n"
    "LLaMA-Factory, transformers, torchtune and others call it, and what to write here (`name*`: "
    "all\n"
    "names that begin so):\n"
    "\n"
    "| there | here | |\n"
    "| --- | --- | --- |\n";

static void add_key(struct str *out, const struct key *k)
{
    struct str wanted = { 0 };
    value_add_wanted(&wanted, k);
    str_addf(out, "| `%s`%s | ", k->last, k->same_on_resume ? "" : " ‡");
    if (k->by_default)
        str_addf(out, "`%s`", k->by_default);
    else
        str_addz(out, "must be given");
    str_addf(out, " | %s | %s |\n", wanted.p ? wanted.p : "", k->help);
    out->failed |= wanted.failed;
    str_free(&wanted);
}

static void add_rates(struct str *out)
{
    static const struct {
        double below, rate;
        const char *why;
    } rows[] = {
#define LEARNING_RATE(below, rate, why) { below, rate, why },
#include "src/config/learning_rates.def"
#undef LEARNING_RATE
    };
    str_addz(out, rates);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (isfinite(rows[i].below))
            str_addf(out, "| below %g G | %g | %s |\n", rows[i].below * 1e-9, rows[i].rate,
                     rows[i].why);
        else
            str_addf(out, "| more | %g | %s |\n", rows[i].rate, rows[i].why);
    }
    str_addz(out, rates_source);
}

void config_reference(struct str *out)
{
    const char *section = "";
    str_addz(out, opening);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct key *k = &config_keys[i];
        if (strcmp(section, k->section) != 0) {
            str_addf(
                out,
                "\n## %s\n\n| key | default | accepts | meaning |\n| --- | --- | --- | --- |\n",
                k->section);
        }
        section = k->section;
        add_key(out, k);
    }
    add_rates(out);
    str_addz(out, migrating);
    for (const struct synonym *s = config_synonyms; s->name; s++) {
        str_addf(out, "| `%s` | ", s->name);
        if (s->ours) str_addf(out, "`%s`", s->ours);
        str_addf(out, " | %s |\n", s->remark ? s->remark : "");
    }
}
