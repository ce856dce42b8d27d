/* What the machine can do at most, for benchmarks to be shares of. */

enum { PEAK_CHAINS = 12 }; /* more than latency times units of any CPU here */

/* n rounds of PEAK_CHAINS independent multiply-adds on whole vectors, in registers. The chains converge
 * to 1, so nothing overflows or turns subnormal; the sum keeps the compiler from dropping them. */
static real fma_rounds(size_t n)
{
    vec x = 0.999f - (vec){ 0 }, y = 0.001f - (vec){ 0 }, s[PEAK_CHAINS];
    for (int i = 0; i < PEAK_CHAINS; i++) s[i] = x;
    for (size_t k = 0; k < n; k++) {
#pragma GCC unroll 16
        for (int i = 0; i < PEAK_CHAINS; i++) s[i] = s[i] * x + y;
    }
    vec sum = s[0];
    for (int i = 1; i < PEAK_CHAINS; i++) sum += s[i];
    return sum[0];
}

static double fma_flops(size_t n)
{
    double threads = 0, sink = 0;
#pragma omp parallel reduction(+ : threads, sink)
    {
        sink += fma_rounds(n);
        threads += 1;
    }
    return sink > 0 ? threads * (double)n * PEAK_CHAINS * VL * 2 : 0;
}

/* Sum of n values at x, read by all threads. */
static double read_sum(const real *x, size_t n)
{
    double sum = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    return sum;
}
