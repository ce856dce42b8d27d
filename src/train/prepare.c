#include "src/train/prepare.h"

#include "src/base/file.h"
#include "src/train/budget.h"
#include "src/train/rundir.h"
#include "src/train/start.h"

int prepare_directory(const struct config *c, struct err *e)
{
    if (dir_exists(c->model.path) && path_within(c->output.dir, c->model.path)) {
        return err_usage(e, "lies inside the base model %s", c->model.path);
    }
    return rundir_look(c->output.dir, c->file, e);
}

int prepare_learner(struct learner *l, struct setup *s, const struct config *c, bool map,
                    struct err *e)
{
    const struct kernels *k;
    struct adapter from = { 0 };
    bool loaded = c->adapter.init_from != NULL;
    const struct dataset *d = &s->data;
    int code = setup_kernels(&k, e);
    if (!code && loaded) code = start_adapter(&from, c, s, e);
    if (!code) {
        code = learner_plan(l, c, &s->model, loaded ? &from : NULL, &d->train, &d->validation, k,
                            budget_bytes(c, budget_other_bytes(s)), e);
    }
    if (!code && map) code = learner_map(l, c, loaded ? &from : NULL, e);
    adapter_free(&from);
    return code;
}

int prepare_course(struct course *k, const struct setup *s, const struct config *c, struct err *e)
{
    int code = setup_sampler(&k->sampler, s, c, e);
    if (code) return code;
    k->steps_per_epoch = schedule_steps_per_epoch(c, k->sampler.n);
    k->total = schedule_steps(c, k->steps_per_epoch);
    k->schedule = schedule_of(c, k->total);
    return 0;
}
