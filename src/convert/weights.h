/* The tensors of a merged model, in the order in which they are written, and their values a few
 * rows at a time. */
#ifndef LORAC_CONVERT_WEIGHTS_H
#define LORAC_CONVERT_WEIGHTS_H

#include "src/base/watch.h"
#include "src/model/adapter.h"
#include "src/model/tensors.h"

struct weight {
    char name[TENSOR_NAME];      /* Hugging Face's or GGUF's */
    const struct matrix *matrix; /* NULL: a vector */
    const real *vector;
    size_t rows, cols; /* a vector: 1 row */
    size_t layer;
    int module;             /* enum module when an adapter may change it, else -1 */
    bool meta_rows;         /* written in the row order that rotates neighbouring pairs */
    enum storage_type type; /* what it is written as */
};

struct weights {
    const struct llama *model;
    const struct adapter *adapter; /* NULL: none */
    const struct kernels *k;
    struct weight *at;
    size_t n;
    /* a block of rows: float32 values, and their narrow form */
    size_t block_rows;
    real *wide, *b;
    uint8_t *narrow;
    void *work;
    const struct watch *watch; /* NULL: none; it sees bytes of all tensors */
    uint64_t done_bytes, all_bytes;
};

enum weight_names { WEIGHT_NAMES_HF, WEIGHT_NAMES_GGUF };

/* Matrices are written as `dtype`; vectors likewise for Hugging Face, as F32 for GGUF. */
int weights_init(struct weights *w, const struct llama *m, const struct adapter *a,
                 const struct kernels *k, enum weight_names names, enum storage_type dtype,
                 struct err *e);
void weights_free(struct weights *w);

size_t weight_bytes(const struct weight *t);

/* An error when the disk of `path` has no room for all of them. */
int weights_check_room(const struct weights *w, const char *path, struct err *e);

/* Receives the stored bytes of a tensor piece by piece. */
typedef int weight_sink(void *to, const void *bytes, size_t n, struct err *e);

/* Merge tensor i and hand over its bytes. An error, naming the tensor, when a value is not finite
 * or does not fit the type. ERR_STOPPED when the watch wants it. */
int weights_write(struct weights *w, size_t i, weight_sink *sink, void *to, struct err *e);

#endif
