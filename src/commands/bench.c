/* lorac bench: what this machine can do, and how much of that lorac reaches. Machines differ, are
 * shared and noisy, so each result is a share of a limit that the same run measured. */
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/commands/bench.h"
#include "src/commands/commands.h"
#include "src/commands/model_options.h"
#include "src/config/scalar.h"
#include "src/model/rate.h"
#include "src/train/setup.h"

static const char *shape_name = "135m", *directory, *memory, *parts = "all",
                  *token_list = "512,2048", *compute;
static int64_t rows = 4, length = 512, steps = 5, rounds = 5, layers;
static bool as_json;

static const struct option options[] = {
    { "shape", 0, "S", "135m, 1.1b, 7b, 13b or 70b (of which four layers are measured)",
      .allowed = "135m 1.1b 7b 13b 70b", .text = &shape_name },
    { "parts", 0, "P,...", "products, attention, steps, adapters, generation, or all",
      .text = &parts },
    { "tokens", 0, "M,...", "rows of the products, length of attention", .text = &token_list },
    { "compute", 0, "C",
      "f32 or bf16, as train.compute; bf16 is measured beside f32; left out: f32",
      .allowed = COMPUTE_ALLOWED, .text = &compute },
    { "rounds", 0, "N", "samples of each kernel; 1: a short one, even if disturbed",
      .allowed = "[1, 99]", .integer = &rounds },
    { "examples", 0, "N", "examples in a step", .allowed = "[1, 4096]", .integer = &rows },
    { "length", 0, "T", "tokens of each", .allowed = "[2, 65536]", .integer = &length },
    { "steps", 0, "N", "steps to measure", .allowed = "[1, 1000]", .integer = &steps },
    { "layers", 0, "L", "make only L layers, and say what all would take", .allowed = "[1, 1024]",
      .integer = &layers },
    { "memory-budget", 0, "SIZE", "what a step may use, weights included; left out: what is free",
      .text = &memory },
    { "directory", 0, "DIR", "where the synthetic weights are kept; left out: ~/.cache/lorac/bench",
      .text = &directory },
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

/* One row per part; a part with `with_tokens` runs once for each value of --tokens. */
static const struct part {
    const char *name;
    int (*with_tokens)(struct bench *, size_t, struct err *);
    int (*once)(struct bench *, struct err *);
} part_table[] = {
    { "products", bench_products, NULL },     { "attention", bench_attention, NULL },
    { "steps", NULL, bench_steps },           { "adapters", NULL, bench_adapters },
    { "generation", NULL, bench_generation },
};
enum { PARTS = sizeof part_table / sizeof *part_table, TOKENS_MAX = 16 };

/* ---- lists on the command line --------------------------------------------------------------- */

static int read_parts(bool wanted[PARTS], struct err *e)
{
    char text[256], *save = NULL;
    snprintf(text, sizeof text, "%s", parts);
    for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        bool known = false;
        for (int i = 0; i < PARTS; i++) {
            if (strcmp(w, part_table[i].name) != 0 && strcmp(w, "all") != 0) continue;
            known = wanted[i] = true;
        }
        if (!known) {
            const char *near = str_nearest_word(w,
                                                "products attention steps adapters generation all");
            return err_usage(e,
                             "--parts: found %s, wanted products, attention, steps, adapters, "
                             "generation or all%s%s%s",
                             err_quotez(w), near ? "; did you mean " : "", near ? near : "",
                             near ? "?" : "");
        }
    }
    return 0;
}

static int read_tokens(size_t out[TOKENS_MAX], size_t *n, struct err *e)
{
    char text[256], *save = NULL;
    snprintf(text, sizeof text, "%s", token_list);
    for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        char *end;
        unsigned long v = strtoul(w, &end, 10);
        if (*end || v < 1 || v > 65536 || *n == TOKENS_MAX) {
            return err_usage(e, "--tokens: found %s, wanted up to %d numbers of 1 to 65536",
                             err_quotez(w), TOKENS_MAX);
        }
        out[(*n)++] = v;
    }
    return 0;
}

