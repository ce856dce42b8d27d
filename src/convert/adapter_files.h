/* Adapters in any of their forms: a PEFT directory, a GGUF adapter, a checkpoint. The one reader
 * for --adapter and for adapter.init_from.
 *
 * It lies with the other forms of an adapter, above the model: a checkpoint belongs to training and
 * a GGUF adapter to conversion, which are one floor, and training begins from what is read here. */
#ifndef LORAC_CONVERT_ADAPTER_FILES_H
#define LORAC_CONVERT_ADAPTER_FILES_H

#include "src/train/publish.h"

enum adapter_form { ADAPTER_NONE, ADAPTER_PEFT, ADAPTER_GGUF, ADAPTER_CHECKPOINT };

/* What lies there, by name and header; ADAPTER_NONE: not an adapter (a model, or nothing). */
enum adapter_form adapter_form_of(const char *path);

/* Where the adapter lies for the path that a user gave: there, or for a run's directory in its
 * best/, else in its adapter/; a line in `notes` says which of them was taken. An error for a run
 * that has neither yet. Whether there is an adapter at any other path is not looked at. */
int adapter_locate(char out[PATH_BYTES], struct str *notes, const char *path, struct err *e);

/* As adapter_load(), for any form. */
int adapter_open(struct adapter *a, const struct adapter_base *base, const char *path,
                 struct err *e);

/* Multiply its effect by `weight`. An error when that is too large for the numbers of a pass. */
int adapter_weigh(struct adapter *a, double weight, const char *path, struct err *e);

/* How it was trained, as far as its form says: lorac.json, a checkpoint's configuration (whose
 * template may be "model"), of a GGUF adapter only its base's digests. `dropout` may be NULL.
 * Strings are freed by adapter_notes_free(). */
int adapter_notes_of(struct adapter_notes *notes, double *dropout, const char *path, struct err *e);

#endif
