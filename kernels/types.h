/* The types that every floor shares: `real`, storage types, and a frozen matrix. */
#ifndef LORAC_KERNELS_TYPES_H
#define LORAC_KERNELS_TYPES_H

#include <stddef.h>
#include <stdint.h>

/* Kernels and the model are written in `real`: float in the program, double in the builds that
 * check gradients by finite differences. */
#ifdef REAL_DOUBLE
typedef double real;
#else
typedef float real;
#endif

/* How numbers are stored in a model file. The block types are ggml's: 32 values that share a
 * half-precision scale (Q8_0, Q4_0) or scale and minimum (Q4_1). DTYPE_OTHER is a type that a
 * container may hold and that we do not compute with (integers, booleans, 8-bit floats). */
enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q8_0,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_OTHER,
};

enum { QUANT_BLOCK = 32 };

/* Values per block and bytes per block: a row of n values takes n / values * bytes. */
static inline size_t dtype_block_values(enum dtype t)
{
    return t >= DTYPE_Q8_0 ? QUANT_BLOCK : 1;
}

static inline size_t dtype_block_bytes(enum dtype t)
{
    static const size_t bytes[] = { 4, 2, 2, 34, 18, 20, 0 };
    return bytes[t];
}

/* n must be a multiple of dtype_block_values(t). */
static inline size_t dtype_bytes(enum dtype t, size_t n)
{
    return n / dtype_block_values(t) * dtype_block_bytes(t);
}

static inline const char *dtype_name(enum dtype t)
{
    static const char *const names[] = { "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "other" };
    return names[t];
}

/* A frozen weight W (rows = outputs, cols = inputs), row-major, in its storage type; never copied,
 * never written. GGUF files keep the rows of q and k in the order that rotates neighbouring pairs;
 * `meta_head` = head_dim says so, and whoever reads row h*hd + c*hd/2 + j is given the stored row
 * h*hd + 2j + c. Everything outside sees Hugging Face order. */
struct matrix {
    const void *data;
    enum dtype type;
    size_t rows, cols;
    size_t meta_head; /* 0: rows are in Hugging Face order */
};

/* Which stored row is row `row`. */
static inline size_t matrix_stored_row(const struct matrix *w, size_t row)
{
    size_t hd = w->meta_head;
    if (!hd) return row;
    size_t h = row / hd, i = row % hd;
    return h * hd + (i < hd / 2 ? 2 * i : 2 * (i - hd / 2) + 1);
}

static inline const void *matrix_row(const struct matrix *w, size_t row)
{
    return (const char *)w->data + matrix_stored_row(w, row) * dtype_bytes(w->type, w->cols);
}

#endif
