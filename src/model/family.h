/* How the families of models differ: src/model/families.def. */
#ifndef LORAC_MODEL_FAMILY_H
#define LORAC_MODEL_FAMILY_H

#include "src/base/err.h"
#include "src/base/str.h"

enum family {
#define FAMILY(id, model_type, architecture, gguf, traits) FAMILY_##id,
#include "src/model/families.def"
    FAMILIES
};

enum family_trait { INTERLEAVED = 1, QKV_BIAS = 2, WINDOW_SWITCH = 4 };

struct family_info {
    const char *model_type, *architecture, *gguf;
    unsigned traits;
};
extern const struct family_info family_table[FAMILIES];

static inline bool family_has(enum family f, enum family_trait t)
{
    return family_table[f].traits & t;
}

/* The family of that model_type, or of that architecture of a GGUF file (n bytes). False: none. */
bool family_of_type(enum family *f, const char *model_type);
bool family_of_gguf(enum family *f, const char *architecture, size_t n);

/* += "llama" or "qwen2", in quotes: what a message says it wanted. */
void family_add_names(struct str *out, bool gguf);

#endif
