/* LLaMA-Factory's training files, and those of its version 1 layout (peft_config, dist_config). */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/translate/readers.h"
#include "src/translate/sources.h"

enum { INFO_BYTES = 4 << 20 };

/* ---- data sets, which dataset_info.json describes by name ------------------------------------ */

static const struct word_pair formats[] = {
    { "alpaca", "alpaca" },
    { "sharegpt", "sharegpt" },
    { "openai", "messages" },
    { NULL, NULL },
};

static int add_info_columns(struct translation *t, const struct theirs *g, const json_t *set,
                            struct err *e)
{
    static const char *const pairs[][3] = {
        { "prompt", "prompt", "instruction" },  { "query", "input", "input" },
        { "response", "completion", "output" }, { "system", "system", "system" },
        { "messages", "messages", "messages" },
    };
    const json_t *columns = json_object_get(set, "columns");
    int code = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !code; i++) {
        const char *name = json_string_value(json_object_get(columns, pairs[i][0]));
        bool usual = name && (!strcmp(name, pairs[i][2]) || !strcmp(name, "conversations"));
        if (name && !usual) code = add_column(t, g, pairs[i][1], name, e);
    }
    return code;
}

/* A name that dataset_info.json does not explain. */
static int add_unknown_name(struct translation *t, bool validation, const struct theirs *g,
                            const char *name, const char *info, struct err *e)
{
    char path[600];
    if (is_local(name)) return add_source(t, validation, g, name, NULL, NULL, e);
    snprintf(path, sizeof path, "datasets/%s.jsonl", path_base(name));
    want(t, validation ? "data.validation" : "data.train",
         "%s is a name for LLaMA-Factory, and %s does not say which file that is: put in a file "
         "of its records; now it says %s",
         err_quotez(name), err_quotez(info), path);
    return add_source(t, validation, g, path, NULL, NULL, e);
}

static int add_name(struct translation *t, bool validation, const struct theirs *g,
                    const char *name, const json_t *all, const char *dir, const char *info,
                    struct err *e)
{
    char path[PATH_BYTES];
    const json_t *set = json_object_get(all, name);
    const char *file = json_string_value(json_object_get(set, "file_name")),
               *hub = json_string_value(json_object_get(set, "hf_hub_url")),
               *formatting = json_string_value(json_object_get(set, "formatting"));
    const char *format = word_of(formats, formatting ? formatting : "alpaca");
    if (json_is_true(json_object_get(set, "ranking")))
        return refuse(t, g, e,
                      "%s has ranked answers: lorac trains on answers and not on "
                      "preferences",
                      err_quotez(name));
    if (!file && !hub) return add_unknown_name(t, validation, g, name, info, e);
    int code = file ? path_join(path, dir, file, e) : 0;
    if (!code) code = add_info_columns(t, g, set, e);
    return code ? code : add_source(t, validation, g, file ? path : hub, format, NULL, e);
}

