/* A config.json: one that is accepted is written and read back with the same dimensions. */
#include <math.h>
#include <string.h>

#include "src/model/dims.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dims s, back;
    struct err e;
    const char *path = fuzz_put("config.json", data, n);
    int code = dims_from_config(&s, path, &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, path);
        return 0;
    }
    double freq[ATTENTION_D_MAX / 2];
    dims_rope_frequencies(freq, &s);
    for (size_t i = 0; i < s.D / 2; i++) CHECK(isfinite(freq[i]) && freq[i] >= 0);
    struct str out = { 0 };
    dims_to_config(&out, &s, "float32", 1, 2);
    path = fuzz_put("config.json", out.p, out.n);
    if (dims_from_config(&back, path, &e)) check_failed(e.msg, __FILE__, __LINE__);
    CHECK(back.layers == s.layers && back.C == s.C && back.F == s.F && back.V == s.V);
    CHECK(back.H == s.H && back.G == s.G && back.D == s.D && back.context == s.context);
    CHECK(back.norm_eps == s.norm_eps && back.rope_theta == s.rope_theta && back.tied == s.tied);
    CHECK(back.scaling == s.scaling);
    CHECK(s.scaling == ROPE_PLAIN || back.factor == s.factor);
    str_free(&out);
    return 0;
}
