/* src/formats/gguf.c against the files of llama.cpp, its own writer, and files made to break it. */
#include "tests/files_util.h"

#include <math.h>

#include "src/base/mem.h"
#include "src/formats/gguf.h"

static struct gguf open_ok(const char *path)
{
    struct gguf g;
    struct err e;
    if (gguf_open(&g, path, &e)) fail_msg("%s", e.msg);
    return g;
}

/* ---- files of others ------------------------------------------------------------------------- */

static void count_types(const struct gguf *g, size_t counts[STORAGE_OTHER + 1])
{
    memset(counts, 0, (STORAGE_OTHER + 1) * sizeof *counts);
    for (size_t i = 0; i < g->n_tensors; i++) counts[g->tensors[i].type]++;
}

static void test_fixtures(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n_tensors, f32, f16, q8_0, q4_0, q4_1;
        uint64_t ffn;
    } files[] = {
        { "stories260K.F32", 48, 48, 0, 0, 0, 0, 172 },
        { "stories260K.F16", 48, 11, 37, 0, 0, 0, 172 },
        { "stories260K-ffn192-tied.Q8_0", 47, 11, 0, 36, 0, 0, 192 },
        { "stories260K-ffn192-tied.Q4_0", 47, 11, 0, 1, 35, 0, 192 },
        { "stories260K-ffn192-tied.Q4_1", 47, 11, 0, 1, 0, 35, 192 },
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "stories260K-gguf/%s.gguf", files[i].name);
        struct gguf g = open_ok(fixture(name));
        size_t n[STORAGE_OTHER + 1];
        count_types(&g, n);
        assert_int_equal(g.n_tensors, files[i].n_tensors);
        assert_int_equal(n[STORAGE_F32], files[i].f32);
        assert_int_equal(n[STORAGE_F16], files[i].f16);
        assert_int_equal(n[STORAGE_Q8_0], files[i].q8_0);
        assert_int_equal(n[STORAGE_Q4_0], files[i].q4_0);
        assert_int_equal(n[STORAGE_Q4_1], files[i].q4_1);
        const struct tensor *down = gguf_find(&g, "blk.4.ffn_down.weight");
        assert_non_null(down);
        assert_int_equal(down->rank, 2);
        assert_int_equal(down->dims[0], 64);
        assert_int_equal(down->dims[1], files[i].ffn);
        assert_int_equal(down->bytes, storage_bytes(down->type, 64 * files[i].ffn));
        gguf_close(&g);
    }
}

static void test_metadata_of_fixture(void **state)
{
    (void)state;
    struct gguf g = open_ok(fixture("stories260K-gguf/stories260K.F32.gguf"));
    struct err e;
    size_t v = 7;
    assert_int_equal(gguf_get_size(&v, &g, "llama.embedding_length", true, &e), 0);
    assert_int_equal(v, 64);
    assert_int_equal(gguf_get_size(&v, &g, "tokenizer.ggml.padding_token_id", true, &e), 0);
    assert_int_equal(v, 4294967295u);
    double eps = 0;
    assert_int_equal(gguf_get_double(&eps, &g, "llama.attention.layer_norm_rms_epsilon", true, &e),
                     0);
    assert_true(fabs(eps - 1e-5) < 1e-11);
    const char *text;
    size_t n;
    assert_int_equal(gguf_get_string(&text, &n, &g, "tokenizer.ggml.model", true, &e), 0);
    assert_int_equal(n, 5);
    assert_memory_equal(text, "llama", 5);
    struct gguf_strings it;
    uint64_t count, walked = 0;
    assert_int_equal(gguf_strings(&it, &count, &g, "tokenizer.ggml.tokens", &e), 0);
    for (; gguf_strings_next(&it, &text, &n); walked++) {
        if (walked == 1) assert_memory_equal(text, "<s>", 3);
    }
    assert_int_equal(count, 512);
    assert_int_equal(walked, 512);
    const uint8_t *raw;
    assert_int_equal(gguf_numbers(&raw, &count, &g, "tokenizer.ggml.scores", GGUF_F32, &e), 0);
    assert_int_equal(count, 512);
    gguf_close(&g);
}

