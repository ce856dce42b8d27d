/* Adapters in any of their forms: a PEFT directory, a GGUF adapter, a checkpoint. */
#ifndef LORAC_COMMANDS_ADAPTERS_H
#define LORAC_COMMANDS_ADAPTERS_H

#include "src/train/publish.h"

enum adapter_form { ADAPTER_NONE, ADAPTER_PEFT, ADAPTER_GGUF, ADAPTER_CHECKPOINT };

/* What lies there, by name and header; ADAPTER_NONE: no adapter (a model, or nothing). */
enum adapter_form adapter_form_of(const char *path);

/* As adapter_load(), of any form. */
int adapter_open(struct adapter *a, const struct shape *s, const char *path, double weight,
                 struct err *e);

/* How it was trained, as far as its form says: lorac.json, a checkpoint's configuration (whose template
 * may be "model"), nothing of a GGUF adapter. `dropout` may be NULL. */
int adapter_read_notes(struct adapter_notes *notes, double *dropout, const char *path,
                       struct err *e);

#endif
