/* How a sample is taken, and the limits of the machine, of which all other results are shares. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/bench.h"
#include "src/model/rate.h"

enum { LIMIT_SAMPLES = 7, TRIES = 4 };
static const double sample_s = 0.12, quick_s = 0.03, foreign_most = 0.05;

/* ---- samples --------------------------------------------------------------------------------- */

/* Seconds of processor time: of all processes (with what the hypervisor took), and of this one. */
struct usage {
    double all_s, own_s;
};

static struct usage usage_now(void)
{
    struct usage u = { 0 };
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    u.own_s = (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
              1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
    /* cpu user nice system idle iowait irq softirq steal, in ticks */
    unsigned long long t[8];
    FILE *f = fopen("/proc/stat", "re");
    if (f) {
        int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
                       &t[4], &t[5], &t[6], &t[7]);
        if (n == 8) {
            double ticks = (double)(t[0] + t[1] + t[2] + t[5] + t[6] + t[7]);
            u.all_s = ticks / (double)sysconf(_SC_CLK_TCK);
        }
        fclose(f);
    }
    return u;
}

/* The idle threads of one pool spin for a while and disturb the measurement of another. OpenBLAS's
 * spin for more than 30 ms, which took up to 30 % off the sample after plain sgemm. A single round
 * waits less. */
static void let_pools_sleep(const struct bench *b)
{
    usleep(b->rounds > 1 ? 100000 : 30000);
}

double bench_time(struct bench *b, bench_work *work, void *context, size_t repeats)
{
    double best = 0;
    b->samples++;
    int tries = b->rounds > 1 ? TRIES : 1; /* one round: speed matters more than care */
    for (int i = 0; i < tries; i++) {
        let_pools_sleep(b);
        work(context);
        struct usage before = usage_now();
        double start = term_now_s();
        for (size_t r = 0; r < repeats; r++) work(context);
        double s = term_now_s() - start;
        struct usage after = usage_now();
        if (i == 0 || s < best) best = s;
        double foreign = after.all_s - before.all_s - (after.own_s - before.own_s);
        /* ticks are coarse: two of them are within the error of reading them */
        if (foreign <= foreign_most * s * b->threads + 2.0 / (double)sysconf(_SC_CLK_TCK)) return s;
    }
    b->disturbed++;
    return best;
}

size_t bench_repeats(const struct bench *b, double flops)
{
    double rate = b->fma > 0 ? b->fma : 1e11;
    double s = b->rounds > 1 ? sample_s : quick_s;
    return (size_t)(s * 0.7 * rate / flops) + 1;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

void bench_json_number(struct bench *b, const char *key, double v)
{
    json_write_digits(&b->json, key, v, 12);
}

/* ---- limits ---------------------------------------------------------------------------------- */

enum { READ_BYTES = 512 << 20 };

struct limits {
    const struct kernels *k;
    real *x;
    double flops, sum;
};

static void multiply_adds(void *context)
{
    struct limits *l = context;
    l->flops = rate_fma_run(l->k);
}

static void read_memory(void *context)
{
    struct limits *l = context;
    l->sum += l->k->read_sum(l->x, READ_BYTES / sizeof(real));
}

int bench_limits(struct bench *b, struct err *e)
{
    struct limits l = { .k = b->k };
    double rate[LIMIT_SAMPLES];
    for (int i = 0; i < LIMIT_SAMPLES; i++) {
        double s = bench_time(b, multiply_adds, &l, 1);
        rate[i] = l.flops / s;
    }
    b->fma = bench_median(rate, LIMIT_SAMPLES);
    l.x = mem_alloc(READ_BYTES / sizeof(real), sizeof(real), e);
    if (!l.x) return e->code;
    b->k->scale(l.x, 1, READ_BYTES / sizeof(real)); /* touched by the threads that will read it */
    for (int i = 0; i < LIMIT_SAMPLES; i++)
        rate[i] = READ_BYTES / bench_time(b, read_memory, &l, 1);
    CHECK(l.sum == 0);
    mem_free(l.x);
    b->bandwidth = bench_median(rate, LIMIT_SAMPLES);
    fprintf(b->out,
            "multiply-adds in registers %8.1f GFLOP/s\nreading memory             %8.1f GB/s\n",
            b->fma * 1e-9, b->bandwidth * 1e-9);
    bench_json_number(b, "fma_gflops", b->fma * 1e-9);
    bench_json_number(b, "read_gb_per_s", b->bandwidth * 1e-9);
    return 0;
}

/* Without an instruction for bf16, two multiply-adds of f32 make one of bf16. */
double bench_product_limit(const struct bench *b)
{
    bool own = strcmp(b->k->product.isa, b->k->isa) != 0;
    return own ? b->k->product.bf16_rate : b->fma;
}

/* ---- plain sgemm ----------------------------------------------------------------------------- */

static struct products plain;
static const struct dims *plain_of;

int bench_yardstick(struct bench *b, size_t tokens, double *rate, struct err *e)
{
    const struct dims *s = &b->dims->dims;
    if (plain_of != s || plain.rows != tokens) {
        bench_yardstick_free();
        int code = products_of_layer(&plain, NULL, b->threads, s, tokens, e);
        if (code) return code;
        plain_of = s;
    }
    double flops = products_flops(&plain);
    size_t repeats = bench_repeats(b, flops);
    *rate = flops * (double)repeats / bench_time(b, products_run, &plain, repeats);
    return 0;
}

void bench_yardstick_free(void)
{
    products_free(&plain);
    plain_of = NULL;
}
