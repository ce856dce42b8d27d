/* lorac convert THEIRS.yaml -o OURS.yaml: another trainer's file as a configuration of lorac. */
#ifndef LORAC_COMMANDS_CONVERT_CONFIG_H
#define LORAC_COMMANDS_CONVERT_CONFIG_H

#include <stdbool.h>

#include "src/base/err.h"

/* Whether a path is called as a configuration is. */
bool is_config_name(const char *path);

/* Translate the file at `path` into a new file `out`, and say what was left out. */
int convert_config(const char *path, const char *out, struct err *e);

#endif
