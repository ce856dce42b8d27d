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
 * Keys and values are packed once per segment and key head into the panels of matmul.c; the tiles
 * of one query head then run through the same register tile. Forward: every (segment, query tile,
 * head) is a job of its own. Backward: every (tree, head) is one, because a tree's keys gather
 * gradients from all its queries; heads that share a key head write to copies of dK and dV that are
 * added in order. So nothing depends on which thread does what. */

enum { ATTENTION_Q = 96, ATTENTION_K = 96 }; /* whole strips and whole panels everywhere */
_Static_assert(ATTENTION_Q % TILE_ROWS == 0 && ATTENTION_K % TILE_COLS == 0, "tiles fill");
_Static_assert(ATTENTION_K % TILE_ROWS == 0, "keys as rows, in the backward");

/* Sizes, and where a segment's packed panels begin (in keys, padded to whole vectors). */
struct attention {
    const struct segment *seg;
    size_t n_seg, T, H, G, D, D_pad;
    size_t keys_pad;       /* sum over segments of round_up(len, VL) */
    size_t *key_start;     /* n_seg */
    real *k_rows, *v_rows; /* panels with one column per key: for q K^T and do V^T */
    real *k_cols, *v_cols; /* panels with one row per key: for ds K and p V */
    real *dk, *dv;         /* (H, T, D): gradients per query head */
    uintptr_t scratch;
    size_t scratch_bytes; /* per thread */
};

/* What one thread works in. */
struct attention_tile {
    real *s, *dp;             /* (ATTENTION_Q, ATTENTION_K) */
    real *q, *dout;           /* strips over D */
    real *q_cols, *dout_cols; /* panels with one row per query */
    real *strips;             /* p or ds as strips, either way up */
    real *acc;                /* (ATTENTION_Q, D): o or dq */
    real *top, *sum;          /* per query row */
};

/* The next n reals at address *p, which is a number so that sizes can be counted from 0. */
static real *take_reals(uintptr_t *p, size_t n)
{
    uintptr_t at = (*p + 127) / 128 * 128;
    *p = at + n * sizeof(real);
    return (real *)at;
}

static struct attention_tile attention_tile_carve(uintptr_t *p, size_t D, size_t D_pad)
{
    enum { SLACK = 2 * VL };
    return (struct attention_tile){
        .s = take_reals(p, ATTENTION_Q * ATTENTION_K),
        .dp = take_reals(p, ATTENTION_Q * ATTENTION_K),
        .q = take_reals(p, ATTENTION_Q * D + SLACK),
        .dout = take_reals(p, ATTENTION_Q * D + SLACK),
        .q_cols = take_reals(p, ATTENTION_Q * D_pad),
        .dout_cols = take_reals(p, ATTENTION_Q * D_pad),
        .strips = take_reals(p, ATTENTION_Q * ATTENTION_K + SLACK),
        .acc = take_reals(p, ATTENTION_Q * D),
        .top = take_reals(p, ATTENTION_Q),
        .sum = take_reals(p, ATTENTION_Q),
    };
}

/* One description of the workspace, for its size and for its use. keys_pad: padded keys at most. */
static uintptr_t attention_carve(struct attention *a, uintptr_t p, size_t threads)
{
    a->D_pad = round_up(a->D, VL);
    a->key_start = (size_t *)take_reals(&p, a->n_seg * sizeof(size_t) / sizeof(real) + 1);
    a->k_rows = take_reals(&p, a->G * a->keys_pad * a->D);
    a->v_rows = take_reals(&p, a->G * a->keys_pad * a->D);
    a->k_cols = take_reals(&p, a->G * a->keys_pad * a->D_pad);
    a->v_cols = take_reals(&p, a->G * a->keys_pad * a->D_pad);
    a->dk = take_reals(&p, a->H * a->T * a->D);
    a->dv = take_reals(&p, a->H * a->T * a->D);
    uintptr_t end = 0;
    attention_tile_carve(&end, a->D, a->D_pad);
    a->scratch_bytes = end + 256;
    a->scratch = p;
    return p + threads * a->scratch_bytes;
}

