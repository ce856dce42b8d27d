/* Lines of CSV files (libcsv, in its strict mode): fields between separators, in double quotes if
 * they hold a separator, a quote (doubled) or a line end, as in RFC 4180. White space is part of a
 * field. */
#ifndef LORAC_FORMATS_CSV_H
#define LORAC_FORMATS_CSV_H

#include "src/base/err.h"
#include "src/base/str.h"

/* The fields of one record. It is empty when zero-initialised; its memory is reused. */
struct csv_row {
    struct str text; /* of all fields, one after the other */
    size_t *ends;    /* where each of the first `stored` fields ends in it */
    size_t n;        /* fields */
    size_t stored, cap;
};

/* Whether the program was built with libcsv; without it csv_read() is an error that says so. */
bool csv_is_built_in(void);

/* Overwrite row with the fields of the n bytes at `text`, one record without the line end after it.
 * Fields beyond `most` are only counted. Errors name what was found, not where. */
int csv_read(struct csv_row *row, const char *text, size_t n, char separator, size_t most,
             struct err *e);

/* Field i, below `stored`; *n bytes. */
const char *csv_field(const struct csv_row *row, size_t i, size_t *n);

void csv_row_free(struct csv_row *row);

#endif