static int read_memory(int64_t *out, struct err *e)
{
    const char *remedy = memory ? scalar_bytes(out, memory) : NULL;
    *out = memory ? *out : CONFIG_NONE;
    if (!remedy) return 0;
    return err_usage(e, "--memory-budget: found %s, wanted a size such as 18GB%s%s",
                     err_quotez(memory), *remedy ? "; " : "", remedy);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void print_compute(const struct bench *b)
{
    char text[COMPUTE_BYTES];
    if (bench_compares(b)) fprintf(b->out, "frozen products in %s\n", setup_compute(text, b->k));
}

static void begin(struct bench *b)
{
    const char *why;
    b->threads = machine_threads(&why);
    rate_start_sgemm(b->threads);
    fprintf(b->out, "%s, %d threads (%s), kernels %s (%s), %s\nshape %s (%s)\n", machine_cpu(),
            b->threads, why, b->k->isa, b->k->gemm, blas_name(), b->dims->name, b->dims->what);
    print_compute(b);
    json_write_object(&b->json, NULL, JSON_ONE_LINE);
    json_write_text(&b->json, "cpu", machine_cpu());
    json_write_text(&b->json, "isa", b->k->isa);
    json_write_text(&b->json, "compute", compute_name(b->k->compute));
    json_write_text(&b->json, "product_isa", b->k->product.isa);
    json_write_text(&b->json, "gemm", b->k->gemm);
    json_write_text(&b->json, "blas_core", blas_core());
    json_write_count(&b->json, "threads", (uint64_t)b->threads);
    json_write_text(&b->json, "shape", b->dims->name);
    fflush(b->out); /* the next part takes minutes */
}

static int run_part(struct bench *b, const struct part *p, const size_t *tokens, size_t n,
                    struct err *e)
{
    if (p->once) return p->once(b, e);
    if (p->with_tokens == bench_products) bench_products_head(b);
    json_write_array(&b->json, p->name, JSON_ONE_LINE);
    int code = 0;
    for (size_t i = 0; !code && i < n; i++) code = p->with_tokens(b, tokens[i], e);
    json_write_end(&b->json);
    return code;
}

static int run(int n_args, char **args, struct err *e)
{
    (void)n_args, (void)args;
    struct str text = { 0 };
    struct bench b = { .dims = synthetic_named(shape_name),
                       .rows = (size_t)rows,
                       .length = (size_t)length,
                       .steps = (size_t)steps,
                       .rounds = (size_t)rounds,
                       .directory = directory,
                       .out = as_json ? stderr : stdout,
                       .json.out = &text };
    bool wanted[PARTS] = { false };
    size_t tokens[TOKENS_MAX], n = 0;
    b.layers = layers ? (size_t)layers : b.dims->layers_max;
    if (b.layers > b.dims->dims.layers) b.layers = b.dims->dims.layers;
    int code = read_parts(wanted, e);
    if (!code) code = read_tokens(tokens, &n, e);
    if (!code) code = read_memory(&b.memory, e);
    if (!code) code = setup_kernels(&b.k, compute_option(compute), e);
    if (!code) code = setup_kernels(&b.f32, COMPUTE_F32, e);
    if (code) return code;
    begin(&b);
    code = bench_limits(&b, e);
    for (int i = 0; !code && i < PARTS; i++)
        if (wanted[i]) code = run_part(&b, &part_table[i], tokens, n, e);
    bench_yardstick_free();
    fprintf(b.out, "\n%s, of which %zu %s disturbed by other programs\n",
            str_count(b.samples, "sample"), b.disturbed, b.disturbed == 1 ? "was" : "were");
    json_write_count(&b.json, "samples", b.samples);
    json_write_count(&b.json, "disturbed", b.disturbed);
    json_write_end(&b.json);
    if (!code && as_json) return json_print(&text, e);
    str_free(&text);
    return code;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "measure kernels and whole steps on this machine",
    .args = "",
    .min_args = 0,
    .max_args = 0,
    .options = options,
    .about = "Synthetic weights are made once. Shares are of limits that the same run measured:\n"
             "compare shares, not the absolute numbers of two runs.",
    .examples = "lorac bench\nlorac bench --shape 1.1b --parts steps --examples 1 --length 512\n",
    .run = run,
};
