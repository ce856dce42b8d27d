#include "src/train/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/model/cost.h"
#include "src/model/notices.h"
#include "src/model/rate.h"
#include "src/model/tensors.h"
#include "src/train/budget.h"
#include "src/train/ranks.h"

/* Tell once of other programs that compute here, as soon as there was time to see them: before the
 * first step or, where reading was quick, after one. */
static void report_load(struct report *r)
{
    struct load_sample now;
    const char *why;
    char remedy[96];
    int cpus = machine_cpus();
    if (r->load.time_s == 0 || term_now_s() - r->load.time_s < LOAD_WINDOW_S) return;
    if (load_sample(&now)) {
        double others = load_others(&r->load, &now);
        if (load_remedy(remedy, sizeof remedy, others, cpus, machine_threads(&why),
                        machine_cpu_quota()))
            progress_note(&r->progress,
                          "note: other programs use %.1f of these %s, and a run waits for its "
                          "slowest thread: %s",
                          others, str_count((uint64_t)cpus, "processor"), remedy);
    }
    r->load.time_s = 0;
}

static void print_memory(const struct report *r)
{
    char weights[HUMAN_BYTES], state[HUMAN_BYTES], net[HUMAN_BYTES], all[HUMAN_BYTES];
    char most[HUMAN_BYTES], own[HUMAN_BYTES];
    const struct learner *l = &r->work->learner;
    double w = (double)r->work->setup.model.weight_bytes;
    int64_t given = r->config->train.memory_budget;
    const char *why = "train.memory_budget";
    double limit = given != CONFIG_NONE ? (double)given : (double)machine_memory_available(&why);
    fprintf(stderr,
            "memory    %s at most, of %s (%s): weights %s, mapped; adapter and optimiser %s; "
            "activations "
            "%s; program and data %s\n",
            human_bytes(all, (double)budget_total_bytes(&r->work->setup, l)),
            human_bytes(most, limit), why, human_bytes(weights, w),
            human_bytes(state, (double)l->state_bytes), human_bytes(net, (double)l->net.bytes),
            human_bytes(own, (double)budget_other_bytes(&r->work->setup) - w));
    const size_t *keeps = l->net.keeps;
    if (keeps[KEEP_ALL] == r->work->setup.model.dims.layers) return;
    fprintf(stderr, "          of %s %zu recompute the MLP's inputs and %zu everything\n",
            str_count(r->work->setup.model.dims.layers, "layer"), keeps[KEEP_NO_MLP],
            keeps[KEEP_INPUT]);
}

/* What it computes on, and who decided that. */
static void print_compute(const struct kernels *k)
{
    const char *why;
    int threads = machine_threads(&why);
    term_print(stderr, "lorac " LORAC_VERSION " on %s: %s\n", machine_host(), machine_cpu());
    term_print(stderr, "compute   %s (%s), kernels %s (%s), products %s (%s), OpenBLAS for %s\n",
               str_count((uint64_t)threads, "thread"), why, k->isa,
               getenv("LORAC_ISA") ? "LORAC_ISA" : "the best here", k->gemm,
               getenv("LORAC_GEMM") ? "LORAC_GEMM" : "default", blas_core());
}

void report_begin(struct report *r, const struct config *c, struct training *w)
{
    *r = (struct report){ .config = c, .work = w };
    r->time.start = term_now_s();
    load_sample(&r->load);
    progress_init(&r->progress, 10);
}

void report_finished(struct report *r, const char *dir)
{
    progress_note(&r->progress, "%s: the run is finished (%s); nothing to do", dir,
                  str_count(r->work->state.step, "step"));
}

