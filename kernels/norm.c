/* RMSNorm (Zhang and Sennrich, 2019): y = x * r * w with r = 1/sqrt(mean(x^2) + eps).
 *
 * dr/dx[c] = -r^3 x[c] / C, hence with dot = sum_c dy[c] w[c] x[c]
 *     dx[c] = r * (w[c] dy[c] - x[c] r^2 dot / C)
 * w is frozen. */

static void rmsnorm_forward(real *y, real *rstd, const real *x, const real *w, size_t T, size_t C,
                            real eps)
{
#pragma omp parallel for schedule(static) if (T > 1)
    for (size_t t = 0; t < T; t++) {
        const real *xt = x + t * C;
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t c = 0; c < C; c++) sum += xt[c] * xt[c];
        real r = 1 / (real)sqrt((double)(sum / (real)C + eps));
        for (size_t c = 0; c < C; c++) y[t * C + c] = xt[c] * r * w[c];
        rstd[t] = r;
    }
}

static void rmsnorm_backward(real *dx, const real *dy, const real *x, const real *w,
                             const real *rstd, size_t T, size_t C)
{
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < T; t++) {
        const real *xt = x + t * C, *dyt = dy + t * C;
        real r = rstd[t], dot = 0;
#pragma omp simd reduction(+ : dot)
        for (size_t c = 0; c < C; c++) dot += dyt[c] * w[c] * xt[c];
        real k = r * r * dot / (real)C;
        for (size_t c = 0; c < C; c++) dx[t * C + c] += r * (w[c] * dyt[c] - xt[c] * k);
    }
}
