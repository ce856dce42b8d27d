#include "src/train/resume.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/version.h"
#include "src/train/ranks.h"
#include "src/train/advice.h"

enum { CHECKPOINTS_MAX = 4096 };

/* Another rule keeps another set of records aside: the run would be measured on records that it was
 * trained on, and the other way round. Before data.split_seed was a key the rule was the first one,
 * whatever the checkpoint says. */
static int check_split(const struct config *old, const struct checkpoint_start *h, const char *path,
                       struct err *e)
{
    uint64_t rule = old->line[CONFIG_KEY_data_split_seed] ? h->split_rule : 1;
    if (old->data.validation.fraction == 0 || rule == SPLIT_RULE) return 0;
    return err_usage(
        e,
        "%s: the run was begun by another version of lorac, which chose the records "
        "that data.validation: %g keeps aside by another rule (%llu, now %d): going on "
        "would train on what it was measured on; go on with that version, or begin a "
        "new run in another output.dir",
        path, old->data.validation.fraction, (unsigned long long)rule, SPLIT_RULE);
}

/* Whether a key says how long a run is. The schedule spans all steps: a longer run is a different
 * one from its first step on. */
static bool is_length(const char *name)
{
    return strcmp(name, "train.num_epochs") == 0 || strcmp(name, "train.max_steps") == 0;
}

/* A run keeps the rate that it was begun with, where the configuration leaves it open: another
 * version's table, or its default of 2e-4, may have been in use. */
static void keep_rate(const struct resume *x, const struct config *old)
{
    struct course *k = &x->work->course;
    double begun = old->train.learning_rate, today = k->rate.peak;
    if (begun == CONFIG_NONE || !k->rate.by_size || begun == today) return;
    course_keep_rate(k, begun);
    progress_note(x->progress,
                  "the run was begun with the learning rate %g and keeps it; a new run of this "
                  "configuration has %g",
                  begun, today);
}

/* A configuration whose results differ is another run: refused by name. */
static int check_config(const struct resume *x, const struct checkpoint_start *h, const char *path,
                        struct err *e)
{
    struct config old;
    const char *names[CONFIG_KEYS];
    int code = config_parse(&old, h->config.p ? h->config.p : "", h->config.n, path, NULL, 0, e);
    if (code) return code;
    code = check_split(&old, h, path, e);
    if (!code) keep_rate(x, &old);
    struct config now = course_config(&x->work->course, x->run->config);
    size_t n = config_diff(names, &old, &now, true);
    bool splits = old.data.validation.fraction > 0 || x->run->config->data.validation.fraction > 0;
    config_free(&old);
    if (code) return code;
    struct str list = { 0 }, further = { 0 };
    bool longer = n > 0;
    for (size_t i = 0; i < n; i++) {
        longer = longer && is_length(names[i]);
        if (!splits && strcmp(names[i], "data.split_seed") == 0) continue; /* of no effect */
        str_addf(&list, "%s%s", list.n ? ", " : "", names[i]);
    }
    if (list.n == 0) return str_error(&list, e);
    if (longer)
        str_addf(&further, "; with adapter.init_from: %s it trains that adapter further", path);
    err_usage(e,
              "%s: the run was begun with another %s; a resumed run must agree with it (only "
              "memory_budget, save_*, eval_*, early_stopping_patience and watchdog may change); "
              "give it back its value, or begin a new run in another output.dir%s",
              path, list.p ? list.p : "configuration", further.p ? further.p : "");
    str_free(&further);
    str_free(&list);
    return e->code;
}

static bool text_is(const struct str *s, const char *text)
{
    return s->p && strcmp(s->p, text) == 0;
}

