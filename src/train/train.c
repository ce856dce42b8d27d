#include "src/train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/machine.h"
#include "src/base/stop.h"
#include "src/formats/h5.h"
#include "src/model/cost.h"
#include "src/model/notices.h"
#include "src/train/prepare.h"
#include "src/train/ranks.h"
#include "src/train/trainer.h"

static const uint64_t NEVER = UINT64_MAX;

static bool stop_asked_by_signal(void *context)
{
    (void)context;
    return stop_requested();
}
static const struct stop stop = { .asked = stop_asked_by_signal };

/* ---- saving ----------------------------------------------------------------------------------- */

static struct checkpoint checkpoint_of(struct trainer *t)
{
    return (struct checkpoint){
        .step = t->step,
        .total_steps = t->total,
        .warmup = t->schedule.warmup,
        .eval_pending = t->eval_pending,
        .best_eval_loss = t->best_loss,
        .best_step = t->best_step,
        .adapter = &t->learner.adapter,
        .params = t->learner.adapter.params,
        .m = t->learner.m,
        .v = t->learner.v,
        .loss = t->loss,
        .config = t->config_text.p,
        .base_sha256 = t->inputs.base_sha256,
        .data_sha256 = t->data_sha256,
        .isa = t->learner.net.k->isa,
        .gemm = t->learner.net.k->gemm,
    };
}

/* run.json speaks of what is about to appear before it does: whoever looks at a run that was killed
 * in between finds each file as the record says, of this step or of the one before. */
static int publish(struct trainer *t, const char *name, double eval_loss, struct err *e)
{
    char tmp[PATH_BYTES];
    const struct config *c = t->config;
    const char *template = t->setup.template ? template_definition(t->setup.template) : NULL;
    struct adapter_notes notes = {
        .template = (char *)(uintptr_t) template,
        .train_on = (char *)(uintptr_t)train_on_name(c->data.train_on),
        .base_sha256 = t->inputs.base_sha256,
        .base_fingerprint = t->inputs.base_fingerprint,
        .base_path = c->model.path,
        .data_sha256 = t->data_sha256,
        .step = t->step,
        .eval_loss = eval_loss,
    };
    int code = rundir_replace_begin(tmp, &t->dir, name, e);
    if (code) return code;
    code = publish_adapter_in(&t->learner.adapter, c->adapter.lora_dropout, &notes, tmp, e);
    if (!code) code = manifest_publishing(t, name, tmp, e);
    if (!code) code = rundir_replace_commit(tmp, &t->dir, name, e);
    if (code) {
        rundir_replace_abort(tmp);
        return code;
    }
    return manifest_published(t, name, e);
}

/* First what goes with the checkpoint, then the checkpoint: a run that is killed in between goes on
 * from an earlier one and makes the same again. After the last one there is no such run. */
static int save(struct trainer *t, struct err *e)
{
    char path[PATH_BYTES];
    double start = term_now_s();
    struct checkpoint c = checkpoint_of(t);
    int code = inputs_base_hash(&t->inputs, &t->setup.model, e);
    if (!code) code = metrics_sync(&t->metrics, e);
    if (!code) manifest_drop_checkpoint(t);
    if (!code) code = publish(t, "adapter", t->eval_loss, e);
    if (!code) code = rundir_checkpoint(path, &t->dir, t->step, e);
    if (!code) code = checkpoint_save(&c, path, rundir_mode(&t->dir), e);
    if (!code) code = manifest_checkpoint(t, path, e);
    if (!code) code = manifest_write(t, "running", NULL, e);
    if (!code) code = rundir_prune(&t->dir, (size_t)t->config->train.save_total_limit, e);
    t->saved_step = t->step;
    t->saved_s = term_now_s();
    t->time.checkpoints += t->saved_s - start;
    return code;
}

static bool save_due(const struct trainer *t)
{
    const struct config_interval *every = &t->config->train.save_steps;
    if (t->saved_step == t->step) return false;
    if (t->step == t->total || stop_wants_checkpoint()) return true;
    if (every->steps != CONFIG_NONE) return t->step % (uint64_t)every->steps == 0;
    if (every->seconds != CONFIG_NONE) return term_now_s() - t->saved_s >= (double)every->seconds;
    return t->step % t->steps_per_epoch == 0;
}

/* ---- validation ------------------------------------------------------------------------------- */

static bool eval_due(const struct trainer *t)
{
    int64_t every = t->config->train.eval_steps;
    if (!t->setup.data.validation.n) return false;
    if (t->step == t->total) return true;
    return t->step % (every != CONFIG_NONE ? (uint64_t)every : t->steps_per_epoch) == 0;
}

