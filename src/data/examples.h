/* Examples in one flat store: the columns of their tokens, one after the other. */
#ifndef LORAC_DATA_EXAMPLES_H
#define LORAC_DATA_EXAMPLES_H

#include <stdint.h>

#include "src/base/err.h"

/* The properties of each token, one column each: name, type, and its type in a prepared file (enum
 * h5_type). All code that keeps, copies, spools, stores, maps or compares examples uses this list.
 *
 *   ids     the token
 *   target  1: the tokens before it predict it (so the first token of an example has 0) */
#define EXAMPLE_COLUMNS(C)                                                                         \
    C(ids, int32_t, I32)                                                                           \
    C(target, uint8_t, U8)

/* The columns of one example as parameters of a function. */
#define EXAMPLE_PARAMETER(name, type, stored) const type *name,

/* Example i has the tokens ids[at[i] .. at[i+1]), and the same holds for each column. A
 * zero-initialised struct is empty; its `at` is NULL.
 *
 * Examples that are drawn together (the paths through a tree of messages) are one item: item k is
 * the examples item[k] .. item[k+1]-1. Where every example is its own item, as in all data except
 * trees, `item` is NULL. */
struct examples {
#define EXAMPLE_FIELD(name, type, stored) type *name;
    EXAMPLE_COLUMNS(EXAMPLE_FIELD)
#undef EXAMPLE_FIELD
    size_t *at; /* n + 1 */
    size_t n;
    size_t *item;   /* n_items + 1, or NULL */
    size_t n_items; /* when item is not NULL */
    size_t tokens_cap, at_cap, item_cap;
    /* The columns lie in a file mapped read-only (prepared.h): nothing can be added, and the code
     * that mapped it unmaps it. */
    bool mapped;
};

static inline size_t examples_tokens(const struct examples *x)
{
    return x->n ? x->at[x->n] : 0;
}

static inline size_t examples_items(const struct examples *x)
{
    return x->item ? x->n_items : x->n;
}
/* The first example of item k; for k = examples_items() it is n. */
static inline size_t examples_item(const struct examples *x, size_t k)
{
    return x->item ? x->item[k] : k;
}

/* The item that example i, below n, belongs to. */
size_t examples_item_of(const struct examples *x, size_t i);

/* Append an example with n tokens; the target flag of its first is cleared. The columns must not
 * lie in x. */
int examples_add(struct examples *x, EXAMPLE_COLUMNS(EXAMPLE_PARAMETER) size_t n, struct err *e);
/* Make one item of the examples from `first` on, which begins an item. */
int examples_join(struct examples *x, size_t first, struct err *e);
/* Append the examples from .. to-1 of `other`, which may be x itself. The range holds whole
 * items. */
int examples_append(struct examples *x, const struct examples *other, size_t from, size_t to,
                    struct err *e);

/* The pages read so far are not needed now: a data set larger than memory stays in its file. */
void examples_release(const struct examples *x);

void examples_clear(struct examples *x); /* keeps its memory */
void examples_free(struct examples *x);

#endif
