/* The configuration of a run: a YAML file and key=value overrides, checked and typed.
 *
 * src/config/keys.def has one row per key; the struct below is its expansion, so train.seed of the
 * file is c->train.seed here. Errors are ERR_USAGE and name file:line (or the override), the key,
 * what was found, what was wanted. Paths stay as they were typed: relative ones count from the
 * current directory, not from the file. */
#ifndef LORAC_CONFIG_CONFIG_H
#define LORAC_CONFIG_CONFIG_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

/* The words of each CHOICE key: enum config_KEY and the names in messages come from one list. */
#define CONFIG_WORDS_format(W)                                                                     \
    W(FORMAT_AUTO, "auto")                                                                         \
    W(FORMAT_ALPACA, "alpaca")                                                                     \
    W(FORMAT_SHAREGPT, "sharegpt")                                                                 \
    W(FORMAT_MESSAGES, "messages")                                                                 \
    W(FORMAT_PROMPT_COMPLETION, "prompt_completion")                                               \
    W(FORMAT_OASST, "oasst")                                                                       \
    W(FORMAT_OASST_THREADS, "oasst_threads")                                                       \
    W(FORMAT_SEGMENTS, "segments")                                                                 \
    W(FORMAT_TEXT, "text")                                                                         \
    W(FORMAT_TOKENS, "tokens")
#define CONFIG_WORDS_train_on(W)                                                                   \
    W(TRAIN_ON_RESPONSES, "responses")                                                             \
    W(TRAIN_ON_LAST_RESPONSE, "last_response")                                                     \
    W(TRAIN_ON_EVERYTHING, "everything")
#define CONFIG_WORDS_overlong(W)                                                                   \
    W(OVERLONG_DROP, "drop")                                                                       \
    W(OVERLONG_TRUNCATE, "truncate")                                                               \
    W(OVERLONG_SPLIT, "split")                                                                     \
    W(OVERLONG_ERROR, "error")
#define CONFIG_WORDS_on_error(W)                                                                   \
    W(ON_ERROR_STOP, "stop")                                                                       \
    W(ON_ERROR_SKIP, "skip")
#define CONFIG_WORDS_prepare(W)                                                                    \
    W(PREPARE_AUTO, "auto")                                                                        \
    W(PREPARE_ALWAYS, "true")                                                                      \
    W(PREPARE_NEVER, "false")
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
/* Not a choice but a set: adapter.target_modules has one bit for each. */
#define CONFIG_WORDS_module(W)                                                                     \
    W(MODULE_Q, "q_proj")                                                                          \
    W(MODULE_K, "k_proj")                                                                          \
    W(MODULE_V, "v_proj")                                                                          \
    W(MODULE_O, "o_proj")                                                                          \
    W(MODULE_GATE, "gate_proj")                                                                    \
    W(MODULE_UP, "up_proj")                                                                        \
    W(MODULE_DOWN, "down_proj")

#define CONFIG_ENUM(id, word) CONFIG_##id,
enum config_format { CONFIG_WORDS_format(CONFIG_ENUM) };
enum config_train_on { CONFIG_WORDS_train_on(CONFIG_ENUM) };
enum config_overlong { CONFIG_WORDS_overlong(CONFIG_ENUM) };
enum config_on_error { CONFIG_WORDS_on_error(CONFIG_ENUM) };
enum config_prepare { CONFIG_WORDS_prepare(CONFIG_ENUM) };
enum config_lr_scheduler_type { CONFIG_WORDS_lr_scheduler_type(CONFIG_ENUM) };
enum config_share_prefixes { CONFIG_WORDS_share_prefixes(CONFIG_ENUM) };
enum config_activations { CONFIG_WORDS_activations(CONFIG_ENUM) };
enum config_module { CONFIG_WORDS_module(CONFIG_ENUM) CONFIG_MODULES };
#undef CONFIG_ENUM

/* auto or null in a number's place; no number that is allowed is negative. */
enum { CONFIG_NONE = -1 };

/* One file of records. */
struct config_source {
    char *path;
    bool has_format; /* otherwise data.format counts */
    enum config_format format;
    char *template; /* as data.template; NULL: that */
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
#define CONFIG_COLUMNS(C)                                                                          \
    C(prompt)                                                                                      \
    C(completion)                                                                                  \
    C(input)                                                                                       \
    C(system)                                                                                      \
    C(choices)                                                                                     \
    C(messages)                                                                                    \
    C(text)
struct config_columns {
#define CONFIG_COLUMN(name) char *name;
    CONFIG_COLUMNS(CONFIG_COLUMN)
#undef CONFIG_COLUMN
};

/* Every so many steps, or every so many seconds; both CONFIG_NONE: null. */
struct config_interval {
    int64_t steps, seconds;
};

/* What a key of each type is stored as. */
#define CONFIG_FIELD_TEXT         char * /* NULL: null */
#define CONFIG_FIELD_BOOL         bool
#define CONFIG_FIELD_INT          int64_t
#define CONFIG_FIELD_AUTO_INT     int64_t
#define CONFIG_FIELD_NULL_INT     int64_t
#define CONFIG_FIELD_AUTO_BYTES   int64_t
#define CONFIG_FIELD_REAL         double
#define CONFIG_FIELD_CHOICE(word) enum config_##word
#define CONFIG_FIELD_TEMPLATE     char * /* a name, or a definition as a JSON object; NULL: null */
#define CONFIG_FIELD_MODULES      unsigned /* 1u << enum config_module */
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
    char *file;               /* what errors call it */
    size_t line[CONFIG_KEYS]; /* where each key was given; 0: nowhere, it has its default */
    bool overridden[CONFIG_KEYS];
};

/* Read a configuration: defaults, then the file at `path`, then n overrides "key=value", whose
 * values are YAML too ("adapter.target_modules=[q_proj, v_proj]"). Checks everything that can be
 * checked without opening another file. On failure c needs no config_free(), but stands it. */
int config_load(struct config *c, const char *path, char *const *overrides, size_t n,
                struct err *e);
/* The same from `bytes` bytes of text that errors call `where`. */
int config_parse(struct config *c, const char *text, size_t bytes, const char *where,
                 char *const *overrides, size_t n, struct err *e);
void config_free(struct config *c);

/* Append every key with its value, as YAML that config_parse() reads back to the same. */
void config_print(struct str *out, const struct config *c);

/* The names of the keys whose values differ, in `names`; returns how many. With `resuming`, only
 * those that a resumed run must not change. */
size_t config_diff(const char *names[CONFIG_KEYS], const struct config *a, const struct config *b,
                   bool resuming);

/* A usage error about a key, for what only later stages can know: "config.yaml:12: data.template:
 * ..." or "override data.template: ..." or, where the default is meant, "config.yaml: ...". */
int config_error(struct err *e, const struct config *c, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The word behind an enum config_format (and likewise), as the file spells it. */
const char *config_format_name(enum config_format f);
const char *config_module_name(enum config_module m);

/* The key reference, in Markdown: what configs/README.md holds. */
void config_reference(struct str *out);

#endif
