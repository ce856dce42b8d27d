/* C (M, N) = sum over terms of A (M, K) * B (K, N), B widened from its storage type as it is
 * packed.
 *
 * The scheme of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM
 * TOMS 2008): B is packed into panels of TILE_COLS columns, A into strips of TILE_ROWS rows, both
 * with the inner index slowest, and a register tile of TILE_ROWS x TILE_COLS runs over the inner
 * index. The terms' inner indices are joined into one, so that a LoRA term lengthens the last block
 * instead of visiting C again. All threads pack B together, then share out the rows:
 *
 *     for columns in pieces of COLS_MAX            (packed B stays in the last-level cache)
 *       for the joint inner index in pieces of INNER_BLOCKS blocks of at most INNER_MAX
 *         pack B                                   (each weight is widened once)
 *         for rows in parts of at most PART_ROWS, each by one thread
 *           pack A                                 (it stays in the thread's second-level cache)
 *           for columns in runs of RUN_PANELS      (as do these columns of C)
 *             for each block: C += A * B, tile by tile
 *
 * (Few rows, few columns and outer products have ways of their own, below.)
 *
 * Blocks depend on the terms' K alone and every element of C is one chain of multiply-adds per
 * block, so its bits depend on neither M, N nor the number of threads. */

enum {
    INNER_MAX = 384,
    INNER_BLOCKS = 3,
    COLS_MAX = 3072, /* a multiple of every TILE_COLS and of 32 */
    PART_ROWS = VECTOR_BYTES >= 64 ? 192 : 96,
    RUN_PANELS = 8,
    LEAST_STRIPS = 4,
    PACK_COLS = 384,               /* rows of B are read so far, */
    PACK_DEPTH = 8,                /* so many at a time, */
    PACK_SLACK = 2 * QUANT_BLOCK,  /* with the rest of the quantised blocks at both ends */
};
_Static_assert(COLS_MAX % TILE_COLS == 0 && PACK_COLS % TILE_COLS == 0, "panels fill pieces");
_Static_assert(INNER_MAX % QUANT_BLOCK == 0, "blocks hold whole quantised blocks");

_Static_assert(PART_ROWS % TILE_ROWS == 0, "strips fill parts");

enum {
    LINE_BYTES = 64,
    INNER_PIECE = INNER_BLOCKS * INNER_MAX,
    STRIPS = PART_ROWS * INNER_PIECE + 4 * VL, /* of one thread; slack for full-vector stores */
};

struct matmul_work {
    real *panels; /* packed B: COLS_MAX x INNER_PIECE */
    real *strips; /* packed A: STRIPS for each thread */
};

static size_t matmul_reals(size_t threads)
{
    return COLS_MAX * (size_t)INNER_PIECE + threads * STRIPS;
}

static size_t matmul_work_bytes(void)
{
    return matmul_reals((size_t)omp_get_max_threads()) * sizeof(real) + 256;
}

static struct matmul_work matmul_carve(void *work)
{
    real *base = (real *)(((uintptr_t)work + 127) / 128 * 128);
    return (struct matmul_work){ base, base + COLS_MAX * (size_t)INNER_PIECE };
}

/* ---- the register tile ----------------------------------------------------------------------- */

/* What is fetched into the second-level cache meanwhile: `step` bytes for each k. */
struct ahead {
    const void *at;
    size_t step;
};

/* c (TILE_ROWS, nv * VL) = or += strip (K, TILE_ROWS) * panel (K, nv * VL). nv is a constant at
 * every call, so that the loops over the tile unroll and s stays in registers. */
static inline __attribute__((always_inline)) void tile_nv(real *c, size_t ldc, const real *strip,
                                                          const real *panel, size_t K, bool add,
                                                          struct ahead ahead, const int nv)
{
    const char *fetch = ahead.at;
    vec s[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < nv; j++) {
            s[i][j] = (vec){ 0 };
            __builtin_prefetch(c + (size_t)i * ldc + j * VL, 1); /* for the end of the loop */
        }
    for (size_t k = 0; k < K; k++) {
        vec b[TILE_VECTORS];
        __builtin_prefetch(fetch, 0, 2);
        fetch += ahead.step;
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) b[j] = *(const vec *)(panel + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < TILE_ROWS; i++) {
            vec a = strip[i] - (vec){ 0 };
#pragma GCC unroll 8
            for (int j = 0; j < nv; j++) s[i][j] += a * b[j];
        }
        strip += TILE_ROWS;
        panel += nv * VL;
    }
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) {
            real *p = c + (size_t)i * ldc + j * VL;
            if (add) s[i][j] += load(p);
            store(p, s[i][j]);
        }
    }
}

