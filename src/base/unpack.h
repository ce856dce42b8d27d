/* Compressed files: gzip (.gz) and Zstandard (.zst), told by their first bytes.
 *
 * The text goes into a file without a name, readable by its owner alone, in TMPDIR (or /tmp), so
 * that a data set larger than memory can be mapped like any other; it is gone when unmapped.
 * Text of more than 64 MB and 250 times its packed size is refused: such files fill disks.
 * A Zstandard frame may want 128 MB of memory, what its own tool allows without being asked.
 * Checksums are verified; several compressed parts behind each other are one text, as the tools of
 * both formats have it. */
#ifndef LORAC_BASE_UNPACK_H
#define LORAC_BASE_UNPACK_H

#include "src/base/file.h"

/* Whether the bytes begin like a format that unpack() reads. */
bool unpack_knows(const struct map *packed);

/* Map the text of a compressed file; `path` is named in errors (damaged, cut short, disk full). */
int unpack(struct map *text, const struct map *packed, const char *path, struct err *e);

#endif
