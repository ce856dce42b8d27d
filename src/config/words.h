/* Remedies for a word that is not a value here: another program's word, or a misspelling. */
#ifndef LORAC_CONFIG_WORDS_H
#define LORAC_CONFIG_WORDS_H

#include "src/config/keys.h"

/* A remedy for `text` in the place of a value of k, such as "write all-linear" or "did you mean
 * cosine?"; "" where there is none. It is in static storage, until the next call. */
const char *word_remedy(const struct key *k, const char *text);

#endif
