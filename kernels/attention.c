/* Causal softmax attention over the segments of a pass, in tiles.
 *
 * For a query row q and the keys it may see (every row of its segment's ancestors, its own segment
 * up to itself), with scale = 1/sqrt(D):
 *     s = scale q K^T,   p = softmax(s),   o = p V
 * The forward keeps only lse = log sum exp(s) per row and head; the backward recomputes
 * p = exp(s - lse) tile by tile (Dao, "FlashAttention-2", 2023):
 *     dV += p^T do,   dp = do V^T,   ds = p (dp - delta) scale,   delta = sum(do o)
 *     dQ += ds K,     dK += ds^T Q
 *
 * In a tile of scores the queries lie side by side, and each key has a row (s^T). So the softmax
 * runs over vectors of queries, without sums across lanes. p^T is never packed: as it is, it is the
 * right-hand side of o^T = V^T p^T; read across, it is the left-hand side of dV = p^T do. Keys and
 * values are packed, once per segment and key head, into the strips of matmul.c. Where a tile
 * crosses the diagonal, scores that no query sees are left out, in whole strips and vectors.
 *
 * Every (segment, query tile, head) is a job of its own. In the backward the jobs of a tree and
 * head run one after the other, because its keys gather gradients from all its queries; heads that
 * share a key head write to copies of dK and dV that are added in order. So nothing depends on
 * which thread does what. */

#include <sched.h>
#include <stdatomic.h>

enum { ATTENTION_Q = 96, ATTENTION_K = 144 };
_Static_assert(ATTENTION_Q % TILE_COLS == 0 && ATTENTION_Q % TILE_ROWS == 0, "tiles fill");
_Static_assert(ATTENTION_K % TILE_ROWS == 0, "keys are rows");

/* A tile of queries, and its place in the backward's order: the n-th of its tree. */
struct query_tile {
    uint32_t seg, i0, tree, turn;
};

/* Sizes, and where a segment's packed keys begin (in keys, padded to whole strips). */
struct attention {
    const struct segment *seg;
    size_t n_seg, n_tiles, T, H, G, D;
    size_t D_rows, D_cols; /* padded to whole strips, to whole vectors */
    size_t keys_pad;       /* sum over segments of round_up(len, TILE_ROWS) */
    size_t *key_start;     /* n_seg */
    struct query_tile *tile;
    uint32_t *begin;   /* n_tiles + 1: where the tiles of a turn begin */
    atomic_uint *done; /* tiles done of each (tree, head) */
    real *k, *v;       /* strips of keys: for K q^T and V do^T */
    real *channels;    /* strips of channels: of v for V^T p^T, in the backward of k for K^T ds^T */
    real *dk, *dv;     /* (H, keys_pad, D_cols): gradients per query head */
    uintptr_t scratch;
    size_t scratch_bytes; /* per thread */
};

/* The work memory of one thread. */
struct attention_tile {
    real *s, *dp;       /* (ATTENTION_K, ATTENTION_Q), dp also for ds */
    real *q_t, *dout_t; /* (D, ATTENTION_Q) */
    real *q, *dout;     /* (ATTENTION_Q, D_cols) */
    real *acc;          /* (D_rows, ATTENTION_Q): o^T or dq^T */
    real *top, *sum;    /* per query: running maximum and sum; lse and delta */
};

/* The next n bytes at address *p, which is a number so that sizes can be counted from 0. */
static void *take(uintptr_t *p, size_t n)
{
    uintptr_t at = (*p + 127) / 128 * 128;
    *p = at + n;
    return (void *)at;
}

static real *take_reals(uintptr_t *p, size_t n)
{
    return take(p, n * sizeof(real));
}

static struct attention_tile attention_tile_carve(uintptr_t *p, const struct attention *a)
{
    return (struct attention_tile){
        .s = take_reals(p, ATTENTION_K * ATTENTION_Q),
        .dp = take_reals(p, ATTENTION_K * ATTENTION_Q),
        .q_t = take_reals(p, a->D * ATTENTION_Q),
        .dout_t = take_reals(p, a->D * ATTENTION_Q),
        .q = take_reals(p, ATTENTION_Q * a->D_cols),
        .dout = take_reals(p, ATTENTION_Q * a->D_cols),
        .acc = take_reals(p, a->D_rows * ATTENTION_Q),
        .top = take_reals(p, ATTENTION_Q),
        .sum = take_reals(p, ATTENTION_Q),
    };
}

