#include "src/train/checkpoint.h"

#include <math.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/data/dataset.h"
#include "src/formats/h5.h"

static const char format_name[] = "lorac-checkpoint";
enum { FORMAT_VERSION = 1 };

static const enum h5_type real_type = sizeof(real) == 8 ? H5_TYPE_F64 : H5_TYPE_F32;

/* ---- writing --------------------------------------------------------------------------------- */

static int put_texts(struct h5_writer *w, const struct checkpoint *c, struct err *e)
{
    const struct {
        const char *name, *text;
    } texts[] = {
        { "format", format_name },
        { "version", LORAC_VERSION },
        { "config", c->config },
        { "base_sha256", c->base_sha256 },
        { "data_sha256", c->data_sha256 },
        { "isa", c->isa },
        { "gemm", c->gemm },
        { "compute", c->compute },
        { "product_isa", c->product_isa },
    };
    int code = 0;
    for (size_t i = 0; !code && i < sizeof texts / sizeof *texts; i++)
        if (texts[i].text)
            code = h5_put_text(w, texts[i].name, texts[i].text, strlen(texts[i].text), e);
    return code;
}

static int put_numbers(struct h5_writer *w, const struct checkpoint *c, struct err *e)
{
    const struct {
        const char *name;
        uint64_t v;
    } numbers[] = {
        { "format_version", FORMAT_VERSION },
        { "split_rule", SPLIT_RULE },
        { "step", c->step },
        { "total_steps", c->total_steps },
        { "eval_pending", c->eval_pending },
        { "best/step", c->best_step },
        { "adapter/r", c->adapter->r },
        { "adapter/targets", c->adapter->modules },
        { "adapter/layers", c->adapter->dims.layers },
    };
    int code = 0;
    for (size_t i = 0; !code && i < sizeof numbers / sizeof *numbers; i++)
        code = h5_put_i64(w, numbers[i].name, (int64_t)numbers[i].v, e);
    if (!code && c->warmup != CHECKPOINT_NO_WARMUP)
        code = h5_put_i64(w, "schedule/warmup", (int64_t)c->warmup, e);
    if (!code) code = h5_put_f64(w, "best/eval_loss", c->best_eval_loss, e);
    if (!code) code = h5_put_f64(w, "adapter/alpha", c->adapter->lora_alpha, e);
    return code;
}

static int put_arrays(struct h5_writer *w, const struct checkpoint *c, struct err *e)
{
    uint64_t n = c->adapter->n_params, steps = c->step;
    int code = h5_put(w, "adapter/params", real_type, c->params, 1, &n, e);
    if (!code) code = h5_put(w, "optimizer/m", real_type, c->m, 1, &n, e);
    if (!code) code = h5_put(w, "optimizer/v", real_type, c->v, 1, &n, e);
    if (!code) code = h5_put(w, "history/loss", H5_TYPE_F64, c->loss, 1, &steps, e);
    const struct history *h = &c->history;
    uint64_t evals = h->n;
    if (!code && evals) code = h5_put(w, "history/eval_step", H5_TYPE_I64, h->step, 1, &evals, e);
    if (!code && evals) code = h5_put(w, "history/eval_loss", H5_TYPE_F64, h->loss, 1, &evals, e);
    return code;
}

/* NaN and infinity are never saved, and no run goes on from them. */
static int check_finite(const struct checkpoint *c, const char *path, const char *remedy,
                        struct err *e)
{
    const real *arrays[] = { c->params, c->m, c->v };
    static const char *const names[] = { "adapter", "first moment", "second moment" };
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < c->adapter->n_params; i++)
            if (!isfinite(arrays[k][i])) {
                return err_set(e, "%s: step %llu: the %s holds NaN or infinity; %s", path,
                               (unsigned long long)c->step, names[k], remedy);
            }
    return 0;
}

int checkpoint_save(const struct checkpoint *c, const char *path, mode_t mode, struct err *e)
{
    struct h5_writer w;
    int code = check_finite(c, path, "no checkpoint is written", e);
    if (code) return code;
    code = h5_create(&w, path, mode, e);
    if (!code) code = put_texts(&w, c, e);
    if (!code) code = put_numbers(&w, c, e);
    if (!code) code = put_arrays(&w, c, e);
    if (!code) return h5_commit(&w, e);
    h5_abort(&w);
    return code;
}

