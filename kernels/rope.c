/* Rotary position embedding (Su et al., 2021) in Hugging Face's layout: channels j and j + D/2 of a
 * head form a plane, turned by the angle of the row's position.
 *     y[j]       = x[j] cos - x[j + D/2] sin
 *     y[j + D/2] = x[j + D/2] cos + x[j] sin
 * A rotation's transpose turns back: backward is forward with -sin. */

static void rotate(real *x, const real *cosines, const real *sines, size_t T, size_t heads,
                   size_t D, real direction)
{
    size_t half = D / 2;
#pragma omp parallel for schedule(static) if (T > 1)
    for (size_t t = 0; t < T; t++) {
        const real *c = cosines + t * half, *s = sines + t * half;
        for (size_t h = 0; h < heads; h++) {
            real *a = x + (t * heads + h) * D, *b = a + half;
#pragma omp simd
            for (size_t j = 0; j < half; j++) {
                real aj = a[j], bj = b[j], sj = direction * s[j];
                a[j] = aj * c[j] - bj * sj;
                b[j] = bj * c[j] + aj * sj;
            }
        }
    }
}

static void rope_half_forward(real *x, const real *cosines, const real *sines, size_t T,
                              size_t heads, size_t D)
{
    rotate(x, cosines, sines, T, heads, D, 1);
}

static void rope_half_backward(real *dx, const real *cosines, const real *sines, size_t T,
                               size_t heads, size_t D)
{
    rotate(dx, cosines, sines, T, heads, D, -1);
}
