/* Checks the structures of an HDF5 file before libhdf5 follows them.
 *
 * That library trusts what it reads: a wrong length or address makes it crash or read on. So the
 * file is walked first, by a reader that knows only what h5.c writes (superblock 0, groups of one
 * level of symbol tables, object headers 1, contiguous data sets of our few types). It refuses any
 * other value in a field that says where something is or how long it is.
 * Source: HDF5 File Format Specification 3.0, III and IV. */
#ifndef LORAC_FORMATS_H5_CHECK_H
#define LORAC_FORMATS_H5_CHECK_H

#include "src/base/file.h"

/* The map of a whole file whose HDF5 part begins at `block`. */
int h5_check(const struct map *m, size_t block, const char *path, struct err *e);

#endif
