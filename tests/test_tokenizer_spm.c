/* src/tokenizer/spm.c: small SentencePiece models made here, with ids that SentencePiece 0.2.3
 * gave, and models made to break the reader. */
#include "tests/tokenizer_util.h"

#include "src/tokenizer/parts.h"

/* Ties, a piece with an inner space, an unused character, a piece (and a character in it) whose
 * parts are not pieces, an unused piece that is joined on the way, a user-defined one. */
static const struct model_piece pieces[] = {
    { SP, -20, 1 },     { "a", -21, 1 },        { "b", -22, 1 },
    { "c", -23, 1 },    { "\303\251", -24, 1 }, { "ab", -1, 1 },
    { "bc", -2, 1 },    { SP "a", -3, 1 },      { "abc", -4, 1 },
    { SP "ab", -5, 1 }, { "aa", -6, 1 },        { SP SP, -7, 1 },
    { "aab", -6, 1 },   { "[X]", 0, 4 },        { "ba", -2, 5 },
    { "bac", -8, 1 },   { "<", -25, 1 },        { "s", -26, 1 },
    { ">", -27, 1 },    { "<s", -9, 1 },        { "\346\274\242x", -10, 1 },
    { "c" SP, -11, 1 }, { "z", -30, 5 },        { "xy", -12, 1 },
    { "yx", -12, 1 },   { "x", -31, 1 },        { "y", -31, 1 },
    { NULL, 0, 0 },
};

static const struct model_options variants[] = {
    { 0 },
    { .no_prefix = true },
    { .trim = true },
    { .no_bytes = true },
    { .no_bytes = true, .trim = true, .no_prefix = true },
};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

static const struct {
    const char *text;
    size_t n;
    const char *ids[VARIANTS];
} golden[] = {
    { "", 0, { "", "", "", "", "" } },
    { " ", 1, { "270", "259", "", "14", "" } },
    { "   ", 3, { "270 270", "270 259", "", "14 14", "" } },
    { "a", 1, { "266", "260", "266", "10", "4" } },
    { "ab", 2, { "268", "264", "268", "12", "8" } },
    { "abc", 3, { "259 267", "267", "259 267", "3 11", "11" } },
    { "aaab", 4, { "266 271", "269 264", "266 271", "10 15", "13 8" } },
    { "aabab", 5, { "266 264 264", "271 264", "266 264 264", "10 8 8", "15 8" } },
    { "a b", 3, { "266 259 261", "260 259 261", "266 259 261", "10 3 5", "4 3 5" } },
    { "  ab", 4, { "270 268", "259 268", "268", "14 12", "8" } },
    { "ab  ", 4, { "268 270", "264 270", "268", "12 14", "8" } },
    { "<s>", 3, { "259 278 277", "278 277", "259 278 277", "3 22 21", "22 21" } },
    { "<unk>",
      5,
      { "259 275 120 113 110 277", "275 120 113 110 277", "259 275 120 113 110 277", "3 19 0 21",
        "19 0 21" } },
    { "<0x41>",
      6,
      { "259 275 51 284 55 52 277", "275 51 284 55 52 277", "259 275 51 284 55 52 277",
        "3 19 0 28 0 21", "19 0 28 0 21" } },
    { "[X]", 3, { "259 272", "272", "259 272", "3 16", "16" } },
    { " a[X]b", 6, { "259 266 272 261", "266 272 261", "266 272 261", "3 10 16 5", "4 16 5" } },
    { "ba", 2, { "259 261 260", "261 260", "259 261 260", "3 5 4", "5 4" } },
    { "bac", 3, { "259 274", "274", "259 274", "3 18", "18" } },
    { "babac",
      5,
      { "259 261 264 260 262", "261 264 260 262", "259 261 264 260 262", "3 5 8 4 6", "5 8 4 6" } },
    { "cbab", 4, { "259 262 261 264", "262 261 264", "259 262 261 264", "3 6 5 8", "6 5 8" } },
    { "\346\274\242x", 4, { "259 279", "279", "259 279", "3 23", "23" } },
    { "\346\274\242", 3, { "259 233 191 165", "233 191 165", "259 233 191 165", "3 0", "0" } },
    { "\303\251\346\274\242xx\303\251",
      9,
      { "259 263 279 284 263", "263 279 284 263", "259 263 279 284 263", "3 7 23 28 7",
        "7 23 28 7" } },
    { "\342\226\201a", 4, { "259 266", "266", "259 266", "3 10", "10" } },
    { "\000", 1, { "259 3", "3", "259 3", "3 0", "0" } },
    { "a\000b", 3, { "266 3 261", "260 3 261", "266 3 261", "10 0 5", "4 0 5" } },
    { "xyz q",
      5,
      { "259 282 125 259 116", "282 125 259 116", "259 282 125 259 116", "3 26 0 3 0",
        "26 0 3 0" } },
    { "c a  c",
      6,
      { "259 262 266 270 262", "262 266 270 262", "259 262 266 259 262", "3 6 10 14 6",
        "6 10 3 6" } },
    { "z", 1, { "259 125", "125", "259 125", "3 0", "0" } },
    { "az", 2, { "266 125", "260 125", "266 125", "10 0", "4 0" } },
    { "xyxyx",
      5,
      { "259 282 282 284", "282 282 284", "259 282 282 284", "3 26 26 28", "26 26 28" } },
    { "yxyx", 4, { "259 283 283", "283 283", "259 283 283", "3 27 27", "27 27" } },
    { "[X", 2, { "259 94 91", "94 91", "259 94 91", "3 0", "0" } },
    { "cc a", 4, { "259 262 262 266", "262 262 266", "259 262 262 266", "3 6 6 10", "6 6 10" } },
};

