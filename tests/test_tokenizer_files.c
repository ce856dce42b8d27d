/* Where a tokenizer is found, what the files beside it say (src/tokenizer/sidecar.c), and what
 * tokenizer_export() writes.
 *
 *   test_tokenizer_files TOKENIZER DIRECTORY    exports one, for scripts/interop-tokenizer.py */
#include "tests/tokenizer_util.h"

#include "src/base/json.h"
#include "src/tokenizer/parts.h"

static const struct model_piece pieces[] = {
    { SP, -20, 1 },     { "a", -21, 1 },  { "b", -22, 1 },     { "ab", -1, 1 }, { SP "a", -2, 1 },
    { SP "ab", -3, 1 }, { SP SP, -4, 1 }, { "<|end|>", 0, 3 }, { NULL, 0, 0 },
};
enum { PIECES = 267 }; /* with <unk> <s> </s> and the bytes; <|end|> is 266 */

/* A fresh directory below the test's own. */
static const char *fresh_dir(void)
{
    static char dir[PATH_BYTES];
    static unsigned number;
    snprintf(dir, sizeof dir, "%s/d%u", test_dir, number++);
    struct err e;
    assert_int_equal(dir_make(dir, 0755, &e), 0);
    return dir;
}

static const char *inside(const char *dir, const char *name)
{
    static char paths[4][PATH_BYTES];
    static unsigned turn;
    char *out = paths[turn++ % 4];
    struct err e;
    assert_int_equal(path_join(out, dir, name, &e), 0);
    return out;
}

static void put_in(const char *dir, const char *name, const char *text)
{
    struct err e;
    assert_int_equal(file_replace(inside(dir, name), text, strlen(text), 0644, &e), 0);
}

static void put_model_in(const char *dir, const char *name)
{
    struct str s = { 0 };
    struct err e;
    model_pieces(&s, pieces, false);
    model_specs(&s, &(struct model_options){ 0 });
    assert_int_equal(file_replace(inside(dir, name), s.p, s.n, 0644, &e), 0);
    str_free(&s);
}

/* A directory with the small tokenizer.model and, where given, other files. */
static const char *model_dir(const char *config)
{
    const char *dir = fresh_dir();
    put_model_in(dir, "tokenizer.model");
    if (config) put_in(dir, "tokenizer_config.json", config);
    return dir;
}

/* ---- beside a tokenizer ---------------------------------------------------------------------- */

static void test_roles(void **state)
{
    (void)state;
    const char *dir = model_dir("{\"bos_token\": {\"content\": \"<|end|>\", \"lstrip\": false},"
                                "\"eos_token\": \"<s>\", \"add_bos_token\": false,"
                                "\"model_max_length\": 1000000000000000019884624838656}");
    struct tokenizer *t = open_ok(dir);
    assert_int_equal(tokenizer_bos(t), 266);
    assert_int_equal(tokenizer_eos(t), 1);
    assert_false(tokenizer_is_eos(t, 2));
    assert_false(tokenizer_adds_bos(t));
    tokenizer_free(t);

    put_in(dir, "tokenizer_config.json", "{\"bos_token\": null, \"eos_token\": \"</s>\"}");
    put_in(dir, "generation_config.json", "{\"eos_token_id\": [266, 2], \"bos_token_id\": 1}");
    put_in(dir, "config.json", "{\"eos_token_id\": 1, \"bos_token_id\": 1}");
    t = open_ok(dir);
    assert_int_equal(tokenizer_bos(t), -1); /* null says: none */
    assert_false(tokenizer_adds_bos(t));
    const int32_t *stops;
    assert_int_equal(tokenizer_stops(t, &stops), 3);
    assert_int_equal(stops[0], 2); /* the tokenizer's own first, then in the order of the files */
    assert_int_equal(stops[1], 266);
    assert_int_equal(stops[2], 1);
    tokenizer_free(t);

    put_in(dir, "tokenizer_config.json", "{}");
    put_in(dir, "special_tokens_map.json", "{\"eos_token\": {\"content\": \"<|end|>\"}}");
    t = open_ok(dir);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 266);
    assert_true(tokenizer_is_eos(t, 2) && tokenizer_is_eos(t, 1));
    tokenizer_free(t);
}

