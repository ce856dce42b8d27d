/* A case for which a chat template is read (jinja.h): an order of roles, and the marks that stand
 * for unknown texts in a reading. */
#ifndef LORAC_DATA_JINJA_CASE_H
#define LORAC_DATA_JINJA_CASE_H

#include "src/data/conversation.h"

enum { JINJA_TURNS = 8 };

struct jinja_case {
    enum role role[JINJA_TURNS];
    size_t n;
    bool prompt; /* add_generation_prompt */
    bool empty;  /* all texts are empty; otherwise no text is empty */
};

/* The marks in a reading. The text of turn i is two bytes: MARK_TEXT, '0' + i. */
enum jinja_mark {
    MARK_BOS = 1,
    MARK_EOS,
    MARK_TEXT,
    MARK_TRIM,     /* from here ... */
    MARK_TRIM_END, /* ... to here, as Python's strip() leaves it */
};

/* Append a text without the white space around it, as far as the text is known: known text is
 * trimmed here, and text that begins or ends with a text of the conversation goes between marks. */
void jinja_trim(struct str *out, const char *text, size_t n);

/* Whether a part of the text is not known. */
bool jinja_has_marks(const char *text, size_t n);

#endif
