#include "src/data/items.h"

#include "src/base/mem.h"

static int reserve(struct items *s, size_t n, struct err *e)
{
    if (n + 1 <= s->cap) return 0;
    size_t cap = n + 1 + n / 2;
    size_t *first = mem_resize(s->first, cap, sizeof *first, e);
    if (!first) return e->code;
    s->first = first;
    s->cap = cap;
    return 0;
}

/* From now on the items, so far n of one example each, are written down. */
static int list(struct items *s, size_t n, struct err *e)
{
    if (s->first) return 0;
    int code = reserve(s, n, e);
    if (code) return code;
    for (size_t i = 0; i <= n; i++) s->first[i] = i;
    s->n = n;
    return 0;
}

/* The examples up to end - 1 that are in no item yet are one. */
static int add(struct items *s, size_t end, struct err *e)
{
    int code = reserve(s, s->n + 1, e);
    if (!code) s->first[++s->n] = end;
    return code;
}

int items_add(struct items *s, size_t n, struct err *e)
{
    return s->first ? add(s, n + 1, e) : 0;
}

int items_join(struct items *s, size_t first, size_t n, struct err *e)
{
    if (first + 1 >= n) return 0; /* one or none */
    int code = list(s, n, e);
    if (code) return code;
    while (s->n && s->first[s->n] > first) s->n--;
    CHECK(s->first[s->n] == first);
    return add(s, n, e);
}

size_t items_of(const struct items *s, size_t example)
{
    size_t low = 0, high = s->n;
    if (!s->first) return example;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (s->first[middle] <= example) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

int items_append(struct items *s, size_t n, const struct items *other, size_t from, size_t to,
                 struct err *e)
{
    if (!s->first && !other->first) return 0;
    int code = list(s, n, e);
    for (size_t k = items_of(other, from); !code && items_first(other, k) < to; k++) {
        code = add(s, n + items_first(other, k + 1) - from, e);
    }
    return code;
}

void items_free(struct items *s)
{
    mem_free(s->first);
    *s = (struct items){ 0 };
}
