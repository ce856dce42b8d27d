#include "src/data/pass.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

enum { NO_ROW = UINT32_MAX };

/* Examples that are read before the pages of a mapped data set are released again: a page fault
 * also loads some 64 KiB around it. */
enum { LOOKED_AT_MOST = 128 };

static const int32_t *ids_of(const struct examples *x, uint32_t i)
{
    return x->ids + x->at[i];
}
static const uint8_t *flags_of(const struct examples *x, uint32_t i)
{
    return x->target + x->at[i];
}
static size_t length_of(const struct examples *x, uint32_t i)
{
    return x->at[i + 1] - x->at[i];
}

/* The rows of an example, up to the row that predicts its last target. */
static size_t rows_of(const struct examples *x, uint32_t i)
{
    const uint8_t *flag = flags_of(x, i);
    size_t n = length_of(x, i);
    while (n > 0 && !flag[n - 1]) n--;
    return n ? n - 1 : 0;
}

static size_t common_tokens(const struct examples *x, uint32_t i, uint32_t j)
{
    const int32_t *a = ids_of(x, i), *b = ids_of(x, j);
    size_t n = length_of(x, i), m = length_of(x, j), k = 0;
    if (m < n) n = m;
    while (k < n && a[k] == b[k]) k++;
    return k;
}

static int compare_examples(const void *pa, const void *pb, void *examples)
{
    const struct examples *x = examples;
    uint32_t i = *(const uint32_t *)pa, j = *(const uint32_t *)pb;
    size_t k = common_tokens(x, i, j), n = length_of(x, i), m = length_of(x, j);
    if (k < n && k < m) return ids_of(x, i)[k] < ids_of(x, j)[k] ? -1 : 1;
    if (n != m) return n < m ? -1 : 1;
    return i < j ? -1 : i > j;
}

/* The path through the trie along the example inserted last: how many of its rows a later example
 * in sorted order could share. Rows that an earlier, longer example left count, too. */
struct pass_walk {
    size_t length;
    uint32_t last;
    bool any;
};

/* The rows that example i would share if it were inserted next. */
static size_t walk_shared(const struct pass_walk *w, const struct examples *x, uint32_t i,
                          bool share)
{
    if (!w->any || !share) return 0;
    size_t common = common_tokens(x, w->last, i), rows = rows_of(x, i);
    size_t n = common ? common - 1 : 0;
    if (n > w->length) n = w->length;
    return n < rows ? n : rows;
}

static void walk_insert(struct pass_walk *w, const struct examples *x, uint32_t i, bool share)
{
    size_t rows = rows_of(x, i), kept = 0;
    if (w->any && share) {
        size_t common = common_tokens(x, w->last, i);
        kept = common ? common - 1 : 0;
        if (kept > w->length) kept = w->length;
    }
    *w = (struct pass_walk){ .length = kept > rows ? kept : rows, .last = i, .any = true };
}

static int descending(const void *pa, const void *pb)
{
    size_t a = *(const size_t *)pa, b = *(const size_t *)pb;
    return a > b ? -1 : a < b;
}

/* The number of examples in the largest batch: those of the batch_size largest items. */
static int bound_examples(size_t *bound, const struct examples *x, size_t batch_size, struct err *e)
{
    size_t n = examples_items(x);
    *bound = batch_size < n ? batch_size : n;
    if (!x->item) return 0;
    size_t *sizes = mem_alloc(n, sizeof *sizes, e);
    if (!sizes) return e->code;
    for (size_t k = 0; k < n; k++) sizes[k] = x->item[k + 1] - x->item[k];
    qsort(sizes, n, sizeof *sizes, descending);
    *bound = 0;
    for (size_t k = 0; k < n && k < batch_size; k++) *bound += sizes[k];
    mem_free(sizes);
    return 0;
}

/* The rows of the largest pass that any batch can give: the n longest examples together, at most
 * pass_tokens, or one longer example. */
static int bound_rows(size_t *bound, const struct examples *x, size_t n, size_t pass_tokens,
                      struct err *e)
{
    size_t *rows = mem_alloc(x->n, sizeof *rows, e), sum = 0;
    if (!rows) return e->code;
    for (size_t i = 0; i < x->n; i++) {
        rows[i] = rows_of(x, (uint32_t)i);
        if (i % LOOKED_AT_MOST == 0) examples_release(x);
    }
    examples_release(x);
    qsort(rows, x->n, sizeof *rows, descending);
    for (size_t i = 0; i < n && sum < pass_tokens; i++) sum += rows[i];
    *bound = sum < pass_tokens ? sum : pass_tokens;
    if (x->n && rows[0] > *bound) *bound = rows[0];
    if (*bound == 0) *bound = 1;
    mem_free(rows);
    return 0;
}

