/* inspect for JSON: one document, or a record on each line. */
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/commands/inspect.h"
#include "src/formats/foreign.h"

enum { JSON_BYTES = 1 << 24 };

static const char records_remedy[] =
    "name it in data.train; see its records with lorac data show CONFIG.yaml";

/* ---- documents, by the keys they have -------------------------------------------------------- */

static int add_peft(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    struct peft_config c;
    (void)o;
    int code = peft_config_read_file(&c, path, e);
    if (code) return code;
    facts_text(f, "kind", "configuration of an adapter (PEFT)");
    inspect_add_peft(f, &c);
    facts_text(f, "base_model", c.base_model);
    peft_config_free(&c);
    if (inspect_beside(path, "adapter_model.safetensors")) {
        inspect_add_use(f, path, "the adapter is its directory");
    } else {
        facts_check(f, VERDICT_NOTE, "use", "put its adapter_model.safetensors beside it",
                    "the weights are not here");
    }
    return 0;
}

static int add_mlx(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    (void)o, (void)path, (void)e;
    inspect_unusable(f, "configuration of an MLX adapter", foreign_mlx.remedy);
    return 0;
}

static int add_run(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    char dir[PATH_BYTES];
    (void)o;
    inspect_directory_of(dir, path);
    return inspect_run(f, dir, e);
}

static int add_notes(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    static const char *const keys[] = { "template",    "train_on",     "compute",
                                        "base_model",  "base_sha256",  "base_fingerprint",
                                        "data_sha256", "lorac_version" };
    (void)e;
    facts_text(f, "kind", "lorac's notes about an adapter or a merged model (lorac.json)");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        facts_text(f, keys[i], json_string_value(json_object_get(o, keys[i])));
    inspect_add_use(f, path, "they belong to its directory");
    return 0;
}

static int add_model(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    struct dims s;
    struct err why;
    (void)o, (void)e;
    facts_text(f, "kind", "configuration of a model (Hugging Face)");
    if (dims_from_config(&s, path, &why)) {
        facts_check(f, VERDICT_PROBLEM, "model", NULL, "%s", why.msg);
        return 0;
    }
    inspect_add_shape(f, &s);
    inspect_add_use(f, path, "the model is its directory");
    return 0;
}

static int add_index(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    (void)e;
    facts_text(f, "kind", "list of a model's shards (Hugging Face)");
    facts_count(f, "tensors", json_object_size(json_object_get(o, "weight_map")));
    inspect_add_use(f, path, "the model is its directory");
    return 0;
}

static int add_meta(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    (void)o, (void)path, (void)e;
    inspect_unusable(f, "configuration of a model (Meta's params.json)",
                     "convert the model with transformers' convert_llama_weights_to_hf.py");
    return 0;
}

static int add_part(struct facts *f, const char *kind, const char *what, const char *path)
{
    facts_text(f, "kind", kind);
    inspect_add_use(f, path, what);
    return 0;
}

static int add_tokenizer_config(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    (void)o, (void)e;
    return add_part(f, "settings of a tokenizer (Hugging Face)",
                    "they are read with the tokenizer of its directory", path);
}

static int add_generation(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    (void)o, (void)e;
    return add_part(f, "settings of generation (Hugging Face)",
                    "its eos_token_id is read with the tokenizer of its directory", path);
}

static int add_trainer(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    (void)o, (void)path, (void)e;
    inspect_unusable(f, "state of transformers' Trainer",
                     "the adapter that it saved is the directory with adapter_config.json");
    return 0;
}

/* The first row whose key the document has decides. */
static const struct {
    const char *key;
    int (*add)(struct facts *f, const json_t *o, const char *path, struct err *e);
} documents[] = {
    { "peft_type", add_peft },
    { "swift_type", add_peft },
    { "fine_tune_type", add_mlx },
    { "lora_parameters", add_mlx },
    { "sessions", add_run },
    { "lorac_version", add_notes },
    { "weight_map", add_index },
    { "log_history", add_trainer },
    { "architectures", add_model },
    { "num_hidden_layers", add_model },
    { "n_layers", add_meta },
    { "tokenizer_class", add_tokenizer_config },
    { "added_tokens_decoder", add_tokenizer_config },
    { "chat_template", add_tokenizer_config },
    { "bos_token", add_tokenizer_config },
    { "unk_token", add_tokenizer_config },
    { "bos_token_id", add_generation },
    { "eos_token_id", add_generation },
};

