#include "src/model/family.h"

#include <string.h>

const struct family_info family_table[FAMILIES] = {
#define FAMILY(id, model_type, architecture, gguf, traits)                                         \
    [FAMILY_##id] = { model_type, architecture, gguf, traits },
#include "src/model/families.def"
};

bool family_of_type(enum family *f, const char *model_type)
{
    for (int i = 0; i < FAMILIES; i++) {
        if (strcmp(family_table[i].model_type, model_type) != 0) continue;
        *f = (enum family)i;
        return true;
    }
    return false;
}

bool family_of_gguf(enum family *f, const char *architecture, size_t n)
{
    for (int i = 0; i < FAMILIES; i++) {
        const char *name = family_table[i].gguf;
        if (strlen(name) != n || memcmp(name, architecture, n) != 0) continue;
        *f = (enum family)i;
        return true;
    }
    return false;
}

void family_add_names(struct str *out, bool gguf)
{
    for (int i = 0; i < FAMILIES; i++) {
        const struct family_info *f = &family_table[i];
        str_addf(out, "%s\"%s\"",
                 i == 0             ? ""
                 : i + 1 < FAMILIES ? ", "
                                    : " or ",
                 gguf ? f->gguf : f->model_type);
    }
}