/* ---- our own writer -------------------------------------------------------------------------- */

/* Every type of the writer, rank 0 to 4; the last tensor ends on the alignment, so that every
 * shorter file lacks something. */
static const char *write_sample(const char *name)
{
    struct gguf_writer w;
    struct err e;
    static const uint8_t bytes[256] = { 1, 2, 3, 250 };
    static const struct {
        const char *name;
        enum storage_type type;
        unsigned rank;
        uint64_t dims[4];
        size_t bytes;
    } tensors[] = {
        { "scalar", STORAGE_F32, 0, { 0 }, 4 },         { "vector", STORAGE_BF16, 1, { 3 }, 6 },
        { "matrix", STORAGE_Q4_1, 2, { 2, 32 }, 40 },   { "cube", STORAGE_F16, 3, { 2, 3, 1 }, 12 },
        { "four", STORAGE_F32, 4, { 2, 1, 2, 2 }, 32 },
    };
    const char *path = temp_path(name);
    assert_int_equal(gguf_writer_begin(&w, path, 0600, &e), 0);
    gguf_put_string(&w, "general.architecture", "llama", 5);
    gguf_put_u32(&w, "u32", 4000000000u);
    gguf_put_f32(&w, "f32", -1.5f);
    gguf_put_bool(&w, "yes", true);
    gguf_put_array(&w, "words", GGUF_STRING, 3);
    gguf_item_string(&w, "one", 3);
    gguf_item_string(&w, "", 0);
    gguf_item_string(&w, "a\0b", 3);
    gguf_put_array(&w, "floats", GGUF_F32, 2);
    gguf_item_f32(&w, 0.5f);
    gguf_item_f32(&w, 2);
    gguf_put_array(&w, "ints", GGUF_I32, 1);
    gguf_item_i32(&w, -7);
    gguf_put_array(&w, "none", GGUF_STRING, 0);
    for (size_t i = 0; i < 5; i++) {
        gguf_put_tensor(&w, tensors[i].name, tensors[i].type, tensors[i].rank, tensors[i].dims);
    }
    assert_int_equal(gguf_writer_data(&w, &e), 0);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(gguf_writer_add(&w, bytes, tensors[i].bytes - 1, &e), 0);
        assert_int_equal(gguf_writer_add(&w, bytes + i, 1, &e), 0);
        assert_int_equal(gguf_writer_pad(&w, &e), 0);
    }
    assert_int_equal(gguf_writer_commit(&w, &e), 0);
    return path;
}

static void test_writer(void **state)
{
    (void)state;
    struct gguf g = open_ok(write_sample("sample.gguf"));
    struct err e;
    size_t v = 0;
    double d = 0;
    bool b = false;
    assert_int_equal(g.n_kv, 8);
    assert_int_equal(g.n_tensors, 5);
    assert_int_equal(gguf_get_size(&v, &g, "u32", true, &e), 0);
    assert_int_equal(v, 4000000000u);
    assert_int_equal(gguf_get_double(&d, &g, "f32", true, &e), 0);
    assert_true(d == -1.5);
    assert_int_equal(gguf_get_bool(&b, &g, "yes", true, &e), 0);
    assert_true(b);
    const uint8_t *raw;
    uint64_t n;
    assert_int_equal(gguf_numbers(&raw, &n, &g, "ints", GGUF_I32, &e), 0);
    assert_int_equal(n, 1);
    assert_memory_equal(raw, "\xf9\xff\xff\xff", 4);
    assert_int_equal(gguf_numbers(&raw, &n, &g, "absent", GGUF_I32, &e), 0);
    assert_null(raw);
    struct gguf_strings it;
    const char *text;
    size_t len;
    assert_int_equal(gguf_strings(&it, &n, &g, "words", &e), 0);
    assert_int_equal(n, 3);
    assert_true(gguf_strings_next(&it, &text, &len) && len == 3 && !memcmp(text, "one", 3));
    assert_true(gguf_strings_next(&it, &text, &len) && len == 0);
    assert_true(gguf_strings_next(&it, &text, &len) && len == 3 && !memcmp(text, "a\0b", 3));
    assert_false(gguf_strings_next(&it, &text, &len));
    assert_int_equal(gguf_find(&g, "scalar")->rank, 0);
    assert_int_equal(gguf_find(&g, "scalar")->bytes, 4);
    assert_int_equal(gguf_find(&g, "matrix")->dims[0], 2);
    assert_int_equal(gguf_find(&g, "matrix")->dims[1], 32);
    assert_int_equal(gguf_find(&g, "cube")->data[11], 250); /* bytes[3] came last */
    assert_null(gguf_find(&g, "cub"));
    for (size_t i = 0; i < 5; i++) assert_int_equal((uintptr_t)g.tensors[i].data % 32, 0);
    gguf_close(&g);
}

