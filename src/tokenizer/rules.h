/* The BPE rules of a tokenizer, from its list of merges or from the scores of its pieces. */
#ifndef LORAC_TOKENIZER_RULES_H
#define LORAC_TOKENIZER_RULES_H

#include "src/tokenizer/parts.h"

/* Fill t->bpe (and t->chars) from what the container declared. */
int rules_make(struct tokenizer *t, const char *where, struct err *e);

/* Whether merging by the scores of tokenizer_score() alone gives what the merges give: every way
 * to join two pieces to a third is listed, and the ways to one piece are not interleaved with
 * those to another. Always true for vocabularies that merge by score. */
int rules_fit_scores(bool *fit, const struct tokenizer *t, struct err *e);

#endif