/* One description of the workspace, which counts and places it; keys_pad and n_tiles are upper
 * bounds. */
static uintptr_t attention_carve(struct attention *a, uintptr_t p, size_t threads)
{
    a->D_rows = round_up(a->D, TILE_ROWS);
    a->D_cols = round_up(a->D, VL);
    a->key_start = take(&p, a->n_seg * sizeof *a->key_start);
    a->tile = take(&p, a->n_tiles * sizeof *a->tile);
    a->begin = take(&p, (a->n_tiles + 1) * sizeof *a->begin);
    a->done = take(&p, a->n_seg * a->H * sizeof *a->done);
    a->k = take_reals(&p, a->G * a->keys_pad * a->D);
    a->v = take_reals(&p, a->G * a->keys_pad * a->D);
    a->channels = take_reals(&p, a->G * a->keys_pad * a->D_rows);
    a->dk = take_reals(&p, a->H * a->keys_pad * a->D_cols);
    a->dv = take_reals(&p, a->H * a->keys_pad * a->D_cols);
    uintptr_t end = 0;
    attention_tile_carve(&end, a);
    a->scratch_bytes = end + 256;
    a->scratch = p;
    return p + threads * a->scratch_bytes;
}

static size_t attention_work_bytes(size_t T, size_t n_seg, size_t H, size_t G, size_t D)
{
    struct attention a = {
        .n_seg = n_seg,
        .n_tiles = T / ATTENTION_Q + n_seg,
        .T = T,
        .H = H,
        .G = G,
        .D = D,
        .keys_pad = T + n_seg * (TILE_ROWS - 1),
    };
    return attention_carve(&a, 0, (size_t)omp_get_max_threads()) + 256;
}

/* Put the first tile of every tree before the second of any, so that as many trees as possible keep
 * threads busy. */
static void order_tiles(struct attention *a)
{
    memset(a->begin, 0, (a->n_tiles + 1) * sizeof *a->begin);
    for (int placing = 0; placing < 2; placing++) {
        uint32_t turn = 0;
        for (uint32_t s = 0; s < a->n_seg; s++) {
            uint32_t tree = a->seg[s].tree;
            if (s > 0 && tree != a->seg[s - 1].tree) turn = 0;
            for (uint32_t i0 = 0; i0 < a->seg[s].len; i0 += ATTENTION_Q, turn++) {
                if (placing) {
                    a->tile[a->begin[turn]++] = (struct query_tile){ s, i0, tree, turn };
                } else {
                    a->begin[turn + 1]++;
                }
            }
        }
        for (size_t i = 1; !placing && i <= a->n_tiles; i++) a->begin[i] += a->begin[i - 1];
    }
}

static struct attention attention_begin(const struct segment *seg, size_t n_seg, size_t T, size_t H,
                                        size_t G, size_t D, void *work)
{
    struct attention a = { .seg = seg, .n_seg = n_seg, .T = T, .H = H, .G = G, .D = D };
    for (size_t i = 0; i < n_seg; i++) {
        a.keys_pad += round_up(seg[i].len, TILE_ROWS);
        a.n_tiles += (seg[i].len + ATTENTION_Q - 1) / ATTENTION_Q;
    }
    attention_carve(&a, (uintptr_t)work, (size_t)omp_get_max_threads());
    for (size_t i = 0, at = 0; i < n_seg; i++) {
        a.key_start[i] = at;
        at += round_up(seg[i].len, TILE_ROWS);
    }
    return a;
}

static struct attention_tile attention_scratch(const struct attention *a)
{
    uintptr_t p = a->scratch + (size_t)omp_get_thread_num() * a->scratch_bytes;
    return attention_tile_carve(&p, a);
}

/* ---- keys and values, packed ----------------------------------------------------------------- */

/* Strips of segment s and key head g: of keys, each over D; of channels, each over the segment's
 * keys. */
static inline real *key_strips(const struct attention *a, real *strips, size_t s, size_t g)
{
    return strips + (g * a->keys_pad + a->key_start[s]) * a->D;
}

