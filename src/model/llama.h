/* A Llama: its shape and its frozen weights, mapped from the files where they lie.
 *
 * A model is a Hugging Face directory (config.json with one or many .safetensors files; F32, F16,
 * BF16) or a GGUF file (F32, F16, BF16, Q8_0, Q4_0, Q4_1). Every tensor is bound by name with its
 * exact shape; one that is missing, unknown, misshapen, of another type or not finite is an error
 * that names it and its file. (Models above 4 GiB are looked through for NaN in their vectors
 * only: the look would take longer than everything else before the first step.) */
#ifndef LORAC_MODEL_LLAMA_H
#define LORAC_MODEL_LLAMA_H

#include "src/base/hash.h"
#include "src/base/wordlists.h"
#include "src/model/shape.h"

/* Of enum module, the linear layers of a block. */
struct module_info {
    const char *name; /* q_proj */
    const char *path; /* self_attn.q_proj: within model.layers.N. */
    const char *gguf; /* attn_q: within blk.N. */
};
extern const struct module_info module_table[MODULES];

/* Outputs and inputs of a module. */
size_t module_rows(const struct shape *s, enum module m);
size_t module_cols(const struct shape *s, enum module m);

struct layer_weights {
    struct matrix w[MODULES];
    const real *norm1, *norm2; /* before attention, before the MLP */
    const real *bias[MODULES]; /* NULL: the module has none */
};

/* y (M, module's rows) += the module's bias, where it has one. It is frozen, so that nothing of the
 * backward depends on it. */
void layer_add_bias(real *y, const struct layer_weights *w, enum module m, size_t M);

struct llama {
    struct shape shape;
    struct layer_weights *layer;
    struct matrix embedding, head; /* the same matrix when tied */
    const real *norm;
    char **files; /* the paths the weights came from, for hashing and provenance */
    size_t n_files;
    size_t weight_bytes; /* of everything mapped that a pass reads */
    struct llama_files *storage;
};

/* `path` as the user typed it. */
int llama_open(struct llama *m, const char *path, struct err *e);
/* The same without reading the matrices, whose values are then not known to be finite: for what only
 * counts. Norms are read. */
int llama_open_headers(struct llama *m, const char *path, struct err *e);
void llama_close(struct llama *m);

/* The shape alone, from a directory's config.json (no weights need be there) or a .gguf's header. */
int llama_read_shape(struct shape *s, const char *path, struct err *e);

/* The most common storage type of the linear layers, for reports and for the type of a merged
 * model. */
enum dtype llama_dtype(const struct llama *m);

/* The GGUF this model came from, or NULL. */
const struct gguf *llama_gguf(const struct llama *m);

#endif
