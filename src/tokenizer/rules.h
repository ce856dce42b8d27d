/* The BPE rules of a tokenizer, from its list of merges or from the scores of its pieces. */
#ifndef LORAC_TOKENIZER_RULES_H
#define LORAC_TOKENIZER_RULES_H

#include "src/tokenizer/parts.h"

/* Fill t->bpe and t->chars from what the container declared; for SentencePiece-style vocabularies
 * with a list of merges also the scores, and t->scores_fit: whether merging by the scores alone
 * gives the same as the list. */
int rules_make(struct tokenizer *t, const char *where, struct err *e);

#endif