static void tile_full(real *c, size_t ldc, const real *strip, const real *panel, size_t K, bool add,
                      struct ahead ahead, size_t vectors)
{
    switch (vectors) {
    case 1:
        tile_nv(c, ldc, strip, panel, K, add, ahead, 1);
        break;
    case 2:
        tile_nv(c, ldc, strip, panel, K, add, ahead, 2);
        break;
    default:
        tile_nv(c, ldc, strip, panel, K, add, ahead, TILE_VECTORS);
        break;
    }
}

/* Any m <= TILE_ROWS, n <= vectors * VL: at the borders of C through a tile of its own. */
static void tile_ahead(real *c, size_t ldc, const real *strip, const real *panel, size_t K,
                       bool add, size_t m, size_t n, size_t vectors, struct ahead ahead)
{
    if (m == TILE_ROWS && n == vectors * VL) {
        tile_full(c, ldc, strip, panel, K, add, ahead, vectors);
        return;
    }
    real border[TILE_ROWS * TILE_COLS] __attribute__((aligned(64)));
    tile_full(border, TILE_COLS, strip, panel, K, false, ahead, vectors);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            real v = border[i * TILE_COLS + j];
            c[i * ldc + j] = add ? c[i * ldc + j] + v : v;
        }
}

static void tile(real *c, size_t ldc, const real *strip, const real *panel, size_t K, bool add,
                 size_t m, size_t n, size_t vectors)
{
    tile_ahead(c, ldc, strip, panel, K, add, m, n, vectors, (struct ahead){ panel, 0 });
}

/* ---- packing --------------------------------------------------------------------------------- */

/* The last panel of a block is only as wide as whole vectors need. */
static inline size_t panel_vectors(size_t n, size_t col)
{
    return (min_size(n - col, TILE_COLS) + VL - 1) / VL;
}

/* VL x VL values in vectors, transposed: each of log2(VL) rounds swaps the off-diagonal blocks of d
 * rows by d lanes. */
#define LANES_2(f, d) f(0, d), f(1, d)
#define LANES_4(f, d) LANES_2(f, d), f(2, d), f(3, d)
#define LANES_8(f, d) LANES_4(f, d), f(4, d), f(5, d), f(6, d), f(7, d)
#define LANES_16(f, d)                                                                             \
    LANES_8(f, d), f(8, d), f(9, d), f(10, d), f(11, d), f(12, d), f(13, d), f(14, d), f(15, d)
#if VL == 16
#define LANES LANES_16
#elif VL == 8
#define LANES LANES_8
#elif VL == 4
#define LANES LANES_4
#else
#define LANES LANES_2
#endif
#define UPPER(lane, d) ((lane) & (d) ? VL + (lane) - (d) : (lane))
#define LOWER(lane, d) ((lane) & (d) ? VL + (lane) : (lane) + (d))
#define SWAP_BLOCKS(r, d)                                                                          \
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++)                                          \
    {                                                                                              \
        if (i & (d)) continue;                                                                     \
        vec x = (r)[i], y = (r)[i + (d)];                                                          \
        (r)[i] = __builtin_shufflevector(x, y, LANES(UPPER, d));                                   \
        (r)[i + (d)] = __builtin_shufflevector(x, y, LANES(LOWER, d));                             \
    }

static inline void transpose(vec r[VL])
{
#if VL >= 16
    SWAP_BLOCKS(r, 8)
#endif
#if VL >= 8
    SWAP_BLOCKS(r, 4)
#endif
#if VL >= 4
    SWAP_BLOCKS(r, 2)
#endif
    SWAP_BLOCKS(r, 1)
}

static const real zeros[INNER_MAX];

/* out[k * TILE_ROWS + i] = row i of A at k, for one strip of m <= TILE_ROWS rows, K columns. */
static void pack_strip_rows(real *out, const real *a, size_t lda, size_t m, size_t K)
{
    enum { GROUPS = (TILE_ROWS + VL - 1) / VL };
    const real *row[GROUPS * VL];
    for (size_t i = 0; i < GROUPS * VL; i++) row[i] = i < m ? a + i * lda : zeros;
    size_t k = 0;
    /* Full vectors are stored at a stride of TILE_ROWS: what spills into the next k is overwritten
     * by it. The last k goes by single values, as beyond it another thread's strip begins. */
    for (; k + VL < K; k += VL) {
        vec t[GROUPS][VL];
        for (size_t g = 0; g < GROUPS; g++) {
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++) t[g][i] = load(row[g * VL + i] + k);
            transpose(t[g]);
        }
#pragma GCC unroll 16
        for (size_t j = 0; j < VL; j++)
            for (size_t g = 0; g < GROUPS; g++) store(out + (k + j) * TILE_ROWS + g * VL, t[g][j]);
    }
    for (; k < K; k++)
        for (size_t i = 0; i < TILE_ROWS; i++) out[k * TILE_ROWS + i] = row[i][k];
}

