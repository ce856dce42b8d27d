/* Batches and passes (src/data/pass.h) on random examples, each pass checked against what it is
 * made of by the slowest means: the path of every example walked and compared, shared rows counted
 * as a set of prefixes, targets counted example by example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/data/pass.h"
#include "tests/entry.h"

enum { LENGTH_MAX = 40, EXAMPLES_MAX = 64, ROWS_MAX = LENGTH_MAX * EXAMPLES_MAX };

/* ---- random examples ------------------------------------------------------------------------- */

static uint64_t drawn;
static uint32_t below(uint32_t n)
{
    return rng_u32(11, RNG_TEST, 0, drawn++) % n;
}

static void add(struct examples *x, const int32_t *ids, const uint8_t *target, size_t n)
{
    struct err e;
    if (examples_add(x, ids, target, n, &e)) fail_msg("%s", e.msg);
}

/* kind 0: anything; 1: nothing in common; 2: all the same tokens; 3: of two tokens, few targets;
 * 4: all the same tokens, few targets */
static struct examples random_examples(size_t n, unsigned kind)
{
    struct examples x = { 0 };
    int32_t ids[LENGTH_MAX];
    uint8_t target[LENGTH_MAX];
    for (size_t i = 0; i < n; i++) {
        size_t len = 2 + below(LENGTH_MAX - 2), copied = 0;
        bool same = kind == 2 || kind == 4;
        if (same && i) len = x.at[1];
        if (kind != 1 && i) {
            size_t from = same ? 0 : below((uint32_t)i), most = x.at[from + 1] - x.at[from];
            copied = same ? len : below((uint32_t)most + 1);
            if (copied > len) copied = len;
            memcpy(ids, x.ids + x.at[from], copied * sizeof *ids);
        }
        for (size_t j = copied; j < len; j++)
            ids[j] = kind == 1 && j == 0 ? (int32_t)i : (int32_t)below(kind == 3 ? 2 : 5);
        for (size_t j = 0; j < len; j++) target[j] = below(kind >= 3 ? 8 : 2) == 0;
        add(&x, ids, target, len);
    }
    return x;
}

/* ---- what an example is ---------------------------------------------------------------------- */

static size_t rows_of(const struct examples *x, size_t i)
{
    size_t n = x->at[i + 1] - x->at[i];
    while (n > 0 && !x->target[x->at[i] + n - 1]) n--;
    return n ? n - 1 : 0;
}

/* Whether rows j of two examples are one row when shared: the same tokens up to the next one. */
static bool same_row(const struct examples *x, size_t a, size_t b, size_t j)
{
    if (j >= rows_of(x, a) || j >= rows_of(x, b)) return false;
    return memcmp(x->ids + x->at[a], x->ids + x->at[b], (j + 2) * sizeof *x->ids) == 0;
}

/* Rows of a pass with these examples. */
static size_t count_rows(const struct examples *x, const uint32_t *which, size_t n, bool share)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < rows_of(x, which[i]); j++) {
            bool known = false;
            for (size_t k = 0; share && !known && k < i; k++)
                known = same_row(x, which[k], which[i], j);
            rows += !known;
        }
    return rows;
}

/* ---- what a pass is -------------------------------------------------------------------------- */

static uint32_t parent_of[ROWS_MAX];

/* Segments cover the rows in order, parents come first, positions go on where the parent ends,
 * trees are numbered as they begin. Fills parent_of. */
static void check_segments(const struct pass *p)
{
    size_t at = 0;
    uint32_t trees = 0;
    for (size_t s = 0; s < p->n_seg; s++) {
        const struct segment *seg = &p->seg[s];
        assert_int_equal(seg->start, at);
        assert_true(seg->len > 0);
        if (seg->parent < 0) {
            assert_int_equal(seg->pos, 0);
            assert_int_equal(seg->tree, trees++);
        } else {
            assert_true((size_t)seg->parent < s);
            const struct segment *up = &p->seg[seg->parent];
            assert_int_equal(seg->pos, up->pos + up->len);
            assert_int_equal(seg->tree, up->tree);
            assert_int_equal(seg->tree, trees - 1);
        }
        for (uint32_t j = 0; j < seg->len; j++, at++) {
            assert_int_equal(p->pos[at], seg->pos + j);
            const struct segment *up = seg->parent < 0 ? NULL : &p->seg[seg->parent];
            parent_of[at] = j ? (uint32_t)at - 1 : up ? up->start + up->len - 1 : UINT32_MAX;
        }
    }
    assert_int_equal(at, p->T);
}

