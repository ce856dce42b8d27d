/* Every template against renderings that others made (tests/golden/templates.jsonl), the random
 * conversations of all templates, and templates of a user's own.
 *
 *   test_template_golden TOKENIZER TEMPLATE|model FILE
 *       prints {"ids", "targets"} of each record, for scripts/interop-templates.py */
#include "tests/data_test.h"

#include "src/base/rng.h"
#include "src/data/records.h"
#include "src/data/template.h"

enum { LLAMA2, BYTES, TOKENIZERS };

/* Opened once; NULL where the fixture is not there. */
static const struct tokenizer *tokenizer(int which)
{
    static struct tokenizer *open[TOKENIZERS];
    if (open[which]) return open[which];
    const char *path = which == BYTES ? byte_tokenizer()
                                      : fixture("llama2-tokenizer/tokenizer.model");
    struct err e;
    if (path) assert_ok(tokenizer_open(&open[which], path, &e), &e);
    return open[which];
}

/* ---- what is expected ------------------------------------------------------------------------ */

/* The text with special tokens spelt out, and for each byte whether it is learnt. */
struct expected {
    struct str text, flag;
    const struct tokenizer *tok;
    bool at_start; /* of a run: SentencePiece begins each with a space */
    bool spaced;   /* the template's text has that space */
};

static void put(struct expected *x, const char *text, size_t n, bool on)
{
    if (n == 0) return;
    if (x->at_start && tokenizer_adds_prefix(x->tok)) {
        str_addc(&x->text, ' ');
        str_addc(&x->flag, 0);
    }
    if (x->at_start && x->spaced && tokenizer_adds_prefix(x->tok) && *text == ' ') text++, n--;
    x->at_start = false;
    str_add(&x->text, text, n);
    for (size_t i = 0; i < n; i++) str_addc(&x->flag, on);
}

static void put_special(struct expected *x, const char *name, bool on)
{
    int32_t id = strcmp(name, "bos") == 0   ? tokenizer_bos(x->tok)
                 : strcmp(name, "eos") == 0 ? tokenizer_eos(x->tok)
                                            : tokenizer_special(x->tok, name);
    assert_true(id >= 0);
    size_t before = x->text.n;
    tokenizer_decode(x->tok, &x->text, &id, 1, true, false);
    for (size_t i = before; i < x->text.n; i++) str_addc(&x->flag, on);
    x->at_start = true;
}

static void expect_nothing(struct expected *x, const struct tokenizer *tok)
{
    str_clear(&x->text);
    str_clear(&x->flag);
    x->tok = tok;
    x->at_start = true;
}

static void expected_free(struct expected *x)
{
    str_free(&x->text);
    str_free(&x->flag);
}

/* The tokens spell the text, and each but the first is a target when a byte it spells is learnt. */
static void compare(const struct expected *x, const struct encoded *got, const char *what)
{
    struct str piece = { 0 };
    size_t at = 0;
    for (size_t i = 0; i < got->tokens.n; i++) {
        str_clear(&piece);
        tokenizer_decode(x->tok, &piece, &got->tokens.ids[i], 1, true, false);
        if (at + piece.n > x->text.n || memcmp(piece.p, x->text.p + at, piece.n) != 0) {
            fail_msg("%s: token %zu (%s) at byte %zu, wanted %s", what, i,
                     err_quote(piece.p, piece.n), at, err_quote(x->text.p + at, x->text.n - at));
        }
        bool on = i > 0 && memchr(x->flag.p + at, 1, piece.n);
        if (got->target[i] != on) {
            fail_msg("%s: token %zu (%s at byte %zu): found %d, wanted %d", what, i,
                     err_quote(piece.p, piece.n), at, got->target[i], on);
        }
        at += piece.n;
    }
    assert_int_equal(at, x->text.n);
    str_free(&piece);
}

/* ---- goldens --------------------------------------------------------------------------------- */

static void expect_pieces(struct expected *x, const struct tokenizer *tok, const json_t *pieces)
{
    expect_nothing(x, tok);
    const char *first = json_string_value(json_array_get(json_array_get(pieces, 0), 0));
    bool own = !strcmp(first, "bos") || !strcmp(first, "<|begin_of_text|>");
    if (tokenizer_adds_bos(tok) && !own) put_special(x, "bos", false);
    for (size_t i = 0; i < json_array_size(pieces); i++) {
        const json_t *p = json_array_get(pieces, i), *text = json_array_get(p, 0);
        const char *kind = json_string_value(json_array_get(p, 1));
        bool on = strncmp(kind, "learnt", 6) == 0;
        if (strstr(kind, "special")) {
            put_special(x, json_string_value(text), on);
        } else {
            put(x, json_string_value(text), json_string_length(text), on);
        }
    }
}

