/* y (M, N) = or += x (M, K) * B^T for few rows of x: one token at a time, generation is bound by
 * reading the weights. Each is read once, straight from storage, widened in registers and
 * multiplied with every row of x; no panel is packed and no buffer written.
 *
 * ROWS rows of B run side by side, which makes as many chains of multiply-adds. They lie far apart:
 * each is one of a stream of consecutive rows, which prefetchers follow over the rows' ends and
 * over page borders. Every element of y is one chain over K in spans of SPAN values, whatever runs
 * beside it, and then a sum over the lanes in a fixed order; so its bits depend on K alone.
 *
 * Block types: sum over a block of (d q) x = d * (sum of q x), and for Q4_1 + m * (sum of x).
 *
 * In bf16 (COMPUTE_BF16) x is rounded before and the weights in registers, to what matmul_bf16.c
 * packs: those of blocks one by one, as d q (+ m). Functions have a constant `bf16` for that. */

enum {
    ROWS = 4,    /* of B at once */
    X_ROWS = 4,  /* of x at once */
    AHEAD = 512, /* bytes between reading and prefetching */
};

/* B is not a weight but an array of real. */
#define REALS ((enum storage_type)(STORAGE_OTHER + 1))

ALWAYS_INLINE bool is_blocked(enum storage_type type)
{
    return type < STORAGE_OTHER && storage_of(type)->blocks;
}

/* VL values of an unblocked type. */
ALWAYS_INLINE vec lanes(enum storage_type type, const uint8_t *p)
{
    switch (type) {
#define LANES_OF_PLAIN(id, name)                                                                   \
    case STORAGE_##id:                                                                             \
        return name##_lanes(p);
#define LANES_OF_BLOCK(id, name)
#define STORAGE(id, name, kind, ...) LANES_OF_##kind(id, name)
#include "kernels/storage.def"
    default: /* REALS */
        return load((const real *)p);
    }
}

/* Bytes of n values of a row. */
ALWAYS_INLINE size_t values_bytes(enum storage_type type, size_t n)
{
    return type == REALS ? n * sizeof(real) : storage_bytes(type, n);
}

/* s[r][m] += VL values of row r, part j at w[r], times those of row m of x; n_r, n_m constant. */
ALWAYS_INLINE void part(vec s[ROWS][X_ROWS], const uint8_t *const *w, const real *const *x, int j,
                        enum storage_type type, const int n_r, const int n_m, const bool bf16)
{
#pragma GCC unroll 4
    for (int r = 0; r < n_r; r++) {
        vec wide = lanes(type, w[r] + (size_t)j * values_bytes(type, VL));
        if (bf16) wide = rounded_to_bf16(wide);
#pragma GCC unroll 4
        for (int m = 0; m < n_m; m++) s[r][m] += wide * load(x[m] + j * VL);
    }
}

/* The same for a span of quantised blocks in bf16: each value is rounded. */
ALWAYS_INLINE void block_span_bf16(vec s[ROWS][X_ROWS], const uint8_t *const *w, size_t span,
                                   const real *const *x, enum storage_type type, const int n_r,
                                   const int n_m)
{
#pragma GCC unroll 4
    for (int r = 0; r < n_r; r++) {
        vec d = span_d(type, w[r]), min = span_m(type, w[r], span);
#pragma GCC unroll 16
        for (int j = 0; j < PARTS; j++) {
            vec wide = rounded_to_bf16(span_value(type, span_q(type, w[r], span, j), d, min));
#pragma GCC unroll 4
            for (int m = 0; m < n_m; m++) s[r][m] += wide * load(x[m] + j * VL);
        }
    }
}

/* The same for a span of quantised blocks. What is added to every q of the span goes in as a
 * multiple of the sum of x, which all rows share. */