int batch_init(struct batch *b, const struct examples *x, size_t batch_size, size_t pass_tokens,
               bool share, struct err *e)
{
    *b = (struct batch){
        .examples = x, .batch_size = batch_size, .pass_tokens = pass_tokens, .share = share
    };
    if (bound_examples(&b->examples_max, x, batch_size, e)) return e->code;
    if (bound_rows(&b->rows_max, x, b->examples_max, pass_tokens, e)) return e->code;
    /* a trie with n leaves has at most 2n - 1 segments: each ends in a fork or a leaf */
    b->seg_max = 2 * b->examples_max;
    if (b->seg_max > b->rows_max) b->seg_max = b->rows_max;
    struct pass *p = &b->pass;
    b->order = mem_alloc(b->examples_max, sizeof *b->order, e);
    b->first = mem_alloc(b->examples_max + 1, sizeof *b->first, e);
    b->leaf = mem_alloc(b->examples_max, sizeof *b->leaf, e);
    uint32_t **rows[] = { &p->pos,        &p->example,  &p->target_row,
                          &b->parent_row, &b->children, &b->path };
    b->work = mem_alloc(b->examples_max, sizeof *b->work, e);
    bool ok = b->order && b->first && b->leaf && b->work;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ok &= (*rows[i] = mem_alloc(b->rows_max, sizeof **rows[i], e)) != NULL;
    p->ids = mem_alloc(b->rows_max, sizeof *p->ids, e);
    p->target = mem_alloc(b->rows_max, sizeof *p->target, e);
    p->weight = mem_alloc(b->rows_max, sizeof *p->weight, e);
    p->seg = mem_alloc(b->seg_max, sizeof *p->seg, e);
    if (ok && p->ids && p->target && p->weight && p->seg) return 0;
    batch_free(b);
    return e->code;
}

void batch_free(struct batch *b)
{
    struct pass *p = &b->pass;
    void *all[] = { b->order, b->first,   b->leaf, b->parent_row, b->children, b->path,   p->ids,
                    p->pos,   p->example, p->seg,  p->target_row, p->target,   p->weight, b->work };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) mem_free(all[i]);
    *b = (struct batch){ 0 };
}

/* Count the rows of an example from row `shared` on; row j sees j + 1 rows, itself among them. */
static void add_work(struct pass_work *w, const struct examples *x, uint32_t ex, size_t shared)
{
    const uint8_t *flag = flags_of(x, ex);
    uint64_t rows = rows_of(x, ex);
    w->rows += rows - shared;
    w->pairs += (rows * (rows + 1) - (uint64_t)shared * (shared + 1)) / 2;
    for (size_t j = shared; j < rows; j++) w->targets += flag[j + 1];
}

/* Sort b->order and cut it. */
static void cut(struct batch *b, size_t n)
{
    const struct examples *x = b->examples;
    if (b->looked_at >= LOOKED_AT_MOST) {
        examples_release(x);
        b->looked_at = 0;
    }
    qsort_r(b->order, n, sizeof *b->order, compare_examples, (void *)(uintptr_t)x);
    b->looked_at += n;
    b->n = n;
    b->n_passes = b->tokens = b->targets = b->rows = 0;
    struct pass_walk walk = { 0 };
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t ex = b->order[i];
        size_t own = rows_of(x, ex), shared = walk_shared(&walk, x, ex, b->share);
        if (i == 0 || rows + own - shared > b->pass_tokens) {
            b->work[b->n_passes] = (struct pass_work){ 0 };
            b->first[b->n_passes++] = i;
            b->rows += rows;
            rows = shared = 0;
            walk.any = false;
        }
        rows += own - shared;
        add_work(&b->work[b->n_passes - 1], x, ex, shared);
        walk_insert(&walk, x, ex, b->share);
        b->tokens += length_of(x, ex);
        for (size_t j = 0; j < length_of(x, ex); j++) b->targets += flags_of(x, ex)[j];
    }
    b->rows += rows;
    b->first[b->n_passes] = n;
}

/* Append the examples of item k to the n that are there; returns the new number. */
static size_t add_item(struct batch *b, size_t n, size_t k)
{
    const struct examples *x = b->examples;
    size_t end = examples_item(x, k + 1);
    for (size_t i = examples_item(x, k); i < end; i++) b->order[n++] = (uint32_t)i;
    return n;
}

void batch_begin(struct batch *b, const uint32_t *which, size_t n)
{
    size_t examples = 0;
    CHECK(n <= b->batch_size);
    for (size_t i = 0; i < n; i++) examples = add_item(b, examples, which[i]);
    CHECK(examples <= b->examples_max);
    cut(b, examples);
}

void batch_begin_range(struct batch *b, uint32_t first, size_t n)
{
    size_t examples = 0;
    CHECK(n <= b->batch_size);
    for (size_t i = 0; i < n; i++) examples = add_item(b, examples, first + i);
    cut(b, examples);
}

