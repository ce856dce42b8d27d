/* SHA-256 of large files, in the background and remembered.
 *
 * A base model of 13 GB takes some ten seconds to hash, and the run need not wait for it: a thread
 * reads the files while training begins. Each hash is kept, by device, inode, size and time of
 * change, in $XDG_CACHE_HOME/lorac/sha256 (or ~/.cache/lorac/sha256). A cache that cannot be read
 * or written costs time, never correctness. */
#ifndef LORAC_BASE_HASHCACHE_H
#define LORAC_BASE_HASHCACHE_H

#include "src/base/hash.h"

struct hash_job;

/* The digest of a file that was hashed before and has not changed since; false: not known. The file
 * itself is not read. */
bool hash_cached(char digest[SHA256_HEX], const char *path);

/* Begin hashing n files; the strings must stay until hash_wait(). */
int hash_start(struct hash_job **out, char *const *files, size_t n, struct err *e);

/* Wait for the result: digests[i] of file i (hexadecimal), in an array of the caller's. Frees the
 * job. */
int hash_wait(struct hash_job *job, char (*digests)[SHA256_HEX], struct err *e);

/* The same now, in this thread; the watch, which may be NULL, sees the bytes of all files. */
int hash_files(char (*digests)[SHA256_HEX], char *const *files, size_t n, const struct watch *w,
               struct err *e);

/* Stop and free without a result. NULL is allowed. */
void hash_abandon(struct hash_job *job);

#endif
