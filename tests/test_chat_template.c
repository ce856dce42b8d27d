/* Models' own chat templates, read and written: what transformers renders by a program is what
 * lorac renders by the template that it takes the program for, and what lorac writes as a program
 * is read back as the template it was.
 *
 *   test_chat_template jinja TOKENIZER TEMPLATE          prints the program that merge would write
 *   test_chat_template text TOKENIZER TEMPLATE|model FILE
 *       prints {"name", "text", "ids"} of each {"messages"}; a prompt where the user comes last
 * are for scripts/interop-templates.py. */
#include "tests/data_test.h"

#include "src/data/chat_template.h"
#include "src/data/jinja.h"
#include "src/data/records.h"
#include "src/data/template_jinja.h"
#include "src/train/setup.h"

static const struct tokenizer *bytes(void)
{
    static struct tokenizer *open;
    struct err e;
    if (open) return open;
    const char *path = byte_tokenizer();
    temp_file("tokenizer_config.json", "{\"add_bos_token\":false,\"bos_token\":\"<s>\","
                                       "\"eos_token\":\"</s>\"}");
    assert_ok(tokenizer_open(&open, path, &e), &e);
    return open;
}

/* ---- rendering ------------------------------------------------------------------------------- */

static int render(struct str *text, struct encoded *x, const struct template *t,
                  const struct tokenizer *tok, const struct conversation *c, struct err *e)
{
    struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    bool prompt = c->n && c->turns[c->n - 1].role == ROLE_USER;
    int code = prompt ? template_prompt(x, t, tok, c, e) : template_encode(x, t, tok, c, &o, e);
    str_clear(text);
    str_addz(text, "");
    if (!code) tokenizer_decode(tok, text, x->tokens.ids, x->tokens.n, true, true);
    return code;
}

static void read_messages(struct conversation *c, const json_t *messages)
{
    struct err e;
    size_t i;
    json_t *m;
    conversation_clear(c, RECORD_CHAT);
    json_array_foreach((json_t *)messages, i, m)
    {
        const char *role = json_string_value(json_object_get(m, "role"));
        const json_t *text = json_object_get(m, "content");
        enum role r = ROLE_SYSTEM;
        while (strcmp(role_name(r), role) != 0) r++;
        assert_ok(conversation_add(c, r, json_string_value(text), json_string_length(text), &e),
                  &e);
    }
}

static size_t without_white(const char *text, size_t n)
{
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\n')) n--;
    return n;
}

/* ---- goldens --------------------------------------------------------------------------------- */

