/* The adapter that a run begins from (adapter.init_from). */
#ifndef LORAC_TRAIN_START_H
#define LORAC_TRAIN_START_H

#include "src/model/adapter.h"
#include "src/train/setup.h"

/* Read it, in any form that --adapter takes, for the model of `s` (freed by adapter_free()); an
 * error when its rank or its modules are not those of the configuration. A line is appended to
 * s->notes when it was trained on another base, when the model holds it merged already, when the
 * configuration gives a lora_alpha that is not its own (and is not used), and for modules for which
 * it has only zeros: they never learn. */
int start_adapter(struct adapter *a, const struct config *c, struct setup *s, struct err *e);

#endif
