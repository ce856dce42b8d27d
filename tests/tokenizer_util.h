/* Tokenizers made by the tests: a small SentencePiece model, a small tokenizer.json, and checks of
 * what every encoding has to hold. */
#ifndef LORAC_TESTS_TOKENIZER_UTIL_H
#define LORAC_TESTS_TOKENIZER_UTIL_H

#include "tests/files_util.h"

#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/utf8.h"
#include "src/tokenizer/tokenizer.h"

#define SP "\xe2\x96\x81" /* U+2581 */

static inline struct tokenizer *open_ok(const char *path)
{
    struct tokenizer *t;
    struct err e;
    if (tokenizer_open(&t, path, &e)) fail_msg("%s", e.msg);
    return t;
}

static inline struct tokens encode_ok(const struct tokenizer *t, const char *text, size_t n)
{
    struct tokens out = { 0 };
    struct err e;
    if (tokenizer_encode(t, &out, text, n, 0, &e)) fail_msg("%s", e.msg);
    return out;
}

static inline void assert_ids(const struct tokens *got, const int32_t *ids, size_t n,
                              const char *label)
{
    bool same = got->n == n && (n == 0 || memcmp(got->ids, ids, n * sizeof *ids) == 0);
    if (same) return;
    struct str s = { 0 };
    for (size_t i = 0; i < got->n; i++) str_addf(&s, " %d", got->ids[i]);
    str_addz(&s, "\n  wanted");
    for (size_t i = 0; i < n; i++) str_addf(&s, " %d", ids[i]);
    fail_msg("%s\n  got   %s", label, s.p);
}

/* Ids as a text of numbers. */
static inline void assert_encodes(const struct tokenizer *t, const char *text, size_t n,
                                  const char *want)
{
    int32_t ids[4096];
    size_t count = 0;
    for (char *end; *want; want = end) {
        long v = strtol(want, &end, 10);
        if (end == want) break;
        assert_true(count < 4096);
        ids[count++] = (int32_t)v;
    }
    struct tokens got = encode_ok(t, text, n);
    assert_ids(&got, ids, count, err_quote(text, n));
    tokens_free(&got);
}

/* The spans of a lossless tokenizer lie end to end over the text, and decoding gives it back.
 * (A literal U+2581 comes back as a space.) */
static inline void assert_faithful(const struct tokenizer *t, const char *text, size_t n)
{
    struct tokens got = encode_ok(t, text, n);
    size_t at = 0;
    for (size_t i = 0; i < got.n; i++) {
        if (got.start[i] != at || got.end[i] < at) {
            fail_msg("%s: token %zu covers %u-%u, wanted it to begin at %zu", err_quote(text, n), i,
                     got.start[i], got.end[i], at);
        }
        at = got.end[i];
    }
    if (at != n) fail_msg("%s: spans end at %zu of %zu", err_quote(text, n), at, n);
    struct str out = { 0 };
    tokenizer_decode(t, &out, got.ids, got.n, false, true);
    struct str want = { 0 };
    bool spm = tokenizer_kind(t) == TOKENIZER_SPM;
    for (size_t i = 0; i < n; i++) {
        if (spm && n - i >= 3 && memcmp(text + i, SP, 3) == 0) {
            str_addc(&want, ' ');
            i += 2;
        } else {
            str_addc(&want, text[i]);
        }
    }
    if (out.n != want.n || (n && memcmp(out.p, want.p, want.n) != 0)) {
        fail_msg("%s decodes to %s", err_quote(text, n), err_quote(out.n ? out.p : "", out.n));
    }
    str_free(&out);
    str_free(&want);
    tokens_free(&got);
}

/* Random characters of every length and sort, from the counter-based generator. */
static inline void random_text(struct str *out, uint64_t number)
{
    static const uint32_t ranges[][2] = { { 0x20, 0x7e },       { 0, 0x1f },
                                          { 0x30, 0x39 },       { 0x80, 0x7ff },
                                          { 0x800, 0xd7ff },    { 0xe000, 0xffff },
                                          { 0x10000, 0x3ffff }, { 0x1f300, 0x1faff },
                                          { 0x20, 0x20 } };
    str_clear(out);
    size_t n = rng_u32(1, RNG_TEST, 2, number) % 60;
    for (size_t i = 0; i < n; i++) {
        uint32_t pick = rng_u32(1, RNG_TEST, 3, number * 64 + i);
        const uint32_t *r = ranges[pick % 9];
        uint32_t c = r[0] + (pick >> 8) % (r[1] - r[0] + 1);
        char utf8[4];
        str_add(out, utf8, utf8_write(utf8, c));
    }
}

/* ---- a SentencePiece model ------------------------------------------------------------------- */

static inline void pb_varint(struct str *s, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) str_addc(s, (char)(v | 0x80));
    str_addc(s, (char)v);
}

static inline void pb_bytes(struct str *s, unsigned field, const char *bytes, size_t n)
{
    pb_varint(s, field << 3 | 2);
    pb_varint(s, n);
    str_add(s, bytes, n);
}

static inline void pb_int(struct str *s, unsigned field, uint64_t v)
{
    pb_varint(s, field << 3);
    pb_varint(s, v);
}

static inline void pb_piece(struct str *s, const char *text, size_t n, float score, unsigned type)
{
    struct str m = { 0 };
    char bits[4];
    memcpy(bits, &score, 4);
    pb_bytes(&m, 1, text, n);
    pb_varint(&m, 2 << 3 | 5);
    str_add(&m, bits, 4);
    pb_int(&m, 3, type);
    pb_bytes(s, 1, m.p, m.n);
    str_free(&m);
}

struct model_options {
    bool no_bytes, no_prefix, trim, no_escape, suffix, charsmap;
    unsigned model_type; /* 0: BPE */
};

struct model_piece {
    const char *text;
    float score;
    unsigned type;
};

/* <unk> <s> </s>, 256 byte pieces unless no_bytes, then the pieces (ended by a NULL text). */
static inline void model_pieces(struct str *s, const struct model_piece *pieces, bool no_bytes)
{
    pb_piece(s, "<unk>", 5, 0, 2);
    pb_piece(s, "<s>", 3, 0, 3);
    pb_piece(s, "</s>", 4, 0, 3);
    for (int b = 0; b < 256 && !no_bytes; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        pb_piece(s, text, 6, 0, 6);
    }
    for (; pieces->text; pieces++) {
        pb_piece(s, pieces->text, strlen(pieces->text), pieces->score, pieces->type);
    }
}

static inline void model_specs(struct str *s, const struct model_options *o)
{
    struct str m = { 0 };
    pb_int(&m, 3, o->model_type ? o->model_type : 2);
    pb_int(&m, 35, !o->no_bytes);
    if (o->suffix) pb_int(&m, 24, 1);
    pb_bytes(s, 2, m.p, m.n);
    str_clear(&m);
    pb_int(&m, 3, !o->no_prefix);
    pb_int(&m, 4, o->trim);
    pb_int(&m, 5, !o->no_escape);
    if (o->charsmap) pb_bytes(&m, 2, "rules", 5);
    pb_bytes(s, 3, m.p, m.n);
    str_free(&m);
}

static inline const char *put_model(const char *name, const struct model_piece *pieces,
                                    struct model_options o)
{
    struct str s = { 0 };
    model_pieces(&s, pieces, o.no_bytes);
    model_specs(&s, &o);
    const char *path = put_file(name, s.p, s.n);
    str_free(&s);
    return path;
}

#endif
