/* What a person sees of a run: where it runs and on what, how far it is, where the time went. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/model/tensors.h"
#include "src/train/budget.h"
#include "src/train/trainer.h"
#include "src/train/yardstick.h"

/* Others that compute here, once, as soon as there was time to see them: before the first step or,
 * where reading was quick, after one. */
static void report_load(struct trainer *t)
{
    struct load_sample now;
    const char *why;
    char remedy[96];
    int cpus = machine_cpus();
    if (t->load.time_s == 0 || term_now_s() - t->load.time_s < LOAD_WINDOW_S) return;
    if (load_sample(&now)) {
        double others = load_others(&t->load, &now);
        if (load_remedy(remedy, sizeof remedy, others, cpus, machine_threads(&why),
                        machine_cpu_quota()))
            progress_note(
                &t->progress,
                "note: other programs use %.1f of these %d processor%s, and a run waits for its "
                "slowest thread: %s",
                others, cpus, cpus == 1 ? "" : "s", remedy);
    }
    t->load.time_s = 0;
}

static void print_memory(const struct trainer *t)
{
    char weights[HUMAN_BYTES], state[HUMAN_BYTES], net[HUMAN_BYTES], all[HUMAN_BYTES];
    char most[HUMAN_BYTES], own[HUMAN_BYTES];
    const struct learner *l = &t->learner;
    double w = (double)t->setup.model.weight_bytes;
    int64_t given = t->config->train.memory_budget;
    const char *why = "train.memory_budget";
    double limit = given != CONFIG_NONE ? (double)given : (double)machine_memory_available(&why);
    fprintf(stderr,
            "memory    %s at most, of %s (%s): weights %s, mapped; adapter and optimiser %s; "
            "activations "
            "%s; program and data %s\n",
            human_bytes(all, (double)budget_total_bytes(&t->setup, l)), human_bytes(most, limit),
            why, human_bytes(weights, w), human_bytes(state, (double)l->state_bytes),
            human_bytes(net, (double)l->net.bytes),
            human_bytes(own, (double)budget_other_bytes(&t->setup) - w));
    const size_t *keeps = l->net.keeps;
    if (keeps[KEEP_ALL] == t->setup.model.shape.layers) return;
    fprintf(stderr, "          of %zu layers %zu recompute the MLP's inputs and %zu everything\n",
            t->setup.model.shape.layers, keeps[KEEP_NO_MLP], keeps[KEEP_INPUT]);
}

/* On what it computes, and who decided that. */
static void print_compute(const struct kernels *k)
{
    const char *why;
    int threads = machine_threads(&why);
    term_print(stderr, "lorac " LORAC_VERSION " on %s: %s\n", machine_host(), machine_cpu());
    term_print(stderr,
               "compute   %d thread%s (%s), kernels %s (%s), products %s (%s), OpenBLAS for %s\n",
               threads, threads == 1 ? "" : "s", why, k->isa,
               getenv("LORAC_ISA") ? "LORAC_ISA" : "the best here", k->gemm,
               getenv("LORAC_GEMM") ? "LORAC_GEMM" : "default", blas_core());
}

void report_header(struct trainer *t)
{
    char params[HUMAN_BYTES], trained[HUMAN_BYTES];
    const struct shape *s = &t->setup.model.shape;
    const struct adapter *a = &t->learner.adapter;
    const struct data_counts *c = &t->setup.data.train_counts;
    print_compute(t->learner.net.k);
    term_print(stderr, "model     %s: %zu layers, hidden %zu, %s parameters, %s\n",
               t->config->model.path, s->layers, s->C, human_count(params, (double)model_params(s)),
               dtype_name(llama_dtype(&t->setup.model)));
    fprintf(stderr, "adapter   r %zu, alpha %g, %s parameters:", a->r, a->lora_alpha,
            human_count(trained, (double)a->n_params));
    for (int m = 0; m < MODULES; m++)
        if (adapter_has(a, (enum module)m)) fprintf(stderr, " %s", module_table[m].name);
    fprintf(stderr,
            "\ndata      %zu examples, %zu tokens, %zu of them targets; %zu for validation\n",
            t->setup.data.train.n, c->tokens, c->targets, t->setup.data.validation.n);
    notes_print(&t->setup.notes);
    report_load(t);
    print_memory(t);
    fprintf(stderr, "training  %llu steps of %lld examples, passes of up to %zu tokens%s\n",
            (unsigned long long)t->total, (long long)t->config->train.batch_size,
            t->learner.batch.pass_tokens,
            t->learner.batch.share ? ", shared prefixes computed once" : "");
}

