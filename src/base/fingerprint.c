#include "src/base/fingerprint.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/mem.h"

enum { HEADER = 65536, BLOCK = 4096, BLOCKS = 64 };

struct part {
    int fd;
    uint64_t size;
};

static void add_number(struct sha256 *h, uint64_t v)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    sha256_add(h, bytes, sizeof bytes);
}

static int open_part(struct part *p, const char *path, struct err *e)
{
    struct stat st;
    p->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (p->fd < 0 || fstat(p->fd, &st) != 0) return err_errno(e, "%s", path);
    p->size = (uint64_t)st.st_size;
    return 0;
}

/* Add the n bytes at `at` of one file, which must have them. */
static int add_bytes(struct sha256 *h, const struct part *p, uint64_t at, size_t n,
                     const char *path, struct err *e)
{
    uint8_t bytes[BLOCK];
    while (n > 0) {
        ssize_t got = pread(p->fd, bytes, n < BLOCK ? n : BLOCK, (off_t)at);
        if (got < 0) return err_errno(e, "%s", path);
        if (got == 0) return err_set(e, "%s: changed while it was read", path);
        sha256_add(h, bytes, (size_t)got);
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

/* Add the n bytes at `at` of the stream of all files. */
static int add_stream(struct sha256 *h, const struct part *parts, char *const *files, size_t count,
                      uint64_t at, size_t n, struct err *e)
{
    int code = 0;
    for (size_t i = 0; i < count && n > 0 && !code; i++) {
        if (at >= parts[i].size) {
            at -= parts[i].size;
            continue;
        }
        uint64_t left = parts[i].size - at;
        size_t here = left < n ? (size_t)left : n;
        code = add_bytes(h, &parts[i], at, here, files[i], e);
        n -= here;
        at = 0;
    }
    return code;
}

static int add_all(struct sha256 *h, const struct part *parts, char *const *files, size_t n,
                   struct err *e)
{
    static const char name[] = "lorac-fingerprint-1\n";
    uint64_t S = 0;
    int code = 0;
    sha256_add(h, name, sizeof name - 1);
    add_number(h, n);
    for (size_t i = 0; i < n && !code; i++) {
        add_number(h, parts[i].size);
        code = add_bytes(h, &parts[i], 0, parts[i].size < HEADER ? (size_t)parts[i].size : HEADER,
                         files[i], e);
        S += parts[i].size;
    }
    if (code || S < BLOCK) return code ? code : add_stream(h, parts, files, n, 0, (size_t)S, e);
    for (uint64_t i = 0; i < BLOCKS && !code; i++) {
        /* floor(i * (S - BLOCK) / 63) without the product, which may be too large */
        uint64_t room = S - BLOCK, last = BLOCKS - 1;
        uint64_t at = i * (room / last) + i * (room % last) / last;
        code = add_stream(h, parts, files, n, at, BLOCK, e);
    }
    return code;
}

int fingerprint_files(char out[SHA256_HEX], char *const *files, size_t n, struct err *e)
{
    struct sha256 h;
    uint8_t digest[SHA256_BYTES];
    struct part *parts = mem_alloc(n, sizeof *parts, e);
    if (!parts) return e->code;
    for (size_t i = 0; i < n; i++) parts[i].fd = -1;
    int code = 0;
    for (size_t i = 0; i < n && !code; i++) code = open_part(&parts[i], files[i], e);
    if (!code) code = sha256_begin(&h, e);
    if (!code) {
        code = add_all(&h, parts, files, n, e);
        sha256_end(&h, digest);
        if (!code) hex_of(out, digest);
    }
    for (size_t i = 0; i < n; i++)
        if (parts[i].fd >= 0) close(parts[i].fd);
    mem_free(parts);
    return code;
}
