/* src/formats/safetensors.c and shards.c against real files, their own writer, and broken files. */
#include "tests/files_util.h"

#include "src/base/mem.h"
#include "src/formats/gguf.h"
#include "src/formats/shards.h"

static struct safetensors open_ok(const char *path)
{
    struct safetensors f;
    struct err e;
    if (safetensors_open(&f, path, &e)) fail_msg("%s", e.msg);
    return f;
}

/* ---- real files ------------------------------------------------------------------------------ */

static void test_stories(void **state)
{
    (void)state;
    struct safetensors f = open_ok(fixture("stories260K-hf/model.safetensors"));
    struct gguf g;
    struct err e;
    assert_int_equal(f.n, 47);
    assert_string_equal(f.format, "pt");
    for (size_t i = 1; i < f.n; i++)
        assert_true(strcmp(f.tensors[i - 1].name, f.tensors[i].name) < 0);
    const struct tensor *t = safetensors_find(&f, "model.layers.4.mlp.down_proj.weight");
    assert_non_null(t);
    assert_int_equal(t->type, STORAGE_F32);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->dims[0], 64);
    assert_int_equal(t->dims[1], 172);
    assert_null(safetensors_find(&f, "model.layers.5.mlp.down_proj.weight"));
    /* The same weights came through llama.cpp. */
    assert_int_equal(gguf_open(&g, fixture("stories260K-gguf/stories260K.F32.gguf"), &e), 0);
    const struct tensor *u = gguf_find(&g, "blk.4.ffn_down.weight");
    assert_int_equal(t->bytes, u->bytes);
    assert_memory_equal(t->data, u->data, t->bytes);
    gguf_close(&g);
    safetensors_close(&f);
}

static void test_bf16(void **state)
{
    (void)state;
    struct safetensors f = open_ok(fixture("tiny-random-llama-2/model.safetensors"));
    for (size_t i = 0; i < f.n; i++) assert_int_equal(f.tensors[i].type, STORAGE_BF16);
    const struct tensor *t = safetensors_find(&f, "lm_head.weight");
    assert_int_equal(t->dims[0], 3000);
    assert_int_equal(t->dims[1], 16);
    safetensors_close(&f);
}

/* ---- our own writer -------------------------------------------------------------------------- */

static const uint8_t sample_bytes[] = { 0, 0, 0x80, 0x3f, 1,  2,  3,  4,  5,
                                        6, 7, 8,    9,    10, 11, 12, 13, 14 };

static const char *write_sample(const char *name)
{
    static const struct st_entry entries[] = {
        { "scalar", STORAGE_F32, 0, { 0 } },
        { "empty", STORAGE_F32, 2, { 0, 7 } },
        { "matrix", STORAGE_BF16, 2, { 2, 3 } },
        { "quote\"\\\n", STORAGE_F16, 1, { 1 } },
    };
    struct st_writer w;
    struct err e;
    const char *path = temp_path(name);
    assert_int_equal(st_writer_begin(&w, path, entries, 4, 0600, &e), 0);
    assert_int_equal(st_writer_add(&w, sample_bytes, 5, &e), 0);
    assert_int_equal(st_writer_add(&w, sample_bytes + 5, sizeof sample_bytes - 5, &e), 0);
    assert_int_equal(st_writer_commit(&w, &e), 0);
    return path;
}

static void test_writer(void **state)
{
    (void)state;
    struct safetensors f = open_ok(write_sample("sample.safetensors"));
    assert_int_equal(f.n, 4);
    assert_string_equal(f.format, "pt");
    const struct tensor *t = safetensors_find(&f, "matrix");
    assert_int_equal(t->type, STORAGE_BF16);
    assert_string_equal(t->type_name, "BF16");
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(t->bytes, 12);
    assert_memory_equal(t->data, sample_bytes + 4, 12);
    assert_int_equal(safetensors_find(&f, "scalar")->rank, 0);
    assert_memory_equal(safetensors_find(&f, "scalar")->data, "\0\0\x80\x3f", 4);
    assert_int_equal(safetensors_find(&f, "empty")->bytes, 0);
    assert_memory_equal(safetensors_find(&f, "quote\"\\\n")->data, "\x0d\x0e", 2);
    assert_int_equal((uintptr_t)safetensors_find(&f, "scalar")->data % 8, 0);
    safetensors_close(&f);
}

