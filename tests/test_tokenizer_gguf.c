/* src/tokenizer/gguf_vocab.c: tokenizers inside GGUF files made here, sound and malformed. */
#include "tests/tokenizer_util.h"

#include "src/formats/gguf.h"
#include "src/tokenizer/parts.h"

#define KEY(name) "tokenizer.ggml." name

/* What goes into a file; each test changes one thing. */
struct made {
    const char *model, *pre;   /* NULL: no such key */
    const char *const *tokens; /* ended by NULL; after <unk> <s> </s> and the bytes */
    const char *const *merges; /* ended by NULL */
    int32_t types[16];         /* of tokens; 0: 1 */
    float score[16];           /* of tokens */
    bool no_tokens, no_types, no_scores, no_merges, no_bytes;
    size_t short_types, short_scores; /* items fewer than there are tokens */
    int64_t bos, eos, eot;            /* -1: no such key */
    int add_bos, add_prefix;          /* -1: no such key */
    bool charsmap, types_as_f32, bos_as_text;
    const char *chat;
    size_t chat_n;
};

static const char *const spm_tokens[] = { SP, "a", "b", "ab", SP "ab", "<|eot|>", NULL };
static const char *const byte_tokens[] = { "ab", "\304\240ab", "12", "<|eot|>", NULL };
static const char *const byte_merges[] = { "a b", "\304\240 ab", "1 2", NULL };

static struct made made_spm(void)
{
    return (struct made){ .model = "llama",
                          .pre = "default",
                          .tokens = spm_tokens,
                          .types = { 0, 0, 0, 0, 0, 3 },
                          .score = { -9, -9, -9, -1, -2, 0 },
                          .bos = 1,
                          .eos = 2,
                          .eot = -1,
                          .add_bos = -1,
                          .add_prefix = -1 };
}

static struct made made_bytes(const char *pre)
{
    return (struct made){ .model = "gpt2",
                          .pre = pre,
                          .tokens = byte_tokens,
                          .merges = byte_merges,
                          .types = { 0, 0, 0, 3 },
                          .no_scores = true,
                          .bos = 1,
                          .eos = 2,
                          .eot = -1,
                          .add_bos = -1,
                          .add_prefix = -1 };
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n]) n++;
    return n;
}

static void put_tokens(struct gguf_writer *w, const struct made *m, size_t base)
{
    size_t n = base + count(m->tokens);
    bool gpt2 = m->model && strcmp(m->model, "gpt2") == 0;
    gguf_put_array(w, KEY("tokens"), GGUF_STRING, n);
    gguf_item_string(w, "<unk>", 5);
    gguf_item_string(w, "<s>", 3);
    gguf_item_string(w, "</s>", 4);
    for (size_t b = 0; b + 3 < base; b++) {
        struct str s = { 0 };
        if (gpt2) {
            alphabet_spell(&s, &(char){ (char)b }, 1);
        } else {
            str_addf(&s, "<0x%02X>", (unsigned)b);
        }
        gguf_item_string(w, s.p, s.n);
        str_free(&s);
    }
    for (size_t i = 0; base + i < n; i++) gguf_item_string(w, m->tokens[i], strlen(m->tokens[i]));
}

static void put_types(struct gguf_writer *w, const struct made *m, size_t base)
{
    size_t n = base + count(m->tokens) - m->short_types;
    bool gpt2 = m->model && strcmp(m->model, "gpt2") == 0;
    gguf_put_array(w, KEY("token_type"), m->types_as_f32 ? GGUF_F32 : GGUF_I32, n);
    for (size_t i = 0; i < n; i++) {
        int32_t type = i == 0 ? 2 : i < 3 ? 3 : gpt2 ? 1 : 6;
        if (i >= base) type = m->types[i - base] ? m->types[i - base] : 1;
        if (m->types_as_f32) {
            gguf_item_f32(w, 1);
        } else {
            gguf_item_i32(w, type);
        }
    }
}

static void put_scores(struct gguf_writer *w, const struct made *m, size_t base)
{
    size_t n = base + count(m->tokens) - m->short_scores;
    gguf_put_array(w, KEY("scores"), GGUF_F32, n);
    for (size_t i = 0; i < n; i++) gguf_item_f32(w, i < base ? 0 : m->score[i - base]);
}

