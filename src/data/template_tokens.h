/* The special tokens that templates place by id, and the tokenizers that have them. */
#ifndef LORAC_DATA_TEMPLATE_TOKENS_H
#define LORAC_DATA_TEMPLATE_TOKENS_H

#include "src/data/template_row.h"
#include "src/tokenizer/tokenizer.h"

/* The id of a special token by its name in a part; -1: the tokenizer does not have it. */
int32_t template_token(const struct tokenizer *tok, const struct template_piece *p);

/* Whether the template places a special token that the tokenizer does not have, or for which the
 * model has no row; *out is the first one. */
bool template_lacks(struct template_piece *out, const struct template *t,
                    const struct tokenizer *tok);
/* Whether the template places no such token. */
bool template_fits(const struct template *t, const struct tokenizer *tok);

/* The special token that the `left` bytes of text spell at their beginning: its id and *n, its
 * length; -1: none. */
int32_t template_spelt_special(size_t *n, const struct tokenizer *tok, const char *text,
                               size_t left);

#endif
