/* The order in which the examples of a mixture are trained on.
 *
 * Items (examples.h) are drawn: single examples, in all data except trees of messages. An epoch is
 * a list of items of a fixed length. First comes every source, as often as the whole part of its
 * weight says: all sources once, then the repeats, source by source. Then, of the sources whose
 * weight has a fraction, comes that fraction of their items (rounded, at least one). A permutation
 * of the source, which depends only on the seed, decides which ones; each epoch takes the next part
 * of it, so that after 1 / fraction epochs every item has had its turn. With `shuffle` the list is
 * then permuted, differently in every epoch.
 *
 * The order is a function of (seed, epoch, position): there is no state to save. */
#ifndef LORAC_DATA_SAMPLER_H
#define LORAC_DATA_SAMPLER_H

#include <stdint.h>

#include "src/base/err.h"

/* The share of a source: its items come after those of the sources before it. */
struct share {
    size_t n;
    double weight; /* times per epoch, > 0 */
};

struct sampler {
    const struct share *shares;
    size_t n_shares;
    size_t n; /* items in an epoch */
    uint64_t seed;
    bool shuffle;
    uint32_t *turn; /* the permutations of the sources with a fraction, one after the other */
    uint32_t *list; /* (n) scratch memory; NULL when every weight is 1 */
};

/* `shares` must live as long as the sampler. */
int sampler_init(struct sampler *s, const struct share *shares, size_t n_shares, uint64_t seed,
                 bool shuffle, struct err *e);
void sampler_free(struct sampler *s);

/* order (n) = the numbers, from 0, of the items of epoch `epoch` in the order of training.
 * Allocates nothing. */
void sampler_epoch(uint32_t *order, const struct sampler *s, uint64_t epoch);

#endif
