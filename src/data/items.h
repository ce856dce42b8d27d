/* Which examples are drawn together: the paths through a tree of messages. */
#ifndef LORAC_DATA_ITEMS_H
#define LORAC_DATA_ITEMS_H

#include <stddef.h>

#include "src/base/err.h"

/* Item k is the examples first[k] .. first[k + 1] - 1. Where every example is an item of its own, as
 * in all data but trees, `first` is NULL and nothing is stored. */
struct items {
    size_t *first; /* n + 1 */
    size_t n, cap;
};

/* The items of n examples, and the first example of item k (of item number items_count(): n). */
static inline size_t items_count(const struct items *s, size_t n)
{
    return s->first ? s->n : n;
}
static inline size_t items_first(const struct items *s, size_t k)
{
    return s->first ? s->first[k] : k;
}

/* The item that holds an example. */
size_t items_of(const struct items *s, size_t example);

/* An example was added to the n that were there: an item of its own. */
int items_add(struct items *s, size_t n, struct err *e);
/* Of n examples those from `first` on, which begins an item, are one. */
int items_join(struct items *s, size_t first, size_t n, struct err *e);
/* The examples from .. to-1 of `other`, whole items, were added to the n that were there; `other` may
 * be s itself. */
int items_append(struct items *s, size_t n, const struct items *other, size_t from, size_t to,
                 struct err *e);
void items_free(struct items *s);

#endif