static void print_model(const struct report *r)
{
    char params[HUMAN_BYTES], trained[HUMAN_BYTES];
    const struct llama *m = &r->work->setup.model;
    const struct adapter *a = &r->work->learner.adapter;
    term_print(stderr, "model     %s: %s, hidden %zu, %s parameters, %s\n", r->config->model.path,
               str_count(m->dims.layers, "layer"), m->dims.C,
               human_count(params, (double)model_params(&m->dims)), storage_name(llama_storage(m)));
    fprintf(stderr, "adapter   r %zu, alpha %g, %s parameters:", a->r, a->lora_alpha,
            human_count(trained, (double)a->n_params));
    for (int i = 0; i < MODULES; i++)
        if (adapter_has(a, (enum module)i)) fprintf(stderr, " %s", module_table[i].name);
    fputc('\n', stderr);
}

static void print_training(const struct report *r)
{
    const struct batch *b = &r->work->learner.batch;
    struct str rate = { 0 };
    learning_rate_say(&rate, &r->work->course.rate);
    fprintf(stderr, "training  %s of %s, %s, passes of up to %zu tokens%s\n",
            str_count(r->work->course.total, "step"), str_count(b->batch_size, "example"),
            rate.failed ? "" : rate.p, b->pass_tokens,
            b->share ? ", shared prefixes computed once" : "");
    str_free(&rate);
}

void report_header(struct report *r)
{
    const struct setup *s = &r->work->setup;
    r->first_step = r->work->state.step;
    if (ranks_me() != 0) return;
    print_compute(r->work->kernels);
    print_model(r);
    fprintf(stderr, "data      %s, %s, %zu of them targets; %zu for validation\n",
            str_count(s->data.train.n, "example"), str_count(s->data.train_counts.tokens, "token"),
            s->data.train_counts.targets, s->data.validation.n);
    notes_print(&s->notes);
    report_load(r);
    print_memory(r);
    print_training(r);
    const char *warning = notices_warning(r->config->model.path);
    if (warning) progress_note(&r->progress, "warning: %s: %s", r->config->model.path, warning);
    r->time.before_first = term_now_s() - r->time.start;
}

static void add_step(struct report *r, const struct step_result *s, double seconds)
{
    struct training *w = r->work;
    struct cost work = cost_of_batch(&w->setup.model.dims, &w->learner.adapter, &w->learner.batch);
    r->flops += cost_total(&work);
    r->tokens += s->tokens;
    r->rows += s->rows;
    r->time.forward += s->forward_s;
    r->time.backward += s->backward_s;
    r->time.update += s->update_s;
    r->time.data += seconds - s->forward_s - s->backward_s - s->update_s;
    if (seconds > r->slowest_step_s) r->slowest_step_s = seconds;
}

void report_step(struct report *r, const struct step_result *s, double seconds)
{
    char left[HUMAN_BYTES];
    add_step(r, s, seconds);
    if (ranks_me() != 0) return;
    uint64_t step = r->work->state.step, total = r->work->course.total;
    double busy = r->time.forward + r->time.backward + r->time.update;
    double per_step = (busy + r->time.evaluation) / (double)(step - r->first_step);
    report_load(r);
    progress_update(&r->progress, "step %llu/%llu  epoch %.2f  loss %.4f  %.0f tokens/s  %s left",
                    (unsigned long long)step, (unsigned long long)total,
                    (double)step / (double)r->work->course.steps_per_epoch, s->loss,
                    (double)r->tokens / busy,
                    human_duration(left, per_step * (double)(total - step)));
}

void report_eval(struct report *r, const struct evaluation *v, bool best)
{
    if (ranks_me() != 0) return;
    progress_note(&r->progress,
                  "step %llu: validation loss %.4f, %.1f %% of targets right, %.1f %% of answers%s",
                  (unsigned long long)r->work->state.step, v->loss, 100 * v->token_accuracy,
                  100 * v->exact_match, best ? "; best" : "");
}

