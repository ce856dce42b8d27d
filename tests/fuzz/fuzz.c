#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/utf8.h"
#include "tests/seal.h"
#include "tests/seal.h"

enum { FILES = 8 };
static char dir[256];
static char names[FILES][64], paths[FILES][PATH_BYTES];

static void remove_all(void)
{
    for (size_t i = 0; i < FILES; i++)
        if (*paths[i]) unlink(paths[i]);
    rmdir(dir);
}

const char *fuzz_dir(void)
{
    if (*dir) return dir;
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = dir_exists("/dev/shm") ? "/dev/shm" : "/tmp";
    snprintf(dir, sizeof dir, "%s/lorac-fuzz-XXXXXX", base);
    CHECK(mkdtemp(dir));
    atexit(remove_all);
    return dir;
}

static char *path_of(const char *name)
{
    size_t i = 0;
    while (i < FILES && *names[i] && strcmp(names[i], name) != 0) i++;
    CHECK(i < FILES);
    if (!*names[i]) {
        snprintf(names[i], sizeof names[i], "%s", name);
        snprintf(paths[i], sizeof paths[i], "%s/%s", fuzz_dir(), name);
    }
    return paths[i];
}

const char *fuzz_put(const char *name, const void *data, size_t n)
{
    const char *path = path_of(name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n && close(fd) == 0);
    return path;
}

const char *fuzz_put_sealed(const char *name, const void *data, size_t n)
{
    if (n <= SEAL_BYTES) return NULL;
    const char *path = fuzz_put(name, data, n);
    reseal(path);
    return path;
}

void fuzz_drop(const char *name)
{
    unlink(path_of(name));
}

void fuzz_refused(const struct err *e, int code, int wanted, const char *where)
{
    size_t n = strnlen(e->msg, sizeof e->msg), at;
    CHECK(code == wanted && e->code == wanted);
    CHECK(n > 0 && n < sizeof e->msg && strncmp(e->msg, where, strlen(where)) == 0);
    for (size_t i = 0; i < n; i++) CHECK((unsigned char)e->msg[i] >= 0x20 && e->msg[i] != 0x7f);
    /* A message that was cut to its buffer may end inside a character. */
    CHECK(utf8_valid(e->msg, n, &at) || at + 4 > sizeof e->msg - 1);
}

void fuzz_split(struct fuzz_part *out, size_t parts, const uint8_t *data, size_t n)
{
    const char *p = (const char *)data;
    for (size_t i = 0; i < parts; i++) {
        const char *nul = i + 1 < parts && n ? memchr(p, 0, n) : NULL;
        out[i] = (struct fuzz_part){ p, nul ? (size_t)(nul - p) : n };
        size_t used = out[i].n + (nul != NULL);
        p += used;
        n -= used;
    }
}
