/* float to storage types, for writers, tests and benchmarks.
 *
 * F16 and BF16 round to nearest, ties to even. The block types follow ggml's reference quantisers:
 * Q8_0  d = max|x| / 127,                   q = round(x / d)
 * Q4_0  d = (value of largest size) / -8,   q = min(15, floor(x / d + 8.5))
 * Q4_1  d = (max - min) / 15, m = min,      q = min(15, floor((x - m) / d + 0.5))
 * with 1/d taken from the float d and d stored as F16. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static uint16_t bf16_of(float f)
{
    uint32_t u = bits_of(f);
    if (f != f) return (uint16_t)(u >> 16 | 0x40); /* stays a NaN */
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint16_t f16_of(float f)
{
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
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

/* 1/d, and 0 where d = 0 or is so small that 1/d overflows: d is then stored as zero anyway. */
static float inverse_of(float d)
{
    float inverse = d != 0 ? 1 / d : 0;
    return isinf(inverse) ? 0 : inverse;
}

static void narrow_q8_0(uint8_t *out, const float *x)
{
    float top = 0;
    for (int j = 0; j < QUANT_BLOCK; j++) top = fmaxf(top, fabsf(x[j]));
    float d = top / 127, inverse = inverse_of(d);
    put16(out, f16_of(d));
    for (int j = 0; j < QUANT_BLOCK; j++) out[2 + j] = (uint8_t)(int8_t)roundf(x[j] * inverse);
}

static uint8_t nibble(float v)
{
    int q = (int)v;
    return (uint8_t)(q > 15 ? 15 : q);
}

static void narrow_q4_0(uint8_t *out, const float *x)
{
    float top = 0, signed_top = 0;
    for (int j = 0; j < QUANT_BLOCK; j++) {
        if (fabsf(x[j]) > top) top = fabsf(x[j]), signed_top = x[j];
    }
    float d = signed_top / -8, inverse = inverse_of(d);
    put16(out, f16_of(d));
    for (int j = 0; j < 16; j++) {
        uint8_t low = nibble(x[j] * inverse + 8.5f), high = nibble(x[j + 16] * inverse + 8.5f);
        out[2 + j] = (uint8_t)(low | high << 4);
    }
}

static void narrow_q4_1(uint8_t *out, const float *x)
{
    float low = x[0], high = x[0];
    for (int j = 1; j < QUANT_BLOCK; j++) low = fminf(low, x[j]), high = fmaxf(high, x[j]);
    float d = (high - low) / 15, inverse = inverse_of(d);
    put16(out, f16_of(d));
    put16(out + 2, f16_of(low));
    for (int j = 0; j < 16; j++) {
        uint8_t a = nibble((x[j] - low) * inverse + 0.5f);
        uint8_t b = nibble((x[j + 16] - low) * inverse + 0.5f);
        out[4 + j] = (uint8_t)(a | b << 4);
    }
}

void kernels_narrow(void *out, enum dtype type, const float *x, size_t n)
{
    uint8_t *p = out;
    size_t values = dtype_block_values(type), bytes = dtype_block_bytes(type);
    for (size_t i = 0; i < n; i += values, p += bytes) {
        switch (type) {
        case DTYPE_F32:
            memcpy(p, x + i, 4);
            break;
        case DTYPE_F16:
            put16(p, f16_of(x[i]));
            break;
        case DTYPE_BF16:
            put16(p, bf16_of(x[i]));
            break;
        case DTYPE_Q8_0:
            narrow_q8_0(p, x + i);
            break;
        case DTYPE_Q4_0:
            narrow_q4_0(p, x + i);
            break;
        case DTYPE_Q4_1:
            narrow_q4_1(p, x + i);
            break;
        case DTYPE_OTHER:
            return;
        }
    }
}
