#include "src/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Thread_local bool guarded; /* background threads hash and may allocate */

void mem_guard(bool on)
{
    guarded = on;
}

bool mem_mul(size_t *out, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool mem_add(size_t *out, size_t a, size_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

void *mem_alloc(size_t n, size_t size, struct err *e)
{
    CHECK(!guarded);
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) err_code(e, ERR_MEMORY, "out of memory: %zu items of %zu bytes", n, size);
    return p;
}

void *mem_resize(void *p, size_t n, size_t size, struct err *e)
{
    CHECK(!guarded);
    size_t bytes;
    void *q = mem_mul(&bytes, n, size) ? realloc(p, bytes ? bytes : 1) : NULL;
    if (!q) err_code(e, ERR_MEMORY, "out of memory: %zu items of %zu bytes", n, size);
    return q;
}

char *mem_strndup(const char *s, size_t n, struct err *e)
{
    char *p = mem_alloc(n + 1, 1, e);
    if (p) memcpy(p, s, n);
    return p;
}

char *mem_strdup(const char *s, struct err *e)
{
    return mem_strndup(s, strlen(s), e);
}

void mem_free(void *p)
{
    free(p);
}

void *arena_take(struct arena *a, size_t n, size_t size)
{
    size_t bytes;
    CHECK(mem_mul(&bytes, n, size) && bytes <= SIZE_MAX / 2);
    bytes = (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    size_t at = a->used;
    CHECK(mem_add(&a->used, at, bytes));
    if (!a->base) return NULL;
    CHECK(a->used <= a->size);
    return a->base + at;
}

int arena_map(struct arena *a, struct err *e)
{
    size_t page = 2u << 20;
    size_t size = (a->used + page - 1) / page * page;
    if (size == 0) size = page;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return err_errno(e,
                         "cannot reserve %.1f MiB of memory; lower train.pass_tokens or "
                         "data.max_length, or use a machine with more memory",
                         (double)size / (1 << 20));
    }
    madvise(p, size, MADV_HUGEPAGE); /* may fail: then everything works, a little slower */
    /* A page lies in the memory of the thread that touches it first. In turns, so that each array
     * is in the memory of all sockets: which thread will read which part changes from one product
     * to the next. */
#pragma omp parallel for schedule(static, 1)
    for (size_t i = 0; i < size; i += page)
        for (size_t j = 0; j < page; j += 4096) p[i + j] = 0;
    *a = (struct arena){ .base = p, .size = size };
    return 0;
}

void arena_unmap(struct arena *a)
{
    if (a->base) munmap(a->base, a->size);
    *a = (struct arena){ 0 };
}