static void assert_same(const struct gguf *a, const struct gguf *b)
{
    assert_int_equal(a->n_kv, b->n_kv);
    for (size_t i = 0; i < a->n_kv; i++) {
        assert_string_equal(a->kv[i].key, b->kv[i].key);
        assert_int_equal(a->kv[i].type, b->kv[i].type);
        assert_int_equal(a->kv[i].item, b->kv[i].item);
        assert_int_equal(a->kv[i].n, b->kv[i].n);
        assert_int_equal(a->kv[i].raw_bytes, b->kv[i].raw_bytes);
        assert_memory_equal(a->kv[i].raw, b->kv[i].raw, a->kv[i].raw_bytes);
    }
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct tensor *s = &a->tensors[i], *t = &b->tensors[i];
        assert_string_equal(s->name, t->name);
        assert_string_equal(s->type_name, t->type_name);
        assert_int_equal(s->rank, t->rank);
        assert_memory_equal(s->dims, t->dims, sizeof s->dims);
        assert_int_equal(s->bytes, t->bytes);
        assert_memory_equal(s->data, t->data, s->bytes);
    }
}

static void copy(const struct gguf *g, const char *path)
{
    struct gguf_writer w;
    struct err e;
    assert_int_equal(gguf_writer_begin(&w, path, 0644, &e), 0);
    for (size_t i = 0; i < g->n_kv; i++) gguf_put_copy(&w, &g->kv[i]);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct tensor *t = &g->tensors[i];
        gguf_put_tensor(&w, t->name, t->type, t->rank, t->dims);
    }
    assert_int_equal(gguf_writer_data(&w, &e), 0);
    for (size_t i = 0; i < g->n_tensors; i++) {
        assert_int_equal(gguf_writer_add(&w, g->tensors[i].data, g->tensors[i].bytes, &e), 0);
        assert_int_equal(gguf_writer_pad(&w, &e), 0);
    }
    assert_int_equal(gguf_writer_commit(&w, &e), 0);
}

/* Copying everything gives the same file: byte for byte, as llama.cpp pads as we do. */
static void test_copy_of_fixture(void **state)
{
    (void)state;
    const char *path = fixture("stories260K-gguf/stories260K-ffn192-tied.Q4_1.gguf");
    struct gguf a = open_ok(path);
    copy(&a, temp_path("copy.gguf"));
    struct gguf b = open_ok(temp_path("copy.gguf"));
    assert_same(&a, &b);
    assert_int_equal(a.map.size, b.map.size);
    assert_memory_equal(a.map.data + 8, b.map.data + 8, a.map.size - 8); /* after the version */
    gguf_close(&a);
    gguf_close(&b);
}

static void test_abort_leaves_nothing(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct err e;
    assert_int_equal(gguf_writer_begin(&w, temp_path("gone.gguf"), 0600, &e), 0);
    gguf_put_u32(&w, "key", 1);
    assert_int_equal(gguf_writer_data(&w, &e), 0);
    assert_true(file_exists(w.save.tmp));
    gguf_writer_abort(&w);
    assert_false(file_exists(w.save.tmp));
    assert_false(file_exists(temp_path("gone.gguf")));
}

/* ---- typed access ---------------------------------------------------------------------------- */

