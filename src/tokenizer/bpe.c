#include "src/tokenizer/bpe.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/tokenizer/vocab.h"

/* ---- rules ----------------------------------------------------------------------------------- */

int bpe_init(struct bpe *b, struct err *e)
{
    *b = (struct bpe){ 0 };
    b->secret[0] = process_secret();
    b->secret[1] = (process_secret() * 0x9e3779b97f4a7c15u) | 1;
    b->n_slots = 1024;
    b->slots = mem_alloc(b->n_slots, sizeof *b->slots, e);
    if (!b->slots) return e->code;
    for (size_t i = 0; i < b->n_slots; i++) b->slots[i].rank = BPE_NONE;
    return 0;
}

void bpe_release(struct bpe *b)
{
    mem_free(b->slots);
    mem_free(b->unused);
    *b = (struct bpe){ 0 };
}

static inline size_t slot_of(const struct bpe *b, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    unsigned __int128 m = (unsigned __int128)(pair ^ b->secret[0]) * b->secret[1];
    return (size_t)((uint64_t)m ^ (uint64_t)(m >> 64)) & (b->n_slots - 1);
}

const struct bpe_rule *bpe_find(const struct bpe *b, uint32_t left, uint32_t right)
{
    for (size_t s = slot_of(b, left, right);; s = (s + 1) & (b->n_slots - 1)) {
        const struct bpe_rule *r = &b->slots[s];
        if (r->rank == BPE_NONE) return NULL;
        if (r->left == left && r->right == right) return r;
    }
}

static void enter(struct bpe *b, const struct bpe_rule *r)
{
    size_t s = slot_of(b, r->left, r->right);
    while (b->slots[s].rank != BPE_NONE) s = (s + 1) & (b->n_slots - 1);
    b->slots[s] = *r;
}

static int grow(struct bpe *b, struct err *e)
{
    struct bpe old = *b;
    b->slots = mem_alloc(2 * old.n_slots, sizeof *b->slots, e);
    if (!b->slots) {
        *b = old;
        return e->code;
    }
    b->n_slots = 2 * old.n_slots;
    for (size_t i = 0; i < b->n_slots; i++) b->slots[i].rank = BPE_NONE;
    for (size_t i = 0; i < old.n_slots; i++) {
        if (old.slots[i].rank != BPE_NONE) enter(b, &old.slots[i]);
    }
    mem_free(old.slots);
    return 0;
}

int bpe_add(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t joined,
            struct err *e)
{
    CHECK(rank != BPE_NONE);
    if (2 * (b->n + 1) > b->n_slots && grow(b, e)) return e->code;
    enter(b, &(struct bpe_rule){ left, right, rank, joined });
    b->n++;
    return 0;
}

/* ---- heap of (rank << 32 | position), lowest first ------------------------------------------- */

static void sift_up(uint64_t *heap, size_t i)
{
    uint64_t v = heap[i];
    while (i > 0 && heap[(i - 1) / 2] > v) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = v;
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t v = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= v) break;
        heap[i] = heap[child];
    }
    heap[i] = v;
}

static uint64_t pop(struct bpe_work *w)
{
    uint64_t least = w->heap[0];
    w->heap[0] = w->heap[--w->heap_n];
    sift_down(w->heap, w->heap_n, 0);
    return least;
}

/* ---- joining --------------------------------------------------------------------------------- */

void bpe_work_release(struct bpe_work *w)
{
    mem_free(w->symbols);
    mem_free(w->heap);
    mem_free(w->undo);
    *w = (struct bpe_work){ 0 };
}

int bpe_work_begin(struct bpe_work *w, const struct bpe *b, struct err *e)
{
    w->n = 0;
    mem_free(w->undo);
    w->undo = NULL;
    if (b->n_unused == 0) return 0;
    w->undo = mem_alloc(b->n_unused, sizeof *w->undo, e);
    if (!w->undo) return e->code;
    memset(w->undo, 0xff, b->n_unused * sizeof *w->undo);
    return 0;
}

int bpe_work_reserve(struct bpe_work *w, size_t n, struct err *e)
{
    w->n = 0;
    if (n <= w->cap) return 0;
    size_t cap = w->cap ? w->cap : 64;
    while (cap < n) cap += cap / 2;
    struct bpe_symbol *symbols = mem_resize(w->symbols, cap, sizeof *symbols, e);
    if (!symbols) return e->code;
    w->symbols = symbols;
    /* There are n - 1 pairs at the start; each of at most n - 1 joins removes one and adds two. */
    uint64_t *heap = mem_resize(w->heap, cap, 2 * sizeof *heap, e);
    if (!heap) return e->code;
    w->heap = heap;
    w->cap = cap;
    return 0;
}

/* Note the rule for symbol i and the symbol after it; true when there is a rule. */
static inline bool look_up(struct bpe_work *w, const struct bpe *b, uint32_t i)
{
    struct bpe_symbol *s = &w->symbols[i];
    const struct bpe_rule *r = NULL;
    s->rank = BPE_NONE;
    w->steps++;
    if (s->next != BPE_NONE) r = bpe_find(b, s->id, w->symbols[s->next].id);
    if (!r) return false;
    s->rank = r->rank;
    s->joined = r->joined;
    if (b->unused && b->unused[r->joined] != BPE_NONE) {
        w->undo[b->unused[r->joined]] = (struct bpe_pair){ r->left, r->right };
    }
    w->heap[w->heap_n++] = (uint64_t)r->rank << 32 | i;
    return true;
}

static void join(struct bpe_work *w, const struct bpe *b, uint32_t i)
{
    struct bpe_symbol *s = &w->symbols[i], *gone = &w->symbols[s->next];
    s->id = s->joined;
    s->next = gone->next;
    if (s->next != BPE_NONE) w->symbols[s->next].prev = i;
    gone->rank = BPE_NONE;
    if (s->prev != BPE_NONE && look_up(w, b, s->prev)) sift_up(w->heap, w->heap_n - 1);
    if (look_up(w, b, i)) sift_up(w->heap, w->heap_n - 1);
}

void bpe_run(struct bpe_work *w, const struct bpe *b)
{
    size_t n = w->n;
    w->heap_n = 0;
    for (size_t i = 0; i < n; i++) {
        w->symbols[i].prev = i ? (uint32_t)i - 1 : BPE_NONE;
        w->symbols[i].next = i + 1 < n ? (uint32_t)i + 1 : BPE_NONE;
    }
    for (size_t i = 0; i < n; i++) look_up(w, b, (uint32_t)i);
    for (size_t i = w->heap_n / 2; i-- > 0;) sift_down(w->heap, w->heap_n, i);
    while (w->heap_n) {
        uint64_t least = pop(w);
        uint32_t i = (uint32_t)least;
        w->steps++;
        /* An entry is out of date when its pair has changed since. If the new pair at this place
         * has the same rank, it has its own entry with the same key, and either entry may serve. */
        if (w->symbols[i].rank == (uint32_t)(least >> 32)) join(w, b, i);
    }
}

struct bpe_pair bpe_undo(const struct bpe_work *w, const struct bpe *b, uint32_t id)
{
    struct bpe_pair none = { BPE_NONE, BPE_NONE };
    bool known = b->unused && id < b->n_symbols && b->unused[id] != BPE_NONE;
    return known ? w->undo[b->unused[id]] : none;
}
