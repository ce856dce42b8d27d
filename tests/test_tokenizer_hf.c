/* src/tokenizer/hf.c, hf_shape.c: tokenizer.json in the shapes we read, and in those we refuse. */
#include "tests/tokenizer_util.h"

#include "src/tokenizer/parts.h"

/* The parts of a tokenizer.json; NULL takes the default of put_spm_json() or put_byte_json(). */
struct json_parts {
    const char *normalizer, *pre, *post, *decoder, *added, *vocab, *merges, *model;
};

#define REPLACE      "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" SP "\"}"
#define PREPEND      "{\"type\":\"Prepend\",\"prepend\":\"" SP "\"}"
#define LIST(x)      "{\"type\":\"Sequence\",\"normalizers\":[" x "]}"
#define PRE_LIST(x)  "{\"type\":\"Sequence\",\"pretokenizers\":[" x "]}"
#define METASPACE(x) "{\"type\":\"Metaspace\",\"replacement\":\"" SP "\"" x "}"
#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_"              \
    "regex\":" regex "}"
#define DIGITS "{\"type\":\"Digits\",\"individual_digits\":true}"
#define LLAMA3                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"          \
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define QWEN2                                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}|"               \
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define SPLIT(regex)                                                                               \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},"                                   \
    "\"behavior\":\"Isolated\",\"invert\":false}"
#define ADDED(id, text, special, normalized)                                                       \
    "{\"id\":" id ",\"content\":\"" text "\",\"single_word\":false,\"lstrip\":false,"              \
    "\"rstrip\":false,\"normalized\":" normalized ",\"special\":" special "}"
#define SPECIALS                                                                                   \
    ADDED("0", "<unk>", "true", "false")                                                           \
    "," ADDED("1", "<s>", "true", "false") "," ADDED("2", "</s>", "true", "false")

static const char *or_else(const char *text, const char *other)
{
    return text ? text : other;
}

static const char *put_json(const char *name, const struct json_parts *p, const char *vocab)
{
    struct str s = { 0 };
    str_addf(&s,
             "{\"version\":\"1.0\",\"added_tokens\":[%s],\"normalizer\":%s,"
             "\"pre_tokenizer\":%s,\"post_processor\":%s,\"decoder\":%s,\"model\":{%s,"
             "\"vocab\":{%s},\"merges\":[%s]}}",
             or_else(p->added, SPECIALS), or_else(p->normalizer, "null"), or_else(p->pre, "null"),
             or_else(p->post, "null"), or_else(p->decoder, "null"), p->model,
             or_else(p->vocab, vocab), or_else(p->merges, ""));
    const char *path = put_file(name, s.p, s.n);
    str_free(&s);
    return path;
}

/* <unk> <s> </s>, bytes 3-258, then _ a b ab _ab __ _a from 259. */
static const char *put_spm_json(struct json_parts p)
{
    struct str vocab = { 0 };
    str_addz(&vocab, "\"<unk>\":0,\"<s>\":1,\"</s>\":2");
    for (int b = 0; b < 256; b++) str_addf(&vocab, ",\"<0x%02X>\":%d", (unsigned)b, b + 3);
    str_addz(&vocab, ",\"" SP "\":259,\"a\":260,\"b\":261,\"ab\":262,\"" SP "ab\":263,\"" SP SP
                     "\":264,\"" SP "a\":265");
    if (!p.merges) p.merges = "\"a b\",\"" SP " ab\",[\"" SP "\",\"" SP "\"],\"" SP " a\"";
    if (!p.model) p.model = "\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"byte_fallback\":true";
    const char *path = put_json("spm.json", &p, vocab.p);
    str_free(&vocab);
    return path;
}

/* <unk> <s> </s>, the 256 bytes from 3 in GPT-2's alphabet, then ab, Ġab, 12 from 259. */
static const char *put_byte_json(struct json_parts p)
{
    struct str vocab = { 0 };
    str_addz(&vocab, "\"<unk>\":0,\"<s>\":1,\"</s>\":2");
    for (int b = 0; b < 256; b++) {
        struct str c = { 0 };
        alphabet_spell(&c, &(char){ (char)b }, 1);
        str_addf(&vocab, b == '"' || b == '\\' ? ",\"\\%s\":%d" : ",\"%s\":%d", c.p, b + 3);
        str_free(&c);
    }
    str_addz(&vocab, ",\"ab\":259,\"\304\240ab\":260,\"12\":261,\"aba\":262");
    if (!p.merges) p.merges = "\"a b\",[\"\304\240\",\"ab\"],\"1 2\"";
    if (!p.model) p.model = "\"type\":\"BPE\",\"unk_token\":null";
    const char *path = put_json("bytes.json", &p, vocab.p);
    str_free(&vocab);
    return path;
}

