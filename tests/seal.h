/* Write the seal of our HDF5 files (src/formats/h5.h) again so that it fits, as anybody can who can
 * compute a SHA-256. */
#ifndef LORAC_TESTS_SEAL_H
#define LORAC_TESTS_SEAL_H

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "src/base/file.h"
#include "src/base/hash.h"

enum { SEAL_BYTES = 512 };

/* Of a file of more than SEAL_BYTES. */
static inline void reseal(const char *path)
{
    struct str s = { 0 };
    struct err e;
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX], block[SEAL_BYTES] = "";
    CHECK(!file_read(&s, path, 1 << 26, &e) && s.n > SEAL_BYTES);
    CHECK(!sha256_of(digest, s.p + SEAL_BYTES, s.n - SEAL_BYTES, &e));
    hex_of(hex, digest);
    snprintf(block, sizeof block, "LORACH5\nversion 1\nbytes %020" PRIu64 "\nsha256 %s\n",
             (uint64_t)s.n, hex);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, block, sizeof block, 0) == sizeof block && close(fd) == 0);
    str_free(&s);
}

#endif
