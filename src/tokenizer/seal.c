/* Makes the tables that encoding needs from the contents of the files. */
#include <string.h>

#include "src/base/mem.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/rules.h"

/* ---- symbols of single characters and bytes -------------------------------------------------- */

static uint32_t symbol_of(const struct tokenizer *t, const char *bytes, size_t n)
{
    int32_t id = vocab_find(&t->vocab, bytes, n);
    if (id >= 0 && joinable(t, id)) return (uint32_t)id;
    id = vocab_find(&t->chars, bytes, n);
    return id >= 0 ? (uint32_t)(t->vocab.n + (size_t)id) : BPE_NONE;
}

static int note_byte_pieces(struct tokenizer *t, const char *where, struct err *e)
{
    size_t found = 0;
    for (size_t b = 0; b < 256; b++) t->bytes[b] = BPE_NONE;
    for (size_t i = 0; i < t->vocab.n; i++) {
        if (t->vocab.pieces[i].type != TOKEN_BYTE) continue;
        size_t n;
        const char *text = vocab_bytes(&t->vocab, (int32_t)i, &n);
        int byte = byte_piece(text, n);
        if (byte < 0) {
            return err_set(e, "%s: piece %zu: found the byte piece %s, wanted <0x00> to <0xFF>",
                           where, i, err_quote(text, n));
        }
        t->bytes[byte] = (uint32_t)i;
        found++;
    }
    if (t->byte_fallback ? found == 256 : found == 0) return 0;
    return err_set(e, "%s: found %zu byte pieces, wanted %s", where, found,
                   t->byte_fallback ? "256, as it says that bytes are the fallback"
                                    : "none, as it says that bytes are not the fallback");
}

static int seal_spm(struct tokenizer *t, const char *where, struct err *e)
{
    int code = note_byte_pieces(t, where, e);
    if (code) return code;
    if (!t->byte_fallback && t->unk < 0) {
        return err_set(e,
                       "%s: found neither byte pieces nor an unknown piece, wanted one of them "
                       "for characters that have no piece",
                       where);
    }
    for (int c = 0; c < 128; c++) t->ascii[c] = symbol_of(t, &(char){ (char)c }, 1);
    t->space = symbol_of(t, META_SPACE, META_SPACE_BYTES);
    return 0;
}

static int seal_byte_level(struct tokenizer *t, struct err *e)
{
    for (int b = 0; b < 256; b++) {
        struct str s = { 0 };
        alphabet_spell(&s, &(char){ (char)b }, 1);
        if (str_error(&s, e)) return e->code;
        t->bytes[b] = symbol_of(t, s.p, s.n);
        str_free(&s);
    }
    return splitter_init(&t->splitter, t->pre, e);
}

/* Each position in a text may cost this many steps. */
enum { USER_MOST = 256 };

/* ---- added tokens that text is searched for -------------------------------------------------- */

/* An added token as it is spelt in normalised text. */
static int spell_normalized(struct str *out, const struct tokenizer *t, const char *text, size_t n,
                            struct err *e)
{
    if (t->nfc) {
        struct nfc f = { 0 };
        int code = nfc_form(&f, text, n, e);
        if (!code) str_add(out, f.text.p, f.text.n);
        nfc_release(&f);
        return code ? code : str_error(out, e);
    }
    if (t->prefix == PREFIX_EACH) str_addz(out, META_SPACE);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            str_addz(out, META_SPACE);
        } else {
            str_addc(out, text[i]);
        }
    }
    return str_error(out, e);
}

static int add_user_piece(struct tokenizer *t, int32_t id, struct err *e)
{
    size_t n;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    if (n == 0) return 0;
    enum piece_search search = t->vocab.pieces[id].search;
    if (search == SEARCH_NORMALIZED && t->kind == TOKENIZER_SPM) {
        return match_add(&t->normal, text, n, id, e);
    }
    if (search != SEARCH_RAW_LAST || !(t->normalizer || t->nfc)) {
        return match_add(&t->raw[search == SEARCH_RAW_LAST], text, n, id, e);
    }
    struct str s = { 0 };
    int code = spell_normalized(&s, t, text, n, e);
    if (!code) code = match_add(&t->normal, s.p, s.n, id, e);
    str_free(&s);
    return code;
}