static void test_golden(void **state)
{
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        struct tokenizer *t = open_ok(put_model("small.model", pieces, variants[v]));
        assert_int_equal(tokenizer_bos(t), 1);
        assert_int_equal(tokenizer_eos(t), 2);
        assert_true(tokenizer_is_eos(t, 2) && !tokenizer_is_eos(t, 1));
        assert_int_equal(tokenizer_adds_prefix(t), !variants[v].no_prefix);
        for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
            assert_encodes(t, golden[i].text, golden[i].n, golden[i].ids[v]);
        }
        tokenizer_free(t);
    }
}

/* Cutting texts into words must not change an id: the same vocabulary with and without a piece that
 * forbids it. */
static void test_words_change_nothing(void **state)
{
    (void)state;
    static const struct model_piece plain[] = {
        { SP, -9, 1 },     { "a", -9, 1 },   { "b", -9, 1 },           { "ab", -2, 1 },
        { SP "a", -2, 1 }, { SP SP, -3, 1 }, { SP SP SP, -3, 1 },      { SP SP "ab", -1, 1 },
        { "ba", -2, 1 },   { "bb", -4, 1 },  { "unreachable", -5, 1 }, { NULL, 0, 0 },
    };
    struct model_piece inner[sizeof plain / sizeof plain[0]];
    memcpy(inner, plain, sizeof plain);
    inner[10].text = "b" SP "zzz"; /* never made, but a piece with an inner space */
    struct model_piece made[sizeof plain / sizeof plain[0]];
    memcpy(made, plain, sizeof plain);
    made[10] = (struct model_piece){ "b" SP, -100, 5 }; /* unused, and taken apart again */
    struct tokenizer *a = open_ok(put_model("a.model", plain, (struct model_options){ 0 }));
    struct tokenizer *b = open_ok(put_model("b.model", inner, (struct model_options){ 0 }));
    struct tokenizer *c = open_ok(put_model("c.model", made, (struct model_options){ 0 }));
    assert_true(a->cut_words && b->cut_words && !c->cut_words);
    for (uint64_t i = 0; i < 3000; i++) {
        char text[32];
        size_t n = rng_u32(2, RNG_TEST, 4, i) % sizeof text;
        for (size_t k = 0; k < n; k++) text[k] = "ab  "[rng_u32(2, RNG_TEST, 5, i * 32 + k) % 4];
        struct tokens x = encode_ok(a, text, n), y = encode_ok(c, text, n);
        assert_ids(&x, y.ids, y.n, err_quote(text, n));
        tokens_free(&x);
        tokens_free(&y);
        assert_faithful(a, text, n);
        assert_faithful(c, text, n);
    }
    tokenizer_free(a);
    tokenizer_free(b);
    tokenizer_free(c);
    made[10].type = 1; /* ordinary: now a word reaches over its end */
    a = open_ok(put_model("a.model", made, (struct model_options){ 0 }));
    assert_false(a->cut_words);
    assert_encodes(a, "b b", 3, "259 269 261");
    tokenizer_free(a);
}