/* The same from a transposed A: K rows of M values. */
static void pack_strip_cols(real *out, const real *a, size_t lda, size_t m, size_t K)
{
    for (size_t k = 0; k < K; k++, a += lda, out += TILE_ROWS) {
        if (m == TILE_ROWS) {
            memcpy(out, a, TILE_ROWS * sizeof(real));
        } else {
            for (size_t i = 0; i < TILE_ROWS; i++) out[i] = i < m ? a[i] : 0;
        }
    }
}

/* panel[k * width + j] = B(k, col + j) where B's storage has one row per column j: VL of them are
 * widened side by side and transposed. */
static void pack_panel_rows(real *panel, const struct term *t, size_t col, size_t n, size_t vectors,
                            size_t k0, size_t K)
{
    real wide[VL][INNER_MAX] __attribute__((aligned(64)));
    size_t width = vectors * VL;
    for (size_t g = 0; g < vectors; g++) {
        const real *row[VL];
        for (size_t i = 0; i < VL; i++) {
            size_t j = g * VL + i;
            row[i] = zeros;
            if (j >= n) continue;
            if (t->w) {
                widen(wide[i], t->w, col + j, k0, K);
                row[i] = wide[i];
            } else {
                row[i] = t->b + (col + j) * t->ldb + k0;
            }
        }
        real *out = panel + g * VL;
        size_t k = 0;
        for (; k + VL <= K; k += VL) {
            vec r[VL];
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++) r[i] = load(row[i] + k);
            transpose(r);
#pragma GCC unroll 16
            for (size_t i = 0; i < VL; i++) *(vec *)(out + (k + i) * width) = r[i];
        }
        for (; k < K; k++)
            for (size_t i = 0; i < VL; i++) out[k * width + i] = row[i][k];
    }
}

/* The same where B's storage has one row per k: a few rows are widened and cut into panels, so that
 * reads run along rows and writes along panels. n <= PACK_COLS columns from `col`, which become
 * neighbouring panels of `depth` rows each, of which these are rows `at` and on. */
static void pack_panels_cols(real *panels, size_t depth, size_t at, const struct term *t,
                             size_t col, size_t n, size_t k0, size_t K)
{
    real wide[PACK_DEPTH][PACK_COLS + PACK_SLACK] __attribute__((aligned(64)));
    size_t skip = col % QUANT_BLOCK; /* panels need not begin where quantised blocks do */
    for (size_t k = 0; k < K; k += PACK_DEPTH) {
        size_t d = min_size(PACK_DEPTH, K - k);
        const real *rows[PACK_DEPTH];
        for (size_t q = 0; q < d; q++) {
            rows[q] = wide[q] + skip;
            if (t->w) {
                widen(wide[q], t->w, k0 + k + q, col - skip, skip + n);
            } else {
                rows[q] = t->b + (k0 + k + q) * t->ldb + col;
            }
        }
        for (size_t j = 0; j < n; j += TILE_COLS) {
            size_t width = panel_vectors(n, j) * VL, m = min_size(n - j, TILE_COLS);
            real *out = panels + j * depth + (at + k) * width;
            for (size_t q = 0; q < d; q++, out += width) {
                if (m == TILE_COLS) {
                    memcpy(out, rows[q] + j, TILE_COLS * sizeof(real));
                } else {
                    for (size_t i = 0; i < width; i++) out[i] = i < m ? rows[q][j + i] : 0;
                }
            }
        }
    }
}

/* ---- the product ----------------------------------------------------------------------------- */

/* A block of the joint inner index, [k, k + K), and what of term t lies in it. */
struct inner {
    size_t k, K;
};

struct inner_part {
    size_t at; /* within the block */
    size_t k;  /* within the term */
    size_t K;
};

static inline struct inner_part part_of(struct inner block, size_t term_start, size_t term_K)
{
    size_t low = block.k > term_start ? block.k : term_start;
    size_t high = min_size(block.k + block.K, term_start + term_K);
    if (low >= high) return (struct inner_part){ 0 };
    return (struct inner_part){ low - block.k, low - term_start, high - low };
}

static size_t joint_inner(const struct term *terms, size_t n_terms)
{
    size_t K = 0;
    for (size_t i = 0; i < n_terms; i++) K += terms[i].K;
    return K;
}

/* The length of the blocks that K is cut into; the last may be shorter. */
static size_t block_length(size_t K)
{
    size_t blocks = (K + INNER_MAX - 1) / INNER_MAX;
    return blocks ? round_up((K + blocks - 1) / blocks, QUANT_BLOCK) : 1;
}

/* Columns in steps of at most `most` that fill whole panels, of which the thread that gets the most gets
 * as few as can be. */
