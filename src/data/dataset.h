/* The examples of a run: every record is tokenised, masked, measured and put on the training or the
 * validation side, and dropped records are counted. Also the files and settings from which they are
 * made. dataset_open.h makes them. */
#ifndef LORAC_DATA_DATASET_H
#define LORAC_DATA_DATASET_H

#include "src/base/file.h"
#include "src/base/hash.h"
#include "src/data/counts.h"
#include "src/data/fit.h"
#include "src/data/origins.h"
#include "src/data/records.h"
#include "src/data/sampler.h"

struct data_source {
    const char *path;
    struct records_options records;
    const struct template *template; /* NULL: plain; text and tokens need no template */
    double weight;                   /* times per epoch, above 0; no effect on validation */
};

enum { PREPARE_ABOVE_BYTES = 64 << 20 }; /* PREPARE_AUTO calls this large: all sources together */

struct data_options {
    const struct data_source *train;
    size_t n_train;
    const struct data_source *validation; /* separate files, or n_validation = 0 */
    size_t n_validation;
    double validation_frac; /* fraction of the examples, when there are no validation files */
    uint64_t seed;          /* decides which ones: data.split_seed */
    struct render_options render;
    size_t max_length; /* tokens of an example */
    enum overlong overlong;
    bool skip_errors;        /* on_error: skip */
    double max_skipped_frac; /* of a side's records; more malformed ones are an error */
    bool deduplicate;        /* keep only the first of examples with the same tokens and targets */
    size_t vocab_size;       /* `tokens` records have ids below it; 0: the tokenizer's size */
    enum prepare prepare;
    const char *cache_dir;                           /* of prepared files; NULL: the default */
    void (*progress)(size_t records, void *context); /* NULL, or called from time to time */
    void *context;
};

/* The number of the rule by which a fraction is kept aside. Rule 1 was that of lorac 0.1, in which
 * each record's own hash decided. */
enum { SPLIT_RULE = 2 };

struct dataset {
    struct examples train, validation; /* source by source, in the order of the records */
    struct origins train_origins, validation_origins;
    struct data_counts train_counts, validation_counts;
    struct share *shares; /* one for each training source: the sampler's mixture */
    size_t n_shares;
    uint8_t sha256[SHA256_BYTES]; /* of the file; of several: of all their digests, train first */
    struct map map;               /* of the prepared file; empty when everything is in memory */
    char *prepared;               /* its path, or NULL */
    bool reused;                  /* it already existed */
};

#endif
