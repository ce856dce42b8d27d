/* Products with frozen weights in bf16: C (M, N) = sum over terms of bf16(A) * bf16(B), summed in
 * float. Both operands are rounded once, as they are packed: A from float, B from its storage type
 * by way of float; a weight in bf16 is as it is. Terms without a weight, which are the adapters',
 * are computed in f32 by matmul() and added to C after the others.
 *
 * The order of the sums belongs to the arithmetic, not to an instruction set. The weights' inner
 * indices, each padded with a zero to an even K, are joined into one, which is cut into blocks of
 * at most INNER_BF16. An element of C is a chain of float multiply-adds for each block, over pairs
 * of neighbours with the second one first,
 *
 *     s = s + a[2i + 1] * b[2i + 1],    s = s + a[2i] * b[2i]
 *
 * each rounded once, to nearest, ties to even. Operands and results below 2^-126 are zero; whether
 * a result is below is decided after it is rounded. The chains are added to C in order, by an
 * addition that flushes in the same way. This is what VDPBF16PS does (Intel's manual of
 * instruction set extensions). So these products have the same bits on every set.
 *
 * There are two ways to compute it, both by the scheme of matmul.c:
 *
 *   KERNELS_PAIRS   an instruction for pairs: a packed word of 32 bits has two values
 *   otherwise       a packed word is a float that holds a value of bf16, and the two of a pair are
 *                   packed in the other order. The tile of f32 runs over them.
 *
 * MXCSR (x86-64) and FPCR (aarch64) flush denormals while tiles are multiplied. A fused
 * multiply-add of x86-64 is then what is wanted. Base has none, and aarch64 decides before rounding
 * what is below 2^-126; they look at the exponents that are packed. Where no product of a tile can
 * lie beyond the normal numbers, each is exact in float (8 bits by 8), so that rounding it changes
 * nothing. Sums below 2^-126 are exact, too: both addends are multiples of 2^-149. So the tile is
 * right there. All other tiles, which are rare, go a slow way (tile_slow). */

#ifdef KERNELS_PAIRS
enum { PAIR = 2, SWAP = 0 };
#else
enum { PAIR = 1, SWAP = 1 };
#endif

/* Values of the inner index, rows and columns of what is packed at a time. PAIR is the number of
 * values in a word. INNER_BF16 decides bits: it is the same everywhere. */
enum {
    INNER_BF16 = 768,
    ROWS_BF16 = 504 * PAIR,
    GROUP_BF16 = 96 * PAIR,
    WORDS_BF16 = INNER_BF16 / PAIR,
    PANELS_BF16 = GROUP_BF16 * WORDS_BF16,
    STRIPS_BF16 = ROWS_BF16 * WORDS_BF16,
};
_Static_assert(ROWS_BF16 % TILE_ROWS == 0, "strips fill chunks");
_Static_assert(GROUP_BF16 % TILE_COLS == 0, "panels fill groups");
_Static_assert(INNER_BF16 % SPAN == 0, "blocks hold whole spans");

/* ---- denormals ------------------------------------------------------------------------------- */

/* Rounding to nearest, no traps, denormals flushed; the value is what flush_end() puts back. */
#if defined __x86_64__
#include <xmmintrin.h>

static inline uint64_t flush_begin(void)
{
    unsigned before = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* FTZ, DAZ, all exceptions masked */
    return before;
}

static inline void flush_end(uint64_t before)
{
    _mm_setcsr((unsigned)before);
}
#else
static inline uint64_t flush_begin(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr\n\tmsr fpcr, %1"
                     : "=&r"(before)
                     : "r"(UINT64_C(1) << 24)
                     : "memory");
    return before;
}

static inline void flush_end(uint64_t before)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory");
}
#endif

/* Whether the tile is right for all operands. */
#if defined KERNELS_PAIRS || (defined __x86_64__ && defined __FMA__)
#define TILE_IS_RIGHT 1
#else
#define TILE_IS_RIGHT 0
_Static_assert(TILE_ROWS % VL == 0, "strips are whole vectors");
#endif