static int add_document(struct facts *f, const json_t *o, const char *path, struct err *e)
{
    if (json_object_get(json_object_get(o, "model"), "vocab")) return inspect_tokenizer(f, path, e);
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++)
        if (json_object_get(o, documents[i].key)) return documents[i].add(f, o, path, e);
    if (json_is_array(o)) {
        inspect_unusable(f, "records (a JSON list)", records_remedy);
    } else if (json_is_array(json_object_get(o, "vocab")) && json_object_get(o, "config")) {
        inspect_unusable(f, "a tokenizer of Mistral's own form (tekken.json)",
                         "use the tokenizer.json of the Hugging Face release");
    } else {
        inspect_unusable(f, "JSON of a kind that lorac does not know", NULL);
    }
    return 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int add_metrics(struct facts *f, const char *path, struct err *e)
{
    struct str text = { 0 };
    size_t lines = 0;
    json_t *last = NULL;
    struct err none;
    int code = file_read(&text, path, (size_t)1 << 30, e);
    for (const char *at = text.p; !code && at && *at;) {
        size_t n = strcspn(at, "\n");
        json_t *o = json_parse(at, n, JSON_DUP_LAST_WINS, path, &none);
        if (o && json_object_get(o, "loss")) {
            lines++;
            json_decref(last);
            last = json_incref(o);
        }
        json_decref(o);
        at += n + (at[n] == '\n');
    }
    if (!code) {
        double loss = json_number_value(json_object_get(last, "loss"));
        facts_text(f, "kind", "metrics of a run");
        facts_count(f, "steps", lines);
        facts_count(f, "last_step", (uint64_t)json_integer_value(json_object_get(last, "step")));
        if (last) facts_add(f, "last_loss", json_real(loss), "%g", loss);
        inspect_add_use(f, path, "the run is its directory");
    }
    json_decref(last);
    str_free(&text);
    return code;
}

/* A run begins with a step or, before it, with an evaluation. */
static bool is_metrics(const json_t *line)
{
    return json_object_get(line, "step") &&
           (json_object_get(line, "tokens_computed") || json_object_get(line, "eval_loss"));
}

/* The first line is a whole object: each line is one. */
static int add_lines(struct facts *f, const char *path, const json_t *first, struct err *e)
{
    if (is_metrics(first)) return add_metrics(f, path, e);
    inspect_unusable(f, "records (JSON lines)", records_remedy);
    return 0;
}

/* A tokenizer.json is left to its own reader: it is large, and that reader knows its limits. */
static bool is_tokenizer(const char *head, size_t n, const char *path)
{
    char text[4096];
    size_t most = n < sizeof text - 1 ? n : sizeof text - 1;
    memcpy(text, head, most);
    text[most] = 0;
    return strcmp(path_base(path), "tokenizer.json") == 0 ||
           (strstr(text, "\"added_tokens\"") && strstr(text, "\"version\"") &&
            strstr(text, "\"truncation\""));
}

int inspect_json(struct facts *f, const char *path, const char *head, size_t n, bool *handled,
                 struct err *e)
{
    struct err none;
    size_t at = n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < n && strchr(" \t\r\n", head[at]) && head[at]) at++;
    *handled = at < n && (head[at] == '{' || head[at] == '[');
    if (!*handled) return 0;
    if (is_tokenizer(head, n, path)) return inspect_tokenizer(f, path, e);
    const char *end = memchr(head + at, '\n', n - at);
    json_t *first = end && head[at] == '{' ? json_parse(head + at, (size_t)(end - head) - at,
                                                        JSON_DUP_LAST_WINS, path, &none)
                                           : NULL;
    if (first) {
        /* a document on one line, with a line feed at its end, is a document */
        bool more = (size_t)(end - head) + 1 < n || is_metrics(first);
        int code = more ? add_lines(f, path, first, e) : add_document(f, first, path, e);
        json_decref(first);
        return code;
    }
    json_t *o = json_read(path, JSON_BYTES, e);
    if (!o && head[at] == '[') {
        inspect_unusable(f, "records (a JSON list)", records_remedy);
        return 0;
    }
    if (!o) return e->code;
    int code = add_document(f, o, path, e);
    json_decref(o);
    return code;
}
