#include "src/train/run.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "src/base/machine.h"
#include "src/base/term.h"
#include "src/train/disk.h"
#include "src/train/publish.h"

/* ---- beginning ------------------------------------------------------------------------------- */

/* The files of an adapter follow the umask: only their directory keeps others out, and one that was
 * there already keeps its mode. */
static void note_open_directory(struct run *r)
{
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    bool hidden = !r->config->output.private || (mask & 0044) == 0044;
    if (hidden || *r->dir.made || stat(r->dir.path, &st) != 0 || !(st.st_mode & 0011)) return;
    str_addf(
        &r->work->setup.notes,
        "output.dir %s was there already, with mode %o: others can read the adapters in it (what "
        "holds training text stays private); chmod 700 it if they must not\n",
        r->dir.path, (unsigned)st.st_mode & 0777);
}

int run_print_config(struct run *r, struct err *e)
{
    struct config whole = course_config(&r->work->course, r->config);
    str_clear(&r->config_text);
    config_print(&r->config_text, &whole);
    r->work->state.config = r->config_text.p;
    return str_error(&r->config_text, e);
}

/* The directory is made and locked after everything that does not need it: a run that is refused
 * before that leaves nothing. */
int run_open(struct run *r, const struct config *c, struct training *w, struct err *e)
{
    *r = (struct run){
        .config = c,
        .work = w,
        .dir = { .lock.fd = -1 },
        .saved_step = RUN_NEVER,
        .saved_s = term_now_s(),
        .eval_loss = NAN,
    };
    hex_of(r->data_sha256, w->setup.data.sha256);
    w->state.data_sha256 = r->data_sha256;
    w->state.base_sha256 = r->inputs.base_sha256;
    int code = run_print_config(r, e);
    if (!code) code = inputs_begin(&r->inputs, c, &w->setup, e);
    if (code) return code;
    code = rundir_open(&r->dir, c->output.dir, c->output.private, e);
    if (code) return config_prefix(e, c, "output.dir", 0);
    note_open_directory(r);
    return 0;
}

void run_close(struct run *r)
{
    if (!r) return;
    inputs_free(&r->inputs);
    manifest_free(&r->manifest);
    metrics_close(&r->metrics);
    str_free(&r->config_text);
    rundir_close(&r->dir);
}

/* Room for what the run will leave, less what is there already. */
static int check_room(const struct run *r, struct err *e)
{
    struct disk d = disk_plan(r->config, &r->work->learner.adapter, &r->work->course);
    uint64_t newest;
    size_t there;
    int code = rundir_list(&newest, 1, &there, &r->dir, e);
    if (code) return code;
    if (there) d.checkpoints--, d.adapters = 0;
    d.log_bytes = 0; /* it grows slowly, and a run without room for it stops with a checkpoint */
    return space_need(r->dir.path, disk_bytes(&d), "this run writes",
                      "free some, lower train.save_total_limit or adapter.r, or choose another "
                      "output.dir",
                      e);
}

static int write_config(struct run *r, struct err *e)
{
    char path[PATH_BYTES];
    int code = rundir_path(path, &r->dir, "config.yaml", e);
    if (code) return code;
    return file_replace(path, r->config_text.p, r->config_text.n, rundir_mode(&r->dir), e);
}

/* Also after an error that came when the file was in its place: the lock must then stay beside it,
 * since config.yaml alone is not the sign of a run. */
static bool has_config(const struct run *r)
{
    struct err ignored;
    char path[PATH_BYTES];
    return !rundir_path(path, &r->dir, "config.yaml", &ignored) && file_exists(path);
}

static int begin_manifest(struct run *r, bool goes_on, struct err *e)
{
    struct manifest_about about = { &r->dir, &r->inputs, r->work };
    return manifest_begin(&r->manifest, &about, goes_on, *r->resumed_from ? r->resumed_from : NULL,
                          e);
}

int run_begin(struct run *r, bool goes_on, struct err *e)
{
    char path[PATH_BYTES];
    if (!r) return 0;
    int code = check_room(r, e);
    if (code) return config_prefix(e, r->config, "output.dir", 0);
    code = begin_manifest(r, goes_on, e);
    if (!code) code = manifest_replacing_config(&r->manifest, e);
    if (!code) code = write_config(r, e);
    r->dir.begun = has_config(r);
    if (code) return code;
    code = rundir_path(path, &r->dir, "metrics.jsonl", e);
    const struct checkpoint *s = &r->work->state;
    const struct metrics_place at = { *r->resumed_from != 0, s->eval_pending, s->step };
    if (!code) code = metrics_open(&r->metrics, path, &at, r->dir.is_private, e);
    return code ? code : manifest_write(&r->manifest, "running", NULL, e);
}

bool run_is_finished(const struct run *r)
{
    return manifest_has_status(&r->dir, "finished");
}

