#include "tests/fuzz/tokenize.h"

#include <string.h>

#include "src/base/utf8.h"

bool fuzz_encode(const struct tokenizer *t, const char *text, size_t n, bool exact)
{
    struct tokens ids = { 0 };
    struct err e;
    size_t at = 0, start = 0, bad;
    bool apart = !tokenizer_normalizes(t); /* else tokens of one changed character share it */
    int code = tokenizer_encode(t, &ids, text, n, 0, &e);
    CHECK(!code == utf8_valid(text, n, &bad));
    for (size_t i = 0; !code && i < ids.n; i++) {
        CHECK(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_size(t));
        CHECK(ids.start[i] >= (apart ? at : start) && ids.end[i] >= at);
        CHECK(ids.end[i] >= ids.start[i] && ids.end[i] <= n);
        start = ids.start[i];
        at = ids.end[i];
    }
    if (!code) {
        struct str out = { 0 };
        tokenizer_decode(t, &out, ids.ids, ids.n, true, true);
        CHECK(apart || out.n <= 3 * n);
        CHECK(!exact || (out.n == n && (n == 0 || memcmp(out.p, text, n) == 0)));
        str_free(&out);
    }
    tokens_free(&ids);
    return !code;
}

void fuzz_tokenizer(const char *path, const char *where)
{
    static const char *const texts[] = {
        "",
        "Hello world",
        "  two  spaces ",
        "a\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x99\x82\n\t",
        "<s>[INST] </s><0x41><unk>",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "don't 12345 \xe2\x96\x81x",
        "e\xcc\x81\xcc\xa3 \xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab \xf0\x9d\x85\xa0",
    };
    struct tokenizer *t;
    struct err e;
    int code = tokenizer_open(&t, path, &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, where);
        return;
    }
    int32_t n = (int32_t)tokenizer_size(t);
    CHECK(tokenizer_bos(t) < n && tokenizer_eos(t) < n);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        fuzz_encode(t, texts[i], strlen(texts[i]), false);
    }
    tokenizer_free(t);
}
