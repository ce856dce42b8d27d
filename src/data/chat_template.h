/* Chat templates as models carry them: Jinja programs. They are never run; jinja.h says how they
 * are read. A program is known when it writes the same as a row of the table for conversations of
 * one to four turns, with and without a system text. Other programs are not guessed.
 *
 * These differences are ignored: white space at the very end; the header of an answer that is
 * always or never written; a program that refuses system texts, or leaves them out of a
 * conversation that ends in an answer. */
#ifndef LORAC_DATA_CHAT_TEMPLATE_H
#define LORAC_DATA_CHAT_TEMPLATE_H

#include "src/data/template_row.h"
#include "src/tokenizer/tokenizer.h"

/* The name of the row that renders the same as this program. NULL with an error for a program that
 * is not known; the error suggests a row by its markers. */
const char *chat_template_row(const char *jinja, struct err *e);

/* The template that renders the same as this program with this tokenizer: a row, or a row changed
 * in its default system text, its date, whether texts are stripped, whether BOS stands at the
 * front, or which of its marks are special tokens. Freed with template_free(). Errors as above. */
const struct template *chat_template_read(const char *jinja, const struct tokenizer *tok,
                                          struct err *e);

/* The model that has this program, by its markers, where no row has the model's form ("Phi-3");
 * NULL: no known model. */
const char *chat_template_model(const char *jinja);

/* The row that a program resembles by its markers, and *marker. The tokenizer (NULL: any) has the
 * tokens for this row. NULL: none. */
const char *chat_template_nearest(const char **marker, const char *jinja,
                                  const struct tokenizer *tok);

#endif
