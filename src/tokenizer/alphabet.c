/* GPT-2's alphabet: every byte has a printable character, so that vocabularies are plain text.
 * Printable Latin-1 characters stand for themselves; the other 68 bytes are, in order, U+0100 and
 * the characters after it. Source: bytes_to_unicode() in openai/gpt-2, src/encoder.py. */
#include <string.h>

#include "src/base/utf8.h"
#include "src/tokenizer/parts.h"

enum { SHIFTED = 0x100, SHIFTED_N = 68 };

static bool stands_for_itself(unsigned c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* How many bytes below this one do not stand for themselves: 0-20, 7f-a0, ad. */
static unsigned shifted_below(unsigned byte)
{
    if (byte <= 0x20) return byte;
    if (byte <= 0x7f) return 0x21;
    if (byte <= 0xa0) return 0x21 + byte - 0x7f;
    return 0x21 + 0x22;
}

uint32_t alphabet_of_byte(uint8_t byte)
{
    return stands_for_itself(byte) ? byte : SHIFTED + shifted_below(byte);
}

int alphabet_to_byte(uint32_t c)
{
    if (c < SHIFTED) return stands_for_itself(c) ? (int)c : -1;
    unsigned i = c - SHIFTED;
    if (i >= SHIFTED_N) return -1;
    if (i <= 0x20) return (int)i;
    return i < 0x43 ? (int)(0x7f + i - 0x21) : 0xad;
}

void alphabet_spell(struct str *out, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c[4];
        str_add(out, c, utf8_write(c, alphabet_of_byte((uint8_t)bytes[i])));
    }
}

int byte_piece(const char *text, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    const char *high = text[3] ? strchr(digits, text[3]) : NULL;
    const char *low = text[4] ? strchr(digits, text[4]) : NULL;
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}