/* ---- SentencePiece-style --------------------------------------------------------------------- */

static void encodes(const char *path, const char *text, const char *want)
{
    struct tokenizer *t = open_ok(path);
    assert_encodes(t, text, strlen(text), want);
    tokenizer_free(t);
}

static void test_spm_forms(void **state)
{
    (void)state;
    static const struct {
        const char *normalizer, *pre;
        const char *ids[5]; /* of "ab", " ab", "  ", "é", "" */
    } forms[] = {
        { LIST(PREPEND "," REPLACE), NULL, { "263", "259 263", "264 259", "259 198 172", "" } },
        { LIST(REPLACE), NULL, { "262", "263", "264", "198 172", "" } },
        { REPLACE, NULL, { "262", "263", "264", "198 172", "" } },
        { NULL,
          METASPACE(",\"prepend_scheme\":\"always\",\"split\":false"),
          { "263", "263", "264", "259 198 172", "" } },
        { NULL,
          METASPACE(",\"prepend_scheme\":\"first\",\"split\":false"),
          { "263", "263", "264", "259 198 172", "" } },
        { NULL,
          METASPACE(",\"prepend_scheme\":\"never\",\"split\":false,\"add_prefix_space\":false"),
          { "262", "263", "264", "198 172", "" } },
        { NULL,
          METASPACE(",\"add_prefix_space\":true"), /* older: split, always */
          { "263", "263", "259 259", "259 198 172", "" } },
    };
    static const char *const texts[] = { "ab", " ab", "  ", "\303\251", "" };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct json_parts p = { .normalizer = forms[i].normalizer, .pre = forms[i].pre };
        struct tokenizer *t = open_ok(put_spm_json(p));
        assert_int_equal(tokenizer_kind(t), TOKENIZER_SPM);
        for (size_t k = 0; k < 5; k++) {
            assert_encodes(t, texts[k], strlen(texts[k]), forms[i].ids[k]);
            /* Metaspace cannot tell "ab" from " ab" afterwards. */
            if (texts[k][0] != ' ' || !t->prefix_unless_space) {
                assert_faithful(t, texts[k], strlen(texts[k]));
            }
        }
        tokenizer_free(t);
    }
}

#define LEGACY .normalizer = LIST(PREPEND "," REPLACE)
#define FIRST  .pre = METASPACE(",\"prepend_scheme\":\"first\",\"split\":false")

static void test_added_tokens(void **state)
{
    (void)state;
    static const char raw[] = SPECIALS "," ADDED("266", "[X]", "false", "false");
    static const char normal[] = SPECIALS "," ADDED("266", "[X]", "false", "true");
    static const char special[] = SPECIALS "," ADDED("266", "[X]", "true", "false");
    struct json_parts p = { LEGACY, .added = raw };
    encodes(put_spm_json(p), "a[X]b", "265 266 259 261"); /* Prepend: before every piece of text */
    p.added = normal; /* the content is normalised too: U+2581[X] */
    encodes(put_spm_json(p), "a[X]b", "265 94 91 96 261");
    encodes(put_spm_json(p), "a [X]b", "265 266 261");
    p.added = special; /* never found in a text */
    encodes(put_spm_json(p), "a[X]b", "265 94 91 96 261");
    p = (struct json_parts){ FIRST, .added = normal };
    encodes(put_spm_json(p), "a[X]b", "265 266 261");
    encodes(put_spm_json(p), "[X]b", "266 261");
    p.added = SPECIALS "," ADDED("260", "a", "false", "false"); /* a piece of the model as well */
    encodes(put_spm_json(p), "ab", "260 261");
}

/* An added token that is looked for in normalised text can be missed; outside the model it must not
 * become one of its pieces when it is written and read back. */
