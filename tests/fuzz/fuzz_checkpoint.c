/* A checkpoint: first as it is, so that its seal is checked; then sealed again, so that the reader
 * also sees what somebody who can compute a SHA-256 may write. */
#include <math.h>

#include "src/train/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static const struct dims dims = { .layers = 1, .C = 4, .F = 4, .H = 1, .G = 1, .D = 4, .V = 8 };
enum { STEPS = 3 };

static void try_file(const char *path)
{
    struct checkpoint_start h;
    struct err e;
    int code = checkpoint_read_start(&h, path, &e);
    if (code) fuzz_refused(&e, code, ERR_FAIL, path);
    if (!code) checkpoint_start_free(&h);
    struct adapter a;
    real params[128], m[128], v[128];
    double loss[STEPS];
    adapter_layout(&a, &dims, 1, 2, 1u << Q_PROJ);
    CHECK(a.n_params <= 128);
    struct checkpoint c = {
        .adapter = &a, .total_steps = STEPS, .params = params, .m = m, .v = v, .loss = loss
    };
    code = checkpoint_load(&c, path, &e);
    history_free(&c.history);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, path);
        return;
    }
    CHECK(c.step <= STEPS);
    for (size_t i = 0; i < a.n_params; i++) CHECK(isfinite(params[i]) && isfinite(m[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    try_file(fuzz_put("step-000001.h5", data, n));
    const char *sealed = fuzz_put_sealed("step-000001.h5", data, n);
    if (sealed) try_file(sealed);
    return 0;
}
