/* The writers behind tokenizer_export(): each appends a whole file to `out`. Memory errors stay in
 * `out` (str_error()). */
#ifndef LORAC_TOKENIZER_EXPORT_H
#define LORAC_TOKENIZER_EXPORT_H

#include "src/base/str.h"
#include "src/tokenizer/parts.h"

/* tokenizer.model. Needs SentencePiece-style pieces whose scores say how they merge. */
void export_model(struct str *out, const struct tokenizer *t);

/* tokenizer.json, for both kinds. The merges of a vocabulary that merges by score are listed in the
 * order in which Hugging Face's own converter lists them. */
int export_json(struct str *out, const struct tokenizer *t, struct err *e);

/* A token's text as it must be spelt in JSON vocabularies: empty pieces, which no text reaches, get
 * a name. Valid until the next call on the same buffer. */
const char *export_text(char buffer[32], const struct tokenizer *t, int32_t id, size_t *n);

#endif
