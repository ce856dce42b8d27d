/* mlx-lm's training files. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/config/scalar.h"
#include "src/translate/readers.h"
#include "src/translate/sources.h"

/* A directory with train.jsonl and valid.jsonl, or a name on the hub. */
static int read_directory(struct translation *t, const struct row *r, const struct theirs *g,
                          struct err *e)
{
    char train[PATH_BYTES], valid[PATH_BYTES];
    (void)r;
    if (g->v->kind != YAML_SCALAR) {
        leave(t, g, "found %s, wanted a directory", yaml_kind_name(g->v->kind));
        return 0;
    }
    const char *dir = g->v->text;
    int code = 0;
    if (!is_local(dir)) {
        code = want_validation(t, "mlx-lm evaluates on valid.jsonl, where the data set has it", e);
        if (code) return code;
    }
    if (!is_local(dir) || file_exists(dir)) return add_source(t, false, g, dir, NULL, NULL, e);
    code = path_join(train, dir, "train.jsonl", e);
    if (!code) code = path_join(valid, dir, "valid.jsonl", e);
    if (!code) code = add_source(t, false, g, train, NULL, NULL, e);
    if (!code && (file_exists(valid) || !dir_exists(dir)))
        code = add_source(t, true, g, valid, NULL, NULL, e);
    return code;
}

static int read_feature(struct translation *t, const struct row *r, const struct theirs *g,
                        struct err *e)
{
    if (g->v->kind == YAML_SCALAR) return add_column(t, g, r->ours, g->v->text, e);
    leave(t, g, "found %s, wanted a name", yaml_kind_name(g->v->kind));
    return 0;
}

/* A data set of the hub, or a list of them, with the names of its columns. */
static int read_hub_sets(struct translation *t, const struct row *r, const struct theirs *g,
                         struct err *e)
{
    static const char *const features[][2] = { { "prompt_feature", "prompt" },
                                               { "completion_feature", "completion" },
                                               { "text_feature", "text" },
                                               { "chat_feature", "messages" } };
    bool list = g->v->kind == YAML_SEQUENCE;
    int code = 0;
    (void)r;
    for (const struct yaml_node *set = list ? g->v->child : g->v; set && !code; set = set->next) {
        const struct yaml_node *path = node_at(set, "path");
        struct theirs one = { g->name, set, false };
        if (path && path->kind == YAML_SCALAR)
            code = add_source(t, false, &one, path->text, NULL, NULL, e);
        for (size_t i = 0; i < 4 && !code; i++) {
            const struct yaml_node *v = node_at(set, features[i][0]);
            if (v && v->kind == YAML_SCALAR) code = add_column(t, &one, features[i][1], v->text, e);
        }
        if (node_at(set, "train_split"))
            leave(t, &one, "a part of a data set is not taken: every record of the file is read");
        if (!list) break;
    }
    return code;
}

/* {name, arguments: [rate, steps, end], warmup}. */
static int read_lr_schedule(struct translation *t, const struct row *r, const struct theirs *g,
                            struct err *e)
{
    const struct yaml_node *name = node_at(g->v, "name"), *warmup = node_at(g->v, "warmup"),
                           *arguments = node_at(g->v, "arguments");
    const struct yaml_node *rate = arguments && arguments->kind == YAML_SEQUENCE ? arguments->child
                                                                                 : NULL;
    double end = 0;
    int code = 0;
    if (name) {
        struct theirs schedule = { "lr_schedule.name", name, false };
        code = read_schedule(t, r, &schedule, e);
    }
    if (!code && rate && put(t, "train.learning_rate", rate, e)) {
        if (e->code != ERR_USAGE) return e->code;
        leave(t, g, "arguments: %s", e->msg);
    }
    if (rate && rate->next && rate->next->next && rate->next->next->kind == YAML_SCALAR &&
        !scalar_real(&end, rate->next->next->text) && end > 0)
        leave(t, g, "the schedules of lorac fall to 0, not to %s",
              err_quotez(rate->next->next->text));
    if (!code && warmup) {
        struct theirs steps = { "lr_schedule.warmup", warmup, false };
        const struct row row = { .ours = "train.warmup_steps" };
        code = read_copy(t, &row, &steps, e);
    }
    return code;
}

static int read_layers(struct translation *t, const struct row *r, const struct theirs *g,
                       struct err *e)
{
    (void)r, (void)e;
    if (g->v->kind == YAML_SCALAR && !strcmp(g->v->text, "-1")) return 0;
    leave(t, g, "every layer gets an adapter, not only the last %s",
          g->v->kind == YAML_SCALAR ? err_quotez(g->v->text) : "");
    return 0;
}

