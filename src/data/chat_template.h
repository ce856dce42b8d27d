/* Chat templates as models carry them: Jinja programs. They are never run; jinja.h says how one is
 * read. A program is known when it writes, for conversations of one to four turns with and without a
 * system text, what a row of the table writes; any other is not guessed at.
 *
 * Overlooked is: white space at the very end; a header of an answer that is written always, or never;
 * that the program refuses system texts, or leaves them out of a conversation that ends in an answer. */
#ifndef LORAC_DATA_CHAT_TEMPLATE_H
#define LORAC_DATA_CHAT_TEMPLATE_H

#include "src/data/template_row.h"
#include "src/tokenizer/tokenizer.h"

/* The name of the row that renders what this program renders. NULL with an error for a program that
 * is not known; the error suggests a row by its markers. */
const char *chat_template_row(const char *jinja, struct err *e);

/* The template that renders what this program renders with this tokenizer: a row, or one like it in
 * all but its default system text, its date, whether texts are stripped, whether BOS stands in front,
 * or which of its marks are special tokens. Freed with template_free(). Errors as above. */
const struct template *chat_template_read(const char *jinja, const struct tokenizer *tok,
                                          struct err *e);

/* The model whose program this is by its markers, where no row has that model's form ("Phi-3");
 * NULL: none that is known. */
const char *chat_template_model(const char *jinja);

/* The row that a program resembles by its markers, which the tokenizer (NULL: any) has the tokens
 * for, and *marker; NULL: none. */
const char *chat_template_nearest(const char **marker, const char *jinja,
                                  const struct tokenizer *tok);

#endif
