/* How numbers are stored in a model file: one row for each type (storage.def), and where a value of
 * a row lies. What a type computes is in storage_plain.c, storage_blocks.c and storage_k.c. */
#ifndef LORAC_KERNELS_STORAGE_H
#define LORAC_KERNELS_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* STORAGE_OTHER: a type that a container may hold and that we do not compute with. */
#define STORAGE(id, name, ...) STORAGE_##id,
enum storage_type {
#include "kernels/storage.def"
    STORAGES,
    STORAGE_OTHER = STORAGES,
};

/* Products take the values of a row in spans of this length; blocks consist of whole spans. */
enum { SPAN = 32 };

struct storage {
    const char *name;                /* "q4_0", as options and messages have it */
    const char *label;               /* "Q4_0", as containers have it */
    bool blocks;                     /* values share scales; otherwise they are single numbers */
    int ggml, ftype;                 /* numbers in GGUF: of the tensor type, of a file of them */
    const char *safetensors, *torch; /* names there; NULL: not there */
    uint16_t values, bytes;          /* of a block */
    const char *companion;           /* suffix of a second tensor's name; NULL: none */
    bool written;                    /* storage_narrow() can make it */
};

/* The row of a type; that of STORAGE_OTHER is called "other" and has no bytes. */
static inline const struct storage *storage_of(enum storage_type t)
{
    enum { PLAIN, BLOCK, READ = 0, WRITTEN };
#define STORAGE(id, name, kind, ggml, ftype, safetensors, torch, values, bytes, companion,         \
                written)                                                                           \
    [STORAGE_##id] = { #name, #id,    kind,  ggml,      ftype,  safetensors,                       \
                       torch, values, bytes, companion, written },
    static const struct storage rows[] = {
#include "kernels/storage.def"
        [STORAGE_OTHER] = { "other", "other", PLAIN, -1, -1, NULL, NULL, 1, 0, NULL, READ },
    };
    return &rows[t];
}

static inline const char *storage_name(enum storage_type t)
{
    return storage_of(t)->name;
}

/* Names for options, each after a space: the types that are written, those of single numbers. */
extern const char storage_words_written[], storage_words_plain[];

/* The type called `name`; STORAGE_OTHER when there is none. */
enum storage_type storage_named(const char *name);

/* Values and bytes of a block: a row of n values takes n / values * bytes. */
static inline size_t storage_block_values(enum storage_type t)
{
    return storage_of(t)->values;
}

static inline size_t storage_block_bytes(enum storage_type t)
{
    return storage_of(t)->bytes;
}

/* Bytes of the whole blocks of n values. */
static inline size_t storage_bytes(enum storage_type t, size_t n)
{
    return n / storage_block_values(t) * storage_block_bytes(t);
}

/* A frozen weight W (rows = outputs, cols = inputs), row-major, in its storage type; never copied,
 * never written. GGUF files keep the rows of q and k in the order that rotates neighbouring pairs;
 * `interleaved` = head_dim says so, and whoever reads row h*hd + c*hd/2 + j is given the stored row
 * h*hd + 2j + c. Everything outside sees Hugging Face order. */
struct matrix {
    const void *data;
    enum storage_type type;
    size_t rows, cols;
    size_t interleaved; /* 0: rows are in Hugging Face order */
};

/* The number under which row `row` is stored. */
static inline size_t matrix_stored_row(const struct matrix *w, size_t row)
{
    size_t hd = w->interleaved;
    if (!hd) return row;
    size_t h = row / hd, i = row % hd;
    return h * hd + (i < hd / 2 ? 2 * i : 2 * (i - hd / 2) + 1);
}

static inline const uint8_t *matrix_row(const struct matrix *w, size_t row)
{
    return (const uint8_t *)w->data + matrix_stored_row(w, row) * storage_bytes(w->type, w->cols);
}

/* Where a value lies: its block and, for block types, the number of its span in the block. */
struct storage_at {
    const uint8_t *block;
    size_t span;
};

/* Aborts: the caller made a mistake. */
void storage_misaligned(enum storage_type type, size_t start) __attribute__((noreturn, cold));

/* Value `start` of row `row`. For block types `start` must begin a span, which is CHECKed. */
static inline struct storage_at storage_at(const struct matrix *w, size_t row, size_t start)
{
    size_t values = storage_block_values(w->type), inside = start % values;
    if (inside % SPAN) storage_misaligned(w->type, start);
    return (struct storage_at){ matrix_row(w, row) + storage_bytes(w->type, start), inside / SPAN };
}

/* n values (a multiple of the type's block) at `data`: true when none is NaN or infinite. Of blocks
 * only scales and minima are looked at, since the rest are integers. Runs on all threads at the
 * speed of memory; not for STORAGE_OTHER. */
bool storage_finite(const void *data, enum storage_type type, size_t n);

/* Write n values (a multiple of the type's block) in a type that is written: F16 and BF16 to
 * nearest, ties to even; block types by ggml's reference rules, for finite values. Not made for
 * speed. */
void storage_narrow(void *out, enum storage_type type, const float *x, size_t n);

/* Half precision (IEEE 754 binary16) and bf16 of a float, to nearest, ties to even. */
uint16_t storage_f16(float f);
uint16_t storage_bf16(float f);

#endif
