/* Ids to text. */
#include <string.h>

#include "src/base/utf8.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/tokenizer.h"

static const char UNKNOWN_SURFACE[] = " \xe2\x81\x87 "; /* SentencePiece's: U+2047 between spaces */

static void add_spm(struct str *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        const char *mark = memmem(text + i, n - i, META_SPACE, META_SPACE_BYTES);
        size_t to = mark ? (size_t)(mark - text) : n;
        str_add(out, text + i, to - i);
        if (mark) str_addc(out, ' ');
        i = to + (mark ? META_SPACE_BYTES : 0);
    }
}

/* A piece with a character outside the alphabet stands for itself, as in Hugging Face's decoder. */
static void add_byte_level(struct str *out, const char *text, size_t n)
{
    size_t mark = out->n;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        i += utf8_decode(&c, text + i, n - i);
        int byte = alphabet_to_byte(c);
        if (byte < 0) {
            if (!out->failed) out->n = mark;
            str_add(out, text, n);
            return;
        }
        str_addc(out, (char)byte);
    }
}

static void add_piece(const struct tokenizer *t, struct str *out, int32_t id, bool strip)
{
    size_t n;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    enum token_type type = t->vocab.pieces[id].type;
    bool spm = t->kind == TOKENIZER_SPM;
    if (type == TOKEN_CONTROL || (!spm && special_type(type))) {
        str_add(out, text, n);
    } else if (type == TOKEN_UNKNOWN) {
        str_addz(out, UNKNOWN_SURFACE);
    } else if (type == TOKEN_BYTE) {
        str_addc(out, (char)byte_piece(text, n));
    } else if (spm) {
        bool marked = n >= META_SPACE_BYTES && memcmp(text, META_SPACE, META_SPACE_BYTES) == 0;
        size_t skip = strip && marked ? META_SPACE_BYTES : 0;
        add_spm(out, text + skip, n - skip);
    } else {
        add_byte_level(out, text, n);
    }
}

void tokenizer_decode(const struct tokenizer *t, struct str *out, const int32_t *ids, size_t n,
                      bool special, bool strip_prefix)
{
    bool strip = strip_prefix && (t->prefix != PREFIX_NONE || t->trim);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->vocab.n) {
            padding_name(out, ids[i]);
            strip = false;
            continue;
        }
        bool control = t->vocab.pieces[ids[i]].type == TOKEN_CONTROL;
        if (control && !special) continue;
        add_piece(t, out, ids[i], strip && !control);
        if (!control) strip = false;
    }
}
