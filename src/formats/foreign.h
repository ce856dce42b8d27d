/* Adapters and weights that are not PEFT's plain LoRA, told by the names of their tensors or by
 * peft_type: what they are, and what their owner can do with them. A table, and nothing is read
 * by it: it serves messages. */
#ifndef LORAC_FORMATS_FOREIGN_H
#define LORAC_FORMATS_FOREIGN_H

#include "src/formats/safetensors.h"

struct foreign {
    const char *sign;   /* in a tensor's name, or a peft_type */
    const char *what;   /* "an MLX adapter" */
    const char *remedy; /* an order, or NULL */
};

/* By one tensor's name; NULL: not known. */
const struct foreign *foreign_tensor(const char *name);
/* By the first tensor of a file that is known. Weights of a whole model are known as such. */
const struct foreign *foreign_file(const struct safetensors *f);
/* By adapter_config.json's peft_type (any case). */
const struct foreign *foreign_peft_type(const char *type);
/* An MLX adapter's configuration and file (adapters.safetensors). */
extern const struct foreign foreign_mlx;

#endif
