/* One named array inside a mapped file: what safetensors and GGUF have in common. */
#ifndef LORAC_FORMATS_TENSOR_H
#define LORAC_FORMATS_TENSOR_H

#include <stdint.h>

#include "kernels/types.h"

enum { TENSOR_RANK = 8 };

struct tensor {
    const char *name; /* NUL-terminated, owned by the file it came from */
    enum storage_type type;
    const char *type_name;      /* the container's own spelling, for messages */
    unsigned rank;              /* 0 for a scalar */
    uint64_t dims[TENSOR_RANK]; /* slowest first, as PyTorch prints them */
    const uint8_t *data;        /* inside the map; valid until the file is closed */
    uint64_t bytes;
};

#endif
