/* Storage types to real, and the inverse for writers.
 *
 *   F16    sign, 5 bits of exponent, 10 of fraction       BF16   the upper half of a float
 *   Q8_0   half d, int8 q[32]                 x = d * q
 *   Q4_0   half d, 16 bytes of nibbles        x = d * (q - 8)
 *   Q4_1   half d, half m, 16 bytes           x = d * q + m
 * Byte j of a Q4 block holds value j in its low nibble and value j + 16 in its high one (ggml's
 * layout). Widening is exact for F16 and BF16. For the block types d * q is exact in float (11 bits
 * by 8), so that only the addition of m rounds, with or without fused multiply-add: every
 * instruction set and the double build read the same weights. Rows in a file may lie at any
 * address. */

#include "kernels/half.h"

typedef float float_any __attribute__((aligned(1), may_alias));
typedef uint16_t half_any __attribute__((aligned(1), may_alias));

static void widen_f16(real *out, const half_any *x, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = float_of_half(x[i]);
}

static void widen_bf16(real *out, const half_any *x, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = float_of_bits((uint32_t)x[i] << 16);
}

static inline float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return half_values[h];
}

static void widen_q8_0(real *out, const uint8_t *block, size_t n)
{
    for (size_t i = 0; i < n; i += QUANT_BLOCK, block += 34) {
        float d = half_at(block);
        const int8_t *q = (const int8_t *)(block + 2);
        for (size_t j = 0; j < QUANT_BLOCK; j++) out[i + j] = d * (float)q[j];
    }
}

static void widen_q4_0(real *out, const uint8_t *block, size_t n)
{
    for (size_t i = 0; i < n; i += QUANT_BLOCK, block += 18) {
        float d = half_at(block);
        const uint8_t *q = block + 2;
        for (size_t j = 0; j < 16; j++) out[i + j] = d * (float)((int)(q[j] & 15) - 8);
        for (size_t j = 0; j < 16; j++) out[i + 16 + j] = d * (float)((int)(q[j] >> 4) - 8);
    }
}

static void widen_q4_1(real *out, const uint8_t *block, size_t n)
{
    for (size_t i = 0; i < n; i += QUANT_BLOCK, block += 20) {
        float d = half_at(block), m = half_at(block + 2);
        const uint8_t *q = block + 4;
        for (size_t j = 0; j < 16; j++) out[i + j] = d * (float)(q[j] & 15) + m;
        for (size_t j = 0; j < 16; j++) out[i + 16 + j] = d * (float)(q[j] >> 4) + m;
    }
}

static void widen(real *out, const struct matrix *w, size_t row, size_t start, size_t n)
{
    const uint8_t *p = (const uint8_t *)matrix_row(w, row) + dtype_bytes(w->type, start);
    switch (w->type) {
    case DTYPE_F32:
        for (size_t i = 0; i < n; i++) out[i] = ((const float_any *)p)[i];
        break;
    case DTYPE_F16:
        widen_f16(out, (const half_any *)p, n);
        break;
    case DTYPE_BF16:
        widen_bf16(out, (const half_any *)p, n);
        break;
    case DTYPE_Q8_0:
        widen_q8_0(out, p, n);
        break;
    case DTYPE_Q4_0:
        widen_q4_0(out, p, n);
        break;
    case DTYPE_Q4_1:
        widen_q4_1(out, p, n);
        break;
    case DTYPE_OTHER:
        break;
    }
}
