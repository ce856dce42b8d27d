/* Text to ids: cut out the added tokens, normalise the rest or split it into words, run BPE, attach
 * spans. */
#include <string.h>

#include "src/base/mem.h"
#include "src/base/utf8.h"
#include "src/tokenizer/parts.h"
#include "src/tokenizer/tokenizer.h"

/* A normalised text may have three times as many bytes, and offsets have 32 bits. */
enum { TEXT_MOST = 1 << 30 };

struct encoder {
    const struct tokenizer *t;
    struct tokens *out;
    const char *text; /* the caller's */
    /* The text in which added tokens and words are looked for: `text`, or, for a byte-level
     * tokenizer, the NFC of the segment that begins at `shift`. */
    const char *words;
    size_t shift;
    struct nfc nfc;
    size_t base; /* added to every span */
    bool inner;  /* a special token stands before the text: no text begins here */
    struct bpe_work work;
    struct splits splits;
    /* SentencePiece-style: the normalised segment, and for each of its bytes (and for its end) the
     * offset of the byte in `text` that it comes from. */
    struct str normal;
    uint32_t *origin;
    size_t origin_cap;
    struct str word;    /* byte-level: a word in GPT-2's alphabet */
    bool after_unknown; /* the last id was the unknown piece, which absorbs further ones */
    uint32_t *pile;     /* symbols that must still be taken apart */
    size_t pile_cap;
    struct err *e;
};

void tokens_free(struct tokens *t)
{
    mem_free(t->ids);
    mem_free(t->start);
    mem_free(t->end);
    *t = (struct tokens){ 0 };
}

static int tokens_grow(struct tokens *t, struct err *e)
{
    size_t cap = t->cap ? 2 * t->cap : 256;
    int32_t *ids = mem_resize(t->ids, cap, sizeof *ids, e);
    if (!ids) return e->code;
    t->ids = ids;
    uint32_t *start = mem_resize(t->start, cap, sizeof *start, e);
    if (!start) return e->code;
    t->start = start;
    uint32_t *end = mem_resize(t->end, cap, sizeof *end, e);
    if (!end) return e->code;
    t->end = end;
    t->cap = cap;
    return 0;
}

int tokens_add(struct tokens *t, int32_t id, size_t start, size_t end, struct err *e)
{
    if (t->n == t->cap && tokens_grow(t, e)) return e->code;
    t->ids[t->n] = id;
    t->start[t->n] = (uint32_t)start;
    t->end[t->n++] = (uint32_t)end;
    return 0;
}

static int put(struct encoder *x, uint32_t id, size_t start, size_t end)
{
    x->after_unknown = false;
    if (!tokenizer_has_row(x->t, (int32_t)id)) return tokenizer_no_row(x->t, (int32_t)id, x->e);
    return tokens_add(x->out, (int32_t)id, x->base + start, x->base + end, x->e);
}

/* For bytes [start, end) of x->words. */
static int put_words(struct encoder *x, uint32_t id, size_t start, size_t end)
{
    if (x->words == x->text) return put(x, id, start, end);
    return put(x, id, x->shift + nfc_source_start(&x->nfc, start),
               x->shift + nfc_source_end(&x->nfc, end));
}

/* ---- white space beside added tokens --------------------------------------------------------- */

