/* C (M, N) = sum over terms of A (M, K) * B (K, N), B widened from its storage type as it is
 * packed.
 *
 * The scheme of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM
 * TOMS 2008): B is packed into panels of TILE_COLS columns, A into strips of TILE_ROWS rows, both
 * with the inner index slowest, and a register tile of TILE_ROWS x TILE_COLS runs over the inner
 * index. The terms' inner indices are joined into one, so that a LoRA term lengthens the last block
 * instead of visiting C again. All threads pack several blocks together, then share out C:
 *
 *     for columns in pieces of COLS_MAX            (packed B stays in the last-level cache)
 *       for the joint inner index in pieces of INNER_BLOCKS blocks of at most INNER_MAX
 *         pack B                                   (each weight is widened once)
 *         for rows in pieces of ROWS_MAX
 *           pack A
 *           for parts of C that stay in the second-level cache
 *             for each block: C += A * B, tile by tile
 *
 * Blocks depend on the terms' K alone and every element of C is one chain of multiply-adds per
 * block, so its bits depend on neither M, N nor the number of threads. */

enum {
    INNER_MAX = 384,
    INNER_BLOCKS = 3,
    ROWS_MAX = 2048,
    COLS_MAX = 3072, /* a multiple of every TILE_COLS and of 32 */
    PART_STRIPS = (VECTOR_BYTES >= 64 ? 256 : 128) / TILE_ROWS,
    PART_PANELS = 8,
    PACK_COLS = TILE_COLS % 32 ? 96 : TILE_COLS, /* whole panels and whole quantised blocks */
};
_Static_assert(COLS_MAX % PACK_COLS == 0 && PACK_COLS % TILE_COLS == 0, "panels fill pieces");
_Static_assert(INNER_MAX % QUANT_BLOCK == 0, "blocks hold whole quantised blocks");

struct matmul_work {
    real *
        strips; /* packed A: ROWS_MAX x INNER_BLOCKS * INNER_MAX, and slack for full-vector stores */
    real *panels; /* packed B: COLS_MAX x INNER_BLOCKS * INNER_MAX */
};

static size_t matmul_work_bytes(void)
{
    return ((ROWS_MAX + TILE_ROWS + COLS_MAX) * (size_t)(INNER_BLOCKS * INNER_MAX) + 4 * VL) *
               sizeof(real) +
           256;
}

static struct matmul_work matmul_carve(void *work)
{
    real *base = (real *)(((uintptr_t)work + 127) / 128 * 128);
    return (struct matmul_work){
        .panels = base,
        .strips = base + COLS_MAX * (size_t)(INNER_BLOCKS * INNER_MAX),
    };
}

/* ---- the register tile ----------------------------------------------------------------------- */

/* c (TILE_ROWS, nv * VL) = or += strip (K, TILE_ROWS) * panel (K, nv * VL). nv is a constant at
 * every call, so that the loops over the tile unroll and s stays in registers. */