/* The header that the reference implementation (0.8.0) writes for the same two tensors. */
static void test_same_bytes_as_reference(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                 "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]}}";
    static const struct st_entry entries[] = {
        { "a", STORAGE_F32, 1, { 2 } },
        { "b", STORAGE_F32, 0, { 0 } },
    };
    struct st_writer w;
    struct err e;
    assert_int_equal(st_writer_begin(&w, temp_path("ref"), entries, 2, 0600, &e), 0);
    assert_int_equal(st_writer_add(&w, sample_bytes, 12, &e), 0);
    assert_int_equal(st_writer_commit(&w, &e), 0);
    struct str s = { 0 };
    get_file(&s, temp_path("ref"));
    assert_memory_equal(s.p + 8, header, sizeof header - 1);
    assert_int_equal(s.n, 8 + (sizeof header - 1 + 7) / 8 * 8 + 12);
    str_free(&s);
}

static void test_abort_leaves_nothing(void **state)
{
    (void)state;
    static const struct st_entry entry = { "a", STORAGE_F32, 1, { 2 } };
    struct st_writer w;
    struct err e;
    assert_int_equal(st_writer_begin(&w, temp_path("gone"), &entry, 1, 0600, &e), 0);
    st_writer_abort(&w);
    assert_false(file_exists(w.save.tmp));
    assert_false(file_exists(temp_path("gone")));
    const char *path = temp_path("no/such/dir");
    assert_refused(st_writer_begin(&w, path, &entry, 1, 0600, &e), &e, path, "dir", "No such file");
    st_writer_abort(&w);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static void test_modes(void **state)
{
    (void)state;
    static const struct st_entry entry = { "a", STORAGE_F32, 1, { 0 } };
    static const mode_t modes[] = { 0600, 0666 };
    mode_t mask = umask(022);
    for (size_t i = 0; i < 2; i++) {
        struct st_writer w;
        struct err e;
        assert_int_equal(st_writer_begin(&w, temp_path("mode"), &entry, 1, modes[i], &e), 0);
        assert_int_equal(st_writer_commit(&w, &e), 0);
        assert_int_equal(mode_of(temp_path("mode")), modes[i] & ~(mode_t)022);
    }
    umask(mask);
}

/* ---- made files ------------------------------------------------------------------------------ */

static const char *build(const char *name, const char *header, size_t data)
{
    struct str s = { 0 };
    size_t n = strlen(header);
    for (unsigned i = 0; i < 8; i++) str_addc(&s, (char)((uint64_t)n >> (8 * i)));
    str_addz(&s, header);
    for (size_t i = 0; i < data; i++) str_addc(&s, (char)i);
    const char *path = put_file(name, s.p, s.n);
    str_free(&s);
    return path;
}

#define META "\"__metadata__\":{\"format\":\"pt\"}"
/* One F32 tensor `a`; the headers are padded to 8 bytes where a tensor has to be aligned. */
#define A(dims, offsets)                                                                           \
    "{\"a\":{\"dtype\":\"F32\",\"shape\":" dims ",\"data_offsets\":" offsets "}}"

static void test_unusual(void **state)
{
    (void)state;
    static const struct {
        const char *label, *header;
        size_t data, n;
    } rows[] = {
        { "no tensors", "{}", 0, 0 },
        { "metadata only", "{" META "}   ", 0, 0 },
        { "no metadata", A("[1]", "[0,4]") "  ", 4, 1 },
        { "scalar", A("[]", "[0,4]") "   ", 4, 1 },
        { "empty", A("[3,0]", "[0,0]"), 0, 1 },
        { "eight dimensions", A("[1,1,1,1,1,1,1,1]", "[0,4]") "    ", 4, 1 },
        { "spaces after the header", A("[1]", "[0,4]") "          ", 4, 1 },
        { "types of others at odd places",
          "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
          "\"y\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[1,9]}}",
          9, 2 },
        { "two values in a byte", "{\"x\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}",
          1, 1 },
        { "empty between others",
          "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
          "\"y\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[1,1]},"
          "\"z\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
          2, 3 },
        { "not in file order",
          "{\"b\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[1,2]},"
          "\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
          2, 2 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct safetensors f = open_ok(build("made", rows[i].header, rows[i].data));
        assert_int_equal(f.n, rows[i].n);
        safetensors_close(&f);
    }
}

static const struct {
    const char *label, *header;
    size_t data;
    const char *want;
} hostile[] = {
    { "empty header", "", 0, "begins with nothing" },
    { "array", "[]", 0, "wanted \"{\"" },
    { "space in front", " {}", 0, "wanted \"{\"" },
    { "not JSON", "{\"a\":}", 0, "not valid JSON" },
    { "text after", "{}{}", 0, "not valid JSON" },
    { "invalid UTF-8", "{\"\xff\":{}}", 0, "not valid JSON" },
    { "NUL in a name", "{\"a\\u0000b\":{}}", 0, "not valid JSON" },
    { "key twice", "{\"a\":{},\"a\":{}}", 0, "duplicate" },
    { "metadata twice", "{" META "," META "}", 0, "duplicate" },
    { "member twice",
      "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
      "duplicate" },
    { "metadata a string", "{\"__metadata__\":\"pt\"}", 0, "__metadata__: found a string" },
    { "metadata with a number", "{\"__metadata__\":{\"n\":1}}", 0, "\"n\": found an integer" },
    { "tensor an array", "{\"a\":[]}", 0, "tensor \"a\": found an array" },
    { "no dtype", "{\"a\":{\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "\"dtype\": a string" },
    { "dtype a number", "{\"a\":{\"dtype\":1,\"shape\":[0],\"data_offsets\":[0,0]}}", 0, "dtype" },
    { "unknown dtype", "{\"a\":{\"dtype\":\"Q4\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
      "found \"Q4\", wanted a dtype" },
    { "unknown member",
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0],\"strides\":[1]}}", 0,
      "\"strides\"" },
    { "no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}", 0, "\"shape\"" },
    { "shape with a string", A("[\"1\"]", "[0,4]"), 4, "found a string" },
    { "shape with a real", A("[1.0]", "[0,4]"), 4, "found a number" },
    { "negative dimension", A("[-1]", "[0,4]"), 4, "a negative size" },
    { "dimension above 2^63", A("[18446744073709551615]", "[0,4]"), 4, "found a number" },
    { "nine dimensions", A("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "more dimensions" },
    { "product that wraps to 4", A("[4194305,4194305,211106198978564]", "[0,4]"), 4, "overflows" },
    { "bytes that wrap to 0", A("[4611686018427387904]", "[0,0]"), 0, "overflows" },
    { "a part of a byte", "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
      "a part of a byte" },
    { "no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets" },
    { "three offsets", A("[1]", "[0,4,4]"), 4, "data_offsets" },
    { "negative offset", A("[1]", "[-4,0]"), 4, "data_offsets" },
    { "end before begin", A("[1]", "[4,0]"), 4, "found bytes 4 to 0" },
    { "end beyond the file", A("[2]", "[0,8]"), 4, "found bytes 0 to 8 of 4" },
    { "far away", A("[1]", "[9223372036854775803,9223372036854775807]"), 4, "cut off" },
    { "range larger than the shape", A("[1]", "[0,8]"), 8, "wanted the 4 of its shape" },
    { "range smaller than the shape", A("[2]", "[0,4]"), 4, "wanted the 8 of its shape" },
    { "hole in front", A("[1]", "[4,8]") "  ", 8, "begins at byte 4 of the data, wanted 0" },
    { "bytes behind", A("[1]", "[0,4]") "  ", 5, "1 bytes after the last tensor" },
    { "bytes without tensors", "{}", 1, "1 bytes after" },
    { "overlap",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
      4, "wanted 3" },
    { "the same bytes twice",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
      4, "wanted 4" },
    { "empty inside another",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}",
      4, "begins at byte 2" },
    { "across its size",
      "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[1,3]}}",
      3, "2-byte numbers" },
    { "control characters", "{\"\\u001b[2J\\u202e\":1}", 0, "\\x1b[2J\\xe2\\x80\\xae" },
};

static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const char *path = build("made", hostile[i].header, hostile[i].data);
        struct safetensors f;
        struct err e;
        assert_refused(safetensors_open(&f, path, &e), &e, path, hostile[i].label, hostile[i].want);
    }
}