/* Walk example ex up from its last row; through[row] and lowest[row] note each row on the way. */
static void check_path(const struct examples *x, const struct pass *p, uint32_t ex, uint32_t leaf,
                       uint32_t *weight, uint32_t *lowest)
{
    const int32_t *ids = x->ids + x->at[ex];
    const uint8_t *flag = x->target + x->at[ex];
    size_t j = rows_of(x, ex);
    if (j == 0) return;
    for (uint32_t row = leaf; j-- > 0; row = parent_of[row]) {
        assert_true(row < p->T);
        assert_int_equal(p->ids[row], ids[j]);
        assert_int_equal(p->pos[row], j);
        weight[row] += flag[j + 1];
        if (ex < lowest[row]) lowest[row] = ex;
        if (j == 0) assert_int_equal(parent_of[row], UINT32_MAX);
        for (size_t t = 0; flag[j + 1] && t < p->n_targets; t++)
            if (p->target_row[t] == row) assert_int_equal(p->target[t], ids[j + 1]);
    }
}

static void check_targets(const struct pass *p, const uint32_t *weight)
{
    size_t t = 0;
    for (uint32_t row = 0; row < p->T; row++) {
        if (!weight[row]) continue;
        assert_true(t < p->n_targets);
        assert_int_equal(p->target_row[t], row);
        assert_int_equal(p->weight[t], weight[row]);
        t++;
    }
    assert_int_equal(t, p->n_targets);
}

/* The examples of which the pass's random hits have every target. */
static void check_exact(const struct batch *b, const struct pass *p, const uint32_t *which,
                        size_t n)
{
    uint8_t hit[ROWS_MAX], by_row[ROWS_MAX] = { 0 };
    size_t exact = 0;
    for (size_t t = 0; t < p->n_targets; t++) by_row[p->target_row[t]] = hit[t] = below(4) > 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *flag = b->examples->target + b->examples->at[which[i]];
        size_t j = rows_of(b->examples, which[i]), first = 0, missed;
        bool all = j > 0;
        for (uint32_t row = b->leaf[i]; j-- > 0; row = parent_of[row])
            if (flag[j + 1] && !by_row[row]) all = false, first = j + 1;
        exact += all;
        assert_int_equal(batch_pass_example(b, i), which[i]);
        assert_int_equal(batch_example_right(&missed, b, i, hit), all);
        assert_int_equal(missed, first);
    }
    assert_int_equal(batch_pass_examples(b), n);
    assert_int_equal(batch_count_exact(b, hit), exact);
}

/* What is counted before a pass is built is what it then has; a target that only a later example
 * makes of a shared row is not seen. */
static void check_work(const struct pass_work *w, const struct pass *p, bool share)
{
    uint64_t pairs = 0;
    for (size_t row = 0; row < p->T; row++) pairs += p->pos[row] + 1;
    assert_int_equal(w->rows, p->T);
    assert_int_equal(w->pairs, pairs);
    assert_true(share ? w->targets <= p->n_targets : w->targets == p->n_targets);
}

static void check_pass(struct batch *b, size_t number)
{
    static uint32_t weight[ROWS_MAX], lowest[ROWS_MAX];
    const struct pass *p = batch_pass(b, number);
    check_work(&b->work[number], p, b->share);
    const uint32_t *which = b->order + b->first[number];
    size_t n = b->first[number + 1] - b->first[number];
    assert_true(n > 0);
    assert_true(p->T <= b->rows_max && p->n_seg <= b->seg_max);
    assert_int_equal(p->T, count_rows(b->examples, which, n, b->share));
    check_segments(p);
    memset(weight, 0, sizeof weight);
    memset(lowest, 0xff, sizeof lowest);
    size_t with_rows = 0;
    for (size_t i = 0; i < n; i++) {
        check_path(b->examples, p, which[i], b->leaf[i], weight, lowest);
        with_rows += rows_of(b->examples, which[i]) > 0;
    }
    if (!b->share) assert_int_equal(p->n_seg, with_rows);
    for (size_t row = 0; row < p->T; row++) assert_int_equal(p->example[row], lowest[row]);
    check_targets(p, weight);
    check_exact(b, p, which, n);
}

/* A pass fits, unless it is a single example, and the next example would not have fitted. */
static void check_cut(const struct batch *b)
{
    for (size_t p = 0; p < b->n_passes; p++) {
        const uint32_t *which = b->order + b->first[p];
        size_t n = b->first[p + 1] - b->first[p];
        if (n > 1) assert_true(count_rows(b->examples, which, n, b->share) <= b->pass_tokens);
        if (p + 1 == b->n_passes) continue;
        assert_true(count_rows(b->examples, which, n + 1, b->share) > b->pass_tokens);
    }
}

