/* Prepared data sets: all examples of a data set in one HDF5 file. They serve data larger than
 * memory, and the same text is not tokenised again.
 *
 *   format, format_version, version    "lorac-data", 1, the program's
 *   key                                SHA-256 of everything that decides the examples
 *                                      (prepared_key)
 *   data_sha256, notes                 as dataset.h has them
 *   train/ids, train/target            all examples in a row: token ids, and whether each is a
 *                                      target
 *   train/at                           (examples + 1) where each begins
 *   train/items                        (items + 1) where each item begins; absent: every example is
 *                                      an item
 *   train/line, train/ends             the records of the examples: struct origins
 *   train/counts/...                   struct data_counts
 *   validation/...                     the same
 *
 * ids and target are mapped and read from the file. The file holds training text: it is 0600, in a
 * directory that is made 0700. Its name is its key, so changed data is never confused with old
 * data. It is first written under a different name: a killed run leaves no broken file, and two
 * runs may make the same file at once. */
#ifndef LORAC_DATA_PREPARED_H
#define LORAC_DATA_PREPARED_H

#include "src/data/build.h"

/* The digest of everything that decides the examples: the files' digests (training files, then
 * validation files, in order), their formats and templates, the tokenizer, every setting of `o`
 * that matters, and this program's version; but not paths, weights or threads. */
int prepared_key(char key[SHA256_HEX], const struct data_options *o, const struct tokenizer *tok,
                 const uint8_t (*digests)[SHA256_BYTES], struct err *e);

/* The directory of prepared files: `dir`, or, if that is NULL, lorac/data in the cache
 * directory. */
int prepared_dir(char out[PATH_BYTES], const char *dir, struct err *e);

/* Write the examples of a spooled build. */
int prepared_write(const char *path, struct build *b, const char *key,
                   const uint8_t sha256[SHA256_BYTES], const char *notes, struct err *e);

/* Map such a file into d and append its notes. d is zeroed, except for d->shares and n_shares: the
 * file does not hold the weights, and only the `n` of each share is filled in. An error when it is
 * damaged, does not have that key, or holds a token id that is not below `vocabulary` (0: any below
 * 2^31). Close d->map after the examples. */
int prepared_open(struct dataset *d, struct str *notes, const char *path, const char *key,
                  size_t vocabulary, struct err *e);

/* Remove every prepared file from the directory; *files and *bytes say how much was removed. */
int prepared_purge(size_t *files, uint64_t *bytes, const char *dir, struct err *e);

#endif
