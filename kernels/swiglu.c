/* SwiGLU (Shazeer, 2020): y = silu(gate) * up, silu(g) = g s with s = 1/(1 + exp(-g)).
 * ds/dg = s (1 - s), hence
 *     dgate = dy up s (1 + g (1 - s)),   dup = dy g s */

static void swiglu_forward(real *y, const real *gate, const real *up, size_t n)
{
    enum { FEW = 4096 }; /* done sooner than a second thread has begun */
#pragma omp parallel for simd schedule(static) if (parallel : n > FEW)
    for (size_t i = 0; i < n; i++) y[i] = gate[i] / (1 + exp_real(-gate[i])) * up[i];
}

static void swiglu_backward(real *dgate, real *dup, const real *dy, const real *gate,
                            const real *up, size_t n)
{
#pragma omp parallel for simd schedule(static)
    for (size_t i = 0; i < n; i++) {
        real g = gate[i], u = up[i], d = dy[i];
        real s = 1 / (1 + exp_real(-g));
        dgate[i] = d * u * s * (1 + g * (1 - s));
        dup[i] = d * g * s;
    }
}