static void test_unused_character(void **state)
{
    (void)state;
    static const struct model_piece odd[] = { { SP, -1, 1 }, { "z", -1, 5 }, { NULL, 0, 0 } };
    struct tokenizer *t = open_ok(put_model("z.model", odd, (struct model_options){ 0 }));
    assert_encodes(t, "z", 1, "259 125");
    tokenizer_free(t);
}

/* Spaces that `trim` drops belong to the token before them, at the ends to none. */
static void test_trimmed_spans(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(
        put_model("t.model", pieces, (struct model_options){ .trim = true }));
    struct tokens got = encode_ok(t, "  ab   a  ", 10);
    static const int32_t ids[] = { 268, 266 };
    static const uint32_t start[] = { 2, 4 }, end[] = { 4, 8 };
    assert_ids(&got, ids, 2, "trim");
    assert_memory_equal(got.start, start, sizeof start);
    assert_memory_equal(got.end, end, sizeof end);
    tokens_free(&got);
    tokenizer_free(t);
}

/* Of user-defined pieces the longest is taken. */
static void test_longest_user_piece(void **state)
{
    (void)state;
    static const struct model_piece user[] = {
        { SP, -1, 1 },  { "[", 0, 4 },  { "[X", 0, 4 }, { "[X]]", 0, 4 },
        { "X", -1, 1 }, { "]", -1, 1 }, { NULL, 0, 0 },
    };
    struct tokenizer *t = open_ok(
        put_model("u.model", user, (struct model_options){ .no_prefix = true }));
    assert_encodes(t, "[[X[X][X]]", 10, "260 261 261 264 262");
    tokenizer_free(t);
}

static void test_without_fallback(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(
        put_model("small.model", pieces, (struct model_options){ .no_bytes = true }));
    struct tokens got = encode_ok(t, "aqrwb", 5); /* qrw is one unknown token */
    static const uint32_t end[] = { 1, 4, 5 };
    assert_int_equal(got.n, 3);
    assert_int_equal(got.ids[1], 0);
    assert_memory_equal(got.end, end, sizeof end);
    struct str s = { 0 };
    tokenizer_decode(t, &s, got.ids, got.n, false, true);
    assert_string_equal(s.p, "a \342\201\207 b");
    str_free(&s);
    tokens_free(&got);
    tokenizer_free(t);
}

/* ---- malformed ------------------------------------------------------------------------------- */

static void refuse(const char *label, const struct str *s, const char *want)
{
    const char *path = put_file("bad.model", s->p, s->n);
    struct tokenizer *t;
    struct err e;
    int code = tokenizer_open(&t, path, &e);
    assert_refused(code, &e, path, label, want);
    assert_null(t);
}

static void refuse_model(const char *label, const struct model_piece *list, struct model_options o,
                         const char *want)
{
    struct str s = { 0 };
    model_pieces(&s, list, o.no_bytes);
    model_specs(&s, &o);
    refuse(label, &s, want);
    str_free(&s);
}

static void refuse_bytes(const char *label, const char *bytes, size_t n, const char *want)
{
    struct str s = { 0 };
    str_add(&s, bytes, n);
    refuse(label, &s, want);
    str_free(&s);
}

static void test_options_refused(void **state)
{
    (void)state;
    struct model_options o = { 0 };
    static const char *const types[] = { NULL, "UNIGRAM", NULL, "WORD", "CHAR" };
    for (unsigned i = 1; i <= 9; i++) {
        if (i == 2) continue;
        o.model_type = i;
        refuse_model("model_type", pieces, o, i <= 4 ? types[i] : "an unknown type, wanted BPE");
    }
    refuse_model("charsmap", pieces, (struct model_options){ .charsmap = true },
                 "precompiled_charsmap: found normalisation rules");
    refuse_model("escape", pieces, (struct model_options){ .no_escape = true },
                 "escape_whitespaces: found false");
    refuse_model("suffix", pieces, (struct model_options){ .suffix = true },
                 "treat_whitespace_as_suffix: found true");
}