static int check_inputs(const struct resume *x, const struct checkpoint_start *h, const char *path,
                        struct err *e)
{
    int code = inputs_base_hash(&x->run->inputs, &x->work->setup.model, e);
    if (code) return code;
    if (!text_is(&h->base_sha256, x->run->inputs.base_sha256)) {
        return err_set(e, "%s: was made with another base model (its files' SHA-256 differ)", path);
    }
    if (!text_is(&h->data_sha256, x->run->data_sha256)) {
        return err_set(e, "%s: was made with other data (the files' SHA-256 differ)", path);
    }
    if (h->total_steps != x->work->course.total) {
        return err_set(e, "%s: is of a run of %llu steps, this one has %llu", path,
                       (unsigned long long)h->total_steps,
                       (unsigned long long)x->work->course.total);
    }
    const struct kernels *k = x->work->kernels;
    if (!text_is(&h->isa, k->isa) || !text_is(&h->gemm, k->gemm)) {
        progress_note(x->progress,
                      "warning: the checkpoint was computed with %s/%s, this machine uses %s/%s: "
                      "results will differ in the last bits",
                      h->isa.p ? h->isa.p : "?", h->gemm.p ? h->gemm.p : "?", k->isa, k->gemm);
    }
    if (!text_is(&h->version, LORAC_VERSION)) {
        progress_note(x->progress, "warning: the checkpoint is of lorac %s, this is " LORAC_VERSION,
                      h->version.p ? h->version.p : "?");
    }
    return 0;
}

/* A run goes on with the warm-up it was begun with. Version 0.1, whose checkpoints do not name
 * theirs, rounded a warmup_ratio of less than one step up to one step. */
static void keep_warmup(const struct resume *x, const struct checkpoint_start *h)
{
    size_t begun = h->warmup >= 0
                       ? (size_t)h->warmup
                       : schedule_warmup_before(x->run->config, (size_t)x->work->course.total);
    if (begun == x->work->course.schedule.warmup) return;
    if (x->work->course.schedule.type != CONFIG_SCHEDULE_CONSTANT) {
        progress_note(x->progress,
                      "the run was begun by an earlier lorac with a warm-up of %s and keeps "
                      "it; a new run of this configuration has %zu",
                      str_count(begun, "step"), x->work->course.schedule.warmup);
    }
    x->work->course.schedule.warmup = begun;
}

static int load(const struct resume *x, const char *path, struct err *e)
{
    const struct checkpoint *s = &x->work->state;
    int code = checkpoint_load(&x->work->state, path, e);
    if (code) return code;
    snprintf(x->run->resumed_from, sizeof x->run->resumed_from, "%s", path);
    /* with an evaluation pending it is saved again, with the result */
    if (!x->work->state.eval_pending) x->run->saved_step = x->work->state.step;
    progress_note(x->progress, "going on from %s (step %llu of %llu)", path,
                  (unsigned long long)x->work->state.step,
                  (unsigned long long)x->work->course.total);
    bool patient = x->run->config->train.early_stopping_patience != CONFIG_NONE;
    if (patient && s->history.n == 0 && isfinite(s->best_eval_loss)) {
        progress_note(x->progress,
                      "note: the run was begun by an earlier lorac, which kept no list of its "
                      "evaluations: train.early_stopping_patience counts those from here on");
    }
    return 0;
}

/* Use this checkpoint. *damaged: it cannot be read, another one may. */
static int try_checkpoint(const struct resume *x, const char *path, bool *damaged, struct err *e)
{
    struct checkpoint_start h;
    int code = checkpoint_read_start(&h, path, e);
    *damaged = code != 0;
    if (code) return code;
    code = check_config(x, &h, path, e);
    if (!code) code = check_inputs(x, &h, path, e);
    if (!code) keep_warmup(x, &h);
    if (!code) code = run_print_config(x->run, e);
    checkpoint_start_free(&h);
    if (code) return code;
    code = load(x, path, e);
    *damaged = code != 0;
    return code;
}

/* The newest checkpoint that can be read. If there are some and none can, that is an error:
 * starting afresh would hide it. */
static int resume_auto(const struct resume *x, struct err *e)
{
    static uint64_t steps[CHECKPOINTS_MAX];
    char path[PATH_BYTES];
    size_t n;
    int code = rundir_list(steps, CHECKPOINTS_MAX, &n, &x->run->dir, e);
    if (code || n == 0) return code;
    for (size_t i = 0; i < n; i++) {
        bool damaged = false;
        code = rundir_checkpoint(path, &x->run->dir, steps[i], e);
        if (!code) code = try_checkpoint(x, path, &damaged, e);
        if (!code || !damaged) return code;
        progress_note(x->progress, "passed over: %s", e->msg);
    }
    return err_prefix(e, "none of the %zu checkpoints can be read, the last one because", n);
}

