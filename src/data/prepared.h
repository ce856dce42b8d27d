/* Prepared data sets: all examples of a data set in one HDF5 file, for data larger than memory and for
 * not tokenising the same text again.
 *
 *   format, format_version, version    "lorac-data", 1, the program's
 *   key                                SHA-256 of all that the examples depend on (prepared_key)
 *   data_sha256, notes                 as dataset.h has them
 *   train/ids, train/target            all examples back to back: token ids, and whether each is a target
 *   train/at                           (examples + 1) where each begins
 *   train/items                        (items + 1) which are drawn together; absent: each alone
 *   train/line, train/ends             the records they come from: struct origins
 *   train/counts/...                   struct data_counts
 *   validation/...                     the same
 *
 * ids and target are mapped and read where they lie. The file holds training text: it is 0600, in a
 * directory that is made 0700. It is named by its key, so nothing that changed is ever taken for the
 * same, and made under another name first: a kill leaves nothing, and two runs that make the same
 * one at once do no harm. */
#ifndef LORAC_DATA_PREPARED_H
#define LORAC_DATA_PREPARED_H

#include "src/data/build.h"

/* What the examples depend on: the files' digests (training, then validation ones, in order), their
 * formats and templates, the tokenizer, every setting of `o` that matters, and this program's version.
 * Not: paths, weights, threads. */
int prepared_key(char key[SHA256_HEX], const struct data_options *o, const struct tokenizer *tok,
                 const uint8_t (*digests)[SHA256_BYTES], struct err *e);

/* The directory of prepared files: `dir`, or where that is NULL lorac/data in the cache directory. */
int prepared_dir(char out[PATH_BYTES], const char *dir, struct err *e);

/* Write the examples of a spooled build. */
int prepared_write(const char *path, struct build *b, const char *key,
                   const uint8_t sha256[SHA256_BYTES], const char *notes, struct err *e);

/* Map such a file into d (zeroed but for its sources' weights, which it does not hold: d->shares and
 * n_shares are set, their n is filled in) and append its notes. An error when it is damaged, does
 * not have that key, or holds a token id that is not below `vocabulary` (0: any below 2^31). d->map
 * is to be closed behind the examples. */
int prepared_open(struct dataset *d, struct str *notes, const char *path, const char *key,
                  size_t vocabulary, struct err *e);

/* Remove every prepared file from the directory; what was removed. */
int prepared_purge(size_t *files, uint64_t *bytes, const char *dir, struct err *e);

#endif
