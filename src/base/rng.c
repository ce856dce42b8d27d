#include "src/base/rng.h"

void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1, c3 = (uint32_t)p0, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint32_t rng_u32(uint64_t seed, enum rng_purpose purpose, uint32_t stream, uint64_t index)
{
    uint64_t block = index / 4;
    uint32_t counter[4] = { (uint32_t)block, (uint32_t)(block >> 32), stream, (uint32_t)purpose };
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t out[4];
    philox4x32(out, counter, key);
    return out[index % 4];
}

double rng_unit(uint64_t seed, enum rng_purpose purpose, uint32_t stream, uint64_t index)
{
    return rng_u32(seed, purpose, stream, index) * 0x1p-32;
}

void rng_permutation(uint32_t *order, size_t n, uint64_t seed, enum rng_purpose purpose,
                     uint32_t stream)
{
    for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        /* 64-bit product of a 32-bit word: the bias is below n / 2^32, and the same everywhere */
        size_t j = (size_t)((uint64_t)rng_u32(seed, purpose, stream, i) * i >> 32);
        uint32_t t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}