static void test_hostile_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *label, *bytes;
        size_t n;
        const char *want;
    } rows[] = {
        { "no bytes", "", 0, "found 0 bytes" },
        { "seven bytes", "\2\0\0\0\0\0\0", 7, "found 7 bytes" },
        { "header beyond the file", "\3\0\0\0\0\0\0\0{}", 10, "header of 3 bytes in a file of 10" },
        { "header above the limit", "\1\xe1\xf5\5\0\0\0\0{}", 10, "header of 100000001 bytes" },
        { "header of 2^64-1", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "at most 100000000" },
        { "LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", 64,
          "git lfs pull" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = put_file("made", rows[i].bytes, rows[i].n);
        struct safetensors f;
        struct err e;
        assert_refused(safetensors_open(&f, path, &e), &e, path, rows[i].label, rows[i].want);
    }
}

static void test_deep_nesting(void **state)
{
    (void)state;
    struct str s = { 0 };
    str_addz(&s, "{\"a\":");
    for (int i = 0; i < 100000; i++) str_addc(&s, '[');
    const char *path = build("deep", s.p, 0);
    struct safetensors f;
    struct err e;
    assert_refused(safetensors_open(&f, path, &e), &e, path, "deep", "nested deeper");
    str_free(&s);
}

static void test_every_truncation(void **state)
{
    (void)state;
    const char *path = write_sample("whole");
    for (size_t n = file_bytes(path); n-- > 0;) {
        cut_file(path, n);
        struct safetensors f;
        struct err e;
        assert_refused(safetensors_open(&f, path, &e), &e, path, "truncated", "");
    }
}

