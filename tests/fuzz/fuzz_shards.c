/* A shard index (the first part of the input) beside two valid shards; the rest replaces the second
 * of them where it is not empty. */
#include "src/formats/shards.h"
#include "tests/fuzz/fuzz.h"

#define FIRST  "model-00001-of-00002.safetensors"
#define SECOND "model-00002-of-00002.safetensors"

static void put_shard(const char *file, const char *const *names, size_t n)
{
    struct st_entry entries[2];
    struct st_writer w;
    struct err e;
    float zeros[4] = { 0 };
    for (size_t i = 0; i < n; i++) {
        entries[i] = (struct st_entry){ names[i], STORAGE_F32, 1, { 2 } };
    }
    const char *path = fuzz_put(file, "", 0);
    CHECK(!st_writer_begin(&w, path, entries, n, 0600, &e));
    CHECK(!st_writer_add(&w, zeros, n * 8, &e) && !st_writer_commit(&w, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const first[] = { "a", "b" }, *const second[] = { "c" };
    static bool made;
    struct fuzz_part part[2];
    struct shards s;
    struct err e;
    fuzz_split(part, 2, data, n);
    if (!made) put_shard(FIRST, first, 2);
    if (!made) put_shard(SECOND, second, 1);
    made = part[1].n == 0;
    if (!made) fuzz_put(SECOND, part[1].p, part[1].n);
    fuzz_put("model.safetensors.index.json", part[0].p, part[0].n);
    int code = shards_open(&s, fuzz_dir(), &e);
    if (code) {
        fuzz_refused(&e, code, ERR_FAIL, fuzz_dir());
        return 0;
    }
    for (size_t i = 0; i < s.n_tensors; i++) {
        CHECK(shards_find(&s, s.tensors[i]->name) == s.tensors[i]);
        CHECK(shards_path_of(&s, s.tensors[i]));
    }
    shards_close(&s);
    return 0;
}