/* The exponents, as floats store them, of the smallest and largest magnitude of n packed values,
 * but for those that are taken as zero. n is a multiple of VL. */
struct range {
    int low, high;
};

static inline struct range range_of(const real *packed, size_t n)
{
    vec_int low = 255 - (vec_int){ 0 }, high = { 0 };
    for (size_t i = 0; i < n; i += VL) {
        vec_int e = (vec_int)load(packed + i) >> 23 & 255;
        vec_int e_low = e | ((e == 0) & 255);
        vec_int less = e_low < low;
        vec_int more = e > high;
        low = (e_low & less) | (low & ~less);
        high = (e & more) | (high & ~more);
    }
    struct range r = { 255, 0 };
    for (int l = 0; l < VL; l++) {
        r.low = low[l] < r.low ? low[l] : r.low;
        r.high = high[l] > r.high ? high[l] : r.high;
    }
    return r;
}

/* Whether all products of two operands are zero or normal numbers: from 2^-126, below 2^128. */
static inline bool products_are_normal(struct range a, struct range b)
{
    return a.low + b.low >= 254 - 126 && a.high + b.high <= 254 + 126;
}

#if !TILE_IS_RIGHT
/* s + a * b as this arithmetic has it, for s that is zero or a normal number.
 *
 * In double the product of two bf16 is exact, and the sum is rounded to 53 bits. Rounding it again
 * to 24 gives what one rounding would: where the first was not exact, the smaller addend is below
 * 2^-6 units in the last of the sum's 24 places, while the larger one is a multiple of such a unit.
 * So the sum is far from a tie of the second rounding. The same holds for the border below which a
 * result is zero: it is the tie between 2^-126 and the number below it that 24 bits would have with
 * unlimited exponents. From there to 2^-126 the conversion would be right on x86-64 only. */
static inline float step_slow(float s, float a, float b)
{
    if (fabsf(a) < 0x1p-126f) a = copysignf(0, a);
    if (fabsf(b) < 0x1p-126f) b = copysignf(0, b);
    double sum = (double)a * (double)b + (double)s;
    if (fabs(sum) >= 0x1p-126 || sum != sum) return (float)sum;
    return copysignf(fabs(sum) < 0x1p-126 - 0x1p-151 ? 0 : 0x1p-126f, (float)copysign(1, sum));
}

/* tile() for any operands: K steps, each of a packed value. */
static __attribute__((noinline)) void tile_slow(real *c, size_t ldc, const real *strip,
                                                const real *panel, size_t K, bool add, size_t m,
                                                size_t n, size_t vectors)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            float s = 0;
            for (size_t k = 0; k < K; k++)
                s = step_slow(s, strip[k * TILE_ROWS + i], panel[k * vectors * VL + j]);
            c[i * ldc + j] = add ? c[i * ldc + j] + s : s;
        }
}
#endif

/* ---- rounding -------------------------------------------------------------------------------- */

/* A row is of reals, which are rounded here, or of bf16 as a weight has it (`stored`; a constant
 * wherever this is called). VL values from the k-th on. */
ALWAYS_INLINE vec values(const void *row, size_t k, const bool stored)
{
    return stored ? lanes_of_bf16((const uint8_t *)row + 2 * k)
                  : rounded_to_bf16(load((const real *)row + k));
}

/* VL packed words from the w-th on; of the other order in each pair where SWAP is 1. */
ALWAYS_INLINE vec words(const void *row, size_t w, const bool stored)
{
#ifdef KERNELS_PAIRS
    if (stored) return f32_lanes((const uint8_t *)row + 4 * w);
    vec_int x = (vec_int)values(row, 2 * w, stored), y = (vec_int)values(row, 2 * w + VL, stored);
    vec_int even = __builtin_shufflevector(x, y, LANES(EVERY_SECOND, 0));
    vec_int odd = __builtin_shufflevector(x, y, LANES(EVERY_SECOND, 1));
    return (vec)((even >> 16 & 0xffff) | odd);
#else
    return values(row, w, stored);
#endif
}

