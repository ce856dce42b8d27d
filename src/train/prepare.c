#include "src/train/prepare.h"

#include <math.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/train/budget.h"
#include "src/train/ranks.h"
#include "src/train/rundir.h"
#include "src/train/start.h"

int prepare_directory(const struct config *c, bool fresh, struct err *e)
{
    const char *dir = c->output.dir;
    if (dir_exists(c->model.path) && path_within(dir, c->model.path)) {
        return err_usage(e, "lies inside the base model %s", c->model.path);
    }
    int code = rundir_look(dir, c->file, e);
    return !code && fresh ? prepare_fresh(c, e) : code;
}

int prepare_fresh(const struct config *c, struct err *e)
{
    const char *dir = c->output.dir;
    bool used = false;
    int code = rundir_used(&used, dir, e);
    if (code || !used) return code;
    return err_usage(e,
                     "%s: holds a run already; to go on with it add --resume auto, to begin afresh "
                     "choose another output.dir or remove it",
                     dir);
}

static int lay_out(struct training *t, const struct config *c, enum prepare_to to, struct err *e)
{
    struct adapter from = { 0 };
    struct setup *s = &t->setup;
    const struct dataset *d = &s->data;
    bool loaded = c->adapter.init_from != NULL;
    int code = loaded ? start_adapter(&from, c, s, e) : 0;
    if (!code) {
        size_t room = budget_bytes(c, budget_other_bytes(s), s->model.weight_bytes);
        code = learner_plan(&t->learner, c, &s->model, loaded ? &from : NULL, &d->train,
                            &d->validation, t->kernels, room, e);
    }
    code = ranks_agree(code, e); /* all have seen what is free before one takes it */
    if (!code && to == PREPARE_TO_TRAIN)
        code = learner_map(&t->learner, c, loaded ? &from : NULL, e);
    adapter_free(&from);
    return code;
}

static int check_patience(const struct training *t, const struct config *c, struct err *e)
{
    int64_t patience = c->train.early_stopping_patience;
    if (patience == CONFIG_NONE || t->setup.data.validation.n) return 0;
    return config_error(e, c, "train.early_stopping_patience",
                        "found %lld, but no records are kept aside to measure on; add "
                        "data.validation: 0.05 (a fraction) or a file, or leave "
                        "early_stopping_patience out",
                        (long long)patience);
}

static int open_validation(struct training *t, struct err *e)
{
    const struct examples *x = &t->setup.data.validation;
    const struct batch *b = &t->learner.batch;
    return x->n ? batch_init(&t->validation, x, b->batch_size, b->pass_tokens, b->share, e) : 0;
}

/* The state before the first step. */
static int begin_state(struct training *t, const struct config *c, struct err *e)
{
    struct learner *l = &t->learner;
    t->state = (struct checkpoint){
        .total_steps = t->course.total,
        .eval_pending = c->train.eval_on_start && t->setup.data.validation.n > 0,
        .best_eval_loss = NAN,
        .adapter = &l->adapter,
        .params = l->adapter.params,
        .m = l->m,
        .v = l->v,
        .loss = mem_alloc(t->course.total, sizeof *t->state.loss, e),
        .isa = t->kernels->isa,
        .gemm = t->kernels->gemm,
        .compute = compute_name(t->kernels->compute),
        .product_isa = t->kernels->product.isa,
    };
    return t->state.loss ? 0 : e->code;
}

int prepare(struct training *t, const struct config *c, enum prepare_to to, struct err *e)
{
    struct err why;
    bool plans = to == PREPARE_TO_PLAN;
    *t = (struct training){ 0 };
    int code = plans ? setup_open_headers(&t->setup, c, e) : setup_open(&t->setup, c, e);
    if (!code && plans && prepare_directory(c, true, &why))
        str_add_line(&t->setup.notes, "train will refuse output.dir: %s\n", why.msg);
    if (!code) code = setup_kernels(&t->kernels, c->train.compute, e);
    if (!code) setup_note_slow(&t->setup.notes, t->kernels, "train.compute: f32");
    if (code || to == PREPARE_TO_EVAL) return code;
    code = check_patience(t, c, e);
    if (!code) code = lay_out(t, c, to, e);
    if (!code) code = course_open(&t->course, &t->setup, &t->learner.adapter, c, e);
    if (!code) code = open_validation(t, e);
    if (code || plans) return code;
    return begin_state(t, c, e);
}

void training_free(struct training *t)
{
    mem_free(t->state.loss);
    history_free(&t->state.history);
    course_free(&t->course);
    batch_free(&t->validation);
    learner_free(&t->learner);
    setup_close(&t->setup);
}
