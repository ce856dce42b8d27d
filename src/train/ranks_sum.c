/* Dividing the passes among the ranks, and adding up what they computed. */
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/train/ranks.h"
#include "src/train/ranks_link.h"

/* ---- shares ---------------------------------------------------------------------------------- */

/* The end of the share that begins with pass `at` and costs at most `most`. */
static size_t fill(const struct batch *b, size_t at, uint64_t most)
{
    uint64_t sum = 0;
    while (at < b->n_passes && sum + b->work[at].cost <= most) sum += b->work[at++].cost;
    return at;
}

static bool fits(const struct batch *b, uint64_t most, size_t ranks)
{
    size_t at = 0;
    for (size_t r = 0; r < ranks; r++) at = fill(b, at, most);
    return at == b->n_passes;
}

/* The least cost that the most costly of contiguous shares can have. */
static uint64_t least_most(const struct batch *b, size_t ranks)
{
    uint64_t low = 0, high = 0; /* too little; enough */
    for (size_t i = 0; i < b->n_passes; i++) high += b->work[i].cost;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        *(fits(b, middle, ranks) ? &high : &low) = middle;
    }
    return high;
}

void ranks_share(size_t *from, size_t *to, const struct batch *b)
{
    uint64_t most = least_most(b, ranks_n());
    *from = 0;
    *to = fill(b, 0, most);
    for (size_t r = 0; r < ranks_me(); r++) {
        *from = *to;
        *to = fill(b, *from, most);
    }
}

/* ---- the tree -------------------------------------------------------------------------------- */

/* Put the nodes of all ranks into `all`, (ranks). */
static void gather_losses(struct losssum *all, const struct losssum *s)
{
    double start = term_now_s();
    ranks_link_now()->gather(all, s, sizeof *s);
    ranks_add_communication(term_now_s() - start);
}

static double total_loss(const struct losssum *all, size_t ranks)
{
    struct losssum sum = { 0 };
    for (size_t r = 0; r < ranks; r++)
        for (size_t i = 0; i < all[r].n; i++) losssum_add_node(&sum, all[r].node[i], all[r].at[i]);
    return losssum_total(&sum);
}

double ranks_sum_losses(const struct losssum *s)
{
    const struct ranks_link *l = ranks_link_now();
    if (!l) return losssum_total(s);
    struct losssum *all = ranks_losses();
    gather_losses(all, s);
    return total_loss(all, l->n);
}

/* A gradient is summed in rounds. In each, every rank has a slice of `slice` values: it gets this
 * slice of all nodes of all ranks, adds them up in the tree's order, and gives the sum to all. So
 * each value travels about as often as in a ring, whatever the number of ranks. */
struct rounds {
    const struct ranks_link *link;
    const struct losssum *all; /* whose nodes the ranks have */
    size_t slice;
    real *out, *in; /* slices that this rank sends, and gets */
    size_t *out_bytes, *in_bytes;
};

/* The values of rank r's slice in the round that begins with value `at`. */
static size_t slice_of(const struct rounds *x, size_t r, size_t at, size_t n)
{
    size_t begin = at + r * x->slice;
    if (begin >= n) return 0;
    return n - begin < x->slice ? n - begin : x->slice;
}

static void exchange(const struct rounds *x, const struct gradsum *s, size_t at)
{
    size_t me = x->link->me, mine = slice_of(x, me, at, s->n);
    real *to = x->out;
    for (size_t r = 0; r < x->link->n; r++) {
        size_t n = slice_of(x, r, at, s->n);
        x->out_bytes[r] = s->loss.n * n * sizeof(real);
        x->in_bytes[r] = x->all[r].n * mine * sizeof(real);
        for (size_t i = 0; i < s->loss.n; i++, to += n)
            memcpy(to, s->buffer[i] + at + r * x->slice, n * sizeof(real));
    }
    x->link->exchange(x->in, x->in_bytes, x->out, x->out_bytes);
}

/* The sum of the nodes that came in, n values of each: as losssum_add_node() and gradsum_total(),
 * on nodes that lie one after the other. */
static const real *add_up(const struct rounds *x, size_t n, const struct kernels *k)
{
    struct {
        struct sum_node node;
        real *at;
    } open[GRADSUM_NODES];
    size_t depth = 0;
    real *at = x->in;
    for (size_t r = 0; r < x->link->n; r++) {
        for (size_t i = 0; i < x->all[r].n; i++, at += n) {
            struct sum_node node = x->all[r].node[i];
            while (depth && sum_siblings(&open[depth - 1].node, &node)) {
                k->add(at, open[--depth].at, n);
                node.first = open[depth].node.first;
                node.level++;
            }
            CHECK(depth < GRADSUM_NODES);
            open[depth].node = node;
            open[depth++].at = at;
        }
    }
    CHECK(depth);
    while (--depth) k->add(open[depth - 1].at, open[depth].at, n);
    return open[0].at;
}