/* The sum over the rows is the whole time: nothing is left out. */
static void print_table(const struct report *r, double total)
{
    const struct timings *s = &r->time;
    double known = s->forward + s->backward + s->update + s->data + s->evaluation + s->checkpoints +
                   s->before_first;
    const struct {
        const char *what;
        double seconds;
    } rows[] = {
        { "forward", s->forward },
        { "backward", s->backward },
        { "optimiser", s->update },
        { "data", s->data },
        { "validation", s->evaluation },
        { "checkpoints", s->checkpoints },
        { "before step 1", s->before_first },
        { "other", total - known },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[HUMAN_BYTES];
        fprintf(stderr, "  %-14s %12s  %5.1f %%\n", rows[i].what,
                human_duration(text, rows[i].seconds > 0 ? rows[i].seconds : 0),
                100 * rows[i].seconds / total);
    }
}

/* The yardsticks are measured now, next to the run, since machines differ and are shared. A run
 * that was shorter than a few times the measuring goes without. */
static void print_speed(const struct report *r, double busy)
{
    enum { WORTH_S = 10 };
    const char *why;
    double rate = r->flops / busy;
    fprintf(stderr, "speed     %.0f tokens/s, %.1f GFLOP/s", (double)r->tokens / busy, rate * 1e-9);
    if (busy < WORTH_S) {
        fputc('\n', stderr);
        return;
    }
    struct err ignored;
    double fma = rate_fma(r->work->kernels), sgemm = 0; /* stays 0 where memory is short */
    rate_sgemm(&sgemm, &r->work->setup.model.dims, machine_threads(&why), &ignored);
    fprintf(stderr, ": %.0f %% of the %.0f in registers", 100 * rate / fma, fma * 1e-9);
    if (sgemm > 0) {
        fprintf(stderr, ", %.0f %% of OpenBLAS's sgemm (%.0f, for %s)", 100 * rate / sgemm,
                sgemm * 1e-9, blas_core());
    }
    fputc('\n', stderr);
}

void report_time(const struct report *r)
{
    char text[HUMAN_BYTES], planned[HUMAN_BYTES];
    const struct timings *s = &r->time;
    double total = term_now_s() - s->start, busy = s->forward + s->backward + s->update + s->data;
    if (r->work->state.step == r->first_step || ranks_me() != 0) return;
    fprintf(stderr, "time      %s for %s\n", human_duration(text, total),
            str_count(r->work->state.step - r->first_step, "step"));
    print_table(r, total);
    fprintf(stderr, "peak      %s of memory, of %s at most\n",
            human_bytes(text, (double)machine_memory_peak()),
            human_bytes(planned, (double)budget_total_bytes(&r->work->setup, &r->work->learner)));
    print_speed(r, busy);
    fprintf(
        stderr,
        "tokens    %llu given, %llu computed (%.0f %% saved by shared prefixes and unused ends)\n",
        (unsigned long long)r->tokens, (unsigned long long)r->rows,
        100 - 100 * (double)r->rows / (double)r->tokens);
}

void report_end(const struct report *r, const char *dir)
{
    const char *which = r->work->state.best_step ? "best" : "adapter";
    struct str model = { 0 }, adapter = { 0 }, path = { 0 };
    str_add_shell(&model, r->config->model.path);
    str_addf(&path, "%s/%s", dir, which);
    str_add_shell(&adapter, path.p ? path.p : "");
    term_print(stderr, "written   %s/adapter, of the last step", dir);
    if (r->work->state.best_step) {
        term_print(stderr, "; %s/best, of step %llu, validation loss %.4f", dir,
                   (unsigned long long)r->work->state.best_step, r->work->state.best_eval_loss);
    }
    fprintf(stderr, "\n          metrics.jsonl, run.json, config.yaml and checkpoints beside it\n");
    if (!model.failed && !adapter.failed) {
        term_print(stderr, "next      lorac generate --model %s --adapter %s --prompt \"...\"\n",
                   model.p, adapter.p);
        term_print(stderr, "          lorac merge --model %s --adapter %s -o merged\n", model.p,
                   adapter.p);
    }
    str_free(&model);
    str_free(&adapter);
    str_free(&path);
}