static void test_added_pieces(void **state)
{
    (void)state;
    const char *dir = model_dir(
        "{\"added_tokens_decoder\": {"
        "\"268\": {\"content\": \"[user]\", \"special\": false, \"normalized\": false},"
        "\"1\": {\"content\": \"<s>\", \"special\": true},"
        "\"267\": {\"content\": \"<pad>\", \"special\": true}}, \"pad_token\": \"<pad>\"}");
    struct tokenizer *t = open_ok(dir);
    assert_int_equal(tokenizer_size(t), 269);
    assert_int_equal(tokenizer_special(t, "<pad>"), 267);
    assert_int_equal(tokenizer_type(t, 267), TOKEN_CONTROL);
    assert_int_equal(tokenizer_type(t, 268), TOKEN_USER);
    assert_encodes(t, "ab[user]ab", 10, "264 268 264"); /* a dummy prefix for each piece of text */
    tokenizer_free(t);

    put_in(dir, "tokenizer_config.json",
           "{\"pad_token\": \"<pad>\", \"legacy\": false, \"additional_special_tokens\": "
           "[\"<|x|>\", {\"content\": \"<|y|>\"}]}");
    put_in(dir, "added_tokens.json",
           "{\"<|y|>\": 269, \"[user]\": 268, \"<pad>\": 267, \"<|x|>\": 270}");
    t = open_ok(dir);
    assert_int_equal(tokenizer_size(t), 271);
    assert_int_equal(tokenizer_type(t, 267), TOKEN_CONTROL);
    assert_int_equal(tokenizer_type(t, 268), TOKEN_USER);
    assert_int_equal(tokenizer_type(t, 269), TOKEN_CONTROL);
    assert_int_equal(tokenizer_type(t, 270), TOKEN_CONTROL);
    assert_encodes(t, "ab[user]ab", 10, "264 268 262"); /* legacy = false: only the first one */
    tokenizer_free(t);

    put_in(dir, "added_tokens.json", "{}");
    put_in(dir, "tokenizer_config.json", "{\"add_prefix_space\": false}");
    t = open_ok(dir);
    assert_encodes(t, "ab", 2, "262");
    tokenizer_free(t);
}

static void test_chat_template(void **state)
{
    (void)state;
    const char *dir = model_dir("{\"chat_template\": \"{{ one }}\"}");
    struct tokenizer *t = open_ok(dir);
    assert_string_equal(tokenizer_chat_template(t), "{{ one }}");
    tokenizer_free(t);
    put_in(dir, "tokenizer_config.json",
           "{\"chat_template\": [{\"name\": \"tool\", \"template\": \"T\"},"
           "{\"name\": \"default\", \"template\": \"D\"}]}");
    t = open_ok(dir);
    assert_string_equal(tokenizer_chat_template(t), "D");
    tokenizer_free(t);
    put_in(dir, "tokenizer_config.json",
           "{\"chat_template\": [{\"name\": \"tool\", \"template\": \"T\"}]}");
    t = open_ok(dir);
    assert_string_equal(tokenizer_chat_template(t), "T");
    tokenizer_free(t);
    put_in(dir, "chat_template.jinja", "{{ file }}");
    t = open_ok(dir);
    assert_string_equal(tokenizer_chat_template(t), "{{ file }}");
    tokenizer_free(t);
    t = open_ok(model_dir(NULL));
    assert_null(tokenizer_chat_template(t));
    tokenizer_free(t);
}

