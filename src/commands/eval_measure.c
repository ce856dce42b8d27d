#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/commands/eval.h"
#include "src/commands/job.h"
#include "src/train/ranks.h"

enum { EVAL_BATCH = 32, EVAL_PASS_TOKENS = 2048 };

/* One evaluation as it goes on. Between two passes minutes can lie, so that the blocks of a pass
 * count: before each of them evaluate() asks whether to stop. */
struct exam_course {
    const struct batch *batch;
    const struct watch *watch;
    size_t layers, blocks; /* blocks begun of this pass */
    uint32_t *missed;
};

/* The examples of the batches before this one: all batches are taken in order. */
static size_t count_before(const struct batch *b)
{
    size_t least = b->examples->n;
    for (size_t i = 0; i < b->n; i++)
        if (b->order[i] < least) least = b->order[i];
    return least;
}

static bool asked(void *context)
{
    struct exam_course *c = context;
    const struct batch *b = c->batch;
    struct err ignored;
    double part = (double)c->blocks++ / (double)c->layers;
    double done = (double)(count_before(b) + b->first[b->pass_number]) +
                  part * (double)batch_pass_examples(b);
    return watch_step(c->watch, done, (double)b->examples->n, &ignored) != 0;
}

static void end_pass(void *to, const struct network *n, const struct batch *b)
{
    struct exam_course *c = to;
    c->blocks = 0;
    for (size_t i = 0; c->missed && i < batch_pass_examples(b); i++) {
        size_t missed;
        bool right = batch_example_right(&missed, b, i, n->hit);
        c->missed[batch_pass_example(b, i)] = right ? 0 : (uint32_t)missed;
    }
}

/* The numbers of one of the two, which `who` names. */
static int measure(struct evaluation *v, const char *who, const struct adapter *a,
                   struct exam_course *c, const struct session *s, struct batch *b,
                   const uint8_t *mute, struct err *e)
{
    struct network n = { 0 };
    struct network_limits limits = { .rows_max = b->rows_max, .seg_max = b->seg_max };
    const struct stop stop = { asked, c };
    const struct evaluate_observer observer = { end_pass, c };
    int code = network_plan(&n, &s->model, a, s->k, &limits, e);
    if (!code) code = network_map(&n, e);
    n.mute = (uint8_t *)(uintptr_t)mute;
    c->watch = job_watch("evaluating", who);
    if (!code)
        code = evaluate_observed(v, objective_named("sft"), &n, b, &stop, NULL, &observer, e);
    network_free(&n);
    if (code || isfinite(v->loss)) return code;
    return err_set(e,
                   "%s: the loss is not finite (%g), first in the pass of example %zu (counted "
                   "from 1): the model's or the adapter's numbers overflow",
                   who, v->loss, v->bad_example);
}

/* Each rank knows of the examples of its passes, and has 0 for the others. */
static int join_missed(uint32_t *missed, size_t n, int code, struct err *e)
{
    if (ranks_n() == 1) return code;
    uint32_t *work = code ? NULL : mem_alloc(n, sizeof *work, e);
    code = ranks_agree(code ? code : work ? 0 : e->code, e);
    if (!code) ranks_largest(missed, work, n);
    mem_free(work);
    return code;
}

int exam_measure(struct exam_result *out, const struct exam *x, bool compare, bool list,
                 struct err *e)
{
    struct batch b;
    uint8_t *mute = NULL;
    const struct session *s = x->session;
    const struct adapter *a = session_adapter(s);
    *out = (struct exam_result){ .compared = compare && a };
    int code = s->tok ? tokenizer_mute(&mute, s->tok, s->model.dims.V, e) : 0;
    if (!code && list) {
        out->missed = mem_alloc(x->examples->n, sizeof *out->missed, e);
        if (!out->missed) code = e->code;
    }
    if (!code) code = batch_init(&b, x->examples, EVAL_BATCH, EVAL_PASS_TOKENS, true, e);
    if (!code) {
        struct exam_course base = { .batch = &b, .layers = s->model.dims.layers }, own = base;
        own.missed = out->missed;
        if (out->compared) code = measure(&out->base, "the base", NULL, &base, s, &b, mute, e);
        if (!code)
            code = measure(&out->own, a ? "the adapter" : "the model", a, &own, s, &b, mute, e);
        if (list) code = join_missed(out->missed, x->examples->n, code, e);
        batch_free(&b);
    }
    mem_free(mute);
    return code;
}

void exam_result_free(struct exam_result *r)
{
    mem_free(r->missed);
    r->missed = NULL;
}
