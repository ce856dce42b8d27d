/* lorac plan: what a run would need, before it is queued. The memory is exact, as the code that
 * carves it also counts it; the time follows from the work and from how fast this machine
 * multiplies now. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/commands.h"
#include "src/commands/config_argument.h"
#include "src/commands/plan.h"
#include "src/model/rate.h"
#include "src/train/budget.h"
#include "src/train/prepare.h"
#include "src/train/schedule.h"

static bool as_json;

static const struct option options[] = {
    { "json", 0, NULL, "one JSON object on stdout", .flag = &as_json },
    { 0 },
};

/* The first epoch stands for all: which examples share a batch differs between epochs, their number
 * does not. */
static void count_epoch(struct plan *p)
{
    struct batch *b = &p->training.learner.batch;
    struct course *k = &p->training.course;
    for (uint64_t step = 0; step < k->steps_per_epoch; step++) {
        size_t n;
        const uint32_t *which = course_batch(k, step, &n);
        batch_begin(b, which, n);
        struct cost w = cost_of_batch(&p->training.setup.model.dims, &p->training.learner.adapter,
                                      b);
        p->work.linear += w.linear, p->work.adapter += w.adapter;
        p->work.attention += w.attention, p->work.head += w.head;
        p->tokens += (double)b->tokens, p->rows += (double)b->rows;
        p->targets += (double)b->targets, p->passes += (double)b->n_passes;
    }
}

static int measure_rate(struct plan *p, struct err *e)
{
    double rate = 0;
    int code = rate_product(&rate, p->training.learner.net.k, &p->training.setup.model.dims,
                            p->training.learner.batch.rows_max, e);
    p->gflops = rate * 1e-9;
    return code;
}

/* The share of the products' rate that a whole step keeps; the rest is lost to attention, norms,
 * packing of short passes and waiting. Measured by `lorac bench` on shapes from 135M to 7B:
 * kernels/SPEED.md. */
static const double step_share = 0.75;

double plan_epoch_seconds(const struct plan *p)
{
    return cost_total(&p->work) / (p->gflops * 1e9 * step_share);
}

static double peak_bytes(const struct plan *p)
{
    return (double)budget_total_bytes(&p->training.setup, &p->training.learner);
}

static void print_people(const struct plan *p, size_t available, const char *why)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    const struct learner *l = &p->training.learner;
    size_t layers = p->training.setup.model.dims.layers;
    double epochs = (double)p->training.course.total / (double)p->training.course.steps_per_epoch,
           s = plan_epoch_seconds(p);
    printf("memory     %s at most; %s available here (%s)\n", human_bytes(a, peak_bytes(p)),
           human_bytes(b, (double)available), why);
    printf("  weights      %12s  mapped; the kernel may drop and read them again\n",
           human_bytes(a, (double)p->training.setup.model.weight_bytes));
    printf("  adapter      %12s  parameters, moments, %s\n", human_bytes(a, (double)l->state_bytes),
           str_count(l->sum.levels + (l->sum.levels > 1), "gradient buffer"));
    printf("  activations  %12s  passes of up to %s; of %s %zu keep everything, %zu recompute the "
           "MLP's inputs, %zu all\n",
           human_bytes(a, (double)l->net.bytes), str_count(l->batch.rows_max, "token"),
           str_count(layers, "layer"), l->net.keeps[KEEP_ALL], l->net.keeps[KEEP_NO_MLP],
           l->net.keeps[KEEP_INPUT]);
    printf("  program      %12s  with its threads, the data and the tokenizer\n",
           human_bytes(a, (double)(budget_other_bytes(&p->training.setup) -
                                   p->training.setup.model.weight_bytes)));
    printf("data       %s an epoch: %.0f tokens, %.0f computed (%.0f %% saved), %.0f "
           "targets; "
           "%zu for validation\n",
           str_count(p->training.setup.data.train.n, "example"), p->tokens, p->rows,
           100 - 100 * p->rows / p->tokens, p->targets, p->training.setup.data.validation.n);
    printf("steps      %llu, %llu an epoch, %.1f passes each\n",
           (unsigned long long)p->training.course.total,
           (unsigned long long)p->training.course.steps_per_epoch,
           p->passes / (double)p->training.course.steps_per_epoch);
    printf("work       %.4g TFLOP an epoch: products %.0f %%, adapter %.0f %%, attention %.0f %%, "
           "head "
           "%.0f %%\n",
           cost_total(&p->work) * 1e-12, 100 * p->work.linear / cost_total(&p->work),
           100 * p->work.adapter / cost_total(&p->work),
           100 * p->work.attention / cost_total(&p->work),
           100 * p->work.head / cost_total(&p->work));
    printf("time       %s in all: %s an epoch, %s a step, %.3g tokens/s\n",
           human_duration(a, s * epochs), human_duration(b, s),
           human_duration(c, s / (double)p->training.course.steps_per_epoch), p->tokens / s);
    printf("           at %.0f GFLOP/s, which is what products run at here now, times %.2f\n",
           p->gflops, step_share);
}

static int print_json(const struct plan *p, size_t available, struct err *e)
{
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    const struct learner *l = &p->training.learner;
    double seconds = plan_epoch_seconds(p);
    json_write_object(&w, NULL, JSON_ONE_LINE);
    json_write_decimals(&w, "memory_bytes", peak_bytes(p), 0);
    json_write_count(&w, "available_bytes", available);
    json_write_count(&w, "weight_bytes", p->training.setup.model.weight_bytes);
    json_write_count(&w, "adapter_bytes", l->state_bytes);
    json_write_count(&w, "activation_bytes", l->net.bytes);
    json_write_count(&w, "layers_keep_all", l->net.keeps[KEEP_ALL]);
    json_write_count(&w, "layers_recompute_mlp", l->net.keeps[KEEP_NO_MLP]);
    json_write_count(&w, "layers_recompute_all", l->net.keeps[KEEP_INPUT]);
    json_write_count(&w, "examples", p->training.setup.data.train.n);
    json_write_decimals(&w, "tokens", p->tokens, 0);
    json_write_decimals(&w, "tokens_computed", p->rows, 0);
    json_write_decimals(&w, "targets", p->targets, 0);
    json_write_count(&w, "steps", p->training.course.total);
    json_write_count(&w, "steps_per_epoch", p->training.course.steps_per_epoch);
    json_write_digits(&w, "flops_per_epoch", cost_total(&p->work), 6);
    json_write_decimals(&w, "gflops", p->gflops, 1);
    json_write_decimals(&w, "seconds_per_epoch", seconds, 3);
    json_write_decimals(&w, "tokens_per_s", p->tokens / seconds, 1);
    notes_write_json(&w, "notes", &p->training.setup.notes);
    json_write_end(&w);
    return json_print(&s, e);
}

int plan_make(struct plan *p, const struct config *c, struct err *e)
{
    struct training *t = &p->training;
    int code = prepare(t, c, PREPARE_TO_PLAN, e);
    if (code) return code;
    count_epoch(p);
    schedule_notes(&t->setup.notes, &t->course.schedule, c);
    code = schedule_check(&t->course.schedule, c, e);
    return code ? code : measure_rate(p, e);
}

void plan_free(struct plan *p)
{
    training_free(&p->training);
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
    int code = config_argument(&c, args[0], args + 1, (size_t)n - 1, e);
    if (code) return code;
    size_t available = machine_memory_available(&why);
    code = plan_make(&p, &c, e);
    if (code == ERR_BUDGET) hint_at_other_machine(e);
    if (!code) notes_print(&p.training.setup.notes);
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
