/* y (M, N) = or += x (M, K) * B^T for few rows of x: one token at a time, generation is bound by
 * reading the weights. Each is read once, straight from storage, widened in registers and multiplied
 * with every row of x; no panel is packed and no buffer written.
 *
 * ROWS rows of B run side by side, so many chains of multiply-adds. They lie far apart: each is one of
 * a stream of consecutive rows, which prefetchers follow over the rows' ends and over page borders.
 * Every element of y is one chain over K in spans of SPAN values, whatever runs beside it, and then a
 * sum over the lanes in a fixed order; so its bits depend on K alone.
 *
 * Block types: sum over a block of (d q) x = d * (sum of q x), Q4_1 further + m * (sum of x). */

enum {
    ROWS = 4,   /* of B at once */
    X_ROWS = 4, /* of x at once */
    SPAN = 32,  /* values of K at once: a quantised block */
    PARTS = SPAN / VL,
    AHEAD = 512, /* bytes between reading and prefetching */
};

/* A vector of real at any address. */
typedef real vec_bytes __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

ALWAYS_INLINE bool is_blocked(enum dtype type)
{
    return type == DTYPE_Q8_0 || type == DTYPE_Q4_0 || type == DTYPE_Q4_1;
}

/* VL values of an unblocked type; DTYPE_OTHER stands for real here and below. */
ALWAYS_INLINE vec lanes(enum dtype type, const uint8_t *p)
{
    switch (type) {
    case DTYPE_F16:
        return lanes_of_f16(p);
    case DTYPE_BF16:
        return lanes_of_bf16(p);
#ifdef REAL_DOUBLE
    case DTYPE_F32: {
        vec v;
        for (int l = 0; l < VL; l++) v[l] = ((const float_any *)p)[l];
        return v;
    }
#endif
    default:
        return *(const vec_bytes *)p;
    }
}

/* Part j of a block's integers: Q8_0's signed, those of Q4 from 0 to 15. */
ALWAYS_INLINE vec block_lanes(enum dtype type, const uint8_t *block, const int j)
{
    if (type == DTYPE_Q8_0) return lanes_of_q8(block + 2, j);
    return lanes_of_q4(block + (type == DTYPE_Q4_0 ? 2 : 4), j);
}

/* Bytes of n values of a row. */
ALWAYS_INLINE size_t values_bytes(enum dtype type, size_t n)
{
    return type == DTYPE_OTHER ? n * sizeof(real) : dtype_bytes(type, n);
}

/* s[r][m] += VL values of row r, part j at w[r], times those of row m of x; n_r and n_m constants. */
ALWAYS_INLINE void part(vec s[ROWS][X_ROWS], const uint8_t *const *w, const real *const *x, int j,
                        enum dtype type, const int n_r, const int n_m)
{
#pragma GCC unroll 4
    for (int r = 0; r < n_r; r++) {
        vec wide = lanes(type, w[r] + (size_t)j * values_bytes(type, VL));
#pragma GCC unroll 4
        for (int m = 0; m < n_m; m++) s[r][m] += wide * load(x[m] + j * VL);
    }
}

/* The same for a quantised block. What is added to every q of it goes in as a multiple of the sum
 * of x, which all rows share. */
ALWAYS_INLINE void block_span(vec s[ROWS][X_ROWS], const uint8_t *const *w, const real *const *x,
                              enum dtype type, const int n_r, const int n_m)
{
    vec sum[X_ROWS];
    for (int m = 0; m < n_m; m++) {
        sum[m] = (vec){ 0 };
#pragma GCC unroll 16
        for (int j = 0; j < PARTS && type != DTYPE_Q8_0; j++) sum[m] += load(x[m] + j * VL);
        if (type == DTYPE_Q4_0) sum[m] *= -8;
    }
#pragma GCC unroll 4
    for (int r = 0; r < n_r; r++) {
        vec t[X_ROWS];
#pragma GCC unroll 4
        for (int m = 0; m < n_m; m++) t[m] = type == DTYPE_Q4_0 ? sum[m] : (vec){ 0 };
#pragma GCC unroll 16
        for (int j = 0; j < PARTS; j++) {
            vec q = block_lanes(type, w[r], j);
#pragma GCC unroll 4
            for (int m = 0; m < n_m; m++) t[m] += q * load(x[m] + j * VL);
        }
        vec d = lanes_of_scale(w[r]);
#pragma GCC unroll 4
        for (int m = 0; m < n_m; m++) {
            s[r][m] += d * t[m];
            if (type == DTYPE_Q4_1) s[r][m] += lanes_of_scale(w[r] + 2) * sum[m];
        }
    }
}

/* ---- a group of rows ------------------------------------------------------------------------- */

static size_t row_bytes(const struct row_product *p)
{
    return p->w ? dtype_bytes(p->w->type, p->K) : p->ldb * sizeof(real);
}

/* Row n of B; bytes is row_bytes(p), which takes a while. */
static const uint8_t *row_of(const struct row_product *p, size_t n, size_t bytes)
{
    if (!p->w) return (const void *)(p->b + n * p->ldb);
    return (const uint8_t *)p->w->data + matrix_stored_row(p->w, n) * bytes;
}

