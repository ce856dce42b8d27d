/* Copies of a base's weights in an adapter's file. PEFT writes them for modules_to_save and
 * save_embedding_layers, trained or not; one that was not trained adds nothing. */
#ifndef LORAC_MODEL_BASE_COPY_H
#define LORAC_MODEL_BASE_COPY_H

#include "src/formats/tensor.h"
#include "src/model/llama.h"

/* 0 when `t`, a tensor of the file `path`, has the values of the base's weight `module` ("lm_head",
 * "model.layers.0.mlp.up_proj", ...; without ".weight"), rounded to the type of `t`. Else an error
 * that names both and says what to do: there is no such weight, the shape differs, a value differs,
 * or the base's weights are not available (m NULL). */
int base_copy_check(const struct llama *m, const struct dims *s, const struct tensor *t,
                    const char *module, const char *path, struct err *e);

#endif
