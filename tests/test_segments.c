/* Texts between special tokens, against transformers: tests/golden/segments.jsonl, which
 * scripts/interop-segments.py made with Llama 2's vocabulary under transformers 4 (slow and fast)
 * and 5. A tokenizer that puts a space at the beginning of a text may or may not put one after each
 * special token; which, the files beside a tokenizer.model or the tokenizer.json say. */
#include "tests/data_test.h"

#include "src/base/json.h"
#include "src/convert/tokenizer_gguf.h"
#include "src/data/records.h"
#include "src/data/template.h"

enum { DIR_BYTES = 512 };

/* A path in the directory of this process. One of four rotating buffers. */
static const char *temp(const char *name)
{
    static char paths[4][DIR_BYTES];
    static unsigned turn;
    const char *root = temp_file("root", "");
    char *path = paths[turn++ % 4];
    snprintf(path, DIR_BYTES, "%.*s/%s", (int)(strrchr(root, '/') - root), root, name);
    return path;
}

static const char *const added[] = {
    "<|im_start|>",      "<|im_end|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>", "<|prompter|>",
    "<|assistant|>",     "<|system|>", "<|begin_of_text|>",
    "<|both|>",          "[TOOL]",     "[LEFT]",
    "[RIGHT]",
};

static void put_in(const char *dir, const char *name, const struct str *text)
{
    char path[PATH_BYTES];
    struct err e;
    assert_ok(path_join(path, dir, name, &e), &e);
    assert_ok(file_replace(path, text->p, text->n, 0600, &e), &e);
}

/* tokenizer_config.json with the added tokens and `more`. */
static void put_config(const char *dir, const char *more)
{
    struct str s = { 0 };
    str_addz(&s, "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"added_tokens_decoder\": {");
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        const char *text = added[i];
        bool both = !strcmp(text, "<|both|>");
        str_addf(&s,
                 "%s\"%zu\": {\"content\": \"%s\", \"special\": %s, \"normalized\": false, "
                 "\"lstrip\": %s, \"rstrip\": %s}",
                 i ? ", " : "", 32000 + i, text, *text == '<' ? "true" : "false",
                 both || !strcmp(text, "[LEFT]") ? "true" : "false",
                 both || !strcmp(text, "[RIGHT]") ? "true" : "false");
    }
    str_addf(&s, "}%s}", more);
    put_in(dir, "tokenizer_config.json", &s);
    str_free(&s);
}

/* A directory with Llama 2's tokenizer.model and what stands beside it. */
static struct tokenizer *of_model(const char *dir, const char *more)
{
    struct str model = { 0 };
    struct tokenizer *t;
    struct err e;
    assert_ok(file_read(&model, fixture("llama2-tokenizer/tokenizer.model"), 1 << 20, &e), &e);
    assert_ok(dir_make(dir, 0700, &e), &e);
    put_in(dir, "tokenizer.model", &model);
    put_config(dir, more);
    assert_ok(tokenizer_open(&t, dir, &e), &e);
    str_free(&model);
    return t;
}

/* A directory with a tokenizer.json of the same vocabulary and the parts given. */
static struct tokenizer *of_json(const char *dir, const char *base, const char *parts)
{
    char path[PATH_BYTES];
    struct str file = { 0 }, out = { 0 };
    struct tokenizer *t;
    struct err e;
    assert_ok(path_join(path, base, "tokenizer.json", &e), &e);
    assert_ok(file_read(&file, path, 64 << 20, &e), &e);
    char *from = strstr(file.p, " \"normalizer\": {"), *to = strstr(file.p, " \"decoder\": ");
    assert_true(from && to && from < to);
    str_add(&out, file.p, (size_t)(from - file.p));
    str_addf(&out, "%s,\n", parts);
    str_addz(&out, to);
    assert_ok(dir_make(dir, 0700, &e), &e);
    put_in(dir, "tokenizer.json", &out);
    put_config(dir, "");
    assert_ok(tokenizer_open(&t, dir, &e), &e);
    str_free(&file);
    str_free(&out);
    return t;
}

