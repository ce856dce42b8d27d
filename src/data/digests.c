#include "src/data/digests.h"

#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"

/* Open addressing; the digests are already random numbers. */
struct digest_slot {
    uint64_t high;
    uint32_t low, count; /* 0: empty */
};

static struct digest take(const uint8_t full[SHA256_BYTES])
{
    struct digest d;
    memcpy(&d.high, full, sizeof d.high);
    memcpy(&d.low, full + sizeof d.high, sizeof d.low);
    return d;
}

int digest_of_example(struct digest *d, const struct examples *x, size_t i, struct err *e)
{
    size_t at = x->at[i], n = x->at[i + 1] - at;
    struct sha256 h;
    uint8_t full[SHA256_BYTES];
    int code = sha256_begin(&h, e);
    if (code) return code;
#define ADD(name, type, stored) sha256_add(&h, x->name + at, n * sizeof *x->name);
    EXAMPLE_COLUMNS(ADD)
#undef ADD
    sha256_end(&h, full);
    *d = take(full);
    return 0;
}

int digest_of_bytes(struct digest *d, const void *bytes, size_t n, struct err *e)
{
    uint8_t full[SHA256_BYTES];
    int code = sha256_of(full, bytes, n, e);
    if (!code) *d = take(full);
    return code;
}

/* The slot of d, or the empty slot where d would go. */
static struct digest_slot *find(const struct digests *s, uint64_t high, uint32_t low)
{
    size_t i = (size_t)high & (s->n_slots - 1);
    while (s->slots[i].count && (s->slots[i].high != high || s->slots[i].low != low))
        i = (i + 1) & (s->n_slots - 1);
    return &s->slots[i];
}

static int grow(struct digests *s, struct err *e)
{
    struct digests old = *s;
    s->n_slots = old.n_slots ? 2 * old.n_slots : 1024;
    s->slots = mem_alloc(s->n_slots, sizeof *s->slots, e);
    if (!s->slots) {
        *s = old;
        return e->code;
    }
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].count) *find(s, old.slots[i].high, old.slots[i].low) = old.slots[i];
    mem_free(old.slots);
    return 0;
}

int digests_put(struct digests *s, uint32_t *copies, const struct digest *d, struct err *e)
{
    if (4 * (s->n + 1) > 3 * s->n_slots && grow(s, e)) return e->code;
    struct digest_slot *slot = find(s, d->high, d->low);
    *copies = slot->count;
    if (slot->count == 0) {
        *slot = (struct digest_slot){ d->high, d->low, 0 };
        s->n++;
    }
    if (slot->count < UINT32_MAX) slot->count++;
    return 0;
}

size_t digests_shared(const struct digests *of, const struct digests *in)
{
    size_t n = 0;
    for (size_t i = 0; in->n && i < of->n_slots; i++) {
        const struct digest_slot *slot = &of->slots[i];
        if (slot->count && find(in, slot->high, slot->low)->count) n += slot->count;
    }
    return n;
}

uint32_t digests_most(const struct digests *s)
{
    uint32_t most = 0;
    for (size_t i = 0; i < s->n_slots; i++)
        if (most < s->slots[i].count) most = s->slots[i].count;
    return most;
}

void digests_free(struct digests *s)
{
    mem_free(s->slots);
    *s = (struct digests){ 0 };
}
