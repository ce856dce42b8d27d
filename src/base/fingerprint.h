/* A fingerprint of files that are too large to be read as a whole.
 *
 * It tells one base model from another without reading 13 GB: two files that differ in their
 * header, their size or in what training touches everywhere have different ones. It is not a hash
 * of the content: a change between the places that are read goes unseen, so equal fingerprints
 * prove nothing.
 *
 * Definition. The files, in the order given, are one stream of S bytes. The fingerprint is the
 * SHA-256 of, one after the other,
 *     the 20 bytes "lorac-fingerprint-1\n"
 *     the number of files, as a 64-bit little-endian integer
 *     for each file: its size, as a 64-bit little-endian integer, then its first 65536 bytes (all
 *         of them where it has fewer)
 *     for i = 0 .. 63: the 4096 bytes of the stream that begin at floor(i * (S - 4096) / 63); where
 *         S < 4096, the whole stream once instead
 * as 64 hexadecimal digits. Names, dates and places of the files do not count. The files of a base
 * are those that base_digest() hashes, in the same order: the shards of a Hugging Face directory
 * sorted by name, its one model.safetensors, or the .gguf. */
#ifndef LORAC_BASE_FINGERPRINT_H
#define LORAC_BASE_FINGERPRINT_H

#include "src/base/hash.h"

/* At most 64 KiB of each file and 256 KiB of all are read. Errors name the file. */
int fingerprint_files(char out[SHA256_HEX], char *const *files, size_t n, struct err *e);

#endif