static const real zeros_bf16[INNER_BF16];

/* Bytes of a value of a row. */
static inline size_t value_bytes(bool stored)
{
    return stored ? sizeof(uint16_t) : sizeof(real);
}

/* The n < VL * PAIR values from the k-th on, followed by zeros. */
static inline void copy_tail(void *out, const void *row, size_t k, size_t n, bool stored)
{
    size_t size = value_bytes(stored);
    memset(out, 0, VL * PAIR * size);
    memcpy(out, (const uint8_t *)row + k * size, n * size);
}

/* ---- packing A ------------------------------------------------------------------------------- */

enum { STRIP_GROUPS = (TILE_ROWS + VL - 1) / VL };

/* out[q * TILE_ROWS + i] = word w + q of row i, for VL words. Vectors are stored at a stride of
 * TILE_ROWS: what spills into the next word is overwritten by it, but for the last. */
ALWAYS_INLINE void strip_words(real *out, const real *const *row, size_t w)
{
    vec t[STRIP_GROUPS][VL];
    for (size_t g = 0; g < STRIP_GROUPS; g++) {
#pragma GCC unroll 16
        for (size_t i = 0; i < VL; i++)
            t[g][i] = g * VL + i < TILE_ROWS ? words(row[g * VL + i], w, false) : (vec){ 0 };
        transpose(t[g]);
    }
#pragma GCC unroll 16
    for (size_t q = 0; q < VL; q++)
        for (size_t g = 0; g < STRIP_GROUPS; g++)
            store(out + q * TILE_ROWS + g * VL, t[g][q ^ SWAP]);
}

/* A strip of m <= TILE_ROWS rows at a, K values of each. The last words go by way of a buffer, as
 * another thread's strip begins beyond them. */
static void pack_strip_bf16(real *out, const real *a, size_t lda, size_t m, size_t K)
{
    real part[(VL + 1) * TILE_ROWS + VL], tails[TILE_ROWS][VL * PAIR];
    const real *row[TILE_ROWS], *tail[TILE_ROWS];
    size_t n = round_up(K, 2) / PAIR, w = 0;
    for (size_t i = 0; i < TILE_ROWS; i++) row[i] = i < m ? a + i * lda : zeros_bf16;
    for (; w + VL < n; w += VL) strip_words(out + w * TILE_ROWS, row, w);
    bool whole = w * PAIR + VL * PAIR <= K;
    for (size_t i = 0; i < TILE_ROWS && !whole; i++) {
        copy_tail(tails[i], row[i], w * PAIR, K - w * PAIR, false);
        tail[i] = tails[i];
    }
    strip_words(part, whole ? row : tail, whole ? w : 0);
    memcpy(out + w * TILE_ROWS, part, (n - w) * TILE_ROWS * sizeof(real));
}

/* Where value k of column i of a packed strip or panel, `width` columns wide, lies: halves of words
 * or floats. */
static inline void put_value(real *packed, size_t width, size_t k, size_t i, float v)
{
    uint16_t bits = storage_bf16(v);
#ifdef KERNELS_PAIRS
    memcpy((uint8_t *)(packed + k / 2 * width + i) + k % 2 * 2, &bits, sizeof bits);
#else
    packed[(k ^ SWAP) * width + i] = float_of_bf16(bits);
#endif
}

/* The same from a transposed A: K rows of M values. No product of a model has one with a weight. */
static void pack_strip_cols_bf16(real *out, const real *a, size_t lda, size_t m, size_t K)
{
    for (size_t k = 0; k < round_up(K, 2); k++)
        for (size_t i = 0; i < TILE_ROWS; i++)
            put_value(out, TILE_ROWS, k, i, k < K && i < m ? a[k * lda + i] : 0);
}

static inline size_t even_inner(const struct product *p)
{
    size_t K = 0;
    for (size_t i = 0; i < p->n_terms; i++) K += round_up(p->terms[i].K, 2);
    return K;
}

