#include "src/train/learner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/term.h"
#include "src/base/waiting.h"
#include "src/model/cost.h"
#include "src/train/ranks.h"

enum { PASS_TOKENS_AUTO = 2048 };

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* A bound on the passes of a batch: two neighbours together hold more than pass_tokens rows, or
 * they would be one. */
static size_t bound_passes(const struct batch *b)
{
    size_t longest = 0, n = b->examples_max;
    for (size_t i = 0; i < b->examples->n; i++)
        longest = largest(longest, b->examples->at[i + 1] - b->examples->at[i]);
    size_t bound = 2 * (n * longest / b->pass_tokens) + 2;
    return bound < n ? bound : n;
}

static void carve(struct learner *l, struct arena *a)
{
    size_t n = l->adapter.n_params;
    l->adapter.params = arena_take(a, n, sizeof(real));
    l->m = arena_take(a, n, sizeof(real));
    l->v = arena_take(a, n, sizeof(real));
    gradsum_carve(&l->sum, a, n, l->passes_max, ranks_n() > 1, l->net.k);
    l->ranks_values = ranks_work(n, l->passes_max);
    l->ranks_work = arena_take(a, l->ranks_values, sizeof(real));
}

static int plan_batches(struct learner *l, const struct config *c, const struct examples *train,
                        struct err *e)
{
    size_t pass_tokens = c->train.pass_tokens == CONFIG_NONE ? PASS_TOKENS_AUTO
                                                             : (size_t)c->train.pass_tokens;
    bool share = c->train.share_prefixes == CONFIG_SHARE_AUTO
                     ? c->adapter.lora_dropout == 0
                     : c->train.share_prefixes == CONFIG_SHARE_ON;
    int code = batch_init(&l->batch, train, (size_t)c->train.batch_size, pass_tokens, share, e);
    if (!code) l->passes_max = bound_passes(&l->batch);
    return code;
}

int learner_plan(struct learner *l, const struct config *c, const struct llama *base,
                 const struct adapter *from, const struct examples *train,
                 const struct examples *validation, const struct kernels *k, size_t budget_bytes,
                 struct err *e)
{
    *l = (struct learner){ .objective = objective_named("sft"),
                           .beta1 = c->train.adam_beta1,
                           .beta2 = c->train.adam_beta2,
                           .eps = c->train.adam_epsilon,
                           .weight_decay = c->train.weight_decay,
                           .max_grad_norm = c->train.max_grad_norm };
    if (from) {
        l->adapter = *from;
    } else {
        adapter_layout(&l->adapter, &base->dims, (size_t)c->adapter.r,
                       (double)c->adapter.lora_alpha, c->adapter.target_modules);
    }
    if (!l->objective->fits(train)) {
        return err_set(e, "the training examples have no %s, which objective %s needs",
                       l->objective->needs, l->objective->name);
    }
    int code = plan_batches(l, c, train, e);
    if (code) return code;
    struct batch other = { 0 };
    if (validation->n) {
        code = batch_init(&other, validation, l->batch.batch_size, l->batch.pass_tokens,
                          l->batch.share, e);
        if (code) return code;
    }
    l->net.k = k;
    carve(l, &l->arena);
    l->state_bytes = l->arena.used + l->adapter.n_params * sizeof(float); /* publishing: a copy */
    struct network_limits limits = {
        .rows_max = largest(l->batch.rows_max, other.rows_max),
        .seg_max = largest(l->batch.seg_max, other.seg_max),
        .train = true,
        .dropout = c->adapter.lora_dropout > 0,
        .bf16 = c->train.activations == CONFIG_ACTIVATIONS_BF16,
        .budget_bytes = budget_bytes > l->state_bytes ? budget_bytes - l->state_bytes
                        : budget_bytes                ? 1
                                                      : 0,
    };
    batch_free(&other);
    code = network_plan(&l->net, base, &l->adapter, k, &limits, e);
    l->net.drop = (struct dropout){ .p = (real)c->adapter.lora_dropout,
                                    .seed = (uint64_t)c->train.seed };
    return code;
}

int learner_map(struct learner *l, const struct config *c, const struct adapter *from,
                struct err *e)
{
    int code = arena_map(&l->arena, e);
    if (code) return code;
    carve(l, &l->arena);
    if (from) {
        memcpy(l->adapter.params, from->params, l->adapter.n_params * sizeof(real));
    } else {
        adapter_init(&l->adapter, (uint64_t)c->train.seed);
    }
    return network_map(&l->net, e);
}

void learner_free(struct learner *l)
{
    network_free(&l->net);
    batch_free(&l->batch);
    arena_unmap(&l->arena);
    *l = (struct learner){ 0 };
}

void learner_release(struct learner *l)
{
    arena_unmap(&l->net.arena);
}

size_t learner_bytes(const struct learner *l)
{
    return l->state_bytes + l->net.bytes;
}

/* ---- what must be a number ------------------------------------------------------------------- */

/* The error names examples by number, counted from 1, and never their text. */
static int not_finite(const struct learner *l, uint64_t step, const char *what, size_t first,
                      size_t last, struct err *e)
{
    enum { SHOWN = 12 };
    char list[SHOWN * 12 + 32];
    size_t n = last - first, at = 0;
    for (size_t i = 0; i < n && i < SHOWN; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%u", i ? ", " : "",
                               l->batch.order[first + i] + 1);
    if (n > SHOWN) snprintf(list + at, sizeof list - at, " and %zu more", n - SHOWN);
    return err_set(e,
                   "step %llu: %s not finite, with training example%s %s (counted from 1); the "
                   "last checkpoint is untouched; a lower train.learning_rate often helps, and "
                   "lorac inspect --verify tells whether the base is whole",
                   (unsigned long long)step, what, n == 1 ? "" : "s", list);
}

