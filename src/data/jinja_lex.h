/* The words of a Jinja program: text between tags, and within tags names, strings, numbers, signs.
 *
 * White space around tags is dropped as in transformers: by dashes, by trim_blocks (one line feed
 * after a block or comment), by lstrip_blocks (the spaces that indent one), and the line feed that
 * ends the program. Source: jinja2's lexer.py. */
#ifndef LORAC_DATA_JINJA_LEX_H
#define LORAC_DATA_JINJA_LEX_H

#include <stdbool.h>

#include "src/base/err.h"
#include "src/base/str.h"

enum jinja_kind {
    JINJA_TEXT,   /* between tags */
    JINJA_PRINT,  /* {{ */
    JINJA_BLOCK,  /* {% */
    JINJA_CLOSE,  /* the end of both */
    JINJA_NAME,   /* a word: a name, a keyword */
    JINJA_STRING, /* the text between its quotes, with escapes resolved */
    JINJA_NUMBER, /* of decimal digits */
    JINJA_SIGN,   /* one or two characters */
    JINJA_END,
};

struct jinja_word {
    enum jinja_kind kind;
    size_t at, n; /* its bytes, in jinja_words.bytes */
};

struct jinja_words {
    struct jinja_word *word; /* n of them, the last one JINJA_END */
    size_t n, cap;
    struct str bytes;
};

enum { JINJA_PROGRAM_BYTES = 1 << 18 };

/* Cut a program into words (out is overwritten). Fails for a program that is longer than
 * JINJA_PROGRAM_BYTES, has a tag or string without an end, or has an unknown escape, a raw block or
 * a control byte, which are not supported. */
int jinja_cut(struct jinja_words *out, const char *program, struct err *e);
void jinja_words_free(struct jinja_words *w);

#endif
