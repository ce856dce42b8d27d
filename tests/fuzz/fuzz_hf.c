/* A tokenizer.json, and beside it (each after a NUL, where it is not empty) tokenizer_config.json,
 * special_tokens_map.json, added_tokens.json, generation_config.json. */
#include "tests/fuzz/tokenize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer_config.json",
                                         "special_tokens_map.json", "added_tokens.json",
                                         "generation_config.json" };
    enum { PARTS = sizeof names / sizeof *names };
    struct fuzz_part part[PARTS];
    fuzz_split(part, PARTS, data, n);
    for (size_t i = 0; i < PARTS; i++) {
        if (i > 0 && part[i].n == 0)
            fuzz_drop(names[i]);
        else
            fuzz_put(names[i], part[i].p, part[i].n);
    }
    fuzz_tokenizer(fuzz_dir(), fuzz_dir());
    return 0;
}
