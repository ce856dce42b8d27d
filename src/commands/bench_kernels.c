/* Products of every storage type, and attention; a sample of plain sgemm goes with each sample. */
#include <stdlib.h>

#include "kernels/blas.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/commands/bench.h"
#include "src/model/llama.h"

/* The storage types that lorac can write, whose weights are made here. */
#define TYPE_WRITTEN(type) type,
#define TYPE_READ(type)
#define STORAGE(id, name, kind, ggml, ftype, st, torch, values, bytes, companion, w)               \
    TYPE_##w(STORAGE_##id)
static const enum storage_type types[] = {
#include "kernels/storage.def"
};
enum { TYPES = sizeof types / sizeof *types, ROUNDS_MAX = 100 };

/* ---- products -------------------------------------------------------------------------------- */

/* One product y = x W^T (forward) or dx = dy W of M rows. */
struct bench_product {
    const struct kernels *k;
    int threads;
    size_t M, N, K; /* W (N, K) */
    bool forward;
    real *x, *y, *w;
    void *stored[TYPES];
    size_t type;
    void *work;
};

static double product_flops(const struct bench_product *p)
{
    return 2.0 * (double)p->M * (double)p->N * (double)p->K;
}

static void run_plain(void *context)
{
    struct bench_product *p = context;
    size_t in = p->forward ? p->K : p->N, out = p->forward ? p->N : p->K;
    blas_product(p->y, p->x, p->w, p->M, out, in, p->forward, p->threads);
}

static void run_ours(void *context)
{
    struct bench_product *p = context;
    size_t in = p->forward ? p->K : p->N, out = p->forward ? p->N : p->K;
    struct matrix w = {
        .data = p->stored[p->type], .type = types[p->type], .rows = p->N, .cols = p->K
    };
    struct term t = { .a = p->x, .lda = in, .w = &w, .K = in, .b_rows = p->forward };
    p->k->matmul(p->y, out, &t, 1, p->M, out, false, p->work);
}

/* Medians over rounds, each round with its own sample of sgemm: our rates as shares of sgemm's, and
 * how many times as fast bf16 is as f32. */
struct product_rates {
    double plain; /* sgemm, in FLOP/s */
    double f32[TYPES], bf16[TYPES], gain[TYPES];
};

static double time_ours(struct bench *b, struct bench_product *p, const struct kernels *k,
                        size_t repeats)
{
    p->k = k;
    return bench_time(b, run_ours, p, repeats);
}

static void measure_product(struct product_rates *out, struct bench *b, struct bench_product *p)
{
    double plain[ROUNDS_MAX];
    static double f32[TYPES][ROUNDS_MAX], bf16[TYPES][ROUNDS_MAX], gain[TYPES][ROUNDS_MAX];
    size_t repeats = bench_repeats(b, product_flops(p));
    *out = (struct product_rates){ 0 };
    for (size_t r = 0; r < b->rounds; r++) {
        double s = bench_time(b, run_plain, p, repeats);
        plain[r] = product_flops(p) * (double)repeats / s;
        for (p->type = 0; p->type < TYPES; p->type++) {
            double own = time_ours(b, p, b->f32, repeats);
            f32[p->type][r] = s / own;
            if (!bench_compares(b)) continue;
            double rounded = time_ours(b, p, b->k, repeats);
            bf16[p->type][r] = s / rounded;
            gain[p->type][r] = own / rounded;
        }
    }
    out->plain = bench_median(plain, b->rounds);
    for (size_t i = 0; i < TYPES; i++) {
        out->f32[i] = bench_median(f32[i], b->rounds);
        if (!bench_compares(b)) continue;
        out->bf16[i] = bench_median(bf16[i], b->rounds);
        out->gain[i] = bench_median(gain[i], b->rounds);
    }
}

void bench_products_head(const struct bench *b)
{
    fprintf(
        b->out,
        bench_compares(b)
            ? "\nproducts with W (rows x columns): sgemm in GFLOP/s; with W in bf16: lorac's in "
              "f32 as a share of\nit, in bf16 as a share of twice it and of what registers "
              "allow; then how many times as fast\nas f32 bf16 is, for weights in\n"
              "%29ssgemm    f32   bf16  limit"
            : "\nproducts with W (rows x columns): sgemm in GFLOP/s; lorac's as a share of it "
              "for weights in\n%29ssgemm",
        "");
    for (size_t i = 0; i < TYPES; i++) fprintf(b->out, "%7s", storage_name(types[i]));
    fputc('\n', b->out);
}

/* The place of bf16 among the types. */
static size_t bf16_type(void)
{
    size_t i = 0;
    while (types[i] != STORAGE_BF16) i++;
    return i;
}