static void test_every_flip(void **state)
{
    (void)state;
    static const uint8_t masks[] = { 0x01, 0x04, 0x80 };
    const char *path = write_sample("whole");
    size_t bytes = file_bytes(path);
    unsigned opened = 0, sum = 0;
    for (size_t i = 0; i < 3 * bytes; i++) {
        flip_bits(path, i / 3, masks[i % 3]);
        struct safetensors f;
        struct err e;
        int code = safetensors_open(&f, path, &e);
        if (code) assert_refused(code, &e, path, "flipped", "");
        opened += code == 0;
        for (size_t t = 0; t < f.n; t++) {
            for (uint64_t j = 0; j < f.tensors[t].bytes; j++) sum += f.tensors[t].data[j];
        }
        safetensors_close(&f);
        flip_bits(path, i / 3, masks[i % 3]);
    }
    assert_true(opened > 0 && sum > 0);
}

/* ---- directories of shards ------------------------------------------------------------------- */

#define U8(name) "{\"" name "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
#define U8_2(a, b)                                                                                 \
    "{\"" a "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"                          \
    "\"" b "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}"
#define INDEX "model.safetensors.index.json"

/* A directory test_dir/name with two shards: x and z, then y. */
static const char *make_model(const char *name, const char *index)
{
    const char *dir = temp_path(name);
    char path[256];
    struct err e;
    if (dir_make(dir, 0700, &e)) fail_msg("%s", e.msg);
    snprintf(path, sizeof path, "%s/model-1.safetensors", name);
    build(path, U8_2("x", "z"), 2);
    snprintf(path, sizeof path, "%s/model-2.safetensors", name);
    build(path, U8("y"), 1);
    snprintf(path, sizeof path, "%s/" INDEX, name);
    if (index) put_text(path, index);
    return dir;
}

