/* The most that the machine can do: benchmarks give their results as shares of it. */

enum { PEAK_CHAINS = 12 }; /* more than latency times units of any CPU here */

/* n rounds of PEAK_CHAINS independent multiply-adds on whole vectors, in registers. The chains
 * converge to 1, so nothing overflows or turns subnormal; the sum keeps the compiler from dropping
 * them. */
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

/* Sum of n values at x, read by all threads: a yardstick of memory, so nothing but reading may
 * limit it. Each thread reads STREAMS places at once, prefetched (the hardware's prefetchers stop
 * at page borders), into accumulators of whole vectors; their sums are as exact as real is. */
enum { STREAMS = 4, STREAM_VECTORS = 4, READ_AHEAD = 2048 };

static double read_streams(const real *x, size_t stream)
{
    vec s[STREAMS][STREAM_VECTORS] = { 0 };
    for (size_t i = 0; i < stream; i += STREAM_VECTORS * VL) {
#pragma GCC unroll 4
        for (int k = 0; k < STREAMS; k++) {
            const real *p = x + (size_t)k * stream + i;
            for (size_t at = 0; at < STREAM_VECTORS * VECTOR_BYTES; at += 64)
                __builtin_prefetch((const char *)p + READ_AHEAD + at);
#pragma GCC unroll 4
            for (int v = 0; v < STREAM_VECTORS; v++) s[k][v] += load(p + v * VL);
        }
    }
    double sum = 0;
    for (int k = 0; k < STREAMS; k++)
        for (int v = 0; v < STREAM_VECTORS; v++)
            for (int l = 0; l < VL; l++) sum += (double)s[k][v][l];
    return sum;
}

static double read_sum(const real *x, size_t n)
{
    double sum = 0;
#pragma omp parallel reduction(+ : sum)
    {
        size_t threads = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
        size_t step = STREAM_VECTORS * VL, stream = n / threads / STREAMS / step * step;
        sum += read_streams(x + me * STREAMS * stream, stream);
#pragma omp for schedule(static)
        for (size_t i = threads * STREAMS * stream; i < n; i++) sum += (double)x[i];
    }
    return sum;
}
