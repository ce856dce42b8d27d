/* What packed products share (matmul.c, matmul_bf16.c): the register tile, the transposition of
 * vectors, the blocks of the joint inner index, the prefetching of weights, and the grid of cells.
 * matmul.c says how they work together. */

enum {
    PACK_DEPTH = 8,        /* rows of B that are read at a time */
    PACK_SLACK = 2 * SPAN, /* the rest of the spans at both ends */
    LINE_BYTES = 64,
};

static real *matmul_aligned(void *work)
{
    return (real *)(((uintptr_t)work + 127) / 128 * 128);
}

/* ---- the register tile ----------------------------------------------------------------------- */

/* One step of the tile over the inner index. A set whose instruction multiplies pairs of 16 bits
 * defines KERNELS_PAIRS and its own steps: the reals that are packed then hold two bf16 each. */
#ifndef KERNELS_PAIRS
ALWAYS_INLINE vec in_every_lane(const real *p)
{
    return *p - (vec){ 0 };
}

ALWAYS_INLINE vec multiply_add(vec s, vec a, vec b)
{
    return s + a * b;
}
#endif

/* TILE_ROWS rows of A: A(i, k) is at[i * row + k * step]; where `rows` is not NULL, rows[i][k]. */
struct strip {
    const real *at;
    size_t row, step;
    const real *const *rows;
};

/* c (TILE_ROWS, nv * VL) = or += A (TILE_ROWS, K) * B (K, nv * VL). Row k of B begins at b + k *
 * b_step, aligned as vectors are. nv, the layout of A and, with packed operands, the steps are
 * constants at every call, so that the loops over the tile unroll and s stays in registers. */
static inline __attribute__((always_inline)) void tile_nv(real *c, size_t ldc, struct strip a,
                                                          const real *b, size_t b_step, size_t K,
                                                          bool add, const int nv)
{
    vec s[TILE_ROWS][TILE_VECTORS];
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < nv; j++) {
            s[i][j] = (vec){ 0 };
            /* for the end of the loop; with `rows` c is a tile on the stack, which is near */
            if (!a.rows) __builtin_prefetch(c + (size_t)i * ldc + j * VL, 1);
        }
    for (size_t k = 0; k < K; k++) {
        vec row[TILE_VECTORS];
        UNROLL for (int j = 0; j < nv; j++) row[j] = *(const vec *)(b + j * VL);
        UNROLL for (int i = 0; i < TILE_ROWS; i++)
        {
            vec one = in_every_lane(a.rows ? a.rows[i] + k : a.at + (size_t)i * a.row);
            UNROLL for (int j = 0; j < nv; j++) s[i][j] = multiply_add(s[i][j], one, row[j]);
        }
        if (!a.rows) a.at += a.step;
        b += b_step;
    }
    UNROLL for (int i = 0; i < TILE_ROWS; i++)
    {
        UNROLL for (int j = 0; j < nv; j++)
        {
            real *p = c + (size_t)i * ldc + j * VL;
            if (add) s[i][j] += load(p);
            store(p, s[i][j]);
        }
    }
}

/* The same for a number of vectors known at run time. */
static inline __attribute__((always_inline)) void tile_vectors(real *c, size_t ldc, struct strip a,
                                                               const real *b, size_t b_step,
                                                               size_t K, bool add, size_t vectors)
{
    switch (vectors) {
    case 1:
        tile_nv(c, ldc, a, b, b_step, K, add, 1);
        break;
    case 2:
        tile_nv(c, ldc, a, b, b_step, K, add, 2);
        break;
    default:
        tile_nv(c, ldc, a, b, b_step, K, add, TILE_VECTORS);
        break;
    }
}

/* From a packed strip (K, TILE_ROWS) and panel (K, vectors * VL). */
static void tile_full(real *c, size_t ldc, const real *strip, const real *panel, size_t K, bool add,
                      size_t vectors)
{
    struct strip a = { .at = strip, .row = 1, .step = TILE_ROWS };
    tile_vectors(c, ldc, a, panel, vectors * VL, K, add, vectors);
}

/* Any m <= TILE_ROWS, n <= vectors * VL: the borders of C go through a tile of their own. */
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

