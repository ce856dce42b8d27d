#include "src/data/examples.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"

/* ---- items ----------------------------------------------------------------------------------- */

static int reserve_items(struct examples *x, size_t n, struct err *e)
{
    if (n + 1 <= x->item_cap) return 0;
    size_t cap = n + 1 + n / 2;
    size_t *item = mem_resize(x->item, cap, sizeof *item, e);
    if (!item) return e->code;
    x->item = item;
    x->item_cap = cap;
    return 0;
}

/* From now on the items are listed. */
static int list_items(struct examples *x, struct err *e)
{
    if (x->item) return 0;
    int code = reserve_items(x, x->n, e);
    if (code) return code;
    for (size_t i = 0; i <= x->n; i++) x->item[i] = i;
    x->n_items = x->n;
    return 0;
}

/* Make one item of the examples up to end - 1 that are not in an item yet. */
static int add_item(struct examples *x, size_t end, struct err *e)
{
    int code = reserve_items(x, x->n_items + 1, e);
    if (!code) x->item[++x->n_items] = end;
    return code;
}

size_t examples_item_of(const struct examples *x, size_t i)
{
    if (!x->item) return i;
    size_t low = 0, high = x->n_items; /* item[low] <= i < item[high] */
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        if (x->item[middle] <= i) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Append the items of other's examples from .. to-1, moved by `shift`. */
static int append_items(struct examples *x, const struct examples *other, size_t from, size_t to,
                        size_t shift, struct err *e)
{
    size_t k = examples_item_of(other, from);
    int code = 0;
    for (; !code && examples_item(other, k) < to; k++) {
        code = add_item(x, examples_item(other, k + 1) + shift, e);
    }
    return code;
}

int examples_join(struct examples *x, size_t first, struct err *e)
{
    if (first + 1 >= x->n) return 0; /* zero or one example */
    int code = list_items(x, e);
    if (code) return code;
    while (x->n_items && x->item[x->n_items] > first) x->n_items--;
    CHECK(x->item[x->n_items] == first);
    return add_item(x, x->n, e);
}

/* ---- examples -------------------------------------------------------------------------------- */

/* Make room for n more examples with `tokens` more tokens in total. */
static int reserve(struct examples *x, size_t n, size_t tokens, struct err *e)
{
    size_t need_at, need_tokens;
    CHECK(!x->mapped);
    if (!mem_add(&need_at, x->n + 1, n) || !mem_add(&need_tokens, examples_tokens(x), tokens)) {
        return err_set(e, "out of memory: %zu examples of %zu tokens", n, tokens);
    }
    if (need_at > x->at_cap) {
        size_t cap = need_at + need_at / 2;
        size_t *at = mem_resize(x->at, cap, sizeof *at, e);
        if (!at) return e->code;
        x->at = at;
        x->at_cap = cap;
    }
    if (need_tokens > x->tokens_cap) {
        size_t cap = need_tokens + need_tokens / 2;
#define RESIZE(name, type, stored)                                                                 \
    type *name = mem_resize(x->name, cap, sizeof *name, e);                                        \
    if (!name) return e->code;                                                                     \
    x->name = name;
        EXAMPLE_COLUMNS(RESIZE)
#undef RESIZE
        x->tokens_cap = cap;
    }
    x->at[0] = 0;
    return 0;
}

int examples_add(struct examples *x, EXAMPLE_COLUMNS(EXAMPLE_PARAMETER) size_t n, struct err *e)
{
    int code = reserve(x, 1, n, e);
    if (!code && x->item) code = add_item(x, x->n + 1, e);
    if (code) return code;
    size_t at = x->at[x->n];
    if (n) {
#define COPY(name, type, stored) memcpy(x->name + at, name, n * sizeof *name);
        EXAMPLE_COLUMNS(COPY)
#undef COPY
        x->target[at] = 0;
    }
    x->at[++x->n] = at + n;
    return 0;
}

int examples_append(struct examples *x, const struct examples *other, size_t from, size_t to,
                    struct err *e)
{
    if (from == to) return 0;
    CHECK(from < to && to <= other->n);
    size_t begin = other->at[from], tokens = other->at[to] - begin;
    int code = reserve(x, to - from, tokens, e);
    if (!code && other->item) code = list_items(x, e);
    if (code) return code;
    size_t end = x->at[x->n], shift = x->n - from;
    if (tokens) {
#define COPY(name, type, stored)                                                                   \
    memcpy(x->name + end, other->name + begin, tokens * sizeof *x->name);
        EXAMPLE_COLUMNS(COPY)
#undef COPY
    }
    for (size_t i = from; i < to; i++) x->at[++x->n] = end + (other->at[i + 1] - begin);
    return x->item ? append_items(x, other, from, to, shift, e) : 0;
}

void examples_clear(struct examples *x)
{
    x->n = x->n_items = 0;
}

void examples_release(const struct examples *x)
{
    if (!x->mapped) return;
#define RELEASE(name, type, stored) pages_release(x->name, examples_tokens(x) * sizeof *x->name);
    EXAMPLE_COLUMNS(RELEASE)
#undef RELEASE
}

void examples_free(struct examples *x)
{
#define FREE(name, type, stored)                                                                   \
    if (!x->mapped) mem_free(x->name);
    EXAMPLE_COLUMNS(FREE)
#undef FREE
    mem_free(x->at);
    mem_free(x->item);
    *x = (struct examples){ 0 };
}
