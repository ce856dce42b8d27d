/* Storage types to vectors in registers.
 *
 * Compilers widen bytes and halves badly through vector extensions (gcc 12 takes lanes apart one by
 * one: Q8_0 was read at a fifth of the speed), so each instruction set has code with its
 * intrinsics; a set without such code, and the double build, goes lane by lane. */

#include "kernels/f16.h"

typedef uint16_t half_any __attribute__((aligned(1), may_alias));

#if defined REAL_DOUBLE || defined KERNELS_MODEL
#define LANES_BY_ISA 0
#else
#define LANES_BY_ISA 1
#endif

#if LANES_BY_ISA && defined __SSE2__
#include <immintrin.h>
#elif LANES_BY_ISA && defined __ARM_NEON
#include <arm_neon.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Indices of a shuffle of two vectors x, y, from a function of the lane. From each pair of blocks
 * of d lanes LANES(UPPER, d) takes the first of x and the first of y, LANES(LOWER, d) both second
 * ones. */
#define LANES_2(f, d) f(0, d), f(1, d)
#define LANES_4(f, d) LANES_2(f, d), f(2, d), f(3, d)
#define LANES_8(f, d) LANES_4(f, d), f(4, d), f(5, d), f(6, d), f(7, d)
#define LANES_16(f, d)                                                                             \
    LANES_8(f, d), f(8, d), f(9, d), f(10, d), f(11, d), f(12, d), f(13, d), f(14, d), f(15, d)
#if VL == 16
#define LANES LANES_16
#elif VL == 8
#define LANES LANES_8
#elif VL == 4
#define LANES LANES_4
#else
#define LANES LANES_2
#endif
#define UPPER(lane, d) ((lane) & (d) ? VL + (lane) - (d) : (lane))
#define LOWER(lane, d) ((lane) & (d) ? VL + (lane) : (lane) + (d))
/* Every second lane of x and y, from d = 0 or 1 on. */
#define EVERY_SECOND(lane, d) (2 * (lane) + (d))

#if LANES_BY_ISA && VECTOR_BYTES == 16 && (defined __SSE2__ || defined __ARM_NEON)
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint8_t bytes16_any __attribute__((vector_size(16), aligned(1), may_alias));

/* Four of the 16 signed bytes, from byte `at` on; `at` is a constant. */
ALWAYS_INLINE vec lanes_of_bytes(bytes16 b, const int at)
{
#if defined __SSE2__
    __m128i pairs = at < 8 ? _mm_unpacklo_epi8((__m128i)b, (__m128i)b)
                           : _mm_unpackhi_epi8((__m128i)b, (__m128i)b);
    __m128i fours = at % 8 ? _mm_unpackhi_epi16(pairs, pairs) : _mm_unpacklo_epi16(pairs, pairs);
    return (vec)_mm_cvtepi32_ps(_mm_srai_epi32(fours, 24));
#else
    int8x16_t s = vreinterpretq_s8_u8((uint8x16_t)b);
    int16x8_t half = vmovl_s8(at < 8 ? vget_low_s8(s) : vget_high_s8(s));
    return (vec)vcvtq_f32_s32(vmovl_s16(at % 8 ? vget_high_s16(half) : vget_low_s16(half)));
#endif
}
#endif

/* Values j * VL to (j + 1) * VL of a Q8_0 block's 32 bytes; j is a constant. */
ALWAYS_INLINE vec lanes_of_q8(const uint8_t *q, const int j)
{
#if LANES_BY_ISA && defined __AVX512F__
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(q + j * VL));
    return (vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b));
#elif LANES_BY_ISA && defined __AVX2__
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(q + j * VL));
    return (vec)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b));
#elif LANES_BY_ISA && VECTOR_BYTES == 16 && (defined __SSE2__ || defined __ARM_NEON)
    return lanes_of_bytes(*(const bytes16_any *)(q + j * VL / 16 * 16), j * VL % 16);
#else
    vec v;
    for (int l = 0; l < VL; l++) v[l] = (real)(int8_t)q[j * VL + l];
    return v;
#endif
}