/* ---- the inner index ------------------------------------------------------------------------- */

/* A block of the joint inner index, [k, k + K), and the part of term t that lies in it. */
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

/* The length of the blocks that K is cut into, of at most `longest` values; the last may be
 * shorter. */
static inline size_t block_length(size_t K, size_t longest)
{
    size_t blocks = (K + longest - 1) / longest;
    return blocks ? round_up((K + blocks - 1) / blocks, SPAN) : 1;
}

/* What packing will read of a first term's weight, to be fetched into the second-level cache line
 * by line while something else is multiplied. All zero: nothing. */
struct source {
    const struct matrix *w;
    size_t row, end;     /* rows of it */
    size_t start, bytes; /* of each */
    size_t at;           /* of the bytes of `row` */
    size_t lines;        /* in all */
};

static inline struct source source_of(const struct term *t, size_t col, size_t n,
                                      struct inner block)
{
    struct inner_part p = part_of(block, 0, t->K);
    if (!t->w || !p.K) return (struct source){ 0 };
    struct source s = { .w = t->w, .row = t->b_rows ? col : p.k };
    s.end = s.row + (t->b_rows ? n : p.K);
    s.start = storage_bytes(s.w->type, t->b_rows ? p.k : col);
    s.bytes = storage_bytes(s.w->type, t->b_rows ? p.K : n);
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

/* ---- the grid -------------------------------------------------------------------------------- */

struct product {
    real *c;
    size_t ldc;
    const struct term *terms;
    size_t n_terms;
    bool accumulate;
};

/* Rows [row, row + m) and columns [col, col + n) of a product. */
struct cell {
    size_t row, m, col, n;
};

/* What is packed after the `wide` columns of the cell that end before `then`: the next ones of this
 * block, else the first ones of the next block. */
static inline struct source source_after(const struct product *p, const struct cell *cell,
                                         size_t then, size_t wide, struct inner block,
                                         struct inner next)
{
    if (then >= cell->n) return source_of(p->terms, cell->col, min_size(cell->n, wide), next);
    return source_of(p->terms, cell->col + then, min_size(cell->n - then, wide), block);
}

/* Cells of m rows and n columns. */
struct grid {
    size_t m, n;
};

/* Of all grids with a cell for each thread, the one whose cells take the least time; the constants
 * are the cost of packing a value, in multiply-adds of a full tile. */
static inline struct grid choose_grid(size_t M, size_t N, size_t threads, size_t rows_max)
{
    enum { COST_A = 20, COST_B = 50 };
    struct grid best = { 0 };
    size_t least = SIZE_MAX;
    for (size_t down = 1; down <= threads; down++) {
        size_t across = threads / down;
        struct grid g = { round_up((M + down - 1) / down, TILE_ROWS),
                          round_up((N + across - 1) / across, TILE_COLS) };
        size_t chunks = (g.m + rows_max - 1) / rows_max;
        size_t cost = g.m * g.n + COST_A * g.m + COST_B * g.n * chunks;
        if (cost >= least) continue;
        least = cost;
        best = g;
    }
    return best;
}

/* A cell of at most rows_max rows, by one thread. */
typedef void chunk_function(const struct product *p, const struct cell *cell, real *work);

/* All of C. work_each: reals of the work memory that belong to a thread. */
static inline void multiply_grid(const struct product *p, size_t M, size_t N, real *work,
                                 size_t work_each, size_t rows_max, chunk_function *multiply)
{
    struct grid g = choose_grid(M, N, (size_t)omp_get_max_threads(), rows_max);
    size_t chunks = (g.m + rows_max - 1) / rows_max;
    size_t chunk = round_up((g.m + chunks - 1) / chunks, TILE_ROWS);
#pragma omp parallel for collapse(2) schedule(static, 1)
    for (size_t row = 0; row < M; row += g.m)
        for (size_t col = 0; col < N; col += g.n) {
            size_t end = min_size(M, row + g.m);
            for (size_t i = row; i < end; i += chunk) {
                struct cell cell = { i, min_size(end - i, chunk), col, min_size(N - col, g.n) };
                multiply(p, &cell, work + (size_t)omp_get_thread_num() * work_each);
            }
        }
}
