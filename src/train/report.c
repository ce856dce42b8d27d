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

/* Tell once of other programs that compute here (other ranks on this machine look like some), as
 * soon as there was time to see them: before the
 * first step or, where reading was quick, after one. */
static void report_load(struct report *r)
{
    struct load_sample now;
    const char *why;
    char remedy[96];
    int cpus = machine_cpus();
    size_t before;
    if (ranks_here(&before) > 1) return;
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

/* Lines of the header hang under their texts. */
enum { LABEL = 10 };

static void print_memory(const struct report *r)
{
    char weights[HUMAN_BYTES], state[HUMAN_BYTES], net[HUMAN_BYTES], all[HUMAN_BYTES];
    char most[HUMAN_BYTES], own[HUMAN_BYTES];
    const struct learner *l = &r->work->learner;
    double w = (double)r->work->setup.model.weight_bytes;
    int64_t given = r->config->train.memory_budget;
    const char *why = "train.memory_budget";
    double limit = given != CONFIG_NONE ? (double)given : (double)machine_memory_available(&why);
    term_line(stderr, LABEL,
              "memory    %s at most, of %s (%s): weights %s, mapped; adapter and optimiser %s; "
              "activations %s; program and data %s",
              human_bytes(all, (double)budget_total_bytes(&r->work->setup, l)),
              human_bytes(most, limit), why, human_bytes(weights, w),
              human_bytes(state, (double)l->state_bytes), human_bytes(net, (double)l->net.bytes),
              human_bytes(own, (double)budget_other_bytes(&r->work->setup) - w));
    const size_t *keeps = l->net.keeps;
    if (keeps[KEEP_ALL] == r->work->setup.model.dims.layers) return;
    term_line(stderr, LABEL, "          of %s %zu recompute the MLP's inputs and %zu everything",
              str_count(r->work->setup.model.dims.layers, "layer"), keeps[KEEP_NO_MLP],
              keeps[KEEP_INPUT]);
}

/* The ranks of a job, and the machines that they are on. */
static void print_hosts(void)
{
    size_t before, machines = 0;
    if (ranks_n() == 1) return;
    for (size_t r = 0; r < ranks_n(); r++) {
        size_t first = 0;
        while (strcmp(ranks_host(first), ranks_host(r)) != 0) first++;
        machines += first == r;
    }
    term_line(stderr, LABEL, "ranks     %zu on %s, %zu of them on this one; %s", ranks_n(),
              str_count(machines, "machine"), ranks_here(&before), ranks_library());
}

/* What it computes on, and who decided that. */
static void print_compute(const struct kernels *k)
{
    const char *why;
    int threads = machine_threads(&why);
    term_line(stderr, LABEL, "lorac " LORAC_VERSION " on %s: %s", machine_host(), machine_cpu());
    print_hosts();
    term_line(stderr, LABEL, "compute   %s (%s), kernels %s (%s), products %s (%s), %s",
              str_count((uint64_t)threads, "thread"), why, k->isa,
              getenv("LORAC_ISA") ? "LORAC_ISA" : "the best here", k->gemm,
              getenv("LORAC_GEMM") ? "LORAC_GEMM" : "default", blas_name());
    if (machine_unknown()) term_line(stderr, LABEL, "system    %s", machine_unknown());
    setup_print_compute(stderr, "          ", k);
}

/* ---- how far it is --------------------------------------------------------------------------- */

/* A piece of work that takes longer than this shows how far it is. */
enum { LONG_S = 2 };

static bool takes_long(const struct report *r)
{
    return ranks_me() == 0 && term_now_s() - r->began_s >= LONG_S;
}

/* Only on a terminal: in a file, whole steps are enough. */
static void show_pass(void *context, size_t done, size_t all)
{
    struct report *r = context;
    if (!r->progress.live || !takes_long(r)) return;
    progress_aside(&r->progress, "step %llu/%llu pass %zu/%zu%s",
                   (unsigned long long)r->work->state.step + 1,
                   (unsigned long long)r->work->course.total, done, all, r->so_far);
}

static void show_example(void *context, size_t done, size_t all)
{
    struct report *r = context;
    uint64_t step = r->work->state.step;
    if (!takes_long(r)) return;
    if (step == 0) {
        progress_aside(&r->progress, "before training: validation, example %zu/%zu", done, all);
    } else {
        progress_aside(&r->progress, "step %llu/%llu: validation, example %zu/%zu",
                       (unsigned long long)step, (unsigned long long)r->work->course.total, done,
                       all);
    }
}

/* Print the lines above the progress line, and free them. */
static void say(struct report *r, struct str *lines)
{
    for (const char *p = lines->p; p && *p && ranks_me() == 0;) {
        size_t n = strcspn(p, "\n");
        progress_note(&r->progress, "%.*s", (int)n, p);
        p += n + (p[n] == '\n');
    }
    str_free(lines);
}

void report_begin(struct report *r, const struct config *c, struct training *w)
{
    *r = (struct report){ .config = c, .work = w };
    r->on_pass = (struct listener){ show_pass, r };
    r->on_example = (struct listener){ show_example, r };
    r->advice = (struct advice){ .config = c,
                                 .schedule = &w->course.schedule,
                                 .state = &w->state,
                                 .usual_rate = w->course.rate.usual };
    r->time.start = term_now_s();
    load_sample(&r->load);
    progress_init(&r->progress, 10);
}

void report_finished(struct report *r, const char *dir)
{
    struct str outcome = { 0 };
    advice_outcome(&r->advice, &outcome);
    progress_note(&r->progress, "%s: the run is finished (%s%s%s); nothing to do%s", dir,
                  str_count(r->work->state.step, "step"), outcome.n ? "; " : "",
                  outcome.n ? outcome.p : "",
                  r->work->state.step < r->work->state.total_steps
                      ? "; a larger train.early_stopping_patience, or null, goes on"
                      : "");
    str_free(&outcome);
}

static void print_model(const struct report *r)
{
    char params[HUMAN_BYTES], trained[HUMAN_BYTES];
    const struct llama *m = &r->work->setup.model;
    const struct adapter *a = &r->work->learner.adapter;
    struct str modules = { 0 };
    term_line(stderr, LABEL, "model     %s: %s, hidden %zu, %s parameters, %s",
              r->config->model.path, str_count(m->dims.layers, "layer"), m->dims.C,
              human_count(params, (double)model_params(&m->dims)), storage_name(llama_storage(m)));
    for (int i = 0; i < MODULES; i++)
        if (adapter_has(a, (enum module)i)) str_addf(&modules, " %s", module_table[i].name);
    term_line(stderr, LABEL, "adapter   r %zu, alpha %g, %s parameters:%s", a->r, a->lora_alpha,
              human_count(trained, (double)a->n_params), modules.p ? modules.p : "");
    str_free(&modules);
}

static void print_training(const struct report *r)
{
    const struct batch *b = &r->work->learner.batch;
    size_t all = r->work->course.sampler.n, each = b->batch_size < all ? b->batch_size : all;
    struct str rate = { 0 };
    learning_rate_say(&rate, &r->work->course.rate);
    term_line(stderr, LABEL, "training  %s of %s, %s, passes of up to %zu tokens%s",
              str_count(r->work->course.total, "step"), str_count(each, "example"),
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
    term_line(stderr, LABEL, "data      %s, %s, %zu of them targets; %zu for validation",
              str_count(s->data.train.n, "example"),
              str_count(s->data.train_counts.tokens, "token"), s->data.train_counts.targets,
              s->data.validation.n);
    notes_print(&s->notes);
    report_load(r);
    print_memory(r);
    print_training(r);
    const char *warning = notices_warning(r->config->model.path);
    if (warning) progress_note(&r->progress, "warning: %s: %s", r->config->model.path, warning);
    r->began_s = term_now_s();
    r->time.before_first = r->began_s - r->time.start;
}

static void add_step(struct report *r, const struct step_result *s, double seconds)
{
    struct training *w = r->work;
    if (ranks_me() == 0) {
        struct cost work = cost_of_batch(&w->setup.model.dims, &w->learner.adapter,
                                         &w->learner.batch);
        r->flops += cost_total(&work);
    }
    r->passes += s->own_passes;
    r->tokens += s->tokens;
    r->rows += s->rows;
    r->time.forward += s->forward_s;
    r->time.backward += s->backward_s;
    r->time.update += s->update_s;
    r->time.waiting += s->waiting_s;
    r->time.exchange += s->exchange_s;
    r->time.data += seconds - s->forward_s - s->backward_s - s->update_s - s->waiting_s -
                    s->exchange_s;
    if (seconds > r->slowest_step_s) r->slowest_step_s = seconds;
}

/* What the steps and evaluations that are left will take, as those of this process did. */
static double seconds_left(const struct report *r, double busy)
{
    const struct course *k = &r->work->course;
    uint64_t step = r->work->state.step, evals = r->evaluations;
    double left = busy / (double)(step - r->first_step) * (double)(k->total - step);
    if (!evals) return left;
    return left +
           r->time.evaluation / (double)evals * (double)course_evals_after(k, r->config, step);
}

void report_step(struct report *r, const struct step_result *s, double seconds)
{
    char left[HUMAN_BYTES];
    struct str lines = { 0 };
    add_step(r, s, seconds);
    r->began_s = term_now_s();
    if (ranks_me() != 0) return;
    uint64_t step = r->work->state.step, total = r->work->course.total;
    double busy = r->time.forward + r->time.backward + r->time.update + r->time.waiting +
                  r->time.exchange;
    report_load(r);
    snprintf(r->so_far, sizeof r->so_far, "  epoch %.2f  loss %.4f  %.0f tokens/s  %s left",
             (double)step / (double)r->work->course.steps_per_epoch, s->loss,
             (double)r->tokens / busy, human_duration(left, seconds_left(r, busy)));
    progress_update(&r->progress, "step %llu/%llu%s", (unsigned long long)step,
                    (unsigned long long)total, r->so_far);
    advice_step(&r->advice, &lines);
    say(r, &lines);
}

void report_eval(struct report *r, const struct evaluation *v, bool best)
{
    struct str lines = { 0 };
    uint64_t step = r->work->state.step;
    r->evaluations++;
    r->began_s = term_now_s();
    if (step) {
        str_addf(&lines, "step %llu", (unsigned long long)step);
    } else {
        str_addz(&lines, "before training");
    }
    str_addf(&lines, ": validation loss %.4f, %.1f %% of targets right, %.1f %% of answers%s\n",
             v->loss, 100 * v->token_accuracy, 100 * v->exact_match, step && best ? "; best" : "");
    advice_evaluation(&r->advice, &lines);
    say(r, &lines);
}

/* The sum over the rows is the whole time: nothing is left out. */
static void print_table(const struct report *r, double total)
{
    const struct timings *s = &r->time;
    double known = s->forward + s->backward + s->update + s->data + s->evaluation + s->checkpoints +
                   s->before_first + s->waiting + s->exchange;
    const struct {
        const char *what;
        double seconds;
        bool of_ranks;
    } rows[] = {
        { "forward", s->forward, false },
        { "backward", s->backward, false },
        { "waiting", s->waiting, true },
        { "communication", s->exchange, true },
        { "optimiser", s->update, false },
        { "data", s->data, false },
        { "validation", s->evaluation, false },
        { "checkpoints", s->checkpoints, false },
        { "before step 1", s->before_first, false },
        { "other", total - known, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[HUMAN_BYTES];
        if (rows[i].of_ranks && ranks_n() == 1) continue;
        fprintf(stderr, "  %-14s %12s  %5.1f %%\n", rows[i].what,
                human_duration(text, rows[i].seconds > 0 ? rows[i].seconds : 0),
                100 * rows[i].seconds / total);
    }
}

/* The seconds of the steps, and passes, over the ranks. */
struct rank_times {
    struct ranks_spread compute, waiting, exchange, passes;
};

static struct rank_times gather_times(const struct report *r)
{
    const struct timings *t = &r->time;
    return (struct rank_times){ .compute = ranks_spread(t->forward + t->backward),
                                .waiting = ranks_spread(t->waiting),
                                .exchange = ranks_spread(t->exchange),
                                .passes = ranks_spread((double)r->passes) };
}

/* How the ranks differ. The imbalance is the share of the steps in which a rank that computes as
 * long as the mean waits for the one that computes longest; what other ranks wait beyond that, and
 * all communication, is the cost of having ranks. */
static void print_ranks(const struct report *r, const struct rank_times *of)
{
    const struct timings *t = &r->time;
    const struct {
        const char *what;
        const struct ranks_spread *s;
    } rows[] = { { "computing, s", &of->compute },
                 { "waiting, s", &of->waiting },
                 { "communication, s", &of->exchange },
                 { "passes", &of->passes } };
    double steps = t->forward + t->backward + t->waiting + t->exchange + t->update + t->data;
    double imbalance = of->compute.most - of->compute.mean;
    term_line(stderr, LABEL, "ranks     %zu: least, mean, most", ranks_n());
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        fprintf(stderr, "  %-17s %10.4g %10.4g %10.4g\n", rows[i].what, rows[i].s->least,
                rows[i].s->mean, rows[i].s->most);
    term_line(stderr, LABEL,
              "          of the steps %.1f %% imbalance, %.1f %% waiting beyond it and "
              "communication",
              100 * imbalance / steps,
              100 * (of->waiting.mean + of->exchange.mean - imbalance) / steps);
}

/* The yardsticks are measured now, next to the run, since machines differ and are shared. A run
 * that was shorter than a few times the measuring goes without. */
static void print_speed(const struct report *r, double busy)
{
    enum { WORTH_S = 10 };
    const char *why;
    double rate = r->flops / busy;
    struct str shares = { 0 };
    if (busy >= WORTH_S) {
        struct err ignored;
        double fma = rate_fma(r->work->kernels), sgemm = 0; /* stays 0 where memory is short */
        rate_sgemm(&sgemm, &r->work->setup.model.dims, machine_threads(&why), &ignored);
        fma *= (double)ranks_n();
        sgemm *= (double)ranks_n();
        str_addf(&shares, ": %.0f %% of the %.0f in registers%s", 100 * rate / fma, fma * 1e-9,
                 r->work->kernels->compute == COMPUTE_F32 ? "" : " (in f32)");
        if (sgemm > 0) {
            str_addf(&shares, ", %.0f %% of sgemm (%.0f, %s)", 100 * rate / sgemm, sgemm * 1e-9,
                     blas_name());
        }
    }
    term_line(stderr, LABEL, "speed     %.0f tokens/s, %.1f GFLOP/s%s", (double)r->tokens / busy,
              rate * 1e-9, shares.p ? shares.p : "");
    str_free(&shares);
}

void report_time(const struct report *r)
{
    char text[HUMAN_BYTES], planned[HUMAN_BYTES];
    const struct timings *s = &r->time;
    double total = term_now_s() - s->start,
           busy = s->forward + s->backward + s->update + s->data + s->waiting + s->exchange;
    if (r->work->state.step == r->first_step) return;
    struct rank_times ranks = gather_times(r);
    if (ranks_me() != 0) return;
    term_line(stderr, LABEL, "time      %s for %s", human_duration(text, total),
              str_count(r->work->state.step - r->first_step, "step"));
    print_table(r, total);
    if (ranks_n() > 1) print_ranks(r, &ranks);
    term_line(stderr, LABEL, "peak      %s of memory, of %s at most",
              human_bytes(text, (double)machine_memory_peak()),
              human_bytes(planned, (double)budget_total_bytes(&r->work->setup, &r->work->learner)));
    print_speed(r, busy);
    term_line(
        stderr, LABEL,
        "tokens    %llu given, %llu computed (%.0f %% saved by shared prefixes and unused ends)",
        (unsigned long long)r->tokens, (unsigned long long)r->rows,
        100 - 100 * (double)r->rows / (double)r->tokens);
}

/* What its losses say of the whole run. */
static void print_result(const struct report *r)
{
    struct str lines = { 0 };
    advice_outcome(&r->advice, &lines);
    if (lines.n) str_addc(&lines, '\n');
    advice_end(&r->advice, &lines);
    for (const char *p = lines.p; p && *p;) {
        size_t n = strcspn(p, "\n");
        term_line(stderr, LABEL, "result    %.*s", (int)n, p);
        p += n + (p[n] == '\n');
    }
    str_free(&lines);
}

void report_end(const struct report *r, const char *dir)
{
    struct str adapter = { 0 }, best = { 0 };
    print_result(r);
    str_add_shell(&adapter, dir); /* it stands for best/ where there is one, and knows its base */
    if (r->work->state.best_step) {
        str_addf(&best, "; %s/best, of step %llu, validation loss %.4f", dir,
                 (unsigned long long)r->work->state.best_step, r->work->state.best_eval_loss);
    }
    term_line(stderr, LABEL, "written   %s/adapter, of the last step%s", dir, best.p ? best.p : "");
    term_line(stderr, LABEL,
              "          metrics.jsonl, run.json, config.yaml and checkpoints beside it");
    if (!adapter.failed) {
        term_print(stderr, "next      lorac generate --adapter %s \"...\"\n", adapter.p);
        term_print(stderr, "          lorac merge --adapter %s -o merged\n", adapter.p);
    }
    str_free(&adapter);
    str_free(&best);
}
