/* UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef LORAC_BASE_UTF8_H
#define LORAC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode one code point from the n bytes at s. Returns its length in bytes, or 0 when the bytes
 * are not valid UTF-8 or end too early; *c is then untouched. */
size_t utf8_decode(uint32_t *c, const char *s, size_t n);

/* Write one code point (a valid scalar value) into out; returns its length, 1 to 4. (Not
 * utf8_encode: jansson has a function of that name, which a static link would find twice.) */
size_t utf8_write(char out[4], uint32_t c);

/* True when the n bytes at s are valid; else *at is the offset of the first byte that is not. */
bool utf8_valid(const char *s, size_t n, size_t *at);

#endif