static size_t column_step(size_t n, size_t threads, size_t most)
{
    size_t each = (n + threads - 1) / threads, best = 0, least = SIZE_MAX;
    for (size_t steps = (each + most - 1) / most, last = steps + 3; steps <= last; steps++) {
        size_t step = round_up((each + steps - 1) / steps, TILE_COLS);
        size_t count = (n + step - 1) / step, top = (count + threads - 1) / threads * step;
        if (top >= least) continue;
        least = top;
        best = step;
    }
    return best;
}

/* By one thread: n <= PACK_COLS columns of B from `col` on. The panel of the j-th of them begins at
 * panels + j * block.K. */
static void pack_columns(real *panels, const struct term *terms, size_t n_terms, size_t col,
                         size_t n, struct inner block)
{
    size_t start = 0;
    for (const struct term *t = terms; t < terms + n_terms; start += t->K, t++) {
        struct inner_part p = part_of(block, start, t->K);
        if (!p.K) continue;
        if (!t->b_rows) {
            pack_panels_cols(panels, block.K, p.at, t, col, n, p.k, p.K);
            continue;
        }
        for (size_t j = 0; j < n; j += TILE_COLS) {
            size_t m = min_size(n - j, TILE_COLS), vectors = panel_vectors(n, j);
            pack_panel_rows(panels + j * block.K + p.at * vectors * VL, t, col + j, m, vectors, p.k,
                            p.K);
        }
    }
}

/* Called by all threads of a team. */
static void pack_panels(real *panels, const struct term *terms, size_t n_terms, size_t col,
                        size_t n, struct inner block)
{
    size_t step = column_step(n, (size_t)omp_get_num_threads(), PACK_COLS);
#pragma omp for schedule(static) nowait
    for (size_t j = 0; j < n; j += step)
        pack_columns(panels + j * block.K, terms, n_terms, col + j, min_size(n - j, step), block);
}

/* What pack_columns() will read of a first term's weight, fetched into the second-level cache line by
 * line while something else is multiplied. All zero: nothing. */
struct source {
    const struct matrix *w;
    size_t row, end;     /* rows of it */
    size_t start, bytes; /* of each */
    size_t at;           /* of the bytes of `row` */
    size_t lines;        /* in all */
};

static struct source source_of(const struct term *t, size_t col, size_t n, struct inner block)
{
    struct inner_part p = part_of(block, 0, t->K);
    if (!t->w || !p.K) return (struct source){ 0 };
    struct source s = { .w = t->w, .row = t->b_rows ? col : p.k };
    s.end = s.row + (t->b_rows ? n : p.K);
    s.start = dtype_bytes(s.w->type, t->b_rows ? p.k : col);
    s.bytes = dtype_bytes(s.w->type, t->b_rows ? p.K : n);
    s.lines = (s.end - s.row) * ((s.bytes + LINE_BYTES - 1) / LINE_BYTES);
    return s;
}

static inline void source_fetch(struct source *s, size_t lines)
{
    while (lines && s->row < s->end) {
        const char *p = (const char *)matrix_row(s->w, s->row) + s->start;
        for (; lines && s->at < s->bytes; lines--, s->at += LINE_BYTES)
            __builtin_prefetch(p + s->at, 0, 2);
        if (s->at < s->bytes) return;
        s->at = 0;
        s->row++;
    }
}

/* By one thread. Strip of row i begins at strips + i * block.K. */
static void pack_strips(real *strips, const struct term *terms, size_t n_terms, size_t row,
                        size_t m, struct inner block)
{
    size_t start = 0;
    for (const struct term *t = terms; t < terms + n_terms; start += t->K, t++) {
        struct inner_part p = part_of(block, start, t->K);
        for (size_t i = 0; p.K && i < m; i += TILE_ROWS) {
            real *out = strips + i * block.K + p.at * TILE_ROWS;
            size_t rows = min_size(m - i, TILE_ROWS);
            if (t->a_cols) {
                pack_strip_cols(out, t->a + p.k * t->lda + row + i, t->lda, rows, p.K);
            } else {
                pack_strip_rows(out, t->a + (row + i) * t->lda + p.k, t->lda, rows, p.K);
            }
        }
    }
}

/* A piece of the product: n columns of C, and `inner` of the joint inner index in blocks of `step`.
 * The panels of the block at k begin at panels + k * (n in whole vectors). */
struct piece {
    real *c; /* column 0 of the piece */
    size_t ldc, M, n;
    const struct term *terms;
    size_t n_terms;
    struct inner inner;
    size_t step;
    const real *panels;
    bool add;
    struct source *upcoming; /* is fetched meanwhile; NULL: the next panel is */
};

