/* What the tests of src/data share: files under a temporary directory, fixtures, messages. */
#ifndef LORAC_TESTS_DATA_TEST_H
#define LORAC_TESTS_DATA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"

/* The path of a fixture, or NULL (the test then skips) when the folder is not there. One of four
 * rotating buffers. */
static inline const char *fixture(const char *name)
{
    static char paths[4][PATH_BYTES];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    const char *root = getenv("LORAC_TEST_DATA");
    snprintf(path, PATH_BYTES, "%s/%s", root ? root : "../shared/data", name);
    return access(path, R_OK) == 0 ? path : NULL;
}

/* Write n bytes to a file of this name in a directory of this process; returns its path. One of
 * four rotating buffers. */
static inline const char *temp_file_n(const char *name, const char *bytes, size_t n)
{
    static char dir[] = "/tmp/lorac-data-XXXXXX";
    static char paths[4][PATH_BYTES];
    static unsigned turn;
    if (strchr(dir, 'X') && strcmp(dir + strlen(dir) - 6, "XXXXXX") == 0)
        assert_non_null(mkdtemp(dir));
    char *path = paths[turn++ % 4];
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static inline const char *temp_file(const char *name, const char *text)
{
    return temp_file_n(name, text, strlen(text));
}

/* Remove what temp_file() made: a group teardown. */
static inline int temp_remove(void **state)
{
    (void)state;
    char command[PATH_BYTES + 16], dir[PATH_BYTES];
    const char *path = temp_file("last", "");
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* Succeed, or fail with the message. */
static inline void assert_ok(int code, const struct err *e)
{
    if (code) fail_msg("%s", e->msg);
}

/* A message has every one of the given parts, and is one line. */
static inline void assert_message(const struct err *e, const char *part)
{
    if (!strstr(e->msg, part)) fail_msg("\"%s\" is not in: %s", part, e->msg);
    assert_null(strchr(e->msg, '\n'));
}

static inline void assert_text(const char *text, size_t n, const char *want)
{
    if (n != strlen(want) || memcmp(text, want, n) != 0) {
        fail_msg("found \"%.*s\", wanted \"%s\"", (int)n, text, want);
    }
}

#endif