static void test_export_keeps_added_outside(void **state)
{
    (void)state;
    struct json_parts p = { LEGACY, .added = SPECIALS "," ADDED("266", "c", "false", "true") };
    struct tokenizer *t = open_ok(put_spm_json(p));
    assert_encodes(t, "ac c", 4, "265 102 266");
    struct err e;
    if (tokenizer_export(t, test_dir, &e)) fail_msg("%s", e.msg);
    tokenizer_free(t);
    t = open_ok(temp_path("tokenizer.json"));
    assert_encodes(t, "ac c", 4, "265 102 266");
    tokenizer_free(t);
    remove(temp_path("tokenizer_config.json"));
    p.added = SPECIALS "," ADDED("265", SP "a", "false", "true"); /* one inside stays inside */
    t = open_ok(put_spm_json(p));
    if (tokenizer_export(t, test_dir, &e)) fail_msg("%s", e.msg);
    tokenizer_free(t);
    t = open_ok(temp_path("tokenizer.json"));
    assert_encodes(t, "a", 1, "265");
    tokenizer_free(t);
    remove(temp_path("tokenizer_config.json"));
}

static void test_special_tokens_are_text(void **state)
{
    (void)state;
    /* A vocabulary with merges that would make </s>: these merges are left out. */
    struct json_parts p = { LEGACY, .vocab = NULL };
    p.merges = "\"a b\"";
    struct tokenizer *t = open_ok(put_spm_json(p));
    assert_int_equal(tokenizer_special(t, "</s>"), 2);
    assert_int_equal(tokenizer_special(t, "a"), -1);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_encodes(t, "<s>", 3, "259 63 118 65");
    tokenizer_free(t);
    p = (struct json_parts){ .pre = BYTE_LEVEL("true") };
    p.added = SPECIALS "," ADDED("259", "ab", "true", "false");
    encodes(put_byte_json(p), "ab xab", "100 101 35 123 100 101");
}

static void test_post_processor(void **state)
{
    (void)state;
    struct json_parts p = { LEGACY };
    struct tokenizer *t = open_ok(put_spm_json(p));
    assert_false(tokenizer_adds_bos(t));
    tokenizer_free(t);
    p.post = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\","
             "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}]}";
    t = open_ok(put_spm_json(p));
    assert_true(tokenizer_adds_bos(t));
    tokenizer_free(t);
    p.post = "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}}]}";
    t = open_ok(put_spm_json(p));
    assert_false(tokenizer_adds_bos(t));
    tokenizer_free(t);
}

/* Scores made from merges serve containers that have nothing else, where they can. */
static void test_scores_of_merges(void **state)
{
    (void)state;
    struct json_parts p = { LEGACY };
    struct tokenizer *t = open_ok(put_spm_json(p)); /* _ab = _ + ab is listed, _a + b is not */
    assert_false(tokenizer_scores_fit(t));
    tokenizer_free(t);
    p.merges = "\"a b\",\"" SP "a b\",\"" SP " ab\",[\"" SP "\",\"" SP "\"],\"" SP " a\"";
    t = open_ok(put_spm_json(p));
    assert_true(tokenizer_scores_fit(t));
    assert_true(tokenizer_score(t, 262) > tokenizer_score(t, 263));
    assert_true(tokenizer_score(t, 263) > tokenizer_score(t, 265));
    assert_true(tokenizer_score(t, 265) > tokenizer_score(t, 260));
    tokenizer_free(t);
    /* Ways to one piece on both sides of another, not in the order of equal scores. */
    p.merges = "\"" SP " ab\",\"a b\",\"" SP "a b\",[\"" SP "\",\"" SP "\"],\"" SP " a\"";
    t = open_ok(put_spm_json(p));
    assert_false(tokenizer_scores_fit(t));
    tokenizer_free(t);
}

/* ---- byte-level ------------------------------------------------------------------------------ */

