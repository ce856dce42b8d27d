/* lorac plan: what a run would need, before it is queued. The memory is exact, as it is counted by the code
 * that carves it; the time follows from the work and from how fast this machine multiplies now. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/plan.h"
#include "src/train/budget.h"
#include "src/train/prepare.h"
#include "src/train/schedule.h"

static bool as_json;

static const struct option options[] = {
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

/* An epoch in file order: which examples meet in a batch differs from epoch to epoch, their number
 * does not. */
static int count_epoch(struct plan *p, const struct config *c, struct err *e)
{
    struct batch *b = &p->learner.batch;
    struct course k = { 0 };
    int code = prepare_course(&k, &p->setup, c, e);
    if (code) return code;
    size_t n = k.sampler.n, size = (size_t)c->train.batch_size;
    uint32_t *order = mem_alloc(n, sizeof *order, e);
    if (order) sampler_epoch(order, &k.sampler, 0);
    sampler_free(&k.sampler);
    if (!order) return e->code;
    for (size_t first = 0; first < n; first += size) {
        batch_begin(b, order + first, n - first < size ? n - first : size);
        struct cost w = cost_of_batch(&p->setup.model.shape, &p->learner.adapter, b);
        p->work.linear += w.linear, p->work.adapter += w.adapter;
        p->work.attention += w.attention, p->work.head += w.head;
        p->tokens += (double)b->tokens, p->rows += (double)b->rows;
        p->targets += (double)b->targets, p->passes += (double)b->n_passes;
    }
    mem_free(order);
    p->steps_per_epoch = k.steps_per_epoch;
    p->total = k.total;
    schedule_notes(&p->setup.notes, &k.schedule, c);
    return schedule_check(&k.schedule, c, e);
}

/* One product of the model's own shape on zeros, as a pass would run it; cut down to what takes a few
 * MB, since larger ones run at the same rate. */
enum { WIDEST = 2048 };

static size_t at_most(size_t n, size_t most)
{
    return n < most ? n : most;
}

static int measure_rate(struct plan *p, struct err *e)
{
    const struct shape *s = &p->setup.model.shape;
    const struct kernels *k = p->learner.net.k;
    size_t T = at_most(p->learner.batch.rows_max, 512);
    size_t K = at_most(s->C, WIDEST), N = at_most(s->F, WIDEST);
    real *x = mem_alloc(T * K, sizeof *x, e), *y = mem_alloc(T * N, sizeof *y, e);
    real *w = mem_alloc(K * N, sizeof *w, e);
    void *work = mem_alloc(k->matmul_work_bytes(), 1, e);
    int code = x && y && w && work ? 0 : e->code;
    if (!code) {
        struct term t = { .a = x, .lda = K, .b = w, .ldb = K, .K = K, .b_rows = true };
        double flops = 2.0 * (double)(T * K) * (double)N, start = 0;
        int runs = 0;
        for (int warm = 1; warm >= 0; warm--) {
            start = term_now_s();
            for (runs = 0; runs == 0 || term_now_s() - start < 0.2; runs++)
                k->matmul(y, N, &t, 1, T, N, false, work);
        }
        p->gflops = flops * runs / (term_now_s() - start) * 1e-9;
    }
    mem_free(x);
    mem_free(y);
    mem_free(w);
    mem_free(work);
    return code;
}

/* What of the products' rate a whole step keeps; the rest goes into attention, norms, packing of short
 * passes and waiting. Measured by `lorac bench` on shapes from 135M to 7B: kernels/SPEED.md. */
static const double step_share = 0.75;

double plan_epoch_seconds(const struct plan *p)
{
    return cost_total(&p->work) / (p->gflops * 1e9 * step_share);
}

static double peak_bytes(const struct plan *p)
{
    return (double)budget_total_bytes(&p->setup, &p->learner);
}

static void print_people(const struct plan *p, size_t available, const char *why)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    const struct learner *l = &p->learner;
    size_t layers = p->setup.model.shape.layers;
    double epochs = (double)p->total / (double)p->steps_per_epoch, s = plan_epoch_seconds(p);
    printf("memory     %s at most; %s to be had here (%s)\n", human_bytes(a, peak_bytes(p)),
           human_bytes(b, (double)available), why);
    printf("  weights      %12s  mapped; the kernel may drop and read them again\n",
           human_bytes(a, (double)p->setup.model.weight_bytes));
    printf("  adapter      %12s  parameters, moments, %s\n", human_bytes(a, (double)l->state_bytes),
           str_count(l->sum.levels + (l->sum.levels > 1), "gradient buffer"));
    printf("  activations  %12s  passes of up to %s; of %s %zu keep everything, %zu recompute the "
           "MLP's inputs, %zu all\n",
           human_bytes(a, (double)l->net.bytes), str_count(l->batch.rows_max, "token"),
           str_count(layers, "layer"), l->net.keeps[KEEP_ALL], l->net.keeps[KEEP_NO_MLP],
           l->net.keeps[KEEP_INPUT]);
    printf("  program      %12s  with its threads, the data and the tokenizer\n",
           human_bytes(a, (double)(budget_other_bytes(&p->setup) - p->setup.model.weight_bytes)));
    printf("data       %s an epoch: %.0f tokens, %.0f computed (%.0f %% saved), %.0f "
           "targets; "
           "%zu for validation\n",
           str_count(p->setup.data.train.n, "example"), p->tokens, p->rows,
           100 - 100 * p->rows / p->tokens, p->targets, p->setup.data.validation.n);
    printf("steps      %llu, %llu an epoch, %.1f passes each\n", (unsigned long long)p->total,
           (unsigned long long)p->steps_per_epoch, p->passes / (double)p->steps_per_epoch);
    printf("work       %.4g TFLOP an epoch: products %.0f %%, adapter %.0f %%, attention %.0f %%, "
           "head "
           "%.0f %%\n",
           cost_total(&p->work) * 1e-12, 100 * p->work.linear / cost_total(&p->work),
           100 * p->work.adapter / cost_total(&p->work),
           100 * p->work.attention / cost_total(&p->work),
           100 * p->work.head / cost_total(&p->work));
    printf("time       %s in all: %s an epoch, %s a step, %.3g tokens/s\n",
           human_duration(a, s * epochs), human_duration(b, s),
           human_duration(c, s / (double)p->steps_per_epoch), p->tokens / s);
    printf("           at %.0f GFLOP/s, which is what products run at here now, times %.2f\n",
           p->gflops, step_share);
}