static void print_gains(const struct bench *b, const struct product_rates *v)
{
    size_t at = bf16_type();
    double limit = bench_product_limit(b);
    fprintf(b->out, "%6.0f%%%6.0f%%", 100 * v->f32[at], 100 * v->bf16[at] / 2);
    fprintf(b->out, limit > 0 ? "%6.0f%%" : "      -", 100 * v->bf16[at] * v->plain / limit);
    for (size_t i = 0; i < TYPES; i++) fprintf(b->out, "%7.2f", v->gain[i]);
}

static void write_gains(struct bench *b, const struct product_rates *v)
{
    size_t at = bf16_type();
    double limit = bench_product_limit(b);
    bench_json_number(b, "share_of_twice_sgemm", v->bf16[at] / 2);
    if (limit > 0) bench_json_number(b, "share_of_registers", v->bf16[at] * v->plain / limit);
    json_write_object(&b->json, "gain", JSON_ONE_LINE);
    for (size_t i = 0; i < TYPES; i++) bench_json_number(b, storage_name(types[i]), v->gain[i]);
    json_write_end(&b->json);
}

static void report_product(struct bench *b, const struct bench_product *p,
                           const struct product_rates *v)
{
    fprintf(b->out, "%6zu x %-6zu %6zu %-3s%8.1f", p->N, p->K, p->M, p->forward ? "y" : "dx",
            v->plain * 1e-9);
    if (bench_compares(b)) {
        print_gains(b, v);
    } else {
        for (size_t i = 0; i < TYPES; i++) fprintf(b->out, "%6.0f%%", 100 * v->f32[i]);
    }
    fputc('\n', b->out);
    fflush(b->out);
    json_write_object(&b->json, NULL, JSON_ONE_LINE);
    json_write_count(&b->json, "rows", p->N);
    json_write_count(&b->json, "cols", p->K);
    json_write_count(&b->json, "tokens", p->M);
    json_write_text(&b->json, "way", p->forward ? "y" : "dx");
    bench_json_number(b, "sgemm_gflops", v->plain * 1e-9);
    for (size_t i = 0; i < TYPES; i++) bench_json_number(b, storage_name(types[i]), v->f32[i]);
    if (bench_compares(b)) write_gains(b, v);
    json_write_end(&b->json);
}

/* For the products of both. */
static size_t bench_work_bytes(const struct bench *b)
{
    size_t own = b->k->matmul_work_bytes(), f32 = b->f32->matmul_work_bytes();
    return own > f32 ? own : f32;
}

static int product_init(struct bench_product *p, const struct bench *b, size_t widest,
                        size_t weights, struct err *e)
{
    p->x = mem_alloc(p->M * widest, sizeof(real), e);
    p->y = mem_alloc(p->M * widest, sizeof(real), e);
    p->w = mem_alloc(weights, sizeof(real), e);
    p->work = mem_alloc(bench_work_bytes(b), 1, e);
    bool ok = p->x && p->y && p->w && p->work;
    for (size_t i = 0; i < TYPES; i++)
        ok &= (p->stored[i] = mem_alloc(storage_bytes(types[i], weights), 1, e)) != NULL;
    if (!ok) return e->code;
    for (size_t i = 0; i < p->M * widest; i++) p->x[i] = (real)(rng_unit(1, RNG_SYNTH, 0, i) - 0.5);
    for (size_t i = 0; i < weights; i++) p->w[i] = (real)(rng_unit(1, RNG_SYNTH, 1, i) - 0.5);
    for (size_t i = 0; i < TYPES; i++)
        storage_narrow(p->stored[i], types[i], (const float *)(const void *)p->w, weights);
    return 0;
}

static void product_free(struct bench_product *p)
{
    mem_free(p->x);
    mem_free(p->y);
    mem_free(p->w);
    mem_free(p->work);
    for (size_t i = 0; i < TYPES; i++) mem_free(p->stored[i]);
}

/* A shape that several modules have is measured once. */
static bool seen_before(const struct dims *s, int m)
{
    for (int i = 0; i < m; i++) {
        if (module_rows(s, (enum module)i) == module_rows(s, (enum module)m) &&
            module_cols(s, (enum module)i) == module_cols(s, (enum module)m)) {
            return true;
        }
    }
    return false;
}