static void put_merges(struct gguf_writer *w, const struct made *m)
{
    size_t n = count(m->merges);
    gguf_put_array(w, KEY("merges"), GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) gguf_item_string(w, m->merges[i], strlen(m->merges[i]));
}

static const char *put_gguf(const struct made *m)
{
    const char *path = temp_path("made.gguf");
    struct gguf_writer w;
    struct err e;
    size_t base = m->no_bytes ? 3 : 259;
    assert_int_equal(gguf_writer_begin(&w, path, 0644, &e), 0);
    gguf_put_string(&w, "general.architecture", "llama", 5);
    if (m->model) gguf_put_string(&w, KEY("model"), m->model, strlen(m->model));
    if (m->pre) gguf_put_string(&w, KEY("pre"), m->pre, strlen(m->pre));
    if (!m->no_tokens) put_tokens(&w, m, base);
    if (!m->no_types) put_types(&w, m, base);
    if (!m->no_scores) put_scores(&w, m, base);
    if (m->merges && !m->no_merges) put_merges(&w, m);
    if (m->bos >= 0) gguf_put_u32(&w, KEY("bos_token_id"), (uint32_t)m->bos);
    if (m->bos_as_text) gguf_put_string(&w, KEY("bos_token_id"), "1", 1);
    if (m->eos >= 0) gguf_put_u32(&w, KEY("eos_token_id"), (uint32_t)m->eos);
    if (m->eot >= 0) gguf_put_u32(&w, KEY("eot_token_id"), (uint32_t)m->eot);
    if (m->add_bos >= 0) gguf_put_bool(&w, KEY("add_bos_token"), m->add_bos);
    if (m->add_prefix >= 0) gguf_put_bool(&w, KEY("add_space_prefix"), m->add_prefix);
    if (m->charsmap) gguf_put_string(&w, KEY("precompiled_charsmap"), "x", 1);
    if (m->chat) gguf_put_string(&w, "tokenizer.chat_template", m->chat, m->chat_n);
    assert_int_equal(gguf_writer_data(&w, &e), 0);
    assert_int_equal(gguf_writer_commit(&w, &e), 0);
    return path;
}

/* ---- sound ----------------------------------------------------------------------------------- */

static void test_llama(void **state)
{
    (void)state;
    struct made m = made_spm();
    m.eot = 264;
    m.chat = "{{ x }}";
    m.chat_n = 7;
    struct tokenizer *t = open_ok(put_gguf(&m));
    assert_int_equal(tokenizer_kind(t), TOKENIZER_SPM);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_true(tokenizer_is_eos(t, 2) && tokenizer_is_eos(t, 264) && !tokenizer_is_eos(t, 1));
    assert_true(tokenizer_adds_bos(t));
    assert_string_equal(tokenizer_chat_template(t), "{{ x }}");
    assert_encodes(t, "ab", 2, "263");
    assert_encodes(t, "ab<|eot|>", 9, "263 63 127 104 114 119 127 65");
    tokenizer_free(t);

    m.add_bos = m.add_prefix = 0;
    m.bos = m.eot = 4294967295; /* none, as converters write it */
    t = open_ok(put_gguf(&m));
    assert_int_equal(tokenizer_bos(t), -1);
    assert_false(tokenizer_adds_bos(t));
    assert_encodes(t, "ab", 2, "262");
    tokenizer_free(t);
}

