/* ggml's types of 32 values that share a half-precision scale d, or scale d and minimum m.
 *
 *   Q8_0   half d, int8 q[32]                 x = d * q
 *   Q4_0   half d, 16 bytes of nibbles        x = d * (q - 8)
 *   Q4_1   half d, half m, 16 bytes           x = d * q + m
 * Byte j of a Q4 block holds value j in its low nibble and value j + 16 in its high one.
 *
 * Widening: d * q is exact in float (11 bits by 8), so that only the addition of m rounds, with or
 * without fused multiply-add: every instruction set and the double build read the same weights.
 *
 * Writing follows ggml's reference quantisers (quantize_row_q8_0_ref and its neighbours):
 *   Q8_0  d = max|x| / 127,                   q = round(x / d)
 *   Q4_0  d = (value of largest size) / -8,   q = min(15, floor(x / d + 8.5))
 *   Q4_1  d = (max - min) / 15, m = min,      q = min(15, floor((x - m) / d + 0.5))
 * with 1/d taken from the float d and d stored as F16.
 * Source: ggml/src/ggml-common.h (the blocks), ggml-quants.c (the arithmetic). */
#ifdef ISA

/* For each block type, and a span of SPAN values x = d * (q - shift) + m of a block, its `span`-th:
 *   NAME_q(block, span, j)   q of the span's values j * VL to (j + 1) * VL, whole numbers; j is
 *                            constant
 *   NAME_d(block), NAME_m(block, span)   in every lane
 *   NAME_SHIFT, NAME_MIN     the constant shift; whether there is an m */
enum { q8_0_SHIFT = 0, q8_0_MIN = 0, q4_0_SHIFT = 8, q4_0_MIN = 0, q4_1_SHIFT = 0, q4_1_MIN = 1 };

ALWAYS_INLINE vec q8_0_q(const uint8_t *block, size_t span, const int j)
{
    (void)span;
    return lanes_of_q8(block + 2, j);
}

ALWAYS_INLINE vec q8_0_d(const uint8_t *block)
{
    return lanes_of_scale(block);
}

ALWAYS_INLINE vec q8_0_m(const uint8_t *block, size_t span)
{
    return (void)block, (void)span, (vec){ 0 };
}

ALWAYS_INLINE vec q4_0_q(const uint8_t *block, size_t span, const int j)
{
    (void)span;
    return lanes_of_q4(block + 2, j);
}

ALWAYS_INLINE vec q4_0_d(const uint8_t *block)
{
    return lanes_of_scale(block);
}

ALWAYS_INLINE vec q4_0_m(const uint8_t *block, size_t span)
{
    return (void)block, (void)span, (vec){ 0 };
}

ALWAYS_INLINE vec q4_1_q(const uint8_t *block, size_t span, const int j)
{
    (void)span;
    return lanes_of_q4(block + 4, j);
}

ALWAYS_INLINE vec q4_1_d(const uint8_t *block)
{
    return lanes_of_scale(block);
}

ALWAYS_INLINE vec q4_1_m(const uint8_t *block, size_t span)
{
    return (void)span, lanes_of_scale(block + 2);
}

#else

static bool q8_0_bad(const uint8_t *p, size_t blocks)
{
    return any_bad16(p, blocks, 34, F16_EXPONENT);
}

static bool q4_0_bad(const uint8_t *p, size_t blocks)
{
    return any_bad16(p, blocks, 18, F16_EXPONENT);
}

static bool q4_1_bad(const uint8_t *p, size_t blocks)
{
    return any_bad16(p, blocks, 20, F16_EXPONENT) || any_bad16(p + 2, blocks, 20, F16_EXPONENT);
}

/* 1/d, and 0 where d = 0 or is so small that 1/d overflows: d is then stored as zero anyway. */
static float inverse_of(float d)
{
    float inverse = d != 0 ? 1 / d : 0;
    return isinf(inverse) ? 0 : inverse;
}

static void q8_0_narrow(uint8_t *out, const float *x)
{
    float top = 0;
    for (int j = 0; j < SPAN; j++) top = fmaxf(top, fabsf(x[j]));
    float d = top / 127, inverse = inverse_of(d);
    put16(out, storage_f16(d));
    for (int j = 0; j < SPAN; j++) out[2 + j] = (uint8_t)(int8_t)roundf(x[j] * inverse);
}

static uint8_t nibble(float v)
{
    int q = (int)v;
    return (uint8_t)(q > 15 ? 15 : q);
}

static void q4_0_narrow(uint8_t *out, const float *x)
{
    float top = 0, signed_top = 0;
    for (int j = 0; j < SPAN; j++) {
        if (fabsf(x[j]) > top) top = fabsf(x[j]), signed_top = x[j];
    }
    float d = signed_top / -8, inverse = inverse_of(d);
    put16(out, storage_f16(d));
    for (int j = 0; j < 16; j++) {
        uint8_t low = nibble(x[j] * inverse + 8.5f), high = nibble(x[j + 16] * inverse + 8.5f);
        out[2 + j] = (uint8_t)(low | high << 4);
    }
}

static void q4_1_narrow(uint8_t *out, const float *x)
{
    float low = x[0], high = x[0];
    for (int j = 1; j < SPAN; j++) low = fminf(low, x[j]), high = fmaxf(high, x[j]);
    float d = (high - low) / 15, inverse = inverse_of(d);
    put16(out, storage_f16(d));
    put16(out + 2, storage_f16(low));
    for (int j = 0; j < 16; j++) {
        uint8_t a = nibble((x[j] - low) * inverse + 0.5f);
        uint8_t b = nibble((x[j + 16] - low) * inverse + 0.5f);
        out[4 + j] = (uint8_t)(a | b << 4);
    }
}

#endif