/* Finite when all of an array is: their squares fit a double. */
static double squares(const struct learner *l, const real *x)
{
    return l->net.k->sum_squares(x, l->adapter.n_params);
}

static bool is_finite(const struct learner *l, const real *x)
{
    return isfinite(squares(l, x));
}

static int check_pass(const struct learner *l, size_t number, uint64_t step, const char *what,
                      bool finite, struct err *e)
{
    const size_t *first = l->batch.first;
    return finite ? 0 : not_finite(l, step, what, first[number], first[number + 1], e);
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* Only the caller knows who asked for the stop. */
static int stopped(struct err *e)
{
    return err_code(e, ERR_STOPPED, "stopped");
}

/* One pass forward and back; its gradient into the tree. */
static int run_pass(struct learner *l, struct step_result *out, size_t number, uint64_t step,
                    struct err *e)
{
    struct network *n = &l->net;
    size_t layers = n->base->dims.layers;
    struct pass *p = batch_pass(&l->batch, number);
    double start = term_now_s(), loss;
    real scale = 1 / (real)l->objective->size(&l->batch);
    if (!objective_forward(&loss, l->objective, n, p, scale, true, l->stop)) return stopped(e);
    int code = check_pass(l, number, step, "the loss is", isfinite(loss), e);
    if (code) return code;
    double middle = term_now_s();
    if (!network_backward(n, p, 0, layers, l->sum.leaf, l->stop)) return stopped(e);
    code = check_pass(l, number, step, "the gradient is", is_finite(l, l->sum.leaf), e);
    if (code) return code;
    gradsum_add(&l->sum, loss);
    out->forward_s += middle - start;
    out->backward_s += term_now_s() - middle;
    return 0;
}

/* PyTorch's clip_grad_norm_: scaled to max / (norm + 1e-6), never up. */
static double clip_factor(double norm, double most)
{
    double factor = most > 0 ? most / (norm + 1e-6) : 1;
    return factor < 1 ? factor : 1;
}

static void update(struct learner *l, const real *grad, double norm, uint64_t step, double lr)
{
    struct adamw o = {
        .lr = (real)lr,
        .beta1 = (real)l->beta1,
        .beta2 = (real)l->beta2,
        .eps = (real)l->eps,
        .weight_decay = (real)l->weight_decay,
        .correction1 = (real)(1 - pow(l->beta1, (double)step)),
        .correction2 = (real)sqrt(1 - pow(l->beta2, (double)step)),
        .grad_scale = (real)clip_factor(norm, l->max_grad_norm),
    };
    l->net.k->adamw(l->adapter.params, l->m, l->v, grad, l->adapter.n_params, &o);
}

/* This rank's share of the passes. */
static int run_share(struct learner *l, struct step_result *out, uint64_t step, struct err *e)
{
    size_t from, to;
    int code = 0;
    cost_passes(&l->batch, &l->net.base->dims, &l->adapter);
    ranks_share(&from, &to, &l->batch);
    gradsum_begin(&l->sum, from);
    out->own_passes = to - from;
    for (size_t p = from; !code && p < to; p++) {
        code = run_pass(l, out, p, step, e);
        if (!code) tell_passed(l->listener, p + 1 - from, to - from);
    }
    return code;
}

/* The sums of the gradients' shares and of their losses, over all ranks. */
static real *sum_up(struct learner *l, struct step_result *out)
{
    double start = term_now_s();
    real *grad = ranks_sum_tree(&out->loss, &l->sum, l->ranks_work, l->ranks_values);
    out->loss /= l->objective->size(&l->batch);
    out->exchange_s = ranks_n() > 1 ? term_now_s() - start : 0;
    return grad;
}

/* Bits of numbers that depend on each value; false when one of those is not finite. */
static bool seal(uint64_t *out, const struct learner *l)
{
    const double all[] = { squares(l, l->adapter.params), squares(l, l->m), squares(l, l->v) };
    bool finite = true;
    *out = 0;
    for (size_t i = 0; i < 3; i++) {
        uint64_t bits;
        memcpy(&bits, &all[i], sizeof bits);
        *out = *out * 0x9e3779b97f4a7c15 + bits;
        finite &= isfinite(all[i]) != 0;
    }
    return finite;
}

static int make_step(struct learner *l, struct step_result *out, const uint32_t *which, size_t n,
                     uint64_t step, double lr, struct err *e)
{
    struct batch *b = &l->batch;
    batch_begin(b, which, n);
    *out = (struct step_result){
        .passes = b->n_passes, .tokens = b->tokens, .rows = b->rows, .targets = b->targets
    };
    l->net.drop.step = (uint32_t)step;
    int code = run_share(l, out, step, e);
    double done = term_now_s();
    code = ranks_agree(code, e);
    if (code) return code;
    double start = term_now_s();
    out->waiting_s = ranks_n() > 1 ? start - done : 0;
    real *grad = sum_up(l, out);
    out->grad_norm = sqrt(squares(l, grad));
    if (!isfinite(out->grad_norm)) return not_finite(l, step, "the gradients' sum is", 0, b->n, e);
    update(l, grad, out->grad_norm, step, lr);
    bool finite = seal(&out->seal, l);
    out->update_s = term_now_s() - start - out->exchange_s;
    return finite ? 0 : not_finite(l, step, "the updated adapter or its moments are", 0, b->n, e);
}

/* The whole step is one piece of work: where other programs compute, a region of all threads
 * between its passes would wait for a thread that has to get a core first. */
int learner_step(struct learner *l, struct step_result *out, const uint32_t *which, size_t n,
                 uint64_t step, double lr, struct err *e)
{
    waiting_begin();
    int code = make_step(l, out, which, n, step, lr, e);
    waiting_end();
    return code;
}
