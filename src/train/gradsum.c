#include "src/train/gradsum.h"

#include <string.h>

/* As gradsum_add(): the left sibling is added to the right one. */
void losssum_add(struct losssum *s, double loss)
{
    size_t l = 0;
    for (; l < GRADSUM_LEVELS && s->full[l]; l++) {
        loss += s->at[l];
        s->full[l] = false;
    }
    CHECK(l < GRADSUM_LEVELS);
    s->at[l] = loss;
    s->full[l] = true;
}

double losssum_total(const struct losssum *s)
{
    double total = 0;
    for (size_t l = 0; l < GRADSUM_LEVELS; l++)
        if (s->full[l]) total += s->at[l];
    return total;
}

void gradsum_carve(struct gradsum *s, struct arena *a, size_t n, size_t passes,
                   const struct kernels *k)
{
    *s = (struct gradsum){ .n = n, .k = k };
    /* the counter of `passes` has floor(log2) + 1 digits; the leaf is where no digit is full */
    while (passes >> s->levels) s->levels++;
    CHECK(s->levels <= GRADSUM_LEVELS);
    for (size_t l = 0; l < s->levels; l++) s->buffer[l] = arena_take(a, n, sizeof(real));
    s->leaf = passes > 1 ? arena_take(a, n, sizeof(real)) : s->buffer[0];
}

void gradsum_begin(struct gradsum *s)
{
    memset(s->full, 0, sizeof s->full);
    s->loss = (struct losssum){ 0 };
}

/* The node in `leaf` meets full digits as its left siblings; it then takes the place of the first
 * empty digit, whose buffer becomes the new leaf. */
void gradsum_add(struct gradsum *s, double loss)
{
    losssum_add(&s->loss, loss);
    size_t l = 0;
    for (; l < s->levels && s->full[l]; l++) {
        s->k->add(s->leaf, s->buffer[l], s->n);
        s->full[l] = false;
    }
    CHECK(l < s->levels);
    real *empty = s->buffer[l];
    s->buffer[l] = s->leaf;
    s->leaf = empty;
    s->full[l] = true;
}

real *gradsum_total(struct gradsum *s)
{
    real *total = NULL;
    for (size_t l = 0; l < s->levels; l++) {
        if (!s->full[l]) continue;
        if (total) s->k->add(s->buffer[l], total, s->n);
        total = s->buffer[l];
    }
    CHECK(total);
    return total;
}