static int read_eos_loss(struct translation *t, const struct row *r, const struct theirs *g,
                         struct err *e)
{
    (void)r;
    if (is_true(g->v)) {
        remark(t, "data.train_on", "mask_prompt: the last answer of each conversation");
        return put_text(t, "data.train_on", "last_response", e);
    }
    remark(t, "data.train_on", "mlx-lm trains on prompts too, without mask_prompt");
    return put_text(t, "data.train_on", "everything", e);
}

/* A section for each optimiser, of which `optimizer` chooses one. */
static int read_optimizers(struct translation *t, const struct row *r, const struct theirs *g,
                           struct err *e)
{
    static const struct row rows[] = {
        { "weight_decay", read_copy, "train.weight_decay", NULL },
        { "betas", read_betas, "", NULL },
        { "eps", read_copy, "train.adam_epsilon", NULL },
    };
    const char *chosen = text_at(t, "optimizer");
    const struct yaml_node *set = node_at(g->v, chosen ? chosen : "adam");
    int code = 0;
    (void)r;
    for (const struct yaml_node *m = set ? set->child : NULL; m && !code; m = m->next) {
        char name[256];
        struct theirs member = { name, m, false };
        size_t i = 0;
        snprintf(name, sizeof name, "optimizer_config.%s.%s", set->key, m->key ? m->key : "");
        while (i < 3 && (!m->key || strcmp(rows[i].theirs, m->key) != 0)) i++;
        if (i < 3)
            code = rows[i].read(t, &rows[i], &member, e);
        else
            leave(t, &member, "it is always AdamW");
    }
    return code;
}

static const char hub[] = "nothing is downloaded";

static const struct row rows[] = {
    { "model", read_model, "model.path", NULL },
    { "train", read_known, "true; 'lorac train' trains, 'lorac eval' evaluates", NULL },
    { "test", read_known, "false; 'lorac eval OURS.yaml' evaluates", NULL },
    { "test_batches", read_left_out, "'lorac eval' reads all records", NULL },
    { "fine_tune_type", read_only, "lora; lorac trains LoRA adapters and no other weights", NULL },
    { "data", read_directory, "", NULL },
    { "hf_dataset", read_hub_sets, hub, NULL },
    { "prompt_feature", read_feature, "prompt", NULL },
    { "completion_feature", read_feature, "completion", NULL },
    { "text_feature", read_feature, "text", NULL },
    { "chat_feature", read_feature, "messages", NULL },
    { "mask_prompt", read_eos_loss, "", "false" },
    { "max_seq_length", read_copy, "data.max_length", "2048" },
    { "overlong", read_overlong, "data.overlong", "truncate" },
    { "lora_parameters.rank", read_copy, "adapter.r", "8" },
    { "lora_parameters.scale", NULL, NULL, NULL },
    { "lora_parameters.alpha", NULL, NULL, NULL },
    { "lora_parameters.dropout", read_copy, "adapter.lora_dropout", "0.0" },
    { "lora_parameters.keys", read_modules, "adapter.target_modules", NULL },
    { "num_layers", read_layers, "", "16" },
    { "lora_layers", read_layers, "", NULL },
    { "resume_adapter_file", read_left_out,
      "adapters of mlx-lm are not read; adapter.init_from takes PEFT's, GGUF or a checkpoint",
      NULL },
    { "batch_size", read_factor, "train.batch_size", "4" },
    { "grad_accumulation_steps", read_factor, "train.batch_size", "1" },
    { "iters", NULL, NULL, NULL },
    { "learning_rate", read_copy, "train.learning_rate", "1.0e-5" },
    { "lr_schedule", read_lr_schedule, "train.lr_scheduler_type", NULL },
    { "optimizer", read_optimizer, "adam", NULL },
    { "optimizer_config", read_optimizers, "", NULL },
    { "steps_per_eval", read_copy, "train.eval_steps", "200" },
    { "val_batches", read_known, "-1; all validation records are read", NULL },
    { "save_every", read_copy, "train.save_steps", "100" },
    { "seed", read_copy, "train.seed", "0" },
    { "adapter_path", read_path, "output.dir", "adapters" },
    { NULL, NULL, NULL, NULL },
};

