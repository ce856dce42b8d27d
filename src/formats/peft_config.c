/* adapter_config.json: which settings are read, refused or ignored, and which modules it adapts
 * with which rank and scale. */
#include "src/formats/peft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/wordlists.h"
#include "src/formats/foreign.h"
#include "src/formats/peft_match.h"

enum {
    CONFIG_MOST = 1 << 20,
    R_MOST = 1 << 20,     /* far above any hidden size */
    PATTERNS_MOST = 2048, /* more than a 70B model has matrices */
    CHOICES_MOST = 64,    /* of modules_to_save, layers_pattern */
    LAYERS_MOST = 4096,
};

static const char config_name[] = "adapter_config.json";

/* PEFT's choice for Llama when target_modules is absent. */
static const char *const llama_default[] = { "q_proj", "v_proj" };
/* How the layer of a path is found if layers_pattern is absent. */
static const char default_layers_pattern[] = "[^.]*";

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
    "exclude_modules",
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "fan_in_fan_out",
    "init_lora_weights",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "auto_mapping",
    "peft_version",
    "runtime_config",
    "megatron_core",       /* names a package; used only with megatron_config */
    "qalora_group_size",   /* used only with use_qalora */
    "eva_config",          /* used only to compute A's first values */
    "corda_config",        /* the same, with an init_lora_weights that is refused */
    "lora_ga_config",      /* the same */
    "ensure_weight_tying", /* of trained embeddings, which are refused */
    "merge_weights",       /* PEFT 0.1: when to merge */
    "swift_type",          /* ms-swift: the same as peft_type */
    "lora_dtype",          /* ms-swift: what the tensors are stored as */
    "lorap_lr_ratio",      /* ms-swift: learning rates */
    "lorap_emb_lr",        /* the same */
    "lr_ratio",            /* the same, of earlier versions */
    "unsloth_fixed",       /* unsloth: which program loaded the base */
    "unsloth_version",     /* the same */
    "parent_library",      /* the same */
};

/* Initialisations that do not change the base model. The others (pissa, olora, corda, loftq,
 * lora_ga) move a part of it into the adapter, and PEFT's loader repeats that. */
static const char *const plain_inits[] = { "gaussian", "eva", "orthogonal", "mica" };

/* A value in a form that a message may show. */
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

/* The key must be absent or have the value. */
static int check_text(const json_t *root, const char *key, const char *value, const char *where,
                      struct err *e)
{
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return 0;
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

static int copy_names(const char ***to, size_t *count, const char *const *names, size_t n,
                      struct err *e)
{
    *to = mem_alloc(n, sizeof **to, e);
    if (!*to) return e->code;
    for (*count = 0; *count < n; ++*count) {
        char *copy = mem_strdup(names[*count], e);
        if (!copy) return e->code;
        (*to)[*count] = copy;
    }
    return 0;
}

/* A list of names that are not empty. */
static int read_names(const char ***to, size_t *count, const json_t *v, const char *key,
                      const char *where, struct err *e)
{
    size_t n = json_array_size(v);
    const char **names = mem_alloc(n, sizeof *names, e);
    if (!names) return e->code;
    int code = 0;
    for (size_t i = 0; i < n && !code; i++) {
        const json_t *item = json_array_get(v, i);
        names[i] = json_string_value(item);
        bool fine = names[i] && *names[i] && strlen(names[i]) == json_string_length(item);
        if (!fine) code = wanted(item, key, "a list of names", where, e);
    }
    if (!code) code = copy_names(to, count, names, n, e);
    mem_free(names);
    return code;
}

/* Compile a JSON text as a regular expression; it must not have a NUL inside. */
static int read_regex(struct peft_pattern *p, const json_t *v, enum peft_anchor anchor,
                      const char *key, const char *where, struct err *e)
{
    const char *text = json_string_value(v);
    if (!text || strlen(text) != json_string_length(v)) {
        return wanted(v, key, "a regular expression", where, e);
    }
    return peft_pattern_compile(p, text, anchor, key, where, e);
}

static int read_targets(struct peft_config *c, const json_t *root, const char *where, struct err *e)
{
    static const char key[] = "target_modules";
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v))
        return copy_names(&c->target_modules, &c->n_targets, llama_default, 2, e);
    if (json_is_array(v) && json_array_size(v)) {
        return read_names(&c->target_modules, &c->n_targets, v, key, where, e);
    }
    if (json_is_array(v)) return wanted(v, key, "a list with at least one name", where, e);
    const char *text = json_string_value(v);
    c->all_linear = text && strcasecmp(text, "all-linear") == 0;
    if (c->all_linear) return 0;
    if (!text || !*text) {
        return wanted(v, key, "a list of names, a regular expression or \"all-linear\"", where, e);
    }
    return read_regex(&c->target_regex, v, PEFT_WHOLE, key, where, e);
}

