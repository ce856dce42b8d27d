/* lorac bench: what this machine can do, and what lorac makes of it. Everything is measured in one run and
 * told as a share of what was measured beside it: machines differ, and are shared and noisy. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/blas.h"
#include "src/base/file.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/convert/synthetic.h"
#include "src/model/cost.h"
#include "src/train/learner.h"
#include "src/train/setup.h"

static const char *shape_name = "135m", *directory;
static int64_t rows = 4, length = 512, steps = 3, layers;
static bool as_json, kernels_only;

static const struct option options[] = {
    { "shape", 0, "S", "135m, 1.1b, 7b, 13b or 70b (of which four layers are measured)",
      .allowed = "135m 1.1b 7b 13b 70b", .text = &shape_name },
    { "examples", 0, "N", "examples in a step", .allowed = "[1, 4096]", .integer = &rows },
    { "length", 0, "T", "tokens of each", .allowed = "[2, 65536]", .integer = &length },
    { "steps", 0, "N", "steps to measure", .allowed = "[1, 1000]", .integer = &steps },
    { "layers", 0, "L", "make only so many layers, and say what all would take",
      .allowed = "[1, 1024]", .integer = &layers },
    { "directory", 0, "DIR", "where the synthetic weights are kept; left out: ~/.cache/lorac/bench",
      .text = &directory },
    { "kernels", 0, NULL, "kernels only, no whole steps", .flag = &kernels_only },
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

/* ---- measuring -------------------------------------------------------------------------------- */

/* A sample lasts some 60 ms: shorter ones mostly measure how threads wake up. */
enum { SAMPLES = 5 };
static const double sample_flops = 2e10;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* The idle threads of one pool spin for a while and disturb another's measurement. */
static void let_pools_sleep(void)
{
    usleep(60000);
}

struct bench {
    const struct kernels *k;
    const struct shape *s;
    size_t T;
    int threads;
    FILE *out;    /* for people: stderr when stdout is for JSON */
    real *x, *y;  /* operands, (T, widest) */
    float *w;     /* a weight in float32 */
    void *stored; /* the same in a storage type */
    void *work;
    double fma, bandwidth;       /* operations and bytes per second */
    double sgemm_flops, sgemm_s; /* of plain sgemm over the shapes */
    struct str json;
};

static void measure_limits(struct bench *b)
{
    double rate[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        double start = term_now_s(), flops = b->k->fma_flops(60000000);
        rate[i] = flops / (term_now_s() - start);
    }
    b->fma = median(rate, SAMPLES);
    size_t n = (256u << 20) / sizeof(real);
    struct err e;
    real *big = mem_alloc(n, sizeof *big, &e);
    CHECK(big);
    b->k->scale(big, 1, n); /* touched by the threads that will read it */
    double sink = 0;
    for (int i = 0; i < SAMPLES; i++) {
        double start = term_now_s();
        sink += b->k->read_sum(big, n);
        rate[i] = (double)(n * sizeof(real)) / (term_now_s() - start);
    }
    CHECK(sink == 0);
    mem_free(big);
    b->bandwidth = median(rate, SAMPLES);
    fprintf(b->out,
            "multiply-adds in registers %8.1f GFLOP/s\nreading memory             %8.1f GB/s\n",
            b->fma * 1e-9, b->bandwidth * 1e-9);
    str_addf(&b->json, "{\"fma_gflops\": %.1f, \"read_gb_per_s\": %.1f", b->fma * 1e-9,
             b->bandwidth * 1e-9);
}