struct kv_spec {
    const char *key;
    uint64_t key_bytes; /* 0: as many as there are */
    uint32_t type;
    const char *raw;
    size_t n;
};
struct tensor_spec {
    const char *name;
    uint64_t name_bytes; /* 0: as many as there are */
    uint32_t rank;
    uint64_t dims[5]; /* as in the file: fastest first */
    uint32_t type;
    uint64_t offset;
};
/* A file, field by field, and the reader's message. */
struct spec {
    const char *label, *magic;
    uint32_t version;               /* 0: 3 */
    uint64_t more_kv, more_tensors; /* added to the counts of the header */
    struct kv_spec kv[3];
    struct tensor_spec tensors[3];
    size_t data; /* bytes after the padded header */
    const char *want;
};

static void add_int(struct str *s, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) str_addc(s, (char)(v >> (8 * i)));
}

static void add_text(struct str *s, const char *text, uint64_t bytes)
{
    add_int(s, bytes ? bytes : strlen(text), 8);
    str_addz(s, text);
}

static const char *build(const struct spec *p)
{
    struct str s = { 0 };
    uint64_t n_kv = 0, n_tensors = 0;
    while (n_kv < 3 && p->kv[n_kv].key) n_kv++;
    while (n_tensors < 3 && p->tensors[n_tensors].name) n_tensors++;
    str_addz(&s, p->magic ? p->magic : "GGUF");
    add_int(&s, p->version ? p->version : 3, 4);
    add_int(&s, n_tensors + p->more_tensors, 8);
    add_int(&s, n_kv + p->more_kv, 8);
    for (size_t i = 0; i < n_kv; i++) {
        add_text(&s, p->kv[i].key, p->kv[i].key_bytes);
        add_int(&s, p->kv[i].type, 4);
        str_add(&s, p->kv[i].raw, p->kv[i].n);
    }
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor_spec *t = &p->tensors[i];
        add_text(&s, t->name, t->name_bytes);
        add_int(&s, t->rank, 4);
        for (unsigned d = 0; d < t->rank && d < 5; d++) add_int(&s, t->dims[d], 8);
        add_int(&s, t->type, 4);
        add_int(&s, t->offset, 8);
    }
    while (s.n % 32) str_addc(&s, 0);
    for (size_t i = 0; i < p->data; i++) str_addc(&s, 'x');
    const char *path = put_file("made.gguf", s.p, s.n);
    str_free(&s);
    return path;
}

#define RAW(bytes) bytes, sizeof(bytes) - 1
/* dims fastest first */
#define T(name, rank, type, offset, ...)                                                           \
    {                                                                                              \
        name, 0, rank, { __VA_ARGS__ }, type, offset                                               \
    }
#define U32(key, bytes)                                                                            \
    {                                                                                              \
        key, 0, GGUF_U32, RAW(bytes)                                                               \
    }

