/* src/formats/h5.c: what is written is read, whatever is not whole is refused before libhdf5. */
#include "tests/files_util.h"

#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/formats/h5.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if (call) fail_msg("%s", e.msg);                                                           \
    } while (0)

static const float floats[6] = { 1, -2.5f, 3e-38f, 4, 5, 0.1f };
static const int64_t longs[3] = { INT64_MIN, 0, INT64_MAX };

static const char *write_sample(const char *name)
{
    const char *path = temp_path(name);
    struct h5_writer w;
    struct err e;
    OK(h5_create(&w, path, 0600, &e));
    OK(h5_put(&w, "adapter/A", H5_TYPE_F32, floats, 2, (const uint64_t[]){ 2, 3 }, &e));
    OK(h5_put(&w, "adapter/deep/B", H5_TYPE_F32, floats, 1, (const uint64_t[]){ 6 }, &e));
    OK(h5_put(&w, "longs", H5_TYPE_I64, longs, 1, (const uint64_t[]){ 3 }, &e));
    OK(h5_put(&w, "ids", H5_TYPE_I32, (const int32_t[]){ -1, 7 }, 1, (const uint64_t[]){ 2 }, &e));
    OK(h5_put(&w, "mask", H5_TYPE_U8, "\0\1\377", 1, (const uint64_t[]){ 3 }, &e));
    OK(h5_put(&w, "none", H5_TYPE_F64, NULL, 2, (const uint64_t[]){ 3, 0 }, &e));
    OK(h5_put_i64(&w, "step", -42, &e));
    OK(h5_put_f64(&w, "loss", 0.1, &e));
    OK(h5_put_text(&w, "config", "model:\n  path: \xc3\xa9\n", 18, &e));
    OK(h5_put_text(&w, "binary", "a\0b\0", 4, &e));
    OK(h5_put_text(&w, "empty", "", 0, &e));
    OK(h5_commit(&w, &e));
    return path;
}

static struct h5_reader open_ok(const char *path)
{
    struct h5_reader r;
    struct err e;
    OK(h5_open(&r, path, &e));
    return r;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct h5_reader r = open_ok(write_sample("sample.h5"));
    struct err e;
    float a[6];
    OK(h5_get(a, &r, "adapter/A", H5_TYPE_F32, 2, (const uint64_t[]){ 2, 3 }, &e));
    assert_memory_equal(a, floats, sizeof a);
    memset(a, 0, sizeof a);
    OK(h5_get(a, &r, "adapter/deep/B", H5_TYPE_F32, 1, (const uint64_t[]){ 6 }, &e));
    assert_memory_equal(a, floats, sizeof a);
    int64_t l[3];
    size_t n = 0;
    OK(h5_length(&n, &r, "longs", H5_TYPE_I64, &e));
    assert_int_equal(n, 3);
    OK(h5_get(l, &r, "longs", H5_TYPE_I64, 1, (const uint64_t[]){ 3 }, &e));
    assert_memory_equal(l, longs, sizeof l);
    int32_t ids[2];
    OK(h5_get(ids, &r, "ids", H5_TYPE_I32, 1, (const uint64_t[]){ 2 }, &e));
    assert_true(ids[0] == -1 && ids[1] == 7);
    uint8_t mask[3];
    OK(h5_get(mask, &r, "mask", H5_TYPE_U8, 1, (const uint64_t[]){ 3 }, &e));
    assert_memory_equal(mask, "\0\1\377", 3);
    OK(h5_get(NULL, &r, "none", H5_TYPE_F64, 2, (const uint64_t[]){ 3, 0 }, &e));
    int64_t step;
    double loss;
    OK(h5_get_i64(&step, &r, "step", &e));
    OK(h5_get_f64(&loss, &r, "loss", &e));
    assert_true(step == -42 && loss == 0.1);
    struct str s = { 0 };
    str_addz(&s, "> ");
    OK(h5_get_text(&s, &r, "config", &e));
    assert_string_equal(s.p, "> model:\n  path: \xc3\xa9\n");
    str_clear(&s);
    OK(h5_get_text(&s, &r, "binary", &e));
    assert_int_equal(s.n, 4);
    assert_memory_equal(s.p, "a\0b\0", 4);
    str_clear(&s);
    OK(h5_get_text(&s, &r, "empty", &e));
    assert_int_equal(s.n, 0);
    str_free(&s);
    assert_true(h5_has(&r, "adapter") && h5_has(&r, "adapter/A") && h5_has(&r, "step"));
    assert_false(h5_has(&r, "adapter/C"));
    assert_false(h5_has(&r, "nothing/C"));
    h5_close(&r);
}

