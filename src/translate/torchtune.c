/* torchtune's recipes: nested sections, each with a _component_ that names a Python function. */
#include <stdio.h>
#include <string.h>

#include "src/translate/readers.h"
#include "src/translate/sources.h"

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

static int read_lora_model(struct translation *t, const struct row *r, const struct theirs *g,
                           struct err *e)
{
    (void)r;
    if (g->v->kind == YAML_SCALAR && strstr(last_part(g->v->text), "lora_")) return 0;
    return refuse(t, g, e, "found %s: lorac trains LoRA adapters and no other weights",
                  g->v->kind == YAML_SCALAR ? err_quotez(g->v->text) : "no name");
}

/* ---- records --------------------------------------------------------------------------------- */

/* What torchtune's functions for data sets are here. */
static const struct component {
    const char *name, *source, *format, *template;
    bool input_trained; /* without train_on_input */
} components[] = {
    { "alpaca_dataset", "tatsu-lab/alpaca", "alpaca", "alpaca", true },
    { "alpaca_cleaned_dataset", "yahma/alpaca-cleaned", "alpaca", "alpaca", true },
    { "instruct_dataset", NULL, "prompt_completion", NULL, false },
    { "chat_dataset", NULL, NULL, NULL, false },
    { "slimorca_dataset", "Open-Orca/SlimOrca-Dedup", "sharegpt", NULL, false },
    { "samsum_dataset", "Samsung/samsum", "prompt_completion", NULL, false },
    { "grammar_dataset", "liweili/c4_200m", "prompt_completion", NULL, false },
    { "text_completion_dataset", NULL, "text", NULL, true },
    { "wikitext_dataset", "EleutherAI/wikitext_document_level", "text", NULL, true },
    { "cnn_dailymail_articles_dataset", "ccdv/cnn_dailymail", "text", NULL, true },
};

static const struct component *component_of(const char *name)
{
    for (size_t i = 0; i < sizeof components / sizeof *components; i++)
        if (!strcmp(components[i].name, last_part(name))) return &components[i];
    return NULL;
}

static int add_columns(struct translation *t, const struct theirs *g, const struct yaml_node *set,
                       struct err *e)
{
    static const char *const pairs[][3] = {
        { "column_map.input", "prompt", "prompt" },
        { "column_map.instruction", "prompt", "instruction" },
        { "column_map.output", "completion", "output" },
        { "column", "text", "text" },
        { "conversation_column", "messages", "messages" },
    };
    int code = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !code; i++) {
        const struct yaml_node *v = node_at(set, pairs[i][0]);
        if (!v || v->kind != YAML_SCALAR || !strcmp(v->text, pairs[i][2])) continue;
        if (!strcmp(v->text, "conversations")) continue; /* sharegpt's own */
        code = add_column(t, g, pairs[i][1], v->text, e);
    }
    return code;
}

static int add_files(struct translation *t, const struct theirs *g, const struct yaml_node *set,
                     const struct component *c, const char *format, struct err *e)
{
    const struct yaml_node *files = node_at(set, "data_files"), *source = node_at(set, "source");
    int code = 0;
    if (files && files->kind == YAML_SCALAR)
        return add_source(t, false, g, files->text, format, c->template, e);
    for (const struct yaml_node *m = files ? files->child : NULL; m && !code; m = m->next)
        if (m->kind == YAML_SCALAR && is_given(m))
            code = add_source(t, false, g, m->text, format, c->template, e);
    if (files || code) return code;
    const char *name = source && source->kind == YAML_SCALAR ? source->text : c->source;
    if (name) return add_source(t, false, g, name, format, c->template, e);
    leave(t, g, "a data set without a source");
    return 0;
}

