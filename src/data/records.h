/* Files of training records: JSONL (one object a line), one JSON array, or CSV; UTF-8 with or
 * without byte order mark, LF or CRLF; plain, gzip or Zstandard. record_format.h describes the
 * records of each format. A line that is a string which holds an object counts as that object. In
 * OpenAssistant's flat lists a record is a tree: a message without a parent and the messages after
 * it that have one.
 *
 * CSV: the first line names the columns, separated by commas, semicolons or tabs: the one that
 * gives the names of a format (table.h). A file whose first character is { or [ is JSON. Any other
 * is a table when its name says so (.csv, .tsv) or when its first line, read as a header of two or
 * more columns, has the keys of a format or of data.columns; otherwise it is broken JSONL. A record
 * is an object of texts; its fields may span lines; a line of only separators and quotes is blank.
 *
 * One record is in memory at a time: the file is mapped and cut into slices, and each slice is
 * parsed strictly and separately, so that records can be parsed in parallel and an error names its
 * record.
 *
 * Errors name file:line (in an array: the line on which the record begins, and its number), the
 * field, what was found and what was wanted, but never the text. */
#ifndef LORAC_DATA_RECORDS_H
#define LORAC_DATA_RECORDS_H

#include "src/data/formats.h"

enum { RECORD_BYTES = 64 << 20 }; /* the longest record accepted */

struct records; /* an open file */

struct records_options {
    enum data_format format;
    struct record_columns columns; /* data.columns; all NULL: the usual names */
};

/* The strings of o must live as long as the file is open. These files are errors: an empty file,
 * one that is visibly something else (Parquet, UTF-16), a damaged compressed file, and one whose
 * format auto cannot recognise. */
int records_open(struct records **out, const char *path, const struct records_options *o,
                 struct err *e);
void records_close(struct records *r);
/* The format that auto found: that of the first record with the keys of a format. */
enum data_format records_format(const struct records *r);

/* Read the next record into c (zero-initialised or used before). Returns 0 and sets *more (false at
 * the end, c untouched), or an error for a malformed record; then the reader is after that record
 * and can go on. After an error of records_parse() c->fault says of what kind it is. */
int records_next(struct records *r, struct conversation *c, bool *more, struct err *e);
/* The line (1-based) on which the record last read began. */
size_t records_line(const struct records *r);

/* The two halves of records_next(), for parallel readers: finding a record (one thread, cheap), and
 * parsing it (any thread; a slice stays valid until records_close()). */
struct record_slice {
    const char *text;
    size_t n, line, number; /* number: 1-based, within the file */
    enum fault fault;       /* of records_slice()'s error */
    bool rest;              /* its end was not found: the rest of the file is lost with it */
};
int records_slice(struct records *r, struct record_slice *s, bool *more, struct err *e);
int records_parse(const struct records *r, const struct record_slice *s, struct conversation *c,
                  struct err *e);

/* Put "file:line: " in front of the message. */
int records_prefix(const struct records *r, const struct record_slice *s, struct err *e);

/* The slices cut so far are finished: their pages need not stay in memory. */
void records_release(struct records *r);

#endif
