/* A GGUF adapter for a model of two layers. */
#include <math.h>

#include "src/convert/adapter_gguf.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct dims s = {
        .layers = 2, .C = 32, .F = 32, .H = 4, .G = 2, .D = 8, .V = 300
    };
    struct adapter a;
    struct err e;
    const char *path = fuzz_put("adapter.gguf", data, n);
    int code = adapter_gguf_read(&a, &s, path, &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, path);
        return 0;
    }
    CHECK(isfinite(a.scale));
    for (size_t i = 0; i < a.n_params; i++) CHECK(isfinite(a.params[i]));
    adapter_free(&a);
    return 0;
}