static void goldens(void **state)
{
    (void)state;
    struct records_options o = { .format = FORMAT_MESSAGES };
    struct render_options render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    struct conversation c = { 0 };
    struct encoded got = { 0 };
    struct expected want = { 0 };
    struct records *r;
    struct record_slice s;
    struct err e;
    bool more = true;
    size_t compared[TOKENIZERS] = { 0 }, goldens = 0;
    assert_ok(records_open(&r, "tests/golden/templates.jsonl", &o, &e), &e);
    for (;; goldens++) {
        assert_ok(records_slice(r, &s, &more, &e), &e);
        if (!more) break;
        json_t *v = json_parse(s.text, s.n, JSON_DUP_REFUSED, "golden", &e);
        const char *name = json_string_value(json_object_get(v, "template"));
        const struct template *t = template_named(name);
        assert_non_null(t);
        assert_ok(records_parse(r, &s, &c, &e), &e);
        for (int which = 0; which < TOKENIZERS; which++) {
            const struct tokenizer *tok = tokenizer(which);
            char what[64];
            if (!tok || template_check(t, tok, &e)) continue;
            snprintf(what, sizeof what, "%s, line %zu", name, s.line);
            want.spaced = t->spaced;
            expect_pieces(&want, tok, json_object_get(v, "pieces"));
            assert_ok(template_encode(&got, t, tok, &c, &render, &e), &e);
            compare(&want, &got, what);
            compared[which]++;
        }
        json_decref(v);
    }
    assert_int_equal(compared[BYTES], goldens);
    assert_true(goldens >= 150);
    if (tokenizer(LLAMA2)) assert_true(compared[LLAMA2] >= 100);
    records_close(r);
    conversation_free(&c);
    encoded_free(&got);
    expected_free(&want);
}

/* ---- random conversations -------------------------------------------------------------------- */

static uint64_t drawn;

static uint32_t draw(uint32_t below)
{
    return rng_u32(8, RNG_TEST, 1, drawn++) % below;
}

static void random_text(struct str *s)
{
    static const char *const bits[] = {
        "a",
        "hello",
        " ",
        "\n",
        "5",
        "\xc3\xa9",
        "e\xcc\x81",
        "\xe6\xbc\xa2",
        "\xf0\x9f\x98\x80",
        "<s>",
        "</s>",
        "[INST]",
        "<|im_end|>",
        "<|eot_id|>",
        "### Human:",
        "USER:",
        "the",
        "cd",
        "{answer}",
        "}",
        "{{",
        "\t",
        "\xe3\x80\x80",
        "<|user|>\n",
    };
    size_t n = draw(20);
    str_clear(s);
    str_addz(s, "");
    for (size_t i = 0; i < n; i++) str_addz(s, bits[draw(sizeof bits / sizeof *bits)]);
}

/* Take the white space of random_text() off both ends. */
static void trim(const char **p, size_t *n)
{
    static const char *const white[] = { " ", "\t", "\n", "\xe3\x80\x80" };
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < 4; i++) {
            size_t m = strlen(white[i]);
            bool front = *n >= m && memcmp(*p, white[i], m) == 0;
            if (front) *p += m, *n -= m;
            bool back = *n >= m && memcmp(*p + *n - m, white[i], m) == 0;
            if (back) *n -= m;
            again |= front || back;
        }
    }
}

static void assert_same_text(const char *a, size_t n, const char *b, size_t m, const char *what)
{
    enum { JOINED_BYTES = 8 }; /* of a header's end, in one token with the answer's first letter */
    trim(&a, &n);
    trim(&b, &m);
    if (m && n > m && n - m <= JOINED_BYTES) a += n - m, n = m;
    if (n != m || memcmp(a, b, n) != 0) {
        fail_msg("%s: found %s, wanted %s", what, err_quote(a, n), err_quote(b, m));
    }
}

/* Decoding the targets between one answer's end and the next gives the answer, EOS apart, up to
 * white space and to characters of the header that the tokenizer joined with it. */
