/* A configuration as a struct, and the words of its keys.
 *
 * src/config/keys.def has one row per key; struct config is made from them, so train.seed of the
 * file is c->train.seed here. Paths stay as they were typed: they are relative to the current
 * directory, not to the file. */
#ifndef LORAC_CONFIG_SETTINGS_H
#define LORAC_CONFIG_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/wordlists.h"

/* The words of those CHOICE keys that only the configuration uses; the others are in
 * src/base/wordlists.h. The enumeration and the names in messages come from one list. */
#define CONFIG_WORDS_on_error(W)                                                                   \
    W(ON_ERROR_STOP, "stop")                                                                       \
    W(ON_ERROR_SKIP, "skip")
#define CONFIG_WORDS_lr_scheduler_type(W)                                                          \
    W(SCHEDULE_COSINE, "cosine")                                                                   \
    W(SCHEDULE_LINEAR, "linear")                                                                   \
    W(SCHEDULE_CONSTANT, "constant")                                                               \
    W(SCHEDULE_CONSTANT_WITH_WARMUP, "constant_with_warmup")
#define CONFIG_WORDS_share_prefixes(W)                                                             \
    W(SHARE_AUTO, "auto")                                                                          \
    W(SHARE_ON, "true")                                                                            \
    W(SHARE_OFF, "false")
#define CONFIG_WORDS_activations(W)                                                                \
    W(ACTIVATIONS_F32, "f32")                                                                      \
    W(ACTIVATIONS_BF16, "bf16")

#define CONFIG_ENUM(id, word) CONFIG_##id,
enum config_on_error { CONFIG_WORDS_on_error(CONFIG_ENUM) };
enum config_lr_scheduler_type { CONFIG_WORDS_lr_scheduler_type(CONFIG_ENUM) };
enum config_share_prefixes { CONFIG_WORDS_share_prefixes(CONFIG_ENUM) };
enum config_activations { CONFIG_WORDS_activations(CONFIG_ENUM) };
#undef CONFIG_ENUM

/* auto or null in the place of a number; no allowed number is negative. */
enum { CONFIG_NONE = -1 };

/* One file of records. */
struct config_source {
    char *path;
    size_t line;     /* the line of the path in the configuration */
    bool has_format; /* otherwise data.format counts */
    enum data_format format;
    char *template; /* as data.template; NULL: use data.template */
    double weight;  /* times per epoch, above 0 */
};

struct config_sources {
    struct config_source *at;
    size_t n;
};

struct config_validation {
    double fraction; /* 0 when there are files, or nothing */
    struct config_sources files;
};

/* NULL: the usual names. */
struct config_columns {
#define CONFIG_COLUMN(name) char *name;
    RECORD_COLUMNS(CONFIG_COLUMN)
#undef CONFIG_COLUMN
};

/* Every so many steps, or every so many seconds; both CONFIG_NONE: null. */
struct config_interval {
    int64_t steps, seconds;
};

/* The C type that stores a key of each type. */
#define CONFIG_FIELD_TEXT         char * /* NULL: null */
#define CONFIG_FIELD_BOOL         bool
#define CONFIG_FIELD_INT          int64_t
#define CONFIG_FIELD_AUTO_INT     int64_t
#define CONFIG_FIELD_NULL_INT     int64_t
#define CONFIG_FIELD_AUTO_BYTES   int64_t
#define CONFIG_FIELD_AUTO_SECONDS int64_t
#define CONFIG_FIELD_REAL         double
#define CONFIG_FIELD_AUTO_REAL    double /* CONFIG_NONE: auto */
#define CONFIG_FIELD_NUMBER       double /* usually whole, and then printed without a point */
#define CONFIG_FIELD_CHOICE(list) enum list
#define CONFIG_FIELD_TEMPLATE     char * /* a name, or a definition as a JSON object; NULL: null */
#define CONFIG_FIELD_MODULES      unsigned /* 1u << enum module */
#define CONFIG_FIELD_SOURCES      struct config_sources
#define CONFIG_FIELD_VALIDATION   struct config_validation
#define CONFIG_FIELD_COLUMNS      struct config_columns
#define CONFIG_FIELD_INTERVAL     struct config_interval

enum {
#define SECTION(s)
#define KEY(section, name, ...) CONFIG_KEY_##section##_##name,
#define END(s)
#include "src/config/keys.def"
#undef SECTION
#undef KEY
#undef END
    CONFIG_KEYS
};

struct config {
#define SECTION(s)                    struct {
#define KEY(section, name, type, ...) CONFIG_FIELD_##type name;
#define END(s)                                                                                     \
    }                                                                                              \
    s;
#include "src/config/keys.def"
#undef SECTION
#undef KEY
#undef END
    char *file;               /* its name in error messages */
    size_t line[CONFIG_KEYS]; /* where each key was given; 0: not given, it has its default */
    bool overridden[CONFIG_KEYS];
};

#endif
