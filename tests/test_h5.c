/* src/formats/h5.c: what is written is read; a damaged file is refused before libhdf5 sees it. */
#include "tests/files_util.h"

#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

#include "src/base/mem.h"
#include "src/formats/h5.h"
#include "tests/seal.h"

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

static bool is_there(const struct h5_reader *r, const char *name)
{
    bool has;
    struct err e;
    OK(h5_has(&has, r, name, &e));
    return has;
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
    assert_true(is_there(&r, "adapter") && is_there(&r, "adapter/A") && is_there(&r, "step"));
    assert_false(is_there(&r, "adapter/C"));
    assert_false(is_there(&r, "nothing/C"));
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
    assert_true(is_there(&r, "adapter/A"));
    h5_close(&r);
    OK(h5_commit(&w, &e));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
    r = open_ok(path);
    assert_false(is_there(&r, "adapter/A"));
    h5_close(&r);
    umask(mask);
}

/* Saving belongs to the training loop, which promises not to allocate. */
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

/* A limit on the size of files stands for a full disk: only the old file is left. */
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
        assert_int_equal(code, ERR_SPACE);
        assert_refused(ERR_FAIL, &e, path, steps[step], "");
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

static void test_long_paths(void **state)
{
    (void)state;
    char path[PATH_BYTES + 8];
    struct h5_writer w;
    struct h5_reader r;
    struct err e;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    assert_int_equal(h5_open(&r, path, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "path too long"));
    assert_int_equal(h5_create(&w, path, 0600, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "path too long"));
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

static const char *seal_file(hid_t file, const char *name)
{
    assert_true(H5Fclose(file) >= 0);
    reseal(temp_path(name));
    return temp_path(name);
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

enum foreign { CHUNKED, OUTSIDE, FILLED, SWAPPED, WORDS, EXTERNAL, SOFT, ATTRIBUTE, TIMES, DEEP };

static void add_foreign(hid_t file, enum foreign what)
{
    const hsize_t chunk[] = { 2 };
    const float one = 1;
    hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE), words = H5Tcopy(H5T_C_S1);
    H5Tset_size(words, H5T_VARIABLE);
    H5Pset_obj_track_times(dcpl, what == TIMES);
    if (what != OUTSIDE) H5Pset_alloc_time(dcpl, H5D_ALLOC_TIME_EARLY);
    if (what == CHUNKED) H5Pset_chunk(dcpl, 1, chunk);
    if (what == OUTSIDE) H5Pset_external(dcpl, "/etc/hostname", 0, 16);
    if (what == FILLED) H5Pset_fill_value(dcpl, H5T_NATIVE_FLOAT, &one);
    hid_t type = what == SWAPPED ? H5T_IEEE_F32BE : what == WORDS ? words : H5T_IEEE_F32LE;
    add_dataset(file, "x", type, dcpl);
    if (what == EXTERNAL) H5Lcreate_external("other.h5", "/x", file, "y", H5P_DEFAULT, H5P_DEFAULT);
    if (what == SOFT) H5Lcreate_soft("/x", file, "y", H5P_DEFAULT, H5P_DEFAULT);
    if (what == ATTRIBUTE) {
        hid_t space = H5Screate(H5S_SCALAR);
        H5Aclose(H5Acreate2(file, "a", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT));
        H5Sclose(space);
    }
    hid_t at = file;
    for (int i = 0; what == DEEP && i < 12; i++) {
        hid_t below = H5Gcreate2(at, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        if (at != file) H5Gclose(at);
        at = below;
    }
    if (at != file) H5Gclose(at);
    H5Pclose(dcpl);
    H5Tclose(words);
}

/* A feature of libhdf5 that h5.c does not use is refused before libhdf5 opens the file. */
static void test_foreign_content(void **state)
{
    (void)state;
    static const char *const rows[] = {
        [CHUNKED] = "a message in an object header", [OUTSIDE] = "a message in an object header",
        [FILLED] = "a message in an object header",  [SWAPPED] = "a message in an object header",
        [WORDS] = "a message in an object header",   [EXTERNAL] = "a message in an object header",
        [SOFT] = "an entry of a symbol table",       [ATTRIBUTE] = "a message in an object header",
        [TIMES] = "a message in an object header",   [DEEP] = "groups nested deeper",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hid_t file = make_file(temp_path("foreign.h5"));
        add_foreign(file, (enum foreign)i);
        const char *path = seal_file(file, "foreign.h5");
        struct h5_reader r;
        struct err e;
        assert_refused(h5_open(&r, path, &e), &e, path, rows[i], rows[i]);
    }
}

static void read_some(struct h5_reader *r)
{
    struct str text = { 0 };
    struct err e;
    float x[6];
    h5_get(x, r, "adapter/A", H5_TYPE_F32, 2, (const uint64_t[]){ 2, 3 }, &e);
    h5_get(x, r, "adapter/deep/B", H5_TYPE_F32, 1, (const uint64_t[]){ 6 }, &e);
    h5_get_text(&text, r, "config", &e);
    str_free(&text);
}

/* Each byte of a file is changed, and the file is sealed again: then it is refused in one line or
 * read. libhdf5 alone would crash. */
static void test_every_sealed_byte(void **state)
{
    (void)state;
    static const uint8_t masks[] = { 0xff, 1 };
    const char *path = write_sample("sealed.h5");
    size_t bytes = file_bytes(path), refused = 0;
    for (size_t i = 512; i < bytes; i++) {
        for (size_t k = 0; k < sizeof masks; k++) {
            struct h5_reader r;
            struct err e;
            flip_bits(path, i, masks[k]);
            reseal(path);
            int code = h5_open(&r, path, &e);
            refused += code != 0;
            if (code) {
                assert_refused(code, &e, path, "byte", "lorac does not write");
            } else {
                read_some(&r);
                h5_close(&r);
            }
            flip_bits(path, i, masks[k]);
        }
    }
    assert_true(refused > 1000); /* the structures are a good part of such a small file */
}

/* Sealed, but no HDF5 inside. */
static void test_sealed_rubbish(void **state)
{
    (void)state;
    hid_t file = make_file(temp_path("rubbish.h5"));
    H5Fclose(file);
    flip_bits(temp_path("rubbish.h5"), 512, 'x');
    reseal(temp_path("rubbish.h5"));
    struct h5_reader r;
    struct err e;
    const char *path = temp_path("rubbish.h5");
    assert_refused(h5_open(&r, path, &e), &e, path, "rubbish", "found a superblock that");
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
        ENTRY(test_round_trip, "h5: what is written is read"),
        ENTRY(test_long_text, "h5: long texts are written and read"),
        ENTRY(test_same_content_same_bytes, "h5: the same content is the same bytes"),
        ENTRY(test_replaces_and_modes,
              "h5: a file replaces the old one when it is committed, with its mode"),
        ENTRY(test_allocates_nothing, "h5: saving does not allocate"),
        ENTRY(test_abort_leaves_nothing, "h5: an aborted write leaves no file"),
        ENTRY(test_full_disk, "h5: on a full disk the old file stays and nothing else"),
        ENTRY(test_wrong_requests,
              "h5: an entry that is missing, or of another shape or type, is refused by name"),
        ENTRY(test_long_paths, "h5: paths that are too long are refused"),
        ENTRY(test_every_truncation, "h5: every truncation is refused"),
        ENTRY(test_every_flip, "h5: every flipped byte is refused"),
        ENTRY(test_other_files, "h5: a file of another kind is refused as what it is"),
        ENTRY(test_foreign_content,
              "h5: HDF5 features that lorac does not write are refused before libhdf5 reads them"),
        ENTRY(test_every_sealed_byte,
              "h5: a changed byte under a fitting seal is refused in one line or read"),
        ENTRY(test_sealed_rubbish, "h5: rubbish under a fitting seal is refused"),
        ENTRY(test_h5dump_reads_it, "h5: h5dump reads it"),
    };
    return cmocka_run_group_tests_name("h5", tests, make_test_dir, remove_test_dir);
}
