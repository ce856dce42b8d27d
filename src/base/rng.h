/* Randomness without state: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1,
 * 2, 3", SC 2011). A number is a function of (seed, purpose, counter), so there is no state to
 * save, restore or advance, and threads, ranks and resumed runs draw the same numbers. */
#ifndef LORAC_BASE_RNG_H
#define LORAC_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a number is for. The values are part of the file format of a run: never renumber them. */
enum rng_purpose {
    RNG_INIT_A = 1,  /* counter: {parameter index} */
    RNG_SHUFFLE = 2, /* counter: {epoch, position} */
    RNG_DROPOUT = 3, /* see dropout() in kernels/elementwise.c */
    RNG_SAMPLE = 4,  /* generation: {token number} */
    RNG_SYNTH = 5,   /* synthetic weights of benchmarks */
    RNG_TEST = 6,
    RNG_MIXTURE = 7, /* stream: the source; see src/data/sampler.h */
};

/* One block: four independent 32-bit words for a 128-bit counter under a 64-bit key. */
void philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* Word `index` of the stream (seed, purpose, stream). */
uint32_t rng_u32(uint64_t seed, enum rng_purpose purpose, uint32_t stream, uint64_t index);

/* The same as a double in [0, 1) with 32 random bits. */
double rng_unit(uint64_t seed, enum rng_purpose purpose, uint32_t stream, uint64_t index);

/* order = a permutation of 0..n-1 (Fisher-Yates over the stream). n < 2^32. */
void rng_permutation(uint32_t *order, size_t n, uint64_t seed, enum rng_purpose purpose,
                     uint32_t stream);

#endif
