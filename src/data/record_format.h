/* The formats of records, and the settings that a user may give for a file: its format and its
 * columns. A format is one row of DATA_FORMATS (src/base/wordlists.h), with is_NAME() and
 * read_NAME() in one of format_*.c. datasets/README.md shows a record of each.
 *
 *   alpaca             a prompt and an answer, optional input, choices, system text, reasoning and
 *                      history: [[user, answer], ...], under any of the names in fields.h; or
 *                      self-instruct's instances: [{input, output}, ...], each a conversation
 *   prompt_completion  the same: both names exist because users know files by either
 *   sharegpt           conversations: [{from, value}]; roles human, gpt, system, tool and their
 *                      other names (reading.c); optional system, tools
 *   messages           messages: [{role, content}]; roles system (also developer), user, assistant,
 *                      tool; optional tools. In both an assistant message may be left out
 *                      (exclude.c), may have reasoning and may call tools
 *   oasst              a tree of messages, prompt: {role, text, replies: [...]}; or an array of its
 *                      messages {message_id, parent_id, role, text}
 *   oasst_threads      thread: [{role, text}]; or a tree, of which each path is then an example
 *   segments           segments: [{label, text}], with special tokens spelt out in the texts
 *   text               text
 *   tokens             input_ids; optional labels, each -100 or the id at its place (they are not
 *                      shifted: labels[i] belongs to input_ids[i]). Without labels all are targets.
 *                      loss_mask takes ids out. Padding may stand at the end, without loss */
#ifndef LORAC_DATA_RECORD_FORMAT_H
#define LORAC_DATA_RECORD_FORMAT_H

#include <stddef.h>

#include "src/base/wordlists.h"

/* The user's own names of columns, from data.columns; NULL: not given. Where prompt and completion
 * are given, only the given columns are read. `messages` names the list of messages, `text` the
 * text. */
struct record_columns {
#define RECORD_COLUMN(name) const char *name;
    RECORD_COLUMNS(RECORD_COLUMN)
#undef RECORD_COLUMN
};

/* Options for reading a record. */
struct format_options {
    const struct record_columns *columns; /* NULL: the usual names */
    const char *text;                     /* the record's JSON of n bytes, from which numbers */
    size_t n;                             /* are copied; NULL: numbers are printed */
};

#endif
