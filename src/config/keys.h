/* The key table: keys.def as data, and what to say about a key that is not in it. */
#ifndef LORAC_CONFIG_KEYS_H
#define LORAC_CONFIG_KEYS_H

#include "src/base/err.h"
#include "src/base/str.h"
#include "src/config/settings.h"

/* How a value is written and stored: value.c has a reader and a printer for each type. */
// clang-format off
enum value_type {
    VALUE_TEXT, VALUE_BOOL, VALUE_INT, VALUE_AUTO_INT, VALUE_NULL_INT, VALUE_AUTO_BYTES,
    VALUE_AUTO_SECONDS, VALUE_REAL, VALUE_AUTO_REAL, VALUE_NUMBER, VALUE_CHOICE, VALUE_TEMPLATE,
    VALUE_MODULES, VALUE_SOURCES, VALUE_VALIDATION, VALUE_COLUMNS, VALUE_INTERVAL,
};
// clang-format on

struct key {
    const char *section, *last, *name; /* "train", "seed", "train.seed" */
    enum value_type type;
    const char *const *words; /* of a VALUE_CHOICE; NULL after the last */
    const char *by_default;   /* NULL: the key must be given */
    const char *allowed, *help;
    bool same_on_resume;
    size_t offset; /* in struct config */
};

extern const struct key config_keys[CONFIG_KEYS];

/* The key of that name ("train.seed"), or NULL. */
const struct key *key_named(const char *name);

/* Whether any key belongs to that section. */
bool key_section_exists(const char *section);

/* The last names of a section's keys, with ", " between them; for NULL the names of the
 * sections. */
void key_list(struct str *out, const char *section);

/* "unknown key ...", with its name here, its right section, or the nearest key. `section`: it has
 * keys below it, so the user meant a section. */
int key_unknown(struct err *e, const char *name, bool section);

/* A key's name in other trainers. */
struct synonym {
    const char *name;   /* theirs, in lower case with _; "section.name" counts only there; "name*"
                           is every name that begins so */
    const char *ours;   /* the key to write, or NULL when there is none */
    const char *remark; /* NULL: none needed */
};
extern const struct synonym config_synonyms[]; /* a NULL name ends it */

/* The key of ours that another trainer's key means, or NULL; it may have dots. *remark is what
 * there is to say about it, or NULL: then a key of ours takes the same values. */
const char *key_translated(const char *theirs, const char **remark);

#endif
