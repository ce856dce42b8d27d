/* The records of a data set's files on their way to examples: read in batches by one thread,
 * tokenised by all, taken in order by one. What becomes of an example depends on nothing but its
 * record and those before it, never on threads. Part of dataset.c, which owns the contract. */
#ifndef LORAC_DATA_BUILD_H
#define LORAC_DATA_BUILD_H

#include "src/data/dataset.h"
#include "src/data/digests.h"
#include "src/data/remarks.h"
#include "src/data/spool.h"

/* Training records, or validation ones. */
struct build_side {
    const char *name; /* "train", "validation" */
    struct examples examples;
    struct spool spool; /* in their stead, when the build is spooled */
    struct origins origins;
    struct data_counts counts;
    struct digests seen;
    struct err first_bad;
};

enum side { TRAIN, VALIDATION, SIDES };

struct build {
    const struct data_options *o;
    const struct tokenizer *tok;
    bool spooled;
    bool untemplated; /* a file of conversations has no template */
    struct build_side side[SIDES];
    size_t records;          /* of both sides */
    struct remarks *remarks; /* one for each file: training, then validation ones */
    struct slot *slots;
    struct worker *workers;
    size_t n_workers;
    struct err *e;
};

/* spool_dir: where the examples go, or NULL: into memory. */
int build_begin(struct build *b, const struct data_options *o, const struct tokenizer *tok,
                const char *spool_dir, struct err *e);
/* Read all files. */
int build_read(struct build *b);
void build_end(struct build *b);

size_t build_examples(const struct build_side *s);
/* All token ids lie below it; 0: nobody knows. */
size_t build_vocabulary(const struct data_options *o, const struct tokenizer *tok);

#endif
