/* src/tokenizer/nfc.c, and Qwen2's tokenizer.json, which asks for it: ids as Hugging Face's
 * tokenizers gives them (tests/golden/qwen2-tokenizer, made by scripts/make-nfc-goldens.py). */
#include "tests/tokenizer_util.h"

#include "src/base/json.h"
#include "src/convert/tokenizer_gguf.h"
#include "src/formats/gguf.h"
#include "src/tokenizer/nfc.h"
#include "src/tokenizer/parts.h"

#define GOLDEN "tests/golden/qwen2-tokenizer"

typedef void golden_line(const struct tokenizer *t, const char *text, size_t n, const json_t *ids);

static void each_golden(const struct tokenizer *t, golden_line *f)
{
    struct str file = { 0 };
    struct err e;
    size_t count = 0;
    if (file_read(&file, GOLDEN "/texts.jsonl", 1 << 20, &e)) fail_msg("%s", e.msg);
    for (char *at = file.p, *end; (end = strchr(at, '\n')); at = end + 1, count++) {
        json_t *line = json_parse(at, (size_t)(end - at), JSON_DUP_REFUSED, "texts.jsonl", &e);
        if (!line) fail_msg("%s", e.msg);
        const json_t *text = json_object_get(line, "text");
        f(t, json_string_value(text), json_string_length(text), json_object_get(line, "ids"));
        json_decref(line);
    }
    assert_true(count > 200);
    str_free(&file);
}

static void same_ids(const struct tokenizer *t, const char *text, size_t n, const json_t *ids)
{
    int32_t want[4096];
    size_t count = json_array_size(ids);
    assert_true(count <= 4096);
    for (size_t i = 0; i < count; i++)
        want[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    struct tokens got = encode_ok(t, text, n);
    assert_ids(&got, want, count, err_quote(text, n));
    size_t at = 0, start = 0;
    for (size_t i = 0; i < got.n; i++) { /* every byte is covered, and by something */
        assert_true(got.start[i] <= at && got.start[i] >= start && got.start[i] < got.end[i]);
        assert_true(got.end[i] >= at && got.end[i] <= n);
        start = got.start[i];
        at = got.end[i];
    }
    assert_int_equal(at, n);
    tokens_free(&got);
}

static void test_ids_are_those_of_tokenizers(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(GOLDEN);
    assert_int_equal(t->pre, PRE_QWEN2);
    assert_true(tokenizer_normalizes(t));
    assert_false(tokenizer_adds_bos(t));
    assert_int_equal(tokenizer_special(t, "<|im_end|>"), 522);
    each_golden(t, same_ids);
    tokenizer_free(t);
}

/* ---- the form -------------------------------------------------------------------------------- */

static const struct {
    const char *text, *want;
} forms[] = {
    { "", "" },
    { "abc \303\251", "abc \303\251" },
    { "e\314\201", "\303\251" },                                /* e, acute */
    { "xe\314\201y\302\240", "x\303\251y\302\240" },            /* between characters that stay */
    { "a\314\201\314\243", "\341\272\241\314\201" },            /* marks out of order: dot below */
    { "\342\204\253", "\303\205" },                             /* Angstrom: a singleton */
    { "\340\245\230", "\340\244\225\340\244\274" },             /* excluded from composition */
    { "\341\204\222\341\205\241\341\206\253", "\355\225\234" }, /* Hangul letters */
    { "\352\260\200\341\206\250", "\352\260\201" },             /* a syllable and a final */
    { "\340\247\207\340\246\276", "\340\247\213" },             /* two starters join */
    { "\340\247\207\314\247\340\246\276",
      "\340\247\207\314\247\340\246\276" }, /* not over a mark */
    { "\314\201e", "\314\201e" },           /* a mark on nothing */
    { "\314\201\314\243e\314\201", "\314\243\314\201\303\251" },
    { "\360\235\205\240", "\360\235\205\230\360\235\205\245\360\235\205\256" }, /* three times */
    { "\340\275\203\341\204\222",
      "\340\275\202\340\276\267\341\204\222" }, /* two starters in one */
};

static void test_forms(void **state)
{
    (void)state;
    struct nfc f = { 0 };
    struct err e;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const char *text = forms[i].text, *want = forms[i].want;
        assert_int_equal(nfc_form(&f, text, strlen(text), &e), 0);
        if (f.text.n != strlen(want) || (f.text.n && memcmp(f.text.p, want, f.text.n) != 0)) {
            fail_msg("%s: found %s", err_quotez(text), err_quote(f.text.p, f.text.n));
        }
        assert_int_equal(f.n_changes != 0, strcmp(text, want) != 0);
        assert_int_equal(nfc_source_start(&f, 0), 0);
        assert_int_equal(nfc_source_end(&f, f.text.n), strlen(text));
    }
    nfc_release(&f);
}

