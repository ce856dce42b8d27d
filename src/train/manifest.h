/* run.json: what the run was made of and what became of it, for whoever has to answer for it later.
 * Hashes and counts, never text of the data.
 *
 *   format, format_version     "lorac-run", 1
 *   program, compiler, libraries, host, cpu, isa, gemm, blas, threads, ranks
 *   compute                    the word of train.compute
 *   product_isa, product_why   in bf16: the set that computes the frozen products, whose bits are
 *                              those of all sets, and why it was chosen; else isa, and null
 *   product_f32_flops, product_bf16_flops    what was measured for that choice, if something was
 *   status                     running, finished, stopped (resume it), failed
 *   reason                     why it stopped or failed; of a finished run, that it ended early or
 *                              that no evaluation was better than what it started from; else null
 *   started_utc, written_utc   of the run's first session; of this file
 *   inputs                     [{role, path, bytes, sha256}]: see inputs.h
 *   base_sha256                one digest for the weights: see base_digest() in publish.h
 *   data_sha256                of the bytes of all data files, train then validation
 *   config, config_sha256      the resolved configuration (config.yaml), its digest
 *   training, validation       counts: examples, and the rows of src/data/counts.def: records,
 *                              tokens, targets, what was dropped and why
 *   adapter_parameters, step, total_steps, best_step, best_eval_loss
 *   memory_planned_bytes, memory_peak_bytes    what it may take at most; what this process took so
 *                              far
 *   sessions                   [{started_utc, ended_utc, host, threads, ranks, isa, gemm,
 *                              product_isa, from_step, from_file, from_sha256, to_step,
 *                              status}]: one for each process
 *   checkpoints                [{step, file, sha256, parent_sha256, written_utc}] of every
 *                              checkpoint on the way to this state, pruned ones too; parent: the
 *                              one before
 *   outputs                    [{path, step, bytes, sha256}] of the adapters, paths within
 *                              output.dir
 *   publishing                 the same of files that are being replaced: each is there as this
 *                              says, or as the rest of the record does. Written before the first of
 *                              them changes, so that a kill at any moment leaves a true record
 *
 * Hashes that are not known yet are null (the weights of a large base are hashed while the run
 * begins). */
#ifndef LORAC_TRAIN_MANIFEST_H
#define LORAC_TRAIN_MANIFEST_H

#include "src/base/hash.h"
#include "src/base/json.h"
#include "src/train/inputs.h"
#include "src/train/prepare.h"
#include "src/train/rundir.h"

/* What the record is about; the texts of work->state are there, hashes of `inputs` may follow. */
struct manifest_about {
    const struct rundir *dir;
    const struct inputs *inputs;
    const struct training *work;
};

struct manifest {
    struct manifest_about about;
    json_t *sessions, *checkpoints, *outputs, *publishing;
    json_t *session; /* this process's, in sessions */
    char started_utc[32];
    char last_sha256[SHA256_HEX]; /* of the checkpoint that this state came from; "": none */
};

/* Begin a session. When the run goes on, what its run.json says of earlier ones is kept; `from` is
 * the checkpoint's file, or NULL. */
int manifest_begin(struct manifest *m, const struct manifest_about *about, bool goes_on,
                   const char *from, struct err *e);
/* Take note of a checkpoint that was written. */
int manifest_checkpoint(struct manifest *m, const char *path, struct err *e);
/* Forget the checkpoint of this step, which is about to be written again under its own seal. */
void manifest_drop_checkpoint(struct manifest *m);
/* Write down that directory `name` ("adapter", "best") is about to become what is in `tmp`; and
 * that it has. The second only takes note. */
int manifest_publishing(struct manifest *m, const char *name, const char *tmp, struct err *e);
int manifest_published(struct manifest *m, const char *name, struct err *e);
/* Write down that config.yaml, where there is one, is about to be replaced. */
int manifest_replacing_config(struct manifest *m, struct err *e);
/* Write it. status as above; reason may be NULL. */
int manifest_write(struct manifest *m, const char *status, const char *reason, struct err *e);
/* Whether the run.json in the directory has that status. */
bool manifest_has_status(const struct rundir *dir, const char *status);
void manifest_free(struct manifest *m);

#endif
