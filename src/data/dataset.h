/* The examples of a run: every record tokenised, masked, measured, split into training and
 * validation, with what was dropped counted. */
#ifndef LORAC_DATA_DATASET_H
#define LORAC_DATA_DATASET_H

#include "src/base/hash.h"
#include "src/data/records.h"
#include "src/data/template.h"

struct data_source {
    const char *path;
    struct records_options records;
    const struct template *template; /* NULL for text and tokens */
    size_t repeat;                   /* times per epoch, 1 or more */
};

enum overlong { OVERLONG_DROP, OVERLONG_TRUNCATE, OVERLONG_SPLIT, OVERLONG_ERROR };

struct data_options {
    const struct data_source *train;
    size_t n_train;
    const struct data_source *validation; /* files of their own, or n_validation = 0 */
    size_t n_validation;
    double validation_frac; /* of the conversations, when there are no validation files */
    struct render_options render;
    size_t max_length; /* tokens of an example */
    enum overlong overlong;
    bool skip_errors; /* on_error: skip */
    uint64_t seed;
};

/* Examples in one flat store. Example i has the tokens ids[at[i] .. at[i+1]) and the flags target[...].
 * target[j] = 1: token j is predicted from those before it (so target[at[i]] is never 1). */
struct examples {
    int32_t *ids;
    uint8_t *target;
    size_t *at; /* n + 1 */
    size_t n;
};

struct data_counts {
    size_t records, bad, overlong, truncated, without_targets, duplicates;
    size_t tokens, targets; /* of the examples kept */
};

struct dataset {
    struct examples train, validation;
    struct data_counts train_counts, validation_counts;
    uint8_t sha256[SHA256_BYTES]; /* of the files' bytes, in order */
};

/* Reads and tokenises all files (on all OpenMP threads; the result does not depend on how many).
 * Errors: the first bad record (unless skip_errors), an empty training side, a split that leaves
 * one side empty, every example dropped (the message names the setting). `notes` receives one line
 * per thing the user should know (dropped, truncated, without targets, duplicates). */
int dataset_open(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                 struct str *notes, struct err *e);
void dataset_close(struct dataset *d);

#endif
