/* The numbers that make a model (dims.def): read from config.json or a GGUF's metadata and checked.
 * Nothing is assumed that a file can say. */
#ifndef LORAC_MODEL_DIMS_H
#define LORAC_MODEL_DIMS_H

#include "kernels/kernels.h"
#include "src/base/err.h"
#include "src/formats/gguf.h"
#include "src/model/family.h"

/* ROPE_DIVISORS: one number per plane by which its frequency is divided, which is how llama.cpp
 * stores llama3 scaling (the tensor rope_freqs.weight). */
enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_DIVISORS };

/* Dimension letters as in kernels/kernels.h. */
struct dims {
    enum family family;
    size_t layers, C, F, H, G, D, V;
    size_t context; /* longest sequence the model was made for */
    double norm_eps, rope_theta;
    enum rope_scaling scaling;
    double factor, low_freq_factor, high_freq_factor; /* of rope scaling */
    size_t original_context;
    float divisors[ATTENTION_D_MAX / 2];
    bool tied; /* the head is the embedding */
};

/* Hugging Face's config.json. Refused, naming the key: families not in families.def, activations
 * other than silu, other biases than the family's, rope types other than default, linear and
 * llama3, sizes that do not divide. */
int dims_from_config(struct dims *s, const char *path, struct err *e);

/* llama.cpp's metadata, of one of the families. The caller finds out from the tensors whether the
 * head is tied. */
int dims_from_gguf(struct dims *s, const struct gguf *g, struct err *e);

/* The inverse: a config.json that transformers reads; dtype: float32, float16 or bfloat16.
 * ROPE_DIVISORS cannot be written there and is CHECKed. */
void dims_to_config(struct str *out, const struct dims *s, const char *dtype, int32_t bos,
                    int32_t eos);

/* The same as metadata of a GGUF file, general.architecture first. */
void dims_to_gguf(struct gguf_writer *w, const struct dims *s);

/* Frequencies of the D/2 planes after scaling, in double. */
void dims_rope_frequencies(double *freq, const struct dims *s);

#endif
