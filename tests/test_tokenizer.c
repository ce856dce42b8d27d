/* The tokenizers against vectors that others made: SentencePiece, llama.cpp, Hugging Face; and
 * properties of every text: spans, decoding, time. */
#include "tests/tokenizer_util.h"

#include "src/base/json.h"
#include "src/tokenizer/parts.h"

#define LLAMA2      "llama2-tokenizer/tokenizer.model"
#define LLAMA2_GGUF "llama2-tokenizer/ggml-vocab-llama-spm.gguf"
#define GPT2_GGUF   "bpe-vocab/ggml-vocab-gpt-2.gguf"

/* ---- vectors --------------------------------------------------------------------------------- */

/* Lines of {"text", "ids"}. */
static void check_jsonl(const struct tokenizer *t, const char *path, size_t count)
{
    struct str file = { 0 };
    get_file(&file, path);
    size_t lines = 0;
    for (char *line = file.p, *end; line < file.p + file.n; line = end + 1, lines++) {
        end = memchr(line, '\n', (size_t)(file.p + file.n - line));
        struct err e;
        json_t *o = json_parse(line, (size_t)(end - line), JSON_DUP_REFUSED, "vectors", &e);
        if (!o) fail_msg("%s", e.msg);
        const json_t *text = json_object_get(o, "text"), *ids = json_object_get(o, "ids");
        int32_t want[4096];
        for (size_t i = 0; i < json_array_size(ids); i++) {
            want[i] = (int32_t)json_integer_value(json_array_get(ids, i));
        }
        struct tokens got = encode_ok(t, json_string_value(text), json_string_length(text));
        assert_ids(&got, want, json_array_size(ids),
                   err_quote(json_string_value(text), json_string_length(text)));
        tokens_free(&got);
        assert_faithful(t, json_string_value(text), json_string_length(text));
        json_decref(o);
    }
    assert_int_equal(lines, count);
    str_free(&file);
}

/* llama.cpp's pairs of files: texts between marks, a line of ids for each. */
static void check_inp_out(const struct tokenizer *t, const char *base, bool faithful)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    struct str inp = { 0 }, out = { 0 };
    char name[256];
    snprintf(name, sizeof name, "%s.inp", base);
    get_file(&inp, fixture(name));
    snprintf(name, sizeof name, "%s.out", base);
    get_file(&out, fixture(name));
    char *text = inp.p, *ids = out.p;
    size_t count = 0;
    for (; ids < out.p + out.n; count++) {
        char *line_end = strchr(ids, '\n');
        *line_end = 0;
        char *end = memmem(text, (size_t)(inp.p + inp.n - text), mark, sizeof mark - 1);
        assert_non_null(end);
        assert_encodes(t, text, (size_t)(end - text), ids);
        if (faithful) assert_faithful(t, text, (size_t)(end - text));
        text = end + sizeof mark - 1;
        ids = line_end + 1;
    }
    assert_int_equal(count, 46);
    str_free(&inp);
    str_free(&out);
}

static void test_llama2(void **state)
{
    (void)state;
    static const char *const names[] = { LLAMA2, LLAMA2_GGUF };
    for (int i = 0; i < 2; i++) {
        struct tokenizer *t = open_ok(fixture(names[i]));
        assert_int_equal(tokenizer_size(t), 32000);
        assert_int_equal(tokenizer_bos(t), 1);
        assert_int_equal(tokenizer_eos(t), 2);
        assert_true(tokenizer_adds_bos(t));
        assert_int_equal(tokenizer_special(t, "<s>"), 1);
        assert_int_equal(tokenizer_special(t, "the"), -1);
        check_jsonl(t, fixture("llama2-tokenizer/vectors.jsonl"), 68);
        check_inp_out(t, LLAMA2_GGUF, true);
        tokenizer_free(t);
    }
}

static void test_llama2_containers_agree(void **state)
{
    (void)state;
    struct tokenizer *a = open_ok(fixture(LLAMA2)), *b = open_ok(fixture(LLAMA2_GGUF));
    for (int32_t id = 0; id < 32000; id++) {
        size_t n, m;
        const char *x = tokenizer_piece(a, id, &n), *y = tokenizer_piece(b, id, &m);
        assert_int_equal(n, m);
        assert_memory_equal(x, y, n);
        assert_int_equal(tokenizer_type(a, id), tokenizer_type(b, id));
        assert_true(tokenizer_score(a, id) == tokenizer_score(b, id));
    }
    assert_true(tokenizer_scores_fit(a) && tokenizer_scores_fit(b));
    tokenizer_free(a);
    tokenizer_free(b);
}

