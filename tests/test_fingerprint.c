/* src/base/fingerprint.h: the bytes that make a fingerprint, and which changes it sees. */
#include "tests/files_util.h"

#include "src/base/fingerprint.h"

/* Bytes that no two places share. */
static const char *make_file(const char *name, size_t n, unsigned start)
{
    uint8_t *bytes = calloc(n + 1, 1);
    uint32_t x = start;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(x >> 24);
    }
    const char *path = put_file(name, bytes, n);
    free(bytes);
    return path;
}

static void fingerprint(char out[SHA256_HEX], const char *const *paths, size_t n)
{
    struct err e;
    if (fingerprint_files(out, (char *const *)(uintptr_t)paths, n, &e)) fail_msg("%s", e.msg);
}

/* Made by the definition in the header, in Python:
 *   h = sha256(b"lorac-fingerprint-1\n" + pack("<Q", len(files)))
 *   for f in files: h.update(pack("<Q", len(f)) + f[:65536])
 *   s = b"".join(files)
 *   h.update(s if len(s) < 4096 else
 *            b"".join(s[i * (len(s) - 4096) // 63:][:4096] for i in range(64))) */
static void test_definition(void **state)
{
    (void)state;
    static const struct {
        size_t sizes[3], n;
        const char *want;
    } rows[] = {
        { { 0 }, 1, "4be6b672b04c5b37942fdd5f2a7d9cd192b120ff54000ee1cc729e60bb25bf12" },
        { { 1 }, 1, "c4411510ecd06578519d3fcea9598fe70640806e60349a46965f4e3de297c723" },
        { { 4095 }, 1, "ad059cf4d91680a8703c4a88fd1d579b7a0d0dd473dd63eea4c62957bb0dcc0a" },
        { { 4096 }, 1, "0d36b1cc16fd7aa39fb38599872b8afb55cb40d3cb28f62c18fef99300ac8cb0" },
        { { 4097 }, 1, "297e204e7a23d3475e391e9e1d769528a69e7aa4e44e95c9f76ddf5bbe298f5c" },
        { { 65536 }, 1, "09d0c81461f84d386c42d2c71d156341a83a9649cc27144ac73bb40549176966" },
        { { 300000 }, 1, "a7a47bdd54f984b338c87fbfc2cef589f2fd906724d04976a85656d0058356d3" },
        { { 1000003 }, 1, "6a2ac541585926263bd3e707f0d943fa741baab0c6128857464ad468509ac140" },
        { { 100, 5000, 0 }, 3, "1329fcbcdc922403e89127220fb010a6bfa82f55225da35f7752b1ae9d7c8b13" },
        { { 70000, 1, 130001 },
          3,
          "b4d940b38df36f9b97eccea7bcfe53208306df86651ace5dce6d30491640a687" },
        { { 1, 2, 3 }, 3, "90898cb55e8b36f0d0ac8b9b23ff79e03c2d7f169a2ebc5fb4bc5e725c0c10cf" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *paths[3];
        char name[32], hex[SHA256_HEX];
        for (size_t k = 0; k < rows[i].n; k++) {
            snprintf(name, sizeof name, "file%zu", k);
            paths[k] = make_file(name, rows[i].sizes[k], (unsigned)k + 1);
        }
        fingerprint(hex, paths, rows[i].n);
        if (strcmp(hex, rows[i].want) != 0) fail_msg("row %zu: %s", i, hex);
    }
}

static void test_what_it_sees(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    const char *path = make_file("large", SIZE, 1), *paths[] = { path, path };
    char first[SHA256_HEX], other[SHA256_HEX];
    fingerprint(first, paths, 1);
    /* the header, both ends, one of the places that count, and one between two of these */
    static const struct {
        size_t at;
        bool seen;
    } rows[] = { { 0, true },
                 { 65535, true },
                 { SIZE - 1, true },
                 { (size_t)31 * (SIZE - 4096) / 63, true },
                 { (size_t)31 * (SIZE - 4096) / 63 + 4096, false } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        flip_bits(path, rows[i].at, 1);
        fingerprint(other, paths, 1);
        if ((strcmp(first, other) != 0) != rows[i].seen) fail_msg("byte %zu", rows[i].at);
        flip_bits(path, rows[i].at, 1);
    }
    fingerprint(other, paths, 2);
    assert_string_not_equal(first, other);
    cut_file(path, SIZE - 1);
    fingerprint(other, paths, 1);
    assert_string_not_equal(first, other);
}

static void test_errors(void **state)
{
    (void)state;
    const char *paths[] = { make_file("there", 10, 1), temp_path("not-there") };
    char hex[SHA256_HEX];
    struct err e;
    assert_refused(fingerprint_files(hex, (char *const *)(uintptr_t)paths, 2, &e), &e, paths[1],
                   "missing", "No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_definition, "fingerprint: the bytes that make it are those of the definition"),
        ENTRY(test_what_it_sees,
              "fingerprint: header, size, ends and 64 places are seen, what lies between is not"),
        ENTRY(test_errors, "fingerprint: a missing file is named"),
    };
    return cmocka_run_group_tests_name("fingerprint", tests, make_test_dir, remove_test_dir);
}