static void test_byte_forms(void **state)
{
    (void)state;
    static const struct {
        const char *pre;
        enum pretokenizer want;
        const char *ids[3]; /* of " ab", "1212", "ab\n\n" */
    } forms[] = {
        { BYTE_LEVEL("true"), PRE_GPT2, { "260", "261 261", "259 13 13" } },
        { PRE_LIST(BYTE_LEVEL("true")), PRE_GPT2, { "260", "261 261", "259 13 13" } },
        { PRE_LIST(DIGITS "," BYTE_LEVEL("true")),
          PRE_SMOLLM,
          { "260", "52 53 52 53", "259 13 13" } },
        { PRE_LIST(SPLIT(LLAMA3) "," BYTE_LEVEL("false")),
          PRE_LLAMA3,
          { "260", "261 52 53", "259 13 13" } },
        { PRE_LIST(SPLIT(QWEN2) "," BYTE_LEVEL("false")),
          PRE_QWEN2,
          { "260", "52 53 52 53", "259 13 13" } },
        { PRE_LIST(SPLIT("'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}"
                         "\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+") "," BYTE_LEVEL("false")),
          PRE_GPT2,
          { "260", "261 261", "259 13 13" } },
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct json_parts p = { .pre = forms[i].pre, .decoder = BYTE_LEVEL("true") };
        struct tokenizer *t = open_ok(put_byte_json(p));
        assert_int_equal(t->pre, forms[i].want);
        assert_encodes(t, " ab", 3, forms[i].ids[0]);
        assert_encodes(t, "1212", 4, forms[i].ids[1]);
        assert_encodes(t, "ab\n\n", 4, forms[i].ids[2]);
        struct str text = { 0 };
        for (uint64_t k = 0; k < 200; k++) {
            random_text(&text, k);
            assert_faithful(t, text.n ? text.p : "", text.n);
        }
        str_free(&text);
        tokenizer_free(t);
    }
}

static void test_ignore_merges(void **state)
{
    (void)state;
    struct json_parts p = { .pre = BYTE_LEVEL("true") };
    encodes(put_byte_json(p), "aba", "259 100"); /* no merge makes aba */
    p.model = "\"type\":\"BPE\",\"ignore_merges\":true";
    encodes(put_byte_json(p), "aba", "262");
    encodes(put_byte_json(p), "abab", "259 259");
}

/* Hugging Face drops bytes without a piece; so do we, and the token before covers them. */
static void test_missing_byte(void **state)
{
    (void)state;
    struct json_parts p = { .pre = BYTE_LEVEL("true"), .added = "" };
    p.vocab = "\"a\":0,\"b\":1,\"!\":2,\"!!\":3";
    p.merges = "\"! !\"";
    struct tokenizer *t = open_ok(put_byte_json(p));
    struct tokens got = encode_ok(t, "a!\004!b", 5);
    static const int32_t ids[] = { 0, 3, 1 };
    static const uint32_t end[] = { 1, 4, 5 };
    assert_ids(&got, ids, 3, "missing byte");
    assert_memory_equal(got.end, end, sizeof end);
    tokens_free(&got);
    tokenizer_free(t);
}

/* ---- refused --------------------------------------------------------------------------------- */

static void refuse(const char *path, const char *want)
{
    struct tokenizer *t;
    struct err e;
    assert_refused(tokenizer_open(&t, path, &e), &e, path, want, want);
}