/* ERR_STOPPED leaves eval_pending set, so that a resumed run makes this evaluation first. */
static int validate(struct trainer *t, struct err *e)
{
    struct evaluation v;
    double start = term_now_s();
    bool done = evaluate(&v, t->learner.objective, &t->learner.net, &t->validation, &stop);
    t->time.evaluation += term_now_s() - start;
    if (!done) return ERR_STOPPED;
    t->eval_pending = false;
    t->eval_loss = v.loss;
    if (!isfinite(v.loss)) {
        return err_set(e,
                       "step %llu: the validation loss is not finite (%g), first in the pass of "
                       "validation example %zu (counted from 1); the last checkpoint is untouched; "
                       "a lower train.learning_rate often helps",
                       (unsigned long long)t->step, v.loss, v.bad_example);
    }
    int code = metrics_eval(&t->metrics, t->step, v.loss, e);
    if (code) return code;
    bool better = !isfinite(t->best_loss) || v.loss < t->best_loss;
    report_eval(t, &v);
    if (!better) return 0;
    t->best_loss = v.loss;
    t->best_step = t->step;
    start = term_now_s();
    code = inputs_base_hash(&t->inputs, &t->setup.model, e);
    if (!code) code = publish(t, "best", v.loss, e);
    if (!code) code = manifest_write(t, "running", NULL, e);
    t->time.checkpoints += term_now_s() - start;
    return code;
}

/* ---- the loop --------------------------------------------------------------------------------- */

/* The items of the step after t->step: a slice of this epoch's permutation, whose last one may be
 * short. */
static const uint32_t *next_batch(struct trainer *t, size_t *n)
{
    size_t items = t->sampler.n, size = (size_t)t->config->train.batch_size;
    uint64_t epoch = t->step / t->steps_per_epoch;
    size_t first = (size_t)(t->step % t->steps_per_epoch) * size;
    if (t->order_epoch != epoch + 1) {
        sampler_epoch(t->order, &t->sampler, epoch);
        t->order_epoch = epoch + 1;
    }
    *n = items - first < size ? items - first : size;
    return t->order + first;
}

static int one_step(struct trainer *t, struct err *e)
{
    size_t n;
    const uint32_t *which = next_batch(t, &n);
    struct step_result r;
    double rate = schedule_rate(&t->schedule, t->step), start = term_now_s();
    mem_guard(t->step > t->first_step);
    int code = learner_step(&t->learner, &r, which, n, t->step + 1, rate, e);
    mem_guard(false);
    if (code) return code;
    double seconds = term_now_s() - start;
    t->loss[t->step++] = r.loss;
    t->eval_loss = NAN;
    t->tokens += r.tokens;
    t->rows += r.rows;
    t->time.forward += r.forward_s;
    t->time.backward += r.backward_s;
    t->time.update += r.update_s;
    t->time.data += seconds - r.forward_s - r.backward_s - r.update_s;
    struct cost work = cost_of_batch(&t->setup.model.shape, &t->learner.adapter, &t->learner.batch);
    t->flops += cost_total(&work);
    if (seconds > t->slowest_step_s) t->slowest_step_s = seconds;
    struct step_metrics m = {
        .step = t->step,
        .epoch = (double)t->step / (double)t->steps_per_epoch,
        .loss = r.loss,
        .learning_rate = rate,
        .grad_norm = r.grad_norm,
        .tokens = r.tokens,
        .tokens_computed = r.rows,
        .targets = r.targets,
        .tokens_per_s = (double)r.tokens / seconds,
        .memory_bytes = machine_memory_resident(),
    };
    t->eval_pending = eval_due(t);
    report_step(t, &m);
    return metrics_step(&t->metrics, &m, e);
}

/* Of --max-hours, as other programs of the field have it; how much longer than the slowest one a step
 * may take; and seconds for a checkpoint, the first of which waits for the base's hashes. */
static const double share_of_hours = 0.99, slower_step = 1.2;
static const double first_save_s = 10, later_save_s = 5;

/* Whether another step and a checkpoint would no longer fit into --max-hours. */
static bool time_is_up(const struct trainer *t)
{
    double limit = t->options->max_hours * 3600 * share_of_hours;
    double save_s = t->saved_step == NEVER ? first_save_s : later_save_s;
    double needed = slower_step * t->slowest_step_s + save_s;
    return limit > 0 && term_now_s() - t->time.start + needed > limit;
}

static int loop(struct trainer *t, struct err *e)
{
    int code = 0;
    for (;;) {
        if (!code && t->eval_pending) code = validate(t, e);
        if (!code && save_due(t)) code = save(t, e);
        if (code || t->step == t->total) return code;
        if (time_is_up(t)) stop_for_time();
        code = ranks_agree(stop_requested() ? ERR_STOPPED : 0, e);
        if (!code) code = one_step(t, e);
    }
}

