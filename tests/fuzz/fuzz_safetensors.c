/* One safetensors file: the tensors of one that is accepted cover the file, each in its own
 * bytes. */
#include <string.h>

#include "src/formats/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct safetensors f;
    struct err e;
    const char *path = fuzz_put("model.safetensors", data, n);
    int code = safetensors_open(&f, path, &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, path);
        return 0;
    }
    uint64_t total = 0;
    for (size_t i = 0; i < f.n; i++) {
        const struct tensor *t = &f.tensors[i];
        CHECK(t->rank <= TENSOR_RANK && safetensors_find(&f, t->name) == t);
        CHECK(t->data >= f.map.data && t->data + t->bytes <= f.map.data + f.map.size);
        CHECK(i == 0 || strcmp(f.tensors[i - 1].name, t->name) < 0);
        total += t->bytes;
    }
    CHECK(total <= n);
    safetensors_close(&f);
    return 0;
}
