/* A base and an adapter made into one plain model: W' = W + s B A for every target.
 *
 * The sum is formed in float32 from the base's stored (or dequantised) weights, checked to be
 * finite, and rounded once to the output's type. Weights are read, merged and written a piece at a
 * time, so a 70B model needs no more memory than a 1B one. Everything is written beside the target
 * and renamed. */
#ifndef LORAC_CONVERT_MERGE_H
#define LORAC_CONVERT_MERGE_H

#include "src/base/watch.h"
#include "src/tokenizer/tokenizer.h"
#include "src/train/publish.h"

struct merge_options {
    const char *base_path;       /* as given: config and licence files lie beside it */
    enum storage_type dtype;     /* F32, F16, BF16; for GGUF also Q8_0, Q4_0, Q4_1 */
    const struct tokenizer *tok; /* NULL: none is written */
    bool named; /* tok was named: it takes the place of the one that the base has */
    /* Goes into lorac.json of the result, or into a GGUF's metadata: how the adapter was trained
     * and what is merged. NULL: nothing is written. */
    const struct adapter_notes *notes;
    const char *chat_template; /* Jinja in the place of the base's; NULL: the base's is kept */
    /* With chat_template: the token that ends its answers where the files name others; -1: none. */
    int32_t end;
    const struct watch *watch; /* NULL: none. ERR_STOPPED when it wants that: nothing is left */
    struct str *remarks; /* += what had to be written differently, one line each; may be NULL */
};

/* A Hugging Face directory: config.json, model.safetensors (or shards of at most 5 GB with their
 * index), the tokenizer, licence files and, with notes, lorac.json. The directory is made; it must
 * not hold a model yet. */
int merge_write_hf(const struct llama *m, const struct adapter *a, const struct kernels *k,
                   const char *dir, const struct merge_options *o, struct err *e);

/* One GGUF file; norms stay F32, as llama.cpp wants them. In a quantised file embedding and head
 * are Q8_0, and matrices whose rows are not whole blocks are F16. Rows without a piece get tokens
 * [PAD330] of type UNUSED, as llama.cpp's converter names them. An error when the tokenizer has
 * pieces in use without a row, or rules that the format cannot hold. The file is read back before
 * it gets its name. lorac.template holds the template of the notes. adapter NULL, here and above:
 * the base as it is. */
int merge_write_gguf(const struct llama *m, const struct adapter *a, const struct kernels *k,
                     const char *path, const struct merge_options *o, struct err *e);

/* Put chat_template and end into the files of a directory that holds the base's: the template where
 * the base has its own (tokenizer_config.json, chat_template.jinja, or both), else into
 * tokenizer_config.json; the token into generation_config.json. */
int merge_template_files(const char *dir, const struct merge_options *o, struct err *e);

#endif
