/* GGUF: llama.cpp's container of metadata and tensors.
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 * Versions 3 and 2 are read (2 is 3 without big-endian files), 3 is written. The tensor types of
 * kernels/types.h are read as such, all others of ggml's as STORAGE_OTHER with ggml's name.
 *
 * The reader trusts nothing: every count is compared with the bytes that are left before anything
 * is allocated; keys and names are unique, there are at most 4 dimensions, the alignment is a power
 * of two, offsets are equal to the running padded sum, and the file ends where the last tensor ends
 * (padding apart). Refused: arrays of arrays, dimensions of 0, split files, big-endian files, more
 * than 65,536 keys or tensors. */
#ifndef LORAC_FORMATS_GGUF_H
#define LORAC_FORMATS_GGUF_H

#include "src/base/file.h"
#include "src/formats/tensor.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
};

/* One metadata value; `raw` points at its bytes inside the map. */
struct gguf_kv {
    char *key;
    enum gguf_type type;
    enum gguf_type item; /* type of an array's items */
    uint64_t n;          /* items of an array, bytes of a string, else 1 */
    const uint8_t *raw;  /* first item or first byte */
    size_t raw_bytes;
};

struct gguf {
    struct map map;
    struct gguf_kv *kv; /* in file order */
    size_t n_kv;
    struct tensor *tensors; /* in file order; dims slowest first (reversed from the file) */
    size_t n_tensors;
    char *names;
    char *path;
};

/* Errors: "path: key or tensor NAME: ..." */
int gguf_open(struct gguf *g, const char *path, struct err *e);
void gguf_close(struct gguf *g);

const struct tensor *gguf_find(const struct gguf *g, const char *name);
const struct gguf_kv *gguf_key(const struct gguf *g, const char *key);

/* Typed access. For an absent key *out is unchanged and 0 is returned unless `required`; a value of
 * another type (any integer type is good for an integer, F32 and F64 for a number) is an error that
 * names the key. Negative or too large integers and non-finite numbers are errors. */
int gguf_get_size(size_t *out, const struct gguf *g, const char *key, bool required, struct err *e);
int gguf_get_double(double *out, const struct gguf *g, const char *key, bool required,
                    struct err *e);
int gguf_get_bool(bool *out, const struct gguf *g, const char *key, bool required, struct err *e);
/* *text points into the map and is not NUL-terminated. */
int gguf_get_string(const char **text, size_t *n, const struct gguf *g, const char *key,
                    bool required, struct err *e);

/* Walk an array of strings; the reader validated the lengths when the file was opened.
 * gguf_strings_next() is false at the end. */
struct gguf_strings {
    const uint8_t *p, *end;
};
/* An error when the key is absent or not an array of strings; *n is the count. */
int gguf_strings(struct gguf_strings *it, uint64_t *n, const struct gguf *g, const char *key,
                 struct err *e);
bool gguf_strings_next(struct gguf_strings *it, const char **text, size_t *n);

/* A numeric array as raw little-endian items, with its count; an error unless its item type is
 * `item`. Absent: *raw = NULL and 0 is returned. The pointer may be unaligned. */
int gguf_numbers(const uint8_t **raw, uint64_t *n, const struct gguf *g, const char *key,
                 enum gguf_type item, struct err *e);

/* Writing: metadata first, then the tensor list, then the bytes in the order of the list. Memory
 * errors are kept until gguf_writer_data(). A call out of order, an array with fewer or more items
 * than promised, or a tensor with fewer or more bytes than its shape is a broken invariant (CHECK).
 * The file has version 3 and the default alignment of 32. */
struct gguf_writer {
    struct save save;
    struct str kv, infos;
    struct str ends; /* a uint64_t for each tensor: where its bytes end, from data_start */
    uint64_t n_kv, n_tensors;
    uint64_t items_due;  /* still to come of the current array */
    uint64_t data_bytes; /* of all tensors on the list, padding included */
    uint64_t data_start; /* 0 until gguf_writer_data() */
    uint64_t n_done;     /* tensors closed by gguf_writer_pad() */
};

int gguf_writer_begin(struct gguf_writer *w, const char *path, mode_t mode, struct err *e);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_put_string(struct gguf_writer *w, const char *key, const char *text, size_t n);
/* Put an array: first its head, then exactly n items with the item functions. */
void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type item, uint64_t n);
void gguf_item_string(struct gguf_writer *w, const char *text, size_t n);
void gguf_item_f32(struct gguf_writer *w, float v);
void gguf_item_i32(struct gguf_writer *w, int32_t v);
/* Copy one value as it is in another file. general.alignment is left out: ours is 32. */
void gguf_put_copy(struct gguf_writer *w, const struct gguf_kv *kv);
/* dims slowest first, at most 4; any type but STORAGE_OTHER. Names have at most 64 bytes. */
void gguf_put_tensor(struct gguf_writer *w, const char *name, enum storage_type type, unsigned rank,
                     const uint64_t *dims);
/* Ends the header; afterwards bytes are added tensor by tensor, each closed by gguf_writer_pad().
 */
int gguf_writer_data(struct gguf_writer *w, struct err *e);
int gguf_writer_add(struct gguf_writer *w, const void *bytes, size_t n, struct err *e);
int gguf_writer_pad(struct gguf_writer *w, struct err *e);
/* After any error: gguf_writer_abort(). Both release the writer; abort is harmless after commit. */
int gguf_writer_commit(struct gguf_writer *w, struct err *e);
void gguf_writer_abort(struct gguf_writer *w);

#endif
