/* ggml's K types: blocks of 256 values, parts of which have scales of their own.
 *
 *   Q6_K   128 bytes of low nibbles, 64 of upper pairs of bits, int8 s[16], half d
 *          x = d * s[i / 16] * (q - 32)
 * Each half of a block (128 values) has 64 bytes l and 32 bytes h. Its values 32 g + i, i below 32,
 * are bits 0-3 (g < 2) or 4-7 of l[i + 32 (g % 2)] below bits 2 g and 2 g + 1 of h[i].
 *
 * s * (q - 32) is exact, as is d * s, so that x is rounded once in whatever order: the same bits as
 * llama.cpp and the gguf package compute. (The product is one of floats so that zeros have the same
 * sign.)
 * Source: ggml/src/ggml-common.h (block_q6_K), ggml-quants.c (dequantize_row_q6_K). */
#ifdef ISA

/* As in storage_blocks.c; the scales of parts are in q. */
enum { q6_k_SHIFT = 0, q6_k_MIN = 0 };

ALWAYS_INLINE vec q6_k_q(const uint8_t *block, size_t span, const int j)
{
    const uint8_t *l = block + span / 4 * 64 + span % 2 * 32, *h = block + 128 + span / 4 * 32;
    const int8_t *s = (const int8_t *)block + 192 + span * 2;
    real q[VL] __attribute__((aligned(VECTOR_BYTES)));
    for (int i = 0; i < VL; i++) {
        int at = j * VL + i, low = l[at] >> (span % 4 < 2 ? 0 : 4) & 15;
        int high = h[at] >> (2 * (span % 4)) & 3;
        q[i] = (real)s[at / 16] * (real)((low | high << 4) - 32);
    }
    return load(q);
}

ALWAYS_INLINE vec q6_k_d(const uint8_t *block)
{
    return lanes_of_scale(block + 208);
}

ALWAYS_INLINE vec q6_k_m(const uint8_t *block, size_t span)
{
    return (void)block, (void)span, (vec){ 0 };
}

#else

static bool q6_k_bad(const uint8_t *p, size_t blocks)
{
    return any_bad16(p + 208, blocks, 210, F16_EXPONENT);
}

#endif
