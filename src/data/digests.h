/* A set of digests, to find exact copies among examples in one pass over them. */
#ifndef LORAC_DATA_DIGESTS_H
#define LORAC_DATA_DIGESTS_H

#include <stdint.h>

#include "src/data/examples.h"

/* 96 bits of a SHA-256: among a billion examples the chance of one wrong pair is 1 in 10^11. */
struct digest {
    uint64_t high;
    uint32_t low;
};

/* The digest of all columns of example i. */
int digest_of_example(struct digest *d, const struct examples *x, size_t i, struct err *e);
int digest_of_bytes(struct digest *d, const void *bytes, size_t n, struct err *e);

/* It is empty when zero-initialised. */
struct digests {
    struct digest_slot *slots;
    size_t n, n_slots;
};

/* Add d; *copies is how often it was added before. */
int digests_put(struct digests *s, uint32_t *copies, const struct digest *d, struct err *e);
/* How many of the digests added to `of`, with repeats, are also in `in`. */
size_t digests_shared(const struct digests *of, const struct digests *in);
/* How often the most frequent digest was added. */
uint32_t digests_most(const struct digests *s);
void digests_free(struct digests *s);

#endif
