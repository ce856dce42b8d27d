/* axolotl's training files. */
#include <stdio.h>
#include <string.h>

#include "src/translate/readers.h"
#include "src/translate/sources.h"

/* What a `type` of records is here; a template is given where axolotl's is fixed by the type. */
static const struct record_type {
    const char *theirs, *format, *template;
} types[] = {
    { "alpaca", "alpaca", "alpaca" },     { "alpaca_w_system", "alpaca", "alpaca" },
    { "gpteacher", "alpaca", "alpaca" },  { "sharegpt", "sharegpt", NULL },
    { "completion", "text", NULL },       { "pretrain", "text", NULL },
    { "input_output", "segments", NULL }, { "chat_template", NULL, NULL },
};

/* alpaca.load_no_prompt, alpaca:chat and sharegpt.load_role are variants of their first word. */
static const struct record_type *type_of(struct translation *t, const struct theirs *g,
                                         const char *name)
{
    static const struct record_type any = { "", NULL, NULL };
    size_t n = strcspn(name, ".:");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].theirs) != n || strncmp(types[i].theirs, name, n) != 0) continue;
        if (name[n])
            leave(t, g, "type %s: what follows %s is not known", err_quotez(name), types[i].theirs);
        return &types[i];
    }
    leave(t, g, "type %s is not known; records are recognised by their keys", err_quotez(name));
    return &any;
}

/* A `type` that is a section names the columns. */
static int read_columns(struct translation *t, const struct theirs *g, const struct yaml_node *set,
                        const char *const pairs[][2], size_t n, struct err *e)
{
    int code = 0;
    for (size_t i = 0; i < n && !code; i++) {
        const struct yaml_node *v = node_at(set, pairs[i][0]);
        if (v && v->kind == YAML_SCALAR) code = add_column(t, g, pairs[i][1], v->text, e);
    }
    return code;
}

