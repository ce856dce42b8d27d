/* Text to values and back, strictly: each text has one reading, and nothing is guessed.
 *
 * The readers return NULL when the text is a value and *out was written; otherwise they return a
 * remedy for the reader's message, such as "write the digits without _", or "" when there is none.
 * The text is NUL-terminated. The text that the printers add reads back as the same value, here and
 * in a YAML 1.1 reader such as PyYAML. */
#ifndef LORAC_CONFIG_SCALAR_H
#define LORAC_CONFIG_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/str.h"

/* null, ~, or nothing at all. The caller checks that the text has no quotes. */
bool scalar_is_null(const char *text);

/* true or false, in no other spelling. */
const char *scalar_bool(bool *out, const char *text);

/* A whole number: decimal digits with an optional minus and no leading zero, or a decimal number
 * whose value is whole and at most 2^53, since others write 16.0 and 1e3. No underscore, no
 * base. */
const char *scalar_int(int64_t *out, const char *text);

/* A finite decimal number: 1, 0.5, .5, 1e-4, 2.0E+5. */
const char *scalar_real(double *out, const char *text);

/* A size: a number and a unit, B KiB MiB GiB TiB kB MB GB TB, case ignored, 1.5GiB allowed. */
const char *scalar_bytes(int64_t *out, const char *text);

/* A time: a number and a unit, s, min or h, 1.5h allowed; at least one second, in whole seconds. */
const char *scalar_seconds(int64_t *out, const char *text);

/* Whether v lies in an interval written "[1, 4096]", "(0, 1)", "[0, inf)"; every v lies in "". */
bool scalar_within(const char *interval, double v);

void scalar_add_real(struct str *out, double v);
void scalar_add_bytes(struct str *out, int64_t v);
void scalar_add_seconds(struct str *out, int64_t v);
/* The text is plain where that is safe in block and in flow context, otherwise in double quotes. */
void scalar_add_text(struct str *out, const char *text);

#endif
