/* Cross entropy of a row of logits z against its target y:
 *     loss = log sum_j exp(z[j]) - z[y],   dloss/dz[j] = softmax(z)[j] - [j = y]
 * The sum is taken relative to the largest logit, so nothing overflows. */

static void cross_entropy_row(double *loss, uint8_t *hit, real *z, size_t target, real weight,
                              size_t V, bool backward)
{
    real top = max_of(z[0], z, V), sum = 0, at_target = z[target];
    size_t ties_before = 0;
    for (size_t j = 0; j < target; j++) ties_before += z[j] == top;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < V; j++) sum += exp_real(z[j] - top);
    *loss = log((double)sum) - (double)(at_target - top);
    *hit = at_target == top && ties_before == 0;
    if (!backward) return;
    real k = weight / sum;
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