#define ONE(...)                                                                                   \
    (const struct model_piece[])                                                                   \
    {                                                                                              \
        { __VA_ARGS__ },                                                                           \
        {                                                                                          \
            NULL, 0, 0                                                                             \
        }                                                                                          \
    }

static void test_pieces_refused(void **state)
{
    (void)state;
    struct model_options o = { 0 }, no_bytes = { .no_bytes = true };
    char big[5002];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    refuse_model("empty", ONE("", 0, 1), o, "piece 259: found no text");
    refuse_model("type 0", ONE("a", 0, 0), o, "piece 259: found type 0, wanted 1 to 6");
    refuse_model("type 7", ONE("a", 0, 7), o, "found type 7");
    refuse_model("second unknown", ONE("a", 0, 2), o, "piece 259: found a second unknown piece");
    refuse_model("duplicate", ONE("<s>", 0, 1), o, "piece \"<s>\" is there twice, as 1 and as 259");
    refuse_model("UTF-8", ONE("a\xff", 0, 1), o, "piece 259: found \"a\\xff\", wanted valid UTF-8");
    refuse_model("long", ONE(big, 0, 1), o, "found 5001 bytes, wanted at most 4096");
    big[257] = 0;
    refuse_model("long user-defined", ONE(big, 0, 4), o, "found 257 bytes, wanted at most 256");
    refuse_model("trimmed space", ONE("a b", 0, 4), (struct model_options){ .trim = true },
                 "\"a b\": found a space in it together with remove_extra_whitespaces");
    refuse_model("NaN", ONE("a", __builtin_nanf(""), 1), o, "piece 259: found the score nan");
    refuse_model("infinity", ONE("a", -__builtin_inff(), 1), o, "found the score -inf");
    refuse_model("byte case", ONE("<0x0a>", 0, 6), o, "the byte piece \"<0x0a>\", wanted <0x00>");
    refuse_model("byte sign", ONE("<0x-1>", 0, 6), o, "byte piece \"<0x-1>\"");
    refuse_model("byte long", ONE("<0x041>", 0, 6), o, "byte piece \"<0x041>\"");
    refuse_model("stray byte", ONE("<0x41>", 0, 6), no_bytes, "found 1 byte pieces, wanted none");
    struct str s = { 0 };
    pb_piece(&s, "<unk>", 5, 0, 2);
    pb_piece(&s, "<0x00>", 6, 0, 6);
    model_specs(&s, &o);
    refuse("255 bytes missing", &s, "found 1 byte pieces, wanted 256");
    str_clear(&s);
    pb_piece(&s, "a", 1, 0, 1);
    model_specs(&s, &o);
    refuse("no unknown", &s, "found 1 pieces, none of type UNKNOWN");
    str_free(&s);
}

/* A model whose last part is `m` under the field. */
static void refuse_part(const char *label, unsigned field, const char *m, size_t n,
                        const char *want)
{
    struct str s = { 0 };
    model_pieces(&s, pieces, false);
    model_specs(&s, &(struct model_options){ 0 });
    pb_bytes(&s, field, m, n);
    refuse(label, &s, want);
    str_free(&s);
}

