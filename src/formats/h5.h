/* HDF5 files of our own: arrays and texts by name, in one file that is whole or not there.
 *
 * A file begins with a user block of 512 bytes: magic, version, size and SHA-256 of everything
 * behind the block, as text. Reading checks all of it before libhdf5 sees a byte, because that
 * library aborts on damaged files or reads them without a word. A stranger can compute a SHA-256
 * too, so every structure of the file is then walked (h5_check.h): only what this file writes
 * passes, hard links and contiguous storage inside the file. Arrays have the exact type and shape
 * that the caller names.
 *
 * Writing goes to a temporary file that is closed, sealed, fsynced and renamed over the target. The
 * same content gives the same bytes. h5dump and h5py read the files as they are. Neither writing
 * nor reading allocates through mem_* (texts that are read apart), so a training loop may save.
 *
 * Names are paths such as "adapter/A"; missing groups are made. Not for use from several threads.
 */
#ifndef LORAC_FORMATS_H5_H
#define LORAC_FORMATS_H5_H

#include <stdint.h>

#include "src/base/file.h"

/* Begin the library while there is memory: without it, it crashes. Every function below does it by
 * itself, too late for that. */
int h5_init(struct err *e);

enum { H5_RANK = 4 };

/* Stored little-endian; in memory the machine's own. */
enum h5_type { H5_TYPE_F32, H5_TYPE_F64, H5_TYPE_I64, H5_TYPE_I32, H5_TYPE_U8 };

struct h5_writer {
    int64_t file; /* libhdf5's handle, -1 when there is none */
    int fd;       /* ours on the same file, -1 when there is none */
    char path[PATH_BYTES], tmp[PATH_BYTES + 32];
};

/* mode 0600 stays private; any other mode is masked by the umask. */
int h5_create(struct h5_writer *w, const char *path, mode_t mode, struct err *e);

/* An array of rank 0 (a scalar, dims NULL) to 4. Dimensions may be 0. */
int h5_put(struct h5_writer *w, const char *name, enum h5_type type, const void *data,
           unsigned rank, const uint64_t *dims, struct err *e);
/* An array of rank 1 that is written later, in pieces: *at is the place of its first byte. */
int h5_place(struct h5_writer *w, uint64_t *at, const char *name, enum h5_type type, uint64_t n,
             struct err *e);
/* Write n bytes into such a place. */
int h5_write(struct h5_writer *w, uint64_t at, const void *bytes, size_t n, struct err *e);
int h5_put_i64(struct h5_writer *w, const char *name, int64_t v, struct err *e);
int h5_put_f64(struct h5_writer *w, const char *name, double v, struct err *e);
/* n bytes, shown as a string by h5dump; NULs inside are kept. */
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

bool h5_has(const struct h5_reader *r, const char *name);
/* The length of an array of rank 1. */
int h5_length(size_t *n, const struct h5_reader *r, const char *name, enum h5_type type,
              struct err *e);
/* Errors unless the array is there with this very type and shape. */
int h5_get(void *data, const struct h5_reader *r, const char *name, enum h5_type type,
           unsigned rank, const uint64_t *dims, struct err *e);
/* Where the n numbers of an array of rank 1 lie in the file, for those who map it; aligned for their
 * type. */
int h5_find(uint64_t *at, const struct h5_reader *r, const char *name, enum h5_type type,
            uint64_t n, struct err *e);
int h5_get_i64(int64_t *v, const struct h5_reader *r, const char *name, struct err *e);
int h5_get_f64(double *v, const struct h5_reader *r, const char *name, struct err *e);
/* Appends the text to out. */
int h5_get_text(struct str *out, const struct h5_reader *r, const char *name, struct err *e);

#endif
