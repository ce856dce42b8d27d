/* Our own HDF5 files: arrays and texts by name, in one file that is complete or does not exist.
 *
 * A file begins with a user block of 512 bytes: magic, version, size and SHA-256 of everything
 * after the block, as text. All of it is checked before libhdf5 reads a byte, because that library
 * aborts on damaged files or reads them without an error. An attacker can compute a SHA-256 too, so
 * every structure of the file is then walked (h5_check.h): only structures that h5.c writes pass,
 * with hard links and contiguous storage inside the file. Arrays have the exact type and shape that
 * the caller names.
 *
 * Writing goes to a temporary file that is closed, sealed, fsynced and renamed over the target. The
 * same content gives the same bytes. h5dump and h5py read the files as they are. Neither writing
 * nor reading allocates through mem_* (except texts that are read), so a training loop may save.
 *
 * Names are paths such as "adapter/A"; missing groups are made. Not thread-safe. */
#ifndef LORAC_FORMATS_H5_H
#define LORAC_FORMATS_H5_H

#include <stdint.h>

#include "src/base/file.h"

/* Start the library while there is memory, since it crashes if it starts without. Every function
 * below would also start it, but perhaps too late. */
int h5_init(struct err *e);

enum { H5_RANK = 4 };

/* Stored little-endian; in memory, in the machine's byte order. */
enum h5_type { H5_TYPE_F32, H5_TYPE_F64, H5_TYPE_I64, H5_TYPE_I32, H5_TYPE_U8 };

struct h5_writer {
    int64_t file; /* libhdf5's handle, -1 when there is none */
    int fd;       /* ours on the same file, -1 when there is none */
    char path[PATH_BYTES], tmp[PATH_BYTES + 32];
};

/* mode 0600 stays private; any other mode is masked by the umask. */
int h5_create(struct h5_writer *w, const char *path, mode_t mode, struct err *e);

/* Write an array of rank 0 (a scalar, dims NULL) to 4. Dimensions may be 0. */
int h5_put(struct h5_writer *w, const char *name, enum h5_type type, const void *data,
           unsigned rank, const uint64_t *dims, struct err *e);
/* Make an array of rank 1 that is written later, in pieces: *at is the place of its first byte. */
int h5_place(struct h5_writer *w, uint64_t *at, const char *name, enum h5_type type, uint64_t n,
             struct err *e);
/* Write n bytes into such a place. */
int h5_write(struct h5_writer *w, uint64_t at, const void *bytes, size_t n, struct err *e);
int h5_put_i64(struct h5_writer *w, const char *name, int64_t v, struct err *e);
int h5_put_f64(struct h5_writer *w, const char *name, double v, struct err *e);
/* Write n bytes, which h5dump shows as a string; NULs inside are kept. */
int h5_put_text(struct h5_writer *w, const char *name, const char *text, size_t n, struct err *e);

/* Close, seal and publish. On failure the temporary file is gone and the target untouched. */
int h5_commit(struct h5_writer *w, struct err *e);
/* Give up: remove the temporary file. Harmless after h5_commit() and after a failed h5_create(). */
void h5_abort(struct h5_writer *w);

struct h5_reader {
    int64_t file;
    uint64_t bytes; /* of the file: the bound of every size in it */
    char path[PATH_BYTES];
};

int h5_open(struct h5_reader *r, const char *path, struct err *e);
void h5_close(struct h5_reader *r);

/* Whether there is an array, a number or a text of that name; an error where that cannot be read:
 * what is optional must not seem to be missing then. */
int h5_has(bool *has, const struct h5_reader *r, const char *name, struct err *e);
/* The length of an array of rank 1. */
int h5_length(size_t *n, const struct h5_reader *r, const char *name, enum h5_type type,
              struct err *e);
/* An error unless the array exists with exactly this type and shape. */
int h5_get(void *data, const struct h5_reader *r, const char *name, enum h5_type type,
           unsigned rank, const uint64_t *dims, struct err *e);
/* The place of the n numbers of an array of rank 1 in the file, for callers that map it; aligned
 * for their type. */
int h5_find(uint64_t *at, const struct h5_reader *r, const char *name, enum h5_type type,
            uint64_t n, struct err *e);
int h5_get_i64(int64_t *v, const struct h5_reader *r, const char *name, struct err *e);
int h5_get_f64(double *v, const struct h5_reader *r, const char *name, struct err *e);
/* Appends the text to out. */
int h5_get_text(struct str *out, const struct h5_reader *r, const char *name, struct err *e);

#endif