static inline real *channel_strips(const struct attention *a, real *strips, size_t s, size_t g)
{
    return strips + (g * a->keys_pad + a->key_start[s]) * a->D_rows;
}

/* Pack x's rows (T, G, D) for every segment and key head. */
static void pack_keys(const struct attention *a, real *keys, real *channels, const real *x)
{
    size_t ld = a->G * a->D;
#pragma omp parallel
    for (size_t s = 0; s < a->n_seg; s++) {
        const real *from = x + a->seg[s].start * ld;
        size_t n = a->seg[s].len, rows = keys ? n : 0, columns = channels ? a->D : 0;
        /* strip by strip: there are fewer key heads than threads */
#pragma omp for collapse(2) schedule(static) nowait
        for (size_t g = 0; g < a->G; g++)
            for (size_t i = 0; i < rows; i += TILE_ROWS)
                pack_strip_rows(key_strips(a, keys, s, g) + i * a->D, from + g * a->D + i * ld, ld,
                                min_size(TILE_ROWS, n - i), a->D);
#pragma omp for collapse(2) schedule(static) nowait
        for (size_t g = 0; g < a->G; g++)
            for (size_t d = 0; d < columns; d += TILE_ROWS)
                pack_strip_cols(channel_strips(a, channels, s, g) + d * n, from + g * a->D + d, ld,
                                min_size(TILE_ROWS, a->D - d), n);
    }
}

/* ---- a tile of queries ----------------------------------------------------------------------- */

/* out (n, m) = x (m, n) transposed, their rows ldo and ldx apart */
static void transposed(real *out, size_t ldo, const real *x, size_t ldx, size_t m, size_t n)
{
    size_t i = 0;
    for (; i + VL <= m; i += VL) {
        size_t j = 0;
        for (; j + VL <= n; j += VL) {
            vec r[VL];
#pragma GCC unroll 16
            for (size_t l = 0; l < VL; l++) r[l] = load(x + (i + l) * ldx + j);
            transpose(r);
#pragma GCC unroll 16
            for (size_t l = 0; l < VL; l++) store(out + (j + l) * ldo + i, r[l]);
        }
        for (; j < n; j++)
            for (size_t l = 0; l < VL; l++) out[j * ldo + i + l] = x[(i + l) * ldx + j];
    }
    for (; i < m; i++)
        for (size_t j = 0; j < n; j++) out[j * ldo + i] = x[i * ldx + j];
}

/* out (n, ATTENTION_Q) = m rows of n values transposed, with zeros up to whole vectors */
static void queries_across(real *out, const real *x, size_t ld, size_t m, size_t n)
{
    transposed(out, ATTENTION_Q, x, ld, m, n);
    for (size_t j = 0; m % VL && j < n; j++)
        for (size_t i = m; i < round_up(m, VL); i++) out[j * ATTENTION_Q + i] = 0;
}

/* out (m, D_cols) = m rows of D values, with zeros up to whole vectors */
static void queries_down(real *out, const struct attention *a, const real *x, size_t m)
{
    for (size_t i = 0; i < m; i++, out += a->D_cols, x += a->H * a->D) {
        memcpy(out, x, a->D * sizeof(real));
        memset(out + a->D, 0, (a->D_cols - a->D) * sizeof(real));
    }
}

/* A tile of queries against one of keys: queries [i0, i0 + m) of segment s, keys [k0, k0 + n) of
 * segment c. Key j of the tile is seen by its queries from j + shift on, and by at least one. */
struct meeting {
    size_t m, n, vectors; /* of queries */
    size_t c, k0;
    ptrdiff_t shift;
};

static inline size_t first_query(const struct meeting *t, size_t key)
{
    ptrdiff_t first = (ptrdiff_t)key + t->shift;
    return first > 0 ? (size_t)first : 0;
}

static inline size_t first_vector(const struct meeting *t, size_t key)
{
    return first_query(t, key) / VL;
}

/* How many segments lead from the root to s, both included. A trie can be as deep as it has
 * examples, so the chain is walked, not stored: its n-th segment is found from below. */
