/* Reading untrusted JSON: jansson with limits in front of it; and writing JSON, by one writer.
 *
 * json_parse() refuses what parsers disagree on: invalid UTF-8, lone surrogates, NaN, trailing
 * text, nesting deeper than JSON_DEPTH and, if asked to, duplicate keys. An integer beyond 64 bits
 * is read as a real number, so nobody who asks for an integer gets it. The tree is jansson's
 * json_t, to be released with json_decref(). The getters below name file and key in their errors.
 *
 * A tree takes many times the memory of its text (an empty array 60 times), so its size is counted
 * before it is made. A text whose tree would take more than JSON_ROOM plus the size of the text is
 * refused. */
#ifndef LORAC_BASE_JSON_H
#define LORAC_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

enum { JSON_DEPTH = 64, JSON_ROOM = 40 << 20 };
enum json_dup { JSON_DUP_REFUSED, JSON_DUP_LAST_WINS };

/* Parse the n bytes at text. `where` (a file name, or file:line) begins the error message.
 * NULL with a message in e on failure. */
json_t *json_parse(const char *text, size_t n, enum json_dup dup, const char *where, struct err *e);

/* Read and parse a file of at most `most` bytes (a byte order mark in front is skipped). */
json_t *json_read(const char *path, size_t most, struct err *e);
/* The same for files that are nearly all small values, such as vocabularies: the tree may take
 * JSON_ROOM plus `times` the size of the text. */
json_t *json_read_dense(const char *path, size_t most, size_t times, struct err *e);

/* Members of an object. Each returns 0, or an error "where: key: found ..., wanted ...".
 * An absent key or null leaves *out as it was, so defaults are set before the call;
 * json_has() tells whether a key is there and not null. */
bool json_has(const json_t *o, const char *key);
int json_get_size(size_t *out, const json_t *o, const char *key, const char *where, struct err *e);
int json_get_double(double *out, const json_t *o, const char *key, const char *where,
                    struct err *e);
int json_get_bool(bool *out, const json_t *o, const char *key, const char *where, struct err *e);
/* *out points into the tree; a NUL inside the string is an error. */
int json_get_string(const char **out, const json_t *o, const char *key, const char *where,
                    struct err *e);

/* "a string", "an object", ... for messages. */
const char *json_kind(const json_t *v);

/* The number v as it is written in the n bytes at `text`, of which `root` is the tree: *out points
 * into it. False when v is not a number of the tree. */
bool json_number_text(const char **out, size_t *out_n, const char *text, size_t n,
                      const json_t *root, const json_t *v);

/* ---- writing --------------------------------------------------------------------------------- */

/* A document is written in the order of the calls; the writer puts the commas, the line ends and
 * the escapes. lorac writes all JSON with it, except for two kinds: trees that are changed or
 * sorted before they are written (below), and config.json, tokenizer.json and the header of
 * safetensors, which have layouts of their own.
 *
 * `key` names a member; it is NULL for an item of an array and for the document itself. A number
 * that is not finite becomes null. When memory is short, `out` is marked as str_add() does it. */
enum json_layout {
    JSON_ONE_LINE, /* {"a": 1, "b": 2} */
    JSON_LINES     /* each member on a line of its own, indented by 2 for each open bracket */
};
enum { JSON_WRITER_DEPTH = 8 };

struct json_writer {
    struct str *out; /* set this; the rest begins as zero */
    size_t depth;
    struct {
        enum json_layout layout;
        char end; /* the bracket that closes it */
        bool any; /* it has members */
    } open[JSON_WRITER_DEPTH];
};

void json_write_object(struct json_writer *w, const char *key, enum json_layout layout);
void json_write_array(struct json_writer *w, const char *key, enum json_layout layout);
/* Close what was opened last. */
void json_write_end(struct json_writer *w);

/* The bytes at text; bytes that are not UTF-8 become U+FFFD. NULL: null. */
void json_write_text(struct json_writer *w, const char *key, const char *text);
void json_write_text_n(struct json_writer *w, const char *key, const char *text, size_t n);
void json_write_bool(struct json_writer *w, const char *key, bool v);
void json_write_count(struct json_writer *w, const char *key, uint64_t v);
/* The shortest digits that read back as the same bits. */
void json_write_real(struct json_writer *w, const char *key, double v);
/* A number with `decimals` decimals, as %.*f; with `digits` digits, as %.*g. */
void json_write_decimals(struct json_writer *w, const char *key, double v, int decimals);
void json_write_digits(struct json_writer *w, const char *key, double v, int digits);

/* Single values, for texts that are not written by the writer: a string with its quotes, and a
 * number as json_write_real() writes it. */
void json_add_string(struct str *out, const char *text, size_t n);
void json_add_double(struct str *out, double v);

/* Print the document and a line end to stdout, which may be a terminal (see json_make_safe()).
 * Frees `out`. */
int json_print(struct str *out, struct err *e);

/* Make JSON safe for stdout: in the text of `out` from `from` on, characters that are unsafe on a
 * terminal (safe.h) become escapes such as \u202e, which mean the same. */
void json_make_safe(struct str *out, size_t from);

/* ---- trees to be written --------------------------------------------------------------------- */

/* jansson writes documents that are trees. It spells \b, \f and other control characters
 * differently from json_add_string(), and numbers with 17 digits. Both spellings are in training
 * texts (calls of tools), so neither may change. */

/* An object under construction. jansson's setters refuse a value that could not be made, and
 * `failed` records it: one check at the end is enough. */
struct json_members {
    json_t *o;
    bool failed;
};
struct json_members json_members_new(void);
/* Takes the value over. */
void json_set(struct json_members *m, const char *key, json_t *value);
/* An empty text is written as null, and so is NULL. */
void json_set_text(struct json_members *m, const char *key, const char *text);
void json_set_count(struct json_members *m, const char *key, uint64_t n);
void json_set_number(struct json_members *m, const char *key, double v);

/* A string for a tree. JSON cannot hold text that is not UTF-8; it is written as in messages
 * (safe.h). */
json_t *json_text(const char *text);

/* Append a tree as text with sorted keys and an indentation of 2. */
void json_add_tree(struct str *out, const json_t *v);
/* The same, the keys in the order in which they were set. */
void json_add_document(struct str *out, const json_t *v);
/* Append a tree as text on one line, keys in the order they were read in. */
void json_add_line(struct str *out, const json_t *v);

#endif
