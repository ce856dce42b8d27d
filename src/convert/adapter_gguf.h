/* llama.cpp's adapter files. Source: ggml-org/llama.cpp, convert_lora_to_gguf.py and
 * src/llama-adapter.cpp.
 *
 *     general.type "adapter", general.architecture of the family, adapter.type "lora",
 *     adapter.lora.alpha
 *     blk.N.MODULE.weight.lora_a (r, in), .lora_b (out, r), rows of q and k in the order that
 *     rotates neighbouring pairs
 *
 * The scale is alpha / r with one alpha for the file (0 means a scale of 1) and no rsLoRA, which an
 * adapter in memory has folded in already. Adapters on embeddings, head or norms are refused. */
#ifndef LORAC_CONVERT_ADAPTER_GGUF_H
#define LORAC_CONVERT_ADAPTER_GGUF_H

#include "src/train/publish.h"

/* As adapter_load(): params are freed with adapter_free(). */
int adapter_gguf_read(struct adapter *a, const struct dims *s, const char *path, struct err *e);

/* Float32; the file must not exist. What `notes` (NULL: none) says about the base is written as
 * metadata of our own (publish.h), which llama.cpp ignores. */
int adapter_gguf_write(const struct adapter *a, const struct adapter_notes *notes, const char *path,
                       struct err *e);
/* Read that metadata of a file into the empty *notes. */
int adapter_gguf_notes(struct adapter_notes *notes, const char *path, struct err *e);

#endif