static size_t chain_length(const struct segment *seg, size_t s)
{
    size_t n = 1;
    for (int32_t p = seg[s].parent; p >= 0; p = seg[p].parent) n++;
    return n;
}

static size_t chain_member(const struct segment *seg, size_t s, size_t length, size_t i)
{
    for (size_t up = length - 1 - i; up > 0; up--) s = (size_t)seg[s].parent;
    return s;
}

/* The tile of keys after *t that queries [i0, i0 + m) of segment s see; *t is zero before the
 * first. False at the end. */
static bool meet_next(struct meeting *t, const struct attention *a, size_t s, size_t i0, size_t m)
{
    size_t length = chain_length(a->seg, s),
           depth = t->vectors ? chain_length(a->seg, t->c) - 1 : 0;
    size_t k0 = t->k0 + t->n, c = chain_member(a->seg, s, length, depth);
    if (c != s && k0 == a->seg[c].len) {
        c = chain_member(a->seg, s, length, depth + 1);
        k0 = 0;
    }
    size_t seen = c == s ? i0 + m : a->seg[c].len;
    if (k0 == seen) return false;
    *t = (struct meeting){
        .m = m,
        .n = min_size(seen - k0, ATTENTION_K),
        .vectors = (m + VL - 1) / VL,
        .c = c,
        .k0 = k0,
        .shift = c == s ? (ptrdiff_t)k0 - (ptrdiff_t)i0 : -ATTENTION_K,
    };
    return true;
}

/* ---- products -------------------------------------------------------------------------------- */

/* c = or += strip (K, TILE_ROWS) * b; rows of c and b are ATTENTION_Q apart. */
static void tile_across(real *c, const real *strip, const real *b, size_t K, bool add,
                        size_t vectors)
{
    struct strip a = { .at = strip, .row = 1, .step = TILE_ROWS };
    tile_vectors(c, ATTENTION_Q, a, b, ATTENTION_Q, K, add, vectors);
}

/* c += a b; rows of a are ATTENTION_Q apart, those of b and c ld. */
static void tile_down(real *c, size_t ld, const real *a, const real *b, size_t K, size_t vectors)
{
    struct strip s = { .at = a, .row = ATTENTION_Q, .step = 1 };
    tile_vectors(c, ld, s, b, ld, K, true, vectors);
}

/* st (n, m) = keys (n, D) * x_t (D, m) where queries see keys, in whole strips and vectors. */
static void meet(real *st, const struct meeting *t, const real *keys, const real *x_t, size_t D)
{
    for (size_t j = 0; j < t->n; j += TILE_ROWS)
        for (size_t v = first_vector(t, j); v < t->vectors; v += TILE_VECTORS)
            tile_across(st + j * ATTENTION_Q + v * VL, keys + (t->k0 + j) * D, x_t + v * VL, D,
                        false, min_size(TILE_VECTORS, t->vectors - v));
}

/* acc (D, m) += channels (D, n) * pt (n, m). Vectors of queries that see fewer keys take part in
 * fewer. len: keys of the segment. */
static void add_over_keys(real *acc, const struct meeting *t, const real *channels, size_t len,
                          const real *pt, size_t D)
{
    enum { STEP = VL >= 16 ? 1 : TILE_VECTORS };
    size_t from = 0;
    for (size_t v0 = 0; v0 < t->vectors && from < t->n; v0 += STEP) {
        ptrdiff_t seen = (ptrdiff_t)((v0 + STEP) * VL) - t->shift;
        size_t to = seen < 0 ? 0 : min_size((size_t)seen, t->n);
        if (to <= from) continue;
        for (size_t d = 0; d < D; d += TILE_ROWS)
            for (size_t v = v0; v < t->vectors; v += TILE_VECTORS)
                tile_across(acc + d * ATTENTION_Q + v * VL,
                            channels + d * len + (t->k0 + from) * TILE_ROWS,
                            pt + from * ATTENTION_Q + v * VL, to - from, true,
                            min_size(TILE_VECTORS, t->vectors - v));
        from = to;
    }
}

