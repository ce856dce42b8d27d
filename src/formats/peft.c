#include "src/formats/peft.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/utf8.h"

enum {
    CONFIG_MOST = 1 << 20,
    R_MOST = 1 << 20,     /* far above any hidden size */
    PATTERN_MOST = 1000,  /* bytes of a regular expression */
    PATTERNS_MOST = 2048, /* more than a 70B model has matrices */
    MATCH_MOST = 10000,   /* steps of one match, so that no pattern hangs us */
    NAME_BYTES = 256,     /* of a tensor's name */
};

static const char config_name[] = "adapter_config.json", model_name[] = "adapter_model.safetensors";
static const char prefix[] = "base_model.model."; /* of every tensor */

/* What PEFT's "all-linear" means for Llama, sorted. */
static const char *const llama_linear[] = { "down_proj", "gate_proj", "k_proj", "o_proj",
                                            "q_proj",    "up_proj",   "v_proj" };
/* What PEFT takes for Llama when target_modules is absent. */
static const char *const llama_default[] = { "q_proj", "v_proj" };

/* ---- the configuration ----------------------------------------------------------------------- */

/* The keys that are read below, or that say nothing about the result. */
static const char *const known_keys[] = {
    "peft_type",
    "task_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "target_modules",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "init_lora_weights",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "auto_mapping",
    "peft_version",
    "runtime_config",
    "megatron_core",     /* names a package; used only with megatron_config */
    "qalora_group_size", /* used only with use_qalora */
    "eva_config",        /* used only to compute A's first values */
};

/* Initialisations that leave the base model alone. The others (pissa, olora, corda, loftq, lora_ga)
 * move a part of it into the adapter, and PEFT's loader repeats that. */
static const char *const plain_inits[] = { "gaussian", "eva", "orthogonal", "mica" };

/* A value as it may be shown in a message. */
static const char *shown(const json_t *v)
{
    char text[80];
    if (json_is_string(v)) return err_quote(json_string_value(v), json_string_length(v));
    size_t n = json_dumpb(v, text, sizeof text, JSON_ENCODE_ANY | JSON_COMPACT);
    return n <= sizeof text ? err_quote(text, n) : json_kind(v);
}

static bool is_empty(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

static bool listed(const char *const *texts, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(texts[i], text) == 0) return true;
    }
    return false;
}
#define LISTED(texts, text) listed(texts, sizeof(texts) / sizeof(texts)[0], text)

static int refuse_unknown(json_t *root, const char *where, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach(root, key, v)
    {
        if (LISTED(known_keys, key) || is_empty(v)) continue;
        return err_set(e,
                       "%s: %s: found %s, wanted null, false or nothing: lorac does not support "
                       "this setting",
                       where, err_quotez(key), shown(v));
    }
    return 0;
}

static int wanted(const json_t *v, const char *key, const char *what, const char *where,
                  struct err *e)
{
    return err_set(e, "%s: %s: found %s, wanted %s", where, key, v ? shown(v) : "nothing", what);
}

static int check_text(const json_t *root, const char *key, const char *value, bool required,
                      const char *where, struct err *e)
{
    const json_t *v = json_object_get(root, key);
    if (!required && (!v || json_is_null(v))) return 0;
    const char *text = json_string_value(v);
    return text && strcmp(text, value) == 0 ? 0 : wanted(v, key, err_quotez(value), where, e);
}

static int check_init(const json_t *root, const char *where, struct err *e)
{
    static const char key[] = "init_lora_weights";
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v) || json_is_boolean(v)) return 0;
    const char *text = json_string_value(v);
    if (text && strcasecmp(text, plain_inits[0]) == 0) return 0;
    if (text && LISTED(plain_inits, text)) return 0;
    return wanted(v, key,
                  "true or \"gaussian\": others change the base model; let PEFT convert the "
                  "adapter (save_pretrained with path_initial_model_for_weight_conversion)",
                  where, e);
}

static int copy_targets(struct peft_config *c, const char *const *names, size_t n, struct err *e)
{
    c->target_modules = mem_alloc(n, sizeof *c->target_modules, e);
    if (!c->target_modules) return e->code;
    for (; c->n_targets < n; c->n_targets++) {
        char *copy = mem_strdup(names[c->n_targets], e);
        if (!copy) return e->code;
        c->target_modules[c->n_targets] = copy;
    }
    return 0;
}

