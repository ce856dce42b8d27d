/* SHA-256 (libcrypto) and hexadecimal. */
#ifndef LORAC_BASE_HASH_H
#define LORAC_BASE_HASH_H

#include <stdint.h>

#include "src/base/watch.h"

enum { SHA256_BYTES = 32, SHA256_HEX = 65 };

struct sha256 {
    void *state; /* libcrypto's context */
};

/* Streaming: begin, add, end. sha256_end() releases the state and writes the digest. */
int sha256_begin(struct sha256 *h, struct err *e);
void sha256_add(struct sha256 *h, const void *bytes, size_t n);
void sha256_end(struct sha256 *h, uint8_t digest[SHA256_BYTES]);

/* The digest of bytes in memory, and of a file, which is read in pieces. The watch, which may be
 * NULL, sees bytes. */
int sha256_of(uint8_t digest[SHA256_BYTES], const void *bytes, size_t n, struct err *e);
int sha256_file(uint8_t digest[SHA256_BYTES], const char *path, const struct watch *w,
                struct err *e);

void hex_of(char out[SHA256_HEX], const uint8_t digest[SHA256_BYTES]);

#endif