static void test_stories_containers_agree(void **state)
{
    (void)state;
    struct tokenizer *a = open_ok(fixture("stories260K-hf"));
    struct tokenizer *b = open_ok(fixture("stories260K-gguf/stories260K.F32.gguf"));
    struct str text = { 0 };
    for (uint64_t i = 0; i < 300; i++) {
        random_text(&text, i);
        struct tokens x = encode_ok(a, text.n ? text.p : "", text.n);
        struct tokens y = encode_ok(b, text.n ? text.p : "", text.n);
        assert_ids(&x, y.ids, y.n, "stories260K");
        tokens_free(&x);
        tokens_free(&y);
    }
    assert_encodes(a, "Once upon a time", 16, "403 407 261 378");
    str_free(&text);
    tokenizer_free(a);
    tokenizer_free(b);
}

static void test_gpt2(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(fixture(GPT2_GGUF));
    assert_int_equal(tokenizer_size(t), 50257);
    assert_int_equal(tokenizer_kind(t), TOKENIZER_BYTE_BPE);
    assert_int_equal(t->pre, PRE_GPT2);
    assert_int_equal(tokenizer_eos(t), 50256);
    assert_false(tokenizer_adds_bos(t));
    int32_t left, right;
    assert_true(tokenizer_merge(t, 49999, &left, &right));
    assert_false(tokenizer_merge(t, 50000, &left, &right));
    check_inp_out(t, GPT2_GGUF, true);
    tokenizer_free(t);
}

static void test_smollm2(void **state)
{
    (void)state;
    const char *path = getenv("LORAC_SMOLLM2_GGUF");
    if (!path || !*path) skip();
    struct tokenizer *t = open_ok(path);
    assert_int_equal(tokenizer_size(t), 49152);
    assert_int_equal(t->pre, PRE_SMOLLM);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_int_equal(tokenizer_special(t, "<|im_end|>"), 2);
    assert_non_null(strstr(tokenizer_chat_template(t), "<|im_start|>"));
    check_inp_out(t, "bpe-vocab/ggml-vocab-smollm.gguf", true);
    tokenizer_free(t);
}

static void test_unigram_is_refused(void **state)
{
    (void)state;
    const char *path = fixture("torchtune-assets/m.model");
    struct tokenizer *t;
    struct err e;
    int code = tokenizer_open(&t, path, &e);
    assert_refused(code, &e, path, "Unigram", "model_type: found UNIGRAM, wanted BPE");
    assert_null(t);
}

/* ---- pre-tokenisers: words as Hugging Face's tokenizers 0.23 gives them ---------------------- */