static void check_answers(const struct encoded *x, const struct tokenizer *tok,
                          const struct conversation *c, const char *what)
{
    struct str text = { 0 };
    size_t answer = 0, at = 0;
    for (size_t i = 0; i < c->n; i++) {
        if (c->turns[i].role != ROLE_ASSISTANT) continue;
        size_t end = x->ends[answer++];
        str_clear(&text);
        str_addz(&text, "");
        for (; at + 1 < end; at++) {
            if (x->target[at]) tokenizer_decode(tok, &text, &x->tokens.ids[at], 1, true, false);
        }
        assert_true(x->target[at]); /* the EOS */
        at++;
        const char *p = text.p ? text.p : "";
        size_t n = text.n, m = c->turns[i].n;
        assert_same_text(p, n, c->turns[i].text, m, what);
    }
    for (; at < x->tokens.n; at++) assert_false(x->target[at]);
    assert_int_equal(answer, x->n_ends);
    str_free(&text);
}

struct value {
    const char *p;
    size_t n;
};

/* A part of the row with the record's texts in their places; an answer is learnt up to its EOS. */
static void expect_part(struct expected *x, const struct template *t, const char *part,
                        struct value system, struct value user, struct value answer)
{
    struct template_piece p;
    bool learnt = false;
    for (const char *at = part; piece_next(&p, &at);) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)p.n, p.text);
        if (!p.is_name) {
            put(x, p.text, p.n, learnt);
        } else if (piece_is(&p, "date")) {
            put(x, t->date, strlen(t->date), false);
        } else if (piece_is(&p, "system")) {
            put(x, system.p, system.n, false);
        } else if (piece_is(&p, "user")) {
            put(x, user.p, user.n, false);
        } else if (piece_is(&p, "answer")) {
            learnt = true;
            put(x, answer.p, answer.n, true);
        } else {
            put_special(x, name, learnt);
            learnt = false;
        }
    }
}

static void expect_row(struct expected *x, const struct tokenizer *tok, const struct template *t,
                       const struct conversation *c)
{
    struct value none = { "", 0 }, system = none;
    struct str folded = { 0 };
    bool has_system = c->turns[0].role == ROLE_SYSTEM;
    expect_nothing(x, tok);
    x->spaced = t->spaced;
    if (t->begin) expect_part(x, t, t->begin, none, none, none);
    if (!t->begin && tokenizer_adds_bos(tok)) put_special(x, "bos", false);
    if (has_system) system = (struct value){ c->turns[0].text, c->turns[0].n };
    if (!has_system && t->default_system)
        system = (struct value){ t->default_system, strlen(t->default_system) };
    if (t->strip && t->system) trim(&system.p, &system.n);
    if (has_system || t->default_system) expect_part(x, t, t->system, system, none, none);
    for (size_t i = has_system; i < c->n; i++) {
        struct value text = { c->turns[i].text, c->turns[i].n };
        if (c->turns[i].role == ROLE_ASSISTANT) {
            if (t->strip) trim(&text.p, &text.n);
            expect_part(x, t, t->assistant, none, none, text);
            continue;
        }
        struct template_piece p;
        bool last = i + 2 >= c->n;
        bool folds = t->fold && has_system && (t->fold_last ? last : i == 1);
        for (const char *at = folds ? t->fold : NULL; piece_next(&p, &at);) {
            const struct value *v = piece_is(&p, "system") ? &system : &text;
            str_add(&folded, p.is_name ? v->p : p.text, p.is_name ? v->n : p.n);
        }
        if (folds) text = (struct value){ folded.p, folded.n };
        if (t->strip) trim(&text.p, &text.n);
        if (i > has_system) expect_part(x, t, t->between, none, none, none);
        expect_part(x, t, t->user, none, text, none);
    }
    str_free(&folded);
}