static int read_exclude(struct peft_config *c, const json_t *root, const char *where, struct err *e)
{
    static const char key[] = "exclude_modules";
    const json_t *v = json_object_get(root, key);
    if (!v || is_empty(v)) return 0;
    if (json_is_array(v)) return read_names(&c->exclude.names, &c->exclude.n, v, key, where, e);
    if (json_is_string(v)) return read_regex(&c->exclude.regex, v, PEFT_WHOLE, key, where, e);
    return wanted(v, key, "a list of names or a regular expression", where, e);
}

/* A list of regular expressions, or one. */
static int read_regexes(struct peft_pattern **to, size_t *count, const json_t *root,
                        const char *key, enum peft_anchor anchor, const char *where, struct err *e)
{
    const json_t *v = json_object_get(root, key);
    if (!v || is_empty(v)) return 0;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > CHOICES_MOST) {
        return err_set(e, "%s: %s: found %zu names, wanted at most %d", where, key, n,
                       CHOICES_MOST);
    }
    *to = mem_alloc(n, sizeof **to, e);
    int code = *to ? 0 : e->code;
    for (size_t i = 0; i < n && !code; i++) {
        ++*count;
        code = read_regex(&(*to)[i], json_is_array(v) ? json_array_get(v, i) : v, anchor, key,
                          where, e);
    }
    return code;
}

static int read_layers(struct peft_config *c, const json_t *root, const char *where, struct err *e)
{
    static const char key[] = "layers_to_transform", what[] = "a layer's number, or a list of them";
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v) || (json_is_array(v) && !json_array_size(v))) return 0;
    bool list = json_is_array(v);
    size_t n = list ? json_array_size(v) : 1;
    if (n > LAYERS_MOST) return wanted(v, key, what, where, e);
    c->layers = mem_alloc(n, sizeof *c->layers, e);
    if (!c->layers) return e->code;
    for (; c->n_layers < n; c->n_layers++) {
        const json_t *item = list ? json_array_get(v, c->n_layers) : v;
        if (!json_is_integer(item)) return wanted(item, key, what, where, e);
        c->layers[c->n_layers] = json_integer_value(item);
    }
    if (!c->all_linear && !c->target_regex.key) return 0;
    return wanted(v, key,
                  "nothing with a target_modules that is one text: PEFT does not load "
                  "that either",
                  where, e);
}

