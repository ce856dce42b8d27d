#include "src/train/train.h"

#include <math.h>
#include <stdio.h>

#include "src/base/mem.h"
#include "src/base/stop.h"
#include "src/base/watchdog.h"
#include "src/formats/h5.h"
#include "src/train/deadline.h"
#include "src/train/launch.h"
#include "src/train/ranks.h"
#include "src/train/ranks_check.h"
#include "src/train/report.h"
#include "src/train/resume.h"

struct trainer {
    const struct config *config;
    const struct train_options *options;
    struct training work;
    struct run files;
    struct run *run; /* the files, on the first rank; NULL elsewhere */
    struct report report;
    struct deadline deadline;
    double slowest_save_s;
};

/* Asked before each block of a step or an evaluation, which is then also a sign of progress. */
static bool asked(void *context)
{
    (void)context;
    watchdog_beat();
    return stop_requested();
}
static const struct stop stop_run = { .asked = asked };

/* ---- what is due after a step ---------------------------------------------------------------- */

static bool eval_due(const struct trainer *t)
{
    return t->work.setup.data.validation.n > 0 &&
           course_eval_due(&t->work.course, t->config, t->work.state.step);
}

/* Whether no step is left to make: after the last one, or after train.early_stopping_patience. */
static bool is_over(const struct trainer *t)
{
    const struct checkpoint *s = &t->work.state;
    return s->step == s->total_steps ||
           advice_ends_early(s, t->config->train.early_stopping_patience);
}

/* ERR_STOPPED leaves eval_pending set, so that a resumed run makes this evaluation first. */
static int validate(struct trainer *t, struct err *e)
{
    struct evaluation v;
    struct checkpoint *s = &t->work.state;
    struct learner *l = &t->work.learner;
    double start = term_now_s();
    watchdog_phase("validation", s->step);
    int code = evaluate(&v, l->objective, &l->net, &t->work.validation, &stop_run,
                        &t->report.on_example, e);
    double evaluated = term_now_s();
    t->report.time.evaluation += evaluated - start;
    if (code) return code;
    s->eval_pending = false;
    code = evaluation_check(&v, s->step, e);
    if (code) return code;
    bool best = !isfinite(s->best_eval_loss) || v.loss < s->best_eval_loss;
    if (best) s->best_eval_loss = v.loss, s->best_step = s->step;
    code = history_add(&s->history, s->step, v.loss, e);
    if (code) return code;
    report_eval(&t->report, &v, best);
    watchdog_enter("writing the best adapter");
    code = run_eval(t->run, &v, best, e);
    t->report.time.checkpoints += term_now_s() - evaluated;
    return code;
}

static bool save_due(const struct trainer *t)
{
    const struct config_interval *every = &t->config->train.save_steps;
    const struct run *r = t->run;
    if (!r || r->saved_step == t->work.state.step) return false;
    if (is_over(t) || stop_wants_checkpoint()) return true;
    if (every->steps != CONFIG_NONE) return t->work.state.step % (uint64_t)every->steps == 0;
    if (every->seconds != CONFIG_NONE) return term_now_s() - r->saved_s >= (double)every->seconds;
    return t->work.state.step % t->work.course.steps_per_epoch == 0;
}

static int save(struct trainer *t, struct err *e)
{
    double start = term_now_s();
    watchdog_enter("writing a checkpoint");
    int code = run_save(t->run, e);
    double seconds = term_now_s() - start;
    t->report.time.checkpoints += seconds;
    if (seconds > t->slowest_save_s) t->slowest_save_s = seconds;
    return code;
}

/* How much longer than the slowest so far a step or a checkpoint may take; and at least so many
 * seconds for a checkpoint, the first of which waits for the base's hashes. */
static const double slower = 1.2, first_save_s = 10, later_save_s = 5;