static void every_template(void **state)
{
    (void)state;
    char names[512];
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct expected want = { 0 };
    struct str s = { 0 };
    struct err e;
    snprintf(names, sizeof names, "%s", template_names());
    size_t compared = 0;
    for (char *rest = names, *name; (name = strsep(&rest, " "));) {
        const struct template *t = template_named(name);
        for (size_t round = 0; round < 200; round++) {
            const struct tokenizer *tok = tokenizer((int)round % TOKENIZERS);
            if (!tok || template_check(t, tok, &e)) continue;
            conversation_clear(&c, RECORD_CHAT);
            size_t turns = 2 * (1 + draw(3));
            if (draw(3) == 0) {
                random_text(&s);
                assert_ok(conversation_add(&c, ROLE_SYSTEM, s.p, s.n, &e), &e);
            }
            for (size_t i = 0; i < turns; i++) {
                random_text(&s);
                enum role role = i % 2 ? ROLE_ASSISTANT : ROLE_USER;
                assert_ok(conversation_add(&c, role, s.p, s.n, &e), &e);
            }
            struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
            assert_ok(template_encode(&x, t, tok, &c, &o, &e), &e);
            bool plain = template_is_plain(t); /* prompts' ends may be in the first token */
            if (!plain) check_answers(&x, tok, &c, name);
            expect_row(&want, tok, t, &c);
            compare(&want, &x, name);
            compared++;
        }
    }
    assert_true(compared >= 20 * 100);
    conversation_free(&c);
    encoded_free(&x);
    expected_free(&want);
    str_free(&s);
}

/* ---- a user's own ---------------------------------------------------------------------------- */

static void assert_renders(const char *definition, const char *record, const char *want)
{
    const struct template *t;
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct str s = { 0 };
    struct err e;
    json_t *v = json_parse(record, strlen(record), JSON_DUP_REFUSED, "test", &e);
    assert_ok(template_define(&t, definition, &e), &e);
    assert_string_equal(template_definition(t), definition);
    assert_ok(format_read(&c, format_detect(v), v, NULL, "test", &e), &e);
    struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    assert_ok(template_encode(&x, t, tokenizer(BYTES), &c, &o, &e), &e);
    tokenizer_decode(tokenizer(BYTES), &s, x.tokens.ids, x.tokens.n, true, false);
    assert_string_equal(s.p, want);
    json_decref(v);
    template_free(t);
    conversation_free(&c);
    encoded_free(&x);
    str_free(&s);
}

static void own(void **state)
{
    (void)state;
    const char *one = "{\"prompt\":\"Hi\",\"completion\":\" Ho\"}";
    assert_renders("{\"user\": \"Q: {user}\\n\", \"assistant\": \"A:{answer}{eos}\\n\"}", one,
                   "Q: Hi\nA: Ho<|im_end|>\n");
    assert_renders("{\"like\": \"vicuna_v1.1\", \"default_system\": \"Short {answers}.\"}", one,
                   "Short {answers}. USER: Hi ASSISTANT:  Ho<|im_end|>");
    assert_renders("{\"like\": \"vicuna_v1.1\", \"default_system\": null, \"strip\": \"true\"}",
                   one, "USER: Hi ASSISTANT: Ho<|im_end|>");
    assert_renders("{\"begin\": \"{bos}{{x}}\", \"user\": \"{user}}\", \"assistant\": "
                   "\"{{{answer}{<|eot_id|>}\", \"name\": \"mine\"}",
                   one, "<|im_start|>{x}Hi}{ Ho<|eot_id|>");
    assert_renders("{\"like\": \"alpaca\", \"input\": null}",
                   "{\"instruction\":\"a\",\"input\":\"b\",\"output\":\"c\",\"system\":\"s\"}",
                   "s\n\n### Instruction:\na\n\nb\n\n### Response:\nc<|im_end|>");
    assert_renders("{\"fold\": \"[{system}] {user}\", \"user\": \"{user}|\", \"assistant\": "
                   "\"{answer}{eos}\"}",
                   "{\"system\":\"s\",\"prompt\":\"a\",\"completion\":\"b\"}", "[s] a|b<|im_end|>");
}

