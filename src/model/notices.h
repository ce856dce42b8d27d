/* What must travel with a model and what is derived from it: licence, use policy, notice.
 *
 * Llama 2's agreement asks for a copy of itself and for a "Notice" file with a given text. A model
 * is taken for a Llama 2 when a licence file beside it says so, or, where there is none, when its
 * name does: a model that somebody trained under that name and gave another licence is left
 * alone. */
#ifndef LORAC_MODEL_NOTICES_H
#define LORAC_MODEL_NOTICES_H

#include "src/base/err.h"

/* Copy LICENSE*, LICENCE*, USE_POLICY*, NOTICE* (whatever their case) from the directory of the
 * model `model_path` (a directory, or a file in one) into `out_dir`, and write Llama 2's Notice
 * where that is missing. It is not an error when there are none. keep: files of these names that
 * are there already stay. */
int notices_copy(const char *model_path, const char *out_dir, bool keep, struct err *e);

/* A line for the user when the model looks like a Llama 2 and its agreement is not beside it: what
 * is made from it may then not be handed on as it is. NULL: nothing to say. */
const char *notices_warning(const char *model_path);

#endif
