/* The order in which the examples of a mixture are trained on.
 *
 * What is drawn are items (examples.h): single examples, in all data but trees of messages. An epoch
 * is a list of items of a fixed length: every source's in order, each as often as the whole
 * part of its weight says, first all sources once, then the repeats, source by source; then, of the
 * sources whose weight has a fraction, that part of their examples (rounded, at least one). Which
 * ones is decided by a permutation of the source that hangs on the seed alone; each epoch takes the
 * next stretch of it, so that after 1 / fraction epochs every example has had its turn. With
 * `shuffle` the list is then permuted, differently in every epoch.
 *
 * All of it is a function of (seed, epoch, position): there is no state to save. */
#ifndef LORAC_DATA_SAMPLER_H
#define LORAC_DATA_SAMPLER_H

#include <stdint.h>

#include "src/base/err.h"

/* What a source contributes: its items lie behind those of the sources before it. */
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
    uint32_t *turn; /* the permutations of the sources with a fraction, one behind the other */
    uint32_t *list; /* (n) scratch; NULL when every weight is 1 */
};

/* `shares` must live as long. */
int sampler_init(struct sampler *s, const struct share *shares, size_t n_shares, uint64_t seed,
                 bool shuffle, struct err *e);
void sampler_free(struct sampler *s);

/* order (n) = the numbers of the items of epoch `epoch`, from 0, in the order of training.
 * Allocates nothing. */
void sampler_epoch(uint32_t *order, const struct sampler *s, uint64_t epoch);

#endif
