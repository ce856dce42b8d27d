/* The state of a run after a step: all that the next step's bits depend on, in one HDF5 file.
 *
 *   format, format_version, version     "lorac-checkpoint", 1, the program's
 *   step, total_steps, eval_pending     steps done; of how many; whether the evaluation that is due
 *                                       at this step has yet to be made
 *   schedule/warmup                     warm-up steps; not in those of version 0.1
 *   adapter/params, optimizer/m, optimizer/v    flat, in the order of model/lora.h
 *   adapter/r, adapter/alpha, adapter/targets, adapter/layers    what that order needs
 *   config                              resolved, as YAML
 *   split_rule                          SPLIT_RULE of data/dataset.h: how a fraction was kept
 *                                       aside; absent: 1
 *   base_sha256, data_sha256            of the files
 *   isa, gemm, compute, product_isa     what computed it, as in struct kernels; absent: compute is
 *                                       f32
 *   history/loss                        of every step so far
 *   history/eval_step, eval_loss        of every evaluation so far; absent: none is known
 *   best/eval_loss, best/step           NaN and 0: none yet; a number and 0: that of the start,
 *                                       which nothing beat so far
 * Randomness is counter-based and the data order follows from seed and step: neither has state. */
#ifndef LORAC_TRAIN_CHECKPOINT_H
#define LORAC_TRAIN_CHECKPOINT_H

#include "src/model/adapter.h"
#include "src/train/history.h"

/* The warm-up that a checkpoint does not name. */
#define CHECKPOINT_NO_WARMUP UINT64_MAX

struct checkpoint {
    uint64_t step, total_steps, warmup;
    bool eval_pending;
    double best_eval_loss;
    uint64_t best_step;
    const struct adapter *adapter; /* its layout; params below */
    real *params, *m, *v;
    double *loss; /* (total_steps), the first `step` valid */
    struct history history;
    const char *config, *base_sha256, *data_sha256, *isa, *gemm;
    const char *compute, *product_isa; /* NULL: not written, as by version 0.1 */
};

int checkpoint_save(const struct checkpoint *c, const char *path, mode_t mode, struct err *e);

/* About how large the file of such an adapter and such a run is. */
uint64_t checkpoint_bytes(const struct adapter *a, uint64_t total_steps);

/* What is needed to decide whether a run may go on from a file, before its arrays are read. */
struct checkpoint_start {
    uint64_t step, total_steps, split_rule;
    int64_t warmup; /* -1: it does not say */
    struct str config, base_sha256, data_sha256, isa, gemm, version;
    struct str compute, product_isa; /* "f32" and empty where the file does not say */
};
int checkpoint_read_start(struct checkpoint_start *h, const char *path, struct err *e);
void checkpoint_start_free(struct checkpoint_start *h);

/* Fill step, eval_pending, best_*, params, m, v, loss and history of c, whose adapter and
 * total_steps say what is wanted. The caller frees the history, also after failure. */
int checkpoint_load(struct checkpoint *c, const char *path, struct err *e);

/* The adapter alone, for a base of this shape, as adapter_load(). */
int checkpoint_adapter(struct adapter *a, const struct dims *s, const char *path, struct err *e);

/* How many numbers the adapter and its moments have, and how many of these are NaN or infinite. */
int checkpoint_count(size_t *all, size_t *bad, const char *path, struct err *e);

#endif