/* Rows [row, row + m) of it, columns [j0, j1), from packed strips. */
static void multiply_run(const struct piece *p, const real *strips, size_t row, size_t m, size_t j0,
                         size_t j1)
{
    size_t m_pad = round_up(m, TILE_ROWS), n_pad = round_up(p->n, VL);
    size_t tiles = m_pad / TILE_ROWS * ((j1 - j0 + TILE_COLS - 1) / TILE_COLS);
    bool add = p->add;
    for (size_t k = 0; k < p->inner.K; k += p->step, add = true) {
        size_t K = min_size(p->inner.K - k, p->step);
        /* the next panel comes from the last-level cache while this one meets all strips */
        size_t step = (TILE_COLS * sizeof(real) * TILE_ROWS + m_pad - 1) / m_pad;
        for (size_t j = j0; j < j1; j += TILE_COLS)
            for (size_t i = 0; i < m; i += TILE_ROWS) {
                const real *panel = p->panels + k * n_pad + j * K;
                struct ahead next = {
                    (const char *)(panel + TILE_COLS * K) + i / TILE_ROWS * step * K, step
                };
                if (p->upcoming) {
                    next = (struct ahead){ panel, 0 };
                    source_fetch(p->upcoming, (p->upcoming->lines + tiles - 1) / tiles);
                }
                tile_ahead(p->c + (row + i) * p->ldc + j, p->ldc, strips + k * m_pad + i * K, panel,
                           K, add, min_size(TILE_ROWS, m - i), min_size(TILE_COLS, p->n - j),
                           panel_vectors(p->n, j), next);
            }
    }
}

static void multiply_part(const struct piece *p, real *strips, size_t row, size_t m, size_t j0,
                          size_t j1)
{
    size_t m_pad = round_up(m, TILE_ROWS);
    for (size_t k = 0; k < p->inner.K; k += p->step) {
        struct inner block = { p->inner.k + k, min_size(p->inner.K - k, p->step) };
        pack_strips(strips + k * m_pad, p->terms, p->n_terms, row, m, block);
    }
    for (size_t j = j0; j < j1; j += RUN_PANELS * TILE_COLS)
        multiply_run(p, strips, row, m, j, min_size(j1, j + RUN_PANELS * TILE_COLS));
}

/* How the strips of C are shared out: in parts of `size` strips; or, if that is 0, in parts that
 * become smaller towards the end, so that threads which do not get equally far end together. */
struct parts {
    size_t strips, threads, size;
};

static struct parts share_out(size_t M, size_t threads)
{
    struct parts p = { (M + TILE_ROWS - 1) / TILE_ROWS, threads, 0 };
    size_t most = threads * (PART_ROWS / TILE_ROWS), rounds = (p.strips + most - 1) / most;
    if (rounds == 1 || p.strips % (threads * rounds) == 0)
        p.size = (p.strips + threads * rounds - 1) / (threads * rounds);
    return p;
}

static inline size_t part_strips(const struct parts *p, size_t first)
{
    size_t left = p->strips - first, share = (left + 2 * p->threads - 1) / (2 * p->threads);
    size_t size = p->size ? p->size : share < LEAST_STRIPS ? LEAST_STRIPS : share;
    return min_size(left, min_size(size, PART_ROWS / TILE_ROWS));
}

/* With fewer parts than threads, columns are divided too. Which thread computes a part does not
 * change it. */
static void multiply(const struct piece *p, real *strips)
{
    size_t threads = (size_t)omp_get_num_threads(), down = 0;
    struct parts parts = share_out(p->M, threads);
    for (size_t s = 0; s < parts.strips; s += part_strips(&parts, s)) down++;
    size_t across = down < threads ? (threads + down - 1) / down : 1;
    size_t wide = round_up((p->n + across - 1) / across, TILE_COLS);
#pragma omp for collapse(2) schedule(dynamic)
    for (size_t part = 0; part < down; part++)
        for (size_t j = 0; j < p->n; j += wide) {
            size_t first = 0;
            for (size_t i = 0; i < part; i++) first += part_strips(&parts, first);
            size_t row = first * TILE_ROWS, m = part_strips(&parts, first) * TILE_ROWS;
            multiply_part(p, strips, row, min_size(p->M - row, m), j, min_size(p->n, j + wide));
        }
}

/* ---- few rows --------------------------------------------------------------------------------- */

/* Where C has few rows, packed B is used little and not worth a way through the last-level cache: a
 * thread packs a few panels, which stay in its second-level cache, and multiplies them with all rows at
 * once, fetching meanwhile what it will pack next. A is packed by every thread: with more than a few
 * rows that pays where a thread has some columns to use it for. */
enum {
    FEW_ROWS = 192,
    SHORT_ROWS = VECTOR_BYTES >= 64 ? 1024 : FEW_ROWS, /* measured: SPEED.md */
    SHORT_COLS = 192,
    SHORT_PANELS = SHORT_COLS * INNER_MAX, /* of one thread */
};
_Static_assert(SHORT_COLS % TILE_COLS == 0, "few panels fill pieces");

