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

/* Of all that example i says. */
int digest_of_example(struct digest *d, const struct examples *x, size_t i, struct err *e);
int digest_of_bytes(struct digest *d, const void *bytes, size_t n, struct err *e);

/* Zero-initialised it is empty. */
struct digests {
    struct digest_slot *slots;
    size_t n, n_slots;
};

/* Put d in; *copies is how often it was there before. */
int digests_put(struct digests *s, uint32_t *copies, const struct digest *d, struct err *e);
/* How many of the digests put into `of`, repeats included, are also in `in`. */
size_t digests_shared(const struct digests *of, const struct digests *in);
/* How often the one put in most often was. */
uint32_t digests_most(const struct digests *s);
void digests_free(struct digests *s);

#endif