/* out (n, D_cols) += pt (n, m) * x (m, D_cols) */
static void add_over_queries(real *out, const struct meeting *t, const real *pt, const real *x,
                             size_t D_cols)
{
    size_t all = D_cols / VL, groups = (all + TILE_VECTORS - 1) / TILE_VECTORS;
    size_t each = (all + groups - 1) / groups;
    for (size_t j = 0; j < t->n; j += TILE_ROWS) {
        size_t i = first_query(t, j);
        for (size_t v = 0; v < all; v += each)
            tile_down(out + j * D_cols + v * VL, D_cols, pt + j * ATTENTION_Q + i,
                      x + i * D_cols + v * VL, t->m - i, min_size(each, all - v));
    }
}

/* ---- forward --------------------------------------------------------------------------------- */

/* acc's columns times f, one factor for each query */
static void scale_queries(real *acc, const real *f, size_t D, size_t n)
{
    for (size_t d = 0; d < D; d++, acc += ATTENTION_Q) {
#pragma omp simd
        for (size_t i = 0; i < n; i++) acc[i] *= f[i];
    }
}

static const real LOWEST = -1e30f; /* below any score; finite, so that differences are, too */

/* Raise the queries' maxima to those of this tile too, and scale down what was summed up so far.
 * Scores that a query does not see become LOWEST. */
static void raise_tops(struct attention_tile *w, const struct meeting *t, size_t D, real scale)
{
    real top[ATTENTION_Q], fade[ATTENTION_Q];
    size_t n = t->vectors * VL;
    memcpy(top, w->top, n * sizeof(real));
    for (size_t j = 0; j < t->n; j++) {
        real *s = w->s + j * ATTENTION_Q;
        size_t first = first_query(t, j), from = first_vector(t, j) * VL;
        for (size_t i = from; i < first; i++) s[i] = LOWEST;
#pragma omp simd
        for (size_t i = from; i < n; i++) top[i] = s[i] > top[i] ? s[i] : top[i];
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        fade[i] = exp_real(scale * (w->top[i] - top[i]));
        w->sum[i] *= fade[i];
        w->top[i] = top[i];
    }
    scale_queries(w->acc, fade, D, n);
}

/* p^T in place of s^T, and its sums */
static void softmax_tile(struct attention_tile *w, const struct meeting *t, real scale)
{
    size_t n = t->vectors * VL;
    for (size_t j = 0; j < t->n; j++) {
        real *s = w->s + j * ATTENTION_Q;
        size_t from = min_size(first_vector(t, j) * VL,
                               n); /* never n; knowing so, gcc's code is 3 % faster */
        memset(s, 0, from * sizeof(real));
#pragma omp simd
        for (size_t i = from; i < n; i++) {
            s[i] = exp_real(scale * (s[i] - w->top[i]));
            w->sum[i] += s[i];
        }
    }
}

static void forward_tile(const struct attention *a, real *o, real *lse, const real *q, size_t s,
                         size_t h, size_t i0)
{
    struct attention_tile w = attention_scratch(a);
    size_t D = a->D, ld = a->H * D, g = h / (a->H / a->G);
    size_t m = min_size(a->seg[s].len - i0, ATTENTION_Q), row = a->seg[s].start + i0;
    real scale = 1 / (real)sqrt((double)D);
    queries_across(w.q_t, q + row * ld + h * D, ld, m, D);
    for (size_t i = 0; i < ATTENTION_Q; i++) w.top[i] = LOWEST, w.sum[i] = 0;
    memset(w.acc, 0, a->D_rows * ATTENTION_Q * sizeof(real));
    for (struct meeting t = { 0 }; meet_next(&t, a, s, i0, m);) {
        meet(w.s, &t, key_strips(a, a->k, t.c, g), w.q_t, D);
        raise_tops(&w, &t, D, scale);
        softmax_tile(&w, &t, scale);
        add_over_keys(w.acc, &t, channel_strips(a, a->channels, t.c, g), a->seg[t.c].len, w.s, D);
    }
    for (size_t i = 0; i < m; i++) {
        lse[h * a->T + row + i] = scale * w.top[i] + (real)log((double)w.sum[i]);
        w.sum[i] = 1 / w.sum[i];
    }
    scale_queries(w.acc, w.sum, D, m);
    transposed(o + row * ld + h * D, ld, w.acc, ATTENTION_Q, D, m);
}

