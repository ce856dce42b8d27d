/* safetensors: an 8-byte header length, a JSON header, the bytes.
 * Source: https://github.com/huggingface/safetensors (README, tensor.rs).
 *
 * The reader enforces the format's own rules: the header has at most 100 MB and no duplicate keys,
 * products of shapes are overflow-checked and equal to the byte range, ranges neither overlap nor
 * leave holes, and the file ends where the last tensor ends. Rank 0 and empty tensors are valid. It
 * is stricter than the format in three things: there are at most 8 dimensions, no members that the
 * format does not know, and F32, F16 and BF16 begin at multiples of their size, so that they can be
 * used in place. */
#ifndef LORAC_FORMATS_SAFETENSORS_H
#define LORAC_FORMATS_SAFETENSORS_H

#include "src/base/file.h"
#include "src/formats/tensor.h"

struct safetensors {
    struct map map;
    struct tensor *tensors; /* sorted by name */
    size_t n;
    char *names;  /* storage of the names */
    char *format; /* __metadata__.format, or NULL */
};

/* Errors: "path: tensor NAME: ..." */
int safetensors_open(struct safetensors *f, const char *path, struct err *e);
void safetensors_close(struct safetensors *f);

/* The tensor of that name, or NULL. */
const struct tensor *safetensors_find(const struct safetensors *f, const char *name);

/* Writing: the list comes first and the bytes follow in its order, so a model larger than memory
 * can be written row block by row block. Names are unique; with mixed types the wider ones come
 * first (a tensor that is not aligned to its size is a broken invariant). For entries sorted by
 * name the file has the bytes that the reference implementation writes. */
struct st_entry {
    const char *name;
    enum storage_type type; /* F32, F16 or BF16 */
    unsigned rank;
    uint64_t dims[TENSOR_RANK];
};

struct st_writer {
    struct save save;
    uint64_t expected; /* bytes of the file when complete */
};

/* Writes the header with metadata {"format": "pt"} (transformers refuses model files without it).
 */
int st_writer_begin(struct st_writer *w, const char *path, const struct st_entry *entries, size_t n,
                    mode_t mode, struct err *e);
/* After any error of add or commit: st_writer_abort(), harmless after commit. */
int st_writer_add(struct st_writer *w, const void *bytes, size_t n, struct err *e);
/* CHECKs that exactly the promised bytes were added. */
int st_writer_commit(struct st_writer *w, struct err *e);
void st_writer_abort(struct st_writer *w);

#endif
