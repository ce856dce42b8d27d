/* lorac plan: what a run would need, before it is queued. The memory is exact, as the code that
 * carves it also counts it; the time follows from the work and from how fast this machine
 * multiplies now. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
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

static void add_cost(struct cost *to, const struct cost *w)
{
    to->linear += w->linear, to->adapter += w->adapter;
    to->attention += w->attention, to->head += w->head;
}

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
        add_cost(&p->work, &w);
        p->tokens += (double)b->tokens, p->rows += (double)b->rows;
        p->targets += (double)b->targets, p->passes += (double)b->n_passes;
    }
}

/* In batches of the same size as evaluate() takes them. */
static void count_evaluations(struct plan *p, const struct config *c)
{
    struct training *t = &p->training;
    struct batch *b = &t->validation;
    if (!t->setup.data.validation.n) return;
    for (size_t first = 0, n = examples_items(b->examples); first < n; first += b->batch_size) {
        batch_begin_range(b, (uint32_t)first,
                          n - first < b->batch_size ? n - first : b->batch_size);
        struct cost w = cost_of_batch(&t->setup.model.dims, NULL, b);
        add_cost(&p->evaluation, &w);
    }
    p->evaluations = c->train.eval_on_start + course_evals_after(&t->course, c, 0);
}

/* What the run writes and what is free there; a note where it does not fit. */
static void count_disk(struct plan *p, const struct config *c)
{
    char all[HUMAN_BYTES], room[HUMAN_BYTES];
    struct training *t = &p->training;
    p->disk = disk_plan(c, &t->learner.adapter, &t->course);
    if (!space_free(&p->disk_free, c->output.dir)) p->disk_free = UINT64_MAX;
    if (disk_bytes(&p->disk) <= p->disk_free) return;
    str_add_line(
        &t->setup.notes,
        "warning: output.dir %s: the run writes %s, and %s are free there; free some, lower "
        "train.save_total_limit or adapter.r, or choose another output.dir\n",
        c->output.dir, human_bytes(all, (double)disk_bytes(&p->disk)),
        human_bytes(room, (double)p->disk_free));
}

static int measure_rate(struct plan *p, struct err *e)
{
    double rate = 0, rate_f32 = 0;
    const struct kernels *k = p->training.kernels, *f32;
    const struct dims *s = &p->training.setup.model.dims;
    size_t rows = p->training.learner.batch.rows_max;
    int code = setup_kernels(&f32, COMPUTE_F32, e);
    if (!code) code = rate_product(&rate, k, s, rows, e);
    rate_f32 = rate;
    if (!code && k->compute != COMPUTE_F32) code = rate_product(&rate_f32, f32, s, rows, e);
    p->gflops = rate * 1e-9;
    p->gflops_f32 = rate_f32 * 1e-9;
    return code;
}

/* The share of the products' rate in f32 that a whole step keeps; the rest is lost to attention,
 * norms, packing of short passes and waiting. Measured by `lorac bench` on shapes from 135M to 7B:
 * kernels/SPEED.md. */
static const double step_share = 0.75;

/* train.compute says how fast the frozen products are. All else, and with it what is lost, takes
 * what it takes in f32. */
static double seconds_of(const struct plan *p, const struct cost *w)
{
    double frozen = w->linear + w->head, all = cost_total(w);
    double lost = all / p->gflops_f32 * (1 / step_share - 1);
    return (frozen / p->gflops + (all - frozen) / p->gflops_f32 + lost) * 1e-9;
}

double plan_epoch_seconds(const struct plan *p)
{
    return seconds_of(p, &p->work);
}

double plan_run_seconds(const struct plan *p)
{
    const struct course *k = &p->training.course;
    double epochs = (double)k->total / (double)k->steps_per_epoch;
    return plan_epoch_seconds(p) * epochs + seconds_of(p, &p->evaluation) * (double)p->evaluations;
}

static double peak_bytes(const struct plan *p)
{
    return (double)budget_total_bytes(&p->training.setup, &p->training.learner);
}

/* Lines hang under their texts; those of the memory's parts stand further to the right. */
enum { LABEL = 11, PART = 29 };

static void print_memory(const struct plan *p, size_t available, const char *why)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    const struct learner *l = &p->training.learner;
    size_t layers = p->training.setup.model.dims.layers;
    term_line(stdout, LABEL, "memory     %s at most; %s available here (%s)",
              human_bytes(a, peak_bytes(p)), human_bytes(b, (double)available), why);
    term_line(stdout, PART, "  weights      %12s  mapped; the kernel may drop and read them again",
              human_bytes(a, (double)p->training.setup.model.weight_bytes));
    term_line(stdout, PART, "  adapter      %12s  parameters, moments, %s",
              human_bytes(a, (double)l->state_bytes), str_count(l->sum.buffers, "gradient buffer"));
    term_line(
        stdout, PART,
        "  activations  %12s  passes of up to %s; of %s %zu keep everything, %zu recompute the "
        "MLP's inputs, %zu all",
        human_bytes(a, (double)l->net.bytes), str_count(l->batch.rows_max, "token"),
        str_count(layers, "layer"), l->net.keeps[KEEP_ALL], l->net.keeps[KEEP_NO_MLP],
        l->net.keeps[KEEP_INPUT]);
    term_line(stdout, PART, "  program      %12s  with its threads, the data and the tokenizer",
              human_bytes(a, (double)(budget_other_bytes(&p->training.setup) -
                                      p->training.setup.model.weight_bytes)));
}

