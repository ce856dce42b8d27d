#include "src/train/gradsum.h"

bool sum_siblings(const struct sum_node *left, const struct sum_node *right)
{
    uint64_t passes = (uint64_t)1 << left->level;
    return left->level == right->level && !(left->first & passes) &&
           left->first + passes == right->first;
}

/* The node takes in its left siblings from the end of the list, each of which makes it a larger
 * one. */
void losssum_add_node(struct losssum *s, struct sum_node node, double loss)
{
    while (s->n && sum_siblings(&s->node[s->n - 1], &node)) {
        node.first = s->node[--s->n].first;
        node.level++;
        loss += s->at[s->n];
    }
    CHECK(s->n < GRADSUM_NODES);
    s->node[s->n] = node;
    s->at[s->n++] = loss;
}

void losssum_add(struct losssum *s, double loss)
{
    losssum_add_node(s, (struct sum_node){ .first = s->next++ }, loss);
}

double losssum_total(const struct losssum *s)
{
    double total = 0;
    for (size_t i = s->n; i-- > 0;) total += s->at[i];
    return total;
}

static size_t digits(size_t n)
{
    size_t d = 0;
    while (n >> d) d++;
    return d;
}

/* The nodes of a part grow from its left end to its largest and shrink to its right end: with n
 * passes there are at most 2 * floor(log2(n + 2)) - 1 of them. */
size_t gradsum_nodes(size_t passes, bool part)
{
    return part ? 2 * digits((passes + 2) / 2) - 1 : digits(passes);
}

void gradsum_carve(struct gradsum *s, struct arena *a, size_t n, size_t passes, bool part,
                   const struct kernels *k)
{
    *s = (struct gradsum){ .n = n, .k = k };
    s->buffers = gradsum_nodes(passes, part) + (passes > 1);
    CHECK(s->buffers <= GRADSUM_NODES + 1);
    for (size_t i = 0; i < s->buffers; i++) s->buffer[i] = arena_take(a, n, sizeof(real));
}

void gradsum_begin(struct gradsum *s, size_t first)
{
    s->loss.n = 0;
    s->loss.next = first;
    s->leaf = s->buffer[0];
}

/* losssum_add() says how many nodes became one; their gradients are added in the same order. */
void gradsum_add(struct gradsum *s, double loss)
{
    size_t at = s->loss.n;
    CHECK(at < s->buffers);
    losssum_add(&s->loss, loss);
    size_t node = s->loss.n - 1;
    for (size_t i = at; i-- > node;) s->k->add(s->leaf, s->buffer[i], s->n);
    s->buffer[at] = s->buffer[node];
    s->buffer[node] = s->leaf;
    s->leaf = node + 1 < s->buffers ? s->buffer[node + 1] : NULL;
}

real *gradsum_total(struct gradsum *s)
{
    CHECK(s->loss.n);
    real *total = s->buffer[s->loss.n - 1];
    for (size_t i = s->loss.n - 1; i-- > 0;) {
        s->k->add(s->buffer[i], total, s->n);
        total = s->buffer[i];
    }
    return total;
}