static int read_target_list(struct peft_config *c, const json_t *v, const char *where,
                            struct err *e)
{
    static const char key[] = "target_modules", what[] = "a list of names";
    size_t n = json_array_size(v);
    if (n == 0) return wanted(v, key, "a list with at least one name", where, e);
    const char **names = mem_alloc(n, sizeof *names, e);
    if (!names) return e->code;
    int code = 0;
    for (size_t i = 0; i < n && !code; i++) {
        const json_t *item = json_array_get(v, i);
        names[i] = json_string_value(item);
        bool fine = names[i] && *names[i] && strlen(names[i]) == json_string_length(item);
        if (!fine) code = wanted(item, key, what, where, e);
    }
    if (!code) code = copy_targets(c, names, n, e);
    mem_free(names);
    return code;
}

static int read_targets(struct peft_config *c, const json_t *root, const char *where, struct err *e)
{
    static const char key[] = "target_modules";
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return copy_targets(c, llama_default, 2, e);
    if (json_is_array(v)) return read_target_list(c, v, where, e);
    const char *text = json_string_value(v);
    c->all_linear = text && strcasecmp(text, "all-linear") == 0;
    if (c->all_linear) return 0;
    return wanted(v, key,
                  "a list of names or \"all-linear\" (regular expressions are not "
                  "supported; list the modules)",
                  where, e);
}

/* Compile PEFT's (.*\.)?(KEY)$, matched from the start of a module's path. */
static int compile(struct peft_pattern *p, const char *key, const char *where, struct err *e)
{
    size_t n = strlen(p->key);
    if (n > PATTERN_MOST) {
        return err_set(e, "%s: %s: found a pattern of %zu bytes, wanted at most %d", where, key, n,
                       PATTERN_MOST);
    }
    char text[PATTERN_MOST + 16];
    snprintf(text, sizeof text, "(.*\\.)?(%s)$", p->key);
    int number;
    PCRE2_SIZE at;
    p->regex = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED, &number, &at,
                             NULL);
    if (p->regex) return 0;
    char why[128] = "";
    pcre2_get_error_message(number, (PCRE2_UCHAR *)why, sizeof why);
    return err_set(e, "%s: %s: found %s, wanted a regular expression: %s", where, key,
                   err_quotez(p->key), why);
}

static int read_patterns(struct peft_pattern **patterns, size_t *n, const json_t *root,
                         const char *key, bool ranks, const char *where, struct err *e)
{
    json_t *object = json_object_get(root, key), *v;
    if (!object || is_empty(object)) return 0;
    if (!json_is_object(object)) return wanted(object, key, "an object", where, e);
    if (json_object_size(object) > PATTERNS_MOST) {
        return err_set(e, "%s: %s: found %zu patterns, wanted at most %d", where, key,
                       json_object_size(object), PATTERNS_MOST);
    }
    *patterns = mem_alloc(json_object_size(object), sizeof **patterns, e);
    if (!*patterns) return e->code;
    const char *text;
    json_object_foreach(object, text, v)
    {
        bool fine = ranks ? json_is_integer(v) && json_integer_value(v) >= 1 &&
                                json_integer_value(v) <= R_MOST
                          : json_number_value(v) > 0;
        if (!fine) {
            return wanted(v, key, ranks ? "ranks of 1 or more" : "positive numbers", where, e);
        }
        struct peft_pattern *p = &(*patterns)[*n];
        p->value = json_number_value(v);
        p->key = mem_strdup(text, e);
        if (!p->key) return e->code;
        ++*n;
        int code = compile(p, key, where, e);
        if (code) return code;
    }
    return 0;
}

static int read_numbers(struct peft_config *c, const json_t *root, const char *where, struct err *e)
{
    int code = json_get_size(&c->r, root, "r", where, e);
    if (!code) code = json_get_double(&c->lora_alpha, root, "lora_alpha", where, e);
    if (!code) code = json_get_double(&c->lora_dropout, root, "lora_dropout", where, e);
    if (!code) code = json_get_bool(&c->use_rslora, root, "use_rslora", where, e);
    if (code) return code;
    if (c->r < 1 || c->r > R_MOST) {
        return err_set(e, "%s: r: found %zu, wanted 1 to %d", where, c->r, R_MOST);
    }
    if (!(c->lora_dropout >= 0 && c->lora_dropout <= 1)) {
        return err_set(e, "%s: lora_dropout: found %g, wanted 0 to 1", where, c->lora_dropout);
    }
    return 0;
}