static void own_refused(void **state)
{
    (void)state;
    static const struct {
        const char *definition, *message;
    } rows[] = {
        { "[]", "template: wanted an object" },
        { "{", "template: not valid JSON" },
        { "{\"assistant\": \"{answer}{eos}\"}", "template: user: not given" },
        { "{\"user\": \"{user}\"}", "template: assistant: not given" },
        { "{\"like\": \"alpacca\"}", "template: like: found \"alpacca\", wanted one of alpaca" },
        { "{\"like\": \"plain\", \"usr\": \"x\"}", "unknown name \"usr\"; did you mean user" },
        { "{\"like\": \"plain\", \"user\": 7}", "template: user: wanted a text" },
        { "{\"like\": \"plain\", \"user\": \"x\"}",
          "template: user: found {user} 0 times, wanted it once" },
        { "{\"like\": \"plain\", \"user\": \"{user}{user}\"}", "found {user} 2 times" },
        { "{\"like\": \"plain\", \"user\": \"{user}{answer}\"}", "wanted it nowhere here" },
        { "{\"like\": \"plain\", \"user\": \"{user\"}", "template: user: found { without }" },
        { "{\"like\": \"plain\", \"user\": \"{user}{}\"}", "template: user: found {}" },
        { "{\"like\": \"plain\", \"assistant\": \"{eos}{answer}\"}",
          "template: assistant: found no special token after {answer}" },
        { "{\"like\": \"plain\", \"strip\": \"perhaps\"}",
          "template: strip: wanted true or false" },
        { "{\"like\": \"plain\", \"name\": \"alpaca\"}",
          "template: name: wanted a name that no built-in template has" },
        { "{\"like\": \"plain\", \"fold\": \"{system}{user}\"}", "template: fold: found beside" },
        { "{\"like\": \"llama2\", \"fold\": \"{bos}{system}{user}\"}",
          "template: fold: found a spec" },
        { "{\"like\": \"plain\", \"user\": \"a\\u0000{user}\"}", "template: user: holds a NUL" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct template *t;
        struct err e = { 0 };
        assert_int_equal(template_define(&t, rows[i].definition, &e), ERR_USAGE);
        assert_message(&e, rows[i].message);
    }
    /* a special token that no tokenizer has; a place for system texts that there is not */
    const struct template *t;
    struct err e = { 0 };
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    assert_ok(
        template_define(&t, "{\"user\": \"{users}{user}\", \"assistant\": \"{answer}{eos}\"}", &e),
        &e);
    assert_int_equal(template_check(t, tokenizer(BYTES), &e), ERR_USAGE);
    assert_message(&e, "own places the special token \"users\", which the tokenizer does not have");
    template_free(t);
    assert_ok(template_define(&t, "{\"user\": \"{user}\", \"assistant\": \"{answer}{eos}\"}", &e),
              &e);
    conversation_clear(&c, RECORD_CHAT);
    assert_ok(conversation_add(&c, ROLE_SYSTEM, "s", 1, &e), &e);
    assert_ok(conversation_add(&c, ROLE_USER, "u", 1, &e), &e);
    assert_int_equal(template_encode(&x, t, tokenizer(BYTES), &c, &o, &e), ERR_FAIL);
    assert_message(&e, "turn 1: found system, for which the template own has no place");
    template_free(t);
    conversation_free(&c);
    encoded_free(&x);
}

/* ---- for the interop script ------------------------------------------------------------------ */

static int print_ids(const char *tokenizer_path, const char *name, const char *path)
{
    struct records_options o = { .format = FORMAT_MESSAGES };
    struct render_options render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    struct tokenizer *tok = NULL;
    struct records *r = NULL;
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct err e = { 0 };
    bool more = true;
    const struct template *t = template_named(name);
    int code = tokenizer_open(&tok, tokenizer_path, &e);
    if (!code && strcmp(name, "model") == 0 && !(t = template_of_model(tok, &e))) code = e.code;
    if (!code) code = records_open(&r, path, &o, &e);
    while (!code) {
        code = records_next(r, &c, &more, &e);
        if (code || !more) break;
        code = template_encode(&x, t, tok, &c, &render, &e);
        for (int part = 0; !code && part < 2; part++) {
            printf(part ? "], \"targets\": [" : "{\"ids\": [");
            for (size_t i = 0; i < x.tokens.n; i++)
                printf("%s%d", i ? ", " : "", part ? x.target[i] : x.tokens.ids[i]);
        }
        if (!code) puts("]}");
    }
    if (code) fprintf(stderr, "%s\n", e.msg);
    records_close(r);
    tokenizer_free(tok);
    conversation_free(&c);
    encoded_free(&x);
    return code;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ENTRY(goldens, "template: every rendering is the one that others made"),
        ENTRY(every_template,
              "template: random conversations of every template render as a second renderer does"),
        ENTRY(own, "template: a template of the user's own renders as it says"),
        ENTRY(own_refused, "template: a wrong template of the user's own is refused with the part"),
    };
    if (argc == 4) return print_ids(argv[1], argv[2], argv[3]);
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
