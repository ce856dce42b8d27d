#include "src/data/sampler.h"

#include <math.h>

#include "src/base/mem.h"
#include "src/base/rng.h"

/* How many times an epoch has all of a source's examples, and how many of them it has once more. */
static void parts_of(size_t *whole, size_t *some, const struct share *s)
{
    double times = floor(s->weight), rest = s->weight - times;
    *whole = (size_t)times;
    *some = (size_t)(rest * (double)s->n + 0.5);
    if (rest > 0 && *some == 0 && s->n > 0) *some = 1;
}

int sampler_init(struct sampler *s, const struct share *shares, size_t n_shares, uint64_t seed,
                 bool shuffle, struct err *e)
{
    *s = (struct sampler){
        .shares = shares, .n_shares = n_shares, .seed = seed, .shuffle = shuffle
    };
    size_t turning = 0;
    bool plain = true;
    for (size_t i = 0; i < n_shares; i++) {
        size_t whole, some, sum;
        parts_of(&whole, &some, &shares[i]);
        bool fits = mem_mul(&sum, whole, shares[i].n) && mem_add(&s->n, s->n, sum + some);
        if (!fits || s->n > UINT32_MAX) {
            return err_usage(e,
                             "data.train: the weights make an epoch of more than %u examples; "
                             "lower them",
                             UINT32_MAX);
        }
        if (some) turning += shares[i].n;
        plain = plain && whole == 1 && some == 0;
    }
    s->turn = mem_alloc(turning, sizeof *s->turn, e);
    if (s->turn && !plain) s->list = mem_alloc(s->n, sizeof *s->list, e);
    if (!s->turn || (!plain && !s->list)) {
        sampler_free(s);
        return e->code;
    }
    uint32_t *turn = s->turn;
    for (size_t i = 0; i < n_shares; i++) {
        size_t whole, some;
        parts_of(&whole, &some, &shares[i]);
        if (!some) continue;
        rng_permutation(turn, shares[i].n, seed, RNG_MIXTURE, (uint32_t)i);
        turn += shares[i].n;
    }
    return 0;
}

void sampler_free(struct sampler *s)
{
    mem_free(s->turn);
    mem_free(s->list);
    *s = (struct sampler){ 0 };
}

static uint32_t *add_range(uint32_t *to, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++) *to++ = (uint32_t)(first + i);
    return to;
}

/* Append the epoch's part of each permutation. */
static uint32_t *add_fractions(uint32_t *to, const struct sampler *s, uint64_t epoch)
{
    const uint32_t *turn = s->turn;
    size_t first = 0;
    for (size_t i = 0; i < s->n_shares; i++) {
        size_t n = s->shares[i].n, whole, some;
        parts_of(&whole, &some, &s->shares[i]);
        size_t at = some ? (size_t)(epoch % n * some % n) : 0;
        for (size_t k = 0; k < some; k++) *to++ = (uint32_t)first + turn[(at + k) % n];
        if (some) turn += n;
        first += n;
    }
    return to;
}

static void list_epoch(uint32_t *to, const struct sampler *s, uint64_t epoch)
{
    const uint32_t *end = to + s->n;
    size_t first = 0;
    for (size_t i = 0; i < s->n_shares; first += s->shares[i].n, i++)
        if (s->shares[i].weight >= 1) to = add_range(to, first, s->shares[i].n);
    first = 0;
    for (size_t i = 0; i < s->n_shares; first += s->shares[i].n, i++) {
        size_t whole, some;
        parts_of(&whole, &some, &s->shares[i]);
        for (size_t k = 1; k < whole; k++) to = add_range(to, first, s->shares[i].n);
    }
    to = add_fractions(to, s, epoch);
    CHECK(to == end);
}

void sampler_epoch(uint32_t *order, const struct sampler *s, uint64_t epoch)
{
    if (!s->shuffle) {
        list_epoch(order, s, epoch);
        return;
    }
    rng_permutation(order, s->n, s->seed, RNG_SHUFFLE, (uint32_t)epoch);
    if (!s->list) return;
    list_epoch(s->list, s, epoch);
    for (size_t i = 0; i < s->n; i++) order[i] = s->list[order[i]];
}
