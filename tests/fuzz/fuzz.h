/* Shared by the fuzz targets.
 *
 * A target is a program around one parser: LLVMFuzzerTestOneInput() gives it the bytes as the file
 * that it reads. fuzz_refused() checks a refusal; a file that is accepted must keep the promises of
 * the parser's header. Built with clang and SAN=...,fuzzer-no-link a target is a libFuzzer program;
 * otherwise it is linked with replay.c, which runs it over the files that it is given. */
#ifndef LORAC_TESTS_FUZZ_FUZZ_H
#define LORAC_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Write n bytes to `name` inside this process's directory (in memory, removed at exit) and return
 * the path, in a buffer of its own for each name of at most eight. */
const char *fuzz_put(const char *name, const void *data, size_t n);
const char *fuzz_dir(void);
/* The same for one of our HDF5 files (src/formats/h5.h) with a seal that fits, as anybody can write
 * it who can compute a SHA-256. NULL when it is too short to have a seal. */
const char *fuzz_put_sealed(const char *name, const void *data, size_t n);
/* Remove a file of that directory. */
void fuzz_drop(const char *name);

/* CHECKs that an error is one printable line that begins with `where`, and has that code. */
void fuzz_refused(const struct err *e, int code, int wanted, const char *where);

/* Part `index` of the input, cut at its NUL bytes: for targets that read several texts. The last of
 * `parts` holds the rest, NULs and all. */
struct fuzz_part {
    const char *p;
    size_t n;
};
void fuzz_split(struct fuzz_part *out, size_t parts, const uint8_t *data, size_t n);

#endif
