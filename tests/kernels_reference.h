/* The kernels once more, in double, by their definitions and with the plainest loops: what tests
 * compare with. Inputs are arrays of real, outputs of double. */
#ifndef LORAC_TESTS_KERNELS_REFERENCE_H
#define LORAC_TESTS_KERNELS_REFERENCE_H

#include "tests/kernels_test.h"

/* ---- RMSNorm, RoPE, SwiGLU ------------------------------------------------------------------- */

static inline double ref_rstd(const real *x, size_t C, double eps)
{
    double sum = 0;
    for (size_t c = 0; c < C; c++) sum += (double)x[c] * (double)x[c];
    return 1 / sqrt(sum / (double)C + eps);
}

static inline void ref_rmsnorm(double *y, double *rstd, const real *x, const real *w, size_t T,
                               size_t C, double eps)
{
    for (size_t t = 0; t < T; t++) {
        rstd[t] = ref_rstd(x + t * C, C, eps);
        for (size_t c = 0; c < C; c++) y[t * C + c] = (double)x[t * C + c] * rstd[t] * (double)w[c];
    }
}

/* dx[c] = sum over j of dy[j] dy[j]/dx[c]: every entry of the Jacobian, one by one. */
static inline void ref_rmsnorm_backward(double *dx, const real *dy, const real *x, const real *w,
                                        size_t T, size_t C, double eps)
{
    for (size_t t = 0; t < T; t++, x += C, dy += C, dx += C) {
        double r = ref_rstd(x, C, eps), r3 = r * r * r / (double)C;
        for (size_t c = 0; c < C; c++) {
            double sum = 0;
            for (size_t j = 0; j < C; j++) {
                double slope = (j == c ? r : 0) - (double)x[j] * (double)x[c] * r3;
                sum += (double)dy[j] * (double)w[j] * slope;
            }
            dx[c] = sum;
        }
    }
}

/* direction 1 turns forwards, -1 back. */
static inline void ref_rope_half(double *y, const real *x, const real *cosines, const real *sines,
                                 size_t T, size_t heads, size_t D, double direction)
{
    for (size_t t = 0; t < T; t++)
        for (size_t h = 0; h < heads; h++)
            for (size_t j = 0; j < D; j++) {
                const real *head = x + (t * heads + h) * D;
                double c = (double)cosines[t * (D / 2) + j % (D / 2)];
                double s = direction * (double)sines[t * (D / 2) + j % (D / 2)];
                double other = j < D / 2 ? -(double)head[j + D / 2] : (double)head[j - D / 2];
                y[(t * heads + h) * D + j] = (double)head[j] * c + other * s;
            }
}

static inline double ref_sigmoid(double g)
{
    return 1 / (1 + exp(-g));
}

static inline double ref_silu(double g)
{
    return g * ref_sigmoid(g);
}

static inline double ref_silu_slope(double g)
{
    double s = ref_sigmoid(g);
    return s + g * s * ref_sigmoid(-g);
}

/* ---- attention over segments ----------------------------------------------------------------- */

/* A trie of segments by lengths and parents; the rest of struct segment follows. */
struct trie {
    const char *name;
    size_t n;
    struct {
        uint32_t len;
        int32_t parent;
    } node[10];
};

/* The number of rows; segments in seg. */
static inline size_t trie_segments(struct segment *seg, const struct trie *trie)
{
    uint32_t start = 0, trees = 0;
    for (size_t i = 0; i < trie->n; i++) {
        int32_t parent = trie->node[i].parent;
        seg[i] = (struct segment){ .start = start, .len = trie->node[i].len, .parent = parent };
        seg[i].tree = parent < 0 ? trees++ : seg[parent].tree;
        seg[i].pos = parent < 0 ? 0 : seg[parent].pos + seg[parent].len;
        start += seg[i].len;
    }
    return start;
}

/* One case of attention: sizes, inputs, and the cotangent of its output. */
struct attention_case {
    struct segment seg[10];
    size_t n_seg, T, H, G, D;
    real *q, *k, *v, *dout;
};

static inline struct attention_case attention_case(const struct trie *trie, size_t H, size_t G,
                                                   size_t D)
{
    struct attention_case a = { .n_seg = trie->n, .H = H, .G = G, .D = D };
    a.T = trie_segments(a.seg, trie);
    a.q = random_reals(a.T * H * D);
    a.k = random_reals(a.T * G * D);
    a.v = random_reals(a.T * G * D);
    a.dout = random_reals(a.T * H * D);
    return a;
}

static inline size_t segment_of(const struct attention_case *a, size_t row)
{
    size_t s = 0;
    while (row >= a->seg[s].start + a->seg[s].len) s++;
    return s;
}