static int read_base(struct peft_config *c, const json_t *root, const char *where, struct err *e)
{
    const char *base = NULL;
    int code = json_get_string(&base, root, "base_model_name_or_path", where, e);
    if (code || !base) return code;
    c->base_model = mem_strdup(base, e);
    return c->base_model ? 0 : e->code;
}

static int read_config(struct peft_config *c, json_t *root, const char *where, struct err *e)
{
    if (!json_is_object(root)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(root));
    }
    int code = check_text(root, "peft_type", "LORA", true, where, e);
    if (!code) code = check_text(root, "task_type", "CAUSAL_LM", false, where, e);
    if (!code) code = check_text(root, "bias", "none", false, where, e);
    if (!code) code = check_init(root, where, e);
    if (!code) code = refuse_unknown(root, where, e);
    if (!code) code = read_numbers(c, root, where, e);
    if (!code) code = read_targets(c, root, where, e);
    if (!code) code = read_base(c, root, where, e);
    if (!code) {
        code = read_patterns(&c->rank_pattern, &c->n_rank, root, "rank_pattern", true, where, e);
    }
    if (!code) {
        code = read_patterns(&c->alpha_pattern, &c->n_alpha, root, "alpha_pattern", false, where,
                             e);
    }
    return code;
}

int peft_config_read(struct peft_config *c, const char *dir, struct err *e)
{
    *c = (struct peft_config){ .r = 8, .lora_alpha = 8 };
    char path[PATH_BYTES];
    int code = path_join(path, dir, config_name, e);
    if (code) return code;
    if (!file_exists(path)) {
        return err_set(e, "%s: found no %s, wanted a directory that PEFT saved", dir, config_name);
    }
    json_t *root = json_read(path, CONFIG_MOST, e);
    c->path = root ? mem_strdup(path, e) : NULL;
    code = c->path ? read_config(c, root, path, e) : e->code;
    json_decref(root);
    if (code) peft_config_free(c);
    return code;
}

static void free_text(const char *text)
{
    mem_free((void *)(uintptr_t)text);
}

static void free_patterns(struct peft_pattern *patterns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free_text(patterns[i].key);
        pcre2_code_free(patterns[i].regex);
    }
    mem_free(patterns);
}

void peft_config_free(struct peft_config *c)
{
    for (size_t i = 0; i < c->n_targets; i++) free_text(c->target_modules[i]);
    mem_free(c->path);
    mem_free((void *)c->target_modules);
    free_text(c->base_model);
    free_patterns(c->rank_pattern, c->n_rank);
    free_patterns(c->alpha_pattern, c->n_alpha);
    *c = (struct peft_config){ 0 };
}

/* ---- which modules, which rank, which scale -------------------------------------------------- */

/* PEFT's rule: `end` is the path or what follows one of its dots. */
static bool path_ends(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    if (m > n || strcmp(path + n - m, end) != 0) return false;
    return m == n || path[n - m - 1] == '.';
}

bool peft_targets(const struct peft_config *c, const char *module)
{
    if (c->all_linear) {
        for (size_t i = 0; i < sizeof llama_linear / sizeof llama_linear[0]; i++) {
            if (path_ends(module, llama_linear[i])) return true;
        }
    }
    for (size_t i = 0; i < c->n_targets; i++) {
        if (path_ends(module, c->target_modules[i])) return true;
    }
    return false;
}