/* Whether the file lies directly in the run's directory. */
static bool is_own(const struct resume *x, const char *file)
{
    char dir[PATH_BYTES];
    int n = (int)(path_base(file) - file);
    snprintf(dir, sizeof dir, "%.*s", n ? n : 1, n ? file : ".");
    return path_within(dir, x->run->dir.path) && path_within(x->run->dir.path, dir);
}

/* From a checkpoint of this run's own directory the run goes back to it: the newer ones are removed
 * and made again (kept, they would leave a gap in metrics.jsonl). From one elsewhere: a run of its
 * own. */
static int resume_file(const struct resume *x, const char *file, struct err *e)
{
    bool damaged = false, own = is_own(x, file), used = false;
    size_t n = 0;
    if (dir_exists(file) || !file_exists(file)) {
        return err_set(e,
                       "--resume %s: %s, wanted auto, for the newest checkpoint in output.dir, or "
                       "a checkpoint's file (step-....h5)",
                       err_quotez(file), dir_exists(file) ? "is a directory" : "no such file");
    }
    int code = own ? 0 : rundir_used(&used, x->run->config->output.dir, e);
    if (code) return code;
    if (used) {
        err_usage(e,
                  "%s: holds a run already, and %s does not belong to it; choose another "
                  "output.dir or give a checkpoint that lies in this one",
                  x->run->dir.path, file);
        return config_prefix(e, x->run->config, "output.dir", 0);
    }
    code = try_checkpoint(x, file, &damaged, e);
    const struct checkpoint *s = &x->work->state;
    bool early = advice_ends_early(s, x->run->config->train.early_stopping_patience);
    if (!code && !own && (s->step == s->total_steps || early) && !s->eval_pending) {
        return err_usage(
            e,
            "%s: is of the last step%s: nothing is left to train in another output.dir; "
            "generate, eval and merge take it as --adapter, and a new run as "
            "adapter.init_from",
            err_quotez(file), early ? " before train.early_stopping_patience ends the run" : "");
    }
    if (!code && own) code = rundir_prune_after(&x->run->dir, x->work->state.step, &n, e);
    if (!code && n > 0) {
        progress_note(x->progress, "removed: %s, which this run makes again",
                      str_count(n, "newer checkpoint"));
    }
    return code;
}

/* All ranks go on from what the first rank found. */
static int share(struct training *w, struct err *e)
{
    struct checkpoint *s = &w->state;
    size_t n = s->adapter->n_params * sizeof *s->params;
    void *const small[] = { &s->step, &s->eval_pending, &s->best_eval_loss, &s->best_step };
    const size_t bytes[] = { sizeof s->step, sizeof s->eval_pending, sizeof s->best_eval_loss,
                             sizeof s->best_step };
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) ranks_broadcast(small[i], bytes[i]);
    ranks_broadcast(&w->course.schedule, sizeof w->course.schedule);
    ranks_broadcast(s->params, n);
    ranks_broadcast(s->m, n);
    ranks_broadcast(s->v, n);
    ranks_broadcast(s->loss, (size_t)s->step * sizeof *s->loss);
    struct history *h = &s->history;
    size_t evals = h->n;
    ranks_broadcast(&evals, sizeof evals);
    int code = ranks_agree(history_reserve(h, evals, e), e);
    if (code) return code;
    h->n = evals;
    ranks_broadcast(h->step, evals * sizeof *h->step);
    ranks_broadcast(h->loss, evals * sizeof *h->loss);
    return 0;
}

int resume_from(const struct resume *x, const struct train_options *o, struct err *e)
{
    int code = 0;
    if (x->run && o->resume == RESUME_NEVER) {
        code = prepare_fresh(x->run->config, e); /* again: the lock now keeps others out */
        if (code) config_prefix(e, x->run->config, "output.dir", 0);
    }
    if (x->run && o->resume == RESUME_AUTO) code = resume_auto(x, e);
    if (x->run && o->resume == RESUME_FILE) code = resume_file(x, o->resume_file, e);
    code = ranks_agree(code, e);
    if (!code) code = share(x->work, e);
    x->work->state.warmup = x->work->course.schedule.warmup;
    return code;
}
