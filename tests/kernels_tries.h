/* The segment structures that attention is tested on. */
#ifndef LORAC_TESTS_KERNELS_TRIES_H
#define LORAC_TESTS_KERNELS_TRIES_H

#include "tests/kernels_reference.h"

/* One row to a few dozen. */
static const struct trie small_tries[] = {
    { "one row", 1, { { 1, -1 } } },
    { "two rows", 1, { { 2, -1 } } },
    { "one segment", 1, { { 17, -1 } } },
    { "three trees", 3, { { 5, -1 }, { 1, -1 }, { 8, -1 } } },
    { "chain of depth 3", 4, { { 4, -1 }, { 3, 0 }, { 1, 1 }, { 5, 2 } } },
    { "two children", 3, { { 3, -1 }, { 4, 0 }, { 2, 0 } } },
    { "two trees of depth 3",
      9,
      { { 6, -1 },
        { 4, 0 },
        { 3, 1 },
        { 1, 2 },
        { 2, 1 },
        { 5, 0 },
        { 2, -1 },
        { 3, 6 },
        { 1, 6 } } },
};

/* Around the borders of tiles (96 queries, 144 keys), of strips and of several tiles. */
static const struct trie large_tries[] = {
    { "95, 96 and 97 rows", 3, { { 95, -1 }, { 96, -1 }, { 97, -1 } } },
    { "193 rows", 1, { { 193, -1 } } },
    { "long parent, long children", 3, { { 201, -1 }, { 97, 0 }, { 130, 0 } } },
    { "chain across borders", 4, { { 97, -1 }, { 95, 0 }, { 96, 1 }, { 49, 2 } } },
    { "wide tree",
      8,
      { { 48, -1 }, { 1, 0 }, { 96, 0 }, { 2, 2 }, { 100, 2 }, { 31, 0 }, { 16, 5 }, { 3, -1 } } },
    { "143, 144 and 145 rows", 3, { { 143, -1 }, { 144, -1 }, { 145, 1 } } },
    { "289 rows", 1, { { 289, -1 } } },
};

/* Groups of 1, 2 and 3 query heads; sizes below, at and beyond whole vectors. */
static const struct heads {
    size_t H, G, D;
} small_heads[] = { { 1, 1, 1 }, { 2, 2, 2 }, { 2, 1, 6 }, { 3, 1, 8 }, { 6, 2, 7 }, { 4, 2, 18 } },
  large_heads[] = { { 2, 1, 8 }, { 3, 1, 6 }, { 4, 2, 64 }, { 2, 2, 80 }, { 1, 1, 97 } };

/* Calls check(k, case) for all small tries with all small heads, and for each large one with two of
 * the large heads, so that each of these is used. */
static inline void for_each_attention(void (*check)(const struct kernels *,
                                                    struct attention_case *),
                                      const struct kernels *k)
{
    for (size_t t = 0; t < COUNT(small_tries); t++)
        for (size_t h = 0; h < COUNT(small_heads); h++) {
            const struct heads *s = &small_heads[h];
            struct attention_case a = attention_case(&small_tries[t], s->H, s->G, s->D);
            check(k, &a);
            fences_check();
        }
    for (size_t t = 0; t < COUNT(large_tries); t++)
        for (size_t i = 0; i < 2; i++) {
            const struct heads *s = &large_heads[(t + 2 * i) % COUNT(large_heads)];
            struct attention_case a = attention_case(&large_tries[t], s->H, s->G, s->D);
            check(k, &a);
            fences_check();
        }
}

#endif
