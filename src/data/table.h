/* CSV and TSV files as records: the first line names the columns, and every other record is an
 * object of texts with those names. Part of records.c, which owns the contract. */
#ifndef LORAC_DATA_TABLE_H
#define LORAC_DATA_TABLE_H

#include "src/data/formats.h"
#include "src/formats/csv.h"

enum { TABLE_COLUMNS = 4096 };

struct table {
    char separator;
    struct csv_row header;
    const char **names; /* of the columns, NUL-terminated, in `text` */
    struct str text;
};

/* What is known about a file before it is read. */
struct table_hints {
    const char *path; /* .csv and .tsv, also before .gz and .zst, say that it is a table */
    const struct record_columns *columns; /* data.columns; all NULL: the usual names */
};

/* Whether the n bytes at `text`, which begin with neither { nor [, begin with the header of a
 * table; if so, *t holds it and *end is the byte after its line. Otherwise *is is false and t is
 * empty. A fault in the header is an error only where the file cannot be anything else; the message
 * names no place. */
int table_begin(struct table *t, bool *is, size_t *end, const char *text, size_t n,
                const struct table_hints *h, struct err *e);
void table_free(struct table *t);

/* Where the record at `text` ends: the number of its bytes without the line end. *open: a quote in
 * it is not closed within the n bytes. */
size_t table_row_end(bool *open, const char *text, size_t n, char separator);
/* Whether all fields of a line are empty; *bytes: its length with the line end. */
bool table_blank(size_t *bytes, const char *text, size_t n, char separator);

/* The object of a record. NULL on failure, with a message that names no place. */
json_t *table_read(const struct table *t, const char *text, size_t n, struct err *e);
/* An object with the header's names, from which the format is recognised. */
json_t *table_example(const struct table *t, struct err *e);

#endif
