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
    int code = items_append(&s->items, s->n, &x->items, from, to, e);
    if (code) return code;
    size_t end = s->at[s->n];
    for (size_t i = from; i < to; i++) s->at[++s->n] = end + (x->at[i + 1] - begin);
    code = scratch_add(&s->ids, x->ids + begin, tokens * sizeof *x->ids, e);
    return code ? code : scratch_add(&s->target, x->target + begin, tokens, e);
}

void spool_close(struct spool *s)
{
    scratch_close(&s->ids);
    scratch_close(&s->target);
    mem_free(s->at);
    items_free(&s->items);
    *s = (struct spool){ .ids.fd = -1, .target.fd = -1 };
}
