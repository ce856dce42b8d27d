/* Makes examples from the records of a data set's files: one thread reads the records in batches,
 * all threads tokenise them, one thread takes the results in order. An example depends only on its
 * record and the records before it, never on threads. Part of dataset_open.c, which owns the
 * contract. */
#ifndef LORAC_DATA_BUILD_H
#define LORAC_DATA_BUILD_H

#include "src/data/dataset.h"
#include "src/data/digests.h"
#include "src/data/remarks.h"
#include "src/data/split.h"
#include "src/data/spool.h"

/* The training side or the validation side. */
struct build_side {
    const char *name; /* "train", "validation" */
    struct examples examples;
    struct spool spool; /* instead of them, when the build is spooled */
    struct origins origins;
    struct data_counts counts;
    struct digests seen;
    struct err first_bad;
};

enum side { SIDE_TRAIN, SIDE_VALIDATION, SIDES };

/* Records whose texts probably spell something by mistake: special tokens of the tokenizer in a
 * text record, or in a conversation; marks of a template that the tokenizer does not know, or that
 * a template places; a whole prompt of a template inside a user's text. */
enum { SPELT_IN_TEXT, SPELT_IN_CHAT, SPELT_MARK, SPELT_PROMPT, SPELLINGS };
struct spelling {
    size_t n, line;
    const char *path; /* of the first record, and its line */
};

struct build {
    const struct data_options *o;
    const struct tokenizer *tok;
    bool spooled;
    const char *spool_dir;
    bool untemplated; /* a file of conversations has no template */
    struct build_side side[SIDES];
    size_t records;             /* of both sides */
    struct remarks *remarks;    /* one for each file, training files first */
    struct split_records sound; /* of the training files, when a fraction is kept aside */
    struct split_choice choice;
    size_t largest_source; /* the file in which the largest group begins */
    struct build_slot *slots;
    struct worker *workers;
    size_t n_workers;
    struct spelling spelt[SPELLINGS];
    bool unparsed; /* data.parse_special is on for a file of conversations */
    struct err *e;
};

/* spool_dir: the directory for the examples; NULL keeps them in memory. It must live as long as the
 * build. */
int build_begin(struct build *b, const struct data_options *o, const struct tokenizer *tok,
                const char *spool_dir, struct err *e);
/* Read all files. */
int build_read(struct build *b);
void build_end(struct build *b);

size_t build_examples(const struct build_side *s);
/* All token ids lie below the result; 0: not known. */
size_t build_vocabulary(const struct data_options *o, const struct tokenizer *tok);

#endif