static int read_layers_pattern(struct peft_config *c, const json_t *root, const char *where,
                               struct err *e)
{
    int code = read_regexes(&c->layers_pattern, &c->n_layers_pattern, root, "layers_pattern",
                            PEFT_LAYER, where, e);
    if (code || c->n_layers_pattern || !c->n_layers) return code;
    c->layers_pattern = mem_alloc(1, sizeof *c->layers_pattern, e);
    if (!c->layers_pattern) return e->code;
    c->n_layers_pattern = 1;
    return peft_pattern_compile(c->layers_pattern, default_layers_pattern, PEFT_LAYER,
                                "layers_pattern", where, e);
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
        ++*n;
        int code = peft_pattern_compile(p, text, PEFT_TAIL, key, where, e);
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
    if (!code) code = json_get_bool(&c->fan_in_fan_out, root, "fan_in_fan_out", where, e);
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

/* It must be LoRA by peft_type, or by ms-swift's swift_type; else the error says what it is. */
static int check_type(const json_t *root, const char *where, struct err *e)
{
    const char *key = json_has(root, "peft_type") || !json_has(root, "swift_type") ? "peft_type"
                                                                                   : "swift_type";
    const json_t *v = json_object_get(root, key);
    const char *type = json_string_value(v);
    if (type && strcmp(type, "LORA") == 0) return 0;
    const struct foreign *is = type ? foreign_peft_type(type) : NULL;
    if (is) {
        return err_set(e, "%s: %s: found %s, wanted \"LORA\": it is %s; %s", where, key,
                       err_quotez(type), is->what, is->remedy);
    }
    if (!json_has(root, key) &&
        (json_has(root, "fine_tune_type") || json_has(root, foreign_mlx.sign) ||
         json_has(root, "lora_layers"))) {
        return err_set(e,
                       "%s: peft_type: found nothing, wanted \"LORA\": it is the configuration "
                       "of %s; %s",
                       where, foreign_mlx.what, foreign_mlx.remedy);
    }
    return wanted(v, key, "\"LORA\"", where, e);
}

static int read_modules(struct peft_config *c, json_t *root, const char *where, struct err *e)
{
    int code = read_targets(c, root, where, e);
    if (!code) code = read_exclude(c, root, where, e);
    if (!code) code = read_layers(c, root, where, e);
    if (!code) code = read_layers_pattern(c, root, where, e);
    if (!code) {
        code = read_regexes(&c->save, &c->n_save, root, "modules_to_save", PEFT_PATH, where, e);
    }
    if (!code) {
        code = read_patterns(&c->rank_pattern, &c->n_rank, root, "rank_pattern", true, where, e);
    }
    if (!code) {
        code = read_patterns(&c->alpha_pattern, &c->n_alpha, root, "alpha_pattern", false, where,
                             e);
    }
    return code;
}

static int read_config(struct peft_config *c, json_t *root, const char *where, struct err *e)
{
    if (!json_is_object(root)) {
        return err_set(e, "%s: found %s, wanted an object", where, json_kind(root));
    }
    int code = check_type(root, where, e);
    if (!code) code = check_text(root, "task_type", "CAUSAL_LM", where, e);
    if (!code) code = check_text(root, "bias", "none", where, e);
    if (!code) code = check_init(root, where, e);
    if (!code) code = refuse_unknown(root, where, e);
    if (!code) code = read_numbers(c, root, where, e);
    if (!code) code = read_modules(c, root, where, e);
    return code ? code : read_base(c, root, where, e);
}

int peft_config_read_file(struct peft_config *c, const char *path, struct err *e)
{
    *c = (struct peft_config){ .r = 8, .lora_alpha = 8 };
    json_t *root = json_read(path, CONFIG_MOST, e);
    c->path = root ? mem_strdup(path, e) : NULL;
    int code = c->path ? read_config(c, root, path, e) : e->code;
    json_decref(root);
    if (code) peft_config_free(c);
    return code;
}

/* If the directory holds adapters in subdirectories, as a run's does, say which one to name. */
static int no_config(const char *dir, struct err *e)
{
    static const char *const inner[] = { "best", "adapter" };
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        char sub[PATH_BYTES], path[PATH_BYTES];
        int code = path_join(sub, dir, inner[i], e);
        if (!code) code = path_join(path, sub, config_name, e);
        if (code) return code;
        if (!file_exists(path)) continue;
        return err_set(e, "%s: found no %s, but one in %s: name that", dir, config_name, sub);
    }
    return err_set(e, "%s: found no %s, wanted a directory that PEFT saved", dir, config_name);
}

int peft_config_read(struct peft_config *c, const char *dir, struct err *e)
{
    char path[PATH_BYTES];
    *c = (struct peft_config){ 0 };
    int code = path_join(path, dir, config_name, e);
    if (code) return code;
    if (!file_exists(path)) {
        return no_config(dir, e);
    }
    return peft_config_read_file(c, path, e);
}

