#include "src/data/spool.h"

#include "src/base/mem.h"

int spool_open(struct spool *s, const char *dir, struct err *e)
{
    *s = (struct spool){ .ids.fd = -1, .target.fd = -1 };
    int code = scratch_open(&s->ids, dir, e);
    if (!code) code = scratch_open(&s->target, dir, e);
    if (code) spool_close(s);
    return code;
}

static int add_item(struct spool *s, size_t end, struct err *e)
{
    if (s->n_items + 2 > s->item_cap) {
        size_t cap = s->item_cap ? 2 * s->item_cap : s->n + 1024;
        size_t *item = mem_resize(s->item, cap, sizeof *item, e);
        if (!item) return e->code;
        s->item = item;
        s->item_cap = cap;
    }
    s->item[0] = 0;
    s->item[++s->n_items] = end;
    return 0;
}

/* The items of x between these examples, before they are appended. */
static int add_items(struct spool *s, const struct examples *x, size_t from, size_t to,
                     struct err *e)
{
    int code = 0;
    if (!x->item && !s->item) return 0;
    for (size_t i = s->item ? s->n : 0; !code && i < s->n; i++) code = add_item(s, i + 1, e);
    size_t k = examples_item_of(x, from);
    for (; !code && k < examples_items(x) && examples_item(x, k) < to; k++)
        code = add_item(s, s->n + examples_item(x, k + 1) - from, e);
    return code;
}

int spool_append(struct spool *s, const struct examples *x, size_t from, size_t to, struct err *e)
{
    if (from == to) return 0;
    size_t begin = x->at[from], tokens = x->at[to] - begin, need = s->n + 1 + (to - from);
    if (need > s->at_cap) {
        size_t cap = need + need / 2;
        size_t *at = mem_resize(s->at, cap, sizeof *at, e);
        if (!at) return e->code;
        s->at = at;
        s->at_cap = cap;
        if (s->n == 0) s->at[0] = 0;
    }
    int code = add_items(s, x, from, to, e);
    if (code) return code;
    size_t end = s->at[s->n];
    for (size_t i = from; i < to; i++) s->at[++s->n] = end + (x->at[i + 1] - begin);
    code = scratch_add(&s->ids, x->ids + begin, tokens * sizeof *x->ids, e);
    return code ? code : scratch_add(&s->target, x->target + begin, tokens, e);
}

/* The examples of the items from .. to-1, whose ids and flags begin at `ids` and `target`. */
static int add_examples(struct examples *out, const struct spool *s, size_t from, size_t to,
                        const int32_t *ids, const uint8_t *target, struct err *e)
{
    struct examples view = { .at = s->at, .n = s->n, .item = s->item, .n_items = s->n_items };
    int code = 0;
    for (size_t k = examples_item_of(&view, from); !code && from < to; k++) {
        size_t first = out->n, end = examples_item(&view, k + 1);
        for (; !code && from < end; from++) {
            size_t n = s->at[from + 1] - s->at[from];
            code = examples_add(out, ids, target, n, e);
            ids += n;
            target += n;
        }
        if (!code) code = examples_join(out, first, e);
    }
    return code;
}

int spool_read(struct examples *out, struct spool *s, size_t from, size_t to, struct err *e)
{
    if (from == to) return 0;
    CHECK(from < to && to <= s->n);
    size_t begin = s->at[from], tokens = s->at[to] - begin;
    int32_t *ids = mem_alloc(tokens, sizeof *ids, e);
    uint8_t *target = ids ? mem_alloc(tokens, 1, e) : NULL;
    int code = target ? 0 : e->code;
    if (!code) code = scratch_read(ids, &s->ids, begin * sizeof *ids, tokens * sizeof *ids, e);
    if (!code) code = scratch_read(target, &s->target, begin, tokens, e);
    if (!code) code = add_examples(out, s, from, to, ids, target, e);
    mem_free(ids);
    mem_free(target);
    return code;
}

void spool_close(struct spool *s)
{
    scratch_close(&s->ids);
    scratch_close(&s->target);
    mem_free(s->at);
    mem_free(s->item);
    *s = (struct spool){ .ids.fd = -1, .target.fd = -1 };
}
