#include "src/base/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "src/base/file.h"

enum { PENDING_BYTES = 256 << 10 };

/* Open with O_TMPFILE if the file system has it, else make a file and remove its name at once. */
static int open_unnamed(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/scratch-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

int scratch_open(struct scratch *s, const char *dir, struct err *e)
{
    *s = (struct scratch){ .fd = open_unnamed(dir), .dir = dir };
    return s->fd < 0 ? err_errno(e, "%s: cannot make a temporary file", dir) : 0;
}

static int flush(struct scratch *s, struct err *e)
{
    int code = str_error(&s->pending, e);
    for (size_t at = 0; !code && at < s->pending.n;) {
        ssize_t n = write(s->fd, s->pending.p + at, s->pending.n - at);
        if (n < 0 && errno != EINTR) {
            code = err_errno(e, "%s: cannot write a temporary file", s->dir);
        }
        if (n > 0) at += (size_t)n;
    }
    str_clear(&s->pending);
    return code;
}

int scratch_add(struct scratch *s, const void *bytes, size_t n, struct err *e)
{
    str_add(&s->pending, bytes, n);
    s->n += n;
    return s->pending.n < PENDING_BYTES ? str_error(&s->pending, e) : flush(s, e);
}

int scratch_read(void *bytes, struct scratch *s, uint64_t at, size_t n, struct err *e)
{
    CHECK(at <= s->n && n <= s->n - at);
    int code = flush(s, e);
    for (char *to = bytes; !code && n;) {
        ssize_t got = pread(s->fd, to, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (got == 0) errno = EIO;
            return err_errno(e, "%s: cannot read a temporary file", s->dir);
        }
        to += got;
        n -= (size_t)got;
        at += (uint64_t)got;
    }
    return code;
}

void scratch_close(struct scratch *s)
{
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    str_free(&s->pending);
}