#define REPLACE                                                                                    \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\\u2581\"}"
#define METASPACE(scheme)                                                                          \
    "\"normalizer\": null, \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": "         \
    "\"\\u2581\", \"prepend_scheme\": \"" scheme "\", \"split\": false}"

static struct setting {
    const char *name;
    bool json;
    const char *how;
    struct tokenizer *tok;
} settings[] = {
    { "legacy true", false, ", \"legacy\": true", NULL }, /* the others' tokenizer.json is its */
    { "legacy false", false, ", \"legacy\": false", NULL },
    { "legacy false, no prefix", false, ", \"legacy\": false, \"add_prefix_space\": false", NULL },
    { "first", true, METASPACE("first"), NULL },
    { "always", true, METASPACE("always"), NULL },
    { "never", true, METASPACE("never"), NULL },
    { "prepend", true,
      "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "
      "\"prepend\": \"\\u2581\"}, " REPLACE "]}, \"pre_tokenizer\": null",
      NULL },
    { "replace", true,
      "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" REPLACE
      "]}, \"pre_tokenizer\": null",
      NULL },
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void open_settings(void)
{
    static char base[DIR_BYTES];
    struct err e;
    snprintf(base, sizeof base, "%s", temp("base"));
    assert_ok(dir_make(base, 0700, &e), &e);
    for (size_t i = 0; i < SETTINGS; i++) {
        char dir[DIR_BYTES], name[32];
        snprintf(name, sizeof name, "setting-%zu", i);
        snprintf(dir, sizeof dir, "%s", temp(name));
        settings[i].tok = settings[i].json ? of_json(dir, base, settings[i].how)
                                           : of_model(dir, settings[i].how);
        if (i == 0) assert_ok(tokenizer_export(settings[0].tok, base, &e), &e);
    }
}

static const struct tokenizer *setting(const char *name)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (!strcmp(settings[i].name, name)) return settings[i].tok;
    fail_msg("no setting %s", name);
    return NULL;
}

/* The text's special tokens are spelt out, as in a record of segments. */
static void encode_text(struct encoded *x, const struct tokenizer *tok, const json_t *text)
{
    struct conversation c = { 0 };
    struct render_options o = { .train_on = TRAIN_ON_EVERYTHING, .train_on_eos = true };
    struct err e;
    conversation_clear(&c, RECORD_SEGMENTS);
    assert_ok(
        conversation_add(&c, ROLE_USER, json_string_value(text), json_string_length(text), &e), &e);
    assert_ok(template_encode(x, NULL, tok, &c, &o, &e), &e);
    conversation_free(&c);
}

/* A line of templates.jsonl, by the template that it names; false when the tokenizer lacks a
 * special token of that. */
static bool encode_golden(struct encoded *x, const struct tokenizer *tok, size_t line)
{
    struct str all = { 0 };
    struct records_options ro = { .format = FORMAT_MESSAGES };
    struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    struct conversation c = { 0 };
    struct records *r;
    struct err e;
    bool more;
    assert_ok(file_read(&all, "tests/golden/templates.jsonl", 1 << 20, &e), &e);
    const char *at = all.p;
    while (--line) at = strchr(at, '\n') + 1;
    size_t n = strcspn(at, "\n");
    json_t *v = json_parse(at, n, JSON_DUP_REFUSED, "golden", &e);
    const struct template *t = template_named(json_string_value(json_object_get(v, "template")));
    assert_ok(file_replace(temp("one.jsonl"), at, n, 0600, &e), &e);
    assert_ok(records_open(&r, temp("one.jsonl"), &ro, &e), &e);
    assert_ok(records_next(r, &c, &more, &e), &e);
    assert_true(more && t);
    bool fits = template_check(t, tok, &e) == 0;
    if (fits) assert_ok(template_encode(x, t, tok, &c, &o, &e), &e);
    records_close(r);
    conversation_free(&c);
    json_decref(v);
    str_free(&all);
    return fits;
}