/* A thread's part of the work memory, which is divided anew. */
static size_t short_share(size_t threads)
{
    return (matmul_reals(threads) / threads) & ~(size_t)31;
}

static bool is_short(size_t M, size_t N)
{
    size_t threads = (size_t)omp_get_max_threads();
    return M <= SHORT_ROWS && N >= threads * TILE_COLS * (M <= FEW_ROWS ? 2 : 6) &&
           SHORT_PANELS + round_up(M, TILE_ROWS) * INNER_MAX <= short_share(threads);
}

/* Columns [j0, j1) of C, by one thread. */
static void short_columns(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                          size_t j0, size_t j1, size_t wide, bool accumulate, struct matmul_work w)
{
    size_t K = joint_inner(terms, n_terms), step = block_length(K);
    size_t share = short_share((size_t)omp_get_num_threads());
    real *panels = w.panels + (size_t)omp_get_thread_num() * share, *strips = panels + SHORT_PANELS;
    for (size_t k = 0; k < K; k += step) {
        struct inner block = { k, min_size(K - k, step) }, next = { k + step, step };
        pack_strips(strips, terms, n_terms, 0, M, block);
        for (size_t j = j0; j < j1; j += wide) {
            size_t n = min_size(j1 - j, wide), then = j + wide;
            struct source upcoming = then < j1
                                         ? source_of(terms, then, min_size(j1 - then, wide), block)
                                         : source_of(terms, j0, min_size(j1 - j0, wide), next);
            struct piece piece = { c + j,    ldc,   M,       n,      terms,
                                   n_terms,  block, block.K, panels, accumulate || k > 0,
                                   &upcoming };
            pack_columns(panels, terms, n_terms, j, n, block);
            multiply_run(&piece, strips, 0, M, 0, n);
        }
    }
}

static void matmul_short(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                         size_t N, bool accumulate, struct matmul_work w)
{
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads();
        size_t each = round_up((N + threads - 1) / threads, TILE_COLS);
        size_t pieces = (each + SHORT_COLS - 1) / SHORT_COLS;
        size_t wide = round_up((each + pieces - 1) / pieces, TILE_COLS);
        size_t first = (size_t)omp_get_thread_num() * each;
        if (first < N)
            short_columns(c, ldc, terms, n_terms, M, first, min_size(N, first + each), wide,
                          accumulate, w);
    }
}

/* ---- few columns ----------------------------------------------------------------------------- */

/* Where C is one panel wide (x A^T, dy B), packing A would cost more than the product: rows of A are
 * read where they lie. As tile_nv(), row i of A at row[i]. */
static inline __attribute__((always_inline)) void narrow_nv(real *c, size_t ldc,
                                                            const real *const row[TILE_ROWS],
                                                            const real *panel, size_t K, bool add,
                                                            const int nv)
{
    vec s[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < nv; j++) s[i][j] = (vec){ 0 };
    for (size_t k = 0; k < K; k++, panel += nv * VL) {
        vec b[TILE_VECTORS];
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) b[j] = *(const vec *)(panel + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < TILE_ROWS; i++) {
            vec a = row[i][k] - (vec){ 0 };
#pragma GCC unroll 8
            for (int j = 0; j < nv; j++) s[i][j] += a * b[j];
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) {
            real *p = c + (size_t)i * ldc + j * VL;
            if (add) s[i][j] += load(p);
            store(p, s[i][j]);
        }
    }
}

/* c (m, vectors * VL) = or += m <= TILE_ROWS rows at a, lda apart. */
static void narrow_tile(real *c, size_t ldc, const real *a, size_t lda, size_t m, const real *panel,
                        size_t K, bool add, size_t vectors)
{
    const real *row[TILE_ROWS];
    for (size_t i = 0; i < TILE_ROWS; i++) row[i] = i < m ? a + i * lda : zeros;
    if (vectors == 1) {
        narrow_nv(c, ldc, row, panel, K, add, 1);
    } else if (vectors == 2) {
        narrow_nv(c, ldc, row, panel, K, add, 2);
    } else {
        narrow_nv(c, ldc, row, panel, K, add, TILE_VECTORS);
    }
}