static void test_wire_refused(void **state)
{
    (void)state;
    refuse_bytes("empty file", "", 0, "found no pieces");
    refuse_bytes("text", "hello", 5, "byte 2: found a field that the file does not hold");
    refuse_bytes("tiktoken", "IQ== 0\nIg== 1\n", 14, "found tiktoken's format");
    refuse_bytes("group", "\x0b", 1, "byte 0: found a field");
    refuse_bytes("field 0", "\x02\x00", 2, "byte 0: found a field");
    refuse_bytes("huge length", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, "byte 0: found a");
    refuse_bytes("endless varint", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12,
                 "byte 0");
    refuse_bytes("piece as a number", "\x08\x01", 2,
                 "a part of the model: found an integer, wanted a length and bytes");
    refuse_part("piece text as a number", 1, "\x08\x01", 2, "piece: found an integer");
    refuse_part("score as a number", 1, "\x0a\x01q\x10\x01", 5,
                "score: found an integer, wanted 4");
    refuse_part("type as bytes", 1, "\x0a\x01q\x1a\x01x", 6, "type: found a length and bytes");
    refuse_part("model_type as bytes", 2, "\x1a\x01x", 3, "model_type: found a length and bytes");
    refuse_part("byte_fallback as 4 bytes", 2, "\x9d\x02wxyz", 6, "byte_fallback: found 4 bytes");
    refuse_part("bos_piece as a number", 2, "\xf0\x02\x01", 3, "bos_piece: found an integer");
    refuse_part("prefix as bytes", 3, "\x1a\x01x", 3, "normalizer_spec: found a length and bytes");
    refuse_part("charsmap as a number", 3, "\x10\x01", 2, "precompiled_charsmap: found an integer");
    refuse_part("denormalizer", 5, "\x12\x01x", 3, "found normalisation rules");
    refuse_part("cut inside a part", 1, "\x0a\x05q", 3,
                "found a field that the file does not hold");
}

/* Every truncation is refused or is a valid smaller model; every flipped byte does no harm. */
static void test_every_byte(void **state)
{
    (void)state;
    struct str s = { 0 };
    model_pieces(&s, pieces, false);
    model_specs(&s, &(struct model_options){ 0 });
    struct tokenizer *t;
    struct err e;
    for (size_t n = 0; n < s.n; n += n < 40 || n > s.n - 500 ? 1 : 13) {
        remove(temp_path("cut.model")); /* rewriting a file in place waits for the disk */
        const char *path = put_file("cut.model", s.p, n);
        if (tokenizer_open(&t, path, &e)) {
            assert_refused(ERR_FAIL, &e, path, "truncated", "");
        } else {
            tokenizer_free(t);
        }
    }
    for (size_t i = s.n - 600; i < s.n; i++) {
        for (unsigned flip = 0; flip < 3; flip++) {
            char old = s.p[i];
            s.p[i] = (char)(old ^ (flip == 0 ? 1 : flip == 1 ? 0x80 : 0xff));
            remove(temp_path("flip.model"));
            if (!tokenizer_open(&t, put_file("flip.model", s.p, s.n), &e)) {
                struct tokens got = encode_ok(t, "a bab [X]abc", 12);
                tokens_free(&got);
                tokenizer_free(t);
            }
            s.p[i] = old;
        }
    }
    str_free(&s);
}

/* A piece of the largest size costs its length, not its square. */
static void test_long_pieces(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct str s = { 0 };
    char text[PIECE_MOST];
    model_pieces(&s, pieces, false);
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < MANY; i++) pb_piece(&s, text, PIECE_MOST - i, -50.0f - (float)i, 1);
    model_specs(&s, &(struct model_options){ 0 });
    struct tokenizer *t = open_ok(put_file("long.model", s.p, s.n));
    assert_faithful(t, text, sizeof text);
    str_free(&s);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_golden, "tokenizer.model: ids are SentencePiece's"),
        ENTRY(test_words_change_nothing, "tokenizer.model: cutting into words changes no id"),
        ENTRY(test_unused_character, "tokenizer.model: an unused piece is spelt by bytes"),
        ENTRY(test_trimmed_spans,
              "tokenizer.model: trimmed spaces belong to the token before them"),
        ENTRY(test_longest_user_piece,
              "tokenizer.model: of user-defined pieces the longest is taken"),
        ENTRY(test_without_fallback,
              "tokenizer.model: without byte fallback unknown text is one token"),
        ENTRY(test_options_refused, "tokenizer.model: other models and normalisation are refused"),
        ENTRY(test_pieces_refused, "tokenizer.model: wrong pieces are refused"),
        ENTRY(test_wire_refused, "tokenizer.model: a broken protobuf is refused"),
        ENTRY(test_every_byte,
              "tokenizer.model: every truncation and flipped byte is refused or read"),
        ENTRY(test_long_pieces,
              "tokenizer.model: a longest piece costs its length, not its square"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