int run_finish_leftovers(struct run *r, const char *why, struct err *e)
{
    if (!r) return 0;
    r->dir.begun = true;
    int code = rundir_prune(&r->dir, (size_t)r->config->train.save_total_limit, e);
    if (code || run_is_finished(r)) return code;
    code = begin_manifest(r, true, e);
    return code ? code : manifest_write(&r->manifest, "finished", why, e);
}

/* ---- adapters and checkpoints ---------------------------------------------------------------- */

/* run.json speaks of what is about to appear before it does: whoever looks at a run that was killed
 * in between finds each file as the record says, of this step or of the one before. */
static int publish(struct run *r, const char *name, struct err *e)
{
    char tmp[PATH_BYTES];
    const struct config *c = r->config;
    const struct template *t = r->work->setup.template;
    struct adapter_notes notes = {
        .template = (char *)(uintptr_t)(t ? template_definition(t) : NULL),
        .train_on = (char *)(uintptr_t)train_on_name(c->data.train_on),
        .compute = (char *)(uintptr_t)compute_name(c->train.compute),
        .base_sha256 = r->inputs.base_sha256,
        .base_fingerprint = r->inputs.base_fingerprint,
        .base_path = c->model.path,
        .data_sha256 = r->data_sha256,
        .step = r->work->state.step,
        .eval_loss = r->eval_loss,
    };
    int code = rundir_replace_begin(tmp, &r->dir, name, e);
    if (code) return code;
    code = publish_adapter_in(&r->work->learner.adapter, c->adapter.lora_dropout, &notes, tmp, e);
    if (!code) code = manifest_publishing(&r->manifest, name, tmp, e);
    if (!code) code = rundir_replace_commit(tmp, &r->dir, name, e);
    if (code) {
        rundir_replace_abort(tmp);
        return code;
    }
    return manifest_published(&r->manifest, name, e);
}

/* First the files that go with the checkpoint are written, then the checkpoint: a run that is
 * killed in between goes on from an earlier one and makes the same again. After the last checkpoint
 * there is no such run. */
int run_save(struct run *r, struct err *e)
{
    char path[PATH_BYTES];
    if (!r) return 0;
    int code = inputs_base_hash(&r->inputs, &r->work->setup.model, e);
    if (!code) code = metrics_sync(&r->metrics, e);
    if (!code) manifest_drop_checkpoint(&r->manifest);
    if (!code) code = publish(r, "adapter", e);
    if (!code) code = rundir_checkpoint(path, &r->dir, r->work->state.step, e);
    if (!code) code = checkpoint_save(&r->work->state, path, rundir_mode(&r->dir), e);
    if (!code) code = manifest_checkpoint(&r->manifest, path, e);
    if (!code) code = manifest_write(&r->manifest, "running", NULL, e);
    if (!code) code = rundir_prune(&r->dir, (size_t)r->config->train.save_total_limit, e);
    r->saved_step = r->work->state.step;
    r->saved_s = term_now_s();
    return code;
}

/* ---- the course ------------------------------------------------------------------------------ */

int run_step(struct run *r, const struct step_result *s, double rate, double seconds, struct err *e)
{
    if (!r) return 0;
    uint64_t step = r->work->state.step;
    struct step_metrics m = {
        .step = step,
        .epoch = (double)step / (double)r->work->course.steps_per_epoch,
        .loss = s->loss,
        .learning_rate = rate,
        .grad_norm = s->grad_norm,
        .tokens = s->tokens,
        .tokens_computed = s->rows,
        .targets = s->targets,
        .tokens_per_s = (double)s->tokens / seconds,
        .memory_bytes = machine_memory_resident(),
    };
    r->eval_loss = NAN;
    return metrics_step(&r->metrics, &m, e);
}

int run_eval(struct run *r, const struct evaluation *v, bool best, struct err *e)
{
    if (!r) return 0;
    r->eval_loss = v->loss;
    uint64_t step = r->work->state.step;
    int code = metrics_eval(&r->metrics, step, v, e);
    if (code || !best || step == 0) return code;
    code = inputs_base_hash(&r->inputs, &r->work->setup.model, e);
    if (!code) code = publish(r, "best", e);
    return code ? code : manifest_write(&r->manifest, "running", NULL, e);
}

/* A run that failed gets its hashes, too. */
int run_end(struct run *r, const char *status, const char *why, struct err *e)
{
    if (!r) return 0;
    int code = inputs_base_hash(&r->inputs, &r->work->setup.model, e);
    int written = manifest_write(&r->manifest, status, why, e);
    return code ? code : written;
}

int run_finish(struct run *r, const char *why, struct err *e)
{
    return run_end(r, "finished", why, e);
}

int run_needs_room(const struct run *r, struct err *e)
{
    char size[HUMAN_BYTES];
    e->code = ERR_FAIL;
    if (!r || !r->dir.begun) return err_append(e, "make room there");
    const struct training *w = r->work;
    human_bytes(size, (double)checkpoint_bytes(&w->learner.adapter, w->course.total));
    return err_append(e,
                      "make room there (a checkpoint takes %s, and train.save_total_limit says how "
                      "many are kept), then go on with the same command and --resume auto",
                      size);
}