/* One round, which begins with value `at`, into the same values of `sum`. */
static void make_round(const struct rounds *x, real *sum, const struct gradsum *s, size_t at)
{
    size_t me = x->link->me, n = slice_of(x, me, at, s->n);
    exchange(x, s, at);
    if (n) memcpy(sum + at + me * x->slice, add_up(x, n, s->k), n * sizeof(real));
    for (size_t r = 0; r < x->link->n; r++)
        x->out_bytes[r] = slice_of(x, r, at, s->n) * sizeof(real);
    x->link->join(sum + at, x->out_bytes);
}

enum { WORK_VALUES = 1 << 22 };

/* Of a value, a rank sends at most all its nodes, and gets at most as many from each rank. */
size_t ranks_work(size_t n, size_t passes)
{
    size_t ranks = ranks_n(), most = 2 * gradsum_nodes(passes, true) * (n + ranks);
    if (ranks == 1) return 0;
    return most < WORK_VALUES ? most : WORK_VALUES;
}

static size_t count_nodes(const struct rounds *x)
{
    size_t all = 0;
    for (size_t r = 0; r < x->link->n; r++) all += x->all[r].n;
    return all;
}

/* The largest slice for which there is room on every rank. */
static size_t choose_slice(const struct rounds *x, size_t n, size_t n_work)
{
    size_t most = 0, ranks = x->link->n;
    for (size_t r = 0; r < ranks; r++)
        if (x->all[r].n > most) most = x->all[r].n;
    size_t slice = n_work / (most * ranks + count_nodes(x)), enough = (n + ranks - 1) / ranks;
    CHECK(slice);
    return slice < enough ? slice : enough;
}

/* The first buffer gets the sum: a round reads its part of the buffers before it writes there. What
 * comes in is never at the address of what goes out, also where nothing goes out: Open MPI would
 * take that for MPI_IN_PLACE. */
real *ranks_sum_tree(double *loss, struct gradsum *s, real *work, size_t n_work)
{
    const struct ranks_link *l = ranks_link_now();
    if (!l) {
        *loss = losssum_total(&s->loss);
        return gradsum_total(s);
    }
    struct rounds x = { .link = l, .all = ranks_losses() };
    gather_losses(ranks_losses(), &s->loss);
    *loss = total_loss(x.all, l->n);
    double start = term_now_s();
    x.slice = choose_slice(&x, s->n, n_work);
    x.in = work;
    x.out = work + count_nodes(&x) * x.slice;
    x.out_bytes = ranks_sizes();
    x.in_bytes = x.out_bytes + l->n;
    for (size_t at = 0; at < s->n; at += x.slice * l->n) make_round(&x, s->buffer[0], s, at);
    ranks_add_communication(term_now_s() - start);
    return s->buffer[0];
}

/* ---- numbers --------------------------------------------------------------------------------- */

void ranks_sum_counts(double *counts, size_t n)
{
    enum { MOST = GRADSUM_NODES };
    const struct ranks_link *l = ranks_link_now();
    if (!l) return;
    struct losssum *all = ranks_losses(), mine = { 0 };
    CHECK(n <= MOST);
    memcpy(mine.at, counts, n * sizeof *counts);
    l->gather(all, &mine, sizeof mine);
    for (size_t i = 0; i < n; i++) counts[i] = 0;
    for (size_t r = 0; r < l->n; r++)
        for (size_t i = 0; i < n; i++) counts[i] += all[r].at[i];
}

uint64_t ranks_least(uint64_t number)
{
    const struct ranks_link *l = ranks_link_now();
    if (!l) return number;
    struct losssum *all = ranks_losses();
    l->gather(all, &(struct losssum){ .next = number }, sizeof *all);
    for (size_t r = 0; r < l->n; r++)
        if (all[r].next < number) number = all[r].next;
    return number;
}

struct ranks_spread ranks_spread(double x)
{
    const struct ranks_link *l = ranks_link_now();
    struct ranks_spread s = { x, x, x };
    if (!l) return s;
    struct losssum *all = ranks_losses();
    double sum = 0;
    l->gather(all, &(struct losssum){ .at = { x } }, sizeof *all);
    for (size_t r = 0; r < l->n; r++) {
        double other = all[r].at[0];
        sum += other;
        if (other < s.least) s.least = other;
        if (other > s.most) s.most = other;
    }
    s.mean = sum / (double)l->n;
    return s;
}

/* In turn, each rank's numbers go to all: only a long evaluation has many, and it asks once. */
void ranks_largest(uint32_t *x, uint32_t *work, size_t n)
{
    const struct ranks_link *l = ranks_link_now();
    for (size_t r = 0; l && r < l->n; r++) {
        memcpy(work, x, n * sizeof *x);
        l->broadcast(work, n * sizeof *x, r);
        for (size_t i = 0; i < n; i++)
            if (work[i] > x[i]) x[i] = work[i];
    }
}

void ranks_broadcast(void *bytes, size_t n)
{
    const struct ranks_link *l = ranks_link_now();
    if (!l) return;
    double start = term_now_s();
    l->broadcast(bytes, n, 0);
    ranks_add_communication(term_now_s() - start);
}

void ranks_gather(void *all, const void *mine, size_t n)
{
    const struct ranks_link *l = ranks_link_now();
    if (l) {
        l->gather(all, mine, n);
    } else {
        memcpy(all, mine, n);
    }
}
