/* Untrusted text on a terminal: the one place that decides what may be shown as it is.
 *
 * A name, a path or a line of a file can hold a line break that forges a second message, an escape
 * sequence that moves the cursor, or marks that reorder and hide letters. Such characters are
 * written as \xNN, byte by byte, and so is what is not UTF-8. Every message (err.h), printed line
 * (term.h) and quoted name goes through here. */
#ifndef LORAC_BASE_SAFE_H
#define LORAC_BASE_SAFE_H

#include <stdbool.h>
#include <stddef.h>

/* In a line, control characters (line break and tab among them) are unsafe, and so are characters
 * that are invisible or turn the direction. In a text, line breaks, tabs and the joiners U+200C and
 * U+200D, which Persian, Hindi and emoji need, are safe. */
enum safe_kind { SAFE_LINE, SAFE_TEXT };

/* The bytes of the character at s, n > 0; 1 where it is not UTF-8. *safe: it may be shown as it
 * is. */
size_t safe_step(bool *safe, const char *s, size_t n, enum safe_kind kind);

/* Write the n bytes at s as one safe line of at most room - 1 bytes, and a NUL; returns its length.
 * A longer text loses its middle, with " ... " in its place: a message says at its beginning where
 * and at its end what. room >= 64. */
size_t safe_fit(char *out, size_t room, const char *s, size_t n);

#endif
