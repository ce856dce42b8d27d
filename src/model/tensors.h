/* The weights of a model: the structs that hold them, whose fields src/model/tensors.def lists, and
 * a walk over that list. All code that reads, writes, compares, counts or makes weights walks it,
 * so that a weight is known everywhere or nowhere. Opening a model is in llama.h. */
#ifndef LORAC_MODEL_TENSORS_H
#define LORAC_MODEL_TENSORS_H

#include "src/base/wordlists.h"
#include "src/model/dims.h"

/* The linear layers of a block, by enum module. */
struct module_info {
    const char *name; /* q_proj */
    const char *path; /* self_attn.q_proj: within model.layers.N. */
    const char *gguf; /* attn_q: within blk.N. */
};
extern const struct module_info module_table[MODULES];

/* Outputs and inputs of a module. */
size_t module_rows(const struct dims *s, enum module m);
size_t module_cols(const struct dims *s, enum module m);

struct layer_weights {
    struct matrix w[MODULES];
    const real *norm1, *norm2; /* before attention, before the MLP */
    const real *bias[MODULES]; /* NULL: the module has none */
};

struct llama {
    struct dims dims;
    struct layer_weights *layer;
    struct matrix embedding, head; /* the same matrix when tied */
    const real *norm;
    char **files; /* the paths the weights came from, for hashing and provenance */
    size_t n_files;
    size_t weight_bytes; /* of everything mapped that a pass reads */
    struct llama_files *storage;
};

/* ---- the walk -------------------------------------------------------------------------------- */

enum tensor_scope { SCOPE_MODEL, SCOPE_BLOCK };
enum tensor_kind { KIND_MATRIX, KIND_NORM, KIND_BIAS };
enum tensor_order { ORDER_KEPT, ORDER_TURNED };
enum tensor_presence { PRESENT_ALWAYS, PRESENT_UNTIED, PRESENT_QKV_BIAS };

/* A row of the table. */
struct tensor_row {
    const char *hf, *gguf;
    enum tensor_scope scope;
    enum tensor_kind kind;
    enum tensor_order order;
    enum tensor_presence present;
    size_t slot; /* offset within struct llama or struct layer_weights */
};

/* for (struct tensor_walk w = tensor_walk(shape); tensor_next(&w);) ...
 * Model, blocks in the order of their layers, model. Weights that this shape does not have are left
 * out. */
struct tensor_walk {
    const struct dims *dims;
    const struct tensor_row *row; /* the weight: which one, */
    size_t layer;                 /* of which layer (0 of the model's own), */
    size_t rows, cols;            /* of which size (a vector: 1 row) */
    int module;                   /* enum module of a matrix that an adapter may change, else -1 */
    bool turned; /* GGUF keeps its rows in the order that rotates neighbouring pairs */
};

struct tensor_walk tensor_walk(const struct dims *s);
bool tensor_next(struct tensor_walk *w);

/* How many weights there are, and how many values are in the vectors among them. */
size_t tensor_count(const struct dims *s);
size_t tensor_vector_values(const struct dims *s);

/* Parameters of the whole model, of the linear layers of all its blocks together, and of the head
 * (the embedding's where it is tied). */
size_t model_params(const struct dims *s);
size_t dims_linear_params(const struct dims *s);
size_t shape_head_params(const struct dims *s);

enum { TENSOR_NAME = 96 };
void tensor_name(char out[TENSOR_NAME], const struct tensor_walk *w, bool gguf);

/* The weight's values in m: a matrix or a vector; the other one is NULL. */
struct tensor_values {
    const struct matrix *matrix;
    const real *vector;
};
struct tensor_values tensor_values(const struct llama *m, const struct tensor_walk *w);

/* The field that holds it: a struct matrix, or the pointer (const real *) to a vector. */
void *tensor_slot(struct llama *m, const struct tensor_walk *w);

/* Whether GGUF keeps the rows of a module in the order that rotates neighbouring pairs. */
bool module_turned(const struct dims *s, enum module m);

/* The row, in Hugging Face's order, that lies as row `row` where neighbouring pairs of a head of D
 * rows are rotated (kernels/storage.h: interleaved). */
size_t tensor_turned_row(size_t row, size_t D);

#endif