ALWAYS_INLINE void block_span(vec s[ROWS][X_ROWS], const uint8_t *const *w, size_t span,
                              const real *const *x, enum storage_type type, const int n_r,
                              const int n_m)
{
    const int shift = span_shift(type);
    vec sum[X_ROWS];
    for (int m = 0; m < n_m; m++) {
        sum[m] = (vec){ 0 };
        if (!shift && !span_has_min(type)) continue;
#pragma GCC unroll 16
        for (int j = 0; j < PARTS; j++) sum[m] += load(x[m] + j * VL);
        if (shift) sum[m] *= (real)-shift;
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_r; r++) {
        vec t[X_ROWS];
#pragma GCC unroll 4
        for (int m = 0; m < n_m; m++) t[m] = shift ? sum[m] : (vec){ 0 };
#pragma GCC unroll 16
        for (int j = 0; j < PARTS; j++) {
            vec q = span_q(type, w[r], span, j);
#pragma GCC unroll 4
            for (int m = 0; m < n_m; m++) t[m] += q * load(x[m] + j * VL);
        }
        vec d = span_d(type, w[r]);
#pragma GCC unroll 4
        for (int m = 0; m < n_m; m++) {
            s[r][m] += d * t[m];
            if (span_has_min(type)) s[r][m] += span_m(type, w[r], span) * sum[m];
        }
    }
}

/* ---- a group of rows ------------------------------------------------------------------------- */

static size_t row_bytes(const struct row_product *p)
{
    return p->w ? storage_bytes(p->w->type, p->K) : p->ldb * sizeof(real);
}

/* Row n of B; bytes is row_bytes(p), which takes a while to compute. */
static const uint8_t *row_of(const struct row_product *p, size_t n, size_t bytes)
{
    if (!p->w) return (const void *)(p->b + n * p->ldb);
    return (const uint8_t *)p->w->data + matrix_stored_row(p->w, n) * bytes;
}

/* The last n < VL of K values, padded with zeros: rows of B, then of x. */
static void tail(vec s[ROWS][X_ROWS], const struct row_product *p, const uint8_t *const *row,
                 const real *x, size_t n, int n_r, int n_m, bool bf16)
{
    size_t k = p->K - n, at = p->w ? storage_bytes(p->w->type, k) : k * sizeof(real);
    /* widen() writes whole blocks; types with blocks have no tail, but no compiler knows that */
    real wide[SPAN] __attribute__((aligned(64))), padded[VL] __attribute__((aligned(64)));
    for (int r = 0; r < n_r; r++) {
        memset(wide, 0, sizeof wide);
        if (p->w) {
            struct matrix rest = { .data = row[r] + at, .type = p->w->type, .rows = 1, .cols = n };
            widen(wide, &rest, 0, 0, n);
        } else {
            memcpy(wide, row[r] + at, n * sizeof(real));
        }
        for (int m = 0; m < n_m; m++) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, x + (size_t)m * p->ldx + k, n * sizeof(real));
            s[r][m] += (bf16 ? rounded_to_bf16(load(wide)) : load(wide)) * load(padded);
        }
    }
}

/* In each pair of blocks of d lanes: x's two added up, then y's two. */
#define ADD_BLOCKS(x, y, d)                                                                        \
    (__builtin_shufflevector(x, y, LANES(UPPER, d)) +                                              \
     __builtin_shufflevector(x, y, LANES(LOWER, d)))

/* sum[i] = the lanes of s[i] in halves: the first half plus the second, until one is left. */
ALWAYS_INLINE void sum_lanes(real sum[4], const vec s[4])
{
    vec a = ADD_BLOCKS(s[0], s[1], VL / 2), b = ADD_BLOCKS(s[2], s[3], VL / 2);
#if VL >= 4
    a = ADD_BLOCKS(a, b, VL / 4);
#if VL >= 16
    a = ADD_BLOCKS(a, a, 2);
#endif
#if VL >= 8
    a = ADD_BLOCKS(a, a, 1);
#endif
    sum[0] = a[0], sum[1] = a[VL / 2], sum[2] = a[VL / 4], sum[3] = a[VL / 2 + VL / 4];
#else
    sum[0] = a[0], sum[1] = a[1], sum[2] = b[0], sum[3] = b[1];
#endif
}

/* out[r][m] = row r times row m of x, for constants type, n_r, n_m. The memory after a row is read
 * next. */
