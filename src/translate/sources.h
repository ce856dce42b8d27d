/* The files of records that another trainer's file names. */
#ifndef LORAC_TRANSLATE_SOURCES_H
#define LORAC_TRANSLATE_SOURCES_H

#include "src/translate/translation.h"

/* Whether a name is a path of this machine: it is there, or it can only be a path. Otherwise it is
 * taken for a name on the Hugging Face hub. */
bool is_local(const char *name);

/* Append a path as it is written in ours: ~/ becomes the home directory, which lorac does not
 * expand. */
void add_path(struct str *out, const char *path);

/* Add a file of records, for training or for validation. For a name on the hub, a path is written
 * in its place, and the user told what to put there. The format and the template are words of ours;
 * NULL leaves them to the records, and to the file as a whole. */
int add_source(struct translation *t, bool validation, const struct theirs *g, const char *name,
               const char *format, const char *template, struct err *e);

/* Ask for the records that theirs evaluates on, which `why` describes. */
int want_validation(struct translation *t, const char *why, struct err *e);

/* Add a column to data.columns; `column` is a word of ours, such as "text". One name for each: the
 * first that is given stays. */
int add_column(struct translation *t, const struct theirs *g, const char *column, const char *name,
               struct err *e);

/* Write data.train, data.validation, data.format, data.template from what was added. */
int sources_finish(struct translation *t, struct err *e);
void sources_free(struct translation *t);

/* A reader for rows: a path, or names separated by commas or in a list; `ours` is "train" or
 * "validation". */
int read_dataset(struct translation *t, const struct row *r, const struct theirs *g, struct err *e);

#endif
