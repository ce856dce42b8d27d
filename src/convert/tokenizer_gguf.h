/* A tokenizer as the metadata of a GGUF file.
 * Source: convert_hf_to_gguf.py and src/llama-vocab.cpp of llama.cpp. */
#ifndef LORAC_CONVERT_TOKENIZER_GGUF_H
#define LORAC_CONVERT_TOKENIZER_GGUF_H

#include "src/formats/gguf.h"
#include "src/tokenizer/tokenizer.h"

/* Put the tokenizer of a model with V rows. Every row gets a token: where there is no piece, one of
 * type UNUSED with a name of its own, since llama.cpp stops at two tokens of one text. Added tokens
 * beyond the rows are left out with a remark (remarks += one line each; may be NULL). chat: the
 * chat template to write, NULL for none. end: a token that ends this template's answers besides
 * those of the tokenizer, -1 for none. Errors: a piece in use, BOS or EOS beyond the rows; merge
 * rules that scores cannot express. */
int gguf_put_tokenizer(struct gguf_writer *w, const struct tokenizer *t, size_t V, const char *chat,
                       int32_t end, struct str *remarks, struct err *e);

/* Whether lorac reads from the file the tokenizer that was put: V ids, the same beginning and
 * end. */
int gguf_check_tokenizer(const char *path, const struct tokenizer *t, size_t V, struct err *e);

#endif