/* Rows [row, row + m) of C through a tile of their own, so that C may be narrower than its panel. */
static void narrow_rows(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t row,
                        size_t m, size_t N, bool accumulate, const real *panels, size_t step)
{
    real sum[TILE_ROWS * TILE_COLS] __attribute__((aligned(64)));
    size_t K = joint_inner(terms, n_terms), vectors = panel_vectors(N, 0), width = vectors * VL;
    bool add = false;
    for (size_t k = 0; k < K; k += step) {
        struct inner block = { k, min_size(K - k, step) };
        size_t start = 0;
        for (const struct term *t = terms; t < terms + n_terms; start += t->K, t++) {
            struct inner_part p = part_of(block, start, t->K);
            if (!p.K) continue;
            narrow_tile(sum, width, t->a + row * t->lda + p.k, t->lda, m,
                        panels + (k + p.at) * width, p.K, add, vectors);
            add = true;
        }
    }
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < N; j++) {
            real v = sum[i * width + j], *to = c + (row + i) * ldc + j;
            *to = accumulate ? *to + v : v;
        }
}

static bool is_narrow(const struct term *terms, size_t n_terms, size_t N)
{
    if (N > TILE_COLS || joint_inner(terms, n_terms) > COLS_MAX / TILE_COLS * INNER_MAX)
        return false;
    for (size_t i = 0; i < n_terms; i++)
        if (terms[i].a_cols) return false;
    return true;
}

static void matmul_narrow(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                          size_t N, bool accumulate, real *panels)
{
    size_t K = joint_inner(terms, n_terms), step = block_length(K), width = round_up(N, VL);
#pragma omp parallel
    {
        for (size_t k = 0; k < K; k += step) {
            struct inner block = { k, min_size(K - k, step) };
            pack_panels(panels + k * width, terms, n_terms, 0, N, block);
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (size_t i = 0; i < M; i += TILE_ROWS)
            narrow_rows(c, ldc, terms, n_terms, i, min_size(M - i, TILE_ROWS), N, accumulate,
                        panels, step);
    }
}

/* ---- gradients of the adapters --------------------------------------------------------------- */

/* C (M, N) = or += A^T B with one side of a few columns: dA = du^T x and dB = dy^T u. Rows of both
 * operands lie as the product reads them, so nothing is packed: a block of C that stays in the
 * second-level cache takes OUTER_DEPTH rows of both at a time, each element one chain over all K. */
enum {
    OUTER_DEPTH = VECTOR_BYTES >= 64 ? 16 : 8,
    OUTER_FEW = 64,
    OUTER_BLOCK = 16384,
    OUTER_WIDTH = 512
};

struct outer {
    const real *a, *b;
    size_t lda, ldb;
    bool more; /* OUTER_DEPTH more rows follow: they are fetched meanwhile */
};

/* c (m, width), width = nv * VL: B's rows in registers, A's values broadcast one by one. */
static inline __attribute__((always_inline)) void
outer_narrow(real *c, const struct outer *o, size_t m, const int nv, const int depth)
{
    vec right[OUTER_DEPTH][2];
#pragma GCC unroll 16
    for (int q = 0; q < depth; q++)
        for (int j = 0; j < nv; j++) right[q][j] = load(o->b + (size_t)q * o->ldb + j * VL);
    for (size_t i = 0; i < m; i++, c += nv * VL) {
        if (o->more && i % VL == 0) {
            for (int q = 0; q < depth; q++)
                __builtin_prefetch(o->a + (size_t)(q + depth) * o->lda + i);
        }
        vec s[2];
        for (int j = 0; j < nv; j++) s[j] = *(vec *)(c + j * VL);
#pragma GCC unroll 16
        for (int q = 0; q < depth; q++) {
            vec left = o->a[(size_t)q * o->lda + i] - (vec){ 0 };
            for (int j = 0; j < nv; j++) s[j] += left * right[q][j];
        }
        for (int j = 0; j < nv; j++) *(vec *)(c + j * VL) = s[j];
    }
}

/* c (m, width), width a multiple of VL: A's values in registers, B's rows from the first-level
 * cache. */
static inline __attribute__((always_inline)) void
outer_wide(real *c, const struct outer *o, size_t m, size_t width, const int depth)
{
    size_t lines = width / VL, fetched = 0, all = o->more ? lines * (size_t)depth : 0;
    for (size_t i = 0; i < m; i++, c += width) {
        for (; fetched * m < all * (i + 1); fetched++)
            __builtin_prefetch(o->b + ((size_t)depth + fetched / lines) * o->ldb +
                               fetched % lines * VL);
        vec left[OUTER_DEPTH];
#pragma GCC unroll 16
        for (int q = 0; q < depth; q++) left[q] = o->a[(size_t)q * o->lda + i] - (vec){ 0 };
        for (size_t j = 0; j < width; j += VL) {
            vec s = *(vec *)(c + j);
#pragma GCC unroll 16
            for (int q = 0; q < depth; q++) s += left[q] * load(o->b + (size_t)q * o->ldb + j);
            *(vec *)(c + j) = s;
        }
    }
}

static void outer_rows(real *c, const struct outer *o, size_t m, size_t width, size_t depth)
{
    bool deep = depth == OUTER_DEPTH;
    if (width == VL) {
        deep ? outer_narrow(c, o, m, 1, OUTER_DEPTH) : outer_narrow(c, o, m, 1, 1);
    } else if (width == 2 * VL && OUTER_DEPTH * 2 < 28 * (VECTOR_BYTES / 32)) {
        deep ? outer_narrow(c, o, m, 2, OUTER_DEPTH) : outer_narrow(c, o, m, 2, 1);
    } else {
        deep ? outer_wide(c, o, m, width, OUTER_DEPTH) : outer_wide(c, o, m, width, 1);
    }
}

/* The block of C (m, n) at (row, col). Rows of B are copied so that they end at whole vectors. */
static void outer_block(real *c, size_t ldc, const struct term *t, size_t row, size_t col, size_t m,
                        size_t n, bool accumulate)
{
    real sum[OUTER_BLOCK] __attribute__((aligned(64)));
    real rows[OUTER_DEPTH][OUTER_WIDTH] __attribute__((aligned(64)));
    size_t width = round_up(n, VL);
    memset(sum, 0, m * width * sizeof(real));
    for (size_t k = 0; k < t->K;) {
        size_t depth = t->K - k >= OUTER_DEPTH ? OUTER_DEPTH : 1;
        struct outer o = { t->a + k * t->lda + row, t->b + k * t->ldb + col, t->lda, t->ldb,
                           t->K - k >= 2 * OUTER_DEPTH };
        if (n < width) {
            for (size_t q = 0; q < depth; q++) {
                memcpy(rows[q], o.b + q * t->ldb, n * sizeof(real));
                memset(rows[q] + n, 0, (width - n) * sizeof(real));
            }
            o.b = rows[0], o.ldb = OUTER_WIDTH;
        }
        outer_rows(sum, &o, m, width, depth);
        k += depth;
    }
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            real v = sum[i * width + j], *to = c + (row + i) * ldc + col + j;
            *to = accumulate ? *to + v : v;
        }
}