void report_step(struct trainer *t, const struct step_metrics *s)
{
    char left[HUMAN_BYTES];
    double busy = t->time.forward + t->time.backward + t->time.update;
    uint64_t done = t->step - t->first_step;
    report_load(t);
    double per_step = (busy + t->time.evaluation) / (double)done;
    progress_update(&t->progress, "step %llu/%llu  epoch %.2f  loss %.4f  %.0f tokens/s  %s left",
                    (unsigned long long)t->step, (unsigned long long)t->total, s->epoch, s->loss,
                    (double)t->tokens / busy,
                    human_duration(left, per_step * (double)(t->total - t->step)));
}

void report_eval(struct trainer *t, const struct evaluation *v)
{
    progress_note(&t->progress,
                  "step %llu: validation loss %.4f, %.1f %% of targets right, %.1f %% of answers%s",
                  (unsigned long long)t->step, v->loss, 100 * v->token_accuracy,
                  100 * v->exact_match,
                  !isfinite(t->best_loss) || v->loss < t->best_loss ? "; best" : "");
}

/* The sum over the rows is the whole time: nothing is left out. */
static void print_table(const struct trainer *t, double total)
{
    const struct timings *s = &t->time;
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

/* The yardsticks are measured now, beside the run: machines differ, and are shared. Not behind a run
 * that was shorter than a few times the measuring. */
static void print_speed(const struct trainer *t, double busy)
{
    enum { WORTH_S = 10 };
    const char *why;
    double rate = t->flops / busy;
    fprintf(stderr, "speed     %.0f tokens/s, %.1f GFLOP/s", (double)t->tokens / busy, rate * 1e-9);
    if (busy < WORTH_S) {
        fputc('\n', stderr);
        return;
    }
    double fma = yardstick_fma(t->learner.net.k);
    double sgemm = yardstick_sgemm(&t->setup.model.shape, machine_threads(&why));
    fprintf(stderr, ": %.0f %% of the %.0f in registers", 100 * rate / fma, fma * 1e-9);
    if (sgemm > 0) {
        fprintf(stderr, ", %.0f %% of OpenBLAS's sgemm (%.0f, for %s)", 100 * rate / sgemm,
                sgemm * 1e-9, blas_core());
    }
    fputc('\n', stderr);
}

void report_time(const struct trainer *t)
{
    char text[HUMAN_BYTES], planned[HUMAN_BYTES];
    const struct timings *s = &t->time;
    double total = term_now_s() - s->start, busy = s->forward + s->backward + s->update + s->data;
    if (t->step == t->first_step) return;
    fprintf(stderr, "time      %s for %llu steps\n", human_duration(text, total),
            (unsigned long long)(t->step - t->first_step));
    print_table(t, total);
    fprintf(stderr, "peak      %s of memory, of %s at most\n",
            human_bytes(text, (double)machine_memory_peak()),
            human_bytes(planned, (double)budget_total_bytes(&t->setup, &t->learner)));
    print_speed(t, busy);
    fprintf(
        stderr,
        "tokens    %llu given, %llu computed (%.0f %% saved by shared prefixes and unused ends)\n",
        (unsigned long long)t->tokens, (unsigned long long)t->rows,
        100 - 100 * (double)t->rows / (double)t->tokens);
}

void report_end(const struct trainer *t)
{
    const char *dir = t->dir.path, *which = t->best_step ? "best" : "adapter";
    struct str model = { 0 }, adapter = { 0 }, path = { 0 };
    str_add_shell(&model, t->config->model.path);
    str_addf(&path, "%s/%s", dir, which);
    str_add_shell(&adapter, path.p ? path.p : "");
    term_print(stderr, "written   %s/adapter, of the last step", dir);
    if (t->best_step) {
        term_print(stderr, "; %s/best, of step %llu, validation loss %.4f", dir,
                   (unsigned long long)t->best_step, t->best_loss);
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
