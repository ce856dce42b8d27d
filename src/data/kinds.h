/* Files that are not UTF-8 text: recognised by their first bytes, with a remedy for each. */
#ifndef LORAC_DATA_KINDS_H
#define LORAC_DATA_KINDS_H

#include <stdint.h>

#include "src/base/err.h"

/* An error for a file that is visibly not text in UTF-8 (Parquet, a spreadsheet, UTF-16); it gives
 * the remedy as a command where there is one. `path` is the file's path, the bytes are its unpacked
 * content. 0 for any other file. */
int kinds_refuse(const char *path, const uint8_t *bytes, size_t n, struct err *e);

/* The error for text that is not valid UTF-8 at byte `at`: "where: ..." and, where the n bytes look
 * like a single-byte encoding, the command that converts the file. */
int kinds_not_utf8(const char *where, const char *path, const char *text, size_t n, size_t at,
                   struct err *e);

#endif