/* ---- beginning and end ------------------------------------------------------------------------ */

static int open_learner(struct trainer *t, struct err *e)
{
    const struct examples *validation = &t->setup.data.validation;
    const struct batch *b = &t->learner.batch;
    int code = prepare_learner(&t->learner, &t->setup, t->config, true, e);
    t->learner.stop = &stop;
    if (code || !validation->n) return code;
    return batch_init(&t->validation, validation, b->batch_size, b->pass_tokens, b->share, e);
}

static int open_course(struct trainer *t, struct err *e)
{
    struct course k = { 0 };
    int code = prepare_course(&k, &t->setup, t->config, e);
    if (code) return code;
    t->sampler = k.sampler;
    t->steps_per_epoch = k.steps_per_epoch;
    t->total = k.total;
    t->schedule = k.schedule;
    t->order = mem_alloc(t->sampler.n, sizeof *t->order, e);
    t->loss = mem_alloc(t->total, sizeof *t->loss, e);
    t->best_loss = t->eval_loss = NAN;
    t->saved_step = NEVER;
    if (!t->order || !t->loss) return e->code;
    return t->options->resume == RESUME_NEVER ? schedule_check(&t->schedule, t->config, e) : 0;
}

static int write_config(struct trainer *t, struct err *e)
{
    char path[PATH_BYTES];
    int code = rundir_path(path, &t->dir, "config.yaml", e);
    if (code) return code;
    return file_replace(path, t->config_text.p, t->config_text.n, rundir_mode(&t->dir), e);
}

/* A run that was killed behind its last checkpoint has nothing to do but this. */
static int finish_leftovers(struct trainer *t, struct err *e)
{
    t->dir.begun = true;
    int code = rundir_prune(&t->dir, (size_t)t->config->train.save_total_limit, e);
    if (code || manifest_has_status(t, "finished")) return code;
    code = manifest_begin(t, *t->resumed_from ? t->resumed_from : NULL, e);
    return code ? code : manifest_write(t, "finished", NULL, e);
}

/* How many checkpoints the run makes, the one before its first step included; by time: as many as are
 * sure to be there at once. */
static uint64_t count_saves(const struct trainer *t)
{
    const struct config_interval *every = &t->config->train.save_steps;
    if (every->steps == CONFIG_NONE && every->seconds != CONFIG_NONE) return 3;
    uint64_t n = every->steps != CONFIG_NONE ? (uint64_t)every->steps : t->steps_per_epoch;
    return 1 + (t->total + n - 1) / n;
}

/* Room for what the run will leave, less what is there already: the checkpoints that are kept and the
 * one being written, adapter and best and the one being written. */
static int check_room(const struct trainer *t, struct err *e)
{
    enum { ADAPTERS = 3 };
    const struct adapter *a = &t->learner.adapter;
    uint64_t newest, most = count_saves(t);
    size_t there;
    int code = rundir_list(&newest, 1, &there, &t->dir, e);
    if (code) return code;
    uint64_t kept = (uint64_t)t->config->train.save_total_limit + 1;
    if (kept < most) most = kept;
    uint64_t bytes = (most - (there ? 1 : 0)) * checkpoint_bytes(a, t->total);
    if (!there) bytes += ADAPTERS * sizeof(float) * (uint64_t)a->n_params;
    return space_need(t->dir.path, bytes, "this run writes",
                      "free some, lower train.save_total_limit or adapter.r, or choose another "
                      "output.dir",
                      e);
}

/* Everything that can be told about output.dir before anything is made. */
static int check_directory(const struct trainer *t, struct err *e)
{
    int code = prepare_directory(t->config, e);
    if (!code) code = resume_may_begin(t, e);
    return code ? config_prefix(e, t->config, "output.dir", 0) : 0;
}

/* An adapter follows the umask: only the directory keeps others from it, and one that was there
 * already keeps its mode. */
static void note_open_directory(struct trainer *t)
{
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    bool hidden = !t->config->output.private || (mask & 0044) == 0044;
    if (hidden || *t->dir.made || stat(t->dir.path, &st) != 0 || !(st.st_mode & 0011)) return;
    str_addf(
        &t->setup.notes,
        "output.dir %s was there already, with mode %o: others can read the adapters in it (what "
        "holds training text stays private); chmod 700 it if they must not\n",
        t->dir.path, (unsigned)st.st_mode & 0777);
}

