/* Files that are not UTF-8 text: told by their first bytes, and what to do with them. */
#ifndef LORAC_DATA_KINDS_H
#define LORAC_DATA_KINDS_H

#include <stdint.h>

#include "src/base/err.h"

/* An error for what is visibly something else than text in UTF-8 (Parquet, a spreadsheet, UTF-16),
 * which names the remedy as a command where there is one. `path` is that of the file, the bytes are
 * its text, unpacked. 0 for anything else. */
int kinds_refuse(const char *path, const uint8_t *bytes, size_t n, struct err *e);

/* The error of text that is not valid UTF-8 at byte `at`: "where: ..." and, where the n bytes look
 * like a single-byte encoding, the command that converts the file. */
int kinds_not_utf8(const char *where, const char *path, const char *text, size_t n, size_t at,
                   struct err *e);

#endif