/* The strip of row i begins at strips + i * (words of the block). */
static void pack_strips_bf16(real *strips, struct range *ranges, const struct product *p,
                             const struct cell *cell, struct inner block)
{
    size_t start = 0, depth = block.K / PAIR;
    for (size_t n = 0; n < p->n_terms; start += round_up(p->terms[n].K, 2), n++) {
        const struct term *t = p->terms + n;
        struct inner_part part = part_of(block, start, t->K);
        for (size_t i = 0; part.K && i < cell->m; i += TILE_ROWS) {
            real *out = strips + i * depth + part.at / PAIR * TILE_ROWS;
            size_t rows = min_size(cell->m - i, TILE_ROWS), row = cell->row + i;
            if (t->a_cols) {
                pack_strip_cols_bf16(out, t->a + part.k * t->lda + row, t->lda, rows, part.K);
            } else {
                pack_strip_bf16(out, t->a + row * t->lda + part.k, t->lda, rows, part.K);
            }
        }
    }
    for (size_t i = 0; !TILE_IS_RIGHT && i < cell->m; i += TILE_ROWS)
        ranges[i / TILE_ROWS] = range_of(strips + i * depth, TILE_ROWS * depth);
}

/* ---- packing B ------------------------------------------------------------------------------- */

/* out[w * width + i] = word w of row i, for VL rows of n values; the last may be the first of a
 * pair. */
ALWAYS_INLINE void panel_words(real *out, size_t width, const void *const row[VL], size_t n,
                               const bool stored)
{
    size_t w = 0, count = round_up(n, 2) / PAIR;
    real tails[VL][VL * PAIR];
    const void *tail[VL];
    for (; w < count; w += VL) {
        vec r[VL];
        bool whole = (w + VL) * PAIR <= n;
        for (size_t i = 0; i < VL && !whole; i++) {
            copy_tail(tails[i], row[i], w * PAIR, n - w * PAIR, stored);
            tail[i] = tails[i];
        }
        const void *const *from = whole ? row : tail;
        size_t at = whole ? w : 0;
#pragma GCC unroll 16
        for (size_t i = 0; i < VL; i++) r[i] = words(from[i], at, stored);
        transpose(r);
#pragma GCC unroll 16
        for (size_t q = 0; q < VL; q++)
            if (whole || w + q < count) *(vec *)(out + (w + q) * width) = r[q ^ SWAP];
    }
}

/* One panel of n <= TILE_COLS columns of B from `col` on, where the storage has one row for each:
 * values k0 to k0 + K of them. Rows of other types are widened piece by piece. */
static void pack_panel_rows_bf16(real *panel, const struct matrix *weight, size_t col, size_t n,
                                 size_t vectors, size_t k0, size_t K)
{
    enum { PIECE = 256 };
    const bool stored = weight->type == STORAGE_BF16;
    real wide[VL][PIECE] __attribute__((aligned(64)));
    for (size_t g = 0; g < vectors; g++) {
        const void *row[VL];
        for (size_t k = 0, step = stored ? K : PIECE; k < K; k += step) {
            size_t length = min_size(K - k, step);
            for (size_t i = 0; i < VL; i++) {
                size_t j = col + g * VL + i;
                row[i] = zeros_bf16;
                if (j >= col + n) continue;
                row[i] = stored ? storage_at(weight, j, k0).block : (const void *)wide[i];
                if (!stored) widen(wide[i], weight, j, k0 + k, length);
            }
            real *out = panel + g * VL + k / PAIR * vectors * VL;
            if (stored) {
                panel_words(out, vectors * VL, row, length, true);
            } else {
                panel_words(out, vectors * VL, row, length, false);
            }
        }
    }
}

/* Two rows side by side: out has their VL words of the one pair. */
ALWAYS_INLINE void pair_words(real *out, size_t width, vec first, vec second)
{
#ifdef KERNELS_PAIRS
    (void)width;
    *(vec *)out = (vec)(((vec_int)first >> 16 & 0xffff) | (vec_int)second);
#else
    *(vec *)out = second;
    *(vec *)(out + width) = first;
#endif
}

/* Words `at` (and, of floats, the next) of neighbouring panels from two rows of B, n columns each.
 * The panel of column j begins at panels + j * depth. */