static inline __attribute__((always_inline)) void
tile_nv(real *c, size_t ldc, const real *strip, const real *panel, size_t K, bool add, const int nv)
{
    vec s[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < nv; j++) {
            s[i][j] = (vec){ 0 };
            __builtin_prefetch(c + (size_t)i * ldc + j * VL, 1); /* for the end of the loop */
        }
    for (size_t k = 0; k < K; k++) {
        vec b[TILE_VECTORS];
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
                      size_t vectors)
{
    switch (vectors) {
    case 1:
        tile_nv(c, ldc, strip, panel, K, add, 1);
        break;
    case 2:
        tile_nv(c, ldc, strip, panel, K, add, 2);
        break;
    default:
        tile_nv(c, ldc, strip, panel, K, add, TILE_VECTORS);
        break;
    }
}

/* Any m <= TILE_ROWS, n <= vectors * VL: at the borders of C through a tile of its own. */
static void tile(real *c, size_t ldc, const real *strip, const real *panel, size_t K, bool add,
                 size_t m, size_t n, size_t vectors)
{
    if (m == TILE_ROWS && n == vectors * VL) {
        tile_full(c, ldc, strip, panel, K, add, vectors);
        return;
    }
    real border[TILE_ROWS * TILE_COLS] __attribute__((aligned(64)));
    tile_full(border, TILE_COLS, strip, panel, K, false, vectors);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            real v = border[i * TILE_COLS + j];
            c[i * ldc + j] = add ? c[i * ldc + j] + v : v;
        }
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

/* The same where B's storage has one row per k: rows are widened and cut into panels. n <=
 * PACK_COLS columns from `col`, which become neighbouring panels of `depth` rows each, of which
 * these are rows `at` and on. */
static void pack_panels_cols(real *panels, size_t depth, size_t at, const struct term *t,
                             size_t col, size_t n, size_t k0, size_t K)
{
    real wide[PACK_COLS] __attribute__((aligned(64)));
    for (size_t k = 0; k < K; k++) {
        const real *row = wide;
        if (t->w) {
            widen(wide, t->w, k0 + k, col, n);
        } else {
            row = t->b + (k0 + k) * t->ldb + col;
        }
        for (size_t j = 0; j < n; j += TILE_COLS) {
            size_t width = panel_vectors(n, j) * VL, m = min_size(n - j, TILE_COLS);
            real *out = panels + j * depth + (at + k) * width;
            if (m == TILE_COLS) {
                memcpy(out, row + j, TILE_COLS * sizeof(real));
            } else {
                for (size_t i = 0; i < width; i++) out[i] = i < m ? row[j + i] : 0;
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

/* Called by all threads of a team. Panel of column j begins at panels + j * block.K. */
static void pack_panels(real *panels, const struct term *terms, size_t n_terms, size_t col,
                        size_t n, struct inner block)
{
    size_t start = 0;
    for (const struct term *t = terms; t < terms + n_terms; start += t->K, t++) {
        struct inner_part p = part_of(block, start, t->K);
        size_t step = t->b_rows ? TILE_COLS : PACK_COLS;
        if (!p.K) continue;
#pragma omp for schedule(static) nowait
        for (size_t j = 0; j < n; j += step) {
            size_t m = min_size(n - j, step), vectors = panel_vectors(n, j);
            real *panel = panels + j * block.K;
            if (t->b_rows) {
                pack_panel_rows(panel + p.at * vectors * VL, t, col + j, m, vectors, p.k, p.K);
            } else {
                pack_panels_cols(panel, block.K, p.at, t, col + j, m, p.k, p.K);
            }
        }
    }
}

/* Strip of row i begins at strips + i * block.K. */
static void pack_strips(real *strips, const struct term *terms, size_t n_terms, size_t row,
                        size_t m, struct inner block)
{
    size_t start = 0;
    for (const struct term *t = terms; t < terms + n_terms; start += t->K, t++) {
        struct inner_part p = part_of(block, start, t->K);
        if (!p.K) continue;
#pragma omp for schedule(static) nowait
        for (size_t i = 0; i < m; i += TILE_ROWS) {
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

/* A piece of the product whose operands are packed: C (m, n) and the blocks of `inner`, of `step`
 * each. Block k's panels and strips begin at k * (n or m, padded). */
struct piece {
    real *c;
    size_t ldc, m, n;
    struct inner inner;
    size_t step;
    const real *strips, *panels;
    bool add;
};

static void multiply_part(const struct piece *p, size_t i0, size_t i1, size_t j0, size_t j1)
{
    size_t m_pad = round_up(p->m, TILE_ROWS), n_pad = round_up(p->n, VL);
    bool add = p->add;
    for (size_t k = 0; k < p->inner.K; k += p->step, add = true) {
        size_t K = min_size(p->inner.K - k, p->step);
        const real *strips = p->strips + k * m_pad, *panels = p->panels + k * n_pad;
        for (size_t j = j0; j < j1; j += TILE_COLS)
            for (size_t i = i0; i < i1; i += TILE_ROWS)
                tile(p->c + i * p->ldc + j, p->ldc, strips + i * K, panels + j * K, K, add,
                     min_size(TILE_ROWS, p->m - i), min_size(TILE_COLS, p->n - j),
                     panel_vectors(p->n, j));
    }
}

/* Parts are handed out as threads come, small enough that the last one does not leave the others
 * waiting; which thread computes a part does not change it. */
static void multiply(const struct piece *p)
{
    size_t part_m = PART_STRIPS * TILE_ROWS, part_n = PART_PANELS * TILE_COLS;
    size_t wanted = 8 * (size_t)omp_get_num_threads(), down = (p->m + part_m - 1) / part_m;
    while (part_n > TILE_COLS && down * ((p->n + part_n - 1) / part_n) < wanted)
        part_n -= TILE_COLS;
    size_t across = (p->n + part_n - 1) / part_n;
#pragma omp for schedule(dynamic)
    for (size_t t = 0; t < down * across; t++) {
        size_t i = t / across * part_m, j = t % across * part_n;
        multiply_part(p, i, min_size(p->m, i + part_m), j, min_size(p->n, j + part_n));
    }
}

static void matmul(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                   size_t N, bool accumulate, void *work)
{
    struct matmul_work w = matmul_carve(work);
    size_t K = joint_inner(terms, n_terms), step = block_length(K);
#pragma omp parallel
    for (size_t col = 0; col < N; col += COLS_MAX) {
        size_t n = min_size(N - col, COLS_MAX), n_pad = round_up(n, VL);
        for (size_t k = 0; k < K; k += INNER_BLOCKS * step) {
            struct inner inner = { k, min_size(K - k, INNER_BLOCKS * step) };
            for (size_t b = 0; b < inner.K; b += step) {
                struct inner block = { k + b, min_size(inner.K - b, step) };
                pack_panels(w.panels + b * n_pad, terms, n_terms, col, n, block);
            }
            for (size_t row = 0; row < M; row += ROWS_MAX) {
                size_t m = min_size(M - row, ROWS_MAX), m_pad = round_up(m, TILE_ROWS);
                for (size_t b = 0; b < inner.K; b += step) {
                    struct inner block = { k + b, min_size(inner.K - b, step) };
                    pack_strips(w.strips + b * m_pad, terms, n_terms, row, m, block);
                }
#pragma omp barrier
                struct piece piece = {
                    c + row * ldc + col, ldc, m, n, inner, step, w.strips, w.panels,
                    accumulate || k > 0
                };
                multiply(&piece);
            }
        }
    }
}
