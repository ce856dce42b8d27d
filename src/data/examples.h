/* Examples in one flat store: token ids and target flags, back to back. */
#ifndef LORAC_DATA_EXAMPLES_H
#define LORAC_DATA_EXAMPLES_H

#include <stdint.h>

#include "src/data/items.h"

/* Example i has the tokens ids[at[i] .. at[i+1]) and the flags target[...]. target[j] = 1: token j
 * is predicted from those before it (so target[at[i]] is never 1). Zero-initialised it is empty,
 * and `at` is then NULL.
 *
 * Examples that are drawn together are one item (items.h). */
struct examples {
    int32_t *ids;
    uint8_t *target;
    size_t *at; /* n + 1 */
    size_t n;
    struct items items;
    size_t ids_cap, at_cap;
    bool
        mapped; /* ids and target lie in a file mapped read-only (prepared.h): nothing can be added,
                    and whoever mapped it unmaps it */
};

static inline size_t examples_tokens(const struct examples *x)
{
    return x->n ? x->at[x->n] : 0;
}
size_t examples_targets(const struct examples *x);

static inline size_t examples_items(const struct examples *x)
{
    return items_count(&x->items, x->n);
}
/* The first example of item k; that of item number examples_items() is n. */
static inline size_t examples_item(const struct examples *x, size_t k)
{
    return items_first(&x->items, k);
}

/* Append an example with n tokens; the flag of its first is cleared. The arrays may not lie in x.
 */
int examples_add(struct examples *x, const int32_t *ids, const uint8_t *target, size_t n,
                 struct err *e);
/* The examples from `first` on, which begins an item, are one item. */
int examples_join(struct examples *x, size_t first, struct err *e);
/* Append the examples from .. to-1 of `other`, which may be x itself; whole items. */
int examples_append(struct examples *x, const struct examples *other, size_t from, size_t to,
                    struct err *e);

/* What was looked at is not needed for now: a data set larger than memory stays in its file. */
void examples_release(const struct examples *x);

void examples_clear(struct examples *x); /* keeps the memory */
void examples_free(struct examples *x);

#endif