static void free_names(const char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) mem_free((void *)(uintptr_t)names[i]);
    mem_free((void *)names);
}

static void free_patterns(struct peft_pattern *patterns, size_t n)
{
    for (size_t i = 0; i < n; i++) peft_pattern_free(&patterns[i]);
    mem_free(patterns);
}

void peft_config_free(struct peft_config *c)
{
    mem_free(c->path);
    mem_free((void *)(uintptr_t)c->base_model);
    free_names(c->target_modules, c->n_targets);
    peft_pattern_free(&c->target_regex);
    free_names(c->exclude.names, c->exclude.n);
    peft_pattern_free(&c->exclude.regex);
    free_patterns(c->save, c->n_save);
    mem_free(c->layers);
    free_patterns(c->layers_pattern, c->n_layers_pattern);
    free_patterns(c->rank_pattern, c->n_rank);
    free_patterns(c->alpha_pattern, c->n_alpha);
    *c = (struct peft_config){ 0 };
}

/* ---- which modules --------------------------------------------------------------------------- */

/* PEFT's rule: `end` is the whole path, or the part after one of its dots. */
static bool path_ends(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    if (m > n || strcmp(path + n - m, end) != 0) return false;
    return m == n || path[n - m - 1] == '.';
}

static bool any_ends(const char *path, const char *const *ends, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (path_ends(path, ends[i])) return true;
    }
    return false;
}

static bool any_equals(const char *path, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(path, names[i]) == 0) return true;
    }
    return false;
}

static int any_matches(bool *is, int64_t *group, const struct peft_config *c,
                       const struct peft_pattern *p, size_t n, const char *module, struct err *e)
{
    int code = 0;
    *is = false;
    for (size_t i = 0; i < n && !*is && !code; i++)
        code = peft_pattern_match(is, group, &p[i], module, c->path, e);
    return code;
}

static int is_excluded(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    const struct peft_choice *x = &c->exclude;
    *is = any_ends(module, x->names, x->n);
    int code = 0;
    if (x->regex.key) code = peft_pattern_match(is, NULL, &x->regex, module, c->path, e);
    if (!code && !*is) code = any_matches(is, NULL, c, c->save, c->n_save, module, e);
    return code;
}

/* *is = whether layers_to_transform names the module's layer. */
static int in_layers(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    int64_t layer = -1;
    int code = any_matches(is, &layer, c, c->layers_pattern, c->n_layers_pattern, module, e);
    bool has = *is;
    *is = false;
    for (size_t i = 0; !code && has && i < c->n_layers; i++) *is |= c->layers[i] == layer;
    return code;
}

int peft_targets(bool *is, const struct peft_config *c, const char *module, struct err *e)
{
    bool excluded;
    *is = false;
    int code = is_excluded(&excluded, c, module, e);
    if (code || excluded) return code;
    if (c->target_regex.key)
        return peft_pattern_match(is, NULL, &c->target_regex, module, c->path, e);
    if (c->all_linear) {
        *is = any_ends(module, module_words, MODULES);
        return 0;
    }
    *is = any_ends(module, c->target_modules, c->n_targets);
    /* a module that is named by its whole path is adapted in any layer */
    if (!*is || !c->n_layers || any_equals(module, c->target_modules, c->n_targets)) return 0;
    return in_layers(is, c, module, e);
}

/* ---- which rank, which scale ----------------------------------------------------------------- */

/* *value = the value of the first pattern that matches. */
static int match(double *value, const struct peft_config *c, const struct peft_pattern *patterns,
                 size_t n, const char *module, struct err *e)
{
    bool is = false;
    int code = 0;
    for (size_t i = 0; i < n && !code && !is; i++) {
        code = peft_pattern_match(&is, NULL, &patterns[i], module, c->path, e);
        if (is) *value = patterns[i].value;
    }
    return code;
}

int peft_r_alpha(size_t *r, double *alpha, const struct peft_config *c, const char *module,
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
