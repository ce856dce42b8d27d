/* Files of training records: JSONL (one object a line) or one JSON array; UTF-8 with or without byte
 * order mark, LF or CRLF. Formats: alpaca, messages, prompt_completion, text, tokens, and auto,
 * which decides by the keys of the first record and then holds every record to it.
 *
 * Errors name file:line (of an array: the record's number and the line it begins on), the field,
 * what was found and what was wanted; never the text. */
#ifndef LORAC_DATA_RECORDS_H
#define LORAC_DATA_RECORDS_H

#include "src/data/conversation.h"

enum data_format {
    FORMAT_AUTO, FORMAT_ALPACA, FORMAT_MESSAGES, FORMAT_PROMPT_COMPLETION, FORMAT_TEXT,
    FORMAT_TOKENS,
};

/* "alpaca", "messages", ...; false when the name is unknown. */
bool data_format_named(enum data_format *out, const char *name);
const char *data_format_name(enum data_format f);
/* The names, separated by spaces, for messages. */
const char *data_format_names(void);

struct records; /* an open file */

struct records_options {
    enum data_format format;
    const char *prompt_column, *completion_column; /* `columns`; NULL: the usual names */
};

int records_open(struct records **out, const char *path, const struct records_options *o,
                 struct err *e);
void records_close(struct records *r);
enum data_format records_format(const struct records *r); /* what auto became */

/* Read the next record into c. Returns 0 and sets *more (false at the end, c untouched), or an
 * error for a malformed record; the reader stands behind it then and can go on. */
int records_next(struct records *r, struct conversation *c, bool *more, struct err *e);
/* The line (1-based) on which the record last read began. */
size_t records_line(const struct records *r);

void conversation_free(struct conversation *c);

#endif
