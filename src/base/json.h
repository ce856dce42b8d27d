/* JSON from strangers: jansson behind limits.
 *
 * json_parse() refuses what parsers disagree on: invalid UTF-8, lone surrogates, NaN, trailing
 * text, nesting deeper than JSON_DEPTH, and, where asked, duplicate keys. An integer beyond 64 bits
 * is read as a real number, so that it serves nothing that asks for an integer. The tree is
 * jansson's json_t, to be released with json_decref(). The getters below name file and key in their
 * errors.
 *
 * A tree takes many times the memory of its text (an empty array 60 times), so its size is counted
 * before it is made: at most JSON_ROOM and once the text, or else the text is refused. */
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
 * JSON_ROOM and `times` the text. */
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
 * into it. False when v is no number of the tree. */
bool json_number_text(const char **out, size_t *out_n, const char *text, size_t n,
                      const json_t *root, const json_t *v);

/* Append a string as a JSON literal, quotes included. The bytes must be valid UTF-8. */
void json_add_string(struct str *out, const char *text, size_t n);

/* Append a tree as text with sorted keys and an indentation of 2. */
void json_add_tree(struct str *out, const json_t *v);

/* The same, the keys in the order in which they were set. */
void json_add_document(struct str *out, const json_t *v);
/* Append a tree as text on one line, keys in the order they were read in. */
void json_add_line(struct str *out, const json_t *v);

/* Append a double so that it reads back as the same bits; non-finite values become null. */
void json_add_double(struct str *out, double v);

#endif
