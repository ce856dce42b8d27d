/* Whole optimiser steps on synthetic weights, each with a sample of plain sgemm. The share of the
 * wall is the time that the useful work of a step would take at sgemm's rate, over the time it
 * took. */
#include <stdlib.h>

#include "src/base/file.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/term.h"
#include "src/commands/bench.h"
#include "src/model/cost.h"
#include "src/train/budget.h"
#include "src/train/learner.h"

enum { STEPS_MAX = 1000, EXAMPLES_MAX = 4096 };

/* A model, examples and the adapter that learns. */
struct stand {
    struct llama model;
    struct examples examples;
    struct learner learner;
    struct step_result last;
    uint64_t step;
    uint32_t which[EXAMPLES_MAX];
    bool open, failed;
    struct err e;
};

static int model_directory(char out[PATH_BYTES], const struct bench *b, struct err *e)
{
    char name[64];
    const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
    struct str base = { 0 };
    if (b->directory) {
        str_addz(&base, b->directory);
    } else if (cache && *cache) {
        str_addf(&base, "%s/lorac/bench", cache);
    } else {
        str_addf(&base, "%s/.cache/lorac/bench", home ? home : ".");
    }
    snprintf(name, sizeof name, "%s-%zu-layers", b->dims->name, b->layers);
    int code = str_error(&base, e);
    if (!code) code = path_join(out, base.p, name, e);
    str_free(&base);
    return code;
}

/* Random tokens; all but the first of each example are targets, and nothing is shared. */
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

static void stand_close(struct stand *s)
{
    learner_free(&s->learner);
    mem_free(s->examples.ids);
    mem_free(s->examples.target);
    mem_free(s->examples.at);
    if (s->open) llama_close(&s->model);
    *s = (struct stand){ 0 };
}

static int stand_open(struct stand *s, const struct bench *b, unsigned targets, struct err *e)
{
    char dir[PATH_BYTES];
    struct examples none = { 0 };
    struct config c = { 0 };
    *s = (struct stand){ 0 };
    int code = model_directory(dir, b, e);
    if (!code) code = synthetic_make(b->dims, b->layers, dir, e);
    if (!code) code = llama_open(&s->model, dir, e);
    if (code) return code;
    s->open = true;
    c.adapter.r = 16;
    c.adapter.lora_alpha = 32;
    c.adapter.target_modules = targets;
    c.train.batch_size = (int64_t)b->rows;
    c.train.pass_tokens = (int64_t)(b->rows * b->length);
    c.train.memory_budget = b->memory;
    c.train.adam_beta1 = 0.9, c.train.adam_beta2 = 0.999, c.train.adam_epsilon = 1e-8;
    code = random_examples(&s->examples, b->rows, b->length, s->model.dims.V, e);
    size_t budget = budget_bytes(&c, s->model.weight_bytes, s->model.weight_bytes);
    if (!code) {
        code = learner_plan(&s->learner, &c, &s->model, NULL, &s->examples, &none, b->k, budget, e);
    }
    if (!code) code = learner_map(&s->learner, &c, NULL, e);
    for (size_t i = 0; i < b->rows; i++) s->which[i] = (uint32_t)i;
    return code;
}

static void run_step(void *context)
{
    struct stand *s = context;
    if (s->failed) return;
    s->failed = learner_step(&s->learner, &s->last, s->which, s->examples.n, ++s->step, 1e-4,
                             &s->e);
}

/* One step by these kernels, whatever the stand was planned with. */
static double time_step(struct stand *s, const struct kernels *k)
{
    s->learner.net.k = k;
    double start = term_now_s();
    run_step(s);
    return term_now_s() - start;
}

static double step_flops(struct stand *s)
{
    struct cost c = cost_of_batch(&s->model.dims, &s->learner.adapter, &s->learner.batch);
    return cost_total(&c);
}

/* ---- whole steps ----------------------------------------------------------------------------- */

/* What the steps of the two took, medians; of bf16 over f32 only where bf16 is measured. */
struct step_times {
    double seconds, share; /* share: of the wall, which is sgemm's in f32 */
    double gain;           /* how many times as fast as the same step in f32 */
};

