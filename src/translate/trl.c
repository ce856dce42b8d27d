/* TRL's files for `trl sft --config`: the arguments of its script, and of transformers' trainer. */
#include <string.h>

#include "src/translate/readers.h"
#include "src/translate/sources.h"

/* datasets: a list of {path, data_files, split, ...}. */
static int read_mixture(struct translation *t, const struct row *r, const struct theirs *g,
                        struct err *e)
{
    int code = 0;
    (void)r;
    for (const struct yaml_node *set = g->v->child; set && !code; set = set->next) {
        const struct yaml_node *path = node_at(set, "path"), *files = node_at(set, "data_files"),
                               *split = node_at(set, "split");
        struct theirs one = { g->name, set, false };
        const struct yaml_node *name = files ? files : path;
        if (split && split->kind == YAML_SCALAR && strcmp(split->text, "train") != 0)
            leave(t, &one, "split %s: every record of the file is read", err_quotez(split->text));
        if (name && name->kind == YAML_SCALAR)
            code = add_source(t, false, &one, name->text, NULL, NULL, e);
        else
            leave(t, &one, "a data set without a path");
    }
    return code;
}

/* language modelling on one column. */
static int read_text_field(struct translation *t, const struct row *r, const struct theirs *g,
                           struct err *e)
{
    (void)r;
    if (g->v->kind != YAML_SCALAR || !strcmp(g->v->text, "text")) return 0;
    return add_column(t, g, "text", g->v->text, e);
}

static int read_use_peft(struct translation *t, const struct row *r, const struct theirs *g,
                         struct err *e)
{
    (void)r;
    if (is_true(g->v)) return 0;
    return refuse(t, g, e, "TRL trains all weights then; lorac trains LoRA adapters and no others");
}

static const char split[] = "train; every record of the file is read";

static const struct row rows[] = {
    { "model_name_or_path", read_model, "model.path", NULL },
    { "use_peft", read_use_peft, "", "false" },
    { "dataset_name", read_dataset, "train", NULL },
    { "datasets", read_mixture, "", NULL },
    { "dataset_train_split", read_known, split, NULL },
    { "dataset_test_split", read_known, "test; data.validation names the file", NULL },
    { "dataset_text_field", read_text_field, "", NULL },
    { "test_split_size", read_held_out, "data.validation", NULL },
    { "truncation_mode", read_overlong, "data.overlong", "truncate" },
    { "assistant_only_loss", NULL, NULL, NULL },
    { "completion_only_loss", NULL, NULL, NULL },
    { "lora_r", read_copy, "adapter.r", "16" },
    { "lora_alpha", read_copy, "adapter.lora_alpha", "32" },
    { "lora_dropout", read_copy, "adapter.lora_dropout", "0.05" },
    { "lora_target_modules", read_modules, "adapter.target_modules", "[q_proj, v_proj]" },
    { "per_device_train_batch_size", read_factor, "train.batch_size", "8" },
    { "gradient_accumulation_steps", read_factor, "train.batch_size", "1" },
    { "learning_rate", read_copy, "train.learning_rate", "2.0e-5" },
    TRAINING_ARGUMENTS,
    { NULL, NULL, NULL, NULL },
};

/* Without these keys TRL trains on every token of messages and texts, and of prompt and completion
 * on the completion alone. */
static int finish(struct translation *t, struct err *e)
{
    const struct yaml_node *a = node_at(t->root, "assistant_only_loss"),
                           *c = node_at(t->root, "completion_only_loss");
    const char *when = text_at(t, "eval_strategy");
    int code = 0;
    if (when && strcmp(when, "no") != 0 && !t->set[CONFIG_KEY_data_validation])
        code = want_validation(t, "TRL evaluates on another split of the data set", e);
    if (!code && !t->set[CONFIG_KEY_data_max_length]) {
        code = put_text(t, "data.max_length", "1024", e);
        remark(t, "data.max_length", "TRL's default");
    }
    if (code || (a && is_true(a)) || (c && is_true(c))) return code;
    remark(t, "data.train_on",
           "TRL's default for messages and texts; for prompt and completion write responses");
    return put_text(t, "data.train_on", "everything", e);
}

static const char *const signs[] = {
    "model_name_or_path",
    "use_peft",
    "dataset_name",
    "lora_r",
    "lora_target_modules",
    "max_length",
    "eos_token",
    "packing",
    "dataset_text_field",
    "num_train_epochs",
    "dataset_train_split",
    "assistant_only_loss",
    "completion_only_loss",
    "per_device_train_batch_size",
    NULL,
};

const struct trainer trainer_trl = {
    .name = "TRL", .signs = signs, .rows = rows, .finish = finish
};