/* The whole text at once, where all its special tokens are of those that are found in text. */
static void compare_whole(const struct tokenizer *tok, const json_t *row, const char *line)
{
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
    if (!text || strchr(json_string_value(text), '<')) return;
    struct tokens got = { 0 };
    struct err e;
    assert_ok(tokenizer_encode(tok, &got, json_string_value(text), json_string_length(text), 0, &e),
              &e);
    bool same = got.n == json_array_size(ids);
    for (size_t i = 0; same && i < got.n; i++)
        same = got.ids[i] == json_integer_value(json_array_get(ids, i));
    if (!same) fail_msg("as a whole: found %zu ids for %s", got.n, line);
    tokens_free(&got);
}

static void compare(const struct encoded *x, const json_t *row, const char *line)
{
    const json_t *ids = json_object_get(row, "ids");
    size_t bos = json_is_true(json_object_get(row, "bos")), n = json_array_size(ids) + bos;
    bool same = x->tokens.n == n && (!bos || x->tokens.ids[0] == 1);
    for (size_t i = bos; same && i < n; i++)
        same = x->tokens.ids[i] == json_integer_value(json_array_get(ids, i - bos));
    if (same) return;
    struct str s = { 0 };
    for (size_t i = 0; i < x->tokens.n; i++) str_addf(&s, " %d", x->tokens.ids[i]);
    fail_msg("found%s for %s", s.p ? s.p : " nothing", line);
}

static void texts_between_special_tokens_are_those_of_transformers(void **state)
{
    (void)state;
    if (!fixture("llama2-tokenizer/tokenizer.model")) skip();
    open_settings();
    FILE *f = fopen("tests/golden/segments.jsonl", "rb");
    assert_non_null(f);
    char *line = NULL;
    size_t cap = 0, rows = 0;
    struct encoded x = { 0 };
    struct err e;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 0; rows++) {
        json_t *row = json_parse(line, (size_t)n, JSON_DUP_REFUSED, "segments.jsonl", &e);
        assert_non_null(row);
        const struct tokenizer *tok = setting(json_string_value(json_object_get(row, "setting")));
        const json_t *golden = json_object_get(row, "golden");
        if (golden) {
            assert_true(encode_golden(&x, tok, (size_t)json_integer_value(golden)));
        } else {
            encode_text(&x, tok, json_object_get(row, "text"));
        }
        compare(&x, row, line);
        compare_whole(tok, row, line);
        json_decref(row);
    }
    assert_true(rows >= 400);
    free(line);
    fclose(f);
    encoded_free(&x);
}

/* The files that tokenizer_export() writes for a bare tokenizer.model with its `legacy` give the
 * same ids as it does. */
static void exported_settings_give_the_same_ids(void **state)
{
    (void)state;
    if (!fixture("llama2-tokenizer/tokenizer.model")) skip();
    struct encoded a = { 0 }, b = { 0 };
    struct err e;
    for (size_t i = 0; i < SETTINGS; i++) {
        char name[32];
        struct tokenizer *back;
        snprintf(name, sizeof name, "exported-%zu", i);
        const char *dir = temp(name);
        assert_ok(dir_make(dir, 0700, &e), &e);
        assert_ok(tokenizer_export(settings[i].tok, dir, &e), &e);
        assert_ok(tokenizer_open(&back, dir, &e), &e);
        for (size_t line = 1; line < 100; line += 7) {
            bool fits = encode_golden(&a, settings[i].tok, line);
            assert_int_equal(encode_golden(&b, back, line), fits);
            assert_int_equal(a.tokens.n, b.tokens.n);
            assert_memory_equal(a.tokens.ids, b.tokens.ids, a.tokens.n * sizeof *a.tokens.ids);
        }
        tokenizer_free(back);
    }
    encoded_free(&a);
    encoded_free(&b);
}

