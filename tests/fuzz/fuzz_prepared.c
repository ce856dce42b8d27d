/* A prepared data set: first as it is, so that its seal is checked; then sealed again, so that the
 * reader also sees what somebody who can compute a SHA-256 may write. The key is the file's own. */
#include <string.h>

#include "src/data/dataset_open.h"
#include "src/data/prepared.h"
#include "src/formats/h5.h"
#include "tests/fuzz/fuzz.h"

enum { VOCABULARY = 300 };

static void try_side(const struct examples *x, const struct origins *o)
{
    size_t tokens = examples_tokens(x), targets = 0, source = 0, line;
    for (size_t i = 0; i < tokens; i++) {
        CHECK(x->ids[i] >= 0 && x->ids[i] < VOCABULARY);
        targets += x->target[i] != 0;
    }
    CHECK(targets <= tokens);
    for (size_t i = 0; i < x->n; i++) {
        CHECK(x->at[i] <= x->at[i + 1] && x->at[i + 1] <= tokens);
        CHECK(origin_of(&line, o, i) >= source && line == o->line[i]);
        source = origin_of(&line, o, i);
        CHECK(source < o->n_sources);
    }
    for (size_t i = 0; x->item && i < x->n_items; i++)
        CHECK(x->item[i] <= x->item[i + 1] && x->item[i + 1] <= x->n);
}

static void try_file(const char *path)
{
    struct h5_reader r;
    struct share shares[1] = { { .weight = 1 } };
    struct dataset d = { .shares = shares, .n_shares = 1 };
    struct str key = { 0 }, notes = { 0 };
    struct err e;
    int code = h5_open(&r, path, &e);
    if (!code) {
        code = h5_get_text(&key, &r, "key", &e);
        h5_close(&r);
    }
    bool is_text = !code && !(key.n && memchr(key.p, 0, key.n));
    if (is_text) code = prepared_open(&d, &notes, path, key.p ? key.p : "", VOCABULARY, &e);
    if (code) fuzz_refused(&e, code, ERR_FAIL, path);
    if (is_text && !code) {
        try_side(&d.train, &d.train_origins);
        try_side(&d.validation, &d.validation_origins);
    }
    d.shares = NULL;
    dataset_close(&d);
    str_free(&key);
    str_free(&notes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    try_file(fuzz_put("prepared.h5", data, n));
    const char *sealed = fuzz_put_sealed("prepared.h5", data, n);
    if (sealed) try_file(sealed);
    return 0;
}