static void test_sidecars_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *want;
    } cases[] = {
        { "tokenizer_config.json", "[]",
          "tokenizer_config.json: found an array, wanted an object" },
        { "tokenizer_config.json", "{", "tokenizer_config.json: not valid JSON" },
        { "tokenizer_config.json", "{\"bos_token\": \"<bos>\"}",
          "bos_token: found \"<bos>\", wanted a piece of the vocabulary" },
        { "special_tokens_map.json", "{\"eos_token\": \"<x>\"}", "eos_token: found \"<x>\"" },
        { "tokenizer_config.json", "{\"add_bos_token\": 1}", "add_bos_token: found an integer" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"q\"}}}",
          "added_tokens_decoder: found the key \"x\", wanted an id" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"267\": \"q\"}}",
          "added_tokens_decoder: found a string without content" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"400\": {\"content\": \"q\"}}}",
          "found the id 400, wanted one of at most 267" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"2\": {\"content\": \"q\"}}}",
          "found the id 2, which the vocabulary gives to \"</s>\"" },
        { "tokenizer_config.json", "{\"added_tokens_decoder\": {\"267\": {\"content\": \"a\"}}}",
          "piece \"a\" is there twice" },
        { "added_tokens.json", "{\"q\": \"267\"}", "\"q\": found a string, wanted an id" },
        { "added_tokens.json", "{\"q\": 300}", "found the id 300, wanted one of at most 267" },
        { "generation_config.json", "{\"eos_token_id\": 267}",
          "generation_config.json: eos_token_id: found 267, wanted an id below the 267" },
        { "generation_config.json", "{\"eos_token_id\": [2, \"x\"]}",
          "eos_token_id[1]: found a string" },
        { "generation_config.json", "{\"eos_token_id\": [2, 4096]}",
          "generation_config.json: eos_token_id[1]: found 4096, wanted an id below the 267" },
        { "config.json", "{\"eos_token_id\": -1}", "config.json: eos_token_id: found -1, wanted" },
        { "config.json", "{\"eos_token_id\": 1e30}", "eos_token_id: found 1e+30, wanted" },
        { "config.json", "{\"eos_token_id\": 2.5}", "eos_token_id: found 2.5, wanted" },
    };
    struct str many = { 0 };
    str_addz(&many, "{\"eos_token_id\": [0");
    for (int i = 0; i < 64; i++) str_addz(&many, ",0");
    str_addz(&many, "]}");
    const char *full = model_dir(NULL);
    put_in(full, "config.json", many.p);
    str_free(&many);
    struct tokenizer *none;
    struct err e65;
    assert_refused(tokenizer_open(&none, full, &e65), &e65, full, "many", "found 65 ids");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *dir = model_dir(NULL);
        put_in(dir, cases[i].name, cases[i].text);
        struct tokenizer *t;
        struct err e;
        assert_refused(tokenizer_open(&t, dir, &e), &e, dir, cases[i].want, cases[i].want);
        assert_null(t);
    }
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct tokenizer *find_ok(const char *model, const char *named)
{
    struct tokenizer *t;
    struct err e;
    if (tokenizer_find(&t, model, named, &e)) fail_msg("%s", e.msg);
    return t;
}

static void test_find(void **state)
{
    (void)state;
    struct err e;
    char below[PATH_BYTES];
    const char *dir = model_dir(NULL);
    assert_int_equal(path_join(below, dir, "7B", &e), 0);
    assert_int_equal(dir_make(below, 0755, &e), 0);
    put_in(below, "consolidated.00.pth", "x");
    const char *const models[] = { dir, inside(dir, "tokenizer.model"), below,
                                   inside(below, "consolidated.00.pth"), inside(below, "") };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct tokenizer *t = find_ok(models[i], NULL);
        assert_int_equal(tokenizer_size(t), PIECES);
        tokenizer_free(t);
    }
    struct tokenizer *t = find_ok("/nowhere", inside(dir, "tokenizer.model"));
    assert_int_equal(tokenizer_size(t), PIECES);
    tokenizer_free(t);

    assert_int_equal(path_join(below, fresh_dir(), "a", &e), 0);
    assert_int_equal(dir_make(below, 0755, &e), 0);
    assert_refused(tokenizer_find(&t, below, NULL, &e), &e, below, "none",
                   "name it with --tokenizer");
    const char *gone = temp_path("gone");
    assert_refused(tokenizer_find(&t, gone, NULL, &e), &e, gone, "gone",
                   "no such file or directory");
    assert_refused(tokenizer_open(&t, gone, &e), &e, gone, "gone", "No such file");
    assert_refused(tokenizer_open(&t, below, &e), &e, below, "none",
                   "no tokenizer.json and no tok");
}