static const struct {
    const char *text, *words[4]; /* GPT-2, SmolLM, Llama 3, Qwen2; words end at | */
} splits[] = {
    { "Hello, y'all! How are you?",
      { "Hello|,| y|'|all|!| How| are| you|?", "Hello|,| y|'|all|!| How| are| you|?",
        "Hello|,| y|'all|!| How| are| you|?", "Hello|,| y|'all|!| How| are| you|?" } },
    { "I'VE we'Ll 'S '\305\277 it's",
      { "I|'|VE| we|'|Ll| '|S| '|\305\277| it|'s", "I|'|VE| we|'|Ll| '|S| '|\305\277| it|'s",
        "I|'VE| we|'Ll| '|S| '|\305\277| it|'s", "I|'VE| we|'Ll| '|S| '|\305\277| it|'s" } },
    { "1234567 12 3",
      { "1234567| 12| 3", "1|2|3|4|5|6|7| |1|2| |3", "123|456|7| |12| |3",
        "1|2|3|4|5|6|7| |1|2| |3" } },
    { "  two  spaces\n\n\n  x",
      { " | two| | spaces|\n\n\n | x", " | two| | spaces|\n\n\n | x",
        " | two| | spaces|\n\n\n| | x", " | two| | spaces|\n\n\n| | x" } },
    { "a\r\n\r\n b \n",
      { "a|\r\n\r\n| b| \n", "a|\r\n\r\n| b| \n", "a|\r\n\r\n| b| \n", "a|\r\n\r\n| b| \n" } },
    { "!!! (x) ==\n\ny",
      { "!!!| (|x|)| ==|\n|\n|y", "!!!| (|x|)| ==|\n|\n|y", "!!!| (|x|)| ==\n\n|y",
        "!!!| (|x|)| ==\n\n|y" } },
    { "\t\ttab tab", { "\t|\t|tab| tab", "\t|\t|tab| tab", "\t|\ttab| tab", "\t|\ttab| tab" } },
    { "na\303\257ve Stra\303\237e \346\235\261\344\272\254",
      { "na\303\257ve| Stra\303\237e| \346\235\261\344\272\254",
        "na\303\257ve| Stra\303\237e| \346\235\261\344\272\254",
        "na\303\257ve| Stra\303\237e| \346\235\261\344\272\254",
        "na\303\257ve| Stra\303\237e| \346\235\261\344\272\254" } },
    { "x\343\200\200\343\200\200y\302\240z\302\205w\341\240\216v",
      { "x|\343\200\200|\343\200\200|y|\302\240|z|\302\205|w|\341\240\216|v",
        "x|\343\200\200|\343\200\200|y|\302\240|z|\302\205|w|\341\240\216|v",
        "x|\343\200\200|\343\200\200y|\302\240z|\302\205w|\341\240\216v",
        "x|\343\200\200|\343\200\200y|\302\240z|\302\205w|\341\240\216v" } },
    { "don\342\200\231t \302\275 \357\274\223\357\274\224\357\274\225\357\274\226",
      { "don|\342\200\231|t| \302\275| \357\274\223\357\274\224\357\274\225\357\274\226",
        "don|\342\200\231|t| |\302\275| |\357\274\223|\357\274\224|\357\274\225|\357\274\226",
        "don|\342\200\231t| |\302\275| |\357\274\223\357\274\224\357\274\225|\357\274\226",
        "don|\342\200\231t| |\302\275| |\357\274\223|\357\274\224|\357\274\225|\357\274\226" } },
    { "... \n \n 3 4",
      { "...| \n \n| 3| 4", "...| \n \n |3| |4", "...| \n \n| |3| |4", "...| \n \n| |3| |4" } },
    { " \t \n", { " \t \n", " \t \n", " \t \n", " \t \n" } },
    { "x \341\240\216y", /* U+180E is not a space, though PCRE2's \s matches it */
      { "x| \341\240\216|y", "x| \341\240\216|y", "x| \341\240\216|y", "x| \341\240\216|y" } },
    { "$x_1^2$ = '' '3",
      { "$|x|_|1|^|2|$| =| ''| '|3", "$|x|_|1|^|2|$| =| ''| '|3", "$x|_|1|^|2|$| =| ''| '|3",
        "$x|_|1|^|2|$| =| ''| '|3" } },
};

static void test_splits(void **state)
{
    (void)state;
    struct err e;
    for (int pre = PRE_GPT2; pre < PRETOKENIZERS; pre++) {
        struct splitter s;
        struct splits w;
        assert_int_equal(splitter_init(&s, (enum pretokenizer)pre, &e), 0);
        assert_int_equal(splits_init(&w, &s, &e), 0);
        for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
            struct str got = { 0 };
            bool more;
            size_t start, end;
            splits_begin(&w, splits[i].text, strlen(splits[i].text));
            while (!splits_next(&w, &more, &start, &end, &e) && more) {
                if (got.n) str_addc(&got, '|');
                str_add(&got, splits[i].text + start, end - start);
            }
            assert_string_equal(got.p, splits[i].words[pre - PRE_GPT2]);
            str_free(&got);
        }
        splits_release(&w);
        splitter_release(&s);
    }
}

