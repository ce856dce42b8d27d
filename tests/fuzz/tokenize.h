/* Shared by the targets that open a tokenizer: what they do with one that is accepted. */
#ifndef LORAC_TESTS_FUZZ_TOKENIZE_H
#define LORAC_TESTS_FUZZ_TOKENIZE_H

#include "src/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

/* Open a file or directory; refused: check the message against `where`; accepted: encode and decode
 * some texts. */
void fuzz_tokenizer(const char *path, const char *where);

/* Encode one text and CHECK the header's promises: ids in range, spans that never decrease. With
 * `exact` the ids decode to the same text. False when it is not UTF-8. */
bool fuzz_encode(const struct tokenizer *t, const char *text, size_t n, bool exact);

#endif