/* In a directory with both, tokenizer.json is read, unless it is of a kind that we refuse. */
static void test_json_before_model(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t;
    const char *dir = model_dir(NULL);
    put_in(dir, "tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
    t = open_ok(dir);
    assert_int_equal(tokenizer_size(t), PIECES);
    tokenizer_free(t);
    put_in(dir, "tokenizer.json", "{\"model\": ");
    assert_refused(tokenizer_open(&t, dir, &e), &e, dir, "damaged",
                   "tokenizer.json: not valid JSON");
    put_in(dir, "tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}");
    put_in(dir, "tokenizer.model", "\x0b");
    assert_refused(tokenizer_open(&t, dir, &e), &e, dir, "both", "found \"Unigram\"");
    assert_non_null(strstr(e.msg, "tokenizer.model: byte 0"));
}

/* ---- exporting ------------------------------------------------------------------------------- */

static void assert_same_ids(const struct tokenizer *a, const struct tokenizer *b)
{
    struct str text = { 0 };
    for (uint64_t i = 0; i < 500; i++) {
        random_text(&text, i);
        struct tokens x = encode_ok(a, text.n ? text.p : "", text.n);
        struct tokens y = encode_ok(b, text.n ? text.p : "", text.n);
        assert_ids(&x, y.ids, y.n, err_quote(text.n ? text.p : "", text.n));
        tokens_free(&x);
        tokens_free(&y);
    }
    str_free(&text);
    assert_int_equal(tokenizer_size(a), tokenizer_size(b));
    assert_int_equal(tokenizer_bos(a), tokenizer_bos(b));
    assert_int_equal(tokenizer_eos(a), tokenizer_eos(b));
    assert_int_equal(tokenizer_adds_bos(a), tokenizer_adds_bos(b));
    for (size_t i = 0; i < tokenizer_size(a); i++) {
        size_t n, m;
        const char *x = tokenizer_piece(a, (int32_t)i, &n), *y = tokenizer_piece(b, (int32_t)i, &m);
        assert_int_equal(n, m);
        assert_memory_equal(x, y, n);
        assert_int_equal(tokenizer_type(a, (int32_t)i), tokenizer_type(b, (int32_t)i));
    }
}

/* Export t; what is read back gives the same, from either file. */
static const char *check_export(const struct tokenizer *t, bool json, bool model)
{
    const char *dir = fresh_dir();
    struct err e;
    if (tokenizer_export(t, dir, &e)) fail_msg("%s", e.msg);
    assert_int_equal(file_exists(inside(dir, "tokenizer.json")), json);
    assert_int_equal(file_exists(inside(dir, "tokenizer.model")), model);
    struct tokenizer *back = open_ok(dir);
    assert_same_ids(t, back);
    const char *was = tokenizer_chat_template(t), *is = tokenizer_chat_template(back);
    assert_int_equal(was != NULL, is != NULL);
    if (was) assert_string_equal(was, is);
    tokenizer_free(back);
    if (!model) return dir;
    back = open_ok(inside(dir, "tokenizer.model"));
    assert_same_ids(t, back);
    tokenizer_free(back);
    return dir;
}

static void test_export_small(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(model_dir("{\"chat_template\": \"{{ \\\"a\\\\n\\\" }}\"}"));
    const char *dir = check_export(t, true, true);
    struct tokenizer *again = open_ok(
        dir); /* from tokenizer.json: the scores are made from merges */
    assert_true(tokenizer_scores_fit(again));
    check_export(again, true, true);
    tokenizer_free(again);
    tokenizer_free(t);
}

/* What tokenizer.json cannot say is written as tokenizer.model only. */
static void test_export_model_only(void **state)
{
    (void)state;
    static const struct model_piece odd[] = {
        { SP, -1, 1 },   { "a", -1, 1 },   { "b", -1, 1 },
        { "ab", -2, 5 }, { "aba", -3, 1 }, { NULL, 0, 0 },
    };
    static const struct model_piece lone[] = { { SP, -1, 1 }, { "xy", -1, 1 }, { NULL, 0, 0 } };
    static const struct model_piece user[] = { { SP, -1, 1 }, { "xy", 0, 4 }, { NULL, 0, 0 } };
    const struct {
        const struct model_piece *pieces;
        struct model_options o;
        bool json;
    } cases[] = { { odd, { 0 }, false },
                  { lone, { 0 }, false },
                  { user, { 0 }, false },
                  { user, { .no_prefix = true }, true },
                  { pieces, { .trim = true }, false },
                  { pieces, { .no_prefix = true }, true },
                  { pieces, { .no_bytes = true }, false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tokenizer *t = open_ok(put_model("odd.model", cases[i].pieces, cases[i].o));
        check_export(t, cases[i].json, true);
        tokenizer_free(t);
    }
}

/* Pieces with a NUL occur; jansson's keys cannot hold one. */
static void test_export_nul(void **state)
{
    (void)state;
    struct str s = { 0 };
    model_pieces(&s, pieces, false);
    pb_piece(&s, "a\0b", 3, -1, 1);
    pb_piece(&s, "\0", 1, -1, 1);
    pb_piece(&s, "a\0", 2, -1, 1);
    model_specs(&s, &(struct model_options){ 0 });
    struct tokenizer *t = open_ok(put_file("nul.model", s.p, s.n));
    str_free(&s);
    assert_encodes(t, "xa\0b", 4, "259 123 267");
    check_export(t, false, true);
    tokenizer_free(t);
}

static void test_export_fixtures(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool model;
    } cases[] = { { "llama2-tokenizer/tokenizer.model", true },
                  { "stories260K-gguf/stories260K.F32.gguf", true },
                  { "bpe-vocab/ggml-vocab-gpt-2.gguf", false } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tokenizer *t = open_ok(fixture(cases[i].name));
        const char *dir = check_export(t, true, cases[i].model);
        struct tokenizer *again = open_ok(dir);
        check_export(again, true, cases[i].model);
        tokenizer_free(again);
        tokenizer_free(t);
    }
}

static void test_export_smollm2(void **state)
{
    (void)state;
    const char *path = getenv("LORAC_SMOLLM2_GGUF");
    if (!path || !*path) skip();
    struct tokenizer *t = open_ok(path);
    check_export(t, true, false);
    tokenizer_free(t);
}

static void test_export_fails_cleanly(void **state)
{
    (void)state;
    struct tokenizer *t = open_ok(model_dir(NULL));
    struct err e;
    assert_int_equal(tokenizer_export(t, temp_path("no/such"), &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "no/such"));
    tokenizer_free(t);
}

static int export_one(const char *from, const char *dir)
{
    struct tokenizer *t;
    struct err e;
    int code = tokenizer_open(&t, from, &e);
    if (!code) code = tokenizer_export(t, dir, &e);
    if (code) fprintf(stderr, "%s\n", e.msg);
    tokenizer_free(t);
    return code;
}

int main(int argc, char **argv)
{
    if (argc == 3) return export_one(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        ENTRY(test_roles,
              "tokenizer files: bos and eos are those of the files beside the tokenizer"),
        ENTRY(test_added_pieces, "tokenizer files: added pieces get their ids"),
        ENTRY(test_chat_template,
              "tokenizer files: the chat template is found in each of its forms"),
        ENTRY(test_sidecars_refused,
              "tokenizer files: a wrong file beside the tokenizer is refused by key"),
        ENTRY(test_find,
              "tokenizer files: a model's tokenizer is found from each path to the model"),
        ENTRY(test_json_before_model,
              "tokenizer files: tokenizer.json comes before tokenizer.model"),
        ENTRY(test_export_small, "tokenizer files: an exported tokenizer gives the same ids"),
        ENTRY(test_export_model_only,
              "tokenizer files: what tokenizer.json cannot say is written as tokenizer.model"),
        ENTRY(test_export_nul, "tokenizer files: pieces with a NUL are exported"),
        ENTRY(test_export_fixtures, "tokenizer files: real vocabularies are exported whole"),
        ENTRY(test_export_smollm2, "tokenizer files: SmolLM2's is exported whole"),
        ENTRY(test_export_fails_cleanly,
              "tokenizer files: an export that fails names the directory"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