static size_t attention_work_bytes(size_t T, size_t n_seg, size_t H, size_t G, size_t D)
{
    struct attention a = {
        .n_seg = n_seg, .T = T, .H = H, .G = G, .D = D, .keys_pad = T + n_seg * (VL - 1)
    };
    return attention_carve(&a, 0, (size_t)omp_get_max_threads()) + 256;
}

static struct attention attention_begin(const struct segment *seg, size_t n_seg, size_t T, size_t H,
                                        size_t G, size_t D, void *work)
{
    struct attention a = { .seg = seg, .n_seg = n_seg, .T = T, .H = H, .G = G, .D = D };
    for (size_t i = 0; i < n_seg; i++) a.keys_pad += round_up(seg[i].len, VL);
    attention_carve(&a, (uintptr_t)work, (size_t)omp_get_max_threads());
    size_t at = 0;
    for (size_t i = 0; i < n_seg; i++) {
        a.key_start[i] = at;
        at += round_up(seg[i].len, VL);
    }
    return a;
}

static struct attention_tile attention_scratch(const struct attention *a)
{
    uintptr_t p = a->scratch + (size_t)omp_get_thread_num() * a->scratch_bytes;
    return attention_tile_carve(&p, a->D, a->D_pad);
}

/* Where the panels of segment s and key head g begin. */
static inline real *rows_of(const struct attention *a, real *panels, size_t s, size_t g)
{
    return panels + (g * a->keys_pad + a->key_start[s]) * a->D;
}

static inline real *cols_of(const struct attention *a, real *panels, size_t s, size_t g)
{
    return panels + (g * a->keys_pad + a->key_start[s]) * a->D_pad;
}

/* A (n rows of D values, ld apart) as panels with one column per row. */
static void pack_as_rows(real *panels, const real *x, size_t ld, size_t n, size_t D)
{
    struct term t = { .b = x, .ldb = ld, .b_rows = true };
    for (size_t j = 0; j < n; j += TILE_COLS)
        pack_panel_rows(panels + j * D, &t, j, min_size(n - j, TILE_COLS), panel_vectors(n, j), 0,
                        D);
}

/* The same as panels with one row per row. */
static void pack_as_cols(real *panels, const real *x, size_t ld, size_t n, size_t D)
{
    struct term t = { .b = x, .ldb = ld };
    for (size_t j = 0; j < D; j += GROUP_COLS)
        pack_panels_cols(panels + j * n, n, 0, &t, j, min_size(D - j, GROUP_COLS), 0, n);
}

/* Pack x's rows (T, G, D) for every segment and key head. */
static void pack_keys(const struct attention *a, real *rows, real *cols, const real *x)
{
#pragma omp parallel for collapse(2) schedule(dynamic)
    for (size_t s = 0; s < a->n_seg; s++)
        for (size_t g = 0; g < a->G; g++) {
            const real *from = x + (a->seg[s].start * a->G + g) * a->D;
            if (rows) pack_as_rows(rows_of(a, rows, s, g), from, a->G * a->D, a->seg[s].len, a->D);
            if (cols) pack_as_cols(cols_of(a, cols, s, g), from, a->G * a->D, a->seg[s].len, a->D);
        }
}

static void pack_strips_of(real *strips, const real *x, size_t ld, size_t m, size_t K)
{
    for (size_t i = 0; i < m; i += TILE_ROWS)
        pack_strip_rows(strips + i * K, x + i * ld, ld, min_size(m - i, TILE_ROWS), K);
}

/* Strips of the transpose: x has K rows of m values. */
static void pack_strips_of_transpose(real *strips, const real *x, size_t ld, size_t m, size_t K)
{
    for (size_t i = 0; i < m; i += TILE_ROWS)
        pack_strip_cols(strips + i * K, x + i, ld, min_size(m - i, TILE_ROWS), K);
}

/* c (m, n) = or += strips (m, K) * panels, panel of column j at panels + j * stride. */
static void small_product(real *c, size_t ldc, const real *strips, const real *panels,
                          size_t stride, size_t m, size_t n, size_t K, bool accumulate)
{
    for (size_t j = 0; j < n; j += TILE_COLS)
        for (size_t i = 0; i < m; i += TILE_ROWS)
            tile(c + i * ldc + j, ldc, strips + i * K, panels + j * stride, K, accumulate,
                 min_size(TILE_ROWS, m - i), min_size(TILE_COLS, n - j), panel_vectors(n, j));
}

