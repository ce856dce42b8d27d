/* Adapters and weights that are not PEFT's plain LoRA, recognised by the names of their tensors or
 * by peft_type: what they are, and what their owner can do with them. The table serves only
 * messages; nothing is read with it. */
#ifndef LORAC_FORMATS_FOREIGN_H
#define LORAC_FORMATS_FOREIGN_H

#include "src/formats/safetensors.h"

struct foreign {
    const char *sign;   /* in a tensor's name, or a peft_type */
    const char *what;   /* "an MLX adapter" */
    const char *remedy; /* an instruction, or NULL */
};

/* The row for one tensor's name; NULL: not known. */
const struct foreign *foreign_tensor(const char *name);
/* The row for the first known tensor of a file. Weights of a whole model are known as such. */
const struct foreign *foreign_file(const struct safetensors *f);
/* The row for adapter_config.json's peft_type (any case). */
const struct foreign *foreign_peft_type(const char *type);
/* An MLX adapter's configuration and file (adapters.safetensors). */
extern const struct foreign foreign_mlx;

#endif
