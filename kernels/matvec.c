/* y (M, N) = or += x (M, K) * B^T for few rows of x: one token at a time, generation is bound by
 * reading the weights. Each is read once, straight from storage, widened in registers and multiplied
 * with every row of x; no panel is packed and no buffer written.
 *
 * ROWS rows of B run side by side: so many streams of memory, each prefetched ahead, and so many
 * chains of multiply-adds. Every element of y is one chain over K in spans of SPAN values, whatever
 * runs beside it, and then a sum over the lanes in a fixed order; so its bits depend on K alone.
 *
 * Block types: sum over a block of (d q) x = d * (sum of q x), Q4_1 further + m * (sum of x). */

enum {
    ROWS = 4,   /* of B at once; a thread's share is whole groups of them */
    X_ROWS = 4, /* of x at once */
    SPAN = 32,  /* values of K at once: a quantised block */
    PARTS = SPAN / VL,
    AHEAD = 1024, /* bytes between reading and prefetching */
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

/* Where ROWS rows of B lie, and what is likely to be read after them. A group at the border repeats
 * its last row. */
struct row_group {
    const uint8_t *row[ROWS], *next[ROWS];
    size_t bytes; /* of a row */
};

static size_t row_bytes(const struct row_product *p)
{
    return p->w ? dtype_bytes(p->w->type, p->K) : p->ldb * sizeof(real);
}

static const uint8_t *row_of(const struct row_product *p, size_t n)
{
    n = min_size(n, p->N - 1);
    return p->w ? matrix_row(p->w, n) : (const void *)(p->b + n * p->ldb);
}

/* The last n < VL values, padded with zeros: rows of B, then of x. */
static void tail(vec s[ROWS][X_ROWS], const struct row_product *p, const uint8_t *const *w,
                 const real *const *x, size_t n, int n_r, int n_m)
{
    /* widen() writes whole blocks; of types with blocks there is no tail, which a compiler cannot know */
    real wide[QUANT_BLOCK] __attribute__((aligned(64))), padded[VL] __attribute__((aligned(64)));
    for (int r = 0; r < n_r; r++) {
        memset(wide, 0, sizeof wide);
        if (p->w) {
            struct matrix rest = { .data = w[r], .type = p->w->type, .rows = 1, .cols = n };
            widen(wide, &rest, 0, 0, n);
        } else {
            memcpy(wide, w[r], n * sizeof(real));
        }
        for (int m = 0; m < n_m; m++) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, x[m], n * sizeof(real));
            s[r][m] += load(wide) * load(padded);
        }
    }
}

