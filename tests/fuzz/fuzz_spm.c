/* SentencePiece's tokenizer.model. */
#include "tests/fuzz/tokenize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *path = fuzz_put("tokenizer.model", data, n);
    fuzz_tokenizer(path, path);
    return 0;
}