static int print_json(const struct plan *p, size_t available, struct err *e)
{
    struct str s = { 0 };
    const struct learner *l = &p->learner;
    double seconds = plan_epoch_seconds(p);
    str_addf(&s, "{\"memory_bytes\": %.0f, \"available_bytes\": %zu, \"weight_bytes\": %zu, ",
             peak_bytes(p), available, p->setup.model.weight_bytes);
    str_addf(&s, "\"adapter_bytes\": %zu, \"activation_bytes\": %zu, \"layers_keep_all\": %zu, ",
             l->state_bytes, l->net.bytes, l->net.keeps[KEEP_ALL]);
    str_addf(&s, "\"layers_recompute_mlp\": %zu, \"layers_recompute_all\": %zu, ",
             l->net.keeps[KEEP_NO_MLP], l->net.keeps[KEEP_INPUT]);
    str_addf(&s,
             "\"examples\": %zu, \"tokens\": %.0f, \"tokens_computed\": %.0f, \"targets\": %.0f, ",
             p->setup.data.train.n, p->tokens, p->rows, p->targets);
    str_addf(&s, "\"steps\": %llu, \"steps_per_epoch\": %llu, \"flops_per_epoch\": %.6g, ",
             (unsigned long long)p->total, (unsigned long long)p->steps_per_epoch,
             cost_total(&p->work));
    str_addf(&s, "\"gflops\": %.1f, \"seconds_per_epoch\": %.3f, \"tokens_per_s\": %.1f, ",
             p->gflops, seconds, p->tokens / seconds);
    str_addz(&s, "\"notes\": ");
    notes_add_json(&s, &p->setup.notes);
    str_addz(&s, "}\n");
    int code = str_error(&s, e);
    if (!code) fputs(s.p, stdout);
    str_free(&s);
    return code;
}

int plan_open(struct plan *p, const struct config *c, struct err *e)
{
    struct err why;
    int code = setup_open_headers(&p->setup, c, e);
    if (code) return code;
    if (prepare_directory(c, &why))
        str_add_line(&p->setup.notes, "train will refuse output.dir: %s\n", why.msg);
    return prepare_learner(&p->learner, &p->setup, c, false, e);
}

int plan_make(struct plan *p, const struct config *c, struct err *e)
{
    int code = plan_open(p, c, e);
    if (!code) code = count_epoch(p, c, e);
    return code ? code : measure_rate(p, e);
}

void plan_free(struct plan *p)
{
    learner_free(&p->learner);
    setup_close(&p->setup);
}

/* A plan is often made on another machine than the run. */
static void hint_at_other_machine(struct err *e)
{
    size_t at = strlen(e->msg);
    snprintf(e->msg + at, sizeof e->msg - at,
             "; to plan for another machine, give what it has: train.memory_budget=256GiB");
}

static int run(int n, char **args, struct err *e)
{
    struct config c;
    struct plan p = { 0 };
    const char *why;
    int code = config_load(&c, args[0], args + 1, (size_t)n - 1, e);
    if (code) return code;
    size_t available = machine_memory_available(&why);
    code = plan_make(&p, &c, e);
    if (code == ERR_BUDGET) hint_at_other_machine(e);
    if (!code) notes_print(&p.setup.notes);
    if (!code && as_json) {
        code = print_json(&p, available, e);
    } else if (!code) {
        print_people(&p, available, why);
    }
    plan_free(&p);
    config_free(&c);
    return code;
}

const struct command command_plan = {
    .name = "plan",
    .summary = "memory, work and time of a run, before it runs",
    .args = "CONFIG.yaml [key=value ...]",
    .min_args = 1,
    .max_args = 256,
    .options = options,
    .about = "Reads the data and the model's headers, no weights. The memory is exact: it is "
             "counted by the\n"
             "code that will carve it.",
    .examples = "lorac plan configs/demo.yaml\nlorac plan run.yaml train.pass_tokens=512\n"
                "lorac plan configs/llama2-70b.yaml train.memory_budget=256GiB\n",
    .run = run,
};
