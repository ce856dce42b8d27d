/* C (M, N) = sum over terms of A (M, K) * B (K, N), B widened from its storage type as it is
 * packed.
 *
 * The scheme of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", ACM
 * TOMS 2008): B is packed into panels of TILE_COLS columns, A into strips of TILE_ROWS rows, both
 * with the inner index slowest, and a register tile of TILE_ROWS x TILE_COLS runs over the inner
 * index. The terms' inner indices are joined into one, so that a LoRA term lengthens the last block
 * instead of visiting C again. C is cut into a grid, one cell for each thread, which does all of it
 * alone, without waiting for others:
 *
 *     for the cell's rows in chunks of at most ROWS_MAX
 *       for the joint inner index in blocks of at most INNER_MAX
 *         pack A                               (it passes through the last-level cache)
 *         for the cell's columns in groups of at most GROUP_COLS
 *           pack B                             (it stays in the second-level cache)
 *           for rows: C += A * B, tile by tile, while what is packed next is fetched
 *
 * B is kept close and used at once because it costs most: its values come from memory and are
 * widened. (Products of few columns and outer products have functions of their own, below. What
 * this product shares with that in bf16 is in packed.c.)
 *
 * Blocks depend on the terms' K alone and every element of C is one chain of multiply-adds per
 * block, so its bits depend on neither M, N nor the number of threads. */

enum {
    INNER_MAX = 384,
    ROWS_MAX = 1008, /* whole strips of every TILE_ROWS */
    GROUP_COLS = 192,
};
_Static_assert(ROWS_MAX % TILE_ROWS == 0, "strips fill chunks");
_Static_assert(GROUP_COLS % TILE_COLS == 0, "panels fill groups");
_Static_assert(INNER_MAX % SPAN == 0, "blocks hold whole spans");

/* The work memory: of each thread, packed B and packed A. */
enum {
    PANELS = GROUP_COLS * INNER_MAX,
    STRIPS = ROWS_MAX * INNER_MAX,
};

static size_t matmul_work_bytes(void)
{
    return (size_t)omp_get_max_threads() * (PANELS + STRIPS) * sizeof(real) + 128;
}

/* ---- packing --------------------------------------------------------------------------------- */

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
 * reads run along rows and writes along panels. n <= GROUP_COLS columns from `col` become
 * neighbouring panels of `depth` rows each; this call fills their rows from `at` on. */