static void print_work(const struct plan *p)
{
    const struct course *k = &p->training.course;
    double all = cost_total(&p->work);
    struct str rate = { 0 };
    term_line(stdout, LABEL,
              "data       %s an epoch: %.0f tokens, %.0f computed (%.0f %% saved), %.0f targets; "
              "%zu for validation",
              str_count(p->training.setup.data.train.n, "example"), p->tokens, p->rows,
              100 - 100 * p->rows / p->tokens, p->targets, p->training.setup.data.validation.n);
    learning_rate_say(&rate, &k->rate);
    term_line(stdout, LABEL, "steps      %llu, %llu an epoch, %.1f passes each, %s",
              (unsigned long long)k->total, (unsigned long long)k->steps_per_epoch,
              p->passes / (double)k->steps_per_epoch, rate.failed ? "" : rate.p);
    str_free(&rate);
    term_line(
        stdout, LABEL,
        "work       %.4g TFLOP an epoch: products %.0f %%, adapter %.0f %%, attention %.0f %%, "
        "head %.0f %%",
        all * 1e-12, 100 * p->work.linear / all, 100 * p->work.adapter / all,
        100 * p->work.attention / all, 100 * p->work.head / all);
}

static void print_time(const struct plan *p)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    struct str evaluations = { 0 };
    double s = plan_epoch_seconds(p);
    if (p->evaluations) {
        str_addf(&evaluations, ", %s for %s of the validation loss",
                 human_duration(a, seconds_of(p, &p->evaluation) * (double)p->evaluations),
                 str_count(p->evaluations, "measurement"));
    }
    term_line(stdout, LABEL, "time       %s in all: %s an epoch, %s a step, %.3g tokens/s%s",
              human_duration(a, plan_run_seconds(p)), human_duration(b, s),
              human_duration(c, s / (double)p->training.course.steps_per_epoch), p->tokens / s,
              evaluations.p ? evaluations.p : "");
    if (p->training.kernels->compute == COMPUTE_F32) {
        term_line(stdout, LABEL,
                  "           at %.0f GFLOP/s, which is what products run at here now, times %.2f",
                  p->gflops, step_share);
    } else {
        term_line(stdout, LABEL,
                  "           at %.0f GFLOP/s in frozen products and %.0f in f32, which is what "
                  "they run at here now; %.2f of the latter without train.compute: %s",
                  p->gflops, p->gflops_f32, step_share, compute_name(p->training.kernels->compute));
    }
    str_free(&evaluations);
}

/* A prepared data set is there by now: reading the data has made it. */
static uint64_t prepared_bytes(const struct plan *p)
{
    return p->training.setup.data.map.size;
}

static void print_disk(const struct plan *p, const char *dir)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES], d[HUMAN_BYTES];
    const struct disk *x = &p->disk;
    term_line(stdout, LABEL, "disk       %s at most in %s, where %s are free: %s of %s, %s of %s",
              human_bytes(a, (double)disk_bytes(x)), dir,
              p->disk_free == UINT64_MAX ? "an unknown number of bytes"
                                         : human_bytes(b, (double)p->disk_free),
              str_count(x->checkpoints, "checkpoint"), human_bytes(c, (double)x->checkpoint_bytes),
              str_count(x->adapters, "adapter"), human_bytes(d, (double)x->adapter_bytes));
    if (!prepared_bytes(p)) return;
    term_line(stdout, LABEL,
              "           and the prepared data set of %s, which is there already: %s",
              human_bytes(a, (double)prepared_bytes(p)), p->training.setup.data.prepared);
}

static void print_people(const struct plan *p, const char *dir, size_t available, const char *why)
{
    print_memory(p, available, why);
    print_work(p);
    setup_print_compute(stdout, "compute    ", p->training.kernels);
    print_time(p);
    print_disk(p, dir);
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
    json_write_real(&w, "learning_rate", p->training.course.rate.peak);
    json_write_digits(&w, "flops_per_epoch", cost_total(&p->work), 6);
    json_write_text(&w, "compute", compute_name(p->training.kernels->compute));
    json_write_text(&w, "product_isa", p->training.kernels->product.isa);
    json_write_decimals(&w, "gflops", p->gflops, 1);
    json_write_decimals(&w, "gflops_f32", p->gflops_f32, 1);
    json_write_decimals(&w, "seconds_per_epoch", seconds, 3);
    json_write_count(&w, "evaluations", p->evaluations);
    json_write_decimals(&w, "seconds_per_evaluation", seconds_of(p, &p->evaluation), 3);
    json_write_decimals(&w, "seconds", plan_run_seconds(p), 3);
    json_write_decimals(&w, "tokens_per_s", p->tokens / seconds, 1);
    json_write_count(&w, "disk_bytes", disk_bytes(&p->disk));
    if (p->disk_free != UINT64_MAX) json_write_count(&w, "disk_free_bytes", p->disk_free);
    json_write_count(&w, "prepared_bytes", prepared_bytes(p));
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
    count_evaluations(p, c);
    count_disk(p, c);
    schedule_notes(&t->setup.notes, &t->course.schedule, t->course.sampler.n, c);
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
    err_append(e, "to plan for another machine, give what it has: train.memory_budget=256GiB");
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
        print_people(&p, c.output.dir, available, why);
    }
    plan_free(&p);
    config_free(&c);
    return code;
}

const struct command command_plan = {
    .name = "plan",
    .summary = "memory, work, time and disk of a run, before it runs",
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