static void check_batch(struct batch *b, const uint32_t *which, size_t n)
{
    const struct examples *x = b->examples;
    size_t rows = 0, tokens = 0, targets = 0, times[EXAMPLES_MAX] = { 0 };
    batch_begin(b, which, n);
    assert_int_equal(b->n, n);
    assert_int_equal(b->first[0], 0);
    assert_int_equal(b->first[b->n_passes], n);
    check_cut(b);
    for (size_t p = 0; p < b->n_passes; p++) {
        check_pass(b, p);
        rows += b->pass.T;
    }
    for (size_t i = 0; i < n; i++) {
        times[which[i]]++;
        times[b->order[i]]--;
        for (size_t j = x->at[which[i]]; j < x->at[which[i] + 1]; j++) targets += x->target[j];
        tokens += x->at[which[i] + 1] - x->at[which[i]];
    }
    for (size_t i = 0; i < x->n; i++) assert_int_equal(times[i], 0);
    assert_int_equal(b->rows, rows);
    assert_int_equal(b->tokens, tokens);
    assert_int_equal(b->targets, targets);
}

static void shuffle(uint32_t *which, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = below((uint32_t)i);
        uint32_t t = which[i - 1];
        which[i - 1] = which[j];
        which[j] = t;
    }
}

static void open_batch(struct batch *b, const struct examples *x, size_t size, size_t pass_tokens,
                       bool share)
{
    struct err e;
    if (batch_init(b, x, size, pass_tokens, share, &e)) fail_msg("%s", e.msg);
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        size_t n = 1 + below(round % 8 ? 12 : EXAMPLES_MAX), size = 1 + below((uint32_t)n);
        struct examples x = random_examples(n, round % 5);
        uint32_t which[EXAMPLES_MAX];
        for (size_t i = 0; i < n; i++) which[i] = (uint32_t)i;
        for (int share = 0; share < 2; share++) {
            struct batch b;
            open_batch(&b, &x, size, 1 + below(round % 3 ? 60 : 2000), share);
            for (int again = 0; again < 2; again++) {
                shuffle(which, n);
                check_batch(&b, which, 1 + below((uint32_t)size));
            }
            batch_free(&b);
        }
        examples_free(&x);
    }
}

/* ---- single facts ---------------------------------------------------------------------------- */

/* The same examples in another order give the same passes, byte for byte. */
static void test_order_of_input(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        size_t n = 2 + below(20);
        struct examples x = random_examples(n, round % 5);
        uint32_t one[EXAMPLES_MAX], other[EXAMPLES_MAX];
        struct batch a, b;
        open_batch(&a, &x, n, 50, true);
        open_batch(&b, &x, n, 50, true);
        for (size_t i = 0; i < n; i++) one[i] = other[i] = (uint32_t)i;
        shuffle(other, n);
        batch_begin(&a, one, n);
        batch_begin(&b, other, n);
        assert_int_equal(a.n_passes, b.n_passes);
        assert_memory_equal(a.order, b.order, n * sizeof *a.order);
        for (size_t p = 0; p < a.n_passes; p++) {
            const struct pass *pa = batch_pass(&a, p), *pb = batch_pass(&b, p);
            assert_int_equal(pa->T, pb->T);
            assert_int_equal(pa->n_seg, pb->n_seg);
            if (!pa->T) continue;
            assert_memory_equal(pa->ids, pb->ids, pa->T * sizeof *pa->ids);
            assert_memory_equal(pa->example, pb->example, pa->T * sizeof *pa->example);
            assert_memory_equal(pa->seg, pb->seg, pa->n_seg * sizeof *pa->seg);
        }
        batch_free(&a);
        batch_free(&b);
        examples_free(&x);
    }
}

/* Five copies: one text of rows, every target five times. */
static void test_identical(void **state)
{
    (void)state;
    struct examples x = { 0 };
    struct batch b;
    for (size_t i = 0; i < 5; i++) add(&x, (int32_t[]){ 4, 5, 6, 7 }, (uint8_t[]){ 0, 0, 1, 1 }, 4);
    open_batch(&b, &x, 5, 3, true);
    batch_begin_range(&b, 0, 5);
    const struct pass *p = batch_pass(&b, 0);
    assert_int_equal(b.n_passes, 1);
    assert_int_equal(p->T, 3);
    assert_int_equal(p->n_seg, 1);
    assert_int_equal(p->n_targets, 2);
    assert_int_equal(p->target[0], 6);
    assert_int_equal(p->target[1], 7);
    assert_int_equal(p->weight[0], 5);
    assert_int_equal(p->weight[1], 5);
    assert_int_equal(b.targets, 10);
    batch_free(&b);
    examples_free(&x);
}

