/* y (M, N) = or += x (M, K) * w^T for few rows: one token at a time, generation is bound by reading
 * the weights, so each is read once, widened in pieces that stay in the first-level cache, and
 * multiplied with every row of x. */

static inline real dot(const real *a, const real *b, size_t n)
{
    vec s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 };
    size_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        s0 += load(a + i) * load(b + i);
        s1 += load(a + i + VL) * load(b + i + VL);
        s2 += load(a + i + 2 * VL) * load(b + i + 2 * VL);
        s3 += load(a + i + 3 * VL) * load(b + i + 3 * VL);
    }
    s0 = (s0 + s1) + (s2 + s3);
    real sum = 0;
    for (size_t l = 0; l < VL; l++) sum += s0[l];
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void matvec(real *y, size_t ldy, const real *x, size_t ldx, const struct matrix *w, size_t M,
                   bool accumulate)
{
    enum { PIECE = 1024 };
    size_t N = w->rows, K = w->cols;
#pragma omp parallel for schedule(static)
    for (size_t n = 0; n < N; n++) {
        real wide[PIECE] __attribute__((aligned(64)));
        for (size_t k = 0; k < K; k += PIECE) {
            size_t nk = min_size(K - k, PIECE);
            widen(wide, w, n, k, nk);
            for (size_t m = 0; m < M; m++) {
                real part = dot(wide, x + m * ldx + k, nk);
                y[m * ldy + n] = k || accumulate ? y[m * ldy + n] + part : part;
            }
        }
    }
}
