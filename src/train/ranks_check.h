/* What ranks must have in common before they train or measure together: their bits would differ
 * otherwise, or one of them would wait for ever. Each check is one of all ranks (ranks.h); with one
 * process it does nothing. An error names the rank, its machine, what was found and wanted. */
#ifndef LORAC_TRAIN_RANKS_CHECK_H
#define LORAC_TRAIN_RANKS_CHECK_H

#include "src/config/config.h"
#include "src/model/adapter.h"
#include "src/train/setup.h"

/* Before anything large is read: the program's file, the C library, the instruction set and who
 * makes the products; with c (NULL: none) the configuration, whose other keys it names. */
int ranks_check_start(const struct config *c, struct err *e);
/* What was read: the base (its fingerprint), the tokenizer's data set, and the adapter's shape with
 * its values (a NULL: none). */
int ranks_check_inputs(const struct llama *base, const struct dataset *d, const struct adapter *a,
                       struct err *e);
/* Whether every rank sees the directory that the first rank writes to, which holds its .lock. */
int ranks_check_directory(const struct config *c, struct err *e);

/* Notes on processors and threads that do not fit together: threads of this machine's ranks against
 * the processors that they may use, OMP_NUM_THREADS against SLURM_CPUS_PER_TASK. */
int ranks_note_threads(struct str *notes, struct err *e);
/* And on a batch of fewer passes than ranks. */
void ranks_note_passes(struct str *notes, size_t passes);

#endif
