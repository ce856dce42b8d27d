/* A temporary file without a name: appended bytes can be read back, and are gone when it is closed
 * or when the process ends in any way. Only its owner can read it. */
#ifndef LORAC_BASE_SCRATCH_H
#define LORAC_BASE_SCRATCH_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

struct scratch {
    int fd;             /* -1: closed */
    uint64_t n;         /* bytes appended */
    struct str pending; /* the last of them, not written yet */
    const char *dir;    /* for messages */
};

/* Open it in a directory that exists; the string `dir` must live as long. */
int scratch_open(struct scratch *s, const char *dir, struct err *e);
int scratch_add(struct scratch *s, const void *bytes, size_t n, struct err *e);
/* Copy n bytes from offset `at` on; they must have been appended. */
int scratch_read(void *bytes, struct scratch *s, uint64_t at, size_t n, struct err *e);
/* Harmless when it is closed already. */
void scratch_close(struct scratch *s);

#endif
