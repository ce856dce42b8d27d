/* The words, values and names of a reading (jinja.h), for the two files that make it. Keep this
 * header between them.
 *
 * While reader.dead > 0 the words that are read have no effect: functions work as usual, but only
 * refuse words that are not Jinja. */
#ifndef LORAC_DATA_JINJA_VALUE_H
#define LORAC_DATA_JINJA_VALUE_H

#include "src/data/jinja_case.h"
#include "src/data/jinja_lex.h"

enum { JINJA_VARIABLES = 256, JINJA_STEPS = 200000, JINJA_DEPTH = 48, JINJA_POOL_BYTES = 1 << 21 };

enum jinja_value_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOLEAN,
    JINJA_IS_NUMBER,
    JINJA_IS_TEXT,  /* at, n in the pool */
    JINJA_LIST,     /* of turns */
    JINJA_TURN,     /* number */
    JINJA_LOOP,     /* the innermost for */
    JINJA_SPACE,    /* a namespace: number */
    JINJA_FUNCTION, /* number: which of functions[] */
};

struct jinja_value {
    enum jinja_value_kind kind;
    long number;
    size_t at, n; /* of a JINJA_IS_TEXT its bytes, of a JINJA_LIST n turns */
    uint8_t turn[JINJA_TURNS];
};

struct jinja_variable {
    const char *name; /* in the program */
    size_t n, space;  /* space: 0, or the namespace it belongs to */
    struct jinja_value value;
};

struct jinja_loop {
    struct jinja_value over;
    size_t i;
};

struct jinja_reader {
    const struct jinja_words *words;
    const struct jinja_case *c;
    size_t at;   /* the next word */
    size_t dead; /* > 0: the words read have no effect, and none is refused */
    size_t steps, depth;
    bool refuses;    /* an exception was raised, and reading stops */
    struct str pool; /* texts that values are made of */
    struct str *out;
    struct jinja_variable variable[JINJA_VARIABLES];
    size_t n_variables, scope, spaces; /* scope: where the innermost one begins */
    struct jinja_loop loop;            /* the innermost one; over.kind JINJA_UNDEFINED: none */
    struct err *e;
};

enum jinja_function { JINJA_RAISE_EXCEPTION, JINJA_NAMESPACE };

/* The next word, and a word's bytes. */
const struct jinja_word *jinja_word_at(const struct jinja_reader *r);
const char *jinja_bytes_of(const struct jinja_reader *r, const struct jinja_word *w);
/* An error that says what is not supported; 0 while dead. */
int jinja_refuse(struct jinja_reader *r, const char *what);
/* Whether the next word is that sign or name; the skip functions also step over it. */
bool jinja_is_sign(const struct jinja_reader *r, const char *text);
bool jinja_is_name(const struct jinja_reader *r, const char *text);
bool jinja_skip_sign(struct jinja_reader *r, const char *text);
bool jinja_skip_name(struct jinja_reader *r, const char *text);
/* Step over a sign, or the end of a tag, that must be there. */
int jinja_want(struct jinja_reader *r, const char *sign);
int jinja_want_close(struct jinja_reader *r);
/* Values. The bytes of a text are in the pool: those added since `from`, or the bytes given. */
struct jinja_value jinja_boolean(bool on);
struct jinja_value jinja_number(long n);
const char *jinja_text_of(const struct jinja_reader *r, const struct jinja_value *v);
int jinja_finish_text(struct jinja_value *v, struct jinja_reader *r, size_t from);
int jinja_make_text(struct jinja_value *v, struct jinja_reader *r, const char *bytes, size_t n);
/* Python's truth of a value; a value as text; two values as one text; whether two values are
 * equal. */
bool jinja_is_true(const struct jinja_reader *r, const struct jinja_value *v);
int jinja_add_value(struct jinja_reader *r, struct str *out, const struct jinja_value *v);
int jinja_join(struct jinja_value *v, struct jinja_reader *r, const struct jinja_value *a,
               const struct jinja_value *b);
int jinja_equal(bool *same, struct jinja_reader *r, const struct jinja_value *a,
                const struct jinja_value *b);
/* Set a name of the innermost scope, or (space > 0) of a namespace. */
int jinja_assign(struct jinja_reader *r, const char *name, size_t n, size_t space,
                 const struct jinja_value *value);
/* Whether a name is that word; the value of a name. */
bool jinja_named(const char *name, size_t n, const char *word_);
int jinja_look_up(struct jinja_value *v, struct jinja_reader *r, const char *name, size_t n);
/* An attribute of a message; turn i of a list, from its end when i < 0; an attribute of any value
 * (v is replaced). */
int jinja_turn_attribute(struct jinja_value *v, struct jinja_reader *r, long turn, const char *name,
                         size_t n);
struct jinja_value jinja_item(const struct jinja_value *list, long i);
int jinja_attribute(struct jinja_value *v, struct jinja_reader *r, const char *name, size_t n);

#endif