int bench_products(struct bench *b, size_t tokens, struct err *e)
{
    const struct dims *s = &b->dims->dims;
    size_t Q = s->H * s->D, widest = s->F > Q ? s->F : Q;
    struct bench_product p = { .threads = b->threads, .M = tokens };
    if (b->rounds > ROUNDS_MAX) b->rounds = ROUNDS_MAX;
    int code = product_init(&p, b, widest, widest * s->C, e);
    for (int m = 0; !code && m < MODULES; m++) {
        if (seen_before(s, m)) continue;
        p.N = module_rows(s, (enum module)m);
        p.K = module_cols(s, (enum module)m);
        for (int way = 0; way < 2; way++) {
            struct product_rates rates;
            p.forward = way == 0;
            measure_product(&rates, b, &p);
            report_product(b, &p, &rates);
        }
    }
    product_free(&p);
    return code;
}

/* ---- attention ------------------------------------------------------------------------------- */

struct attention_run {
    const struct kernels *k;
    const struct dims *s;
    struct segment seg;
    real *q, *k_, *v, *o, *lse, *dq, *dk, *dv, *dout;
    void *work;
};

static void run_attention_forward(void *context)
{
    struct attention_run *a = context;
    const struct dims *s = a->s;
    a->k->attention_forward(a->o, a->lse, a->q, a->k_, a->v, &a->seg, 1, a->seg.len, s->H, s->G,
                            s->D, a->work);
}

static void run_attention_backward(void *context)
{
    struct attention_run *a = context;
    const struct dims *s = a->s;
    a->k->attention_backward(a->dq, a->dk, a->dv, a->dout, a->q, a->k_, a->v, a->o, a->lse, &a->seg,
                             1, a->seg.len, s->H, s->G, s->D, a->work);
}

/* The arrays of a run, carved from one block of random numbers. */
struct real_block {
    real *at;
    size_t used;
};

static real *take(struct real_block *all, size_t n)
{
    real *p = all->at ? all->at + all->used : NULL;
    all->used += n;
    return p;
}

static void attention_carve(struct attention_run *a, struct real_block *all)
{
    const struct dims *s = a->s;
    size_t T = a->seg.len, queries = T * s->H * s->D, keys = T * s->G * s->D;
    a->q = take(all, queries);
    a->k_ = take(all, keys);
    a->v = take(all, keys);
    a->o = take(all, queries);
    a->lse = take(all, T * s->H);
    a->dq = take(all, queries);
    a->dk = take(all, keys);
    a->dv = take(all, keys);
    a->dout = take(all, queries);
}

static int attention_init(struct attention_run *a, struct real_block *all, struct err *e)
{
    const struct dims *s = a->s;
    attention_carve(a, all);
    all->at = mem_alloc(all->used, sizeof(real), e);
    a->work = mem_alloc(a->k->attention_work_bytes(a->seg.len, 1, s->H, s->G, s->D), 1, e);
    if (!all->at || !a->work) return e->code;
    for (size_t i = 0; i < all->used; i++) all->at[i] = (real)(rng_unit(1, RNG_SYNTH, 3, i) - 0.5);
    all->used = 0;
    attention_carve(a, all);
    return 0;
}

int bench_attention(struct bench *b, size_t tokens, struct err *e)
{
    const struct dims *s = &b->dims->dims;
    struct attention_run a = { .k = b->k,
                               .s = s,
                               .seg = { .len = (uint32_t)tokens, .parent = -1 } };
    struct real_block all = { 0 };
    int code = attention_init(&a, &all, e);
    double pairs = (double)tokens * ((double)tokens + 1) / 2 * (double)(s->H * s->D);
    const double flops[2] = { 4 * pairs, 8 * pairs };
    bench_work *const run[2] = { run_attention_forward, run_attention_backward };
    double share[2][ROUNDS_MAX], plain;
    for (size_t r = 0; !code && r < b->rounds; r++) {
        code = bench_yardstick(b, tokens, &plain, e);
        for (int way = 0; !code && way < 2; way++) {
            size_t repeats = bench_repeats(b, 2 * flops[way]);
            double seconds = bench_time(b, run[way], &a, repeats);
            share[way][r] = flops[way] * (double)repeats / seconds / plain;
        }
    }
    if (!code) {
        double forward = bench_median(share[0], b->rounds);
        double backward = bench_median(share[1], b->rounds);
        fprintf(b->out, "attention, %6zu tokens: forward %3.0f%%, backward %3.0f%% of sgemm\n",
                tokens, 100 * forward, 100 * backward);
        json_write_object(&b->json, NULL, JSON_ONE_LINE);
        json_write_count(&b->json, "tokens", tokens);
        bench_json_number(b, "forward", forward);
        bench_json_number(b, "backward", backward);
        json_write_end(&b->json);
    }
    mem_free(all.at);
    mem_free(a.work);
    return code;
}