static void test_integer_types(void **state)
{
    (void)state;
    static const struct {
        struct kv_spec kv;
        bool ok;
        size_t value;
    } rows[] = {
        { { "k", 0, GGUF_U8, RAW("\xff") }, true, 255 },
        { { "k", 0, GGUF_I8, RAW("\x7f") }, true, 127 },
        { { "k", 0, GGUF_I8, RAW("\xff") }, false, 0 },
        { { "k", 0, GGUF_U16, RAW("\x01\x02") }, true, 0x201 },
        { { "k", 0, GGUF_I16, RAW("\xff\xff") }, false, 0 },
        { { "k", 0, GGUF_I32, RAW("\1\0\0\0") }, true, 1 },
        { { "k", 0, GGUF_I32, RAW("\0\0\0\x80") }, false, 0 },
        { { "k", 0, GGUF_U64, RAW("\0\0\0\0\0\0\0\x80") }, true, (size_t)1 << 63 },
        { { "k", 0, GGUF_I64, RAW("\0\0\0\0\0\0\0\x80") }, false, 0 },
        { { "k", 0, GGUF_BOOL, RAW("\1") }, false, 0 },
        { { "k", 0, GGUF_F32, RAW("\0\0\x80\x3f") }, false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct spec p = { .kv = { rows[i].kv } };
        const char *path = build(&p);
        struct gguf g = open_ok(path);
        struct err e;
        size_t v = 0;
        int code = gguf_get_size(&v, &g, "k", true, &e);
        if (rows[i].ok)
            assert_int_equal(code, 0);
        else
            assert_refused(code, &e, path, "integer", "\"k\"");
        assert_int_equal(v, rows[i].value);
        gguf_close(&g);
    }
}

static void test_wrong_kinds(void **state)
{
    (void)state;
    struct spec p = { .kv = {
                          { "nan", 0, GGUF_F32, RAW("\0\0\xc0\x7f") },
                          { "odd", 0, GGUF_BOOL, RAW("\2") },
                          { "ints", 0, GGUF_ARRAY, RAW("\4\0\0\0\1\0\0\0\0\0\0\0\7\0\0\0") } } };
    const char *path = build(&p);
    struct gguf g = open_ok(path);
    struct err e;
    double d = 3;
    bool b;
    const char *text;
    size_t n = 5;
    uint64_t count;
    const uint8_t *raw;
    struct gguf_strings it;
    assert_refused(gguf_get_double(&d, &g, "nan", true, &e), &e, path, "nan", "infinity or NaN");
    assert_refused(gguf_get_double(&d, &g, "odd", true, &e), &e, path, "kind", "found a boolean");
    assert_refused(gguf_get_bool(&b, &g, "odd", true, &e), &e, path, "bool", "wanted a boolean");
    assert_refused(gguf_get_bool(&b, &g, "ints", true, &e), &e, path, "bool", "found an array");
    assert_refused(gguf_get_string(&text, &n, &g, "odd", true, &e), &e, path, "s", "a string");
    assert_refused(gguf_get_size(&n, &g, "no", true, &e), &e, path, "absent", "found nothing");
    assert_int_equal(gguf_get_size(&n, &g, "no", false, &e), 0);
    assert_int_equal(n, 5);
    assert_int_equal(gguf_get_double(&d, &g, "no", false, &e), 0);
    assert_true(d == 3);
    b = true;
    assert_int_equal(gguf_get_bool(&b, &g, "no", false, &e), 0);
    assert_true(b);
    assert_int_equal(gguf_get_string(&text, &n, &g, "no", false, &e), 0);
    assert_int_equal(n, 5);
    assert_refused(gguf_strings(&it, &count, &g, "no", &e), &e, path, "absent", "found nothing");
    assert_refused(gguf_strings(&it, &count, &g, "ints", &e), &e, path, "k", "array of numbers");
    assert_refused(gguf_strings(&it, &count, &g, "odd", &e), &e, path, "k", "found a boolean");
    assert_refused(gguf_numbers(&raw, &count, &g, "ints", GGUF_F32, &e), &e, path, "item", "f32");
    assert_refused(gguf_numbers(&raw, &count, &g, "odd", GGUF_F32, &e), &e, path, "item", "f32");
    gguf_close(&g);
}

/* ---- unusual, and valid ---------------------------------------------------------------------- */

static void test_unusual(void **state)
{
    (void)state;
    static const struct spec rows[] = {
        { .label = "nothing at all" },
        { .label = "version 2", .version = 2, .tensors = { T("t", 1, 0, 0, 8) }, .data = 32 },
        { .label = "no padding at the end", .tensors = { T("t", 1, 0, 0, 1) }, .data = 4 },
        { .label = "a name of 64 bytes",
          .tensors = { T("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 1, 0,
                         0, 1) },
          .data = 4 },
        { .label = "a scalar", .tensors = { T("t", 0, 0, 0, 0) }, .data = 4 },
        { .label = "alignment 8",
          .kv = { U32("general.alignment", "\x08\0\0\0") },
          .tensors = { T("a", 1, 0, 0, 1), T("b", 1, 0, 8, 1) },
          .data = 12 },
        { .label = "a type we do not compute with",
          .tensors = { T("t", 2, 12, 0, 256, 2) }, /* Q4_K */
          .data = 288 },
        { .label = "one part", .kv = { U32("split.count", "\1\0\0\0") } },
        { .label = "a key of UTF-8", .kv = { U32("h\xc3\xa9", "\1\0\0\0") } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gguf g = open_ok(build(&rows[i]));
        if (strstr(rows[i].label, "do not compute")) {
            assert_int_equal(g.tensors[0].type, STORAGE_OTHER);
            assert_string_equal(g.tensors[0].type_name, "Q4_K");
        }
        gguf_close(&g);
    }
}

/* ---- hostile --------------------------------------------------------------------------------- */

#define HUGE "\xff\xff\xff\xff\xff\xff\xff\xff"
#define FAR  (UINT64_C(1) << 62)

static const struct spec hostile[] = {
    { "not GGUF", .magic = "GGML", .want = "wanted it to begin with" },
    { "big-endian", .version = 0x03000000, .want = "big-endian" },
    { "version 1", .version = 1, .want = "version 1" },
    { "version 4", .version = 4, .want = "version 4" },
    { "too many keys", .more_kv = 1000, .want = "1000 metadata keys" },
    { "keys that wrap", .more_kv = UINT64_C(1) << 60, .want = "metadata keys" },
    { "too many tensors", .more_tensors = 1000, .want = "1000 tensors" },
    { "tensors that wrap", .more_tensors = UINT64_MAX, .want = "tensors" },
    { "key longer than the file", .kv = { { "key", FAR, GGUF_U32, RAW("\0\0\0\0") } },
      .want = "metadata key at byte 24" },
    { "key of 2^64-1 bytes", .kv = { { "key", UINT64_MAX, GGUF_U32, RAW("\0\0\0\0") } },
      .want = "metadata key at byte 24" },
    { "empty key", .kv = { { "", 0, GGUF_U32, RAW("\0\0\0\0") } }, .want = "found no bytes" },
    { "NUL in a key", .kv = { { "k", 2, 0, RAW("\0\0\0\0") } }, .want = "wanted a name" },
    { "unknown value type", .kv = { { "k", 0, 13, RAW("\0\0\0\0") } }, .want = "value type 13" },
    { "string of 2^64-1 bytes", .kv = { { "k", 0, GGUF_STRING, RAW(HUGE "text") } },
      .want = "\"k\"" },
    { "number cut off", .kv = { { "k", 0, GGUF_STRING, RAW("\x20\0\0\0\0\0\0\0ab") } },
      .want = "cut off" },
    { "array of arrays", .kv = { { "k", 0, GGUF_ARRAY, RAW("\x09\0\0\0\1\0\0\0\0\0\0\0") } },
      .want = "an array of arrays" },
    { "array of what", .kv = { { "k", 0, GGUF_ARRAY, RAW("\x0d\0\0\0\1\0\0\0\0\0\0\0") } },
      .want = "an unknown type (type 13)" },
    { "array that wraps", .kv = { { "k", 0, GGUF_ARRAY, RAW("\x0a\0\0\0\1\0\0\0\0\0\0\x20") } },
      .want = "items" },
    { "bytes without end", .kv = { { "k", 0, GGUF_ARRAY, RAW("\0\0\0\0" HUGE) } },
      .want = "18446744073709551615 items" },
    { "strings without end", .kv = { { "k", 0, GGUF_ARRAY, RAW("\x08\0\0\0" HUGE) } },
      .want = "18446744073709551615 items" },
    { "a long string in an array",
      .kv = { { "k", 0, GGUF_ARRAY, RAW("\x08\0\0\0\1\0\0\0\0\0\0\0" HUGE) } },
      .want = "do not hold" },
    { "key twice", .kv = { U32("k", "\0\0\0\0"), U32("j", "\0\0\0\0"), U32("k", "\1\0\0\0") },
      .want = "key \"k\" is there twice" },
    { "alignment 0", .kv = { U32("general.alignment", "\0\0\0\0") },
      .want = "found 0, wanted a power of two" },
    { "alignment 4", .kv = { U32("general.alignment", "\4\0\0\0") },
      .want = "found 4, wanted a power of two of at least 8" },
    { "alignment 48", .kv = { U32("general.alignment", "\x30\0\0\0") },
      .want = "found 48, wanted a power of two" },
    { "alignment of another type", .kv = { { "general.alignment", 0, GGUF_U16, RAW("\x20\0") } },
      .want = "another type" },
    { "alignment beyond the file", .kv = { U32("general.alignment", "\0\0\0\x80") },
      .tensors = { T("t", 1, 0, 0, 1) }, .data = 4, .want = "tensor \"t\"" },
    { "split model", .kv = { U32("split.count", "\3\0\0\0"), U32("split.no", "\1\0\0\0") },
      .want = "part 2 of a model split into 3 files" },
    { "split count of another type", .kv = { { "split.count", 0, GGUF_BOOL, RAW("\1") } },
      .want = "\"split.count\"" },
    { "name longer than the file", .tensors = { { "t", FAR, 1, { 1 }, 0, 0 } }, .want = "cut off" },
    { "name of 65 bytes", .tensors = { { "t", 65, 1, { 1 }, 0, 0 } }, .data = 64,
      .want = "65 bytes" },
    { "empty name", .tensors = { T("", 1, 0, 0, 1) }, .data = 32, .want = "1 to 64 bytes" },
    { "NUL in a name", .tensors = { { "t", 2, 0, { 1 }, 0, 0 } }, .want = "without NUL" },
    { "five dimensions", .tensors = { T("t", 5, 0, 0, 1, 1, 1, 1, 1) }, .want = "5 dimensions" },
    { "2^32-1 dimensions", .tensors = { T("t", UINT32_MAX, 0, 0, 1) }, .want = "dimensions" },
    { "dimension 0", .tensors = { T("t", 2, 0, 0, 0, 4) }, .want = "dimension of 0" },
    { "dimension 0 outside", .tensors = { T("t", 2, 0, 0, 4, 0) }, .want = "dimension of 0" },
    { "product that wraps to 0",
      .tensors = { T("t", 2, 0, 0, UINT64_C(1) << 32, UINT64_C(1) << 32) },
      .want = "its shape needs more bytes" },
    { "bytes that wrap to 4", .tensors = { T("t", 1, 0, 0, FAR + 1) }, .data = 4,
      .want = "its shape needs more bytes" },
    { "blocks that wrap",
      .tensors = { T("t", 4, 2, 0, 32, UINT64_C(1) << 30, UINT64_C(1) << 30, 16) },
      .want = "its shape needs more bytes" },
    { "unknown tensor type", .tensors = { T("t", 1, 1000, 0, 32) }, .want = "type 1000" },
    { "withdrawn tensor type", .tensors = { T("t", 1, 4, 0, 32) }, .want = "type 4" },
    { "part of a block", .tensors = { T("t", 2, 8, 0, 33, 32) }, .data = 2000,
      .want = "multiple of the 32 of a Q8_0 block" },
    { "first offset not 0", .tensors = { T("t", 1, 0, 32, 1) }, .data = 64,
      .want = "found offset 32, wanted 0" },
    { "overlap", .tensors = { T("a", 1, 0, 0, 8), T("b", 1, 0, 0, 8) }, .data = 64,
      .want = "found offset 0, wanted 32" },
    { "hole", .tensors = { T("a", 1, 0, 0, 8), T("b", 1, 0, 64, 8) }, .data = 96,
      .want = "found offset 64, wanted 32" },
    { "offset without padding", .tensors = { T("a", 1, 0, 0, 1), T("b", 1, 0, 4, 1) }, .data = 64,
      .want = "found offset 4, wanted 32" },
    { "name twice", .tensors = { T("a", 1, 0, 0, 8), T("a", 1, 0, 32, 8) }, .data = 64,
      .want = "tensor \"a\" is there twice" },
    { "file too short", .tensors = { T("a", 1, 0, 0, 8) }, .data = 31, .want = "tensor \"a\"" },
    { "file too long", .tensors = { T("a", 1, 0, 0, 8) }, .data = 33,
      .want = "after the last tensor" },
    { "data without tensors", .data = 1, .want = "after the last tensor" },
    { "control characters", .kv = { { "\x1b[2J\n", 0, 77, RAW("\0\0\0\0") } },
      .want = "\\x1b[2J\\x0a" },
};

static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const char *path = build(&hostile[i]);
        struct gguf g;
        struct err e;
        assert_refused(gguf_open(&g, path, &e), &e, path, hostile[i].label, hostile[i].want);
    }
}

