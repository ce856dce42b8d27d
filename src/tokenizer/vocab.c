#include "src/tokenizer/vocab.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"

/* ---- hash: a polynomial in a secret base, modulo 2^61 - 1 ---------------------------------------
 * Two different texts of n bytes collide for at most n of the 2^61 bases, so vocabularies cannot
 * be built to collide without knowing the base. The hash of the next longer prefix or suffix takes
 * one step. */

static const uint64_t PRIME = (1ull << 61) - 1;

static uint64_t times(uint64_t a, uint64_t b)
{
    unsigned __int128 p = (unsigned __int128)a * b;
    uint64_t sum = (uint64_t)(p & PRIME) + (uint64_t)(p >> 61);
    return sum >= PRIME ? sum - PRIME : sum;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum = a + b;
    return sum >= PRIME ? sum - PRIME : sum;
}

uint64_t vocab_hash_append(const struct vocab *v, uint64_t hash, uint8_t byte)
{
    return plus(times(hash, v->key), byte + 1u);
}

uint64_t vocab_hash_prepend(const struct vocab *v, uint64_t hash, uint8_t byte, uint64_t *power)
{
    hash = plus(hash, times(byte + 1u, *power));
    *power = times(*power, v->key);
    return hash;
}

static uint64_t secret;

static void draw_secret(void)
{
    if (getentropy(&secret, sizeof secret) != 0) secret = 0x9e3779b97f4a7c15u;
}

uint64_t process_secret(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_secret);
    return secret;
}

/* ---- table ----------------------------------------------------------------------------------- */

void vocab_release(struct vocab *v)
{
    str_free(&v->text);
    mem_free(v->pieces);
    mem_free(v->slots);
    *v = (struct vocab){ 0 };
}

static uint64_t hash_of(const struct vocab *v, const char *bytes, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++) h = vocab_hash_append(v, h, (uint8_t)bytes[i]);
    return h;
}

static size_t slot_of(const struct vocab *v, uint64_t hash)
{
    return (size_t)((hash * 0x9e3779b97f4a7c15u) >> 20) & (v->n_slots - 1);
}

int32_t vocab_find_hashed(const struct vocab *v, uint64_t hash, const char *bytes, size_t n)
{
    if (v->n_slots == 0 || n == 0) return -1;
    for (size_t s = slot_of(v, hash); v->slots[s]; s = (s + 1) & (v->n_slots - 1)) {
        const struct piece *p = &v->pieces[v->slots[s] - 1];
        if (p->n == n && memcmp(v->text.p + p->at, bytes, n) == 0) return (int32_t)v->slots[s] - 1;
    }
    return -1;
}

int32_t vocab_find(const struct vocab *v, const char *bytes, size_t n)
{
    if (n > PIECE_MOST) return -1;
    return vocab_find_hashed(v, hash_of(v, bytes, n), bytes, n);
}

static void enter(struct vocab *v, uint32_t id)
{
    const struct piece *p = &v->pieces[id];
    if (p->n == 0) return;
    size_t s = slot_of(v, hash_of(v, v->text.p + p->at, p->n));
    while (v->slots[s]) s = (s + 1) & (v->n_slots - 1);
    v->slots[s] = id + 1;
}

/* Room for one more piece, with the table at most half full. */
static int grow(struct vocab *v, struct err *e)
{
    if (v->key == 0) v->key = 256 + process_secret() % (PRIME - 256);
    if (v->n == v->cap) {
        size_t cap = v->cap ? 2 * v->cap : 256;
        struct piece *pieces = mem_resize(v->pieces, cap, sizeof *pieces, e);
        if (!pieces) return e->code;
        v->pieces = pieces;
        v->cap = cap;
    }
    if (2 * (v->n + 1) <= v->n_slots) return 0;
    size_t n_slots = v->n_slots ? 2 * v->n_slots : 512;
    uint32_t *slots = mem_alloc(n_slots, sizeof *slots, e);
    if (!slots) return e->code;
    mem_free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    for (size_t i = 0; i < v->n; i++) enter(v, (uint32_t)i);
    return 0;
}

static int check_piece(const struct vocab *v, const char *bytes, size_t n, const char *where,
                       struct err *e)
{
    size_t bad;
    if (n > PIECE_MOST) {
        return err_set(e, "%s: piece %zu: found %zu bytes, wanted at most %d", where, v->n, n,
                       PIECE_MOST);
    }
    if (!utf8_valid(bytes, n, &bad)) {
        return err_set(e, "%s: piece %zu: found %s, wanted valid UTF-8", where, v->n,
                       err_quote(bytes, n));
    }
    if (v->n == VOCAB_MOST || v->text.n > UINT32_MAX - PIECE_MOST) {
        return err_set(e, "%s: found more than %d pieces, or more than 4 GiB of them", where,
                       VOCAB_MOST);
    }
    int32_t twin = vocab_find(v, bytes, n);
    if (twin < 0) return 0;
    return err_set(e, "%s: piece %s is there twice, as %d and as %zu", where, err_quote(bytes, n),
                   twin, v->n);
}

int vocab_add(struct vocab *v, const char *bytes, size_t n, float score, enum token_type type,
              const char *where, struct err *e)
{
    int code = check_piece(v, bytes, n, where, e);
    if (!code) code = grow(v, e);
    if (code) return code;
    v->pieces[v->n] = (struct piece){
        .at = (uint32_t)v->text.n, .n = (uint32_t)n, .score = score, .type = (uint8_t)type
    };
    str_add(&v->text, bytes, n);
    code = str_error(&v->text, e);
    if (!code) enter(v, (uint32_t)v->n++);
    return code;
}