static void attention_forward(real *o, real *lse, const real *q, const real *k, const real *v,
                              const struct segment *seg, size_t n_seg, size_t T, size_t H, size_t G,
                              size_t D, void *work)
{
    struct attention a = attention_begin(seg, n_seg, T, H, G, D, work);
    pack_keys(&a, a.k, NULL, k);
    pack_keys(&a, NULL, a.channels, v);
#pragma omp parallel
    for (size_t s = 0; s < n_seg; s++) {
        size_t tiles = (seg[s].len + ATTENTION_Q - 1) / ATTENTION_Q;
#pragma omp for collapse(2) schedule(dynamic) nowait
        for (size_t t = 0; t < tiles; t++) /* the last tiles see the most keys: begin with them */
            for (size_t h = 0; h < H; h++)
                forward_tile(&a, o, lse, q, s, h, (tiles - 1 - t) * ATTENTION_Q);
    }
}

/* ---- backward -------------------------------------------------------------------------------- */

/* delta (m) = sum over channels of dout * o */
static void row_dots(real *delta, const real *dout, const real *o, size_t ld, size_t m, size_t D)
{
    for (size_t i = 0; i < m; i++) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t d = 0; d < D; d++) sum += dout[i * ld + d] * o[i * ld + d];
        delta[i] = sum;
    }
}

/* p^T = exp(scale s^T - lse) in place of s^T, ds^T = p^T (dp^T - delta) scale in place of dp^T;
 * both are zero where a query does not see a key. */
static void softmax_tile_backward(struct attention_tile *w, const struct meeting *t, real scale)
{
    size_t n = t->vectors * VL;
    const real *lse = w->top, *delta = w->sum;
    for (size_t j = 0; j < t->n; j++) {
        real *p = w->s + j * ATTENTION_Q, *ds = w->dp + j * ATTENTION_Q;
        size_t from = first_vector(t, j) * VL, first = first_query(t, j);
#pragma omp simd
        for (size_t i = from; i < n; i++) {
            p[i] = exp_real(scale * p[i] - lse[i]);
            ds[i] = p[i] * (ds[i] - delta[i]) * scale;
        }
        memset(p, 0, first * sizeof(real));
        memset(ds, 0, first * sizeof(real));
    }
}

/* What the tile of queries i0 of segment s adds to dK and dV of head h, and its own dQ. */
static void backward_tile(const struct attention *a, real *dq, const real *dout, const real *q,
                          const real *o, const real *lse, size_t s, size_t h, size_t i0)
{
    struct attention_tile w = attention_scratch(a);
    size_t D = a->D, ld = a->H * D, g = h / (a->H / a->G), len = a->seg[s].len;
    size_t m = min_size(len - i0, ATTENTION_Q), row = a->seg[s].start + i0, at = row * ld + h * D;
    size_t keys = h * a->keys_pad, own = (keys + a->key_start[s] + i0) * a->D_cols;
    real scale = 1 / (real)sqrt((double)D);
    queries_across(w.q_t, q + at, ld, m, D);
    queries_across(w.dout_t, dout + at, ld, m, D);
    queries_down(w.q, a, q + at, m);
    queries_down(w.dout, a, dout + at, m);
    memset(w.top, 0, ATTENTION_Q * sizeof(real));
    memset(w.sum, 0, ATTENTION_Q * sizeof(real));
    memcpy(w.top, lse + h * a->T + row, m * sizeof(real));
    row_dots(w.sum, dout + at, o + at, ld, m, D);
    memset(w.acc, 0, a->D_rows * ATTENTION_Q * sizeof(real));
    /* no tile before this one has seen the keys beside it */
    memset(a->dk + own, 0, round_up(m, TILE_ROWS) * a->D_cols * sizeof(real));
    memset(a->dv + own, 0, round_up(m, TILE_ROWS) * a->D_cols * sizeof(real));
    for (struct meeting t = { 0 }; meet_next(&t, a, s, i0, m);) {
        size_t to = (keys + a->key_start[t.c] + t.k0) * a->D_cols;
        meet(w.s, &t, key_strips(a, a->k, t.c, g), w.q_t, D);
        meet(w.dp, &t, key_strips(a, a->v, t.c, g), w.dout_t, D);
        softmax_tile_backward(&w, &t, scale);
        add_over_queries(a->dv + to, &t, w.s, w.dout, a->D_cols);
        add_over_queries(a->dk + to, &t, w.dp, w.q, a->D_cols);
        add_over_keys(w.acc, &t, channel_strips(a, a->channels, t.c, g), a->seg[t.c].len, w.dp, D);
    }
    transposed(dq + at, ld, w.acc, ATTENTION_Q, D, m);
}