/* Long runs of one sort, and of alternating sorts, stay far below the matcher's limits. */
static void test_splits_of_hostile_text(void **state)
{
    (void)state;
    static const char *const sorts[] = {
        " ", "\n", " \n", "a", "1", "!", "'", "a1", "\r\n\t ", " a", "\343\200\200", "'s", "\n !"
    };
    enum { BYTES = 3000000 };
    char *text = mem_alloc(BYTES + 8, 1, &(struct err){ 0 });
    assert_non_null(text);
    for (int pre = PRE_GPT2; pre < PRETOKENIZERS; pre++) {
        struct splitter s;
        struct splits w;
        struct err e;
        assert_int_equal(splitter_init(&s, (enum pretokenizer)pre, &e), 0);
        assert_int_equal(splits_init(&w, &s, &e), 0);
        for (size_t i = 0; i < sizeof sorts / sizeof sorts[0]; i++) {
            size_t n = strlen(sorts[i]), size = BYTES / n * n;
            for (size_t k = 0; k < size; k++) text[k] = sorts[i][k % n];
            text[size] = 'x';
            bool more = true;
            size_t start, end, at = 0;
            splits_begin(&w, text, size + 1);
            while (more) {
                if (splits_next(&w, &more, &start, &end, &e)) fail_msg("%s", e.msg);
                if (!more) break;
                assert_int_equal(start, at);
                at = end;
            }
            assert_int_equal(at, size + 1);
        }
        splits_release(&w);
        splitter_release(&s);
    }
    mem_free(text);
}

/* ---- every text ------------------------------------------------------------------------------ */

static void check_random(const char *path)
{
    struct tokenizer *t = open_ok(path);
    struct str text = { 0 };
    for (uint64_t i = 0; i < 2000; i++) {
        random_text(&text, i);
        assert_faithful(t, text.n ? text.p : "", text.n);
    }
    str_free(&text);
    tokenizer_free(t);
}

static void test_random_texts_llama2(void **state)
{
    (void)state;
    check_random(fixture(LLAMA2));
}

static void test_random_texts_gpt2(void **state)
{
    (void)state;
    check_random(fixture(GPT2_GGUF));
}

/* Spans inside characters: byte fallback, and byte-level pieces that split a character. */
static void test_spans(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(fixture(LLAMA2));
    static const char text[] = "a  \360\237\246\231b"; /* a, two spaces, a llama, b */
    struct tokens got = encode_ok(t, text, 8);
    static const int32_t ids[] = { 263, 259, 243, 162, 169, 156, 29890 };
    static const uint32_t start[] = { 0, 1, 3, 4, 5, 6, 7 }, end[] = { 1, 3, 4, 5, 6, 7, 8 };
    assert_ids(&got, ids, 7, "llama");
    assert_memory_equal(got.start, start, sizeof start);
    assert_memory_equal(got.end, end, sizeof end);
    tokens_free(&got);
    struct tokens shifted = { 0 };
    struct err e;
    assert_int_equal(tokenizer_encode(t, &shifted, "\n", 1, 40, &e), 0);
    assert_int_equal(shifted.n, 2); /* the dummy prefix covers nothing */
    assert_int_equal(shifted.start[0], 40);
    assert_int_equal(shifted.end[0], 40);
    assert_int_equal(shifted.end[1], 41);
    tokens_free(&shifted);
    tokenizer_free(t);
    t = open_ok(fixture(GPT2_GGUF));
    got = encode_ok(t, "x \360\237\246\231", 6);
    assert_int_equal(got.n, 4); /* "x", " \xf0\x9f", 0xa6, 0x99 */
    assert_int_equal(got.start[1], 1);
    assert_int_equal(got.end[1], 4);
    assert_int_equal(got.end[2], 5);
    tokens_free(&got);
    tokenizer_free(t);
}

static void test_decode(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(fixture(LLAMA2));
    struct str s = { 0 };
    static const int32_t ids[] = { 1, 15043, 29892, 3186, 2 };
    tokenizer_decode(t, &s, ids, 5, false, true);
    assert_string_equal(s.p, "Hello, world");
    str_clear(&s);
    tokenizer_decode(t, &s, ids, 5, true, true);
    assert_string_equal(s.p, "<s>Hello, world</s>");
    str_clear(&s);
    tokenizer_decode(t, &s, ids, 5, false, false);
    assert_string_equal(s.p, " Hello, world");
    str_clear(&s);
    tokenizer_decode(t, &s, ids + 2, 2, false, true); /* the first id carries no space */
    assert_string_equal(s.p, ", world");
    str_free(&s);
    tokenizer_free(t);
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(fixture(LLAMA2));
    struct tokens out = { 0 };
    struct err e;
    assert_int_equal(tokenizer_encode(t, &out,
                                      "ab\xff"
                                      "c",
                                      4, 10, &e),
                     ERR_FAIL);
    assert_string_equal(e.msg, "byte 12: found \"\\xffc\", wanted valid UTF-8");
    tokens_free(&out);
    tokenizer_free(t);
}

