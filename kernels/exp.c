/* exp() that loops can be vectorised over.
 *
 * x = n ln 2 + f with |f| <= ln 2 / 2; exp(x) = 2^n * p(f). p is the Taylor polynomial of degree 7,
 * whose truncation error there (5e-9 relative) is below half a unit in the last place of a float,
 * so that the rounding of the multiply-adds decides: within 2 units over the whole range (measured
 * by tests/test_kernels.c). Below -87.3, where the result would be subnormal, it is 0. The double
 * build, which checks derivatives, takes the library's. */

static inline real exp_real(real x)
{
#ifdef REAL_DOUBLE
    return exp(x);
#else
    float y = x < -87.3f ? -87.3f : x > 88.7f ? 88.7f : x;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float n = (y * 1.44269504f + magic) - magic;
    float f = y - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts (Cody and Waite) */
    float p = 1.0f / 5040;
    p = p * f + 1.0f / 720;
    p = p * f + 1.0f / 120;
    p = p * f + 1.0f / 24;
    p = p * f + 1.0f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    float power = float_of_bits((uint32_t)((int32_t)n + 127) << 23);
    return x < -87.3f ? 0.0f : p * power;
#endif
}