ALWAYS_INLINE void group_of(real out[ROWS][X_ROWS], const struct row_product *p,
                            const uint8_t *const row[ROWS], const int first, const real *x,
                            enum storage_type type, const int n_r, const int n_m, const bool bf16)
{
    /* of a block type the row goes on after a block, else after a span */
    const size_t depth = is_blocked(type) ? storage_block_values(type) / SPAN : 1;
    const size_t bytes = values_bytes(type, depth * SPAN);
    size_t spans = p->K / SPAN, rest = p->K % SPAN;
    const uint8_t *w[ROWS];
    const real *xm[X_ROWS];
    vec s[ROWS][X_ROWS];
    for (int r = 0; r < n_r; r++) {
        w[r] = row[first + r];
        for (int m = 0; m < n_m; m++) s[r][m] = (vec){ 0 };
    }
    for (int m = 0; m < n_m; m++) xm[m] = x + (size_t)m * p->ldx;
    for (size_t i = 0; i < spans; i += depth) {
#pragma GCC unroll 4
        for (int r = 0; r < n_r; r++)
            for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(w[r] + AHEAD + line);
        for (size_t span = 0; is_blocked(type) && span < depth; span++) {
            if (bf16) {
                block_span_bf16(s, w, span, xm, type, n_r, n_m);
            } else {
                block_span(s, w, span, xm, type, n_r, n_m);
            }
            for (int m = 0; m < n_m; m++) xm[m] += SPAN;
        }
        for (int j = 0; !is_blocked(type) && j < PARTS; j++)
            part(s, w, xm, j, type, n_r, n_m, bf16);
        for (int r = 0; r < n_r; r++) w[r] += bytes;
        for (int m = 0; m < n_m && !is_blocked(type); m++) xm[m] += SPAN;
    }
    for (; !is_blocked(type) && rest >= VL; rest -= VL) {
        part(s, w, xm, 0, type, n_r, n_m, bf16);
        for (int r = 0; r < n_r; r++) w[r] += values_bytes(type, VL);
        for (int m = 0; m < n_m; m++) xm[m] += VL;
    }
    if (rest) tail(s, p, row + first, x, rest, n_r, n_m, bf16);
    vec all[2 * X_ROWS];
    real sum[2 * X_ROWS];
    for (int i = 0; i < 2 * X_ROWS; i++) all[i] = i < n_r * n_m ? s[i / n_m][i % n_m] : (vec){ 0 };
    for (int i = 0; i < n_r * n_m; i += 4) sum_lanes(sum + i, all + i);
    for (int i = 0; i < n_r * n_m; i++) out[first + i / n_m][i % n_m] = sum[i];
}

/* All accumulators stay in registers: four rows with one of x, else two with up to four. */
ALWAYS_INLINE void group_of_type(real out[ROWS][X_ROWS], const struct row_product *p,
                                 const uint8_t *const row[ROWS], const real *x,
                                 enum storage_type type, size_t n_m, const bool bf16)
{
    if (n_m == 1) {
        group_of(out, p, row, 0, x, type, ROWS, 1, bf16);
        return;
    }
    for (int first = 0; first < ROWS; first += 2) {
        switch (n_m) {
        case 2:
            group_of(out, p, row, first, x, type, 2, 2, bf16);
            break;
        case 3:
            group_of(out, p, row, first, x, type, 2, 3, bf16);
            break;
        default:
            group_of(out, p, row, first, x, type, 2, 4, bf16);
            break;
        }
    }
}

