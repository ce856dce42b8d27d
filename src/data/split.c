#include "src/data/split.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/base/mem.h"

int split_add(struct split_records *r, const struct split_record *record, struct err *e)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap + r->cap / 2 : 1024;
        struct split_record *at = mem_resize(r->at, cap, sizeof *at, e);
        if (!at) return e->code;
        r->at = at;
        r->cap = cap;
    }
    r->at[r->n++] = *record;
    return 0;
}

void split_free(struct split_records *r)
{
    mem_free(r->at);
    *r = (struct split_records){ 0 };
}

/* ---- groups ---------------------------------------------------------------------------------- */

static void add_u64(struct sha256 *h, uint64_t v, size_t bytes)
{
    uint8_t little[8];
    for (size_t i = 0; i < bytes; i++) little[i] = (uint8_t)(v >> (8 * i));
    sha256_add(h, little, bytes);
}

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Hash a text without the white space before and after it, because templates that strip make
 * questions equal that differ only in it. */
static void add_text(struct sha256 *h, const char *text, size_t n, bool first, bool last)
{
    while (last && n && is_white(text[n - 1])) n--;
    while (first && n && is_white(*text)) text++, n--;
    sha256_add(h, text, n);
}

/* The first user turn; of segments, the turns before the first learnt one; otherwise all turns. */
static void choose_turns(size_t *from, size_t *to, const struct conversation *c)
{
    size_t first = 0;
    bool segments = c->kind == RECORD_SEGMENTS;
    enum role wanted = segments ? ROLE_ASSISTANT : ROLE_USER;
    while (first < c->n && c->turns[first].role != wanted) first++;
    bool whole = segments ? first == 0 : first == c->n;
    *from = whole || segments ? 0 : first;
    *to = whole ? c->n : segments ? first : first + 1;
}

static void add_question(struct sha256 *h, const struct conversation *c)
{
    size_t from, to;
    choose_turns(&from, &to, c);
    for (size_t i = from; i < to; i++) {
        const struct turn *t = &c->turns[i];
        bool last = i + 1 == to;
        add_text(h, t->text, t->n, i == from, last && !t->input);
        if (t->input) sha256_add(h, "\n\n", 2);
        if (t->input) add_text(h, t->input, t->input_n, false, last);
    }
}

int split_group(uint64_t *group, const struct conversation *c, uint64_t seed, struct err *e)
{
    static const char purpose[] = "lorac split 2\n";
    struct sha256 h;
    int code = sha256_begin(&h, e);
    if (code) return code;
    sha256_add(&h, purpose, sizeof purpose - 1);
    add_u64(&h, seed, 8);
    if (c->kind == RECORD_TOKENS) {
        for (size_t i = 0; i < c->n_ids; i++) add_u64(&h, (uint32_t)c->ids[i], 4);
    } else {
        add_question(&h, c);
    }
    uint8_t digest[SHA256_BYTES];
    sha256_end(&h, digest);
    *group = 0;
    for (size_t i = 0; i < 8; i++) *group |= (uint64_t)digest[i] << (8 * i);
    return 0;
}

/* ---- the choice ------------------------------------------------------------------------------ */

static int by_group(const void *a, const void *b, void *records)
{
    const struct split_record *all = records;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    uint64_t x = all[i].group, y = all[j].group;
    return x != y ? (x > y) - (x < y) : (i > j) - (i < j);
}

static size_t distance(size_t a, size_t b)
{
    return a > b ? a - b : b - a;
}

/* Go through the groups in the order of their numbers. */
static void choose_groups(struct split_choice *c, struct split_records *r, const size_t *order)
{
    for (size_t i = 0, end; i < r->n; i = end) {
        const struct split_record *first = &r->at[order[i]];
        size_t items = 0;
        for (end = i; end < r->n && r->at[order[end]].group == first->group; end++)
            items += r->at[order[end]].items;
        if (items == 0) continue;
        c->groups++;
        if (items > c->largest || (items == c->largest && order[i] < c->largest_first)) {
            c->largest = items;
            c->largest_first = order[i];
        }
        if (distance(c->validation + items, c->wanted) > distance(c->validation, c->wanted))
            continue;
        c->validation += items;
        for (size_t k = i; k < end; k++) r->at[order[k]].validation = true;
    }
}

int split_choose(struct split_choice *c, struct split_records *r, double fraction, struct err *e)
{
    *c = (struct split_choice){ 0 };
    size_t *order = mem_alloc(r->n, sizeof *order, e);
    if (!order) return e->code;
    for (size_t i = 0; i < r->n; i++) {
        order[i] = i;
        r->at[i].validation = false;
        c->items += r->at[i].items;
    }
    c->wanted = (size_t)(fraction * (double)c->items + 0.5);
    if (r->n) qsort_r(order, r->n, sizeof *order, by_group, r->at);
    choose_groups(c, r, order);
    mem_free(order);
    return 0;
}