/* Every line: a program, and what transformers renders of conversations by it. */
static void transformers_renders_the_same(void **state)
{
    (void)state;
    struct err e;
    struct str file = { 0 }, text = { 0 };
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    size_t compared = 0;
    assert_ok(file_read(&file, "tests/golden/chat_templates.jsonl", 1 << 22, &e), &e);
    for (char *rest = file.p, *line; (line = strsep(&rest, "\n")) && *line;) {
        json_t *v = json_parse(line, strlen(line), JSON_DUP_REFUSED, "golden", &e), *r;
        const char *name = json_string_value(json_object_get(v, "name"));
        const char *program = json_string_value(json_object_get(v, "program"));
        const struct template *t = chat_template_read(program, bytes(), &e);
        size_t i;
        if (!t) fail_msg("%s: %s", name, e.msg);
        json_array_foreach(json_object_get(v, "rendered"), i, r)
        {
            const json_t *want = json_object_get(r, "text");
            const char *w = json_string_value(want);
            read_messages(&c, json_object_get(r, "messages"));
            assert_ok(render(&text, &x, t, bytes(), &c, &e), &e);
            size_t n = without_white(text.p, text.n);
            if (n != without_white(w, strlen(w)) || memcmp(text.p, w, n) != 0) {
                fail_msg("%s by %s: found\n%s\nwanted\n%s", name, template_name(t), text.p, w);
            }
            compared++;
        }
        template_free(t);
        json_decref(v);
    }
    assert_true(compared >= 150);
    conversation_free(&c);
    encoded_free(&x);
    str_free(&text);
    str_free(&file);
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool same(const struct template *a, const struct template *b)
{
    uint8_t x[SHA256_BYTES], y[SHA256_BYTES];
    struct err e;
    assert_ok(template_digest(x, a, &e), &e);
    assert_ok(template_digest(y, b, &e), &e);
    return memcmp(x, y, sizeof x) == 0;
}

/* Inputs have no place in a chat, and a program does not say which parts for tools there are. */
static void every_row_is_read_back_as_itself(void **state)
{
    (void)state;
    char names[1024], *rest = names, *name;
    struct str jinja = { 0 };
    struct err e = { 0 };
    snprintf(names, sizeof names, "%s", template_names());
    while ((name = strsep(&rest, " "))) {
        const struct template *t = template_named(name);
        const char *why;
        str_clear(&jinja);
        assert_ok(template_to_jinja(&jinja, &why, t, bytes(), &e), &e);
        bool text_is_special = !strncmp(name, "zephyr", 6) || !strncmp(name, "llama2", 6) ||
                               (!strncmp(name, "mistral", 7) && strcmp(name, "mistral_v3") != 0);
        assert_int_equal(why != NULL,
                         text_is_special); /* the tokenizer has [INST] and <|system|> */
        if (why) continue;
        const struct template *got = chat_template_read(jinja.p, bytes(), &e);
        if (!got) fail_msg("%s: %s: %s", name, e.msg, jinja.p);
        if (strcmp(name, "alpaca_lora") != 0 && !same(got, t)) {
            fail_msg("%s is read as %s: %s", name, template_name(got), jinja.p);
        }
        template_free(got);
    }
    str_free(&jinja);
}

/* ---- reading --------------------------------------------------------------------------------- */

#define LOOP                                                                                       \
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + "   \
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}" \
    "{% endif %}"

static void what_is_not_understood_is_not_guessed(void **state)
{
    (void)state;
    static const struct {
        const char *program, *message;
    } rows[] = {
        { "{% for m in messages %}{{ m.content.replace('a', 'b') }}{% endfor %}", "not one that" },
        { "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content }}{% endfor %}",
          "it has <|im_start|>, as template: chatml has" },
        { LOOP "{{ strftime_now('%Y') }}", "it has <|im_start|>" },
        { "{% macro x() %}{% endmacro %}{{ x() }}" LOOP, "it has <|im_start|>" },
        { "{% for m in messages[::-1] %}{% endfor %}" LOOP, "it has <|im_start|>" },
        { "{% for m in messages if m.role == 'user' %}{% endfor %}" LOOP, "it has <|im_start|>" },
        { "{% if messages[0].content == 'x' %}y{% endif %}" LOOP, "it has <|im_start|>" },
        { "{% if 'x' in messages[0].content %}y{% endif %}" LOOP, "it has <|im_start|>" },
        { "{{ unknown('x') }}" LOOP, "it has <|im_start|>" },
        { "{{ messages.__class__ }}" LOOP, "it has <|im_start|>" },
        { "{% include 'x' %}" LOOP, "it has <|im_start|>" },
        { "{% raw %}" LOOP "{% endraw %}", "it has <|im_start|>" },
        { "x" LOOP, "it has <|im_start|>" },
        { "{% if messages | length > 3 %}x{% endif %}" LOOP, "it has <|im_start|>" },
        { "{% if not messages[0].content %}x{% endif %}" LOOP, "it has <|im_start|>" },
        /* models that share a marker with a row, and write something else */
        { "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor "
          "%}"
          "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
          "it looks like Phi-3's, for which there is no template" },
        { "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content }}{% "
          "endfor %}",
          "it looks like Phi-4's" },
        { "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
          "<|assistant|>",
          "it looks like GLM-4's" },
        { "<|start_header_id|>{{ messages }}", "it has <|start_header_id|>, as template: llama3" },
        { "{{ '", "not one that" },
        { "{% for", "not one that" },
        { "{% if %}{% else", "not one that" },
        { "{{ ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1", "not one that" },
        { "{{ 'a' if 'b' else }}", "not one that" },
        { "{{ x[ }}{{ ]", "not one that" },
        { "{%- set ns.x = 1 -%}", "not one that" },
        { "\\u0001", "not one that" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = { 0 };
        const struct template *t = chat_template_read(rows[i].program, bytes(), &e);
        if (t) fail_msg("%s is read as %s", rows[i].program, template_name(t));
        assert_message(&e, rows[i].message);
    }
}

/* The work of a hostile program is bounded: nested loops, conditions in conditions. */
static void work_is_bounded(void **state)
{
    (void)state;
    struct str s = { 0 };
    struct err e = { 0 };
    for (int i = 0; i < 12; i++) str_addf(&s, "{%% for a%d in messages %%}", i);
    str_addz(&s, "{% set x = x ~ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}{{ x }}");
    for (int i = 0; i < 12; i++) str_addz(&s, "{% endfor %}");
    assert_null(chat_template_read(s.p, bytes(), &e));
    str_clear(&s);
    str_addz(&s, "{{ ");
    for (int i = 0; i < 40; i++) str_addz(&s, "(1 if ");
    str_addz(&s, "1");
    for (int i = 0; i < 40; i++) str_addz(&s, " else 2)");
    str_addz(&s, " }}");
    assert_null(chat_template_read(s.p, bytes(), &e));
    str_clear(&s);
    str_addz(&s, "{% set x = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}");
    for (int i = 0; i < 40; i++) str_addz(&s, "{% set x = x ~ x %}");
    assert_null(chat_template_read(s.p, bytes(), &e));
    str_free(&s);
}

/* Texts of the program's own are in the template, too. */
static void variants_keep_what_is_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *program, *name, *part, *text;
    } rows[] = {
        { LOOP, "chatml", NULL, NULL },
        { "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n"
          "{% endif %}" LOOP,
          "chatml, another system text", "default_system", "Be kind." },
        { "{{ bos_token }}" LOOP, "chatml with BOS", "begin", "{bos}" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = { 0 };
        const struct template *t = chat_template_read(rows[i].program, bytes(), &e);
        if (!t) fail_msg("%zu: %s", i, e.msg);
        assert_string_equal(template_name(t), rows[i].name);
        const char *part = rows[i].part && *rows[i].part == 'b' ? t->begin : t->default_system;
        if (rows[i].text) assert_string_equal(part, rows[i].text);
        template_free(t);
    }
}

/* ---- for the interop script ------------------------------------------------------------------ */

static int print_jinja(const struct tokenizer *tok, const struct template *t, struct err *e)
{
    struct str s = { 0 };
    const char *why;
    int code = template_to_jinja(&s, &why, t, tok, e);
    if (!code && why) code = err_set(e, "%s", why);
    if (!code) printf("%s", s.p);
    str_free(&s);
    return code;
}

static int print_text(const struct tokenizer *tok, const struct template *t, const char *path,
                      struct err *e)
{
    struct str file = { 0 }, text = { 0 }, out = { 0 };
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    int code = file_read(&file, path, 1 << 24, e);
    for (char *rest = file.p, *line; !code && (line = strsep(&rest, "\n")) && *line;) {
        json_t *v = json_parse(line, strlen(line), JSON_DUP_REFUSED, path, e);
        read_messages(&c, json_object_get(v, "messages"));
        code = render(&text, &x, t, tok, &c, e);
        str_clear(&out);
        str_addz(&out, "{\"text\": ");
        if (!code) json_add_string(&out, text.p, text.n);
        str_addf(&out, ", \"name\": \"%s\", \"ids\": [", template_name(t));
        for (size_t i = 0; !code && i < x.tokens.n; i++)
            str_addf(&out, "%s%d", i ? ", " : "", x.tokens.ids[i]);
        if (!code) printf("%s]}\n", out.p);
        json_decref(v);
    }
    conversation_free(&c);
    encoded_free(&x);
    str_free(&out);
    str_free(&text);
    str_free(&file);
    return code;
}

static int print(int argc, char **argv)
{
    struct err e = { 0 };
    struct tokenizer *tok = NULL;
    const struct template *t = NULL;
    int code = tokenizer_open(&tok, argv[2], &e);
    if (!code) code = setup_template(&t, argv[3], tok, &e);
    if (!code) code = argc == 4 ? print_jinja(tok, t, &e) : print_text(tok, t, argv[4], &e);
    if (code) fprintf(stderr, "%s\n", e.msg);
    template_free(t);
    tokenizer_free(tok);
    return code != 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ENTRY(transformers_renders_the_same,
              "chat template: a known program renders as transformers renders it"),
        ENTRY(every_row_is_read_back_as_itself,
              "chat template: every template that is written as a program is read as itself"),
        ENTRY(what_is_not_understood_is_not_guessed,
              "chat template: a program that is not understood is not guessed"),
        ENTRY(work_is_bounded, "chat template: a hostile program ends within bounds"),
        ENTRY(variants_keep_what_is_their_own,
              "chat template: a program like a known one keeps its own texts"),
    };
    if (argc > 3) return print(argc, argv);
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
