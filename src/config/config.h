/* The configuration of a run: a YAML file and key=value overrides, checked and typed. settings.h
 * has the struct. Errors are ERR_USAGE and name file:line (or the override), the key, what was
 * found, what was wanted. */
#ifndef LORAC_CONFIG_CONFIG_H
#define LORAC_CONFIG_CONFIG_H

#include "src/base/err.h"
#include "src/base/str.h"
#include "src/config/complaints.h"
#include "src/config/settings.h"

/* Read a configuration: defaults, then the file at `path`, then n overrides "key=value", whose
 * values are YAML too ("adapter.target_modules=[q_proj, v_proj]"). Checks everything that can be
 * checked without opening another file, and goes on after a fault: the message is the first one,
 * with the number of all. After a failure c does not need config_free(), but it may be given to
 * it. */
int config_load(struct config *c, const char *path, char *const *overrides, size_t n,
                struct err *e);
/* The same, with every fault in `all`, which is empty before and freed with complaints_free()
 * whatever is returned. (commands/config_argument.h shows them.) */
int config_load_all(struct config *c, const char *path, char *const *overrides, size_t n,
                    struct complaints *all, struct err *e);
/* The same from `bytes` bytes of text that errors call `where`. */
int config_parse(struct config *c, const char *text, size_t bytes, const char *where,
                 char *const *overrides, size_t n, struct err *e);
void config_free(struct config *c);

/* Let the file at `path` be all of the data: data.train, read as its first file was, and nothing
 * for validation. */
int config_use_file(struct config *c, const char *path, struct err *e);

/* Give it another output.dir; c is freed on failure. */
int config_set_output_dir(struct config *c, const char *dir, struct err *e);

/* data.split_seed, or train.seed where that is null. */
int64_t config_split_seed(const struct config *c);

/* Append every key with its value, as YAML that config_parse() reads back to the same; a null key
 * that follows from another key gets that key's value. */
void config_print(struct str *out, const struct config *c);

/* The names of the keys whose values differ, in `names`; returns how many. With `resuming`, only
 * those that a resumed run must not change. */
size_t config_diff(const char *names[CONFIG_KEYS], const struct config *a, const struct config *b,
                   bool resuming);

/* A usage error about a key, for faults that only later stages can find: "config.yaml:12:
 * data.template: ..." or "override data.template: ..." or, where the default is at fault,
 * "config.yaml: ...". */
int config_error(struct err *e, const struct config *c, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Put that place and the key before a message about the file that a path of the configuration
 * names; returns e->code. `line` is the line of an item in the key's list (struct config_source);
 * 0: the key's line. */
int config_prefix(struct err *e, const struct config *c, const char *key, size_t line);
/* The same for a message about a whole file of data.train, data.validation or data.cache_dir: it
 * begins "PATH: ". Other messages, such as "PATH:17: " about a record, name their place already and
 * stay as they are. */
int config_prefix_data(struct err *e, const struct config *c);

/* The key reference, in Markdown: the contents of configs/README.md. */
void config_reference(struct str *out);

#endif