static int put_number(struct translation *t, const char *ours, double v, struct err *e)
{
    char text[40];
    snprintf(text, sizeof text, "%.0f", v);
    if (!put_text(t, ours, text, e)) return 0;
    return e->code == ERR_USAGE ? err_prefix(e, "%s", ours) : e->code;
}

/* The scale multiplies the adapter's output, as lora_alpha / r does. In old versions there is alpha
 * beside it. */
static int put_alpha(struct translation *t, struct err *e)
{
    const char *text = text_at(t, "lora_parameters.scale");
    double scale = 20, r = (double)t->to.adapter.r;
    if (text && scalar_real(&scale, text)) {
        struct theirs g = { "lora_parameters.scale", node_at(t->root, "lora_parameters.scale"),
                            false };
        return refuse(t, &g, e, "found %s, wanted a number", err_quotez(text));
    }
    double alpha = scale * r, whole = fmax(1, round(alpha));
    remark(t, "adapter.lora_alpha", "scale %g%s x rank %g", scale, text ? "" : " (default)", r);
    if (fabs(whole - alpha) > 1e-6 * whole)
        want(t, "adapter.lora_alpha", "theirs is %g; lorac takes whole numbers: now it says %.0f",
             alpha, whole);
    return put_number(t, "adapter.lora_alpha", whole, e);
}

/* Evaluations and checkpoints are counted in iterations, too. */
static void divide_interval(struct translation *t, const char *ours, int64_t *steps, int64_t n)
{
    if (n == 1 || *steps == CONFIG_NONE) return;
    remark(t, ours, "iterations %lld; a step is %lld of them", (long long)*steps, (long long)n);
    *steps = *steps > n ? *steps / n : 1;
}

/* An iteration is one batch; a step is grad_accumulation_steps of them. */
static int put_steps(struct translation *t, struct err *e)
{
    const char *text = text_at(t, "iters"), *each = text_at(t, "grad_accumulation_steps");
    int64_t iters = 1000, n = 1;
    if (text && (scalar_int(&iters, text) || iters < 1)) {
        struct theirs g = { "iters", node_at(t->root, "iters"), false };
        leave(t, &g, "found %s, wanted an integer from 1; 1000 is taken", err_quotez(text));
        iters = 1000;
    }
    if (each && scalar_int(&n, each)) n = 1;
    if (n < 1) n = 1;
    remark(t, "train.max_steps", "iters %lld%s", (long long)iters, text ? "" : " (default)");
    if (n > 1) remark(t, "train.max_steps", "a step is %lld of them", (long long)n);
    divide_interval(t, "train.eval_steps", &t->to.train.eval_steps, n);
    divide_interval(t, "train.save_steps", &t->to.train.save_steps.steps, n);
    return put_number(t, "train.max_steps", fmax(1, floor((double)iters / (double)n)), e);
}

/* mlx's AdamW has a weight decay of its own. */
static int put_decay(struct translation *t, struct err *e)
{
    const char *optimizer = text_at(t, "optimizer");
    if (!optimizer || strcmp(optimizer, "adamw") != 0 || t->set[CONFIG_KEY_train_weight_decay])
        return 0;
    remark(t, "train.weight_decay", "the default of mlx's AdamW");
    return put_text(t, "train.weight_decay", "0.01", e);
}

static int finish(struct translation *t, struct err *e)
{
    int code = put_alpha(t, e);
    if (!code) code = put_decay(t, e);
    if (!code) code = put_steps(t, e);
    if (!code && !t->set[CONFIG_KEY_train_lr_scheduler_type]) {
        code = put_text(t, "train.lr_scheduler_type", "constant", e);
        remark(t, "train.lr_scheduler_type", "mlx-lm's default");
    }
    if (!code) code = put_text(t, "train.max_grad_norm", "0", e);
    if (!code) remark(t, "train.max_grad_norm", "mlx-lm does not clip");
    if (!code && !t->set[CONFIG_KEY_train_warmup_steps])
        code = put_text(t, "train.warmup_steps", "0", e);
    return code;
}

static const char *const signs[] = {
    "fine_tune_type", "iters",        "lora_parameters", "steps_per_report",
    "steps_per_eval", "val_batches",  "adapter_path",    "save_every",
    "num_layers",     "test_batches", "grad_checkpoint", "lora_layers",
    "hf_dataset",     NULL,
};

const struct trainer trainer_mlx_lm = {
    .name = "mlx-lm", .signs = signs, .rows = rows, .finish = finish
};