/* p V and ds K: keys [k0, k0 + nk) of a segment's panels with one row per key. The panel of column
 * j begins at j * len and its row k at k * width. */
static void product_over_keys(real *c, size_t ldc, const real *strips, const real *panels,
                              size_t len, size_t k0, size_t m, size_t nk, size_t D)
{
    for (size_t j = 0; j < D; j += TILE_COLS) {
        size_t vectors = panel_vectors(D, j);
        const real *panel = panels + j * len + k0 * vectors * VL;
        for (size_t i = 0; i < m; i += TILE_ROWS)
            tile(c + i * ldc + j, ldc, strips + i * nk, panel, nk, true, min_size(TILE_ROWS, m - i),
                 min_size(TILE_COLS, D - j), vectors);
    }
}

/* The ancestors of segment s, root first, then s itself; returns how many. A trie of examples is no
 * deeper than they are many, but a chain is walked, not stored: the n-th is found from below. */
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

/* How many keys of segment `c` the query tile [i0, i0 + m) of segment s sees at most. */
static size_t keys_seen(const struct segment *seg, size_t s, size_t c, size_t i0, size_t m)
{
    return c == s ? i0 + m : seg[c].len;
}

/* Keys of row i (of the tile) within [k0, k0 + nk): fewer than nk on the diagonal. */
static inline size_t row_keys(bool own, size_t i, size_t i0, size_t k0, size_t nk)
{
    if (!own) return nk;
    size_t seen = i0 + i + 1;
    return seen <= k0 ? 0 : min_size(seen - k0, nk);
}

/* ---- forward --------------------------------------------------------------------------------- */

/* Fold one tile of scores into the running softmax of m rows: p in place of s, the accumulated
 * output rescaled where the row's maximum rose. */
static void softmax_tile(struct attention_tile *w, size_t m, size_t nk, size_t D, real scale,
                         bool own, size_t i0, size_t k0)
{
    for (size_t i = 0; i < m; i++) {
        real *s = w->s + i * ATTENTION_K;
        size_t n = row_keys(own, i, i0, k0, nk);
        real top = max_of(w->top[i], s, n), sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < n; j++) {
            s[j] = exp_real(scale * (s[j] - top));
            sum += s[j];
        }
        for (size_t j = n; j < nk; j++) s[j] = 0;
        if (top > w->top[i]) {
            real fade = exp_real(scale * (w->top[i] - top));
            w->sum[i] *= fade;
            for (size_t d = 0; d < D; d++) w->acc[i * D + d] *= fade;
            w->top[i] = top;
        }
        w->sum[i] += sum;
    }
}

static void forward_tile(const struct attention *a, real *o, real *lse, const real *q, size_t s,
                         size_t h, size_t i0)
{
    struct attention_tile w = attention_scratch(a);
    size_t D = a->D, g = h / (a->H / a->G), m = min_size(a->seg[s].len - i0, ATTENTION_Q);
    size_t row = a->seg[s].start + i0;
    real scale = 1 / (real)sqrt((double)D);
    pack_strips_of(w.q, q + (row * a->H + h) * D, a->H * D, m, D);
    for (size_t i = 0; i < m; i++) w.top[i] = -1e30f, w.sum[i] = 0;
    memset(w.acc, 0, m * D * sizeof(real));
    size_t length = chain_length(a->seg, s);
    for (size_t n = 0; n < length; n++) {
        size_t c = chain_member(a->seg, s, length, n), seen = keys_seen(a->seg, s, c, i0, m);
        const real *keys = rows_of(a, a->k_rows, c, g), *values = cols_of(a, a->v_cols, c, g);
        for (size_t k0 = 0; k0 < seen; k0 += ATTENTION_K) {
            size_t nk = min_size(seen - k0, ATTENTION_K);
            /* a panel is as wide as its segment has keys there, not as this tile sees */
            for (size_t j = 0; j < nk; j += TILE_COLS)
                for (size_t i = 0; i < m; i += TILE_ROWS)
                    tile(w.s + i * ATTENTION_K + j, ATTENTION_K, w.q + i * D, keys + (k0 + j) * D,
                         D, false, min_size(TILE_ROWS, m - i), min_size(TILE_COLS, nk - j),
                         panel_vectors(a->seg[c].len, k0 + j));
            softmax_tile(&w, m, nk, D, scale, c == s, i0, k0);
            pack_strips_of(w.strips, w.s, ATTENTION_K, m, nk);
            product_over_keys(w.acc, D, w.strips, values, a->seg[c].len, k0, m, nk, D);
        }
    }
    for (size_t i = 0; i < m; i++) {
        real *out = o + ((row + i) * a->H + h) * D, inv = 1 / w.sum[i];
        for (size_t d = 0; d < D; d++) out[d] = w.acc[i * D + d] * inv;
        lse[h * a->T + row + i] = scale * w.top[i] + (real)log((double)w.sum[i]);
    }
}