ALWAYS_INLINE void pack_pair(real *panels, size_t depth, size_t at, const void *const row[2],
                             size_t n, const bool stored)
{
    uint8_t tails[2][VL * PAIR * sizeof(real)];
    for (size_t j = 0; j < n; j += TILE_COLS) {
        size_t vectors = panel_vectors(n, j);
        real *out = panels + j * depth + at * vectors * VL;
        for (size_t v = 0; v < vectors; v++) {
            size_t k = j + v * VL;
            bool tail = k + VL > n;
            for (int i = 0; i < 2 && tail; i++) copy_tail(tails[i], row[i], k, n - k, stored);
            pair_words(out + v * VL, vectors * VL,
                       values(tail ? tails[0] : row[0], tail ? 0 : k, stored),
                       values(tail ? tails[1] : row[1], tail ? 0 : k, stored));
        }
    }
}

/* n <= GROUP_BF16 columns of B from `col` on, where the storage has one row per k: K rows from k0
 * on, which become words from `at` on. */
static void pack_panels_cols_bf16(real *panels, size_t depth, size_t at,
                                  const struct matrix *weight, size_t col, size_t n, size_t k0,
                                  size_t K)
{
    const bool stored = weight->type == STORAGE_BF16;
    real wide[2][GROUP_BF16 + PACK_SLACK] __attribute__((aligned(64)));
    size_t skip = col % SPAN; /* panels need not begin where spans do */
    for (size_t k = 0; k < K; k += 2) {
        const void *row[2] = { zeros_bf16, zeros_bf16 };
        for (size_t i = 0; i < 2 && k + i < K; i++) {
            if (stored) {
                row[i] = storage_at(weight, k0 + k + i, col).block;
            } else {
                widen(wide[i], weight, k0 + k + i, col - skip, skip + n);
                row[i] = wide[i] + skip;
            }
        }
        if (stored) {
            pack_pair(panels, depth, at + k / PAIR, row, n, true);
        } else {
            pack_pair(panels, depth, at + k / PAIR, row, n, false);
        }
    }
}

/* The panel of the j-th column of the cell begins at panels + j * (words of the block). */
static void pack_columns_bf16(real *panels, struct range *ranges, const struct product *p,
                              const struct cell *cell, struct inner block)
{
    size_t start = 0, depth = block.K / PAIR;
    for (size_t i = 0; i < p->n_terms; start += round_up(p->terms[i].K, 2), i++) {
        const struct term *t = p->terms + i;
        struct inner_part part = part_of(block, start, t->K);
        size_t at = part.at / PAIR;
        if (part.K && !t->b_rows)
            pack_panels_cols_bf16(panels, depth, at, t->w, cell->col, cell->n, part.k, part.K);
        for (size_t j = 0; part.K && t->b_rows && j < cell->n; j += TILE_COLS) {
            size_t n = min_size(cell->n - j, TILE_COLS), vectors = panel_vectors(cell->n, j);
            pack_panel_rows_bf16(panels + j * depth + at * vectors * VL, t->w, cell->col + j, n,
                                 vectors, part.k, part.K);
        }
    }
    for (size_t j = 0; !TILE_IS_RIGHT && j < cell->n; j += TILE_COLS)
        ranges[j / TILE_COLS] = range_of(panels + j * depth,
                                         panel_vectors(cell->n, j) * VL * depth);
}

/* ---- the product ----------------------------------------------------------------------------- */

/* What is packed of a block, and the exponents in each strip and panel. */
struct packed {
    real *strips, *panels;
    struct range of_strips[ROWS_BF16 / TILE_ROWS], of_panels[GROUP_BF16 / TILE_COLS];
};

/* One block of a cell of at most GROUP_BF16 columns. Not inlined: all arithmetic of this mode is
 * between the two calls that change the processor's mode. */