/* Tokens after the last target are not computed; a text that only continues is not a branch. */
static void test_early_end(void **state)
{
    (void)state;
    struct examples x = { 0 };
    struct batch b;
    add(&x, (int32_t[]){ 1, 2, 3, 9, 9, 9 }, (uint8_t[]){ 0, 1, 1, 0, 0, 0 }, 6);
    add(&x, (int32_t[]){ 1, 2, 3, 4, 5, 6 }, (uint8_t[]){ 0, 0, 0, 0, 0, 1 }, 6);
    open_batch(&b, &x, 2, 100, true);
    batch_begin_range(&b, 0, 1);
    assert_int_equal(batch_pass(&b, 0)->T, 2);
    batch_begin_range(&b, 0, 2);
    const struct pass *p = batch_pass(&b, 0);
    /* 1->2, 2->3 in common; 3->4, 4->5, 5->6 */
    assert_int_equal(p->T, 5);
    assert_int_equal(p->n_targets, 3);
    assert_int_equal(b.tokens, 12);
    check_pass(&b, 0);
    batch_free(&b);
    examples_free(&x);
}

/* An example without any target takes no row, alone or among others. */
static void test_no_targets(void **state)
{
    (void)state;
    struct examples x = { 0 };
    struct batch b;
    add(&x, (int32_t[]){ 1, 2, 3 }, (uint8_t[]){ 1, 0, 0 }, 3);
    add(&x, (int32_t[]){ 1, 2, 4 }, (uint8_t[]){ 0, 0, 1 }, 3);
    open_batch(&b, &x, 2, 100, true);
    batch_begin_range(&b, 0, 1);
    assert_int_equal(b.targets, 0);
    assert_int_equal(batch_pass(&b, 0)->T, 0);
    assert_int_equal(batch_pass(&b, 0)->n_seg, 0);
    batch_begin_range(&b, 0, 2);
    assert_int_equal(batch_pass(&b, 0)->T, 2);
    check_pass(&b, 0);
    batch_free(&b);
    examples_free(&x);
}

/* Memory is planned for the data that are there, not for the largest batch that is allowed. */
static void test_huge_batch_size(void **state)
{
    (void)state;
    struct examples x = random_examples(3, 0);
    struct batch b;
    open_batch(&b, &x, 1u << 20, 2048, true);
    assert_true(b.seg_max <= 6);
    batch_begin_range(&b, 0, 3);
    check_pass(&b, 0);
    batch_free(&b);
    examples_free(&x);
}

/* Examples that are joined to items are drawn together, whatever their copies and neighbours. */
static void test_items(void **state)
{
    (void)state;
    struct examples x = { 0 }, y = { 0 };
    struct err e = { 0 };
    struct batch b;
    const int32_t ids[] = { 1, 2, 3, 4 };
    const uint8_t target[] = { 0, 1, 1, 1 };
    for (size_t n = 2; n <= 4; n++) add(&x, ids, target, n);
    assert_null(x.item);
    assert_int_equal(examples_items(&x), 3);
    if (examples_join(&x, 1, &e)) fail_msg("%s", e.msg);
    add(&x, ids + 1, target, 2);
    static const size_t items[] = { 0, 1, 3, 4, 6, 7, 8, 9 };
    assert_int_equal(examples_items(&x), 3);
    if (examples_append(&x, &x, 1, 4, &e)) fail_msg("%s", e.msg); /* {2,3}, {4} again */
    add(&y, ids, target, 2);
    add(&y, ids, target, 3);
    if (examples_append(&x, &y, 0, 2, &e)) fail_msg("%s", e.msg);
    assert_int_equal(x.n, 9);
    assert_int_equal(examples_items(&x), 7);
    for (size_t k = 0; k <= 7; k++) assert_int_equal(examples_item(&x, k), items[k]);
    if (examples_append(&y, &x, 6, 9, &e)) fail_msg("%s", e.msg); /* a list that had none */
    assert_int_equal(examples_items(&y), 5);
    assert_int_equal(examples_item(&y, 5), 5);
    open_batch(&b, &x, 2, 100, true);
    assert_int_equal(b.examples_max, 4);
    batch_begin(&b, (uint32_t[]){ 3, 0 }, 2);
    assert_int_equal(b.n, 3);
    assert_int_equal(b.order[0], 0);
    assert_int_equal(b.order[1], 4);
    assert_int_equal(b.order[2], 5);
    assert_int_equal(b.targets, 1 + 2 + 3);
    batch_begin_range(&b, 4, 2);
    assert_int_equal(b.n, 2);
    batch_free(&b);
    examples_free(&x);
    examples_free(&y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_random, "pass: random batches hold every path, position and target once"),
        ENTRY(test_order_of_input, "pass: the order of examples does not change a byte"),
        ENTRY(test_identical, "pass: copies share all rows, and targets count each"),
        ENTRY(test_early_end, "pass: what follows the last target is not computed"),
        ENTRY(test_no_targets, "pass: an example without targets takes no row"),
        ENTRY(test_huge_batch_size,
              "pass: memory is planned for the data, not for the largest batch"),
        ENTRY(test_items, "pass: examples of one item are drawn together"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