static void test_gpt2(void **state)
{
    (void)state;
    static const struct {
        const char *pre;
        enum pretokenizer want;
        bool adds_bos;
        const char *ids; /* of "ab ab1212" */
    } cases[] = {
        { "gpt-2", PRE_GPT2, false, "259 260 261 261" },
        { "smollm", PRE_SMOLLM, false, "259 260 52 53 52 53" },
        { "llama-bpe", PRE_LLAMA3, true, "259 260 261 52 53" },
        { "llama3", PRE_LLAMA3, true, "259 260 261 52 53" },
        { "llama-v3", PRE_LLAMA3, true, "259 260 261 52 53" },
        { "qwen2", PRE_QWEN2, false, "259 260 52 53 52 53" },
        { "deepseek-r1-qwen", PRE_QWEN2, false, "259 260 52 53 52 53" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct made m = made_bytes(cases[i].pre);
        struct tokenizer *t = open_ok(put_gguf(&m));
        assert_int_equal(t->pre, cases[i].want);
        assert_int_equal(tokenizer_adds_bos(t), cases[i].adds_bos);
        assert_int_equal(t->ignore_merges, cases[i].want == PRE_LLAMA3);
        assert_encodes(t, "ab ab1212", 9, cases[i].ids);
        assert_false(tokenizer_scores_fit(t));
        tokenizer_free(t);
    }
    struct made m = made_bytes("llama-bpe");
    m.add_bos = 0;
    m.types[3] = 4; /* user-defined: found in the text as it came */
    struct tokenizer *t = open_ok(put_gguf(&m));
    assert_false(tokenizer_adds_bos(t));
    assert_encodes(t, "ab<|eot|>ab", 11, "259 262 259");
    tokenizer_free(t);
}

/* Converters leave ordinary types on special ids, and empty tokens after the vocabulary. */
static void test_oddities(void **state)
{
    (void)state;
    static const char *const tokens[] = { SP, "a", "b", "ab", SP "ab", "<|eot|>", "", "", NULL };
    struct made m = made_spm();
    m.tokens = tokens;
    m.types[5] = 1;
    m.types[6] = m.types[7] = 5;
    m.eot = 264;
    struct tokenizer *t = open_ok(put_gguf(&m));
    assert_int_equal(tokenizer_type(t, 264), TOKEN_CONTROL);
    assert_int_equal(tokenizer_size(t), 267);
    tokenizer_free(t);
    m = made_spm();
    m.types[5] = 2; /* a second unknown piece is only a piece that no text spells */
    t = open_ok(put_gguf(&m));
    assert_int_equal(tokenizer_type(t, 0), TOKEN_UNKNOWN);
    assert_int_equal(tokenizer_type(t, 264), TOKEN_CONTROL);
    tokenizer_free(t);
    m = made_spm();
    m.no_bytes = true; /* no fallback: the unknown piece serves */
    t = open_ok(put_gguf(&m));
    assert_encodes(t, "abxy", 4, "7 0");
    tokenizer_free(t);
}

/* ---- refused --------------------------------------------------------------------------------- */

static void refuse(const struct made *m, const char *want)
{
    struct tokenizer *t;
    struct err e;
    const char *path = put_gguf(m);
    assert_refused(tokenizer_open(&t, path, &e), &e, path, want, want);
    assert_null(t);
}

static void test_kinds_refused(void **state)
{
    (void)state;
    struct made m = made_spm();
    m.model = NULL;
    refuse(&m, "tokenizer.ggml.model: found nothing, wanted a tokenizer");
    m.model = "bert";
    refuse(&m, "tokenizer.ggml.model: found \"bert\", wanted llama");
    m = made_bytes("default");
    refuse(&m, "tokenizer.ggml.pre: found \"default\", wanted one of gpt-2, smollm, llama-bpe, "
               "llama3, llama-v3, qwen2, deepseek-r1-qwen; give");
    m.pre = NULL;
    refuse(&m, "tokenizer.ggml.pre: found nothing, wanted one of gpt-2, smollm");
    m.pre = "qwen35";
    refuse(&m, "tokenizer.ggml.pre: found \"qwen35\"");
    m.pre = "gpt-2";
    m.add_prefix = 1;
    refuse(&m, "add_space_prefix: found true");
    m = made_spm();
    m.charsmap = true;
    refuse(&m, "precompiled_charsmap: found normalisation rules");
}

static void test_tables_refused(void **state)
{
    (void)state;
    struct made m = made_spm();
    m.no_tokens = true;
    refuse(&m, "tokenizer.ggml.tokens");
    m = made_spm();
    m.no_types = true;
    refuse(&m, "token_type: found 0 items, wanted 265");
    m = made_spm();
    m.no_scores = true;
    refuse(&m, "scores: found 0 items, wanted 265");
    m = made_spm();
    m.short_scores = 1;
    refuse(&m, "scores: found 264 items, wanted 265, one for each");
    m = made_spm();
    m.short_types = 2;
    refuse(&m, "token_type: found 263 items");
    m = made_spm();
    m.types_as_f32 = true;
    refuse(&m, "token_type\": found an array of another type");
    m = made_spm();
    m.types[0] = 7;
    refuse(&m, "token_type: found type 7 of token 259");
    m.types[0] = -1;
    refuse(&m, "token_type: found type 4294967295");
    m.types[0] = 6;
    refuse(&m, "piece 259: found the byte piece");
    m = made_spm();
    m.score[3] = __builtin_nanf("");
    refuse(&m, "piece 262: found the score nan");
    static const char *const twice[] = { SP, "a", "a", NULL };
    m = made_spm();
    m.tokens = twice;
    refuse(&m, "piece \"a\" is there twice, as 260 and as 261");
    static const char *const invalid[] = { "\xff", NULL };
    m.tokens = invalid;
    refuse(&m, "wanted valid UTF-8");
}

static void test_merges_refused(void **state)
{
    (void)state;
    static const char *const lists[][3] = {
        { "ab", NULL }, { "a q\xff", NULL }, { "a zz", NULL },
        { "", NULL },   { " ", NULL },       { "a ", NULL },
    };
    struct made m = made_bytes("gpt-2");
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        m.merges = lists[i];
        refuse(&m, "merges: merge 0: found");
    }
    static const char *const unknown[] = { "b a", NULL }, *const again[] = { "a b", "a b", NULL };
    m.merges = unknown;
    refuse(&m, "merge 0: found \"ba\", which is not a piece");
    m.merges = again;
    refuse(&m, "merge 1 repeats");
    m.no_merges = true;
    refuse(&m, "tokenizer.ggml.merges");
}

