/* Cross entropy of a row of logits z against its target y:
 *     loss = log sum_j exp(z[j]) - z[y],   dloss/dz[j] = softmax(z)[j] - [j = y]
 * The sum is taken relative to the largest logit, so nothing overflows, and block by block: small
 * terms would vanish in one running float sum over a vocabulary (loss off by 1e-5 at 32,000). */

static void cross_entropy_row(double *loss, uint8_t *hit, real *z, size_t target, real weight,
                              size_t V, bool backward)
{
    enum { BLOCK = 512 };
    real top = max_of(z[0], z, V), at_target = z[target];
    double sum = 0;
    size_t ties_before = 0;
    for (size_t j = 0; j < target; j++) ties_before += z[j] == top;
    for (size_t first = 0; first < V; first += BLOCK) {
        size_t n = min_size(V - first, BLOCK);
        real part = 0;
#pragma omp simd reduction(+ : part)
        for (size_t j = 0; j < n; j++) part += exp_real(z[first + j] - top);
        sum += (double)part;
    }
    *loss = log(sum) + ((double)top - (double)at_target);
    *hit = at_target == top && ties_before == 0;
    if (!backward) return;
    real k = (real)((double)weight / sum);
#pragma omp simd
    for (size_t j = 0; j < V; j++) z[j] = k * exp_real(z[j] - top);
    z[target] -= weight;
}

static void cross_entropy(double *loss, uint8_t *hit, real *logits, const int32_t *target,
                          const real *weight, size_t M, size_t V, bool backward)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < M; i++)
        cross_entropy_row(loss + i, hit + i, logits + i * V, (size_t)target[i], weight[i], V,
                          backward);
}