#define GOOD_MAP                                                                                   \
    "{\"y\":\"model-2.safetensors\",\"x\":\"model-1.safetensors\",\"z\":\"model-1.safetensors\"}"

static void test_shards(void **state)
{
    (void)state;
    struct shards s;
    struct err e;
    const char *dir = make_model("sharded",
                                 "{\"metadata\":{\"total_size\":3},\"weight_map\":" GOOD_MAP "}");
    if (shards_open(&s, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(s.n_files, 2);
    assert_string_equal(path_base(s.paths[0]), "model-1.safetensors");
    assert_string_equal(path_base(s.paths[1]), "model-2.safetensors");
    assert_int_equal(s.n_tensors, 3);
    assert_string_equal(s.tensors[0]->name, "x");
    assert_string_equal(s.tensors[1]->name, "y");
    assert_string_equal(s.tensors[2]->name, "z");
    assert_ptr_equal(shards_find(&s, "y"), s.tensors[1]);
    assert_string_equal(shards_path_of(&s, s.tensors[1]), s.paths[1]);
    assert_string_equal(shards_path_of(&s, s.tensors[2]), s.paths[0]);
    assert_null(shards_find(&s, "w"));
    shards_close(&s);
}

static void test_single_file_model(void **state)
{
    (void)state;
    struct shards s;
    struct err e;
    const char *path = fixture("stories260K-hf/model.safetensors");
    char dir[PATH_BYTES];
    snprintf(dir, sizeof dir, "%.*s", (int)(strlen(path) - strlen("/model.safetensors")), path);
    if (shards_open(&s, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(s.n_files, 1);
    assert_int_equal(s.n_tensors, 47);
    assert_non_null(shards_find(&s, "model.norm.weight"));
    shards_close(&s);
}

static void test_bad_indexes(void **state)
{
    (void)state;
    static const struct {
        const char *label, *index, *want;
    } rows[] = {
        { "no index", NULL, "no model.safetensors.index.json: an incomplete download" },
        { "not JSON", "{", "not valid JSON" },
        { "an array", "[]", "weight_map: found nothing" },
        { "no map", "{}", "weight_map: found nothing" },
        { "map an array", "{\"weight_map\":[1]}", "weight_map: found an array" },
        { "empty map", "{\"weight_map\":{}}", "weight_map: found nothing in it" },
        { "file a number", "{\"weight_map\":{\"x\":1}}", "\"x\": found an integer" },
        { "path upwards", "{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "\"../a.safetensors\"" },
        { "absolute path", "{\"weight_map\":{\"x\":\"/etc/a.safetensors\"}}", "beside the index" },
        { "other ending", "{\"weight_map\":{\"x\":\"model.bin\"}}", "\"model.bin\"" },
        { "only the ending", "{\"weight_map\":{\"x\":\".safetensors\"}}", "\".safetensors\"" },
        { "NUL", "{\"weight_map\":{\"x\":\"a\\u0000.safetensors\"}}", "a\\x00.safetensors" },
        { "missing shard", "{\"weight_map\":{\"x\":\"model-3.safetensors\"}}",
          "model-3.safetensors: listed in model.safetensors.index.json, but missing" },
        { "tensor twice in the map",
          "{\"weight_map\":{\"x\":\"model-1.safetensors\",\"x\":\"model-2.safetensors\"}}",
          "duplicate" },
        { "tensor of a shard not listed",
          "{\"weight_map\":{\"y\":\"model-2.safetensors\",\"x\":\"model-1.safetensors\"}}",
          "tensor \"z\": not listed for this file" },
        { "tensor in the wrong shard",
          "{\"weight_map\":{\"y\":\"model-1.safetensors\",\"x\":\"model-1.safetensors\","
          "\"z\":\"model-2.safetensors\"}}",
          "not listed for this file" },
        { "tensor in no shard",
          "{\"weight_map\":{\"y\":\"model-2.safetensors\",\"x\":\"model-1.safetensors\","
          "\"z\":\"model-1.safetensors\",\"w\":\"model-2.safetensors\"}}",
          "tensor \"w\" is not in" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "bad-%zu", i);
        const char *dir = make_model(name, rows[i].index);
        struct shards s;
        struct err e;
        assert_refused(shards_open(&s, dir, &e), &e, dir, rows[i].label, rows[i].want);
    }
}

static void test_no_safetensors(void **state)
{
    (void)state;
    struct shards s;
    struct err e;
    const char *dir = temp_path("bin");
    assert_refused(shards_open(&s, dir, &e), &e, dir, "no directory", "no such directory");
    assert_int_equal(dir_make(dir, 0700, &e), 0);
    assert_refused(shards_open(&s, dir, &e), &e, dir, "nothing", "found no weights");
    put_text("bin/pytorch_model-00001-of-00002.bin", "x");
    assert_refused(shards_open(&s, dir, &e), &e, dir, "bin", "safe_serialization=True");
}

/* Two shards that hold the same tensor: the index can only name one of them. */
static void test_tensor_in_two_shards(void **state)
{
    (void)state;
    const char *dir = make_model("twice", "{\"weight_map\":" GOOD_MAP "}");
    build("twice/model-2.safetensors", U8_2("x", "y"), 2);
    struct shards s;
    struct err e;
    assert_refused(shards_open(&s, dir, &e), &e, dir, "twice", "model-2.safetensors: tensor \"x\"");
}

static void test_damaged_shard(void **state)
{
    (void)state;
    const char *dir = make_model("damaged", "{\"weight_map\":" GOOD_MAP "}");
    build("damaged/model-2.safetensors", U8("y"), 2);
    struct shards s;
    struct err e;
    assert_refused(shards_open(&s, dir, &e), &e, dir, "damaged",
                   "model-2.safetensors: found 1 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_stories, "safetensors: a real model is read"),
        ENTRY(test_bf16, "safetensors: a real bf16 model is read"),
        ENTRY(test_writer, "safetensors: what is written is read"),
        ENTRY(test_same_bytes_as_reference,
              "safetensors: a written file is the reference's, byte for byte"),
        ENTRY(test_abort_leaves_nothing, "safetensors: an aborted write leaves no file"),
        ENTRY(test_modes, "safetensors: a file has the mode that was asked for, less the umask"),
        ENTRY(test_unusual, "safetensors: unusual files that are valid are read"),
        ENTRY(test_hostile, "safetensors: malformed headers are refused with the reason"),
        ENTRY(test_hostile_lengths, "safetensors: wrong header lengths are refused"),
        ENTRY(test_deep_nesting, "safetensors: deep nesting is refused"),
        ENTRY(test_every_truncation, "safetensors: every truncation is refused"),
        ENTRY(test_every_flip, "safetensors: every flipped byte is refused or read"),
        ENTRY(test_shards, "safetensors: shards are read by their index"),
        ENTRY(test_single_file_model, "safetensors: a model in one file is read"),
        ENTRY(test_bad_indexes, "safetensors: a wrong index is refused with the reason"),
        ENTRY(test_no_safetensors,
              "safetensors: a directory without weights is refused with what to do"),
        ENTRY(test_tensor_in_two_shards, "safetensors: a tensor in two shards is refused"),
        ENTRY(test_damaged_shard, "safetensors: a damaged shard is named"),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_test_dir, remove_test_dir);
}