static int seal_user_pieces(struct tokenizer *t, const char *where, struct err *e)
{
    for (size_t i = 0; i < t->vocab.n; i++) {
        if (t->vocab.pieces[i].type != TOKEN_USER) continue;
        size_t n;
        const char *text = vocab_bytes(&t->vocab, (int32_t)i, &n);
        if (n > USER_MOST) {
            return err_set(e, "%s: added token %s: found %zu bytes, wanted at most %d", where,
                           err_quote(text, n), n, USER_MOST);
        }
        int code = add_user_piece(t, (int32_t)i, e);
        if (code) return code;
        if (t->trim && memchr(text, ' ', n)) {
            return err_set(e,
                           "%s: user-defined piece %s: found a space in it together with "
                           "remove_extra_whitespaces, wanted one or the other",
                           where, err_quote(text, n));
        }
    }
    return 0;
}

/* Special tokens are looked for only on request; no known file has a longer one. */
static int seal_special_pieces(struct tokenizer *t, struct err *e)
{
    int code = 0;
    for (size_t i = 0; !code && i < t->vocab.n; i++) {
        enum token_type type = t->vocab.pieces[i].type;
        size_t n;
        const char *text = vocab_bytes(&t->vocab, (int32_t)i, &n);
        if ((type == TOKEN_CONTROL || type == TOKEN_UNKNOWN) && n > 0 && n <= USER_MOST)
            code = match_add(&t->special, text, n, (int32_t)i, e);
    }
    match_seal(&t->special);
    return code;
}

static int seal_matches(struct tokenizer *t, const char *where, struct err *e)
{
    int code = seal_user_pieces(t, where, e);
    if (!code) code = seal_special_pieces(t, e);
    if (code) return code;
    match_seal(&t->raw[0]);
    match_seal(&t->raw[1]);
    match_seal(&t->normal);
    return 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool has_inner_space(const struct tokenizer *t, int32_t id)
{
    size_t n;
    const char *text = vocab_bytes(&t->vocab, id, &n);
    for (size_t i = 1; i + META_SPACE_BYTES <= n; i++) {
        if (memcmp(text + i, META_SPACE, META_SPACE_BYTES) != 0) continue;
        if (i < META_SPACE_BYTES) return true;
        if (memcmp(text + i - META_SPACE_BYTES, META_SPACE, META_SPACE_BYTES) != 0) return true;
    }
    return false;
}

/* Where no rule makes a piece that has a space after another character, a text can be cut before
 * each run of spaces: no join ever crosses the cut, and the order of joins on one side does not
 * matter to the other. Unused pieces forbid it, because how they come apart depends on the last
 * joins in the whole text. */
static bool words_are_apart(const struct tokenizer *t)
{
    if (t->bpe.n_unused) return false;
    for (size_t i = 0; i < t->bpe.n_slots; i++) {
        const struct bpe_rule *r = &t->bpe.slots[i];
        if (r->rank != BPE_NONE && has_inner_space(t, (int32_t)r->joined)) return false;
    }
    return true;
}

int tokenizer_seal(struct tokenizer *t, const char *where, struct err *e)
{
    if (t->vocab.n == 0) return err_set(e, "%s: found no pieces, wanted a vocabulary", where);
    int code = rules_make(t, where, e);
    if (!code) code = seal_matches(t, where, e);
    if (code) return code;
    if (t->kind == TOKENIZER_BYTE_BPE) return seal_byte_level(t, e);
    t->cut_words = words_are_apart(t);
    return seal_spm(t, where, e);
}