/* One product by both engines, sample by sample in turn. Returns ours as a share of sgemm. */
static double measure_product(struct bench *b, size_t N, size_t K, enum dtype type, bool forward,
                              double *sgemm_rate)
{
    double ours[SAMPLES], plain[SAMPLES], flops = 2.0 * (double)b->T * (double)N * (double)K;
    size_t in = forward ? K : N, out = forward ? N : K;
    struct matrix w = { .data = b->stored, .type = type, .rows = N, .cols = K };
    struct term t = { .a = b->x, .lda = in, .w = &w, .K = in, .b_rows = forward };
    int repeats = (int)(sample_flops / flops) + 1;
    for (int i = 0; i < SAMPLES; i++) {
        let_pools_sleep();
        double start = 0;
        for (int r = -1; r < repeats; r++) {
            if (r <= 0) start = term_now_s();
            blas_product(b->y, b->x, (const real *)(const void *)b->w, b->T, out, in, forward,
                         b->threads);
        }
        plain[i] = flops * repeats / (term_now_s() - start);
        let_pools_sleep();
        for (int r = -1; r < repeats; r++) {
            if (r <= 0) start = term_now_s();
            b->k->matmul(b->y, out, &t, 1, b->T, out, false, b->work);
        }
        ours[i] = flops * repeats / (term_now_s() - start);
    }
    *sgemm_rate = median(plain, SAMPLES);
    return median(ours, SAMPLES) / *sgemm_rate;
}

static void measure_shape(struct bench *b, const char *name, size_t N, size_t K, size_t times)
{
    static const enum dtype types[] = { DTYPE_F32,  DTYPE_F16,  DTYPE_BF16,
                                        DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1 };
    double flops = 2.0 * (double)b->T * (double)N * (double)K;
    for (int way = 0; way < 2; way++) {
        fprintf(b->out, "%-10s %6zu x %-6zu %-3s", name, N, K, way ? "dx" : "y");
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            double rate;
            kernels_narrow(b->stored, types[i], b->w, N * K);
            double share = measure_product(b, N, K, types[i], way == 0, &rate);
            if (i == 0) {
                fprintf(b->out, "%8.1f", rate * 1e-9);
                b->sgemm_flops += flops * (double)times;
                b->sgemm_s += flops * (double)times / rate;
            }
            fprintf(b->out, "%7.0f%%", 100 * share);
            str_addf(&b->json,
                     "%s{\"shape\": \"%s\", \"way\": \"%s\", \"type\": \"%s\", "
                     "\"sgemm_gflops\": %.1f, \"share\": %.3f}",
                     b->json.p[b->json.n - 1] == '[' ? "" : ", ", name, way ? "dx" : "y",
                     dtype_name(types[i]), rate * 1e-9, share);
            fflush(b->out);
        }
        fputc('\n', b->out);
    }
}

/* Each kind of product of the shape, counted as often as a pass runs it. */
static int measure_products(struct bench *b, struct err *e)
{
    const struct shape *s = b->s;
    size_t Q = s->H * s->D, kv = s->G * s->D, widest = s->F > s->C ? s->F : s->C;
    if (Q > widest) widest = Q;
    b->x = mem_alloc(b->T * widest, sizeof(real), e);
    b->y = mem_alloc(b->T * widest, sizeof(real), e);
    b->w = mem_alloc(widest * s->C, sizeof *b->w, e);
    b->stored = mem_alloc(widest * s->C, sizeof(float), e);
    b->work = mem_alloc(b->k->matmul_work_bytes(), 1, e);
    if (!b->x || !b->y || !b->w || !b->stored || !b->work) return e->code;
    for (size_t i = 0; i < b->T * widest; i++) b->x[i] = (real)(rng_unit(1, RNG_SYNTH, 0, i) - 0.5);
    for (size_t i = 0; i < widest * s->C; i++)
        b->w[i] = (float)(rng_unit(1, RNG_SYNTH, 1, i) - 0.5);
    fprintf(b->out,
            "\nproducts of %zu tokens: OpenBLAS sgemm (%s) in GFLOP/s, and lorac's (%s, %s) as a "
            "share\n"
            "of it for weights stored as\n%33ssgemm     f32    f16   bf16   q8_0   q4_0   q4_1\n",
            b->T, blas_core(), b->k->isa, b->k->gemm, "");
    str_addz(&b->json, ", \"products\": [");
    measure_shape(b, "q, o", Q, s->C, 2);
    measure_shape(b, "k, v", kv, s->C, 2);
    measure_shape(b, "gate, up", s->F, s->C, 2);
    measure_shape(b, "down", s->C, s->F, 1);
    double sgemm = b->sgemm_flops / b->sgemm_s;
    fprintf(b->out,
            "sgemm over a layer's products %8.1f GFLOP/s, %.0f%% of the multiply-add rate\n",
            sgemm * 1e-9, 100 * sgemm / b->fma);
    str_addf(&b->json, "], \"sgemm_gflops\": %.1f", sgemm * 1e-9);
    mem_free(b->x);
    mem_free(b->y);
    mem_free(b->w);
    mem_free(b->stored);
    mem_free(b->work);
    return 0;
}

