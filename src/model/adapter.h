/* A LoRA adapter in files: reading and writing PEFT directories, its digest, and the modules that a
 * name means. Its parameters and its mathematics are in lora.h. */
#ifndef LORAC_MODEL_ADAPTER_H
#define LORAC_MODEL_ADAPTER_H

#include "src/base/hash.h"
#include "src/model/lora.h"

/* What an adapter is read for. */
struct adapter_base {
    const struct dims *dims;
    const struct llama *model; /* the same base with its weights (headers are enough); NULL: none */
    struct str *notes;         /* a line is appended for what the user should know; NULL: dropped */
};

/* Read a PEFT directory for this base: lays out, allocates `params` (freed by adapter_free()) and
 * fills them. Modules of lower rank (rank_pattern) are padded with zeros to the largest; scales
 * other than the common one (alpha_pattern, rsLoRA) are folded into B. Tensors that do not fit the
 * base (which is then another one), or are left over, are errors that name them. Notes are made of
 * modules that the configuration names and the file has no tensors for, which stay as they are in
 * the base; of copies of the base's own weights, which are dropped when they are unchanged
 * (base->model is needed to tell) and are errors otherwise; and of what peft_notes() says. */
int adapter_load(struct adapter *a, const struct adapter_base *base, const char *dir,
                 struct err *e);

/* Write a PEFT directory: the two files of PEFT. The parameters are those of `a`. */
int adapter_save(const struct adapter *a, const char *dir, const char *base_name, double dropout,
                 struct err *e);

/* A digest of what the adapter does: SHA-256 over "lorac-adapter-1\n"; layers, targets and r as
 * 64-bit little-endian integers; scale * r as a float32; then the parameters as float32 in their
 * order. All forms of an adapter (PEFT, GGUF, checkpoint) that hold its numbers unrounded have the
 * same digest. */
int adapter_digest(char hex[SHA256_HEX], const struct adapter *a, struct err *e);

#endif