/* A file with a tokenizer and no tensor. */
static struct tokenizer *through_gguf(const struct tokenizer *t, size_t rows, struct str *notes)
{
    struct gguf_writer w;
    struct tokenizer *back;
    struct err e;
    const char *path = temp("tokenizer.gguf");
    unlink(path);
    assert_ok(gguf_writer_begin(&w, path, 0600, &e), &e);
    gguf_put_string(&w, "general.architecture", "llama", 5);
    assert_ok(gguf_put_tokenizer(&w, t, rows, NULL, -1, notes, &e), &e);
    assert_ok(gguf_writer_data(&w, &e), &e);
    assert_ok(gguf_check_tokenizer(w.save.tmp, t, rows, &e), &e);
    assert_ok(gguf_writer_commit(&w, &e), &e);
    assert_ok(tokenizer_open(&back, path, &e), &e);
    return back;
}

/* By llama.cpp's rules (llama-vocab.cpp: tokenizer_st_partition, then is_prev_special for
 * LLAMA_VOCAB_TYPE_SPM): user-defined tokens are cut out of the text as it came, and each part of
 * the text that is left gets a space in front, where the file asks for one at all. That is what
 * transformers does with legacy: true, except that it knows lstrip and rstrip, for which a GGUF
 * file has no place. */
static void added_tokens_in_a_gguf_get_the_ids_of_llama_cpp(void **state)
{
    (void)state;
    if (!fixture("llama2-tokenizer/tokenizer.model")) skip();
    static const struct {
        const char *text, *spaced, *bare; /* ids with add_space_prefix true, false */
    } rows[] = {
        { "[TOOL]the cat", "32010 278 6635", "32010 1552 6635" },
        { "the[TOOL]the cat", "278 32010 278 6635", "1552 32010 1552 6635" },
        { "the [TOOL] the", "278 29871 32010 29871 278", "1552 29871 32010 278" },
        { "[TOOL][TOOL]the", "32010 32010 278", "32010 32010 1552" },
        { "[TOOL]", "32010", "32010" },
        { "the [LEFT]\nthe", "278 29871 32011 29871 13 1552", "1552 29871 32011 13 1552" },
        { "[tool][TOOL", "518 10154 3816 4986 5607", "29961 10154 3816 4986 5607" },
    };
    static const struct {
        const char *setting;
        bool spaced, noted;
    } kinds[] = { { "legacy true", true, false }, { "prepend", true, false },
                  { "always", true, false },      { "legacy false", true, true },
                  { "first", true, true },        { "never", false, false },
                  { "replace", false, false },    { "legacy false, no prefix", false, false } };
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct str notes = { 0 };
        struct tokenizer *t = through_gguf(setting(kinds[k].setting), 32064, &notes);
        assert_int_equal(tokenizer_type(t, 32000), TOKEN_CONTROL);
        assert_int_equal(tokenizer_type(t, 32010), TOKEN_USER);
        assert_int_equal(tokenizer_type(t, 32063), TOKEN_UNUSED);
        assert_int_equal(tokenizer_find_piece(t, "[PAD32063]", 10), 32063);
        bool noted = notes.n && strstr(notes.p, "llama.cpp puts a space after every special token");
        assert_int_equal(noted, kinds[k].noted);
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            struct tokens got = { 0 };
            struct str ids = { 0 };
            struct err e;
            assert_ok(tokenizer_encode(t, &got, rows[i].text, strlen(rows[i].text), 0, &e), &e);
            for (size_t j = 0; j < got.n; j++) str_addf(&ids, j ? " %d" : "%d", got.ids[j]);
            const char *want = kinds[k].spaced ? rows[i].spaced : rows[i].bare;
            if (strcmp(ids.p, want))
                fail_msg("%s: %s: found %s, wanted %s", kinds[k].setting, rows[i].text, ids.p,
                         want);
            tokens_free(&got);
            str_free(&ids);
        }
        tokenizer_free(t);
        str_free(&notes);
    }
}

static void settings_are_closed(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS; i++) tokenizer_free(settings[i].tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(texts_between_special_tokens_are_those_of_transformers,
              "segments: texts between special tokens get the ids of transformers 4 and 5"),
        ENTRY(exported_settings_give_the_same_ids, "segments: exported settings give the same ids"),
        ENTRY(added_tokens_in_a_gguf_get_the_ids_of_llama_cpp,
              "segments: added tokens in a GGUF get the ids of llama.cpp"),
        ENTRY(settings_are_closed, "segments: every tokenizer is freed"),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
