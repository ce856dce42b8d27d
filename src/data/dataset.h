/* The examples of a run: every record tokenised, masked, measured, split into training and
 * validation, with what was dropped counted. */
#ifndef LORAC_DATA_DATASET_H
#define LORAC_DATA_DATASET_H

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/data/counts.h"
#include "src/data/fit.h"
#include "src/data/records.h"
#include "src/data/sampler.h"

struct data_source {
    const char *path;
    struct records_options records;
    const struct template *template; /* NULL: plain; text and tokens need none */
    double weight;                   /* times per epoch, above 0; of no effect on validation */
};

enum { PREPARE_ABOVE_BYTES = 64 << 20 }; /* what PREPARE_AUTO calls large: all sources together */

struct data_options {
    const struct data_source *train;
    size_t n_train;
    const struct data_source *validation; /* files of their own, or n_validation = 0 */
    size_t n_validation;
    double validation_frac; /* of the examples, when there are no validation files */
    uint64_t seed;          /* of which those are: data.split_seed */
    struct render_options render;
    size_t max_length; /* tokens of an example */
    enum overlong overlong;
    bool skip_errors;        /* on_error: skip */
    double max_skipped_frac; /* of a side's records; more that are malformed is an error */
    bool deduplicate;        /* keep only the first of examples with the same tokens and targets */
    size_t vocab_size; /* ids of `tokens` records lie below it; 0: the tokenizer's size, if any */
    enum prepare prepare;
    const char *cache_dir;                           /* of prepared files; NULL: prepared.h's */
    void (*progress)(size_t records, void *context); /* NULL, or called now and then */
    void *context;
};

/* The number of the rule by which a fraction is kept aside; rule 1 was lorac 0.1's, in which each
 * record fell by its own hash. */
enum { SPLIT_RULE = 2 };

/* Which record each example comes from: the line on which it begins, and its source by the number of
 * examples up to the source's end. */
struct origins {
    uint32_t *line; /* one for each example */
    size_t *ends;   /* one for each source that feeds this side */
    size_t n_sources, cap;
};

struct dataset {
    struct examples train, validation; /* source by source, in the order of the records */
    struct origins train_origins, validation_origins;
    struct data_counts train_counts, validation_counts;
    struct share *shares; /* one for each training source: the sampler's mixture */
    size_t n_shares;
    uint8_t
        sha256[SHA256_BYTES]; /* of the file; of several: of their digests in a row, train first */
    struct map map;           /* of the prepared file; nothing when all is in memory */
    char *prepared;           /* its path, or NULL */
    bool reused;              /* it was there already */
};

/* The source (its number among those that feed this side) and the line of an example's record. */
size_t origin_of(size_t *line, const struct origins *o, size_t example);

/* Reads and tokenises all files (on all OpenMP threads; the result does not depend on how many).
 * `tok` may be NULL when every source has the format tokens.
 *
 * The split by fraction is part of what makes a run repeatable. A record's group is the first 8
 * bytes, as a little-endian number, of the SHA-256 of
 *     "lorac split 2\n", the seed (8 bytes, little-endian), and then
 *     chats:    the first user turn's text; with an input: "\n\n" and the input (whatever the
 *               template, system text, answers; a chat without a user turn: all its texts)
 *     segments: the texts before the first learnt one; where there are none: all
 *     text:     the text
 *     tokens:   the ids (4 bytes each, little-endian)
 * without the ASCII white space at both ends of those texts. Records of one group stay together, so
 * duplicates and other answers to one question fall on one side. The groups are gone through in the
 * order of their numbers, and each is kept aside unless that brings the number of validation
 * examples further from round(fraction * examples), halves up, than it is. Counted is what is left
 * of the records: what was dropped for its length, for want of a target or as a copy does not
 * count, a tree (or another item of examples.h) counts once, and each piece of a record that was
 * split counts. Threads and the order of the records are of no effect. A side without a group is an
 * error.
 *
 * Errors: the first bad record (unless skip_errors), an empty training side, a split that leaves
 * one side empty, every example dropped (the message names the setting). `notes` receives one line
 * per thing the user should know (malformed, dropped, cut, split, without targets, duplicates). On
 * failure *d is empty. */
int dataset_open(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                 struct str *notes, struct err *e);
void dataset_close(struct dataset *d);

#endif