static int read_names(struct translation *t, const struct row *r, const struct theirs *g,
                      struct err *e)
{
    bool validation = !strcmp(r->ours, "validation");
    const char *given = text_at(t, "dataset_dir"), *dir = given ? given : "data";
    char info[PATH_BYTES];
    struct err unread;
    int code = path_join(info, dir, "dataset_info.json", e);
    if (code) return code;
    json_t *all = file_exists(info) ? json_read(info, INFO_BYTES, &unread) : NULL;
    if (file_exists(info) && !all) want(t, "data.train", "%s", unread.msg);
    bool list = g->v->kind == YAML_SEQUENCE;
    for (const char *p = g->v->kind == YAML_SCALAR ? g->v->text : ""; *p && !code;) {
        char name[512];
        p += strspn(p, ", ");
        size_t n = strcspn(p, ", ");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (n) code = add_name(t, validation, g, name, all, dir, info, e);
        p += n;
    }
    for (const struct yaml_node *m = list ? g->v->child : NULL; m && !code; m = m->next)
        if (m->kind == YAML_SCALAR && is_given(m))
            code = add_name(t, validation, g, m->text, all, dir, info, e);
    json_decref(all);
    return code;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* pt is pretraining on texts. */
static int read_stage(struct translation *t, const struct row *r, const struct theirs *g,
                      struct err *e)
{
    (void)r;
    if (g->v->kind == YAML_SCALAR && !strcmp(g->v->text, "pt"))
        return put_text(t, "data.format", "text", e);
    if (g->v->kind == YAML_SCALAR && !strcmp(g->v->text, "sft")) return 0;
    return refuse(t, g, e,
                  "found %s: lorac trains on answers (sft) or texts (pt) and not on "
                  "preferences",
                  g->v->kind == YAML_SCALAR ? err_quotez(g->v->text) : "a list");
}

static const char only_lora[] = "lora; lorac trains LoRA adapters and no other weights";

static const struct row rows[] = {
    { "model_name_or_path", read_model, "model.path", NULL },
    { "model", read_model, "model.path", NULL },
    { "stage", read_stage, "", NULL },
    { "finetuning_type", read_only, only_lora, NULL },
    { "peft_config.name", read_only, only_lora, NULL },
    { "do_train", read_known, "true; 'lorac train' trains, 'lorac eval' evaluates", NULL },
    { "dataset", read_names, "train", NULL },
    { "train_dataset", read_names, "train", NULL },
    { "eval_dataset", read_names, "validation", NULL },
    { "dataset_dir", NULL, NULL, NULL },
    { "template", read_template, "data.template", NULL },
    { "cutoff_len", read_copy, "data.max_length", "2048" },
    { "excess_length", read_overlong, "data.overlong", "truncate" },
    { "val_size", read_held_out, "data.validation", NULL },
    { "train_on_prompt", read_if_true, "data.train_on=everything", NULL },
    { "mask_history", read_if_true, "data.train_on=last_response", NULL },
    { "lora_target", read_modules, "adapter.target_modules", NULL },
    { "peft_config.target_modules", read_modules, "adapter.target_modules", NULL },
    { "adapter_name_or_path", read_local, "adapter.init_from", NULL },
    { "peft_config.adapter_name_or_path", read_local, "adapter.init_from", NULL },
    { "per_device_train_batch_size", read_factor, "train.batch_size", NULL },
    { "gradient_accumulation_steps", read_factor, "train.batch_size", NULL },
    { "micro_batch_size", read_factor, "train.batch_size", NULL },
    { "learning_rate", read_copy, "train.learning_rate", "5.0e-5" },
    TRAINING_ARGUMENTS,
    { NULL, NULL, NULL, NULL },
};

/* What LLaMA-Factory computes from other keys. */
static int finish(struct translation *t, struct err *e)
{
    char alpha[32];
    int code = 0;
    if (!text_at(t, "per_device_train_batch_size") && !text_at(t, "micro_batch_size"))
        multiply_batch(t, "per_device_train_batch_size", 8, true);
    if (!t->set[CONFIG_KEY_adapter_r]) {
        code = put_text(t, "adapter.r", "8", e);
        remark(t, "adapter.r", "LLaMA-Factory's default");
    }
    if (!code && !t->set[CONFIG_KEY_adapter_lora_alpha]) {
        snprintf(alpha, sizeof alpha, "%lld", (long long)(2 * t->to.adapter.r));
        code = put_text(t, "adapter.lora_alpha", alpha, e);
        remark(t, "adapter.lora_alpha", "LLaMA-Factory's default, 2 x lora_rank");
    }
    return code;
}

static const char *const signs[] = {
    "stage",    "finetuning_type", "lora_rank",     "lora_target", "cutoff_len",  "dataset_dir",
    "template", "peft_config",     "kernel_config", "dist_config", "model_class", NULL,
};

const struct trainer trainer_llamafactory = {
    .name = "LLaMA-Factory", .signs = signs, .rows = rows, .finish = finish
};
