#include "src/base/safe.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/base/utf8.h"

/* Characters that affect a terminal or a reader without being visible: controls, marks of
 * direction, letters without width. Sorted. Variation selectors are not among them: they only
 * choose a glyph. */
static const struct {
    uint32_t first, last;
} unsafe[] = {
    { 0x00, 0x1f },       { 0x7f, 0x9f },       { 0xad, 0xad },     { 0x34f, 0x34f },
    { 0x61c, 0x61c },     { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 }, { 0x180b, 0x180f },
    { 0x200b, 0x200f },   { 0x2028, 0x202e },   { 0x2060, 0x206f }, { 0x3164, 0x3164 },
    { 0xfeff, 0xfeff },   { 0xffa0, 0xffa0 },   { 0xfff9, 0xfffb }, { 0x1bca0, 0x1bca3 },
    { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
};

size_t safe_step(bool *safe, const char *s, size_t n, enum safe_kind kind)
{
    uint32_t c;
    size_t len = utf8_decode(&c, s, n);
    *safe = len > 0;
    if (!len) return 1;
    if (kind == SAFE_TEXT && (c == '\n' || c == '\t' || c == 0x200c || c == 0x200d)) return len;
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe && c >= unsafe[i].first; i++)
        if (c <= unsafe[i].last) *safe = false;
    return len;
}

/* Write the next character of a line, as it is shown, to `out` unless that is NULL. Adds the number
 * of shown bytes to *shown and returns the number of bytes of the character. */
static size_t put(char *out, size_t *shown, const char *s, size_t n)
{
    bool safe;
    size_t len = safe_step(&safe, s, n, SAFE_LINE);
    if (out && safe) memcpy(out, s, len);
    for (size_t i = 0; out && !safe && i < len; i++) {
        char hex[5];
        snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)s[i]);
        memcpy(out + 4 * i, hex, 4);
    }
    *shown += safe ? len : 4 * len;
    return len;
}

size_t safe_fit(char *out, size_t room, const char *s, size_t n)
{
    static const char gap[] = " ... ";
    size_t all = 0, used = 0, at = 0, most = room - 1;
    for (size_t i = 0; i < n;) i += put(NULL, &all, s + i, n - i);
    bool cut = all > most;
    size_t half = (most - (sizeof gap - 1)) / 2, first = cut ? half : all, passed;
    while (at < n) {
        size_t next = used, len = put(NULL, &next, s + at, n - at);
        if (next > first) break;
        put(out + used, &used, s + at, n - at);
        at += len;
    }
    if (cut) {
        for (passed = used; all - passed > half;) at += put(NULL, &passed, s + at, n - at);
        memcpy(out + used, gap, sizeof gap - 1);
        used += sizeof gap - 1;
        while (at < n) at += put(out + used, &used, s + at, n - at);
    }
    out[used] = 0;
    return used;
}
