/* The part of the storage types that is compiled once, not for each instruction set. Writers, tests
 * and benchmarks narrow values; loaders look for NaN and infinity. */
#include "kernels/storage.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/f16.h"

float f16_values[1 << 16];

__attribute__((constructor)) static void fill_f16_values(void)
{
    for (uint32_t h = 0; h < 1 << 16; h++) f16_values[h] = float_of_f16((uint16_t)h);
}

#define WORD_WRITTEN(name) " " #name
#define WORD_READ(name)    ""
#define WORD_PLAIN(name)   " " #name
#define WORD_BLOCK(name)   ""
const char storage_words_written[] = ""
#define STORAGE(id, name, kind, ggml, ftype, st, torch, values, bytes, companion, w) WORD_##w(name)
#include "kernels/storage.def"
    ;
const char storage_words_plain[] = ""
#define STORAGE(id, name, kind, ...) WORD_##kind(name)
#include "kernels/storage.def"
    ;

enum storage_type storage_named(const char *name)
{
    int t = 0;
    while (t < STORAGES && strcmp(storage_name((enum storage_type)t), name) != 0) t++;
    return (enum storage_type)t;
}

void storage_misaligned(enum storage_type type, size_t start)
{
    fprintf(stderr, "lorac: value %zu of a row of %s does not begin a span of %d\n", start,
            storage_name(type), SPAN);
    abort();
}

/* ---- tools of the types ---------------------------------------------------------------------- */

uint16_t storage_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (f != f) return (uint16_t)(u >> 16 | 0x40); /* stays a NaN */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

uint16_t storage_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (a >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (a < 0x38800000) {                                  /* subnormal: units of 2^-24 */
        float units = fabsf(f) * 0x1p24f;
        return (uint16_t)(sign | (uint32_t)lrintf(units));
    }
    uint32_t r = a - 0x38000000; /* rebias 127 to 15 */
    return (uint16_t)(sign | (r + 0xfff + (r >> 13 & 1)) >> 13);
}

static void put16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

enum { F16_EXPONENT = 0x7c00 };

/* Whether one of n numbers of 16 bits, `apart` bytes apart, has all bits of its exponent set: NaN
 * or infinity. */
static inline bool any_bad16(const uint8_t *p, size_t n, const size_t apart,
                             const uint16_t exponent)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, p + apart * i, sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad;
}

#include "kernels/storage_plain.c"
#include "kernels/storage_blocks.c"
#include "kernels/storage_k.c"

/* ---- by type --------------------------------------------------------------------------------- */

/* Whether one of n blocks holds NaN or infinity. */
static bool any_bad(const uint8_t *p, enum storage_type type, size_t blocks)
{
    switch (type) {
#define STORAGE(id, name, ...)                                                                     \
    case STORAGE_##id:                                                                             \
        return name##_bad(p, blocks);
#include "kernels/storage.def"
    default:
        abort();
    }
}

bool storage_finite(const void *data, enum storage_type type, size_t n)
{
    enum {
        PIECE = 1 << 16
    }; /* values that a thread looks at in one go; a multiple of every block */
    const uint8_t *p = data;
    size_t pieces = (n + PIECE - 1) / PIECE;
    bool bad = false;
#pragma omp parallel for schedule(static) reduction(|| : bad) if (pieces > 16)
    for (size_t i = 0; i < pieces; i++) {
        size_t count = n - i * PIECE < PIECE ? n - i * PIECE : PIECE;
        bad = bad ||
              any_bad(p + storage_bytes(type, i * PIECE), type, count / storage_block_values(type));
    }
    return !bad;
}

typedef void narrow_function(uint8_t *out, const float *x);

void storage_narrow(void *out, enum storage_type type, const float *x, size_t n)
{
    static narrow_function *const functions[STORAGES] = {
#define NARROW_READ(name)    NULL
#define NARROW_WRITTEN(name) name##_narrow
#define STORAGE(id, name, kind, ggml, ftype, safetensors, torch, values, bytes, companion,         \
                writing)                                                                           \
    [STORAGE_##id] = NARROW_##writing(name),
#include "kernels/storage.def"
    };
    if (type >= STORAGES || !functions[type]) abort();
    uint8_t *p = out;
    for (size_t i = 0; i < n; i += storage_block_values(type), p += storage_block_bytes(type))
        functions[type](p, x + i);
}