/* ---- whole steps ------------------------------------------------------------------------------ */

static int model_directory(char out[PATH_BYTES], size_t n_layers, struct err *e)
{
    char name[64];
    const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
    struct str base = { 0 };
    if (directory) {
        str_addz(&base, directory);
    } else if (cache && *cache) {
        str_addf(&base, "%s/lorac/bench", cache);
    } else {
        str_addf(&base, "%s/.cache/lorac/bench", home ? home : ".");
    }
    snprintf(name, sizeof name, "%s-%zu-layers", shape_name, n_layers);
    int code = str_error(&base, e);
    if (!code) code = path_join(out, base.p, name, e);
    str_free(&base);
    return code;
}

/* Random tokens, all of them targets but the first of each example; nothing is shared. */
static int random_examples(struct examples *x, size_t n, size_t tokens, size_t V, struct err *e)
{
    *x = (struct examples){ .n = n };
    x->ids = mem_alloc(n * tokens, sizeof *x->ids, e);
    x->target = mem_alloc(n * tokens, 1, e);
    x->at = mem_alloc(n + 1, sizeof *x->at, e);
    if (!x->ids || !x->target || !x->at) return e->code;
    for (size_t i = 0; i < n * tokens; i++) {
        x->ids[i] = (int32_t)(rng_u32(1, RNG_SYNTH, 2, i) % V);
        x->target[i] = i % tokens > 0;
    }
    for (size_t i = 0; i <= n; i++) x->at[i] = i * tokens;
    return 0;
}

static int measure_steps(struct bench *b, struct learner *l, size_t tokens, struct err *e)
{
    double time[1000], forward = 0, backward = 0;
    uint32_t which[4096];
    size_t n = (size_t)rows;
    struct step_result r;
    for (size_t i = 0; i < n; i++) which[i] = (uint32_t)i;
    for (int64_t i = -1; i < steps; i++) { /* the first one touches weights and workspace */
        double start = term_now_s();
        int code = learner_step(l, &r, which, n, (uint64_t)(i + 2), 1e-4, e);
        if (code) return code;
        if (i < 0) continue;
        time[i] = term_now_s() - start;
        forward += r.forward_s / (double)steps;
        backward += r.backward_s / (double)steps;
    }
    struct cost work = cost_of_batch(b->s, &l->adapter, &l->batch);
    double s = median(time, (size_t)steps), flops = cost_total(&work);
    double sgemm = b->sgemm_s > 0 ? b->sgemm_flops / b->sgemm_s : 0;
    double memory = (double)machine_memory_peak();
    fprintf(b->out,
            "\nstep of %lld x %lld tokens, r %zu on all linear layers, bf16 weights, %zu layers\n",
            (long long)rows, (long long)length, l->adapter.r, b->s->layers);
    fprintf(b->out, "  %.2f s (forward %.2f, backward %.2f), %.1f tokens/s, %.1f GFLOP/s", s,
            forward, backward, (double)tokens / s, flops / s * 1e-9);
    if (sgemm > 0) printf(", %.0f%% of sgemm", 100 * flops / s / sgemm);
    fprintf(b->out, "\n  peak memory %.2f GB, of which %.2f planned and %.2f mapped weights\n",
            memory * 1e-9, (double)learner_bytes(l) * 1e-9,
            (double)l->net.base->weight_bytes * 1e-9);
    str_addf(&b->json,
             ", \"step\": {\"examples\": %lld, \"length\": %lld, \"layers\": %zu, \"seconds\": "
             "%.4f, \"tokens_per_s\": %.2f, \"gflops\": %.1f, \"share_of_sgemm\": %.3f, "
             "\"peak_memory_bytes\": %.0f}",
             (long long)rows, (long long)length, b->s->layers, s, (double)tokens / s,
             flops / s * 1e-9, sgemm > 0 ? flops / s / sgemm : 0, memory);
    return 0;
}

