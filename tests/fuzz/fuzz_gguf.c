/* A GGUF file: metadata, tensors, the dimensions of the model, the tokenizer in it. */
#include <string.h>

#include "src/model/dims.h"
#include "tests/fuzz/tokenize.h"

static void walk(const struct gguf *g)
{
    struct gguf_strings it;
    struct err e;
    uint64_t total = 0, count;
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct gguf_kv *kv = &g->kv[i];
        CHECK(kv->raw >= g->map.data && kv->raw + kv->raw_bytes <= g->map.data + g->map.size);
        if (kv->type != GGUF_ARRAY || kv->item != GGUF_STRING) continue;
        CHECK(!gguf_strings(&it, &count, g, kv->key, &e));
        const char *text;
        size_t n, seen = 0;
        while (gguf_strings_next(&it, &text, &n)) seen++;
        CHECK(seen == count);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = &g->tensors[i];
        CHECK(t->data >= g->map.data && t->data + t->bytes <= g->map.data + g->map.size);
        CHECK(gguf_find(g, t->name) == t);
        total += t->bytes;
    }
    CHECK(total <= g->map.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf g;
    struct dims s;
    struct err e;
    const char *path = fuzz_put("model.gguf", data, n);
    int code = gguf_open(&g, path, &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, path);
        return 0;
    }
    walk(&g);
    code = dims_from_gguf(&s, &g, &e);
    if (code) fuzz_refused(&e, code, ERR_FAIL, path);
    gguf_close(&g);
    fuzz_tokenizer(path, path);
    return 0;
}