static void test_no_file(void **state)
{
    (void)state;
    struct gguf g;
    struct err e;
    const char *path = temp_path("absent.gguf");
    assert_refused(gguf_open(&g, path, &e), &e, path, "absent", "No such file");
    assert_refused(gguf_open(&g, test_dir, &e), &e, test_dir, "directory", "a directory");
    path = put_file("empty.gguf", "", 0);
    assert_refused(gguf_open(&g, path, &e), &e, path, "empty", "not a GGUF file");
    path = put_text("lfs.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
    assert_refused(gguf_open(&g, path, &e), &e, path, "LFS", "git lfs pull");
}

static void test_every_truncation(void **state)
{
    (void)state;
    const char *path = write_sample("whole.gguf");
    for (size_t n = file_bytes(path); n-- > 0;) {
        cut_file(path, n);
        struct gguf g;
        struct err e;
        assert_refused(gguf_open(&g, path, &e), &e, path, "truncated", n < 4 ? "not a GGUF" : "");
    }
}

/* Read everything that an opened file offers, so that the sanitizers see it. */
static unsigned touch(const struct gguf *g)
{
    unsigned sum = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        for (uint64_t j = 0; j < g->tensors[i].bytes; j++) sum += g->tensors[i].data[j];
    }
    for (size_t i = 0; i < g->n_kv; i++) {
        const char *key = g->kv[i].key, *text;
        struct err e;
        struct gguf_strings it;
        const uint8_t *raw;
        uint64_t n = 0;
        size_t size = 0;
        double d = 0;
        bool b = false;
        gguf_get_size(&size, g, key, true, &e);
        gguf_get_double(&d, g, key, true, &e);
        gguf_get_bool(&b, g, key, true, &e);
        if (!gguf_strings(&it, &n, g, key, &e)) {
            uint64_t walked = 0;
            for (; gguf_strings_next(&it, &text, &size); walked++) sum += size ? (uint8_t)*text : 0;
            assert_int_equal(walked, n);
        }
        if (!gguf_numbers(&raw, &n, g, key, GGUF_F32, &e) && n) sum += raw[4 * n - 1];
    }
    return sum;
}

