/* How much room a run takes in output.dir: what train wants free before it begins, and what plan
 * prints. */
#ifndef LORAC_TRAIN_DISK_H
#define LORAC_TRAIN_DISK_H

#include "src/train/checkpoint.h"
#include "src/train/course.h"

struct disk {
    uint64_t checkpoints,
        checkpoint_bytes;             /* there at once: those kept and the one being written */
    uint64_t adapters, adapter_bytes; /* adapter/, best/, and the one being written */
    uint64_t log_bytes;               /* metrics.jsonl */
};

/* What a run with this adapter and course leaves at most. */
struct disk disk_plan(const struct config *c, const struct adapter *a, const struct course *k);
uint64_t disk_bytes(const struct disk *d);

#endif
