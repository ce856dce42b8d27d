/* Makes the passes that go through the model from the examples of an optimiser step.
 *
 * These rules decide the bits of a result and are fixed (they are part of what a checkpoint means):
 * - The examples of a batch are sorted by their token ids (then length, then number), so that
 *   examples with the same beginning are neighbours.
 * - Row j of an example reads token j and predicts token j + 1. Rows after the one that predicts
 *   the last target do nothing and are left out.
 * - With sharing, rows of one pass with the same tokens so far and the same next token are one row:
 *   a pass is a forest of tries, cut into segments (kernels/kernels.h). The last token that two
 *   examples have in common is a row in each of them, because the next token differs. A shared
 *   target counts once per example that uses it.
 * - A pass closes before its rows would exceed pass_tokens; a longer example is a pass alone.
 */
#ifndef LORAC_DATA_PASS_H
#define LORAC_DATA_PASS_H

#include "kernels/kernels.h"
#include "src/data/dataset.h"

struct pass {
    size_t T;          /* rows */
    int32_t *ids;      /* (T) token of each row */
    uint32_t *pos;     /* (T) its position in its text */
    uint32_t *example; /* (T) the lowest example that uses it: decides its dropout mask */
    struct segment *seg;
    size_t n_seg;
    uint32_t *target_row; /* (n_targets) rows with loss, ascending */
    int32_t *target;      /* (n_targets) what they predict */
    real *weight;         /* (n_targets) of its loss: the number of examples whose target it is, or
                             an objective's own weight */
    size_t n_targets;
};

/* The size of a pass that is not built: what its time depends on. */
struct pass_work {
    uint64_t rows, targets;
    uint64_t pairs; /* of a row and a row that it sees */
    uint64_t cost;  /* for whoever deals passes out, in a unit of their own */
};

/* The examples of a step in sorted order, and where its passes begin. A batch is drawn by items
 * (examples.h): all paths of a tree are in it, so that their shared rows are computed once per
 * pass. */
struct batch {
    const struct examples *examples;
    size_t batch_size;   /* items */
    size_t examples_max; /* in any batch */
    size_t pass_tokens;
    size_t looked_at; /* examples since their pages were last released */
    bool share;
    size_t rows_max, seg_max; /* no pass of this data has more */

    uint32_t *order;        /* sorted example numbers */
    size_t n;               /* of them */
    size_t *first;          /* (n_passes + 1) index into order */
    struct pass_work *work; /* (n_passes) */
    size_t n_passes;
    size_t tokens;  /* of the examples, as given */
    size_t targets; /* of the examples */
    size_t rows;    /* of all passes */

    struct pass pass;                       /* the one last built */
    uint32_t *leaf;                         /* (n) for each example of it, in order, its last row */
    uint32_t *parent_row, *children, *path; /* scratch memory for building it */
    size_t pass_number;
};

/* Make room for batches of at most batch_size of these items: everything that a step needs is
 * allocated here. */
int batch_init(struct batch *b, const struct examples *x, size_t batch_size, size_t pass_tokens,
               bool share, struct err *e);
void batch_free(struct batch *b);

/* Take the n items numbered in `which`, sort their examples and cut them into passes. */
void batch_begin(struct batch *b, const uint32_t *which, size_t n);

/* The same for items first .. first + n - 1. */
void batch_begin_range(struct batch *b, uint32_t first, size_t n);

/* Build pass number p; valid until the next call. The caller may change its weights. */
struct pass *batch_pass(struct batch *b, size_t p);

/* How many examples the last pass built has, the number of its example i, and whether all targets
 * of that one are right (hit[j] says it for target j of the pass); if not, *missed is the first
 * token of the example that is wrong. */
size_t batch_pass_examples(const struct batch *b);
uint32_t batch_pass_example(const struct batch *b, size_t i);
bool batch_example_right(size_t *missed, const struct batch *b, size_t i, const uint8_t *hit);

/* The number of examples of the last pass built whose targets are all right; hit[i] says it for
 * target i. */
size_t batch_count_exact(const struct batch *b, const uint8_t *hit);

#endif
