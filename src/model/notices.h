/* What must travel with a model and what is derived from it: licence, use policy, notice. */
#ifndef LORAC_MODEL_NOTICES_H
#define LORAC_MODEL_NOTICES_H

#include "src/base/err.h"

/* Copy LICENSE*, LICENCE*, USE_POLICY*, NOTICE* (whatever their case) from the directory of the model
 * `model_path` (a directory, or a file in one) into `out_dir`. Nothing there is no error. */
int notices_copy(const char *model_path, const char *out_dir, struct err *e);

#endif