static void group_dots(real out[ROWS][X_ROWS], const struct row_product *p,
                       const uint8_t *const row[ROWS], const real *x, size_t n_m, bool bf16)
{
    switch (p->w ? p->w->type : REALS) {
#define STORAGE(id, ...)                                                                           \
    case STORAGE_##id:                                                                             \
        if (bf16 && STORAGE_##id != STORAGE_BF16) {                                                \
            group_of_type(out, p, row, x, STORAGE_##id, n_m, true);                                \
        } else {                                                                                   \
            group_of_type(out, p, row, x, STORAGE_##id, n_m, false);                               \
        }                                                                                          \
        break;
#include "kernels/storage.def"
    default:
        group_of_type(out, p, row, x, REALS, n_m, false);
        break;
    }
}

/* Rows `from` to `end` of B, in ROWS streams of consecutive rows, which is how memory is read
 * fastest. */
static void rows(const struct row_product *p, size_t from, size_t end, size_t M, bool bf16)
{
    size_t n = (end - from + ROWS - 1) / ROWS; /* rows of a stream; the last may have fewer */
    size_t bytes = row_bytes(p);
    for (size_t i = 0; i < n; i++) {
        real out[ROWS][X_ROWS];
        const uint8_t *row[ROWS];
        for (size_t r = 0; r < ROWS; r++)
            row[r] = row_of(p, min_size(from + r * n + i, end - 1), bytes);
        for (size_t m = 0; m < M; m += X_ROWS) {
            size_t n_m = min_size(M - m, X_ROWS);
            group_dots(out, p, row, p->x + m * p->ldx, n_m, bf16);
            for (size_t j = 0; j < n_m; j++)
                for (size_t r = 0; r < ROWS && from + r * n + i < end; r++) {
                    real *y = p->y + (m + j) * p->ldy + from + r * n + i;
                    *y = p->accumulate ? *y + out[r][j] : out[r][j];
                }
        }
    }
}

/* ---- sharing out ----------------------------------------------------------------------------- */

/* The first row of p that begins at or after byte `at`, counted from the product's first. */
static size_t row_from(const struct row_product *p, size_t at)
{
    size_t bytes = row_bytes(p);
    return min_size((at + bytes - 1) / bytes, p->N);
}

static void matvec_in(const struct row_product *p, size_t n, size_t M, bool bf16)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += p[i].N * row_bytes(p + i);
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
        size_t from = total / threads * me, to = me + 1 < threads ? from + total / threads : total;
        for (size_t i = 0, base = 0; i < n && base < to; i++) {
            size_t first = row_from(p + i, from > base ? from - base : 0);
            size_t end = row_from(p + i, to - base);
            if (first < end) rows(p + i, first, end, M, bf16);
            base += p[i].N * row_bytes(p + i);
        }
    }
}

static void matvec(const struct row_product *p, size_t n, size_t M)
{
    matvec_in(p, n, M, false);
}

#ifdef WITH_BF16
enum { ROUNDED = 1 << 16, TOGETHER = 8 };

/* out (M, K) = x (M, K; ldx), rounded */
static void round_rows(real *out, const real *x, size_t ldx, size_t M, size_t K)
{
    for (size_t m = 0; m < M; m++, x += ldx, out += K) {
        size_t k = 0;
        for (; k + VL <= K; k += VL) store(out + k, rounded_to_bf16(load(x + k)));
        for (; k < K; k++) out[k] = float_of_bf16(storage_bf16(x[k]));
    }
}

/* Some products of M rows from row m on, at most TOGETHER, whose weights multiply the same x, which
 * is rounded once; returns how many. */
static size_t multiply_together(const struct row_product *p, size_t n, size_t m, size_t M)
{
    real rounded[ROUNDED] __attribute__((aligned(64)));
    struct row_product q[TOGETHER];
    const struct row_product *first = NULL; /* with a weight */
    size_t count = 0;
    for (; count < min_size(n, TOGETHER); count++, p++) {
        struct row_product *to = q + count;
        *to = *p;
        to->y += m * p->ldy, to->x += m * p->ldx;
        if (!p->w) continue;
        if (first && (p->x != first->x || p->ldx != first->ldx || p->K != first->K)) break;
        if (!first) round_rows(rounded, to->x, p->ldx, M, p->K);
        first = p;
        to->x = rounded, to->ldx = p->K;
    }
    matvec_in(q, count, M, true);
    return count;
}

static void matvec_bf16(const struct row_product *p, size_t n, size_t M)
{
    size_t widest = 1;
    for (size_t i = 0; i < n; i++) widest = p[i].w && p[i].K > widest ? p[i].K : widest;
    if (widest > ROUNDED) matvec_too_wide(widest, ROUNDED);
    for (size_t m = 0, rows = ROUNDED / widest; m < M; m += rows)
        for (size_t i = 0; i < n;) i += multiply_together(p + i, n - i, m, min_size(M - m, rows));
}
#endif
