/* Checkpoints as older versions wrote them. */
#ifndef LORAC_TESTS_OLD_CHECKPOINT_H
#define LORAC_TESTS_OLD_CHECKPOINT_H

#include "tests/train_util.h"

#include "src/model/adapter.h"
#include "src/train/checkpoint.h"

/* Write the checkpoint of step 2 of 4 in `dir`, of a run on a golden model that began from its
 * adapter's shape, again, as `change` leaves it: an older lorac wrote less into it. c->compute and
 * c->product_isa are not set. */
static inline void rewrite_checkpoint(const char *golden, const char *dir,
                                      void (*change)(struct checkpoint *c,
                                                     struct checkpoint_start *h, void *to),
                                      void *to)
{
    char path[PATH_BYTES], model[PATH_BYTES], start[PATH_BYTES];
    struct err e;
    struct llama m;
    struct adapter a;
    struct checkpoint_start h;
    struct str notes = { 0 };
    struct adapter_base base = { &m.dims, &m, &notes };
    double loss[4];
    snprintf(path, sizeof path, "%s/step-000002.h5", dir);
    snprintf(model, sizeof model, "%s/%s/model", golden_root(), golden);
    snprintf(start, sizeof start, "%s/%s/adapter", golden_root(), golden);
    if (llama_open_headers(&m, model, &e) || adapter_load(&a, &base, start, &e) ||
        checkpoint_read_start(&h, path, &e))
        fail_msg("%s", e.msg);
    real *mean = calloc(a.n_params, sizeof *mean), *square = calloc(a.n_params, sizeof *square);
    struct checkpoint c = {
        .total_steps = 4, .adapter = &a, .params = a.params, .m = mean, .v = square, .loss = loss
    };
    if (checkpoint_load(&c, path, &e)) fail_msg("%s", e.msg);
    c.warmup = (uint64_t)h.warmup;
    c.config = h.config.p, c.base_sha256 = h.base_sha256.p, c.data_sha256 = h.data_sha256.p;
    c.isa = h.isa.p, c.gemm = h.gemm.p;
    change(&c, &h, to);
    if (checkpoint_save(&c, path, 0600, &e)) fail_msg("%s", e.msg);
    free(mean);
    free(square);
    history_free(&c.history);
    str_free(&notes);
    checkpoint_start_free(&h);
    adapter_free(&a);
    llama_close(&m);
}

#endif
