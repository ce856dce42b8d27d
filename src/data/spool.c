#include "src/data/spool.h"

#include "src/base/mem.h"

struct spool spool_none(void)
{
#define NONE(name, type, stored) .name.fd = -1,
    return (struct spool){ EXAMPLE_COLUMNS(NONE) };
#undef NONE
}

int spool_open(struct spool *s, const char *dir, struct err *e)
{
    int code = 0;
    *s = spool_none();
#define OPEN(name, type, stored)                                                                   \
    if (!code) code = scratch_open(&s->name, dir, e);
    EXAMPLE_COLUMNS(OPEN)
#undef OPEN
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

/* Add the items of x between these examples, before the examples are appended. */
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
#define ADD(name, type, stored)                                                                    \
    if (!code) code = scratch_add(&s->name, x->name + begin, tokens * sizeof *x->name, e);
    EXAMPLE_COLUMNS(ADD)
#undef ADD
    return code;
}

/* Add the examples of the items from .. to-1, whose columns begin at `read`. */
static int add_examples(struct examples *out, const struct spool *s, size_t from, size_t to,
                        const struct examples *read, struct err *e)
{
    size_t at = 0;
    struct examples view = { .at = s->at, .n = s->n, .item = s->item, .n_items = s->n_items };
    int code = 0;
    for (size_t k = examples_item_of(&view, from); !code && from < to; k++) {
        size_t first = out->n, end = examples_item(&view, k + 1);
        for (; !code && from < end; from++) {
            size_t n = s->at[from + 1] - s->at[from];
#define COLUMN(name, type, stored) read->name + at,
            code = examples_add(out, EXAMPLE_COLUMNS(COLUMN) n, e);
#undef COLUMN
            at += n;
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
    struct examples read = { 0 };
    int code = 0;
#define READ(name, type, stored)                                                                   \
    if (!code && !(read.name = mem_alloc(tokens, sizeof(type), e))) code = e->code;                \
    if (!code)                                                                                     \
        code = scratch_read(read.name, &s->name, begin * sizeof(type), tokens * sizeof(type), e);
    EXAMPLE_COLUMNS(READ)
#undef READ
    if (!code) code = add_examples(out, s, from, to, &read, e);
    examples_free(&read);
    return code;
}

uint64_t spool_bytes(const struct spool *s)
{
    uint64_t n = 0;
#define BYTES(name, type, stored) n += s->name.n;
    EXAMPLE_COLUMNS(BYTES)
#undef BYTES
    return n;
}

void spool_close(struct spool *s)
{
#define CLOSE(name, type, stored) scratch_close(&s->name);
    EXAMPLE_COLUMNS(CLOSE)
#undef CLOSE
    mem_free(s->at);
    mem_free(s->item);
    *s = spool_none();
}
