/* Shared by tests of file formats: a temporary directory, files made of bytes, the fixtures, and
 * one check that an open failed with the right line. */
#ifndef LORAC_TESTS_FILES_UTIL_H
#define LORAC_TESTS_FILES_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "src/base/err.h"
#include "src/base/file.h"
#include "tests/entry.h"

static char test_dir[256];

/* Group set-up and tear-down: test_dir exists in between. */
static int make_test_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(test_dir, sizeof test_dir, "%s/lorac-files-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(test_dir) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int remove_test_dir(void **state)
{
    (void)state;
    return nftw(test_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* test_dir/name, in one of sixteen rotating buffers. */
static inline const char *temp_path(const char *name)
{
    static char paths[16][PATH_BYTES];
    static unsigned turn;
    char *out = paths[turn++ % 16];
    snprintf(out, PATH_BYTES, "%s/%s", test_dir, name);
    return out;
}

static inline const char *put_file(const char *name, const void *bytes, size_t n)
{
    const char *path = temp_path(name);
    unlink(path); /* some file systems sync a file that is emptied and written again */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* Change a file in place: thousands of variants are made this way. */
static inline void cut_file(const char *path, size_t n)
{
    assert_int_equal(truncate(path, (off_t)n), 0);
}

static inline void flip_bits(const char *path, size_t at, uint8_t mask)
{
    int fd = open(path, O_RDWR);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static inline size_t file_bytes(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

static inline const char *put_text(const char *name, const char *text)
{
    return put_file(name, text, strlen(text));
}

static inline void get_file(struct str *out, const char *path)
{
    struct err e;
    str_clear(out);
    if (file_read(out, path, 1u << 30, &e)) fail_msg("%s", e.msg);
}

/* The path of a fixture; skips the test when the folder of fixtures is not there. */
static inline const char *fixture(const char *name)
{
    static char paths[4][PATH_BYTES];
    static unsigned turn;
    char *out = paths[turn++ % 4];
    const char *base = getenv("LORAC_TEST_DATA");
    snprintf(out, PATH_BYTES, "%s/%s", base && *base ? base : "../shared/data", name);
    if (access(out, R_OK) != 0) skip();
    return out;
}

/* An open of `path` ended with `code`: it has to have failed with one line that begins with the
 * path and contains `want`. */
static inline void assert_refused(int code, const struct err *e, const char *path,
                                  const char *label, const char *want)
{
    if (code != ERR_FAIL) fail_msg("%s: not refused", label);
    if (strncmp(e->msg, path, strlen(path)) != 0) fail_msg("%s: no path in: %s", label, e->msg);
    if (!strstr(e->msg, want)) fail_msg("%s: wanted '%s' in: %s", label, want, e->msg);
    if (strchr(e->msg, '\n')) fail_msg("%s: more than one line: %s", label, e->msg);
}

#endif