/* The last n < VL of K values, padded with zeros: rows of B, then of x. */
static void tail(vec s[ROWS][X_ROWS], const struct row_product *p, const uint8_t *const *row,
                 const real *x, size_t n, int n_r, int n_m)
{
    size_t k = p->K - n, at = p->w ? dtype_bytes(p->w->type, k) : k * sizeof(real);
    /* widen() writes whole blocks; of types with blocks there is no tail, which a compiler cannot know */
    real wide[QUANT_BLOCK] __attribute__((aligned(64))), padded[VL] __attribute__((aligned(64)));
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
            s[r][m] += load(wide) * load(padded);
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

/* out[r][m] = row r times row m of x, for constants type, n_r, n_m. What lies behind a row is read
 * next. */
ALWAYS_INLINE void group_of(real out[ROWS][X_ROWS], const struct row_product *p,
                            const uint8_t *const row[ROWS], const int first, const real *x,
                            enum dtype type, const int n_r, const int n_m)
{
    const size_t bytes = values_bytes(type, SPAN);
    size_t spans = p->K / SPAN, rest = p->K % SPAN;
    const uint8_t *w[ROWS];
    const real *xm[X_ROWS];
    vec s[ROWS][X_ROWS];
    for (int r = 0; r < n_r; r++) {
        w[r] = row[first + r];
        for (int m = 0; m < n_m; m++) s[r][m] = (vec){ 0 };
    }
    for (int m = 0; m < n_m; m++) xm[m] = x + (size_t)m * p->ldx;
    for (size_t i = 0; i < spans; i++) {
#pragma GCC unroll 4
        for (int r = 0; r < n_r; r++)
            for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(w[r] + AHEAD + line);
        if (is_blocked(type))
            block_span(s, w, xm, type, n_r, n_m);
        else
            for (int j = 0; j < PARTS; j++) part(s, w, xm, j, type, n_r, n_m);
        for (int r = 0; r < n_r; r++) w[r] += bytes;
        for (int m = 0; m < n_m; m++) xm[m] += SPAN;
    }
    for (; !is_blocked(type) && rest >= VL; rest -= VL) {
        part(s, w, xm, 0, type, n_r, n_m);
        for (int r = 0; r < n_r; r++) w[r] += values_bytes(type, VL);
        for (int m = 0; m < n_m; m++) xm[m] += VL;
    }
    if (rest) tail(s, p, row + first, x, rest, n_r, n_m);
    vec all[2 * X_ROWS];
    real sum[2 * X_ROWS];
    for (int i = 0; i < 2 * X_ROWS; i++) all[i] = i < n_r * n_m ? s[i / n_m][i % n_m] : (vec){ 0 };
    for (int i = 0; i < n_r * n_m; i += 4) sum_lanes(sum + i, all + i);
    for (int i = 0; i < n_r * n_m; i++) out[first + i / n_m][i % n_m] = sum[i];
}

/* All accumulators stay in registers: four rows with one of x, else two with up to four. */
ALWAYS_INLINE void group_of_type(real out[ROWS][X_ROWS], const struct row_product *p,
                                 const uint8_t *const row[ROWS], const real *x, enum dtype type,
                                 size_t n_m)
{
    if (n_m == 1) {
        group_of(out, p, row, 0, x, type, ROWS, 1);
        return;
    }
    for (int first = 0; first < ROWS; first += 2) {
        switch (n_m) {
        case 2:
            group_of(out, p, row, first, x, type, 2, 2);
            break;
        case 3:
            group_of(out, p, row, first, x, type, 2, 3);
            break;
        default:
            group_of(out, p, row, first, x, type, 2, 4);
            break;
        }
    }
}

static void group_dots(real out[ROWS][X_ROWS], const struct row_product *p,
                       const uint8_t *const row[ROWS], const real *x, size_t n_m)
{
    switch (p->w ? p->w->type : DTYPE_OTHER) {
    case DTYPE_F32:
        group_of_type(out, p, row, x, DTYPE_F32, n_m);
        break;
    case DTYPE_F16:
        group_of_type(out, p, row, x, DTYPE_F16, n_m);
        break;
    case DTYPE_BF16:
        group_of_type(out, p, row, x, DTYPE_BF16, n_m);
        break;
    case DTYPE_Q8_0:
        group_of_type(out, p, row, x, DTYPE_Q8_0, n_m);
        break;
    case DTYPE_Q4_0:
        group_of_type(out, p, row, x, DTYPE_Q4_0, n_m);
        break;
    case DTYPE_Q4_1:
        group_of_type(out, p, row, x, DTYPE_Q4_1, n_m);
        break;
    case DTYPE_OTHER:
        group_of_type(out, p, row, x, DTYPE_OTHER, n_m);
        break;
    }
}

/* Rows from to end of B, in ROWS streams: each of consecutive rows, which memory is read fastest in. */
static void rows(const struct row_product *p, size_t from, size_t end, size_t M)
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
            group_dots(out, p, row, p->x + m * p->ldx, n_m);
            for (size_t j = 0; j < n_m; j++)
                for (size_t r = 0; r < ROWS && from + r * n + i < end; r++) {
                    real *y = p->y + (m + j) * p->ldy + from + r * n + i;
                    *y = p->accumulate ? *y + out[r][j] : out[r][j];
                }
        }
    }
}

/* ---- sharing out ----------------------------------------------------------------------------- */

/* The first row of p that begins at or behind byte `at`, counted from the product's first. */
static size_t row_from(const struct row_product *p, size_t at)
{
    size_t bytes = row_bytes(p);
    return min_size((at + bytes - 1) / bytes, p->N);
}

static void matvec(const struct row_product *p, size_t n, size_t M)
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
            if (first < end) rows(p + i, first, end, M);
            base += p[i].N * row_bytes(p + i);
        }
    }
}