static void test_spm_shapes_refused(void **state)
{
    (void)state;
    static const struct {
        struct json_parts parts;
        const char *want;
    } cases[] = {
        { { .normalizer = "{\"type\":\"NFC\"}" }, "normalizer: found \"NFC\", wanted Llama 2's" },
        { { .normalizer = LIST(PREPEND) }, "normalizer: found nothing, wanted Llama 2's" },
        { { .normalizer = LIST(PREPEND "," REPLACE "," REPLACE) },
          "normalizer: found \"Replace\"" },
        { { .normalizer = "{\"type\":\"Sequence\"}" }, "normalizer.normalizers: found nothing" },
        { { .normalizer = "7" }, "normalizer: found an integer without a type" },
        { { .normalizer = REPLACE, .pre = METASPACE("") },
          "pre_tokenizer: found \"Metaspace\", wanted none" },
        { { .pre = "{\"type\":\"Whitespace\"}" },
          "pre_tokenizer: found \"Whitespace\", wanted Metaspace" },
        { { .pre = NULL }, "pre_tokenizer: found nothing, wanted Metaspace" },
        { { .pre = "{\"type\":\"Metaspace\",\"replacement\":\"_\"}" },
          "pre_tokenizer.replacement: found" },
        { { .pre = METASPACE(",\"prepend_scheme\":\"odd\"") }, "prepend_scheme: found \"odd\"" },
        { { .pre = METASPACE(",\"add_prefix_space\":false") },
          "found \"always\" with add_prefix_space false" },
        { { .pre = METASPACE(",\"split\":1") },
          "pre_tokenizer: split: found an integer, wanted true" },
        { { .pre = METASPACE(""), .decoder = "{\"type\":\"WordPiece\"}" },
          "decoder: found \"WordPiece\"" },
        { { .pre = METASPACE(""), .post = "{\"type\":\"BertProcessing\"}" },
          "post_processor: found \"BertProcessing\", wanted TemplateProcessing" },
        { { .pre = METASPACE(""),
            .post = "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"[CLS]"
                    "\"}}]}" },
          "post_processor.single: found the special token \"[CLS]\"" },
        { { .pre = METASPACE(""), .model = "\"type\":\"BPE\"" },
          "model.byte_fallback: found false" },
        { { .pre = METASPACE(""), .model = "\"byte_fallback\":true,\"ignore_merges\":true" },
          "model.ignore_merges: found true" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse(put_spm_json(cases[i].parts), cases[i].want);
    }
}

static void test_models_refused(void **state)
{
    (void)state;
    static const struct {
        const char *model, *want;
    } cases[] = {
        { "\"type\":\"Unigram\"", "model.type: found \"Unigram\", wanted \"BPE\"" },
        { "\"type\":\"WordPiece\"", "model.type: found \"WordPiece\"" },
        { "\"type\":3", "model: type: found an integer" },
        { "\"byte_fallback\":true,\"dropout\":0.1", "model.dropout: found 0.1, wanted none" },
        { "\"byte_fallback\":true,\"continuing_subword_prefix\":\"##\"",
          "continuing_subword_prefix: found \"##\"" },
        { "\"byte_fallback\":true,\"end_of_word_suffix\":\"</w>\"",
          "end_of_word_suffix: found \"</w>\"" },
        { "\"byte_fallback\":1", "model: byte_fallback: found an integer" },
        { "\"byte_fallback\":true,\"unk_token\":\"<what>\"",
          "model.unk_token: found \"<what>\", wanted a piece" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse(put_spm_json((struct json_parts){ LEGACY, .model = cases[i].model }), cases[i].want);
    }
    refuse(put_text("none.json", "{}"), "model: found nothing, wanted an object");
    refuse(put_text("list.json", "[1]"), "model: found nothing");
    refuse(put_text("cut.json", "{\"model\": {"), "not valid JSON at byte");
    refuse(put_text("twice.json", "{\"model\":{}, \"model\":{}}"), "not valid JSON at byte");
    refuse(put_text("empty.json", ""), "not valid JSON");
    refuse(put_text("added.json", "{\"model\":{},\"added_tokens\":7}"),
           "added_tokens: found an integer");
}

static void test_vocabularies_refused(void **state)
{
    (void)state;
    static const struct {
        struct json_parts parts;
        const char *want;
    } cases[] = {
        { { .vocab = "\"a\":\"b\"" }, "model.vocab: piece \"a\": found a string, wanted an id" },
        { { .vocab = "\"a\":-1" }, "model.vocab: piece \"a\"" },
        { { .vocab = "\"a\":0,\"b\":9,\"c\":2", .added = "" },
          "piece \"b\": found the id 9, wanted ids without gaps below 3" },
        { { .vocab = "\"a\":0,\"b\":0", .added = "" }, "found the id 0 for both \"a\" and \"b\"" },
        { { .vocab = "\"a\":4000000000000", .added = "" }, "found the id 4000000000000" },
        { { .vocab = "\"a\":0", .added = "" }, "found 0 byte pieces, wanted 256" },
        { { .merges = "\"a b c\"" }, "model.merges[0]: found a string that is not a pair" },
        { { .merges = "\"ab\"" }, "model.merges[0]: found a string that is not a pair" },
        { { .merges = "[\"a\"]" }, "model.merges[0]: found an array that is not a pair" },
        { { .merges = "\"a b\",7" }, "model.merges[1]: found an integer that is not a pair" },
        { { .merges = "\"a zz\"" }, "model.merges[0]: the right part is not a piece" },
        { { .merges = "\"zz a\"" }, "model.merges[0]: the left part is not a piece" },
        { { .merges = "\"b a\"" }, "model.merges: merge 0: found \"ba\", which is not a piece" },
        { { .merges = "\"a b\",\"a b\"" }, "merge 1 repeats an earlier one" },
        { { .added = "{\"content\":\"x\"}" }, "added_tokens[0]: found no id" },
        { { .added = "{\"id\":266}" }, "added_tokens[0]: found an object without content" },
        { { .added = "3" }, "added_tokens[0]: found an integer without content" },
        { { .added = ADDED("5", "a", "true", "false") }, "(\"a\"): found the id 5, wanted 260" },
        { { .added = ADDED("270", "x", "true", "false") },
          "piece \"x\": found the id 270, wanted ids without gaps" },
        { { .added = "{\"id\":266,\"content\":\"x\",\"single_word\":true}" }, "found single_word" },
        { { .added = "{\"id\":266,\"content\":\"x\",\"special\":\"yes\"}" },
          "special: found a string" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_parts p = cases[i].parts;
        p.normalizer = LIST(PREPEND "," REPLACE);
        if (p.vocab) p.merges = "";
        if (p.vocab) p.model = "\"byte_fallback\":true";
        refuse(put_spm_json(p), cases[i].want);
    }
}

static void test_byte_shapes_refused(void **state)
{
    (void)state;
    static const struct {
        struct json_parts parts;
        const char *want;
    } cases[] = {
        { { .pre = BYTE_LEVEL("true"), .normalizer = "{\"type\":\"NFD\"}" },
          "normalizer: found \"NFD\", wanted none or NFC" },
        { { .pre = "{\"type\":\"ByteLevel\"}" }, "pre_tokenizer.add_prefix_space: found true" },
        { { .pre = BYTE_LEVEL("false") },
          "pre_tokenizer: found \"ByteLevel\", wanted Split before" },
        { { .pre = PRE_LIST(BYTE_LEVEL("true") "," DIGITS) }, "pre_tokenizer: found \"Digits\"" },
        { { .pre = PRE_LIST(
                "{\"type\":\"Digits\",\"individual_digits\":false}," BYTE_LEVEL("true")) },
          "pre_tokenizer: found \"Digits\"" },
        { { .pre = PRE_LIST(DIGITS "," DIGITS "," BYTE_LEVEL("true")) },
          "pre_tokenizer: found \"ByteLevel\"" },
        { { .pre = PRE_LIST(SPLIT("\\\\w+") "," BYTE_LEVEL("false")) },
          "pre_tokenizer: found a Split by \"\\w+\"" },
        { { .pre = PRE_LIST(
                "{\"type\":\"Split\",\"pattern\":{\"String\":\" \"}}," BYTE_LEVEL("false")) },
          "found a Split by no Regex" },
        { { .pre = PRE_LIST(SPLIT(LLAMA3) "," BYTE_LEVEL("true")) },
          "pre_tokenizer: found \"Split\"" },
        { { .pre = BYTE_LEVEL("true"), .decoder = "{\"type\":\"Fuse\"}" },
          "decoder: found \"Fuse\", wanted ByteLevel" },
        { { .pre = BYTE_LEVEL("true"), .model = "\"byte_fallback\":true" },
          "model.byte_fallback: found true" },
        { { .pre = BYTE_LEVEL("true"),
            .vocab = "\"a\":0,\"<unk>\":1",
            .merges = "",
            .added = "",
            .model = "\"unk_token\":\"<unk>\"" },
          "found \"<unk>\" and no piece for byte 0x00" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse(put_byte_json(cases[i].parts), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_spm_forms,
              "tokenizer.json: every form of a SentencePiece vocabulary gives tokenizers' ids"),
        ENTRY(test_added_tokens, "tokenizer.json: added tokens are found as their settings say"),
        ENTRY(test_export_keeps_added_outside,
              "tokenizer.json: added tokens stay outside the model when exported"),
        ENTRY(test_special_tokens_are_text,
              "tokenizer.json: a text that spells a special token stays letters"),
        ENTRY(test_post_processor, "tokenizer.json: the post-processor decides on BOS"),
        ENTRY(test_scores_of_merges, "tokenizer.json: merges give scores where they can"),
        ENTRY(test_byte_forms,
              "tokenizer.json: every form of a byte-level vocabulary gives tokenizers' ids"),
        ENTRY(test_ignore_merges, "tokenizer.json: ignore_merges takes whole words first"),
        ENTRY(test_missing_byte,
              "tokenizer.json: a byte without a piece is dropped, its token covers it"),
        ENTRY(test_spm_shapes_refused, "tokenizer.json: other SentencePiece forms are refused"),
        ENTRY(test_models_refused, "tokenizer.json: other models are refused"),
        ENTRY(test_vocabularies_refused, "tokenizer.json: wrong vocabularies are refused"),
        ENTRY(test_byte_shapes_refused, "tokenizer.json: other byte-level forms are refused"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
