/* A checkpoint: first as it is, behind its seal; then sealed anew, so that the reader behind it gets
 * to see what somebody who can compute a SHA-256 may write. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/train/checkpoint.h"
#include "tests/fuzz/fuzz.h"

static const struct shape shape = { .layers = 1, .C = 4, .F = 4, .H = 1, .G = 1, .D = 4, .V = 8 };
enum { STEPS = 3, BLOCK = 512 };

static void try_file(const char *path)
{
    struct checkpoint_head h;
    struct err e;
    int code = checkpoint_read_head(&h, path, &e);
    if (code) fuzz_refused(&e, code, ERR_FAIL, path);
    if (!code) checkpoint_head_free(&h);
    struct adapter a;
    real params[128], m[128], v[128];
    double loss[STEPS];
    adapter_layout(&a, &shape, 1, 2, 1u << Q_PROJ);
    CHECK(a.n_params <= 128);
    struct checkpoint c = {
        .adapter = &a, .total_steps = STEPS, .params = params, .m = m, .v = v, .loss = loss
    };
    code = checkpoint_load(&c, path, &e);
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
    if (n <= BLOCK) return 0;
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX], *copy = mem_alloc(n, 1, &e);
    CHECK(copy && !sha256_of(digest, data + BLOCK, n - BLOCK, &e));
    hex_of(hex, digest);
    memcpy(copy + BLOCK, data + BLOCK, n - BLOCK);
    snprintf(copy, BLOCK, "LORACH5\nversion 1\nbytes %020zu\nsha256 %s\n", n, hex);
    try_file(fuzz_put("step-000001.h5", copy, n));
    mem_free(copy);
    return 0;
}