/* ---- building a pass ------------------------------------------------------------------------- */

/* Add the rows of one example that do not exist yet; path[j] is the row of depth j. */
static void insert(struct batch *b, uint32_t ex, size_t shared)
{
    struct pass *p = &b->pass;
    const struct examples *x = b->examples;
    const int32_t *ids = ids_of(x, ex);
    const uint8_t *flag = flags_of(x, ex);
    size_t rows = rows_of(x, ex);
    for (size_t j = 0; j < rows; j++) {
        if (j >= shared) {
            size_t row = p->T++;
            CHECK(row < b->rows_max);
            b->path[j] = (uint32_t)row;
            b->parent_row[row] = j ? b->path[j - 1] : NO_ROW;
            b->children[row] = 0;
            if (j) b->children[b->path[j - 1]]++;
            p->ids[row] = ids[j];
            p->pos[row] = (uint32_t)j;
            p->example[row] = ex;
            p->target[row] = ids[j + 1];
            p->weight[row] = 0;
        }
        uint32_t row = b->path[j];
        if (ex < p->example[row]) p->example[row] = ex;
        p->weight[row] += flag[j + 1];
    }
}

/* A segment ends where a row has several children or its only child is not the next row. */
static void find_segments(struct batch *b)
{
    struct pass *p = &b->pass;
    uint32_t *segment_of = b->path; /* no longer needed as a path */
    uint32_t trees = 0;
    p->n_seg = 0;
    for (uint32_t row = 0; row < p->T; row++) {
        uint32_t parent = b->parent_row[row];
        if (parent != NO_ROW && parent + 1 == row && b->children[parent] == 1) {
            p->seg[p->n_seg - 1].len++;
        } else {
            CHECK(p->n_seg < b->seg_max);
            bool root = parent == NO_ROW;
            if (root) trees++;
            p->seg[p->n_seg++] = (struct segment){
                .start = row,
                .len = 1,
                .parent = root ? -1 : (int32_t)segment_of[parent],
                .pos = p->pos[row],
                .tree = trees - 1,
            };
        }
        segment_of[row] = (uint32_t)p->n_seg - 1;
    }
}

/* Keep only the rows with loss: target and weight were per row and become per target, in place. */
static void find_targets(struct pass *p)
{
    p->n_targets = 0;
    for (size_t row = 0; row < p->T; row++) {
        if (p->weight[row] == 0) continue;
        size_t i = p->n_targets++;
        p->target_row[i] = (uint32_t)row;
        p->target[i] = p->target[row];
        p->weight[i] = p->weight[row];
    }
}

struct pass *batch_pass(struct batch *b, size_t p)
{
    CHECK(p < b->n_passes);
    b->pass_number = p;
    b->pass.T = 0;
    struct pass_walk walk = { 0 };
    for (size_t i = b->first[p]; i < b->first[p + 1]; i++) {
        uint32_t ex = b->order[i];
        insert(b, ex, walk_shared(&walk, b->examples, ex, b->share));
        size_t rows = rows_of(b->examples, ex);
        b->leaf[i - b->first[p]] = rows ? b->path[rows - 1] : NO_ROW;
        walk_insert(&walk, b->examples, ex, b->share);
    }
    find_segments(b);
    find_targets(&b->pass);
    return &b->pass;
}

/* Whether a row's target is right. Targets are in row order, so bisection finds it. */
static bool row_hit(const struct pass *p, const uint8_t *hit, uint32_t row)
{
    size_t low = 0, high = p->n_targets;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->target_row[middle] < row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    CHECK(low < p->n_targets && p->target_row[low] == row);
    return hit[low];
}

size_t batch_pass_examples(const struct batch *b)
{
    return b->first[b->pass_number + 1] - b->first[b->pass_number];
}

uint32_t batch_pass_example(const struct batch *b, size_t i)
{
    return b->order[b->first[b->pass_number] + i];
}

bool batch_example_right(size_t *missed, const struct batch *b, size_t i, const uint8_t *hit)
{
    uint32_t example = batch_pass_example(b, i);
    size_t j = rows_of(b->examples, example);
    const uint8_t *flag = flags_of(b->examples, example);
    *missed = 0;
    bool all = j > 0;
    for (uint32_t row = b->leaf[i]; j > 0; row = b->parent_row[row], j--) {
        if (!flag[j] || row_hit(&b->pass, hit, row)) continue;
        all = false;
        *missed = j;
    }
    return all;
}

size_t batch_count_exact(const struct batch *b, const uint8_t *hit)
{
    size_t exact = 0, missed;
    for (size_t i = 0; i < batch_pass_examples(b); i++)
        exact += batch_example_right(&missed, b, i, hit);
    return exact;
}