static int read_dataset_section(struct translation *t, const struct row *r, const struct theirs *g,
                                struct err *e)
{
    const struct yaml_node *name = node_at(g->v, "_component_"),
                           *style = node_at(g->v, "conversation_style"),
                           *all = node_at(g->v, "train_on_input"), *split = node_at(g->v, "split");
    const struct component *c = name && name->kind == YAML_SCALAR ? component_of(name->text) : NULL;
    (void)r;
    if (g->v->kind != YAML_MAPPING || !c) {
        return refuse(t, g, e,
                      "%s is a data set that cannot be translated: lorac trains on "
                      "answers or texts",
                      name && name->kind == YAML_SCALAR ? err_quotez(name->text) : "this");
    }
    const char *format = c->format;
    if (style && style->kind == YAML_SCALAR)
        format = !strcmp(style->text, "sharegpt") ? "sharegpt" : "messages";
    if (split && split->kind == YAML_SCALAR && strcmp(split->text, "train") != 0)
        leave(t, g, "split %s: every record of the file is read", err_quotez(split->text));
    int code = add_columns(t, g, g->v, e);
    if (!code) code = add_files(t, g, g->v, c, format, e);
    if (code || !format || !strcmp(format, "text")) return code;
    bool everything = all ? is_true(all) : c->input_trained;
    if (everything) code = put_text(t, "data.train_on", "everything", e);
    if (!code && c->template) {
        tell(t, g,
             "torchtune also wraps %s in the model's own chat template, which no template of "
             "lorac does",
             c->template);
        remark(t, "data.template", "torchtune also wraps it in the model's own chat template");
    }
    if (!code && everything && !all)
        remark(t, "data.train_on", "torchtune's default for %s", c->name);
    return code;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* It is needed only where it is not the model's. */
static int read_tokenizer(struct translation *t, const struct row *r, const struct theirs *g,
                          struct err *e)
{
    const char *dir = text_at(t, "checkpointer.checkpoint_dir");
    if (g->v->kind == YAML_SCALAR && dir && !strncmp(g->v->text, dir, strlen(dir))) return 0;
    return read_path(t, r, g, e);
}

static int read_clip(struct translation *t, const struct row *r, const struct theirs *g,
                     struct err *e)
{
    if (g->v->kind != YAML_SCALAR || strcmp(g->v->text, "inf") != 0) return read_copy(t, r, g, e);
    return put_text(t, r->ours, "0", e);
}

static const struct row rows[] = {
    { "model._component_", read_lora_model, "", NULL },
    { "checkpointer.checkpoint_dir", read_path, "model.path", NULL },
    { "checkpointer._component_", NULL, NULL, NULL },
    { "checkpointer.checkpoint_files", read_left_out, "they are found in the model's directory",
      NULL },
    { "checkpointer.model_type", read_left_out, "it is read from the model", NULL },
    { "checkpointer.output_dir", NULL, NULL, NULL },
    { "checkpointer.adapter_checkpoint", read_local, "adapter.init_from", NULL },
    { "tokenizer._component_", NULL, NULL, NULL },
    { "tokenizer.path", read_tokenizer, "model.tokenizer", NULL },
    { "tokenizer.merges_file", read_left_out, "it is found in the model's directory", NULL },
    { "dataset", read_dataset_section, "", NULL },
    { "model.lora_attn_modules", read_modules, "adapter.target_modules", NULL },
    { "model.apply_lora_to_mlp", NULL, NULL, NULL },
    { "model.apply_lora_to_output", read_known, "false; only the layers' modules get an adapter",
      NULL },
    { "model.lora_rank", read_copy, "adapter.r", "8" },
    { "model.lora_alpha", read_copy, "adapter.lora_alpha", "16" },
    { "model.lora_dropout", read_copy, "adapter.lora_dropout", "0.0" },
    { "batch_size", read_factor, "train.batch_size", NULL },
    { "gradient_accumulation_steps", read_factor, "train.batch_size", NULL },
    { "max_steps_per_epoch", NULL, NULL, NULL },
    { "optimizer._component_", read_optimizer,
      "torchao.prototype.low_bit_optim.CPUOffloadOptimizer", NULL },
    { "optimizer.fused", NULL, NULL, NULL },
    { "optimizer.weight_decay", read_copy, "train.weight_decay", "0.01" },
    { "optimizer.betas", read_betas, "train.adam_beta1", NULL },
    { "lr_scheduler._component_", read_schedule, "train.lr_scheduler_type", "constant" },
    { "lr_scheduler.num_warmup_steps", read_copy, "train.warmup_steps", "0" },
    { "clip_grad_norm", read_clip, "train.max_grad_norm", "0" },
    { "loss", read_left_out, "it is the cross entropy of the targets", NULL },
    { "output_dir", read_path, "output.dir", NULL },
    { NULL, NULL, NULL, NULL },
};

/* lora_attn_modules, and apply_lora_to_mlp beside it. */
static int put_mlp(struct translation *t, struct err *e)
{
    const struct yaml_node *mlp = node_at(t->root, "model.apply_lora_to_mlp");
    const unsigned more = 1u << GATE_PROJ | 1u << UP_PROJ | 1u << DOWN_PROJ;
    if (!mlp || !is_true(mlp)) return 0;
    if (!t->set[CONFIG_KEY_adapter_target_modules])
        return put_text(t, "adapter.target_modules", "[gate_proj, up_proj, down_proj]", e);
    t->to.adapter.target_modules |= more;
    return 0;
}

/* A limit for each epoch limits the run. */
static int put_max_steps(struct translation *t, struct err *e)
{
    const struct yaml_node *v = node_at(t->root, "max_steps_per_epoch");
    if (!v) return 0;
    struct theirs g = { "max_steps_per_epoch", v, false };
    const struct row row = { .ours = "train.max_steps" };
    int code = read_copy(t, &row, &g, e);
    if (code || !t->set[CONFIG_KEY_train_max_steps]) return code;
    t->to.train.max_steps = (int64_t)((double)t->to.train.max_steps * t->to.train.num_epochs);
    remark(t, "train.max_steps", "max_steps_per_epoch %s x epochs", err_quotez(v->text));
    return 0;
}

static int finish(struct translation *t, struct err *e)
{
    int code = put_mlp(t, e);
    return code ? code : put_max_steps(t, e);
}

static const char *const signs[] = {
    "model._component_",     "tokenizer._component_",     "checkpointer._component_",
    "optimizer._component_", "lr_scheduler._component_",  "loss._component_",
    "dataset._component_",   "metric_logger._component_", NULL,
};

const struct trainer trainer_torchtune = {
    .name = "torchtune", .signs = signs, .rows = rows, .finish = finish
};