/* White space as Hugging Face's library strips it (Unicode's White_Space). */
static bool is_white(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* The white space at the beginning of [from, to): where it ends. */
static size_t after_white(const char *text, size_t from, size_t to)
{
    uint32_t c;
    for (size_t n; from < to; from += n) {
        n = utf8_decode(&c, text + from, to - from);
        if (!is_white(c)) break;
    }
    return from;
}

/* The white space at the end of [from, to): where it begins. */
static size_t before_white(const char *text, size_t from, size_t to)
{
    while (from < to) {
        size_t at = to - 1;
        uint32_t c;
        while (at > from && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
        utf8_decode(&c, text + at, to - at);
        if (!is_white(c)) break;
        to = at;
    }
    return to;
}

/* A word with lstrip or rstrip covers the white space beside it, too. */
static void widen_word(size_t *begin, size_t *end, const struct tokenizer *t, int32_t id,
                       const char *text, size_t from, size_t to)
{
    const struct piece *word = &t->vocab.pieces[id];
    if (word->lstrip) *begin = before_white(text, from, *begin);
    if (word->rstrip) *end = after_white(text, *end, to);
}

/* ---- SentencePiece-style --------------------------------------------------------------------- */

/* Bytes [start, end) of the normalised text have no piece. */
static int put_unknown(struct encoder *x, size_t start, size_t end)
{
    const uint32_t *origin = x->origin;
    if (!x->t->byte_fallback) {
        if (x->after_unknown) {
            x->out->end[x->out->n - 1] = (uint32_t)(x->base + origin[end]);
            return 0;
        }
        int code = put(x, (uint32_t)x->t->unk, origin[start], origin[end]);
        x->after_unknown = true;
        return code;
    }
    int code = 0;
    for (size_t i = start; !code && i < end; i++) {
        code = put(x, x->t->bytes[(uint8_t)x->normal.p[i]], origin[i], origin[i + 1]);
    }
    return code;
}

static size_t symbol_bytes(const struct tokenizer *t, uint32_t symbol)
{
    return symbol < t->vocab.n ? t->vocab.pieces[symbol].n : t->chars.pieces[symbol - t->vocab.n].n;
}

/* Emit a symbol. An unused piece becomes the parts from which it was last made, or unknown when it
 * has none. A part is shorter than its whole, so the pile holds at most one symbol for each
 * byte. */
static int put_symbol(struct encoder *x, uint32_t symbol, size_t start, size_t end)
{
    const struct tokenizer *t = x->t;
    if (!t->bpe.unused) {
        if (symbol >= t->vocab.n) return put_unknown(x, start, end);
        return put(x, symbol, x->origin[start], x->origin[end]);
    }
    if (x->pile_cap < end - start + 1) {
        uint32_t *pile = mem_resize(x->pile, end - start + 1, sizeof *pile, x->e);
        if (!pile) return x->e->code;
        x->pile = pile;
        x->pile_cap = end - start + 1;
    }
    int code = 0;
    x->pile[0] = symbol;
    for (size_t n = 1; !code && n > 0;) {
        symbol = x->pile[--n];
        struct bpe_pair parts = bpe_undo(&x->work, &t->bpe, symbol);
        if (parts.left != BPE_NONE) {
            x->pile[n++] = parts.right;
            x->pile[n++] = parts.left;
            continue;
        }
        size_t to = symbol == BPE_NONE ? end : start + symbol_bytes(t, symbol);
        bool known = symbol < t->vocab.n && t->vocab.pieces[symbol].type != TOKEN_UNUSED;
        code = known ? put(x, symbol, x->origin[start], x->origin[to]) : put_unknown(x, start, to);
        start = to;
    }
    return code;
}

static int put_symbols(struct encoder *x, size_t end)
{
    const struct bpe_work *w = &x->work;
    int code = 0;
    for (uint32_t i = w->n ? 0 : BPE_NONE; !code && i != BPE_NONE; i = w->symbols[i].next) {
        const struct bpe_symbol *s = &w->symbols[i];
        size_t to = s->next == BPE_NONE ? end : w->symbols[s->next].start;
        code = put_symbol(x, s->id, s->start, to);
    }
    return code;
}

static uint32_t char_symbol(const struct tokenizer *t, const char *bytes, size_t n)
{
    int32_t id = vocab_find(&t->vocab, bytes, n);
    if (id >= 0 && joinable(t, id)) return (uint32_t)id;
    id = t->chars.n ? vocab_find(&t->chars, bytes, n) : -1;
    return id >= 0 ? (uint32_t)(t->vocab.n + (size_t)id) : BPE_NONE;
}

static bool is_meta_space(const char *text, size_t n)
{
    return n >= META_SPACE_BYTES && memcmp(text, META_SPACE, META_SPACE_BYTES) == 0;
}

static int run_word(struct encoder *x, size_t end)
{
    bpe_run(&x->work, &x->t->bpe);
    int code = put_symbols(x, end);
    x->work.n = 0;
    return code;
}

/* Encode bytes [from, to) of the normalised text, which hold no added token. */
static int encode_pieces(struct encoder *x, size_t from, size_t to)
{
    const struct tokenizer *t = x->t;
    int code = bpe_work_reserve(&x->work, to - from, x->e);
    bool before_space = false; /* whether the character before is a space */
    for (size_t i = from; !code && i < to;) {
        const char *p = x->normal.p + i;
        uint32_t c, symbol;
        size_t n = utf8_decode(&c, p, to - i);
        bool space = c == 0x2581;
        bool cut = space && x->work.n && (t->split_words || (t->cut_words && !before_space));
        if (cut) code = run_word(x, i);
        if (c < 128) {
            symbol = t->ascii[c];
        } else {
            symbol = space ? t->space : char_symbol(t, p, n);
        }
        bpe_put(&x->work, symbol, i);
        before_space = space;
        i += n;
    }
    return code ? code : run_word(x, to);
}

/* The segment begins at `from`; the part of it that is kept begins at i. */
static bool wants_prefix(const struct encoder *x, size_t from, size_t i, size_t to)
{
    const struct tokenizer *t = x->t;
    if (t->prefix == PREFIX_NONE) return false;
    if (t->prefix == PREFIX_FIRST && (from > 0 || x->inner)) return false;
    bool space = x->text[i] == ' ' || is_meta_space(x->text + i, to - i);
    return !(t->prefix_unless_space && space);
}

static void normal_space(struct encoder *x, size_t at)
{
    for (size_t i = 0; i < META_SPACE_BYTES; i++) x->origin[x->normal.n + i] = (uint32_t)at;
    str_add(&x->normal, META_SPACE, META_SPACE_BYTES);
}

static int normal_reserve(struct encoder *x, size_t from, size_t to)
{
    size_t n = to - from + META_SPACE_BYTES + 1;
    for (size_t i = from; i < to; i++) n += x->text[i] == ' ' ? META_SPACE_BYTES - 1 : 0;
    str_clear(&x->normal);
    if (n <= x->origin_cap) return 0;
    uint32_t *origin = mem_resize(x->origin, n, sizeof *origin, x->e);
    if (!origin) return x->e->code;
    x->origin = origin;
    x->origin_cap = n;
    return 0;
}

/* Spaces become U+2581, with one more at the front where the tokenizer wants it. `trim` keeps one
 * space of each run and none at the ends. */
static int normalize(struct encoder *x, size_t from, size_t to)
{
    const struct tokenizer *t = x->t;
    int code = normal_reserve(x, from, to);
    if (code) return code;
    size_t i = from, end = to;
    while (t->trim && i < to && x->text[i] == ' ') i++;
    bool after_space = t->trim;
    if (i < to && wants_prefix(x, from, i, to)) normal_space(x, i);
    while (i < to) {
        size_t run = i;
        while (run < to && x->text[run] != ' ') {
            x->origin[x->normal.n + run - i] = (uint32_t)run;
            run++;
        }
        str_add(&x->normal, x->text + i, run - i);
        if (run > i) after_space = false;
        i = run;
        if (i < to && !after_space) normal_space(x, i);
        after_space = t->trim;
        i += i < to;
    }
    while (t->trim && x->normal.n >= META_SPACE_BYTES &&
           is_meta_space(x->normal.p + x->normal.n - META_SPACE_BYTES, META_SPACE_BYTES)) {
        x->normal.n -= META_SPACE_BYTES;
        end = x->origin[x->normal.n];
    }
    x->origin[x->normal.n] = (uint32_t)end;
    return str_error(&x->normal, x->e);
}

static int encode_spm(struct encoder *x, size_t from, size_t to)
{
    const struct match *m = &x->t->normal;
    int code = normalize(x, from, to);
    size_t start = 0, n = x->normal.n;
    for (size_t i = 0; !code && m->n && i < n;) {
        int32_t id;
        size_t found = match_at(m, x->normal.p + i, n - i, &id);
        if (!found) {
            i++;
            continue;
        }
        size_t begin = i, end = i + found;
        widen_word(&begin, &end, x->t, id, x->normal.p, start, n);
        if (start < begin) code = encode_pieces(x, start, begin);
        if (!code) code = put(x, (uint32_t)id, x->origin[begin], x->origin[end]);
        start = i = end;
    }
    return !code && start < n ? encode_pieces(x, start, n) : code;
}

/* ---- byte-level ------------------------------------------------------------------------------ */

/* *id = the piece that equals the whole word and is used without merging, or -1. */
static int whole_word(struct encoder *x, int32_t *id, const char *word, size_t n)
{
    *id = -1;
    if (!x->t->ignore_merges || n > PIECE_MOST) return 0;
    str_clear(&x->word);
    alphabet_spell(&x->word, word, n);
    int code = str_error(&x->word, x->e);
    if (code) return code;
    *id = vocab_find(&x->t->vocab, x->word.p, x->word.n);
    if (*id >= 0 && !joinable(x->t, *id)) *id = -1;
    return 0;
}

static int encode_word(struct encoder *x, size_t from, size_t to)
{
    const struct tokenizer *t = x->t;
    int32_t whole;
    int code = whole_word(x, &whole, x->words + from, to - from);
    if (!code && whole >= 0) return put_words(x, (uint32_t)whole, from, to);
    if (!code) code = bpe_work_reserve(&x->work, to - from, x->e);
    if (code) return code;
    for (size_t i = from; i < to; i++) {
        uint32_t symbol = t->bytes[(uint8_t)x->words[i]];
        if (symbol != BPE_NONE) bpe_put(&x->work, symbol, x->work.n ? i : from);
    }
    struct bpe_work *w = &x->work;
    bpe_run(w, &t->bpe);
    for (uint32_t i = w->n ? 0 : BPE_NONE; !code && i != BPE_NONE; i = w->symbols[i].next) {
        const struct bpe_symbol *s = &w->symbols[i];
        size_t end = s->next == BPE_NONE ? to : w->symbols[s->next].start;
        code = put_words(x, s->id, s->start, end);
    }
    return code;
}

static int encode_bytes(struct encoder *x, size_t from, size_t to)
{
    size_t start, end;
    bool more = true;
    int code = 0;
    splits_begin(&x->splits, x->words + from, to - from);
    while (!code) {
        code = splits_next(&x->splits, &more, &start, &end, x->e);
        if (code || !more) break;
        code = encode_word(x, from + start, from + end);
    }
    return code;
}

/* ---- added tokens in the text ---------------------------------------------------------------- */

typedef int segment_fn(struct encoder *x, size_t from, size_t to);

/* Emit the added tokens of m that are in x->words, and call f for the text between them. */
static int between_words(struct encoder *x, const struct match *m, segment_fn *f, size_t from,
                         size_t to)
{
    int code = 0;
    size_t start = from;
    for (size_t i = from; !code && m->n && i < to;) {
        int32_t id;
        size_t found = match_at(m, x->words + i, to - i, &id);
        if (!found) {
            i++;
            continue;
        }
        size_t begin = i, end = i + found;
        widen_word(&begin, &end, x->t, id, x->words, start, to);
        if (start < begin) code = f(x, start, begin);
        if (!code) code = put_words(x, (uint32_t)id, begin, end);
        start = i = end;
    }
    return !code && start < to ? f(x, start, to) : code;
}

/* Normalise the text between two added tokens separately, as Hugging Face's library does. */
static int encode_nfc(struct encoder *x, size_t from, size_t to)
{
    int code = nfc_form(&x->nfc, x->text + from, to - from, x->e);
    if (code) return code;
    x->words = x->nfc.text.p;
    x->shift = from;
    code = between_words(x, &x->t->normal, encode_bytes, 0, x->nfc.text.n);
    x->words = x->text;
    return code;
}

static int encode_segment(struct encoder *x, size_t from, size_t to)
{
    if (x->t->kind == TOKENIZER_SPM) return encode_spm(x, from, to);
    return x->t->nfc ? encode_nfc(x, from, to) : encode_bytes(x, from, to);
}

static int encode_outside_raw(struct encoder *x, size_t from, size_t to)
{
    return between_words(x, &x->t->raw[1], encode_segment, from, to);
}

int tokenizer_encode(const struct tokenizer *t, struct tokens *out, const char *text, size_t n,
                     size_t base, struct err *e)
{
    return tokenizer_encode_between(t, out, text, n, base, -1, -1, e);
}

int tokenizer_encode_between(const struct tokenizer *t, struct tokens *out, const char *text,
                             size_t n, size_t base, int32_t after, int32_t before, struct err *e)
{
    size_t bad = 0;
    if (!utf8_valid(text, n, &bad)) {
        return err_set(e, "byte %zu: found %s, wanted valid UTF-8", base + bad,
                       err_quote(text + bad, n - bad < 4 ? n - bad : 4));
    }
    if (n > TEXT_MOST || base > UINT32_MAX - n) {
        return err_set(e,
                       "found a text of %zu bytes, wanted at most 1 GiB at a time and 4 GiB in "
                       "all",
                       n);
    }
    size_t from = 0, to = n;
    if (after >= 0 && t->vocab.pieces[after].rstrip) from = after_white(text, 0, n);
    if (before >= 0 && t->vocab.pieces[before].lstrip) to = before_white(text, from, n);
    struct encoder x = {
        .t = t, .out = out, .text = text, .words = text, .base = base, .inner = after >= 0, .e = e
    };
    int code = bpe_work_begin(&x.work, &t->bpe, e);
    if (!code && t->kind == TOKENIZER_BYTE_BPE) code = splits_init(&x.splits, &t->splitter, e);
    if (!code) code = between_words(&x, &t->raw[0], encode_outside_raw, from, to);
    splits_release(&x.splits);
    bpe_work_release(&x.work);
    nfc_release(&x.nfc);
    str_free(&x.normal);
    str_free(&x.word);
    mem_free(x.origin);
    mem_free(x.pile);
    return code;
}