static void test_every_flip(void **state)
{
    (void)state;
    static const uint8_t masks[] = { 0x01, 0x80, 0xff };
    const char *path = write_sample("whole.gguf");
    size_t bytes = file_bytes(path);
    unsigned opened = 0, sum = 0;
    for (size_t i = 0; i < 3 * bytes; i++) {
        flip_bits(path, i / 3, masks[i % 3]);
        struct gguf g;
        struct err e;
        int code = gguf_open(&g, path, &e);
        if (code) {
            assert_refused(code, &e, path, "flipped", "");
        } else {
            opened++;
            sum += touch(&g);
            gguf_close(&g);
        }
        flip_bits(path, i / 3, masks[i % 3]);
    }
    assert_true(opened > 0 && sum > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_fixtures, "gguf: files of llama.cpp are read"),
        ENTRY(test_metadata_of_fixture, "gguf: metadata of llama.cpp's files is read"),
        ENTRY(test_writer, "gguf: what is written is read"),
        ENTRY(test_copy_of_fixture, "gguf: a copied file is the same byte for byte"),
        ENTRY(test_abort_leaves_nothing, "gguf: an aborted write leaves no file"),
        ENTRY(test_integer_types, "gguf: every integer type is read within its range"),
        ENTRY(test_wrong_kinds, "gguf: a key of another kind is refused by its name"),
        ENTRY(test_unusual, "gguf: unusual files that are valid are read"),
        ENTRY(test_hostile, "gguf: malformed files are refused with the reason"),
        ENTRY(test_no_file, "gguf: a file of another kind is refused as what it is"),
        ENTRY(test_every_truncation, "gguf: every truncation is refused or read"),
        ENTRY(test_every_flip, "gguf: every flipped byte is refused or read, in one line"),
    };
    return cmocka_run_group_tests_name("gguf", tests, make_test_dir, remove_test_dir);
}
