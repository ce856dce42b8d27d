/* The weights of a Hugging Face model directory: model.safetensors, or else the shards that
 * model.safetensors.index.json lists. Source: transformers, modeling_utils.py.
 *
 * The index is held against the shards: names are plain file names ending in .safetensors, every
 * tensor it lists is in the shard it names, every tensor of a shard is listed, and there once.
 * Nothing outside the directory is opened, symbolic links apart (the Hub's cache is made of them).
 * Directories with pytorch_model*.bin only are refused with the way to convert them. */
#ifndef LORAC_FORMATS_SHARDS_H
#define LORAC_FORMATS_SHARDS_H

#include "src/formats/safetensors.h"

struct shards {
    char **paths;              /* of the files, sorted: what a hash of the model covers */
    struct safetensors *files; /* the same files, open */
    size_t n_files;
    const struct tensor **tensors; /* of all files, sorted by name; names are unique */
    size_t n_tensors;
};

int shards_open(struct shards *s, const char *dir, struct err *e);
void shards_close(struct shards *s);

/* The tensor of that name, or NULL. */
const struct tensor *shards_find(const struct shards *s, const char *name);

/* The file that a tensor of `s` came from, for messages. */
const char *shards_path_of(const struct shards *s, const struct tensor *t);

#endif
