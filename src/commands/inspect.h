/* What a path is: a model, an adapter, a run, a checkpoint, a prepared data set. Each function adds
 * rows to f; with `verify` also checks (src/commands/verify.c). */
#ifndef LORAC_COMMANDS_INSPECT_H
#define LORAC_COMMANDS_INSPECT_H

#include "src/base/hash.h"
#include "src/commands/facts.h"
#include "src/model/adapter.h"
#include "src/train/rundir.h"

/* A file against the SHA-256 it should have; `sha256` NULL: nothing is known about it. */
void verify_file(struct facts *f, const char *name, const char *path, const char *sha256);
/* Whether every value of an adapter, or of a model's weights, is finite. */
void verify_adapter(struct facts *f, const struct adapter *a);
int verify_model(struct facts *f, const struct llama *m, struct err *e);
/* One digest for all files of a model, as lorac.json has it (read anew, not from the cache). */
int model_digest(char hex[SHA256_HEX], const struct llama *m, struct err *e);
/* Every file that run.json names, and the seal of every checkpoint in the directory. */
int verify_run(struct facts *f, const json_t *run, const struct rundir *dir, struct err *e);
/* The base that an adapter was trained on, where it can be found, against lorac.json. */
int verify_base(struct facts *f, const char *base_path, const char *sha256, struct err *e);

#endif
