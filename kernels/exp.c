/* An exp() that lets loops vectorise.
 *
 * x = n ln 2 + f with |f| <= ln 2 / 2; exp(x) = 2^n * p(f). p is the Taylor polynomial of degree 7,
 * whose truncation error there (5e-9 relative) is below half a unit in the last place of a float,
 * so that the rounding of the multiply-adds decides: measured over a third of all floats, results
 * are within 0.94 units in the last place with fused multiply-adds and within 1.22 without. Below
 * -87.3, where it would be subnormal, the result is 0; above 88.376, a factor of 1.4 before floats
 * end, it is infinity. A NaN stays a NaN. The double build, which checks derivatives, takes the
 * library's exp(). */

static inline real exp_real(real x)
{
#ifdef REAL_DOUBLE
    return exp(x);
#else
    float y = x < -87.3f ? -87.3f : x > 88.7f ? 88.7f : x;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float shifted = y * 1.44269504f + magic, n = shifted - magic;
    float f = y - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts (Cody and Waite) */
    float p = 1.0f / 5040;
    p = p * f + 1.0f / 720;
    p = p * f + 1.0f / 120;
    p = p * f + 1.0f / 24;
    p = p * f + 1.0f / 6;
    p = p * f + 0.5f;
    p = p * f + 1.0f;
    p = p * f + 1.0f;
    uint32_t bits; /* n in the lowest bits, with no conversion that a NaN would make undefined */
    memcpy(&bits, &shifted, sizeof bits);
    float power = float_of_bits((bits + 127) << 23);
    return x < -87.3f ? 0.0f : p * power;
#endif
}
