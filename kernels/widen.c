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

typedef float float_any __attribute__((aligned(1), may_alias));

static void widen_f16(real *out, const uint8_t *x, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL) store(out + i, lanes_of_f16(x + 2 * i));
    for (; i < n; i++) out[i] = float_of_half(((const half_any *)x)[i]);
}

static void widen_bf16(real *out, const half_any *x, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = float_of_bits((uint32_t)x[i] << 16);
}

static void widen_q8_0(real *out, const uint8_t *block, size_t n)
{
    for (size_t i = 0; i < n; i += QUANT_BLOCK, block += 34) {
        vec d = lanes_of_scale(block);
#pragma GCC unroll 16
        for (int j = 0; j < QUANT_BLOCK / VL; j++)
            store(out + i + j * VL, d * lanes_of_q8(block + 2, j));
    }
}

static void widen_q4_0(real *out, const uint8_t *block, size_t n)
{
    for (size_t i = 0; i < n; i += QUANT_BLOCK, block += 18) {
        vec d = lanes_of_scale(block);
#pragma GCC unroll 16
        for (int j = 0; j < QUANT_BLOCK / VL; j++)
            store(out + i + j * VL, d * (lanes_of_q4(block + 2, j) - 8));
    }
}

/* The double build rounds where floats do. */
static inline vec as_floats(vec v)
{
#ifdef REAL_DOUBLE
    for (int l = 0; l < VL; l++) v[l] = (float)v[l];
#endif
    return v;
}

static void widen_q4_1(real *out, const uint8_t *block, size_t n)
{
    for (size_t i = 0; i < n; i += QUANT_BLOCK, block += 20) {
        vec d = lanes_of_scale(block), m = lanes_of_scale(block + 2);
#pragma GCC unroll 16
        for (int j = 0; j < QUANT_BLOCK / VL; j++)
            store(out + i + j * VL, as_floats(d * lanes_of_q4(block + 4, j) + m));
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
        widen_f16(out, p, n);
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