/* One tokenizer, many threads. */
static void test_threads(void **state)
{
    (void)state;
    enum { TEXTS = 400 };
    static const char *const names[] = { LLAMA2, GPT2_GGUF };
    for (int k = 0; k < 2; k++) {
        struct tokenizer *t = open_ok(fixture(names[k]));
        size_t wrong = 0;
#pragma omp parallel for reduction(+ : wrong) num_threads(4)
        for (int round = 0; round < 4 * TEXTS; round++) {
            struct str text = { 0 };
            struct tokens x = { 0 }, y = { 0 };
            struct str back = { 0 };
            struct err e;
            random_text(&text, (uint64_t)(round % TEXTS));
            wrong += tokenizer_encode(t, &x, text.n ? text.p : "", text.n, 0, &e) != 0;
            wrong += tokenizer_encode(t, &y, text.n ? text.p : "", text.n, 7, &e) != 0;
            wrong += x.n != y.n || (x.n && memcmp(x.ids, y.ids, x.n * sizeof *x.ids) != 0);
            tokenizer_decode(t, &back, x.ids, x.n, false, true);
            wrong += back.n != text.n;
            tokens_free(&x);
            tokens_free(&y);
            str_free(&text);
            str_free(&back);
        }
        assert_int_equal(wrong, 0);
        tokenizer_free(t);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Steps of the encoder for n equal letters: look-ups and heap moves, which do not depend on the
 * machine. */
static uint64_t steps_of(const struct tokenizer *t, const char *letter, size_t n)
{
    struct bpe_work w = { 0 };
    struct err e;
    uint32_t id = (uint32_t)vocab_find(&t->vocab, letter, strlen(letter));
    assert_int_equal(bpe_work_begin(&w, &t->bpe, &e), 0);
    assert_int_equal(bpe_work_reserve(&w, n, &e), 0);
    for (size_t i = 0; i < n; i++) bpe_put(&w, id, i);
    bpe_run(&w, &t->bpe);
    uint64_t steps = w.steps;
    bpe_work_release(&w);
    return steps;
}

static void test_equal_letters(void **state)
{
    (void)state;
    static const char *const names[] = { LLAMA2, GPT2_GGUF };
    for (int i = 0; i < 2; i++) {
        struct tokenizer *t = open_ok(fixture(names[i]));
        uint64_t small = steps_of(t, "a", 4000), large = steps_of(t, "a", 100000);
        assert_true(small < 4000 * 6);
        assert_true(large < 26 * small);
        enum { N = 1000000 };
        char *text = mem_alloc(N, 1, &(struct err){ 0 });
        memset(text, 'a', N);
        struct tokens got = encode_ok(t, text, N);
        assert_true(got.n > 0 && got.end[got.n - 1] == N);
        tokens_free(&got);
        memset(text, ' ', N);
        assert_faithful(t, text, N);
        mem_free(text);
        tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_llama2, "tokenizer: Llama 2's ids are SentencePiece's"),
        ENTRY(test_llama2_containers_agree, "tokenizer: Llama 2's containers give the same ids"),
        ENTRY(test_stories_containers_agree,
              "tokenizer: stories260K's containers give the same ids"),
        ENTRY(test_gpt2, "tokenizer: GPT-2's ids are llama.cpp's"),
        ENTRY(test_smollm2, "tokenizer: SmolLM2's ids are Hugging Face's"),
        ENTRY(test_unigram_is_refused, "tokenizer: Unigram is refused"),
        ENTRY(test_splits, "tokenizer: each pre-tokeniser splits as its pattern says"),
        ENTRY(test_splits_of_hostile_text,
              "tokenizer: hostile texts stay within the matcher's limits"),
        ENTRY(test_random_texts_llama2,
              "tokenizer: random texts decode to themselves, their spans cover them (Llama 2)"),
        ENTRY(test_random_texts_gpt2,
              "tokenizer: random texts decode to themselves, their spans cover them (GPT-2)"),
        ENTRY(test_spans, "tokenizer: spans inside characters lie in the text"),
        ENTRY(test_decode, "tokenizer: ids decode with and without special tokens and first space"),
        ENTRY(test_invalid_utf8, "tokenizer: invalid UTF-8 is refused at its byte"),
        ENTRY(test_threads, "tokenizer: many threads may share one"),
        ENTRY(test_equal_letters, "tokenizer: a million equal letters take linear work"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
