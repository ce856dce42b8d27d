/* F32, F16, BF16: single numbers.
 *
 *   F16    sign, 5 bits of exponent, 10 of fraction       BF16   the upper half of a float
 *
 * Widening is exact. Rows in a file may lie at any address.
 *
 * As in every storage_*.c the first part is compiled for each instruction set (all.c), the second
 * once (storage.c). */
#ifdef ISA

typedef float float_any __attribute__((aligned(1), may_alias));

/* NAME_lanes(p): the VL values at p. */
ALWAYS_INLINE vec f32_lanes(const uint8_t *p)
{
#ifdef REAL_DOUBLE
    vec v;
    for (int l = 0; l < VL; l++) v[l] = ((const float_any *)p)[l];
    return v;
#else
    typedef real vec_bytes __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
    return *(const vec_bytes *)p;
#endif
}

ALWAYS_INLINE vec f16_lanes(const uint8_t *p)
{
    return lanes_of_f16(p);
}

ALWAYS_INLINE vec bf16_lanes(const uint8_t *p)
{
    return lanes_of_bf16(p);
}

/* NAME_widen(out, p, n): n values. */
static void f32_widen(real *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = ((const float_any *)p)[i];
}

static void f16_widen(real *out, const uint8_t *p, size_t n)
{
    size_t i = 0;
    for (; i + VL <= n; i += VL) store(out + i, lanes_of_f16(p + 2 * i));
    for (; i < n; i++) out[i] = float_of_f16(((const half_any *)p)[i]);
}

static void bf16_widen(real *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = float_of_bf16(((const half_any *)p)[i]);
}

#else

static bool f32_bad(const uint8_t *p, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + 4 * i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad;
}

static bool f16_bad(const uint8_t *p, size_t n)
{
    return any_bad16(p, n, 2, F16_EXPONENT);
}

static bool bf16_bad(const uint8_t *p, size_t n)
{
    return any_bad16(p, n, 2, 0x7f80);
}

static void f32_narrow(uint8_t *out, const float *x)
{
    memcpy(out, x, sizeof *x);
}

static void f16_narrow(uint8_t *out, const float *x)
{
    put16(out, storage_f16(*x));
}

static void bf16_narrow(uint8_t *out, const float *x)
{
    put16(out, storage_bf16(*x));
}

#endif
