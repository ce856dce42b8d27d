/* The weights of a Hugging Face model directory: model.safetensors, or else the shards that
 * model.safetensors.index.json lists. Source: transformers, modeling_utils.py.
 *
 * The index is checked against the shards: names are plain file names ending in .safetensors, every
 * tensor that it lists is in the shard that it names, and every tensor of a shard is listed once.
 * Nothing outside the directory is opened, except through symbolic links (the Hub's cache is made
 * of them). Directories with only pytorch_model*.bin are refused with the way to convert them. */
#ifndef LORAC_FORMATS_SHARDS_H
#define LORAC_FORMATS_SHARDS_H

#include "src/formats/safetensors.h"

struct shards {
    char **paths;              /* of the files, sorted; a hash of the model covers these */
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