static void pack_panels_cols(real *panels, size_t depth, size_t at, const struct term *t,
                             size_t col, size_t n, size_t k0, size_t K)
{
    real wide[PACK_DEPTH][GROUP_COLS + PACK_SLACK] __attribute__((aligned(64)));
    size_t skip = col % SPAN; /* panels need not begin where spans do */
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

static size_t joint_inner(const struct term *terms, size_t n_terms)
{
    size_t K = 0;
    for (size_t i = 0; i < n_terms; i++) K += terms[i].K;
    return K;
}

/* n <= GROUP_COLS columns of B from `col` on. The panel of the j-th of them begins at panels + j *
 * block.K. */
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

/* The strip of row i begins at strips + i * block.K. */
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

/* One block of a cell of at most GROUP_COLS columns from packed operands. */
static void multiply_block(const struct product *p, const struct cell *cell, struct inner block,
                           const real *strips, const real *panels, struct source upcoming)
{
    size_t tiles = (cell->m + TILE_ROWS - 1) / TILE_ROWS * ((cell->n + TILE_COLS - 1) / TILE_COLS);
    size_t lines = (upcoming.lines + tiles - 1) / tiles;
    bool add = p->accumulate || block.k > 0;
    for (size_t j = 0; j < cell->n; j += TILE_COLS) {
        const real *panel = panels + j * block.K;
        size_t n = min_size(TILE_COLS, cell->n - j), vectors = panel_vectors(cell->n, j);
        for (size_t i = 0; i < cell->m; i += TILE_ROWS) {
            source_fetch(&upcoming, lines);
            tile(p->c + (cell->row + i) * p->ldc + cell->col + j, p->ldc, strips + i * block.K,
                 panel, block.K, add, min_size(TILE_ROWS, cell->m - i), n, vectors);
        }
    }
}

/* A cell of at most ROWS_MAX rows, by one thread. */
static void multiply_chunk(const struct product *p, const struct cell *cell, real *work)
{
    real *panels = work, *strips = work + PANELS;
    size_t K = joint_inner(p->terms, p->n_terms), step = block_length(K, INNER_MAX);
    size_t groups = (cell->n + GROUP_COLS - 1) / GROUP_COLS;
    size_t wide = round_up((cell->n + groups - 1) / groups, TILE_COLS);
    for (size_t k = 0; k < K; k += step) {
        struct inner block = { k, min_size(K - k, step) };
        struct inner next = { k + step, min_size(K - block.k - block.K, step) };
        pack_strips(strips, p->terms, p->n_terms, cell->row, cell->m, block);
        for (size_t j = 0; j < cell->n; j += wide) {
            struct cell group = { cell->row, cell->m, cell->col + j, min_size(cell->n - j, wide) };
            struct source upcoming = source_after(p, cell, j + wide, wide, block, next);
            pack_columns(panels, p->terms, p->n_terms, group.col, group.n, block);
            multiply_block(p, &group, block, strips, panels, upcoming);
        }
    }
}

/* ---- few columns ----------------------------------------------------------------------------- */

/* Where C is one panel wide (x A^T, dy B), packing A would cost more than the product: its rows are
 * read where they lie. c (m, vectors * VL) = or += m <= TILE_ROWS rows at a, lda apart. */
static void narrow_tile(real *c, size_t ldc, const real *a, size_t lda, size_t m, const real *panel,
                        size_t K, bool add, size_t vectors)
{
    const real *row[TILE_ROWS];
    for (size_t i = 0; i < TILE_ROWS; i++) row[i] = i < m ? a + i * lda : zeros;
    struct strip rows = { .rows = row };
    /* Not by tile_vectors(): gcc 12 needs the steps as constants here, or it keeps a pointer for
     * each row (AVX-512) or a sum in memory (SSE2). */
    if (vectors == 1) {
        tile_nv(c, ldc, rows, panel, VL, K, add, 1);
    } else if (vectors == 2) {
        tile_nv(c, ldc, rows, panel, 2 * VL, K, add, 2);
    } else {
        tile_nv(c, ldc, rows, panel, TILE_VECTORS * VL, K, add, TILE_VECTORS);
    }
}

/* Rows [row, row + m) of C go through a tile of their own, so that C may be narrower than its
 * panel. */
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

/* Its packed B must fit into the work memory of one thread: threads must not change the choice. */
static bool is_narrow(const struct term *terms, size_t n_terms, size_t N)
{
    if (N > TILE_COLS || joint_inner(terms, n_terms) * round_up(N, VL) > PANELS + STRIPS)
        return false;
    for (size_t i = 0; i < n_terms; i++)
        if (terms[i].a_cols) return false;
    return true;
}

static void matmul_narrow(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                          size_t N, bool accumulate, real *panels)
{
    size_t K = joint_inner(terms, n_terms), step = block_length(K, INNER_MAX);
    size_t width = round_up(N, VL);
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (size_t k = 0; k < K; k += step) {
            struct inner block = { k, min_size(K - k, step) };
            pack_columns(panels + k * width, terms, n_terms, 0, N, block);
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < M; i += TILE_ROWS)
            narrow_rows(c, ldc, terms, n_terms, i, min_size(M - i, TILE_ROWS), N, accumulate,
                        panels, step);
    }
}

/* ---- gradients of the adapters --------------------------------------------------------------- */

/* C (M, N) = or += A^T B with one side of a few columns: dA = du^T x and dB = dy^T u. Rows of both
 * operands lie as the product reads them, so nothing is packed: a block of C that stays in the
 * second-level cache takes OUTER_DEPTH rows of both at a time, and each element is one chain over
 * all K. */
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

/* Blocks are as long as the cache allows, and there are as many as threads or more. */
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
    real *aligned = matmul_aligned(work);
    if (M == 0) return; /* a pass whose examples have no targets */
    if (is_outer(terms, n_terms, M, N)) {
        matmul_outer(c, ldc, terms, M, N, accumulate);
    } else if (is_narrow(terms, n_terms, N)) {
        matmul_narrow(c, ldc, terms, n_terms, M, N, accumulate, aligned);
    } else {
        struct product p = { c, ldc, terms, n_terms, accumulate };
        multiply_grid(&p, M, N, aligned, PANELS + STRIPS, ROWS_MAX, multiply_chunk);
    }
}