static void attention_forward(real *o, real *lse, const real *q, const real *k, const real *v,
                              const struct segment *seg, size_t n_seg, size_t T, size_t H, size_t G,
                              size_t D, void *work)
{
    struct attention a = attention_begin(seg, n_seg, T, H, G, D, work);
    pack_keys(&a, a.k_rows, NULL, k);
    pack_keys(&a, NULL, a.v_cols, v);
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

/* p = exp(scale s - lse) in place of s, ds = p (dp - delta) scale in place of dp; both zero where a
 * row sees no key. */
static void softmax_tile_backward(struct attention_tile *w, const real *lse, size_t m, size_t nk,
                                  real scale, bool own, size_t i0, size_t k0)
{
    for (size_t i = 0; i < m; i++) {
        real *p = w->s + i * ATTENTION_K, *ds = w->dp + i * ATTENTION_K;
        real delta = w->sum[i], log_sum = lse[i];
        size_t n = row_keys(own, i, i0, k0, nk);
#pragma omp simd
        for (size_t j = 0; j < n; j++) {
            p[j] = exp_real(scale * p[j] - log_sum);
            ds[j] = p[j] * (ds[j] - delta) * scale;
        }
        for (size_t j = n; j < nk; j++) p[j] = ds[j] = 0;
    }
}

/* One tile of queries against one of keys: adds to the keys' dK and dV and to the queries' dQ. */
static void backward_keys(const struct attention *a, struct attention_tile *w, const real *lse,
                          size_t s, size_t c, size_t h, size_t i0, size_t m, size_t k0, size_t nk)
{
    size_t D = a->D, g = h / (a->H / a->G), len = a->seg[c].len;
    const real *k_rows = rows_of(a, a->k_rows, c, g), *v_rows = rows_of(a, a->v_rows, c, g);
    real scale = 1 / (real)sqrt((double)D);
    for (size_t j = 0; j < nk; j += TILE_COLS)
        for (size_t i = 0; i < m; i += TILE_ROWS) {
            size_t at = i * ATTENTION_K + j, mi = min_size(TILE_ROWS, m - i);
            size_t nj = min_size(TILE_COLS, nk - j), vectors = panel_vectors(len, k0 + j);
            tile(w->s + at, ATTENTION_K, w->q + i * D, k_rows + (k0 + j) * D, D, false, mi, nj,
                 vectors);
            tile(w->dp + at, ATTENTION_K, w->dout + i * D, v_rows + (k0 + j) * D, D, false, mi, nj,
                 vectors);
        }
    softmax_tile_backward(w, lse, m, nk, scale, c == s, i0, k0);
    size_t at = (h * a->T + a->seg[c].start + k0) * D;
    pack_strips_of_transpose(w->strips, w->s, ATTENTION_K, nk, m);
    small_product(a->dv + at, D, w->strips, w->dout_cols, m, nk, D, m, true);
    pack_strips_of_transpose(w->strips, w->dp, ATTENTION_K, nk, m);
    small_product(a->dk + at, D, w->strips, w->q_cols, m, nk, D, m, true);
    pack_strips_of(w->strips, w->dp, ATTENTION_K, m, nk);
    product_over_keys(w->acc, D, w->strips, cols_of(a, a->k_cols, c, g), len, k0, m, nk, D);
}

static void backward_tile(const struct attention *a, real *dq, const real *dout, const real *q,
                          const real *o, const real *lse, size_t s, size_t h, size_t i0)
{
    struct attention_tile w = attention_scratch(a);
    size_t D = a->D, ld = a->H * D, m = min_size(a->seg[s].len - i0, ATTENTION_Q);
    size_t row = a->seg[s].start + i0, at = (row * a->H + h) * D;
    pack_strips_of(w.q, q + at, ld, m, D);
    pack_strips_of(w.dout, dout + at, ld, m, D);
    pack_as_cols(w.q_cols, q + at, ld, m, D);
    pack_as_cols(w.dout_cols, dout + at, ld, m, D);
    row_dots(w.sum, dout + at, o + at, ld, m, D);
    memset(w.acc, 0, m * D * sizeof(real));
    size_t length = chain_length(a->seg, s);
    for (size_t n = 0; n < length; n++) {
        size_t c = chain_member(a->seg, s, length, n), seen = keys_seen(a->seg, s, c, i0, m);
        for (size_t k0 = 0; k0 < seen; k0 += ATTENTION_K)
            backward_keys(a, &w, lse + h * a->T + row, s, c, h, i0, m, k0,
                          min_size(seen - k0, ATTENTION_K));
    }
    for (size_t i = 0; i < m; i++) memcpy(dq + at + i * ld, w.acc + i * D, D * sizeof(real));
}

/* The segments [first, last) of one tree, for one head, in order. */
static void backward_tree(const struct attention *a, real *dq, const real *dout, const real *q,
                          const real *o, const real *lse, size_t first, size_t last, size_t h)
{
    size_t begin = a->seg[first].start, end = a->seg[last - 1].start + a->seg[last - 1].len;
    size_t at = (h * a->T + begin) * a->D, n = (end - begin) * a->D;
    memset(a->dk + at, 0, n * sizeof(real));
    memset(a->dv + at, 0, n * sizeof(real));
    for (size_t s = first; s < last; s++)
        for (size_t i0 = 0; i0 < a->seg[s].len; i0 += ATTENTION_Q)
            backward_tile(a, dq, dout, q, o, lse, s, h, i0);
}

/* out (T, G, D) = sum over the heads of a group, in order, of parts (H, T, D) */
static void sum_heads(real *out, const real *parts, size_t T, size_t H, size_t G, size_t D)
{
    size_t group = H / G;
#pragma omp parallel for collapse(2) schedule(static)
    for (size_t t = 0; t < T; t++)
        for (size_t g = 0; g < G; g++) {
            real *to = out + (t * G + g) * D;
            memcpy(to, parts + (g * group * T + t) * D, D * sizeof(real));
            for (size_t h = 1; h < group; h++) {
                const real *from = parts + ((g * group + h) * T + t) * D;
                for (size_t d = 0; d < D; d++) to[d] += from[d];
            }
        }
}

static void attention_backward(real *dq, real *dk, real *dv, const real *dout, const real *q,
                               const real *k, const real *v, const real *o, const real *lse,
                               const struct segment *seg, size_t n_seg, size_t T, size_t H,
                               size_t G, size_t D, void *work)
{
    struct attention a = attention_begin(seg, n_seg, T, H, G, D, work);
    pack_keys(&a, a.k_rows, a.k_cols, k);
    pack_keys(&a, a.v_rows, NULL, v);
#pragma omp parallel
    for (size_t first = 0, last; first < n_seg; first = last) {
        for (last = first + 1; last < n_seg && seg[last].tree == seg[first].tree;) last++;
#pragma omp for schedule(dynamic) nowait
        for (size_t h = 0; h < H; h++) backward_tree(&a, dq, dout, q, o, lse, first, last, h);
    }
    sum_heads(dk, a.dk, T, H, G, D);
    sum_heads(dv, a.dv, T, H, G, D);
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
