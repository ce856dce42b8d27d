#include "src/data/examples.h"

#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"

size_t examples_targets(const struct examples *x)
{
    size_t targets = 0, n = examples_tokens(x);
    for (size_t i = 0; i < n; i++) targets += x->target[i];
    return targets;
}

int examples_join(struct examples *x, size_t first, struct err *e)
{
    return items_join(&x->items, first, x->n, e);
}

/* Room for n more examples with `tokens` more tokens in all. */
static int reserve(struct examples *x, size_t n, size_t tokens, struct err *e)
{
    size_t need_at, need_ids;
    CHECK(!x->mapped);
    if (!mem_add(&need_at, x->n + 1, n) || !mem_add(&need_ids, examples_tokens(x), tokens)) {
        return err_set(e, "out of memory: %zu examples of %zu tokens", n, tokens);
    }
    if (need_at > x->at_cap) {
        size_t cap = need_at + need_at / 2;
        size_t *at = mem_resize(x->at, cap, sizeof *at, e);
        if (!at) return e->code;
        x->at = at;
        x->at_cap = cap;
    }
    if (need_ids > x->ids_cap) {
        size_t cap = need_ids + need_ids / 2;
        int32_t *ids = mem_resize(x->ids, cap, sizeof *ids, e);
        if (!ids) return e->code;
        x->ids = ids;
        uint8_t *target = mem_resize(x->target, cap, 1, e);
        if (!target) return e->code;
        x->target = target;
        x->ids_cap = cap;
    }
    x->at[0] = 0;
    return 0;
}

int examples_add(struct examples *x, const int32_t *ids, const uint8_t *target, size_t n,
                 struct err *e)
{
    int code = reserve(x, 1, n, e);
    if (!code) code = items_add(&x->items, x->n, e);
    if (code) return code;
    size_t at = x->at[x->n];
    if (n) {
        memcpy(x->ids + at, ids, n * sizeof *ids);
        memcpy(x->target + at, target, n);
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
    if (!code) code = items_append(&x->items, x->n, &other->items, from, to, e);
    if (code) return code;
    size_t end = x->at[x->n];
    if (tokens) {
        memcpy(x->ids + end, other->ids + begin, tokens * sizeof *x->ids);
        memcpy(x->target + end, other->target + begin, tokens);
    }
    for (size_t i = from; i < to; i++) x->at[++x->n] = end + (other->at[i + 1] - begin);
    return 0;
}

void examples_clear(struct examples *x)
{
    x->n = x->items.n = 0;
}

void examples_release(const struct examples *x)
{
    if (!x->mapped) return;
    pages_release(x->ids, examples_tokens(x) * sizeof *x->ids);
    pages_release(x->target, examples_tokens(x));
}

void examples_free(struct examples *x)
{
    if (!x->mapped) mem_free(x->ids);
    if (!x->mapped) mem_free(x->target);
    mem_free(x->at);
    items_free(&x->items);
    *x = (struct examples){ 0 };
}