static int digest_config(struct trainer *t, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    config_print(&t->config_text, t->config);
    int code = str_error(&t->config_text, e);
    if (!code) code = sha256_of(digest, t->config_text.p, t->config_text.n, e);
    if (!code) hex_of(t->config_sha256, digest);
    return code;
}

/* Leave the first files of this process: from here on there is a run. */
static int begin_run(struct trainer *t, struct err *e)
{
    char path[PATH_BYTES];
    int code = check_room(t, e);
    if (code) return config_prefix(e, t->config, "output.dir", 0);
    code = manifest_begin(t, *t->resumed_from ? t->resumed_from : NULL, e);
    if (!code) code = manifest_replacing_config(t, e);
    if (!code) code = write_config(t, e);
    if (code) return code;
    t->dir.begun = true;
    code = rundir_path(path, &t->dir, "metrics.jsonl", e);
    if (!code)
        code = metrics_open(&t->metrics, path, t->step, t->eval_pending, t->dir.is_private, e);
    return code ? code : manifest_write(t, "running", NULL, e);
}

/* The directory is made and locked after all that it has not to be there for: what is refused until
 * then leaves nothing. */
static int prepare(struct trainer *t, bool *finished, struct err *e)
{
    const struct config *c = t->config;
    int code = digest_config(t, e);
    if (!code) code = check_directory(t, e);
    if (!code) code = setup_open(&t->setup, c, e);
    if (code) return code;
    hex_of(t->data_sha256, t->setup.data.sha256);
    code = inputs_begin(&t->inputs, c, &t->setup, e);
    if (!code) code = open_learner(t, e);
    if (!code) code = open_course(t, e);
    if (code) return code;
    code = rundir_open(&t->dir, c->output.dir, c->output.private, e);
    if (code) return config_prefix(e, c, "output.dir", 0);
    code = resume_from(t, finished, e);
    if (code) return code;
    if (*finished) return finish_leftovers(t, e);
    code = schedule_check(&t->schedule, c, e);
    if (code) return code;
    schedule_notes(&t->setup.notes, &t->schedule, c);
    note_open_directory(t);
    t->first_step = t->step;
    return begin_run(t, e);
}

/* The state of the last completed step, so that nothing is lost. */
static int save_stopped(struct trainer *t, struct err *e)
{
    char why[64];
    snprintf(why, sizeof why, "stopped by %s", stop_reason());
    if (t->saved_step != t->step) {
        int code = save(t, e);
        if (code) return code;
    }
    int code = manifest_write(t, "stopped", why, e);
    if (code) return code;
    err_set(e,
            "%s after step %llu of %llu; the checkpoint is written; to go on: the same command "
            "with --resume auto",
            why, (unsigned long long)t->step, (unsigned long long)t->total);
    return ERR_STOPPED;
}

static void warn_of_licence(struct trainer *t)
{
    const char *path = t->config->model.path, *warning = notices_warning(path);
    if (warning) progress_note(&t->progress, "warning: %s: %s", path, warning);
}

/* run.json tells of a run that failed, too, if it still can be written. */
static void note_failure(struct trainer *t, const struct err *e)
{
    struct err ignored;
    inputs_base_hash(&t->inputs, &t->setup.model, &ignored); /* what failed is worth its hashes */
    manifest_write(t, "failed", e->msg, &ignored);
}

static void trainer_free(struct trainer *t)
{
    inputs_free(&t->inputs);
    manifest_free(&t->manifest);
    metrics_close(&t->metrics);
    learner_free(&t->learner);
    batch_free(&t->validation);
    setup_close(&t->setup);
    sampler_free(&t->sampler);
    mem_free(t->order);
    mem_free(t->loss);
    str_free(&t->config_text);
    rundir_close(&t->dir);
}

int train_run(const struct config *c, const struct train_options *o, struct err *e)
{
    struct trainer t = { .config = c, .options = o, .dir = { .lock = -1 } };
    bool finished = false;
    t.time.start = t.saved_s = term_now_s();
    load_sample(&t.load);
    stop_install();
    progress_init(&t.progress, 10);
    int code = h5_init(e);
    if (!code) code = prepare(&t, &finished, e);
    if (!code && !finished) {
        report_header(&t);
        warn_of_licence(&t);
        t.time.before_first = term_now_s() - t.time.start;
        code = loop(&t, e);
        progress_end(&t.progress);
        if (code == ERR_STOPPED) {
            code = save_stopped(&t, e);
        } else if (code) {
            note_failure(&t, e);
        }
        learner_release(&t.learner); /* the yardsticks need room of their own */
        if (!code || code == ERR_STOPPED) report_time(&t);
        if (!code) code = manifest_write(&t, "finished", NULL, e);
        if (!code) report_end(&t);
    }
    trainer_free(&t);
    return code;
}