/* Members of a data set that change which records are read, or how. */
static void leave_members(struct translation *t, const struct theirs *g,
                          const struct yaml_node *set)
{
    static const struct {
        const char *theirs, *unless, *why;
    } rows[] = {
        { "split", "train", "a part of a data set is not taken: every record of the file is read" },
        { "name", NULL, "a part of a data set is not taken: every record of the file is read" },
        { "shards", NULL, "a part of a data set is not taken: every record of the file is read" },
        { "conversation", NULL, "data.template names the template" },
        { "chat_template", "tokenizer_default", "data.template names the template of all files" },
        { "roles_to_train", NULL, "data.train_on says which turns are trained on" },
        { "drop_system_message", NULL, "a system text is kept" },
        { "train_on_eos", "turn",
          "data.train_on_eos says whether the token that ends an answer "
          "has loss" },
        { "roles", NULL, "roles are known by their usual names: datasets/README.md" },
        { "message_field_training", NULL, "a message's own mark is read: datasets/README.md" },
        { "field_thinking", NULL, "reasoning is known by its usual names: datasets/README.md" },
        { "template_thinking_key", NULL, "reasoning is known by its usual names" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct yaml_node *v = node_at(set, rows[i].theirs);
        char name[64];
        if (!v || (rows[i].unless && v->kind == YAML_SCALAR && !strcmp(v->text, rows[i].unless)))
            continue;
        snprintf(name, sizeof name, "%s: %s", g->name, rows[i].theirs);
        struct theirs member = { name, v, false };
        leave(t, &member, "%s%s%s", v->kind == YAML_SCALAR ? err_quotez(v->text) : "",
              v->kind == YAML_SCALAR ? ": " : "", rows[i].why);
    }
}

/* Messages under another key than the usual, or with other names in them. */
static int read_messages(struct translation *t, const struct theirs *g, const struct yaml_node *set,
                         const char **format, struct err *e)
{
    const struct yaml_node *field = node_at(set, "field_messages"),
                           *role = node_at(set, "message_property_mappings.role");
    if (!role) role = node_at(set, "message_field_role");
    const char *column = field && field->kind == YAML_SCALAR ? field->text : "messages";
    bool from = role && role->kind == YAML_SCALAR && !strcmp(role->text, "from");
    if (from) *format = "sharegpt";
    if (!strcmp(column, from ? "conversations" : "messages")) return 0;
    return add_column(t, g, "messages", column, e);
}

static int add_files(struct translation *t, bool validation, const struct theirs *g,
                     const struct yaml_node *set, const char *format, const char *template,
                     struct err *e)
{
    const struct yaml_node *path = node_at(set, "path"), *files = node_at(set, "data_files");
    int code = 0;
    if (files && files->kind == YAML_SCALAR)
        return add_source(t, validation, g, files->text, format, template, e);
    for (const struct yaml_node *m = files ? files->child : NULL; m && !code; m = m->next)
        if (m->kind == YAML_SCALAR && is_given(m))
            code = add_source(t, validation, g, m->text, format, template, e);
    if (files) return code;
    if (!path || path->kind != YAML_SCALAR) {
        leave(t, g, "a data set without a path");
        return 0;
    }
    return add_source(t, validation, g, path->text, format, template, e);
}

static int read_set(struct translation *t, bool validation, const struct theirs *g,
                    const struct yaml_node *set, struct err *e)
{
    static const char *const by_type[][2] = { { "field_instruction", "prompt" },
                                              { "field_output", "completion" },
                                              { "field_input", "input" },
                                              { "field_system", "system" } };
    const struct yaml_node *type = node_at(set, "type"), *field = node_at(set, "field");
    const char *format = NULL, *template = NULL;
    int code = 0;
    leave_members(t, g, set);
    if (type && type->kind == YAML_SCALAR) {
        const struct record_type *known = type_of(t, g, type->text);
        format = known->format, template = known->template;
        if (!strcmp(known->theirs, "chat_template")) code = read_messages(t, g, set, &format, e);
    } else if (type) {
        code = read_columns(t, g, type, by_type, sizeof by_type / sizeof *by_type, e);
        if (node_at(type, "format") || node_at(type, "system_format"))
            leave(t, g,
                  "the format of a prompt: write it as a section of data.template: "
                  "datasets/README.md");
    }
    if (!code && field && field->kind == YAML_SCALAR && strcmp(field->text, "text") != 0)
        code = add_column(t, g, "text", field->text, e);
    return code ? code : add_files(t, validation, g, set, format, template, e);
}

static int read_sets(struct translation *t, const struct row *r, const struct theirs *g,
                     struct err *e)
{
    bool validation = !strcmp(r->ours, "validation");
    int code = 0;
    if (g->v->kind != YAML_SEQUENCE) {
        leave(t, g, "found %s, wanted a list of data sets", yaml_kind_name(g->v->kind));
        return 0;
    }
    for (const struct yaml_node *set = g->v->child; set && !code; set = set->next) {
        struct theirs one = { g->name, set, false };
        if (set->kind == YAML_MAPPING)
            code = read_set(t, validation, &one, set, e);
        else
            leave(t, &one, "a data set that is not a section");
    }
    return code;
}

/* A total beside micro_batch_size: axolotl computes the accumulation from it. */
static int read_total(struct translation *t, const struct row *r, const struct theirs *g,
                      struct err *e)
{
    t->batch = 0;
    str_clear(&t->why[CONFIG_KEY_train_batch_size]);
    return read_factor(t, r, g, e);
}

static const struct row rows[] = {
    { "base_model", read_model, "model.path", NULL },
    { "tokenizer_config", read_local, "model.tokenizer", NULL },
    { "adapter", read_only, "lora qlora; lorac trains LoRA adapters and no other weights", "none" },
    { "rl", read_only, "; lorac trains on answers and not on preferences", NULL },
    { "reward_model", read_only, "false; lorac trains on answers and not on preferences", NULL },
    { "process_reward_model", read_only, "false; lorac trains on answers only", NULL },
    { "datasets", read_sets, "train", NULL },
    { "pretraining_dataset", read_sets, "train", NULL },
    { "test_datasets", read_sets, "validation", NULL },
    { "val_set_size", read_held_out, "data.validation", NULL },
    { "chat_template", read_template, "data.template", NULL },
    { "train_on_inputs", read_if_true, "data.train_on=everything", NULL },
    { "sequence_len", read_copy, "data.max_length", "512" },
    { "excess_length_strategy", read_overlong, "data.overlong", NULL },
    { "lora_dropout", read_copy, "adapter.lora_dropout", "0.0" },
    { "lora_target_modules", read_modules, "adapter.target_modules", NULL },
    { "lora_target_linear", read_all_linear, "adapter.target_modules", NULL },
    { "lora_model_dir", read_local, "adapter.init_from", NULL },
    { "micro_batch_size", read_factor, "train.batch_size", "1" },
    { "gradient_accumulation_steps", read_factor, "train.batch_size", "1" },
    { "batch_size", read_total, "train.batch_size", NULL },
    { "num_epochs", read_copy, "train.num_epochs", "1" },
    { "lr_scheduler", read_schedule, "train.lr_scheduler_type", "cosine" },
    { "warmup_steps", read_warmup, "train.warmup_steps", NULL },
    { "optimizer", read_optimizer, "", NULL },
    { "seed", read_copy, "train.seed", "42" },
    { "evals_per_epoch", read_known,
      "1; train.eval_steps counts steps, and null is the end of each epoch", NULL },
    { "saves_per_epoch", read_known,
      "1; train.save_steps counts steps, and null is the end of each epoch", NULL },
    { "output_dir", read_path, "output.dir", NULL },
    { NULL, NULL, NULL, NULL },
};

static const char *const signs[] = {
    "base_model",
    "sequence_len",
    "micro_batch_size",
    "datasets",
    "val_set_size",
    "sample_packing",
    "lora_r",
    "lora_target_linear",
    "evals_per_epoch",
    "adapter",
    NULL,
};

const struct trainer trainer_axolotl = { .name = "axolotl", .signs = signs, .rows = rows };