/* The form of a form is the form, at most three times as long. */
static void test_any_text_has_a_stable_form(void **state)
{
    (void)state;
    struct nfc f = { 0 }, again = { 0 };
    struct str text = { 0 };
    struct err e;
    for (uint64_t i = 0; i < 3000; i++) {
        random_text(&text, i);
        if (!text.n) continue;
        assert_int_equal(nfc_form(&f, text.p, text.n, &e), 0);
        assert_true(f.text.n <= 3 * text.n && utf8_valid(f.text.p, f.text.n, &(size_t){ 0 }));
        assert_int_equal(nfc_form(&again, f.text.p, f.text.n, &e), 0);
        assert_int_equal(again.n_changes, 0);
        assert_int_equal(again.text.n, f.text.n);
        assert_memory_equal(again.text.p, f.text.p, f.text.n);
    }
    str_free(&text);
    nfc_release(&f);
    nfc_release(&again);
}

/* Texts that cost quadratic time where marks are sorted by swapping neighbours. */
static void test_hostile_texts_take_linear_time(void **state)
{
    (void)state;
    static const char *const parts[] = { "\314\201\314\243", "e\314\201", "\360\235\205\240",
                                         "\341\204\222\341\205\241\341\206\253" };
    enum { BYTES = 3000000 };
    struct nfc f = { 0 };
    struct err e;
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
        struct str s = { 0 };
        while (s.n < BYTES) str_addz(&s, parts[k]);
        assert_int_equal(nfc_form(&f, s.p, s.n, &e), 0);
        assert_true(f.text.n <= 3 * s.n);
        if (k == 0) assert_memory_equal(f.text.p, "\314\243\314\243", 4);
        str_free(&s);
    }
    nfc_release(&f);
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void test_tokens_of_a_changed_character_cover_it(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(GOLDEN);
    static const char text[] = "x\340\245\230!e\314\201"; /* a nukta letter, e with an acute */
    struct tokens got = { 0 };
    struct err e;
    assert_int_equal(tokenizer_encode(t, &got, text, 8, 100, &e), 0);
    static const uint32_t start[] = { 100, 101, 101, 101, 104, 105 };
    static const uint32_t end[] = { 101, 104, 104, 104, 105, 108 };
    assert_int_equal(got.n, 6); /* three tokens for what had three bytes and has six */
    assert_memory_equal(got.start, start, sizeof start);
    assert_memory_equal(got.end, end, sizeof end);
    tokens_free(&got);
    tokenizer_free(t);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_export_keeps_the_normaliser(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(GOLDEN);
    const char *dir = temp_path("export");
    struct err e;
    assert_int_equal(mkdir(dir, 0700), 0);
    if (tokenizer_export(t, dir, &e)) fail_msg("%s", e.msg);
    struct tokenizer *back = open_ok(dir);
    assert_true(tokenizer_normalizes(back));
    assert_int_equal(back->pre, PRE_QWEN2);
    each_golden(back, same_ids);
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
    assert_int_equal(tokenizer_digest(t, a, &e), 0);
    assert_int_equal(tokenizer_digest(back, b, &e), 0);
    assert_memory_equal(a, b, sizeof a);
    tokenizer_free(back);
    tokenizer_free(t);
}

/* golden tokenizer.json with one text in it replaced. */
static const char *changed(const char *from, const char *to)
{
    struct str file = { 0 }, out = { 0 };
    struct err e;
    if (file_read(&file, GOLDEN "/tokenizer.json", 1 << 20, &e)) fail_msg("%s", e.msg);
    char *at = strstr(file.p, from);
    assert_non_null(at);
    str_add(&out, file.p, (size_t)(at - file.p));
    str_addz(&out, to);
    str_addz(&out, at + strlen(from));
    const char *path = put_file("changed.json", out.p, out.n);
    str_free(&file);
    str_free(&out);
    return path;
}

static void test_another_normaliser_is_another_tokenizer(void **state)
{
    (void)state;
    static const char nfc[] = "\"normalizer\":{\"type\":\"NFC\"}";
    struct tokenizer *t = open_ok(GOLDEN), *none = open_ok(changed(nfc, "\"normalizer\":null"));
    uint8_t a[SHA256_BYTES], b[SHA256_BYTES];
    struct err e;
    assert_int_equal(tokenizer_digest(t, a, &e), 0);
    assert_int_equal(tokenizer_digest(none, b, &e), 0);
    assert_memory_not_equal(
        a, b, sizeof a); /* a data set that was prepared with the other is out of date */
    assert_false(tokenizer_normalizes(none));
    tokenizer_free(none);
    none = open_ok(changed(nfc, "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":"
                                "\"NFC\"}]}"));
    assert_int_equal(tokenizer_digest(none, b, &e), 0);
    assert_memory_equal(a, b, sizeof a);
    tokenizer_free(none);
    tokenizer_free(t);
    static const struct {
        const char *to, *want;
    } cases[] = {
        { "\"normalizer\":{\"type\":\"NFKC\"}", "normalizer: found \"NFKC\", wanted none or NFC" },
        { "\"normalizer\":{\"type\":\"NFD\"}", "normalizer: found \"NFD\"" },
        { "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":"
          "\"Lowercase\"}]}",
          "normalizer: found \"Lowercase\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = changed(nfc, cases[i].to);
        assert_refused(tokenizer_open(&t, path, &e), &e, path, cases[i].want, cases[i].want);
    }
}

/* llama.cpp normalises nothing, so neither do we from a GGUF; we say so when one is written. */
static void test_gguf_has_no_normaliser(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(GOLDEN);
    const char *path = temp_path("qwen2.gguf");
    struct gguf_writer w;
    struct str remarks = { 0 };
    struct err e;
    int code = gguf_writer_begin(&w, path, 0600, &e);
    gguf_put_string(&w, "general.architecture", "qwen2", 5);
    if (!code) code = gguf_put_tokenizer(&w, t, tokenizer_size(t), NULL, -1, &remarks, &e);
    if (!code) code = gguf_writer_data(&w, &e);
    if (!code) code = gguf_writer_commit(&w, &e);
    if (code) fail_msg("%s", e.msg);
    assert_non_null(strstr(remarks.p, "does not bring texts into Unicode's NFC"));
    struct tokenizer *back = open_ok(path);
    assert_int_equal(back->pre, PRE_QWEN2);
    assert_false(tokenizer_normalizes(back));
    struct tokens a = encode_ok(t, "\303\251", 2), b = encode_ok(back, "\303\251", 2);
    assert_ids(&b, a.ids, a.n, "composed");
    tokens_free(&b);
    b = encode_ok(back, "e\314\201", 3);
    assert_int_equal(b.n, 3);
    tokens_free(&a);
    tokens_free(&b);
    str_free(&remarks);
    tokenizer_free(back);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_ids_are_those_of_tokenizers, "nfc: Qwen2's ids are those of tokenizers"),
        ENTRY(test_forms, "nfc: texts get Unicode's composed form"),
        ENTRY(test_any_text_has_a_stable_form, "nfc: the form of a form is the form"),
        ENTRY(test_hostile_texts_take_linear_time, "nfc: hostile texts take linear time"),
        ENTRY(test_tokens_of_a_changed_character_cover_it,
              "nfc: tokens of a changed character cover it"),
        ENTRY(test_export_keeps_the_normaliser, "nfc: an exported tokenizer keeps the normaliser"),
        ENTRY(test_another_normaliser_is_another_tokenizer,
              "nfc: another normaliser is another tokenizer"),
        ENTRY(test_gguf_has_no_normaliser,
              "nfc: a GGUF has none, and a note says so when one is written"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