/* Stop when another step and a checkpoint would no longer fit into the time that is left. */
static void look_at_time(const struct trainer *t)
{
    bool first = t->run && t->run->saved_step == RUN_NEVER;
    double save_s = fmax(first ? first_save_s : later_save_s, slower * t->slowest_save_s);
    int which = deadline_passed(&t->deadline, slower * t->report.slowest_step_s + save_s);
    if (which) stop_for_time(which);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static int one_step(struct trainer *t, uint64_t *seal, struct err *e)
{
    size_t n;
    struct step_result r;
    struct checkpoint *s = &t->work.state;
    struct course *k = &t->work.course;
    const uint32_t *which = course_batch(k, s->step, &n);
    double rate = schedule_rate(&k->schedule, s->step), start = term_now_s();
    watchdog_phase("forward and backward", s->step + 1);
    mem_guard(s->step > t->report.first_step);
    int code = learner_step(&t->work.learner, &r, which, n, s->step + 1, rate, e);
    mem_guard(false);
    if (code) return code;
    *seal = r.seal;
    double seconds = term_now_s() - start;
    watchdog_step(seconds);
    s->loss[s->step++] = r.loss;
    s->eval_pending = eval_due(t);
    report_step(&t->report, &r, seconds);
    return run_step(t->run, &r, rate, seconds, e);
}

static int loop(struct trainer *t, struct err *e)
{
    for (;;) {
        int code = t->work.state.eval_pending ? validate(t, e) : 0;
        if (!code && save_due(t)) code = save(t, e);
        bool done = is_over(t);
        if (!code && !done) look_at_time(t);
        if (!code && !done && stop_requested()) code = err_code(e, ERR_STOPPED, "stopped");
        code = ranks_agree(code, e);
        if (code || done) return code;
        /* only the first rank writes files: where it fails, no other may begin an evaluation */
        uint64_t seal = 0;
        code = one_step(t, &seal, e);
        code = ranks_agree_on(code, seal, e);
        if (code) return code;
    }
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* What has to be known of all ranks before the run's directory is made. */
static int check_ranks(struct trainer *t, struct err *e)
{
    struct training *w = &t->work;
    int code = ranks_note_threads(&w->setup.notes, e);
    if (!code) code = ranks_check_inputs(&w->setup.model, &w->setup.data, &w->learner.adapter, e);
    return code;
}

/* Each rank keeps its own; one says so. */
static void read_deadline(struct trainer *t)
{
    struct str others = { 0 }, *notes = ranks_me() == 0 ? &t->work.setup.notes : &others;
    t->deadline = deadline_read(t->options->max_hours, t->report.time.start, notes);
    str_free(&others);
}

static int open_all(struct trainer *t, struct err *e)
{
    const struct config *c = t->config;
    bool fresh = t->options->resume == RESUME_NEVER;
    int code = ranks_check_start(c, e);
    if (code) return code;
    code = prepare_directory(c, fresh, e);
    if (code) return config_prefix(e, c, "output.dir", 0);
    code = prepare(&t->work, c, PREPARE_TO_TRAIN, e);
    if (!code && fresh) code = schedule_check(&t->work.course.schedule, c, e);
    read_deadline(t);
    t->work.learner.stop = &stop_run;
    t->work.learner.listener = &t->report.on_pass;
    code = ranks_agree(code, e);
    if (!code) code = check_ranks(t, e);
    if (code || ranks_me() != 0) return code;
    t->run = &t->files;
    return run_open(t->run, c, &t->work, e);
}

/* Save the state of the last completed step, so that nothing is lost. */
static int end_stopped(struct trainer *t, struct err *e)
{
    char why[96];
    const struct checkpoint *s = &t->work.state;
    snprintf(why, sizeof why, "stopped by %s", stop_reason());
    int code = t->run && t->run->saved_step != s->step ? save(t, e) : 0;
    if (!code) code = run_end(t->run, "stopped", why, e);
    code = ranks_agree(code, e);
    if (code) return code;
    return err_code(e, ERR_STOPPED,
                    "%s after step %llu of %llu; the checkpoint is written; to go on: the same "
                    "command with --resume auto",
                    why, (unsigned long long)s->step, (unsigned long long)s->total_steps);
}

/* Write down by `end` how the run ended. */
static int finish(struct trainer *t, int (*end)(struct run *, const char *why, struct err *),
                  struct err *e)
{
    struct str why = { 0 };
    advice_outcome(&t->report.advice, &why);
    int code = str_error(&why, e);
    if (!code) code = end(t->run, why.n ? why.p : NULL, e);
    str_free(&why);
    return code;
}

/* A run without it is as good as long as nothing hangs. */
static void start_watchdog(struct trainer *t)
{
    struct err e;
    int64_t given = t->config->train.watchdog;
    double limit_s = given == CONFIG_NONE ? 0 : (double)given;
    if (!watchdog_start(limit_s, ranks_me(), ranks_n(), &e)) return;
    progress_note(&t->report.progress, "note: nothing watches over the run: %s", e.msg);
}

/* Ranks for which the next batch has no pass. */
static void note_idle(struct trainer *t)
{
    size_t n;
    struct batch *b = &t->work.learner.batch;
    if (ranks_n() == 1 || is_over(t)) return;
    const uint32_t *which = course_batch(&t->work.course, t->work.state.step, &n);
    batch_begin(b, which, n);
    ranks_note_passes(&t->work.setup.notes, b->n_passes);
}

static int run_steps(struct trainer *t, struct err *e)
{
    struct err ignored;
    const struct schedule *schedule = &t->work.course.schedule;
    if (schedule_check(schedule, t->config, e)) return e->code;
    schedule_notes(&t->work.setup.notes, schedule, t->work.course.sampler.n, t->config);
    note_idle(t);
    int code = ranks_agree(run_begin(t->run, t->options->resume != RESUME_NEVER, e), e);
    if (!code) code = ranks_join_notes(&t->work.setup.notes, e);
    if (code) return code;
    report_header(&t->report);
    start_watchdog(t);
    code = loop(t, e);
    progress_end(&t->report.progress);
    if (code == ERR_STOPPED) code = end_stopped(t, e);
    watchdog_stop();
    if (code && code != ERR_STOPPED) run_end(t->run, "failed", e->msg, &ignored);
    learner_release(&t->work.learner); /* the yardsticks need room of their own */
    if (!code || code == ERR_STOPPED) report_time(&t->report);
    if (!code) code = finish(t, run_finish, e);
    if (!code && t->run) report_end(&t->report, t->run->dir.path);
    return code;
}

/* Whether there is anything left to do for a run that begins or goes on. One that a smaller
 * train.early_stopping_patience ends at its newest checkpoint may have left later files: they are
 * written again. */
static bool is_left(struct trainer *t)
{
    const struct checkpoint *s = &t->work.state;
    bool left = s->eval_pending || !is_over(t);
    if (!left && t->run && s->step < s->total_steps && !run_is_finished(t->run)) {
        left = true;
        t->run->saved_step = RUN_NEVER;
    }
    ranks_broadcast(&left, sizeof left);
    return left;
}

int train_run(const struct config *c, const struct train_options *o, struct err *e)
{
    struct trainer t = { .config = c, .options = o };
    report_begin(&t.report, c, &t.work);
    stop_install();
    int code = launch_check(e);
    if (!code) code = h5_init(e);
    code = ranks_agree(code ? code : open_all(&t, e), e);
    if (!code) code = ranks_check_directory(c, e);
    struct resume from = { t.run, &t.work, &t.report.progress };
    if (!code) code = resume_from(&from, o, e);
    if (!code && is_left(&t)) {
        code = run_steps(&t, e);
    } else if (!code && t.run) {
        report_finished(&t.report, t.run->dir.path);
        code = finish(&t, run_finish_leftovers, e);
    }
    if (code == ERR_SPACE) code = run_needs_room(t.run, e);
    run_close(t.run);
    training_free(&t.work);
    return code;
}
