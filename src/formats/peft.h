/* PEFT's LoRA directory: adapter_config.json and adapter_model.safetensors.
 * Source: huggingface/peft, src/peft/tuners/lora/config.py, utils/save_and_load.py.
 *
 * Reading refuses, by key and value, everything that would change the result and is not computed
 * here: DoRA, biases, saved modules, layer filters, regular expressions for target_modules,
 * initialisations that alter the base model. A key that is not known is ignored when its value is
 * null, false or empty, else refused: no silent half-support. The same holds for tensors: whoever
 * loads an adapter asks for each one by name, and peft_check_all_read() refuses what is left. */
#ifndef LORAC_FORMATS_PEFT_H
#define LORAC_FORMATS_PEFT_H

#include "src/formats/safetensors.h"

/* One row of rank_pattern or alpha_pattern, in file order. */
struct peft_pattern {
    const char *key; /* a regular expression that matches the end of a module's path */
    double value;
    void *regex;
};

struct peft_config {
    char *path; /* that it was read from, for messages */
    size_t r;
    double lora_alpha, lora_dropout;
    bool use_rslora;
    const char *base_model;      /* base_model_name_or_path, or NULL */
    bool all_linear;             /* target_modules: "all-linear"; then there is no list */
    const char **target_modules; /* names, or ends of paths */
    size_t n_targets;
    struct peft_pattern *rank_pattern, *alpha_pattern;
    size_t n_rank, n_alpha;
};

struct peft {
    struct peft_config config;
    struct safetensors file;
    bool *read; /* for each tensor of the file: someone asked for it */
    char *path; /* of the tensors' file */
};

/* The configuration alone, from dir/adapter_config.json. Released with peft_config_free().
 * Defaults are PEFT's: r 8, lora_alpha 8, no dropout, q_proj and v_proj. */
int peft_config_read(struct peft_config *c, const char *dir, struct err *e);
void peft_config_free(struct peft_config *c);

int peft_open(struct peft *p, const char *dir, struct err *e);
void peft_close(struct peft *p);

/* `module` is a path inside the base model, such as "model.layers.3.self_attn.q_proj". */

/* True when target_modules covers the module. "all-linear" is everything but the output head. */
bool peft_targets(const struct peft_config *c, const char *module);

/* r and alpha of a module: the first pattern that matches it, or else the common value. */
int peft_rank_alpha(size_t *r, double *alpha, const struct peft_config *c, const char *module,
                    struct err *e);

/* alpha / r, or with rsLoRA alpha / sqrt(r). */
double peft_scale(const struct peft_config *c, size_t r, double alpha);

enum peft_part { PEFT_A, PEFT_B }; /* lora_A (r, in) and lora_B (out, r) */

/* True when the file has either part for the module. */
bool peft_has(const struct peft *p, const char *module);

/* One part, marked as read: an error unless it is there as F32, F16 or BF16 and (rows, cols). */
int peft_tensor(const struct tensor **t, struct peft *p, const char *module, enum peft_part part,
                size_t rows, size_t cols, struct err *e);

/* An error that names a tensor nobody asked for, if there is one. */
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
 * init_lora_weights is true whatever it was. A base_model that is no UTF-8 becomes null. all_linear
 * is written as the list of Llama's linear modules, which more loaders understand. Modes follow the
 * umask. */
int peft_write(const char *dir, const struct peft_config *c, const struct peft_output *outputs,
               size_t n, struct err *e);

#endif
