#include "src/tokenizer/match.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

void match_release(struct match *m)
{
    str_free(&m->text);
    mem_free(m->words);
    *m = (struct match){ 0 };
}

int match_add(struct match *m, const char *bytes, size_t n, int32_t id, struct err *e)
{
    CHECK(n > 0);
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 16;
        struct match_word *words = mem_resize(m->words, cap, sizeof *words, e);
        if (!words) return e->code;
        m->words = words;
        m->cap = cap;
    }
    m->words[m->n++] = (struct match_word){ (uint32_t)m->text.n, (uint32_t)n, id };
    m->first[(unsigned char)bytes[0]] = true;
    str_add(&m->text, bytes, n);
    return str_error(&m->text, e);
}

static int by_bytes(const void *a, const void *b, void *text)
{
    const struct match_word *x = a, *y = b;
    int order = memcmp((char *)text + x->at, (char *)text + y->at, x->n < y->n ? x->n : y->n);
    if (order || x->n != y->n) return order ? order : x->n > y->n ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

void match_seal(struct match *m)
{
    if (m->n) qsort_r(m->words, m->n, sizeof *m->words, by_bytes, m->text.p);
}

/* The first word in [low, high) whose byte number `depth` is at least `byte`. The words agree in
 * the bytes before it, so they are sorted by this byte; a word that ends there comes first. */
static size_t lower_bound(const struct match *m, size_t low, size_t high, size_t depth, int byte)
{
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct match_word *w = &m->words[mid];
        int here = w->n > depth ? (unsigned char)m->text.p[w->at + depth] : -1;
        if (here < byte) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

size_t match_at(const struct match *m, const char *text, size_t n, int32_t *id)
{
    if (n == 0 || !m->first[(unsigned char)text[0]]) return 0;
    size_t low = 0, high = m->n, found = 0;
    for (size_t depth = 0; depth < n && low < high; depth++) {
        int byte = (unsigned char)text[depth];
        low = lower_bound(m, low, high, depth, byte);
        high = lower_bound(m, low, high, depth, byte + 1);
        if (low < high && m->words[low].n == depth + 1) {
            found = depth + 1;
            *id = m->words[low].id;
        }
    }
    return found;
}