static bool is_outer(const struct term *t, size_t n_terms, size_t M, size_t N)
{
    return n_terms == 1 && t->a_cols && !t->b_rows && t->b && min_size(M, N) <= OUTER_FEW;
}

/* Blocks: as long as fits, as many as there are threads. */
static void matmul_outer(real *c, size_t ldc, const struct term *t, size_t M, size_t N,
                         bool accumulate)
{
    size_t threads = (size_t)omp_get_max_threads(), m = M, n = N;
    if (M <= N) {
        n = round_up((N + threads - 1) / threads, VL);
        n = min_size(n, min_size(OUTER_BLOCK / M / VL * VL, OUTER_WIDTH));
    } else {
        m = (M + threads - 1) / threads;
        m = min_size(m, OUTER_BLOCK / round_up(N, VL));
    }
    size_t across = (N + n - 1) / n, blocks = (M + m - 1) / m * across;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < blocks; i++) {
        size_t row = i / across * m, col = i % across * n;
        outer_block(c, ldc, t, row, col, min_size(m, M - row), min_size(n, N - col), accumulate);
    }
}

/* ---- any product ----------------------------------------------------------------------------- */

static void matmul(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                   size_t N, bool accumulate, void *work)
{
    struct matmul_work w = matmul_carve(work);
    size_t K = joint_inner(terms, n_terms), step = block_length(K);
    if (M == 0) return; /* of a pass whose examples have no targets */
    if (is_outer(terms, n_terms, M, N)) {
        matmul_outer(c, ldc, terms, M, N, accumulate);
        return;
    }
    if (is_narrow(terms, n_terms, N)) {
        matmul_narrow(c, ldc, terms, n_terms, M, N, accumulate, w.panels);
        return;
    }
    if (is_short(M, N)) {
        matmul_short(c, ldc, terms, n_terms, M, N, accumulate, w);
        return;
    }
#pragma omp parallel
    for (size_t col = 0; col < N; col += COLS_MAX) {
        size_t n = min_size(N - col, COLS_MAX), n_pad = round_up(n, VL);
        for (size_t k = 0; k < K; k += INNER_BLOCKS * step) {
            struct inner inner = { k, min_size(K - k, INNER_BLOCKS * step) };
            for (size_t b = 0; b < inner.K; b += step) {
                struct inner block = { k + b, min_size(inner.K - b, step) };
                pack_panels(w.panels + b * n_pad, terms, n_terms, col, n, block);
            }
#pragma omp barrier
            struct piece piece = { c + col, ldc,   M,    n,        terms,
                                   n_terms, inner, step, w.panels, accumulate || k > 0,
                                   NULL };
            multiply(&piece, w.strips + (size_t)omp_get_thread_num() * STRIPS);
        }
    }
}