static void test_long_text(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct h5_writer w;
    struct err e;
    struct str s = { 0 }, back = { 0 };
    for (unsigned i = 0; i < N; i++) str_addc(&s, (char)('a' + i % 26));
    OK(h5_create(&w, temp_path("long.h5"), 0600, &e));
    OK(h5_put_text(&w, "text", s.p, s.n, &e));
    OK(h5_commit(&w, &e));
    struct h5_reader r = open_ok(temp_path("long.h5"));
    OK(h5_get_text(&back, &r, "text", &e));
    assert_int_equal(back.n, N);
    assert_memory_equal(back.p, s.p, N);
    h5_close(&r);
    str_free(&s);
    str_free(&back);
}

/* The second file is written in another second, over other garbage in memory. */
static void test_same_content_same_bytes(void **state)
{
    (void)state;
    struct str a = { 0 }, b = { 0 };
    get_file(&a, write_sample("a.h5"));
    usleep(1100000);
    get_file(&b, write_sample("b.h5"));
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    str_free(&a);
    str_free(&b);
}

static void test_replaces_and_modes(void **state)
{
    (void)state;
    struct stat st;
    mode_t mask = umask(022);
    const char *path = write_sample("mode.h5");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct h5_writer w;
    struct err e;
    OK(h5_create(&w, path, 0666, &e));
    OK(h5_put_i64(&w, "step", 1, &e));
    struct h5_reader r = open_ok(path); /* the old one, until the commit */
    assert_true(h5_has(&r, "adapter/A"));
    h5_close(&r);
    OK(h5_commit(&w, &e));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    r = open_ok(path);
    assert_false(h5_has(&r, "adapter/A"));
    h5_close(&r);
    umask(mask);
}

/* Saving is part of the training loop, which promises not to allocate. */
static void test_allocates_nothing(void **state)
{
    (void)state;
    mem_guard(true);
    struct h5_reader r = open_ok(write_sample("guard.h5"));
    h5_close(&r);
    mem_guard(false);
}

static void test_abort_leaves_nothing(void **state)
{
    (void)state;
    struct h5_writer w;
    struct err e;
    char tmp[sizeof w.tmp];
    OK(h5_create(&w, temp_path("gone.h5"), 0600, &e));
    OK(h5_put_i64(&w, "step", 1, &e));
    memcpy(tmp, w.tmp, sizeof tmp);
    assert_true(file_exists(tmp));
    h5_abort(&w);
    assert_false(file_exists(tmp));
    assert_false(file_exists(temp_path("gone.h5")));
    const char *path = temp_path("no/dir.h5");
    assert_refused(h5_create(&w, path, 0600, &e), &e, path, "no directory", "No such file");
    h5_abort(&w);
}