static void extrapolate(const struct bench *b, const struct synthetic_shape *shape, size_t n_layers)
{
    if (n_layers == shape->shape.layers) return;
    fprintf(
        b->out,
        "  (%zu of %zu layers were measured; all would take %.1f times as long, the head aside)\n",
        n_layers, shape->shape.layers, (double)shape->shape.layers / (double)n_layers);
}

static int whole_steps(struct bench *b, const struct synthetic_shape *shape, size_t n_layers,
                       struct err *e)
{
    char dir[PATH_BYTES];
    struct llama m;
    struct examples x = { 0 }, none = { 0 };
    struct learner l = { 0 };
    struct config c = { 0 };
    size_t tokens = (size_t)(rows * length);
    int code = model_directory(dir, n_layers, e);
    if (!code) code = synthetic_make(shape, n_layers, dir, e);
    if (!code) code = llama_open(&m, dir, e);
    if (code) return code;
    b->s = &m.shape;
    c.adapter.r = 16;
    c.adapter.lora_alpha = 32;
    c.adapter.target_modules = (1u << MODULES) - 1;
    c.train.batch_size = rows;
    c.train.pass_tokens = (int64_t)tokens;
    c.train.adam_beta1 = 0.9, c.train.adam_beta2 = 0.999, c.train.adam_epsilon = 1e-8;
    code = random_examples(&x, (size_t)rows, (size_t)length, m.shape.V, e);
    if (!code) code = learner_plan(&l, &c, &m, NULL, &x, &none, b->k, 0, e);
    if (!code) code = learner_map(&l, &c, NULL, e);
    if (!code) code = measure_steps(b, &l, tokens, e);
    if (!code) extrapolate(b, shape, n_layers);
    learner_free(&l);
    mem_free(x.ids);
    mem_free(x.target);
    mem_free(x.at);
    llama_close(&m);
    return code;
}

static int run(int n, char **args, struct err *e)
{
    (void)n, (void)args;
    const struct synthetic_shape *shape = synthetic_named(shape_name);
    const char *why;
    struct bench b = { .s = &shape->shape, .T = (size_t)(rows * length) };
    size_t n_layers = layers ? (size_t)layers : shape->layers_max;
    if (n_layers > shape->shape.layers) n_layers = shape->shape.layers;
    int code = setup_kernels(&b.k, e);
    if (code) return code;
    b.out = as_json ? stderr : stdout;
    b.threads = machine_threads(&why);
    fprintf(b.out, "%s, %d threads (%s), kernels %s\nshape %s (%s)\n", machine_cpu(), b.threads,
            why, b.k->isa, shape_name, shape->what);
    measure_limits(&b);
    code = measure_products(&b, e);
    if (!code && !kernels_only) code = whole_steps(&b, shape, n_layers, e);
    str_addz(&b.json, "}\n");
    if (!code) code = str_error(&b.json, e);
    if (!code && as_json) fputs(b.json.p, stdout);
    str_free(&b.json);
    return code;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "measure kernels and whole steps on this machine",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about =
        "Synthetic weights are made once. Shares are of what the same run measured: compare them,\n"
        "not the absolute numbers of two runs.",
    .examples = "lorac bench\nlorac bench --shape 1.1b --examples 1 --length 512\n",
    .run = run,
};
