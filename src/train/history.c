#include "src/train/history.h"

#include "src/base/mem.h"

int history_reserve(struct history *h, size_t n, struct err *e)
{
    if (n <= h->room) return 0;
    int64_t *step = mem_resize(h->step, n, sizeof *step, e);
    if (!step) return e->code;
    h->step = step;
    double *loss = mem_resize(h->loss, n, sizeof *loss, e);
    if (!loss) return e->code;
    h->loss = loss;
    h->room = n;
    return 0;
}

int history_add(struct history *h, uint64_t step, double loss, struct err *e)
{
    int code = h->n < h->room ? 0 : history_reserve(h, 2 * h->n + 8, e);
    if (code) return code;
    h->step[h->n] = (int64_t)step;
    h->loss[h->n++] = loss;
    return 0;
}

void history_free(struct history *h)
{
    mem_free(h->step);
    mem_free(h->loss);
    *h = (struct history){ 0 };
}

size_t history_after(const struct history *h, uint64_t step)
{
    size_t n = 0;
    while (n < h->n && (uint64_t)h->step[h->n - 1 - n] > step) n++;
    return n;
}
