#include "src/base/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "src/base/mem.h"

enum { PIECE = 1 << 20 };
/* Compression makes text 3 to 30 times smaller, 250 times if it repeats itself all the time. A file
 * that unpacks to more is made to fill a disk (gzip can do 1,000 times, Zstandard far more). */
enum { ROOM = 64 << 20, TIMES = 250 };
enum { WINDOW_LOG = 27 };

/* The file that the text goes to. */
struct sink {
    int fd;
    size_t size, most;
    char dir[PATH_BYTES];
    const char *path; /* of the compressed file */
};

static int sink_open(struct sink *s, const char *path, struct err *e)
{
    const char *dir = getenv("TMPDIR");
    *s = (struct sink){ .fd = -1, .path = path };
    snprintf(s->dir, sizeof s->dir, "%s", dir && *dir ? dir : "/tmp");
    s->fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd < 0) { /* not every file system has O_TMPFILE */
        char name[PATH_BYTES + 32];
        snprintf(name, sizeof name, "%s/lorac-unpack-XXXXXX", s->dir);
        s->fd = mkostemp(name, O_CLOEXEC);
        if (s->fd >= 0) unlink(name);
    }
    if (s->fd >= 0) return 0;
    return err_errno(e, "%s: unpacking it into %s (TMPDIR names another place)", path, s->dir);
}

static int sink_write(struct sink *s, const uint8_t *bytes, size_t n, struct err *e)
{
    if (n > s->most - s->size) {
        return err_set(e,
                       "%s: unpacks to more than %d MB and %d times its size, which no text does; "
                       "unpack it first if it is one",
                       s->path, ROOM >> 20, TIMES);
    }
    while (n) {
        ssize_t done = write(s->fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) {
            return err_errno(e, "%s: unpacking it into %s (TMPDIR names another place)", s->path,
                             s->dir);
        }
        bytes += done;
        n -= (size_t)done;
        s->size += (size_t)done;
    }
    return 0;
}

static int sink_map(struct map *m, const struct sink *s, struct err *e)
{
    *m = (struct map){ .size = s->size };
    if (fstat(s->fd, &m->st)) return err_errno(e, "%s: unpacked in %s", s->path, s->dir);
    if (!s->size) return 0;
    void *p = mmap(NULL, s->size, PROT_READ, MAP_PRIVATE, s->fd, 0);
    if (p == MAP_FAILED) return err_errno(e, "%s: mapping it unpacked in %s", s->path, s->dir);
    m->data = p;
    return 0;
}

/* ---- gzip ------------------------------------------------------------------------------------ */

static int damaged(struct err *e, const char *path, size_t at, const char *why)
{
    return err_set(e, "%s: byte %zu: damaged compressed data (%s); compress it again", path, at,
                   why);
}

static int inflate_members(struct sink *s, z_stream *z, const struct map *packed, uint8_t *out,
                           struct err *e)
{
    size_t at = 0;
    int status = Z_OK, code = 0;
    while (!code) {
        size_t left = packed->size - at, now = left < PIECE ? left : PIECE;
        z->next_in = (Bytef *)(uintptr_t)packed->data + at;
        z->avail_in = (uInt)now;
        z->next_out = out;
        z->avail_out = PIECE;
        status = inflate(z, Z_NO_FLUSH);
        at += now - z->avail_in;
        code = sink_write(s, out, PIECE - z->avail_out, e);
        if (code) break;
        if (status == Z_STREAM_END) {
            if (at == packed->size) break; /* otherwise another member follows */
            if (inflateReset(z) != Z_OK) return damaged(e, s->path, at, "zlib");
        } else if (status == Z_BUF_ERROR && at == packed->size) {
            return err_set(e, "%s: the compressed data ends early: the file is cut short", s->path);
        } else if (status != Z_OK && status != Z_BUF_ERROR) {
            return damaged(e, s->path, at, z->msg ? z->msg : "zlib");
        }
    }
    return code;
}

static int unpack_gzip(struct sink *s, const struct map *packed, struct err *e)
{
    enum { GZIP_ONLY = 16 };
    z_stream z = { 0 };
    uint8_t *out = mem_alloc(PIECE, 1, e);
    if (!out) return e->code;
    int code = inflateInit2(&z, MAX_WBITS + GZIP_ONLY) == Z_OK
                   ? inflate_members(s, &z, packed, out, e)
                   : err_set(e, "out of memory: unpacking %s", s->path);
    inflateEnd(&z);
    mem_free(out);
    return code;
}

/* ---- Zstandard ------------------------------------------------------------------------------- */

static int zstd_refuse(struct err *e, const char *path, size_t at, size_t result)
{
    if (ZSTD_getErrorCode(result) != ZSTD_error_frameParameter_windowTooLarge) {
        return damaged(e, path, at, ZSTD_getErrorName(result));
    }
    return err_set(e,
                   "%s: byte %zu: unpacking it needs more than %d MB of memory; compress it again "
                   "with a --long of at most %d",
                   path, at, 1 << (WINDOW_LOG - 20), WINDOW_LOG);
}

static int unpack_zstd(struct sink *s, const struct map *packed, struct err *e)
{
    uint8_t *bytes = mem_alloc(PIECE, 1, e);
    ZSTD_DStream *z = bytes ? ZSTD_createDStream() : NULL;
    int code = z ? 0 : err_set(e, "out of memory: unpacking %s", s->path);
    if (z) CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG)));
    ZSTD_inBuffer in = { packed->data, packed->size, 0 };
    size_t hint = 1;
    bool full = false;
    while (!code && (in.pos < in.size || full)) {
        ZSTD_outBuffer out = { bytes, PIECE, 0 };
        hint = ZSTD_decompressStream(z, &out, &in);
        if (ZSTD_isError(hint)) {
            code = zstd_refuse(e, s->path, in.pos, hint);
        } else {
            code = sink_write(s, bytes, out.pos, e);
        }
        full = out.pos == out.size; /* the decoder may hold more */
    }
    if (!code && hint != 0) {
        code = err_set(e, "%s: the compressed data ends early: the file is cut short", s->path);
    }
    ZSTD_freeDStream(z);
    mem_free(bytes);
    return code;
}

/* ---- by kind --------------------------------------------------------------------------------- */

static const struct {
    const char *bytes;
    size_t n;
    int (*unpack)(struct sink *s, const struct map *packed, struct err *e);
} kinds[] = {
    { "\x1f\x8b", 2, unpack_gzip },
    { "\x28\xb5\x2f\xfd", 4, unpack_zstd },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static size_t kind_of(const struct map *m)
{
    size_t i = 0;
    while (i < KINDS && !(m->size >= kinds[i].n && !memcmp(m->data, kinds[i].bytes, kinds[i].n)))
        i++;
    return i;
}

bool unpack_knows(const struct map *packed)
{
    return kind_of(packed) < KINDS;
}

int unpack(struct map *text, const struct map *packed, const char *path, struct err *e)
{
    struct sink s;
    size_t kind = kind_of(packed);
    CHECK(kind < KINDS);
    int code = sink_open(&s, path, e);
    s.most = ROOM + TIMES * packed->size;
    if (!code) code = kinds[kind].unpack(&s, packed, e);
    if (!code) code = sink_map(text, &s, e);
    if (s.fd >= 0) close(s.fd);
    return code;
}