static size_t open_files(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 200; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A full disk, as a limit on the size of files: the old file stays, nothing else is left. */
static void test_full_disk(void **state)
{
    (void)state;
    static float big[1 << 19];
    static const char *const steps[] = { "create", "put", "commit" };
    struct rlimit old, small;
    struct err e;
    const char *path = write_sample("full.h5");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    unsigned failed_at[3] = { 0 };
    size_t before = open_files();
    for (rlim_t limit = 0; limit < 1 << 22; limit += 100000) {
        struct h5_writer w;
        small = (struct rlimit){ limit, old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        unsigned step = 0;
        int code = h5_create(&w, path, 0600, &e);
        if (!code)
            step++, code = h5_put(&w, "x", H5_TYPE_F32, big, 1, (const uint64_t[]){ 1 << 19 }, &e);
        if (!code) step++, code = h5_commit(&w, &e);
        h5_abort(&w);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (!code) break;
        assert_refused(code, &e, path, steps[step], "");
        failed_at[step]++;
        struct h5_reader r = open_ok(path);
        h5_close(&r);
        char tmp[PATH_BYTES + 32];
        snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid());
        assert_false(file_exists(tmp));
    }
    assert_true(failed_at[0] > 5 && failed_at[1] > 5);
    assert_int_equal(failed_at[2], 0); /* nothing is left to write */
    assert_int_equal(open_files(), before);
}

static void test_wrong_requests(void **state)
{
    (void)state;
    const char *path = write_sample("wrong.h5");
    struct h5_reader r = open_ok(path);
    struct err e;
    float a[6];
    size_t n;
    int64_t v;
    struct str s = { 0 };
    const uint64_t three_two[] = { 3, 2 }, six[] = { 6 }, two[] = { 2 };
    assert_refused(h5_get(a, &r, "adapter/B", H5_TYPE_F32, 1, six, &e), &e, path, "a",
                   "is missing");
    assert_refused(h5_get(a, &r, "adapter/A", H5_TYPE_F32, 2, three_two, &e), &e, path, "b",
                   "adapter/A: found shape (2, 3), wanted (3, 2)");
    assert_refused(h5_get(a, &r, "adapter/A", H5_TYPE_F32, 1, six, &e), &e, path, "c",
                   "found shape (2, 3), wanted (6)");
    assert_refused(h5_get(a, &r, "ids", H5_TYPE_F32, 1, two, &e), &e, path, "d", "another type");
    assert_refused(h5_get_i64(&v, &r, "longs", &e), &e, path, "e", "found shape (3), wanted ()");
    assert_refused(h5_get_i64(&v, &r, "loss", &e), &e, path, "f", "another type");
    assert_refused(h5_get_i64(&v, &r, "adapter", &e), &e, path, "g", "cannot open adapter");
    assert_refused(h5_length(&n, &r, "adapter/A", H5_TYPE_F32, &e), &e, path, "h", "wanted a row");
    assert_refused(h5_length(&n, &r, "ids", H5_TYPE_I64, &e), &e, path, "i", "wanted a row");
    assert_refused(h5_get_text(&s, &r, "step", &e), &e, path, "j", "wanted a text");
    str_free(&s);
    h5_close(&r);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void refuse_bytes(const void *bytes, size_t n, const char *label, const char *want)
{
    const char *path = put_file("damaged.h5", bytes, n);
    struct h5_reader r;
    struct err e;
    assert_refused(h5_open(&r, path, &e), &e, path, label, want);
}

static void test_every_truncation(void **state)
{
    (void)state;
    const char *path = write_sample("whole.h5");
    size_t bytes = file_bytes(path);
    struct h5_reader r;
    struct err e;
    cut_file(path, bytes + 1);
    assert_refused(h5_open(&r, path, &e), &e, path, "one byte more", "cut off");
    for (size_t n = bytes; n-- > 0;) {
        cut_file(path, n);
        assert_refused(h5_open(&r, path, &e), &e, path, "cut", n < 512 ? "LORACH5" : "cut off");
    }
}

static void test_every_flip(void **state)
{
    (void)state;
    const char *path = write_sample("whole.h5");
    size_t bytes = file_bytes(path);
    struct h5_reader r;
    struct err e;
    for (size_t i = 0; i < bytes; i++) {
        uint8_t mask = (uint8_t)(1 << i % 8);
        flip_bits(path, i, mask);
        assert_refused(h5_open(&r, path, &e), &e, path, "flip", i < 512 ? "" : "checksum differs");
        flip_bits(path, i, mask);
    }
    r = open_ok(path);
    h5_close(&r);
}

static void test_other_files(void **state)
{
    (void)state;
    struct str whole = { 0 };
    get_file(&whole, write_sample("whole.h5"));
    refuse_bytes("", 0, "empty", "wanted a checkpoint");
    refuse_bytes(whole.p + 512, whole.n - 512, "bare HDF5", "\"\\x89HDF");
    refuse_bytes(whole.p, 512, "the block alone", "found 512 bytes");
    memcpy(whole.p + 8, "version 2", 9);
    refuse_bytes(whole.p, whole.n, "version 2", "found \"version 2\", wanted \"version 1\"");
    memcpy(whole.p + 8, "version 1\nbytes 99999999999999999999", 36);
    refuse_bytes(whole.p, whole.n, "size", "wanted \"99999999999999999999\"");
    str_free(&whole);
}

/* ---- files that were sealed, but are not what we write --------------------------------------- */

static hid_t make_file(const char *path)
{
    hid_t fcpl = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(fcpl, 512);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, fcpl, H5P_DEFAULT);
    H5Pclose(fcpl);
    assert_true(file >= 0);
    return file;
}

/* Close and write the user block as the header describes it. */
static const char *seal_file(hid_t file, const char *name)
{
    struct str s = { 0 };
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX], block[512] = "";
    assert_true(H5Fclose(file) >= 0);
    get_file(&s, temp_path(name));
    OK(sha256_of(digest, s.p + 512, s.n - 512, &e));
    hex_of(hex, digest);
    snprintf(block, sizeof block, "LORACH5\nversion 1\nbytes %020" PRIu64 "\nsha256 %s\n",
             (uint64_t)s.n, hex);
    memcpy(s.p, block, sizeof block);
    const char *path = put_file(name, s.p, s.n);
    str_free(&s);
    return path;
}