/* The same for the 16 bytes of a Q4 block: nibbles, 0 to 15. */
ALWAYS_INLINE vec lanes_of_q4(const uint8_t *q, const int j)
{
    const int at = j * VL % 16;
    const bool high = j * VL >= 16;
#if LANES_BY_ISA && defined __AVX512F__
    __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(q + at)));
    b = high ? _mm512_srli_epi32(b, 4) : _mm512_and_epi32(b, _mm512_set1_epi32(15));
    return (vec)_mm512_cvtepi32_ps(b);
#elif LANES_BY_ISA && defined __AVX2__
    __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(q + at)));
    b = high ? _mm256_srli_epi32(b, 4) : _mm256_and_si256(b, _mm256_set1_epi32(15));
    return (vec)_mm256_cvtepi32_ps(b);
#elif LANES_BY_ISA && VECTOR_BYTES == 16 && (defined __SSE2__ || defined __ARM_NEON)
    bytes16 b = *(const bytes16_any *)q;
    return lanes_of_bytes(high ? b >> 4 : b & 15, at);
#else
    vec v;
    for (int l = 0; l < VL; l++) v[l] = (real)(high ? q[at + l] >> 4 : q[at + l] & 15);
    return v;
#endif
}

ALWAYS_INLINE vec lanes_of_bf16(const uint8_t *p)
{
#if LANES_BY_ISA && defined __AVX512F__
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return (vec)_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
#elif LANES_BY_ISA && defined __AVX2__
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return (vec)_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
#elif LANES_BY_ISA && defined __SSE2__
    __m128i half = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (vec)_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), half));
#elif LANES_BY_ISA && defined __ARM_NEON
    uint16x4_t half;
    memcpy(&half, p, sizeof half);
    return (vec)vreinterpretq_f32_u32(vshll_n_u16(half, 16));
#else
    vec v;
    for (int l = 0; l < VL; l++) v[l] = (real)float_of_bf16(((const half_any *)p)[l]);
    return v;
#endif
}

#if LANES_BY_ISA && defined __SSE2__ && VECTOR_BYTES == 16
/* float_of_f16() on lanes */
ALWAYS_INLINE vec lanes_of_f16_in_bits(__m128i half)
{
    typedef uint32_t bits __attribute__((vector_size(16)));
    bits h = (bits)_mm_unpacklo_epi16(half, _mm_setzero_si128());
    bits magnitude = (h & 0x7fff) << 13, sign = (h & 0x8000) << 16;
    bits scaled = (bits)((vec)magnitude * 0x1p112f);
    bits special = (bits)((vec_int)magnitude >= 0x0f800000) & 0x7f800000u;
    return (vec)(scaled | special | sign);
}
#endif

ALWAYS_INLINE vec lanes_of_f16(const uint8_t *p)
{
#if LANES_BY_ISA && defined __AVX512F__
    return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
#elif LANES_BY_ISA && defined __AVX2__
    return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
#elif LANES_BY_ISA && defined __SSE2__
    return lanes_of_f16_in_bits(_mm_loadl_epi64((const __m128i *)(const void *)p));
#elif LANES_BY_ISA && defined __ARM_NEON
    uint16x4_t half;
    memcpy(&half, p, sizeof half);
    return (vec)vcvt_f32_f16(vreinterpret_f16_u16(half));
#else
    vec v;
    for (int l = 0; l < VL; l++) v[l] = (real)float_of_f16(((const half_any *)p)[l]);
    return v;
#endif
}

/* A block's scale or minimum, in every lane. */
ALWAYS_INLINE vec lanes_of_scale(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return (real)f16_values[half] - (vec){ 0 };
}

/* Rounded to bf16, to nearest, ties to even. A NaN becomes one of all ones, which costs least. */
ALWAYS_INLINE vec rounded_to_bf16(vec v)
{
#ifdef REAL_DOUBLE
    for (int l = 0; l < VL; l++) v[l] = (real)float_of_bf16(storage_bf16((float)v[l]));
    return v;
#else
    typedef uint32_t bits __attribute__((vector_size(VECTOR_BYTES)));
    bits u = (bits)v, nan = (bits)(v != v), r = u + 0x7fff + (u >> 16 & 1);
    return (vec)((r | nan) & 0xffff0000);
#endif
}
