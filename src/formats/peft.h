/* PEFT's LoRA directory: adapter_config.json and adapter_model.safetensors.
 * Source: huggingface/peft, src/peft/tuners/lora/config.py, tuners/tuners_utils.py
 * (check_target_module_exists), utils/save_and_load.py, utils/other.py (get_pattern_key).
 *
 * Plain LoRA is read however it is described: target_modules as a list, "all-linear" or a regular
 * expression, layers_to_transform, layers_pattern, exclude_modules, modules_to_save (whose tensors
 * must be copies of the base's, see peft_copy()), tensor names with an adapter's name or with the
 * wrappers of torch.compile and DDP in them. Everything that would change the result and is not
 * computed here is refused, by key and value: DoRA, biases, trained embeddings, initialisations
 * that alter the base model. An unknown key is ignored when its value is null, false or empty, else
 * refused: there is no silent half-support. The same holds for tensors: the loader of an adapter
 * asks for each one by name, and peft_check_all_read() refuses the rest. What PEFT ignores is
 * ignored here too, and peft_notes() says so. */
#ifndef LORAC_FORMATS_PEFT_H
#define LORAC_FORMATS_PEFT_H

#include "src/formats/peft_match.h"
#include "src/formats/safetensors.h"

/* A setting that is a list of names, or else one regular expression (then `names` is empty). */
struct peft_choice {
    const char **names;
    size_t n;
    struct peft_pattern regex; /* regex.key NULL: there is none */
};

struct peft_config {
    char *path; /* the file that it was read from, for messages */
    size_t r;
    double lora_alpha, lora_dropout;
    bool use_rslora, fan_in_fan_out;
    const char *base_model;      /* base_model_name_or_path, or NULL */
    bool all_linear;             /* target_modules is "all-linear"; then there is no list */
    const char **target_modules; /* names, or ends of paths */
    size_t n_targets;
    struct peft_pattern target_regex; /* target_modules as one text; key NULL: it is a list */
    struct peft_choice exclude;       /* exclude_modules */
    struct peft_pattern *save;        /* modules_to_save: never adapted */
    size_t n_save;
    int64_t *layers; /* layers_to_transform; n_layers 0: all */
    size_t n_layers;
    struct peft_pattern *layers_pattern; /* how a path names its layer; n 0: PEFT's own way */
    size_t n_layers_pattern;
    struct peft_pattern *rank_pattern, *alpha_pattern;
    size_t n_rank, n_alpha;
};

enum peft_part { PEFT_A, PEFT_B }; /* lora_A (r, in) and lora_B (out, r) */

/* What a tensor of the file is, by its name. */
enum peft_kind {
    PEFT_PAIR,    /* lora_A or lora_B of a module that is adapted */
    PEFT_IGNORED, /* the same of one that the configuration does not name: PEFT ignores it */
    PEFT_COPY,    /* a weight of the base by its own name */
    PEFT_OTHER,
};

struct peft_entry {
    char *module; /* its path inside the base model; NULL for PEFT_OTHER */
    enum peft_kind kind;
    enum peft_part part;
    bool renamed; /* the file does not spell the name as PEFT does */
    bool read;    /* the loader asked for it */
    size_t tensor;
};

struct peft {
    struct peft_config config;
    struct safetensors file;
    struct peft_entry *entries; /* (file.n), sorted by module and part */
    char *path;                 /* of the file of tensors */
};

/* Read only the configuration, from dir/adapter_config.json or from that file itself, wherever it
 * is. Released with peft_config_free(). Defaults are PEFT's: r 8, lora_alpha 8, no dropout, q_proj
 * and v_proj. */
int peft_config_read(struct peft_config *c, const char *dir, struct err *e);
int peft_config_read_file(struct peft_config *c, const char *path, struct err *e);
void peft_config_free(struct peft_config *c);

/* Read the tensors too. If the file has no pair for any module that is adapted, it is an error that
 * says what the file does hold. */
int peft_open(struct peft *p, const char *dir, struct err *e);
void peft_close(struct peft *p);

/* Append a line for each thing that was ignored or has an unexpected meaning: settings without an
 * effect, names with other spellings, tensors that PEFT ignores, patterns that match nothing. */
void peft_notes(struct str *notes, const struct peft *p);

/* `module` is a path inside the base model, such as "model.layers.3.self_attn.q_proj". */

/* *is = whether the module is adapted, by PEFT's rules. "all-linear" is everything but the output
 * head. An error when a regular expression takes too long. */
int peft_targets(bool *is, const struct peft_config *c, const char *module, struct err *e);

/* r and alpha of a module: the first pattern that matches it, or else the common value. */
int peft_r_alpha(size_t *r, double *alpha, const struct peft_config *c, const char *module,
                 struct err *e);

/* alpha / r, or with rsLoRA alpha / sqrt(r). */
double peft_scale(const struct peft_config *c, size_t r, double alpha);

/* True when the file has either part for the module, which is adapted. */
bool peft_has(const struct peft *p, const char *module);

/* One part, which is marked as read. An error unless it exists as F32, F16 or BF16 and is (rows,
 * cols). */
int peft_tensor(const struct tensor **t, struct peft *p, const char *module, enum peft_part part,
                size_t rows, size_t cols, struct err *e);

/* The next tensor at or after entry *i that is a weight of the base by its name
 * (save_embedding_layers, modules_to_save and base_layer leave such copies), marked as read; false
 * at the end. Begin with *i = 0. `module` is NUL-terminated and without ".weight". */
bool peft_copy(const struct tensor **t, const char **module, struct peft *p, size_t *i);

/* An error that names a tensor for which nobody asked, if there is one. */
int peft_check_all_read(const struct peft *p, struct err *e);

/* A matrix to write, row-major. */
struct peft_output {
    const char *module;
    enum peft_part part;
    size_t rows, cols;
    const float *data;
};

/* Writes the two files into the existing directory `dir`, the configuration last: a directory with
 * a configuration is complete. Only keys that every version of PEFT knows are written, and
 * init_lora_weights is always true. A base_model that is not UTF-8 becomes null. all_linear is
 * written as the list of Llama's linear modules, which more loaders understand; the settings that
 * choose modules in other ways are not written. Modes follow the umask. */
int peft_write(const char *dir, const struct peft_config *c, const struct peft_output *outputs,
               size_t n, struct err *e);

#endif
