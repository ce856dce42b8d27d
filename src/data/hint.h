/* Hints for a record whose keys are not known: the nearest names, and the line to write. */
#ifndef LORAC_DATA_HINT_H
#define LORAC_DATA_HINT_H

#include "src/base/json.h"
#include "src/base/str.h"

/* Append "; did you mean ...? Then write data.columns: {...}", or nothing. */
void hint_columns(struct str *out, const json_t *record);

/* Append a column's name as YAML takes it. Names that are too long are not shown. */
void hint_name(struct str *out, const char *key);

#endif
