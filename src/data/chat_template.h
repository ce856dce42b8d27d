/* Chat templates as models carry them: Jinja programs. They are never run; a program that is known
 * is recognised by its text, and any other is not guessed at. */
#ifndef LORAC_DATA_CHAT_TEMPLATE_H
#define LORAC_DATA_CHAT_TEMPLATE_H

#include "src/base/err.h"

/* The name of the template row (template.h) that renders what this program renders. What
 * makes no difference when transformers runs it is overlooked: white space between the words of tags
 * and what tags drop around them, the kind of quotes, escaped line feeds.
 * NULL with an error for a program that is not known; the error suggests a row by its markers. */
const char *chat_template_row(const char *jinja, struct err *e);

#endif
