/* An adapter_config.json, and what it says of each module of a Llama. */
#include <math.h>
#include <stdio.h>

#include "src/formats/peft.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const modules[] = { "self_attn.q_proj", "self_attn.o_proj",
                                           "mlp.down_proj" };
    struct peft_config c;
    struct err e;
    fuzz_put("adapter_config.json", data, n);
    int code = peft_config_read(&c, fuzz_dir(), &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, fuzz_dir());
        return 0;
    }
    for (size_t i = 0; i < 6; i++) {
        char path[64];
        size_t r = 0;
        double alpha = 0;
        bool is;
        snprintf(path, sizeof path, "model.layers.%zu.%s", i / 3, modules[i % 3]);
        code = peft_targets(&is, &c, path, &e);
        if (code) fuzz_refused(&e, code, ERR_FAIL, fuzz_dir());
        code = peft_r_alpha(&r, &alpha, &c, path, &e);
        if (code) fuzz_refused(&e, code, ERR_FAIL, fuzz_dir());
        CHECK(code || (r >= 1 && isfinite(peft_scale(&c, r, alpha))));
    }
    peft_config_free(&c);
    return 0;
}