/* *value = that of the first pattern that matches. */
static int match(double *value, const struct peft_config *c, const struct peft_pattern *patterns,
                 size_t n, const char *module, struct err *e)
{
    pcre2_match_context *limits = n ? pcre2_match_context_create(NULL) : NULL;
    pcre2_match_data *data = limits ? pcre2_match_data_create(1, NULL) : NULL;
    int code = n && !data ? err_set(e, "out of memory: a pattern of an adapter") : 0;
    if (limits) pcre2_set_match_limit(limits, MATCH_MOST);
    for (size_t i = 0; i < n && !code; i++) {
        int found = pcre2_match(patterns[i].regex, (PCRE2_SPTR)module, strlen(module), 0, 0, data,
                                limits);
        if (found >= 0) {
            *value = patterns[i].value;
            break;
        }
        if (found != PCRE2_ERROR_NOMATCH) {
            code = err_set(e, "%s: the pattern %s takes too long to match", c->path,
                           err_quotez(patterns[i].key));
        }
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    return code;
}

int peft_rank_alpha(size_t *r, double *alpha, const struct peft_config *c, const char *module,
                    struct err *e)
{
    double rank = (double)c->r;
    *alpha = c->lora_alpha;
    int code = match(&rank, c, c->rank_pattern, c->n_rank, module, e);
    if (!code) code = match(alpha, c, c->alpha_pattern, c->n_alpha, module, e);
    *r = (size_t)rank;
    return code;
}

double peft_scale(const struct peft_config *c, size_t r, double alpha)
{
    return c->use_rslora ? alpha / sqrt((double)r) : alpha / (double)r;
}

/* ---- the tensors ----------------------------------------------------------------------------- */

static int open_tensors(struct peft *p, const char *dir, struct err *e)
{
    char path[PATH_BYTES], bin[PATH_BYTES];
    int code = path_join(path, dir, model_name, e);
    if (!code) code = path_join(bin, dir, "adapter_model.bin", e);
    if (code) return code;
    if (!file_exists(path) && file_exists(bin)) {
        return err_set(e,
                       "%s: found adapter_model.bin, which may hold programs, wanted %s; save the "
                       "adapter with a current PEFT (save_pretrained)",
                       dir, model_name);
    }
    p->path = mem_strdup(path, e);
    code = p->path ? safetensors_open(&p->file, path, e) : e->code;
    if (code) return code;
    p->read = mem_alloc(p->file.n, sizeof *p->read, e);
    return p->read ? 0 : e->code;
}

int peft_open(struct peft *p, const char *dir, struct err *e)
{
    *p = (struct peft){ 0 };
    int code = peft_config_read(&p->config, dir, e);
    if (!code) code = open_tensors(p, dir, e);
    if (code) peft_close(p);
    return code;
}

void peft_close(struct peft *p)
{
    peft_config_free(&p->config);
    safetensors_close(&p->file);
    mem_free(p->read);
    mem_free(p->path);
    *p = (struct peft){ 0 };
}

static void part_name(char out[NAME_BYTES], const char *module, enum peft_part part)
{
    int n = snprintf(out, NAME_BYTES, "%s%s.lora_%c.weight", prefix, module,
                     part == PEFT_A ? 'A' : 'B');
    CHECK(n > 0 && n < NAME_BYTES);
}

bool peft_has(const struct peft *p, const char *module)
{
    char a[NAME_BYTES], b[NAME_BYTES];
    part_name(a, module, PEFT_A);
    part_name(b, module, PEFT_B);
    return safetensors_find(&p->file, a) || safetensors_find(&p->file, b);
}

int peft_tensor(const struct tensor **t, struct peft *p, const char *module, enum peft_part part,
                size_t rows, size_t cols, struct err *e)
{
    char name[NAME_BYTES];
    part_name(name, module, part);
    *t = safetensors_find(&p->file, name);
    if (!*t) return err_set(e, "%s: tensor %s is missing", p->path, name);
    p->read[*t - p->file.tensors] = true;
    if ((*t)->type == DTYPE_OTHER) {
        return err_set(e, "%s: tensor %s: found type %s, wanted F32, F16 or BF16", p->path, name,
                       (*t)->type_name);
    }
    if ((*t)->rank == 2 && (*t)->dims[0] == rows && (*t)->dims[1] == cols) return 0;
    char shape[TENSOR_RANK * 22] = "";
    size_t n = 0;
    for (unsigned i = 0; i < (*t)->rank; i++) {
        n += (size_t)snprintf(shape + n, sizeof shape - n, i ? ", %zu" : "%zu",
                              (size_t)(*t)->dims[i]);
    }
    return err_set(e, "%s: tensor %s: found shape (%s), wanted (%zu, %zu)", p->path, name, shape,
                   rows, cols);
}

int peft_check_all_read(const struct peft *p, struct err *e)
{
    size_t skip = sizeof prefix - 1;
    for (size_t i = 0; i < p->file.n; i++) {
        if (p->read[i]) continue;
        const char *name = p->file.tensors[i].name;
        bool usual = strncmp(name, prefix, skip) == 0; /* quotes hold too little for it all */
        return err_set(e, "%s: tensor %s%s: does not belong to a LoRA adapter of this model",
                       p->path, usual ? prefix : "", err_quotez(usual ? name + skip : name));
    }
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A number as Python's json writes it: 16, 0.05; `point` keeps it in 0.0. */
static void add_number(struct str *s, double v, bool point)
{
    if (v == floor(v) && fabs(v) < 1e15)
        str_addf(s, point ? "%.1f" : "%.0f", v);
    else
        json_add_double(s, v);
}

static void add_patterns(struct str *s, const char *key, const struct peft_pattern *p, size_t n)
{
    if (n == 0) return;
    str_addf(s, "  \"%s\": {", key);
    for (size_t i = 0; i < n; i++) {
        str_addz(s, i ? ",\n    " : "\n    ");
        json_add_string(s, p[i].key, strlen(p[i].key));
        str_addz(s, ": ");
        add_number(s, p[i].value, false);
    }
    str_addz(s, "\n  },\n");
}

static int add_targets(struct str *s, const struct peft_config *c, struct err *e)
{
    size_t n = c->all_linear ? sizeof llama_linear / sizeof llama_linear[0] : c->n_targets;
    CHECK(n > 0);
    const char **names = mem_alloc(n, sizeof *names, e);
    if (!names) return e->code;
    for (size_t i = 0; i < n; i++)
        names[i] = c->all_linear ? llama_linear[i] : c->target_modules[i];
    qsort(names, n, sizeof *names, by_text);
    str_addz(s, "  \"target_modules\": [");
    for (size_t i = 0; i < n; i++) {
        str_addz(s, i ? ",\n    " : "\n    ");
        json_add_string(s, names[i], strlen(names[i]));
    }
    str_addz(s, "\n  ],\n");
    mem_free(names);
    return 0;
}

static int config_text(struct str *s, const struct peft_config *c, struct err *e)
{
    str_addz(s, "{\n");
    add_patterns(s, "alpha_pattern", c->alpha_pattern, c->n_alpha);
    str_addz(s, "  \"base_model_name_or_path\": ");
    size_t n = c->base_model ? strlen(c->base_model) : 0, at;
    bool text = c->base_model && utf8_valid(c->base_model, n, &at);
    if (text) json_add_string(s, c->base_model, n);
    if (!text) str_addz(s, "null");
    str_addz(s, ",\n  \"bias\": \"none\",\n  \"inference_mode\": true,\n"
                "  \"init_lora_weights\": true,\n  \"lora_alpha\": ");
    add_number(s, c->lora_alpha, false);
    str_addz(s, ",\n  \"lora_dropout\": ");
    add_number(s, c->lora_dropout, true);
    str_addf(s, ",\n  \"peft_type\": \"LORA\",\n  \"r\": %zu,\n", c->r);
    add_patterns(s, "rank_pattern", c->rank_pattern, c->n_rank);
    int code = add_targets(s, c, e);
    if (code) return code;
    str_addz(s, "  \"task_type\": \"CAUSAL_LM\"");
    if (c->use_rslora) str_addz(s, ",\n  \"use_rslora\": true");
    str_addz(s, "\n}\n");
    return str_error(s, e);
}

static int write_tensors(const char *path, const struct st_entry *entries,
                         const struct peft_output *outputs, size_t n, struct err *e)
{
    struct st_writer w;
    int code = st_writer_begin(&w, path, entries, n, 0666, e);
    for (size_t i = 0; i < n && !code; i++) {
        code = st_writer_add(&w, outputs[i].data, outputs[i].rows * outputs[i].cols * 4, e);
    }
    if (!code) return st_writer_commit(&w, e);
    st_writer_abort(&w);
    return code;
}

static int write_outputs(const char *path, const struct peft_output *outputs, size_t n,
                         struct err *e)
{
    struct st_entry *entries = mem_alloc(n, sizeof *entries, e);
    char(*names)[NAME_BYTES] = mem_alloc(n, sizeof *names, e);
    for (size_t i = 0; entries && names && i < n; i++) {
        part_name(names[i], outputs[i].module, outputs[i].part);
        entries[i] =
            (struct st_entry){ names[i], DTYPE_F32, 2, { outputs[i].rows, outputs[i].cols } };
    }
    int code = entries && names ? write_tensors(path, entries, outputs, n, e) : e->code;
    mem_free(entries);
    mem_free(names);
    return code;
}

int peft_write(const char *dir, const struct peft_config *c, const struct peft_output *outputs,
               size_t n, struct err *e)
{
    char path[PATH_BYTES];
    struct str text = { 0 };
    int code = path_join(path, dir, model_name, e);
    if (!code) code = config_text(&text, c, e);
    if (!code) code = write_outputs(path, outputs, n, e);
    if (!code) code = path_join(path, dir, config_name, e);
    if (!code) code = file_replace(path, text.p, text.n, 0666, e);
    str_free(&text);
    return code;
}