uint64_t checkpoint_bytes(const struct adapter *a, uint64_t total_steps)
{
    enum { AROUND = 1 << 20 }; /* what h5.h reserves for the library's own structures */
    return 3 * sizeof(real) * (uint64_t)a->n_params + 8 * total_steps + AROUND;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int get_u64(uint64_t *v, const struct h5_reader *r, const char *name, struct err *e)
{
    int64_t i;
    int code = h5_get_i64(&i, r, name, e);
    if (!code && i < 0) {
        code = err_set(e, "%s: %s is %lld, wanted 0 or more", r->path, name, (long long)i);
    }
    if (!code) *v = (uint64_t)i;
    return code;
}

static int check_format(const struct h5_reader *r, struct err *e)
{
    struct str format = { 0 };
    uint64_t version = 0;
    int code = h5_get_text(&format, r, "format", e);
    if (!code && (!format.p || strcmp(format.p, format_name) != 0)) {
        code = err_set(e, "%s: is not a lorac checkpoint", r->path);
    }
    str_free(&format);
    if (!code) code = get_u64(&version, r, "format_version", e);
    if (!code && version != FORMAT_VERSION) {
        code = err_set(e, "%s: format version is %llu, this program reads %d", r->path,
                       (unsigned long long)version, FORMAT_VERSION);
    }
    return code;
}

/* The same where the file may not have it: *v then stays. */
static int get_optional(int64_t *v, const struct h5_reader *r, const char *name, struct err *e)
{
    bool has;
    uint64_t found = 0;
    int code = h5_has(&has, r, name, e);
    if (code || !has) return code;
    code = get_u64(&found, r, name, e);
    if (!code) *v = (int64_t)found;
    return code;
}

/* The texts that version 0.1 did not write. */
static int get_compute(struct checkpoint_start *h, const struct h5_reader *r, struct err *e)
{
    bool has;
    int code = h5_has(&has, r, "compute", e);
    if (!code && !has) {
        str_addz(&h->compute, compute_name(COMPUTE_F32));
        return str_error(&h->compute, e);
    }
    if (!code) code = h5_get_text(&h->compute, r, "compute", e);
    if (!code) code = h5_has(&has, r, "product_isa", e);
    return !code && has ? h5_get_text(&h->product_isa, r, "product_isa", e) : code;
}

int checkpoint_read_start(struct checkpoint_start *h, const char *path, struct err *e)
{
    struct h5_reader r;
    *h = (struct checkpoint_start){ 0 };
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = check_format(&r, e);
    if (!code) code = get_u64(&h->step, &r, "step", e);
    if (!code) code = get_u64(&h->total_steps, &r, "total_steps", e);
    h->warmup = -1;
    if (!code) code = get_optional(&h->warmup, &r, "schedule/warmup", e);
    int64_t rule = 1; /* without a number: the first rule */
    if (!code) code = get_optional(&rule, &r, "split_rule", e);
    h->split_rule = (uint64_t)rule;
    if (!code) code = h5_get_text(&h->config, &r, "config", e);
    if (!code) code = h5_get_text(&h->base_sha256, &r, "base_sha256", e);
    if (!code) code = h5_get_text(&h->data_sha256, &r, "data_sha256", e);
    if (!code) code = h5_get_text(&h->isa, &r, "isa", e);
    if (!code) code = h5_get_text(&h->gemm, &r, "gemm", e);
    if (!code) code = h5_get_text(&h->version, &r, "version", e);
    if (!code) code = get_compute(h, &r, e);
    h5_close(&r);
    if (code) checkpoint_start_free(h);
    return code;
}

void checkpoint_start_free(struct checkpoint_start *h)
{
    str_free(&h->config);
    str_free(&h->base_sha256);
    str_free(&h->data_sha256);
    str_free(&h->isa);
    str_free(&h->gemm);
    str_free(&h->version);
    str_free(&h->compute);
    str_free(&h->product_isa);
}

static int get_arrays(struct checkpoint *c, const struct h5_reader *r, struct err *e)
{
    uint64_t n = c->adapter->n_params, steps = c->step;
    int code = h5_get(c->params, r, "adapter/params", real_type, 1, &n, e);
    if (!code) code = h5_get(c->m, r, "optimizer/m", real_type, 1, &n, e);
    if (!code) code = h5_get(c->v, r, "optimizer/v", real_type, 1, &n, e);
    if (!code) code = h5_get(c->loss, r, "history/loss", H5_TYPE_F64, 1, &steps, e);
    return code;
}

static int check_history(const struct checkpoint *c, const struct h5_reader *r, struct err *e)
{
    const struct history *h = &c->history;
    for (size_t i = 0; i < h->n; i++) {
        int64_t least = i ? h->step[i - 1] + 1 : 0;
        if (h->step[i] < least || (uint64_t)h->step[i] > c->step) {
            return err_set(e, "%s: history/eval_step: found %lld, wanted %lld to %llu", r->path,
                           (long long)h->step[i], (long long)least, (unsigned long long)c->step);
        }
        if (!isfinite(h->loss[i]))
            return err_set(e, "%s: history/eval_loss holds NaN or infinity", r->path);
    }
    return 0;
}

/* Each step is evaluated at most once, and the start. */
static int get_history(struct checkpoint *c, const struct h5_reader *r, struct err *e)
{
    bool has;
    size_t found = 0;
    struct history *h = &c->history;
    h->n = 0;
    int code = h5_has(&has, r, "history/eval_step", e);
    if (code || !has) return code;
    code = h5_length(&found, r, "history/eval_step", H5_TYPE_I64, e);
    if (!code && found > c->step + 1) {
        code = err_set(e, "%s: history/eval_step: found %s after %s", r->path,
                       str_count(found, "evaluation"), str_count(c->step, "step"));
    }
    uint64_t n = found;
    if (!code) code = history_reserve(h, found, e);
    if (!code) code = h5_get(h->step, r, "history/eval_step", H5_TYPE_I64, 1, &n, e);
    if (!code) code = h5_get(h->loss, r, "history/eval_loss", H5_TYPE_F64, 1, &n, e);
    if (code) return code;
    h->n = found;
    return check_history(c, r, e);
}

int checkpoint_load(struct checkpoint *c, const char *path, struct err *e)
{
    struct h5_reader r;
    uint64_t pending = 0, modules = 0, lora_r = 0;
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = check_format(&r, e);
    if (!code) code = get_u64(&c->step, &r, "step", e);
    if (!code) code = get_u64(&pending, &r, "eval_pending", e);
    if (!code) code = get_u64(&c->best_step, &r, "best/step", e);
    if (!code) code = h5_get_f64(&c->best_eval_loss, &r, "best/eval_loss", e);
    if (!code) code = get_u64(&lora_r, &r, "adapter/r", e);
    if (!code) code = get_u64(&modules, &r, "adapter/targets", e);
    if (!code && (lora_r != c->adapter->r || modules != c->adapter->modules)) {
        code = err_set(e, "%s: holds an adapter of rank %llu on other modules, wanted rank %zu",
                       path, (unsigned long long)lora_r, c->adapter->r);
    }
    if (!code && c->step > c->total_steps) {
        code = err_set(e, "%s: step is %llu, the run has %llu", path, (unsigned long long)c->step,
                       (unsigned long long)c->total_steps);
    }
    if (!code && pending > 1) {
        code = err_set(e, "%s: eval_pending is %llu, wanted 0 or 1", path,
                       (unsigned long long)pending);
    }
    if (!code) code = get_arrays(c, &r, e);
    if (!code) code = get_history(c, &r, e);
    if (!code) code = check_finite(c, path, "wanted numbers", e);
    c->eval_pending = pending != 0;
    h5_close(&r);
    return code;
}

/* More rows than any layer has: what a damaged file claims is not allocated. */
enum { R_MOST = 1 << 16 };

static int get_adapter(struct adapter *a, const struct h5_reader *r, const struct dims *s,
                       struct err *e)
{
    uint64_t lora_r = 0, modules = 0, layers = 0;
    double alpha = 0;
    int code = check_format(r, e);
    if (!code) code = get_u64(&lora_r, r, "adapter/r", e);
    if (!code) code = get_u64(&modules, r, "adapter/targets", e);
    if (!code) code = get_u64(&layers, r, "adapter/layers", e);
    if (!code) code = h5_get_f64(&alpha, r, "adapter/alpha", e);
    if (code) return code;
    if (!lora_r || lora_r > R_MOST || !modules || modules >> MODULES || !(alpha > 0)) {
        return err_set(e, "%s: the adapter's rank, modules or alpha make no sense", r->path);
    }
    if (layers != s->layers) {
        return err_set(e, "%s: holds an adapter for another base: found %s, wanted %zu", r->path,
                       str_count(layers, "layer"), s->layers);
    }
    adapter_layout(a, s, (size_t)lora_r, alpha, (unsigned)modules);
    uint64_t n = a->n_params;
    size_t found = 0;
    code = h5_length(&found, r, "adapter/params", real_type, e);
    if (!code && found != n) {
        code = err_set(e, "%s: holds an adapter for another base: found %s, wanted %zu", r->path,
                       str_count(found, "parameter"), a->n_params);
    }
    if (!code) code = adapter_place(a, e);
    return code ? code : h5_get(a->params, r, "adapter/params", real_type, 1, &n, e);
}

int checkpoint_adapter(struct adapter *a, const struct dims *s, const char *path, struct err *e)
{
    struct h5_reader r;
    *a = (struct adapter){ 0 };
    int code = h5_open(&r, path, e);
    if (code) return code;
    code = get_adapter(a, &r, s, e);
    h5_close(&r);
    if (code) adapter_free(a);
    return code;
}

/* Read whole, one array after the other. */
static int count_array(size_t *all, size_t *bad, const struct h5_reader *r, const char *name,
                       struct err *e)
{
    size_t n = 0;
    int code = h5_length(&n, r, name, real_type, e);
    real *x = code ? NULL : mem_alloc(n, sizeof *x, e);
    if (!x) return e->code;
    uint64_t dims = n;
    code = h5_get(x, r, name, real_type, 1, &dims, e);
    for (size_t i = 0; !code && i < n; i++) *bad += !isfinite(x[i]);
    *all += n;
    mem_free(x);
    return code;
}

int checkpoint_count(size_t *all, size_t *bad, const char *path, struct err *e)
{
    static const char *const names[] = { "adapter/params", "optimizer/m", "optimizer/v" };
    struct h5_reader r;
    int code = h5_open(&r, path, e);
    if (code) return code;
    *all = *bad = 0;
    code = check_format(&r, e);
    for (size_t i = 0; !code && i < sizeof names / sizeof *names; i++)
        code = count_array(all, bad, &r, names[i], e);
    h5_close(&r);
    return code;
}