static void test_ids_refused(void **state)
{
    (void)state;
    struct made m = made_spm();
    m.bos = 265;
    refuse(&m, "bos_token_id: found the id 265, wanted one below the 265 tokens");
    m = made_spm();
    m.eos = 4000000000;
    refuse(&m, "eos_token_id: found the id 4000000000");
    m = made_spm();
    m.eot = 1000;
    refuse(&m, "eot_token_id: found the id 1000");
    m = made_spm();
    m.bos = -1;
    m.bos_as_text = true;
    refuse(&m, "bos_token_id\": found a string");
    m = made_spm();
    m.chat = "a\0b";
    m.chat_n = 3;
    refuse(&m, "chat_template: found bytes that are not text");
    m.chat = "a\xff";
    m.chat_n = 2;
    refuse(&m, "chat_template: found bytes that are not text");
}

/* A model without a tokenizer: it is looked for beside the file. */
static void test_without_tokenizer(void **state)
{
    (void)state;
    static const struct model_piece pieces[] = { { SP, -1, 1 }, { "a", -2, 1 }, { NULL, 0, 0 } };
    struct made m = made_spm();
    m.model = NULL;
    const char *path = put_gguf(&m);
    struct tokenizer *t;
    struct err e;
    assert_int_equal(tokenizer_find(&t, path, NULL, &e), ERR_FAIL);
    put_model("tokenizer.model", pieces, (struct model_options){ 0 });
    if (tokenizer_find(&t, path, NULL, &e)) fail_msg("%s", e.msg);
    assert_int_equal(tokenizer_size(t), 261);
    tokenizer_free(t);
    m.model = "bert"; /* one that we cannot encode is not ignored */
    assert_int_equal(tokenizer_find(&t, put_gguf(&m), NULL, &e), ERR_FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_llama, "tokenizer in GGUF: a SentencePiece vocabulary is read with its roles"),
        ENTRY(test_gpt2, "tokenizer in GGUF: a byte-level vocabulary is read"),
        ENTRY(test_oddities, "tokenizer in GGUF: oddities of converters are read"),
        ENTRY(test_kinds_refused,
              "tokenizer in GGUF: a kind that is not known is refused with those that are"),
        ENTRY(test_tables_refused, "tokenizer in GGUF: tables of other lengths are refused by key"),
        ENTRY(test_merges_refused, "tokenizer in GGUF: wrong merges are refused"),
        ENTRY(test_ids_refused, "tokenizer in GGUF: ids outside the vocabulary are refused"),
        ENTRY(test_without_tokenizer, "tokenizer in GGUF: a file without one takes that beside it"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