static __attribute__((noinline)) void
multiply_block_bf16(const struct product *p, const struct cell *cell, struct inner block,
                    const struct packed *packed, struct source upcoming)
{
    size_t tiles = (cell->m + TILE_ROWS - 1) / TILE_ROWS * ((cell->n + TILE_COLS - 1) / TILE_COLS);
    size_t lines = (upcoming.lines + tiles - 1) / tiles, depth = block.K / PAIR;
    bool add = p->accumulate || block.k > 0;
    uint64_t mode = flush_begin();
    for (size_t j = 0; j < cell->n; j += TILE_COLS) {
        const real *panel = packed->panels + j * depth;
        size_t n = min_size(TILE_COLS, cell->n - j), vectors = panel_vectors(cell->n, j);
        for (size_t i = 0; i < cell->m; i += TILE_ROWS) {
            const real *strip = packed->strips + i * depth;
            real *c = p->c + (cell->row + i) * p->ldc + cell->col + j;
            size_t m = min_size(TILE_ROWS, cell->m - i);
            source_fetch(&upcoming, lines);
#if !TILE_IS_RIGHT
            if (!products_are_normal(packed->of_strips[i / TILE_ROWS],
                                     packed->of_panels[j / TILE_COLS])) {
                tile_slow(c, p->ldc, strip, panel, depth, add, m, n, vectors);
                continue;
            }
#endif
            tile(c, p->ldc, strip, panel, depth, add, m, n, vectors);
        }
    }
    flush_end(mode);
}

/* A cell of at most ROWS_BF16 rows, by one thread. */
static void multiply_chunk_bf16(const struct product *p, const struct cell *cell, real *work)
{
    struct packed packed;
    packed.panels = work, packed.strips = work + PANELS_BF16;
    size_t K = even_inner(p), step = block_length(K, INNER_BF16);
    size_t groups = (cell->n + GROUP_BF16 - 1) / GROUP_BF16;
    size_t wide = round_up((cell->n + groups - 1) / groups, TILE_COLS);
    for (size_t k = 0; k < K; k += step) {
        struct inner block = { k, min_size(K - k, step) };
        struct inner next = { k + step, min_size(K - block.k - block.K, step) };
        pack_strips_bf16(packed.strips, packed.of_strips, p, cell, block);
        for (size_t j = 0; j < cell->n; j += wide) {
            struct cell group = { cell->row, cell->m, cell->col + j, min_size(cell->n - j, wide) };
            struct source upcoming = source_after(p, cell, j + wide, wide, block, next);
            pack_columns_bf16(packed.panels, packed.of_panels, p, &group, block);
            multiply_block_bf16(p, &group, block, &packed, upcoming);
        }
    }
}

static size_t matmul_bf16_work_bytes(void)
{
    size_t own = (size_t)omp_get_max_threads() * (PANELS_BF16 + STRIPS_BF16) * sizeof(real) + 128;
    size_t others = F32_WORK_BYTES();
    return own > others ? own : others;
}

/* out = the terms with a weight, or those without, from *at on; at most MOST of them. */
enum { MOST_TERMS = 16 };

static size_t gather(struct term out[MOST_TERMS], const struct term *terms, size_t n_terms,
                     size_t *at, bool weights)
{
    size_t n = 0;
    for (; *at < n_terms && n < MOST_TERMS; ++*at)
        if ((terms[*at].w != NULL) == weights) out[n++] = terms[*at];
    return n;
}

static void matmul_bf16(real *c, size_t ldc, const struct term *terms, size_t n_terms, size_t M,
                        size_t N, bool accumulate, void *work)
{
    struct term some[MOST_TERMS];
    if (M == 0) return;
    for (size_t at = 0, n; (n = gather(some, terms, n_terms, &at, true)); accumulate = true) {
        struct product p = { c, ldc, some, n, accumulate };
        multiply_grid(&p, M, N, matmul_aligned(work), PANELS_BF16 + STRIPS_BF16, ROWS_BF16,
                      multiply_chunk_bf16);
    }
    for (size_t at = 0, n; (n = gather(some, terms, n_terms, &at, false)); accumulate = true)
        F32_MATMUL(c, ldc, some, n, M, N, accumulate, work);
}