static void report_step(struct bench *b, struct stand *s, const struct step_times *t, double memory)
{
    double seconds = t->seconds, share = t->share;
    const struct network *n = &s->learner.net;
    double tokens = (double)(b->rows * b->length), flops = step_flops(s);
    fprintf(b->out,
            "\nstep of %zu x %zu tokens, r %zu on all linear layers, bf16 weights, %zu layers\n"
            "  %.2f s (forward %.2f, backward %.2f), %.1f tokens/s, %.1f GFLOP/s: %.0f%% of the "
            "wall\n"
            "  layers that keep all %zu, all but the MLP %zu, their input only %zu\n"
            "  peak memory %.2f GB, of which %.2f planned and %.2f mapped weights\n",
            b->rows, b->length, s->learner.adapter.r, b->layers, seconds, s->last.forward_s,
            s->last.backward_s, tokens / seconds, flops / seconds * 1e-9, 100 * share,
            n->keeps[KEEP_ALL], n->keeps[KEEP_NO_MLP], n->keeps[KEEP_INPUT], memory * 1e-9,
            (double)learner_bytes(&s->learner) * 1e-9, (double)n->base->weight_bytes * 1e-9);
    if (bench_compares(b)) {
        fprintf(b->out,
                "  with train.compute: bf16, %.2f times as fast as in f32 (the wall is that "
                "of f32)\n",
                t->gain);
    }
    double repeated = network_repeated_flops(n) * tokens;
    if (repeated > 0) {
        fprintf(b->out, "  %.0f%% of the wall with what is computed twice counted twice\n",
                100 * share * (1 + repeated / flops));
    }
    size_t all = b->dims->dims.layers;
    if (b->layers < all) {
        fprintf(b->out,
                "  (%zu of %zu layers %s measured; all would take %.1f times as long, the head "
                "aside)\n",
                b->layers, all, b->layers == 1 ? "was" : "were", (double)all / (double)b->layers);
    }
    json_write_object(&b->json, "step", JSON_ONE_LINE);
    json_write_count(&b->json, "examples", b->rows);
    json_write_count(&b->json, "length", b->length);
    json_write_count(&b->json, "layers", b->layers);
    bench_json_number(b, "seconds", seconds);
    bench_json_number(b, "tokens_per_s", tokens / seconds);
    bench_json_number(b, "gflops", flops / seconds * 1e-9);
    if (bench_compares(b)) bench_json_number(b, "gain", t->gain);
    bench_json_number(b, "share_of_wall", share);
    bench_json_number(b, "share_of_wall_with_recomputation", share * (1 + repeated / flops));
    bench_json_number(b, "peak_memory_bytes", memory);
    bench_json_number(b, "planned_bytes", (double)learner_bytes(&s->learner));
    json_write_end(&b->json);
}

int bench_steps(struct bench *b, struct err *e)
{
    struct stand *s = mem_alloc(1, sizeof *s, e);
    if (!s) return e->code;
    double seconds[STEPS_MAX], share[STEPS_MAX], gain[STEPS_MAX], plain;
    CHECK(b->f32->matmul_work_bytes() <= b->k->matmul_work_bytes());
    int code = stand_open(s, b, (1u << MODULES) - 1, e);
    bench_yardstick_free(); /* of an earlier part: the peak must be that of a step */
    if (!code) run_step(s); /* touches weights and workspace */
    double memory = (double)machine_memory_peak();
    for (size_t i = 0; !code && !s->failed && i < b->steps; i++) {
        code = bench_yardstick(b, b->rows * b->length, &plain, e);
        if (code) break;
        seconds[i] = time_step(s, b->k);
        share[i] = step_flops(s) / seconds[i] / plain;
        gain[i] = bench_compares(b) ? time_step(s, b->f32) / seconds[i] : 1;
    }
    if (s->failed) *e = s->e, code = s->e.code;
    if (!code) {
        struct step_times t = { bench_median(seconds, b->steps), bench_median(share, b->steps),
                                bench_median(gain, b->steps) };
        report_step(b, s, &t, memory);
    }
    stand_close(s);
    mem_free(s);
    return code;
}

/* ---- what adapters cost ---------------------------------------------------------------------- */

/* Steps with adapters on all seven modules alternate with steps with one on q only. Both run every
 * frozen product, so the difference is the other six adapters. */
int bench_adapters(struct bench *b, struct err *e)
{
    struct stand *s = mem_alloc(2, sizeof *s, e);
    if (!s) return e->code;
    double more[STEPS_MAX];
    int code = stand_open(&s[0], b, 1u << Q_PROJ, e);
    if (!code) code = stand_open(&s[1], b, (1u << MODULES) - 1, e);
    for (size_t i = 0; !code && i <= b->steps; i++) {
        double seconds[2];
        for (size_t turn = 0; turn < 2; turn++) {
            size_t j = (i + turn) % 2; /* a clock that drifts favours neither */
            double start = term_now_s();
            run_step(&s[j]);
            seconds[j] = term_now_s() - start;
            if (s[j].failed) *e = s[j].e, code = e->code;
        }
        if (i > 0) more[i - 1] = seconds[1] / seconds[0] - 1; /* the first touches memory */
    }
    if (!code) {
        double time = bench_median(more, b->steps),
               work = step_flops(&s[1]) / step_flops(&s[0]) - 1;
        fprintf(b->out,
                "\nadapters of r 16 on k, v, o, gate, up, down besides q: %.1f%% more time for "
                "%.1f%% more work, a factor of %.2f\n",
                100 * time, 100 * work, time / work);
        json_write_object(&b->json, "adapters", JSON_ONE_LINE);
        bench_json_number(b, "more_time", time);
        bench_json_number(b, "more_work", work);
        json_write_end(&b->json);
    }
    for (int j = 0; j < 2; j++) stand_close(&s[j]);
    mem_free(s);
    return code;
}
