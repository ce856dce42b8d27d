/* What a person sees of a run: where it runs and on what, how far it is, where the time went. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/blas.h"
#include "src/base/machine.h"
#include "src/train/trainer.h"

static void print_notes(const struct str *notes)
{
    for (const char *p = notes->p; p && *p;) {
        size_t n = strcspn(p, "\n");
        fprintf(stderr, "note: %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

static void print_memory(const struct trainer *t)
{
    char weights[HUMAN_BYTES], state[HUMAN_BYTES], net[HUMAN_BYTES], all[HUMAN_BYTES];
    const struct learner *l = &t->learner;
    double w = (double)t->setup.model.weight_bytes;
    fprintf(stderr, "memory    %s: weights %s (mapped), adapter and optimiser %s, activations %s\n",
            human_bytes(all, w + (double)learner_bytes(l)), human_bytes(weights, w),
            human_bytes(state, (double)l->state_bytes), human_bytes(net, (double)l->net.bytes));
    const size_t *keeps = l->net.keeps;
    if (keeps[KEEP_ALL] == t->setup.model.shape.layers) return;
    fprintf(stderr, "          of %zu layers %zu recompute the MLP's inputs and %zu everything\n",
            t->setup.model.shape.layers, keeps[KEEP_NO_MLP], keeps[KEEP_INPUT]);
}

void report_header(const struct trainer *t)
{
    const char *why;
    char params[HUMAN_BYTES], trained[HUMAN_BYTES];
    const struct shape *s = &t->setup.model.shape;
    const struct kernels *k = t->learner.net.k;
    const struct adapter *a = &t->learner.adapter;
    const struct data_counts *c = &t->setup.data.train_counts;
    int threads = machine_threads(&why);
    fprintf(stderr, "lorac " LORAC_VERSION " on %s: %s\n", machine_host(), machine_cpu());
    fprintf(stderr, "compute   %d thread%s (%s), kernels %s, products %s (OpenBLAS: %s)\n", threads,
            threads == 1 ? "" : "s", why, k->isa, k->gemm, blas_core());
    fprintf(stderr, "model     %s: %zu layers, hidden %zu, %s parameters, %s\n",
            t->config->model.path, s->layers, s->C,
            human_count(params, (double)(shape_linear_params(s) + s->V * s->C * (s->tied ? 1 : 2))),
            dtype_name(llama_dtype(&t->setup.model)));
    fprintf(stderr, "adapter   r %zu, alpha %g, %s parameters:", a->r, a->lora_alpha,
            human_count(trained, (double)a->n_params));
    for (int m = 0; m < MODULES; m++)
        if (adapter_has(a, (enum module)m)) fprintf(stderr, " %s", module_table[m].name);
    fprintf(stderr,
            "\ndata      %zu examples, %zu tokens, %zu of them targets; %zu for validation\n",
            t->setup.data.train.n, c->tokens, c->targets, t->setup.data.validation.n);
    print_notes(&t->setup.notes);
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
    double per_step = (busy + t->time.evaluation) / (double)done;
    progress_update(&t->progress, "step %llu/%llu  epoch %.2f  loss %.4f  %.0f tokens/s  %s left",
                    (unsigned long long)t->step, (unsigned long long)t->total, s->epoch, s->loss,
                    (double)t->tokens / busy,
                    human_duration(left, per_step * (double)(t->total - t->step)));
}

void report_eval(struct trainer *t, const struct evaluation *v)
{
    progress_note(
        &t->progress,
        "step %llu: validation loss %.4f, %.1f %% of target tokens and %.1f %% of examples "
        "exact%s",
        (unsigned long long)t->step, v->loss, 100 * v->token_accuracy, 100 * v->exact_match,
        !isfinite(t->best_loss) || v->loss < t->best_loss ? "; the best so far" : "");
}

static void print_time(const char *what, double seconds, double total)
{
    char text[HUMAN_BYTES];
    fprintf(stderr, "  %-12s %12s  %5.1f %%\n", what, human_duration(text, seconds),
            100 * seconds / total);
}

void report_end(const struct trainer *t)
{
    char text[HUMAN_BYTES];
    const struct timings *s = &t->time;
    double total = term_now_s() - s->start, busy = s->forward + s->backward + s->update;
    double rest = total - busy - s->evaluation - s->checkpoints;
    if (t->step > t->first_step) {
        fprintf(stderr, "time      %s for %llu steps\n", human_duration(text, total),
                (unsigned long long)(t->step - t->first_step));
        print_time("forward", s->forward, total);
        print_time("backward", s->backward, total);
        print_time("optimiser", s->update, total);
        print_time("validation", s->evaluation, total);
        print_time("checkpoints", s->checkpoints, total);
        print_time("start", rest, total);
        fprintf(stderr,
                "  %.0f tokens/s; %llu tokens given, %llu computed (%.0f %% saved by shared "
                "prefixes and unused ends)\n",
                (double)t->tokens / busy, (unsigned long long)t->tokens,
                (unsigned long long)t->rows, 100 - 100 * (double)t->rows / (double)t->tokens);
        fprintf(stderr, "  peak memory %s\n", human_bytes(text, (double)machine_memory_peak()));
    }
    const char *dir = t->dir.path, *which = t->best_step ? "best" : "adapter";
    fprintf(stderr, "written   %s/adapter%s\n", dir, t->best_step ? ", and the best in best" : "");
    fprintf(stderr, "next      lorac generate --model %s --adapter %s/%s --prompt \"...\"\n",
            t->config->model.path, dir, which);
    fprintf(stderr, "          lorac merge --model %s --adapter %s/%s -o merged\n",
            t->config->model.path, dir, which);
}
