/* The files a run is made of, each with what it is and its SHA-256: what run.json lists, and what
 * somebody who verifies the run later hashes again.
 *
 * Roles: weights, config (of the model), tokenizer, train, validation, adapter (init_from). A file
 * is listed once, in its first role; paths are as the configuration gives them. */
#ifndef LORAC_TRAIN_INPUTS_H
#define LORAC_TRAIN_INPUTS_H

#include "src/base/hashcache.h"
#include "src/config/config.h"
#include "src/train/setup.h"

struct inputs {
    const char **role; /* (n) static */
    char **path;       /* (n); the weights first, in the order of llama.files */
    char (*sha256)[SHA256_HEX];
    uint64_t *bytes;
    size_t n;
    bool hashed;
    char base_sha256[SHA256_HEX], base_fingerprint[SHA256_HEX]; /* "": not known yet */
    struct hash_job *job;
};

/* List the files and begin to hash them in the background. inputs_free() after failure too. */
int inputs_begin(struct inputs *in, const struct config *c, const struct setup *s, struct err *e);
/* Wait for the hashes; at once when they are known. */
int inputs_wait(struct inputs *in, struct err *e);
/* The same, and fill base_sha256 and base_fingerprint, those of the files of `m`. */
int inputs_base_hash(struct inputs *in, const struct llama *m, struct err *e);
void inputs_free(struct inputs *in);

#endif
