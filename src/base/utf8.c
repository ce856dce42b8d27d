#include "src/base/utf8.h"

size_t utf8_decode(uint32_t *c, const char *s, size_t n)
{
    if (n == 0) return 0;
    const unsigned char *p = (const unsigned char *)s;
    if (p[0] < 0x80) {
        *c = p[0];
        return 1;
    }
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n) return 0;
    uint32_t v = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return 0;
    *c = v;
    return len;
}

size_t utf8_write(char out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    static const unsigned char lead[5] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(lead[len] | c);
    return len;
}

bool utf8_valid(const char *s, size_t n, size_t *at)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = utf8_decode(&c, s + i, n - i);
        if (len == 0) {
            *at = i;
            return false;
        }
        i += len;
    }
    return true;
}
