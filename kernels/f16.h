/* Half precision (IEEE 754 binary16) and bf16, the upper half of a float, to float. */
#ifndef LORAC_KERNELS_F16_H
#define LORAC_KERNELS_F16_H

#include <stdint.h>
#include <string.h>

static inline float float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float float_of_bf16(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

/* Branch-free so that loops over it vectorise. The fraction and exponent are shifted into place and
 * the exponent rebiased by a multiplication with 2^112, which also normalises subnormals. */
static inline float float_of_f16(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    float scaled = float_of_bits(magnitude) * 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    bits = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : bits; /* infinity, NaN */
    return float_of_bits(bits | sign);
}

/* The float of every half, filled in before main() (storage.c). Looking up the scale of each 32
 * weights leaves the port that widens bytes to the weights; a conversion or a broadcast from a
 * register would need it, too. A model's scales touch only a little of the 256 kB. */
extern float f16_values[1 << 16];

#endif
