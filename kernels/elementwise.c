/* Sums, scalings, rounding, dropout, the optimiser: one pass over arrays. */

static void add(real *y, const real *x, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static void scale(real *y, real s, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) y[i] *= s;
}

static void copy(real *y, const real *x, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) y[i] = x[i];
}

/* Without a branch, so that loops over it vectorise; a NaN stays one. */
static inline uint16_t bf16_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : rounded);
}

static void to_bf16(uint16_t *y, const real *x, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) y[i] = bf16_bits((float)x[i]);
}

static void from_bf16(real *y, const uint16_t *x, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) y[i] = (real)float_of_bf16(x[i]);
}

static void round_bf16(real *y, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        y[i] = (real)float_of_bf16(bf16_bits((float)y[i]));
    }
}

/* Blocks of fixed size, each summed on its own, their sums added in order: the result does not
 * depend on who summed what. */
static double sum_squares(const real *x, size_t n)
{
    enum { BLOCK = 4096, BLOCKS = 1024 };
    double part[BLOCKS], total = 0;
    for (size_t first = 0; first < n; first += (size_t)BLOCK * BLOCKS) {
        size_t blocks = min_size((n - first + BLOCK - 1) / BLOCK, BLOCKS);
#pragma omp parallel for schedule(static)
        for (size_t b = 0; b < blocks; b++) {
            size_t i0 = first + b * BLOCK, i1 = min_size(n, i0 + BLOCK);
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (size_t i = i0; i < i1; i++) sum += (double)x[i] * (double)x[i];
            part[b] = sum;
        }
        for (size_t b = 0; b < blocks; b++) total += part[b];
    }
    return total;
}

/* AdamW (Loshchilov and Hutter, 2019) with PyTorch's order of operations:
 *     p -= lr * decay * p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *     p -= lr / c1 * m / (sqrt(v) / c2 + eps),   c1 = 1 - b1^t,  c2 = sqrt(1 - b2^t) */
static void adamw(real *p, real *m, real *v, const real *g, size_t n, const struct adamw *o)
{
    real b1 = (real)o->beta1, rest1 = (real)(1 - o->beta1);
    real b2 = (real)o->beta2, rest2 = (real)(1 - o->beta2);
    real keep = (real)(1 - o->lr * o->weight_decay), step = (real)(o->lr / o->correction1);
    real correction2 = (real)o->correction2, eps = (real)o->eps, scaled = (real)o->grad_scale;
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        real gi = g[i] * scaled;
        m[i] = b1 * m[i] + rest1 * gi;
        v[i] = b2 * v[i] + rest2 * gi * gi;
#ifdef REAL_DOUBLE
        real root = sqrt(v[i]);
#else
        real root = sqrtf(v[i]);
#endif
        p[i] = p[i] * keep - step * m[i] / (root / correction2 + eps);
    }
}

/* Four channels share a Philox block: counter (channel / 4, position, example, layer and input),
 * key (seed) with the step mixed in. */
static void dropout(real *y, const real *x, const struct dropout *d, const uint32_t *example,
                    const uint32_t *pos, size_t T, size_t n, bool accumulate)
{
    uint32_t threshold = (uint32_t)((double)d->p * 4294967296.0);
    real keep = 1 / (1 - d->p);
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < T; t++) {
        for (size_t c = 0; c < n; c += 4) {
            uint32_t counter[4] = { (uint32_t)(c / 4), pos[t], example[t],
                                    d->layer * 16 + d->input };
            uint32_t key[2] = { (uint32_t)d->seed ^ RNG_DROPOUT,
                                (uint32_t)(d->seed >> 32) ^ d->step };
            uint32_t word[4];
            philox4x32(word, counter, key);
            for (size_t j = 0; j < 4 && c + j < n; j++) {
                size_t i = t * n + c + j;
                real kept = word[j] < threshold ? 0 : x[i] * keep;
                y[i] = accumulate ? y[i] + kept : kept;
            }
        }
    }
}