/* The lanes, in halves. */
static inline real sum_lanes(vec v)
{
    real lane[VL] __attribute__((aligned(64)));
    *(vec *)lane = v;
    for (int half = VL / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

/* out[r][m] = row r times row m of x, for constants type, n_r, n_m. */
ALWAYS_INLINE void group_of(real out[ROWS][X_ROWS], const struct row_product *p,
                            const struct row_group *g, const int first, const real *x,
                            enum dtype type, const int n_r, const int n_m)
{
    const size_t bytes = values_bytes(type, SPAN);
    size_t spans = p->K / SPAN, ahead = min_size(AHEAD / bytes, spans), rest = p->K % SPAN;
    const uint8_t *w[ROWS], *soon[ROWS];
    const real *xm[X_ROWS];
    vec s[ROWS][X_ROWS];
    for (int r = 0; r < n_r; r++) {
        w[r] = g->row[first + r];
        soon[r] = w[r] + ahead * bytes;
        for (int m = 0; m < n_m; m++) s[r][m] = (vec){ 0 };
    }
    for (int m = 0; m < n_m; m++) xm[m] = x + (size_t)m * p->ldx;
    for (size_t i = 0; i < spans; i++) {
        if (i == spans - ahead)
            for (int r = 0; r < n_r; r++) soon[r] = g->next[first + r];
#pragma GCC unroll 4
        for (int r = 0; r < n_r; r++) {
            for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(soon[r] + line);
            soon[r] += bytes;
        }
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
    if (rest) tail(s, p, w, xm, rest, n_r, n_m);
    for (int r = 0; r < n_r; r++)
        for (int m = 0; m < n_m; m++) out[first + r][m] = sum_lanes(s[r][m]);
}

/* All accumulators stay in registers: four rows with one of x, else two with up to four. */
ALWAYS_INLINE void group_of_type(real out[ROWS][X_ROWS], const struct row_product *p,
                                 const struct row_group *g, const real *x, enum dtype type,
                                 size_t n_m)
{
    if (n_m == 1) {
        group_of(out, p, g, 0, x, type, ROWS, 1);
        return;
    }
    for (int first = 0; first < ROWS; first += 2) {
        switch (n_m) {
        case 2:
            group_of(out, p, g, first, x, type, 2, 2);
            break;
        case 3:
            group_of(out, p, g, first, x, type, 2, 3);
            break;
        default:
            group_of(out, p, g, first, x, type, 2, 4);
            break;
        }
    }
}

static void group_dots(real out[ROWS][X_ROWS], const struct row_product *p,
                       const struct row_group *g, const real *x, size_t n_m)
{
    switch (p->w ? p->w->type : DTYPE_OTHER) {
    case DTYPE_F32:
        group_of_type(out, p, g, x, DTYPE_F32, n_m);
        break;
    case DTYPE_F16:
        group_of_type(out, p, g, x, DTYPE_F16, n_m);
        break;
    case DTYPE_BF16:
        group_of_type(out, p, g, x, DTYPE_BF16, n_m);
        break;
    case DTYPE_Q8_0:
        group_of_type(out, p, g, x, DTYPE_Q8_0, n_m);
        break;
    case DTYPE_Q4_0:
        group_of_type(out, p, g, x, DTYPE_Q4_0, n_m);
        break;
    case DTYPE_Q4_1:
        group_of_type(out, p, g, x, DTYPE_Q4_1, n_m);
        break;
    case DTYPE_OTHER:
        group_of_type(out, p, g, x, DTYPE_OTHER, n_m);
        break;
    }
}

static void group_rows(const struct row_product *p, size_t group, size_t M)
{
    real out[ROWS][X_ROWS];
    struct row_group g = { .bytes = row_bytes(p) };
    size_t first = group * ROWS, n = min_size(p->N - first, ROWS);
    for (size_t r = 0; r < ROWS; r++) {
        g.row[r] = row_of(p, first + r);
        g.next[r] = row_of(p, first + ROWS + r);
    }
    for (size_t m = 0; m < M; m += X_ROWS) {
        size_t n_m = min_size(M - m, X_ROWS);
        group_dots(out, p, &g, p->x + m * p->ldx, n_m);
        for (size_t j = 0; j < n_m; j++)
            for (size_t r = 0; r < n; r++) {
                real *y = p->y + (m + j) * p->ldy + first + r;
                *y = p->accumulate ? *y + out[r][j] : out[r][j];
            }
    }
}

/* ---- sharing out ----------------------------------------------------------------------------- */

static size_t row_groups(const struct row_product *p)
{
    return (p->N + ROWS - 1) / ROWS;
}

/* The first group of p that begins at or behind byte `at`, counted from the product's first. */
static size_t group_from(const struct row_product *p, size_t at)
{
    size_t bytes = row_bytes(p) * ROWS;
    return min_size((at + bytes - 1) / bytes, row_groups(p));
}

static void matvec(const struct row_product *p, size_t n, size_t M)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++) total += row_groups(p + i) * row_bytes(p + i) * ROWS;
#pragma omp parallel
    {
        size_t threads = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
        size_t from = total / threads * me, to = me + 1 < threads ? from + total / threads : total;
        for (size_t i = 0, base = 0; i < n && base < to; i++) {
            size_t end = group_from(p + i, to - base);
            for (size_t g = group_from(p + i, from > base ? from - base : 0); g < end; g++)
                group_rows(p + i, g, M);
            base += row_groups(p + i) * row_bytes(p + i) * ROWS;
        }
    }
}