/* out (T, G, D) = sum over the heads of a group, in order, of parts (H, keys_pad, D_cols) */
static void sum_heads(real *out, const struct attention *a, const real *parts)
{
    size_t group = a->H / a->G;
#pragma omp parallel
    for (size_t s = 0; s < a->n_seg; s++)
#pragma omp for collapse(2) schedule(static) nowait
        for (size_t t = 0; t < a->seg[s].len; t++)
            for (size_t g = 0; g < a->G; g++) {
                real *to = out + ((a->seg[s].start + t) * a->G + g) * a->D;
                const real *from = parts +
                                   (g * group * a->keys_pad + a->key_start[s] + t) * a->D_cols;
                memcpy(to, from, a->D * sizeof(real));
                for (size_t h = 1; h < group; h++) {
                    from += a->keys_pad * a->D_cols;
                    for (size_t d = 0; d < a->D; d++) to[d] += from[d];
                }
            }
}

static void attention_backward(real *dq, real *dk, real *dv, const real *dout, const real *q,
                               const real *k, const real *v, const real *o, const real *lse,
                               const struct segment *seg, size_t n_seg, size_t T, size_t H,
                               size_t G, size_t D, void *work)
{
    struct attention a = attention_begin(seg, n_seg, T, H, G, D, work);
    order_tiles(&a);
    pack_keys(&a, a.k, a.channels, k);
    pack_keys(&a, a.v, NULL, v);
    for (size_t i = 0; i < n_seg * H; i++) atomic_init(a.done + i, 0);
    atomic_size_t next = 0;
#pragma omp parallel
    for (size_t job; (job = atomic_fetch_add(&next, 1)) < a.n_tiles * H;) {
        const struct query_tile *t = a.tile + job / H;
        size_t h = job % H;
        atomic_uint *done = a.done + t->tree * H + h;
        /* jobs are begun in order, so the one before has begun */
        while (atomic_load(done) < t->turn) sched_yield();
        backward_tile(&a, dq, dout, q, o, lse, t->seg, h, t->i0);
        atomic_store(done, t->turn + 1);
    }
    sum_heads(dk, &a, a.dk);
    sum_heads(dv, &a, a.dv);
}

/* ---- generation: one query per sequence ------------------------------------------------------ */

static void decode_head(real *o, const real *q, const real *k, const real *v, size_t n, size_t ld,
                        size_t D, real *p)
{
    real scale = 1 / (real)sqrt((double)D), top = -1e30f, sum = 0;
    for (size_t j = 0; j < n; j++) {
        real dot = 0;
#pragma omp simd reduction(+ : dot)
        for (size_t d = 0; d < D; d++) dot += q[d] * k[j * ld + d];
        p[j] = scale * dot;
        if (p[j] > top) top = p[j];
    }
    for (size_t j = 0; j < n; j++) {
        p[j] = exp_real(p[j] - top);
        sum += p[j];
    }
    memset(o, 0, D * sizeof(real));
    for (size_t j = 0; j < n; j++) {
        real pj = p[j] / sum;
#pragma omp simd
        for (size_t d = 0; d < D; d++) o[d] += pj * v[j * ld + d];
    }
}

static void attention_decode(real *o, const real *q, const real *k, const real *v,
                             const uint32_t *n_keys, size_t n_seq, size_t stride, size_t max_keys,
                             size_t H, size_t G, size_t D, real *work)
{
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (size_t s = 0; s < n_seq; s++)
        for (size_t h = 0; h < H; h++) {
            size_t at = (s * H + h) * D, cache = s * stride + h / (H / G) * D;
            decode_head(o + at, q + at, k + cache, v + cache, n_keys[s], G * D, D,
                        work + (s * H + h) * max_keys);
        }
}
