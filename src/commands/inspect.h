/* What a path is: a model, an adapter, a run, a checkpoint, a prepared data set. Each function adds
 * rows to f; with `verify` it also adds checks (src/commands/verify.c). */
#ifndef LORAC_COMMANDS_INSPECT_H
#define LORAC_COMMANDS_INSPECT_H

#include "src/base/hash.h"
#include "src/commands/facts.h"
#include "src/formats/peft.h"
#include "src/model/adapter.h"
#include "src/train/rundir.h"

/* What a single file is and what can be done with it, by its content, whatever its name. A file
 * that lorac cannot use is a failed check. */
int inspect_file(struct facts *f, const char *path, bool verify, struct err *e);

/* Kinds of files that inspect.c handles. */
int inspect_gguf(struct facts *f, const char *path, struct err *e);
int inspect_h5(struct facts *f, const char *path, struct err *e);
int inspect_run(struct facts *f, const char *dir, struct err *e);
void inspect_add_shape(struct facts *f, const struct dims *s);
/* The tokenizer of a model, or of a tokenizer's own file. */
void inspect_add_tokenizer(struct facts *f, const char *path);
void inspect_add_peft(struct facts *f, const struct peft_config *c);

/* For a single file (inspect_file.c, inspect_json.c). *handled: it is JSON; `head` is its
 * beginning. */
int inspect_json(struct facts *f, const char *path, const char *head, size_t n, bool *handled,
                 struct err *e);
int inspect_tokenizer(struct facts *f, const char *path, struct err *e);
/* Add the kind of a file that lorac does not read, and a failed check with what to do (NULL:
 * nothing). */
void inspect_unusable(struct facts *f, const char *kind, const char *remedy);
/* The directory of a file; whether another file is in it; the remedy "WHAT: lorac inspect DIR". */
void inspect_directory_of(char out[PATH_BYTES], const char *path);
bool inspect_beside(const char *path, const char *name);
void inspect_add_use(struct facts *f, const char *path, const char *what);

/* Check a file against the SHA-256 it should have; `sha256` NULL: none is on record. */
void verify_file(struct facts *f, const char *name, const char *path, const char *sha256);
/* Check that every value of a model's weights is finite. */
int verify_model(struct facts *f, const struct llama *m, struct err *e);
/* The same for the tensors of any file; those of types that lorac does not compute with are
 * counted. */
void verify_tensors(struct facts *f, const struct tensor *t, size_t n);
/* The same for a checkpoint's adapter and moments. */
int verify_checkpoint(struct facts *f, const char *path, struct err *e);
/* One digest for all files of a model, as in lorac.json (the files are read, not the cache). */
int model_digest(char hex[SHA256_HEX], const struct llama *m, struct err *e);
/* Check every file that run.json names, and the seal of every checkpoint in the directory. */
int verify_run(struct facts *f, const json_t *run, const struct rundir *dir, struct err *e);
/* Check the base that an adapter was trained on, where it can be found, against lorac.json. */
int verify_base(struct facts *f, const char *base_path, const char *sha256, struct err *e);

#endif
