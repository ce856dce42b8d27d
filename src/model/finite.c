#include "src/model/finite.h"

#include <string.h>

#include "src/base/err.h"

enum { PIECE = 1 << 16 }; /* values that a thread looks at in one go; a multiple of every block */

/* The exponent's bits all set: NaN or infinity. */
static bool bad16(uint16_t bits, uint16_t exponent)
{
    return (bits & exponent) == exponent;
}

static bool any_bad16(const uint8_t *p, size_t n, uint16_t exponent)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, p + 2 * i, sizeof bits);
        bad |= bad16(bits, exponent);
    }
    return bad;
}

static bool any_bad32(const uint8_t *p, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad;
}

/* `halves` half-precision numbers at the beginning of each block. */
static bool any_bad_block(const uint8_t *p, size_t blocks, size_t bytes, size_t halves)
{
    bool bad = false;
    for (size_t i = 0; i < blocks; i++) bad |= any_bad16(p + i * bytes, halves, 0x7c00);
    return bad;
}

static bool any_bad(const uint8_t *p, enum dtype type, size_t n)
{
    switch (type) {
    case DTYPE_F32:
        return any_bad32(p, n);
    case DTYPE_F16:
        return any_bad16(p, n, 0x7c00);
    case DTYPE_BF16:
        return any_bad16(p, n, 0x7f80);
    default:
        CHECK(type != DTYPE_OTHER);
        return any_bad_block(p, n / QUANT_BLOCK, dtype_block_bytes(type),
                             type == DTYPE_Q4_1 ? 2 : 1);
    }
}

bool stored_finite(const void *data, enum dtype type, size_t n)
{
    const uint8_t *p = data;
    size_t pieces = (n + PIECE - 1) / PIECE;
    bool bad = false;
#pragma omp parallel for schedule(static) reduction(|| : bad) if (pieces > 16)
    for (size_t i = 0; i < pieces; i++) {
        size_t count = n - i * PIECE < PIECE ? n - i * PIECE : PIECE;
        bad = bad || any_bad(p + dtype_bytes(type, i * PIECE), type, count);
    }
    return !bad;
}
