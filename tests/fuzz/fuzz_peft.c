/* A PEFT directory for a model of two layers: adapter_config.json, a NUL, then the tensors'
 * file. */
#include <math.h>

#include "src/formats/peft.h"
#include "src/model/adapter.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct dims s = { .layers = 2, .C = 8, .F = 16, .H = 2, .G = 1, .D = 4, .V = 32 };
    struct fuzz_part part[2];
    struct adapter a;
    struct err e;
    fuzz_split(part, 2, data, n);
    fuzz_put("adapter_config.json", part[0].p, part[0].n);
    fuzz_put("adapter_model.safetensors", part[1].p, part[1].n);
    struct adapter_base base = { .dims = &s };
    int code = adapter_load(&a, &base, fuzz_dir(), &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, fuzz_dir());
        return 0;
    }
    CHECK(isfinite(a.scale) && a.scale > 0);
    for (size_t i = 0; i < a.n_params; i++) CHECK(isfinite(a.params[i]));
    adapter_free(&a);
    return 0;
}
