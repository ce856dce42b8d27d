/* Memory: checked allocation for small things, one arena for large ones.
 *
 * malloc and free are not called outside src/base. Memory from mem_* is freed with mem_free(). The
 * tensors of a run live in one arena that is planned by running the carving function once on an
 * empty arena (it counts) and once on a mapped one (it places): the plan is exact because it is the
 * same code. */
#ifndef LORAC_BASE_MEM_H
#define LORAC_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

/* n items of `size` bytes, zeroed; NULL with a message in e when the product overflows or memory
 * is short. n = 0 gives a pointer that may be freed. */
void *mem_alloc(size_t n, size_t size, struct err *e);

/* Grow or shrink to n items of `size` bytes (new bytes are not zeroed). On failure NULL is
 * returned and the old block stays valid. */
void *mem_resize(void *p, size_t n, size_t size, struct err *e);

/* A copy of the n bytes at s with a NUL after them. */
char *mem_strndup(const char *s, size_t n, struct err *e);
char *mem_strdup(const char *s, struct err *e);

void mem_free(void *p);

/* a*b and a+b for sizes; false on overflow. */
bool mem_mul(size_t *out, size_t a, size_t b);
bool mem_add(size_t *out, size_t a, size_t b);

/* From now on (on = true) every mem_alloc/mem_resize of the calling thread is a broken invariant:
 * the training loop promises not to allocate after its first step, and tests hold it to that. */
void mem_guard(bool on);

struct arena {
    char *base; /* NULL while counting */
    size_t size, used;
};

enum { ARENA_ALIGN = 128 }; /* two cache lines: neighbours never share a prefetched pair */

/* Carve `n` items of `size` bytes, aligned to ARENA_ALIGN. While counting (base == NULL) returns
 * NULL and only adds up. CHECKs that a placed arena is never overrun. */
void *arena_take(struct arena *a, size_t n, size_t size);

/* Map a->used bytes (as counted) with huge pages where the kernel allows, touch every page from all
 * OpenMP threads, and reset a->used to 0 for placing. */
int arena_map(struct arena *a, struct err *e);
void arena_unmap(struct arena *a);

#endif
