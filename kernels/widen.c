/* Storage types to real on this instruction set: all.c takes the storage_*.c in from here. */
#include "kernels/storage_plain.c"
#include "kernels/storage_blocks.c"
#include "kernels/storage_k.c"

enum { PARTS = SPAN / VL };

/* ---- of one type, which is a constant wherever these are called ------------------------------ */

/* One case for each block type: `call` of its name. */
#define EACH_BLOCK_PLAIN(id, call)
#define EACH_BLOCK_BLOCK(id, call)                                                                 \
    case STORAGE_##id:                                                                             \
        return call;

ALWAYS_INLINE vec span_q(enum storage_type type, const uint8_t *block, size_t span, const int j)
{
    switch (type) {
#define STORAGE(id, name, kind, ...) EACH_BLOCK_##kind(id, name##_q(block, span, j))
#include "kernels/storage.def"
    default:
        return (vec){ 0 };
    }
}

ALWAYS_INLINE vec span_d(enum storage_type type, const uint8_t *block)
{
    switch (type) {
#define STORAGE(id, name, kind, ...) EACH_BLOCK_##kind(id, name##_d(block))
#include "kernels/storage.def"
    default:
        return (vec){ 0 };
    }
}

ALWAYS_INLINE vec span_m(enum storage_type type, const uint8_t *block, size_t span)
{
    switch (type) {
#define STORAGE(id, name, kind, ...) EACH_BLOCK_##kind(id, name##_m(block, span))
#include "kernels/storage.def"
    default:
        return (vec){ 0 };
    }
}

ALWAYS_INLINE int span_shift(enum storage_type type)
{
    switch (type) {
#define STORAGE(id, name, kind, ...) EACH_BLOCK_##kind(id, name##_SHIFT)
#include "kernels/storage.def"
    default:
        return 0;
    }
}

ALWAYS_INLINE bool span_has_min(enum storage_type type)
{
    switch (type) {
#define STORAGE(id, name, kind, ...) EACH_BLOCK_##kind(id, name##_MIN)
#include "kernels/storage.def"
    default:
        return false;
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Rounds in the double build as floats round. */
static inline vec as_floats(vec v)
{
#ifdef REAL_DOUBLE
    for (int l = 0; l < VL; l++) v[l] = (float)v[l];
#endif
    return v;
}

/* What the values q of a span stand for, d and m being its scale and minimum. */
ALWAYS_INLINE vec span_value(enum storage_type type, vec q, vec d, vec m)
{
    q -= (real)span_shift(type);
    return as_floats(span_has_min(type) ? d * q + m : d * q);
}

/* n values of spans from `at` on. */
ALWAYS_INLINE void widen_spans(real *out, struct storage_at at, size_t n, enum storage_type type)
{
    const size_t spans = storage_block_values(type) / SPAN, bytes = storage_block_bytes(type);
    for (size_t i = 0; i < n; i += SPAN) {
        vec d = span_d(type, at.block), m = span_m(type, at.block, at.span);
#pragma GCC unroll 16
        for (int j = 0; j < PARTS; j++)
            store(out + i + j * VL, span_value(type, span_q(type, at.block, at.span, j), d, m));
        if (++at.span == spans) at = (struct storage_at){ at.block + bytes, 0 };
    }
}

static void widen(real *out, const struct matrix *w, size_t row, size_t start, size_t n)
{
    struct storage_at at = storage_at(w, row, start);
    switch (w->type) {
#define WIDEN_PLAIN(name, type) name##_widen(out, at.block, n)
#define WIDEN_BLOCK(name, type) widen_spans(out, at, n, type)
#define STORAGE(id, name, kind, ...)                                                               \
    case STORAGE_##id:                                                                             \
        WIDEN_##kind(name, STORAGE_##id);                                                          \
        break;
#include "kernels/storage.def"
    case STORAGE_OTHER:
        break;
    }
}
