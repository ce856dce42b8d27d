/* Opening a model: its shape and its frozen weights, mapped from the files where they lie.
 *
 * A model is a Hugging Face directory (config.json with one or many .safetensors files; F32, F16,
 * BF16) or a GGUF file (F32, F16, BF16, Q8_0, Q4_0, Q4_1). Every tensor is bound by name with its
 * exact shape; one that is missing, unknown, misshapen, of another type or not finite is an error
 * that names it and its file. (Models above 4 GiB are checked for NaN in their vectors
 * only: reading all would take longer than everything else before the first step.) */
#ifndef LORAC_MODEL_LLAMA_H
#define LORAC_MODEL_LLAMA_H

#include "src/model/tensors.h"

/* `path` as the user typed it. */
int llama_open(struct llama *m, const char *path, struct err *e);
/* The same without reading the matrices, whose values are then not known to be finite: for callers
 * that only count. Norms are read. */
int llama_open_headers(struct llama *m, const char *path, struct err *e);
void llama_close(struct llama *m);

/* The shape alone, from a directory's config.json (the weights may be missing) or a .gguf's
 * header. */
int llama_read_shape(struct dims *s, const char *path, struct err *e);

/* The most common storage type of the linear layers, for reports and for the type of a merged
 * model. */
enum storage_type llama_storage(const struct llama *m);

/* The GGUF this model came from, or NULL. */
const struct gguf *llama_gguf(const struct llama *m);

#endif