static void add_dataset(hid_t file, const char *name, hid_t type, hid_t dcpl)
{
    const hsize_t dims[] = { 4 };
    hid_t space = H5Screate_simple(1, dims, NULL);
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, dcpl, H5P_DEFAULT);
    assert_true(set >= 0);
    H5Dclose(set);
    H5Sclose(space);
}

static void test_foreign_content(void **state)
{
    (void)state;
    const hsize_t chunk[] = { 2 };
    hid_t file = make_file(temp_path("foreign.h5"));
    hid_t chunked = H5Pcreate(H5P_DATASET_CREATE), outside = H5Pcreate(H5P_DATASET_CREATE);
    hid_t words = H5Tcopy(H5T_C_S1);
    H5Pset_chunk(chunked, 1, chunk);
    H5Pset_external(outside, "/etc/hostname", 0, 16);
    H5Tset_size(words, H5T_VARIABLE);
    add_dataset(file, "plain", H5T_IEEE_F32LE, H5P_DEFAULT);
    add_dataset(file, "chunked", H5T_IEEE_F32LE, chunked);
    add_dataset(file, "outside", H5T_IEEE_F32LE, outside);
    add_dataset(file, "swapped", H5T_IEEE_F32BE, H5P_DEFAULT);
    add_dataset(file, "words", words, H5P_DEFAULT);
    H5Lcreate_external("other.h5", "/x", file, "external", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/plain", file, "soft", H5P_DEFAULT, H5P_DEFAULT);
    H5Pclose(chunked);
    H5Pclose(outside);
    H5Tclose(words);
    const char *path = seal_file(file, "foreign.h5");

    struct h5_reader r = open_ok(path);
    struct err e;
    float x[4];
    size_t n;
    struct str s = { 0 };
    const uint64_t four[] = { 4 };
    assert_int_equal(h5_get(x, &r, "plain", H5_TYPE_F32, 1, four, &e), 0);
    static const struct {
        const char *name, *want;
    } rows[] = {
        { "chunked", "chunked: found chunked, filtered or external storage" },
        { "outside", "outside: found chunked, filtered or external storage" },
        { "swapped", "swapped: found numbers of another type" },
        { "words", "words: found numbers of another type" },
        { "external", "external is missing" },
        { "soft", "soft is missing" },
        { "external/y", "external/y is missing" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(h5_get(x, &r, rows[i].name, H5_TYPE_F32, 1, four, &e), &e, path,
                       rows[i].name, rows[i].want);
        assert_int_equal(h5_length(&n, &r, rows[i].name, H5_TYPE_F32, &e), ERR_FAIL);
        assert_int_equal(h5_get_text(&s, &r, rows[i].name, &e), ERR_FAIL);
    }
    str_free(&s);
    h5_close(&r);
}

/* Sealed, but no HDF5 inside. */
static void test_sealed_rubbish(void **state)
{
    (void)state;
    hid_t file = make_file(temp_path("rubbish.h5"));
    H5Fclose(file);
    struct str s = { 0 };
    get_file(&s, temp_path("rubbish.h5"));
    memset(s.p + 512, 'x', 8);
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX];
    OK(sha256_of(digest, s.p + 512, s.n - 512, &e));
    hex_of(hex, digest);
    memset(s.p, 0, 512);
    snprintf(s.p, 512, "LORACH5\nversion 1\nbytes %020" PRIu64 "\nsha256 %s\n", (uint64_t)s.n, hex);
    refuse_bytes(s.p, s.n, "rubbish", "cannot open: file signature not found");
    str_free(&s);
}

static void test_h5dump_reads_it(void **state)
{
    (void)state;
    if (system("command -v h5dump >/dev/null 2>&1") != 0) skip();
    char command[PATH_BYTES + 64], text[8192] = "";
    snprintf(command, sizeof command, "h5dump '%s' 2>&1", write_sample("dump.h5"));
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    assert_int_equal(pclose(f), 0);
    assert_true(n > 500);
    static const char *const want[] = { "(0,0): 1, -2.5, 3e-38,", "GROUP \"deep\"", "(0): -42",
                                        "(0): -9223372036854775808, 0, 9223372036854775807",
                                        "model:" };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        if (!strstr(text, want[i])) fail_msg("no '%s' in:\n%s", want[i], text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_same_content_same_bytes),
        cmocka_unit_test(test_replaces_and_modes),
        cmocka_unit_test(test_allocates_nothing),
        cmocka_unit_test(test_abort_leaves_nothing),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_wrong_requests),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_flip),
        cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_foreign_content),
        cmocka_unit_test(test_sealed_rubbish),
        cmocka_unit_test(test_h5dump_reads_it),
    };
    return cmocka_run_group_tests_name("h5", tests, make_test_dir, remove_test_dir);
}
