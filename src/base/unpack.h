/* Compressed files: gzip (.gz) and Zstandard (.zst), recognised by their first bytes.
 *
 * The text goes into a file without a name in TMPDIR (or /tmp), which only its owner can read, so
 * that a data set larger than memory can be mapped like any other; it is gone when unmapped. Text
 * of more than 64 MB and 250 times its packed size is refused: such files fill disks. A Zstandard
 * frame may need 128 MB of memory, the default limit of its own tool. Checksums are verified;
 * several compressed parts in a row are one text, as in the tools of both formats. */
#ifndef LORAC_BASE_UNPACK_H
#define LORAC_BASE_UNPACK_H

#include "src/base/file.h"

/* Whether the bytes begin like a format that unpack() reads. */
bool unpack_knows(const struct map *packed);

/* Map the text of a compressed file; `path` is named in errors (damaged, cut short, disk full). */
int unpack(struct map *text, const struct map *packed, const char *path, struct err *e);

#endif