/* Whether row t attends to row u: u's segment is t's own or an ancestor, and u is not after t. */
static inline bool ref_sees(const struct attention_case *a, size_t t, size_t u)
{
    if (u > t) return false;
    int32_t of_u = (int32_t)segment_of(a, u);
    for (int32_t s = (int32_t)segment_of(a, t); s >= 0; s = a->seg[s].parent) {
        if (s == of_u) return true;
    }
    return false;
}

/* p (T) = the attention of row t, head h, to every row; returns log sum exp of its scores. */
static inline double ref_attention_row(double *p, const struct attention_case *a, size_t t,
                                       size_t h)
{
    size_t D = a->D, g = h / (a->H / a->G);
    double top = -INFINITY, sum = 0;
    for (size_t u = 0; u < a->T; u++) {
        p[u] = -INFINITY;
        if (!ref_sees(a, t, u)) continue;
        p[u] = 0;
        for (size_t d = 0; d < D; d++)
            p[u] += (double)a->q[(t * a->H + h) * D + d] * (double)a->k[(u * a->G + g) * D + d];
        p[u] /= sqrt((double)D);
        top = fmax(top, p[u]);
    }
    for (size_t u = 0; u < a->T; u++) sum += p[u] = exp(p[u] - top);
    for (size_t u = 0; u < a->T; u++) p[u] /= sum;
    return top + log(sum);
}

/* o (T, H, D), lse (H, T) */
static inline void ref_attention(double *o, double *lse, const struct attention_case *a)
{
    size_t D = a->D;
    double *p = doubles(a->T);
    for (size_t t = 0; t < a->T; t++)
        for (size_t h = 0; h < a->H; h++) {
            size_t g = h / (a->H / a->G);
            lse[h * a->T + t] = ref_attention_row(p, a, t, h);
            for (size_t u = 0; u <= t; u++)
                for (size_t d = 0; d < D; d++)
                    o[(t * a->H + h) * D + d] += p[u] * (double)a->v[(u * a->G + g) * D + d];
        }
}

/* dq (T, H, D), dk, dv (T, G, D) += */
static inline void ref_attention_backward(double *dq, double *dk, double *dv,
                                          const struct attention_case *a)
{
    size_t D = a->D;
    double *p = doubles(a->T), *dp = doubles(a->T), scale = 1 / sqrt((double)D);
    for (size_t t = 0; t < a->T; t++)
        for (size_t h = 0; h < a->H; h++) {
            size_t row = (t * a->H + h) * D, g = h / (a->H / a->G);
            double mean = 0; /* of dp under p */
            ref_attention_row(p, a, t, h);
            for (size_t u = 0; u <= t; u++) {
                size_t key = (u * a->G + g) * D;
                dp[u] = 0;
                for (size_t d = 0; d < D; d++) {
                    dp[u] += (double)a->dout[row + d] * (double)a->v[key + d];
                    dv[key + d] += p[u] * (double)a->dout[row + d];
                }
                mean += p[u] * dp[u];
            }
            for (size_t u = 0; u <= t; u++) {
                size_t key = (u * a->G + g) * D;
                double ds = p[u] * (dp[u] - mean) * scale;
                for (size_t d = 0; d < D; d++) {
                    dq[row + d] += ds * (double)a->k[key + d];
                    dk[key + d] += ds * (double)a->q[row + d];
                }
            }
        }
}

/* ---- cross entropy, AdamW -------------------------------------------------------------------- */

/* Of one row: its loss, and dz (V) = weight * dloss/dz. */
static inline double ref_cross_entropy(double *dz, const real *z, size_t target, double weight,
                                       size_t V)
{
    double top = -INFINITY, sum = 0;
    for (size_t j = 0; j < V; j++) top = fmax(top, (double)z[j]);
    for (size_t j = 0; j < V; j++) sum += exp((double)z[j] - top);
    for (size_t j = 0; j < V; j++)
        dz[j] = weight * (exp((double)z[j] - top) / sum - (j == target ? 1 : 0));
    return top + log(sum) - (double)z[target];
}

/* torch.optim.AdamW, one value, step t counted from 1. */
static inline void ref_adamw(double *p, double *m, double *v, double g, double lr, double beta1,
                             double beta2, double eps, double decay, int t)
{
    *p *= 1 - lr * decay;
    *m = beta1 * *m + (1 - beta1) * g;
    *v = beta2 * *v + (1 - beta2) * g * g;
    double m_hat = *m / (1 - pow(beta1, t)), v_hat = *v / (1 - pow(beta2, t));
    *p -= lr * m_hat / (sqrt(v_hat) + eps);
}

#endif
