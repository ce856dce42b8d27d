/* Templates: renderings, masks, prompts, and the recognition of models' own chat templates. */
#include "tests/data_test.h"

#include "src/base/rng.h"
#include "src/data/chat_template.h"
#include "src/data/formats.h"
#include "src/data/template.h"

/* ---- tokenizers ------------------------------------------------------------------------------ */

enum { LLAMA2, STORIES, BYTES, TOKENIZERS };

/* Opened once; NULL where the fixture is not there. */
static const struct tokenizer *tokenizer(int which)
{
    static struct tokenizer *open[TOKENIZERS];
    static const char *const files[] = { "llama2-tokenizer/tokenizer.model",
                                         "stories260K-hf/tokenizer.model" };
    if (open[which]) return open[which];
    const char *path;
    path = which == BYTES ? byte_tokenizer() : fixture(files[which]);
    struct err e;
    if (path) assert_ok(tokenizer_open(&open[which], path, &e), &e);
    return open[which];
}

/* ---- conversations --------------------------------------------------------------------------- */

static void conversation_of(struct conversation *c, const char *json)
{
    struct err e = { 0 };
    json_t *v = json_parse(json, strlen(json), JSON_DUP_REFUSED, "test", &e);
    assert_ok(e.code, &e);
    assert_ok(format_read(c, format_detect(v), v, NULL, "test", &e), &e);
    json_decref(v);
}

/* The encoding as text, targets between guillemets. */
static void show(struct str *out, const struct tokenizer *t, const struct encoded *x)
{
    bool on = false;
    str_clear(out);
    for (size_t i = 0; i <= x->tokens.n; i++) {
        bool now = i < x->tokens.n && x->target[i];
        if (now != on) str_addz(out, now ? "\xc2\xab" : "\xc2\xbb");
        on = now;
        if (i < x->tokens.n) tokenizer_decode(t, out, &x->tokens.ids[i], 1, true, false);
    }
}

/* ---- renderings ------------------------------------------------------------------------------ */

struct rendering {
    const char *template;
    int tokenizer;
    const char *record;
    enum train_on train_on;
    bool without_eos;
    const char *text;
};

#define TWO                                                                                        \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},"                                       \
    "{\"role\":\"assistant\",\"content\":\"Hello\"},{\"role\":\"user\",\"content\":\"Bye\"},"      \
    "{\"role\":\"assistant\",\"content\":\"So long\"}]}"
#define SYSTEM                                                                                     \
    "{\"messages\":[{\"role\":\"system\",\"content\":\" Be brief. \"},"                            \
    "{\"role\":\"user\",\"content\":\" Hi\\n\"},{\"role\":\"assistant\",\"content\":\"\\tHello "   \
    "\"}]}"
#define UNTRAINED                                                                                  \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","               \
    "\"content\":\"Hello\",\"train\":false},{\"role\":\"user\",\"content\":\"Bye\"},"              \
    "{\"role\":\"assistant\",\"content\":\"So long\"},{\"role\":\"user\",\"content\":\"?\"}]}"
#define NO_INPUT                                                                                   \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes "                                                                                   \
    "the request.\n\n### Instruction:\n"
#define INPUT                                                                                      \
    "Below is an instruction that describes a task, paired with an input that provides further "   \
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"

static const struct rendering renderings[] = {
    /* alpaca */
    { "alpaca", LLAMA2, "{\"instruction\":\"Add.\",\"output\":\"3\"}", 0, false,
      "<s> " NO_INPUT "Add.\n\n### Response:\n\xc2\xab"
      "3</s>\xc2\xbb" },
    { "alpaca", LLAMA2, "{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"3\"}", 0, false,
      "<s> " INPUT "Add.\n\n### Input:\n1 2\n\n### Response:\n\xc2\xab"
      "3</s>\xc2\xbb" },
    { "alpaca", LLAMA2, "{\"instruction\":\"Add.\",\"output\":\"3\"}", 0, true,
      "<s> " NO_INPUT "Add.\n\n### Response:\n\xc2\xab"
      "3\xc2\xbb</s>" },
    { "alpaca", LLAMA2, "{\"instruction\":\"Add.\",\"output\":\"\"}", 0, false,
      "<s> " NO_INPUT "Add.\n\n### Response:\n\xc2\xab</s>\xc2\xbb" },
    { "alpaca", LLAMA2, "{\"instruction\":\"Add.\",\"output\":\"3\",\"system\":\"Sum.\"}", 0, false,
      "<s> Sum.\n\n### Instruction:\nAdd.\n\n### Response:\n\xc2\xab"
      "3</s>\xc2\xbb" },
    { "alpaca", LLAMA2,
      "{\"instruction\":\"c\",\"input\":\"i\",\"output\":\"d\",\"history\":[[\"a\",\"b\"]]}", 0,
      false,
      "<s> " NO_INPUT "a\n\n### Response:\n\xc2\xab"
      "b</s>\xc2\xbb \n\n### Instruction:\nc\n\n### "
      "Input:\ni\n\n### Response:\n\xc2\xab"
      "d</s>\xc2\xbb" },
    { "alpaca", LLAMA2, "{\"question\":\"Add.\",\"answer\":\"3\"}", TRAIN_ON_EVERYTHING, false,
      "<s>\xc2\xab " NO_INPUT "Add.\n\n### Response:\n3</s>\xc2\xbb" },
    { "alpaca_stanford", LLAMA2, "{\"instruction\":\"Add.\",\"output\":\"3\"}", 0, false,
      "<s> " NO_INPUT "Add.\n\n### Response:\xc2\xab"
      "3</s>\xc2\xbb" },
    { "alpaca", BYTES, "{\"instruction\":\"Add.\",\"output\":\"3\"}", 0, false,
      NO_INPUT "Add.\n\n### Response:\n\xc2\xab"
               "3<|im_end|>\xc2\xbb" },
    /* llama2 */
    { "llama2", LLAMA2, TWO, 0, false,
      "<s> [INST] Hi [/INST]\xc2\xab Hello </s>\xc2\xbb<s> [INST] Bye [/INST]\xc2\xab So long "
      "</s>\xc2\xbb" },
    { "llama2", LLAMA2, TWO, TRAIN_ON_LAST_RESPONSE, false,
      "<s> [INST] Hi [/INST] Hello </s><s> [INST] Bye [/INST]\xc2\xab So long </s>\xc2\xbb" },
    { "llama2", LLAMA2, TWO, 0, true,
      "<s> [INST] Hi [/INST]\xc2\xab Hello\xc2\xbb </s><s> [INST] Bye [/INST]\xc2\xab So "
      "long\xc2\xbb </s>" },
    { "llama2", LLAMA2, TWO, TRAIN_ON_EVERYTHING, false,
      "<s>\xc2\xab [INST] Hi [/INST] Hello </s><s> [INST] Bye [/INST] So long </s>\xc2\xbb" },
    { "llama2", LLAMA2, UNTRAINED, 0, false,
      "<s> [INST] Hi [/INST] Hello </s><s> [INST] Bye [/INST]\xc2\xab So long </s>\xc2\xbb<s> "
      "[INST] ? [/INST]" },
    { "llama2", LLAMA2, UNTRAINED, TRAIN_ON_EVERYTHING, false,
      "<s>\xc2\xab [INST] Hi [/INST]\xc2\xbb Hello </s>\xc2\xab<s> [INST] Bye [/INST] So long "
      "</s><s> [INST] ? [/INST]\xc2\xbb" },
    { "llama2", LLAMA2, SYSTEM, 0, false,
      "<s> [INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n Hi [/INST]\xc2\xab Hello </s>\xc2\xbb" },
    { "llama2", LLAMA2, "{\"instruction\":\"Add.\",\"input\":\"1 2\\u3000\",\"output\":\"\"}", 0,
      false, "<s> [INST] Add.\n\n1 2 [/INST]\xc2\xab  </s>\xc2\xbb" },
    /* chatml */
    { "chatml", BYTES, TWO, 0, false,
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n\xc2\xabHello<|im_end|>\xc2\xbb\n"
      "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n\xc2\xabSo "
      "long<|im_end|>\xc2\xbb\n" },
    { "chatml", BYTES, TWO, TRAIN_ON_LAST_RESPONSE, true,
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
      "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n\xc2\xabSo "
      "long\xc2\xbb<|im_end|>\n" },
    { "chatml", BYTES, UNTRAINED, TRAIN_ON_EVERYTHING, false,
      "<|im_start|>\xc2\xabuser\nHi<|im_end|>\n<|im_start|>assistant\n\xc2\xbbHello<|im_end|>"
      "\xc2\xab\n"
      "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nSo long<|im_end|>\n"
      "<|im_start|>user\n?<|im_end|>\n\xc2\xbb" },
    { "chatml", BYTES, SYSTEM, 0, false,
      "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi\n<|im_end|>\n"
      "<|im_start|>assistant\n\xc2\xab\tHello <|im_end|>\xc2\xbb\n" },
    { "chatml", BYTES,
      "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"assistant\","
      "\"content\":"
      "\"b\"},{\"role\":\"system\",\"content\":\"c\"}]}",
      0, false,
      "<|im_start|>assistant\n\xc2\xab"
      "a<|im_end|>\xc2\xbb\n<|im_start|>assistant\n\xc2\xab"
      "b<|im_end|>\xc2\xbb\n<|im_start|>system\nc<|im_end|>\n" },
    { "chatml", BYTES, "{\"instruction\":\"Add.\",\"input\":\"1 2\",\"output\":\"3\"}", 0, false,
      "<|im_start|>user\nAdd.\n\n1 2<|im_end|>\n<|im_start|>assistant\n\xc2\xab"
      "3<|im_end|>\xc2\xbb\n" },
    { "smollm2", BYTES, "{\"prompt\":\"Hi\",\"completion\":\"Hello\"}", 0, false,
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
      "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n\xc2\xabHello<|im_end|>"
      "\xc2\xbb\n" },
    { "smollm2", BYTES, SYSTEM, 0, false,
      "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n Hi\n<|im_end|>\n"
      "<|im_start|>assistant\n\xc2\xab\tHello <|im_end|>\xc2\xbb\n" },
    /* plain, text */
    { "plain", LLAMA2, "{\"prompt\":\"2 + 2 =\",\"completion\":\" 4\"}", 0, false,
      "<s> 2 + 2 =\xc2\xab 4</s>\xc2\xbb" },
    { NULL, LLAMA2, "{\"prompt\":\"a hel\",\"completion\":\"lo\"}", 0, false,
      "<s> a\xc2\xab hello</s>\xc2\xbb" }, /* " hello" is one piece */
    { "plain", BYTES, "{\"prompt\":\"abc\",\"completion\":\"def\"}", 0, false,
      "ab\xc2\xab"
      "cdef<|im_end|>\xc2\xbb" }, /* "cd" is one token */
    { "plain", BYTES, TWO, 0, false,
      "Hi\xc2\xabHello<|im_end|>\xc2\xbb"
      "Bye\xc2\xabSo long<|im_end|>\xc2\xbb" },
    { NULL, LLAMA2, "{\"text\":\"5 a\"}", 0, false, "<s>\xc2\xab 5 a</s>\xc2\xbb" },
    { NULL, LLAMA2, "{\"text\":\"5 a\"}", 0, true, "<s>\xc2\xab 5 a\xc2\xbb</s>" },
    { NULL, BYTES, "{\"text\":\"the\"}", TRAIN_ON_LAST_RESPONSE, false,
      "t\xc2\xabhe<|im_end|>\xc2\xbb" },
    { NULL, BYTES, "{\"text\":\"\"}", 0, false, "<|im_end|>" },
};

static void goldens(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct str text = { 0 };
    for (size_t i = 0; i < sizeof renderings / sizeof *renderings; i++) {
        const struct rendering *r = &renderings[i];
        const struct tokenizer *tok = tokenizer(r->tokenizer);
        const struct template *t = r->template ? template_named(r->template) : NULL;
        struct render_options o = { .train_on = r->train_on, .train_on_eos = !r->without_eos };
        struct err e;
        if (!tok) continue;
        conversation_of(&c, r->record);
        assert_ok(template_encode(&x, t, tok, &c, &o, &e), &e);
        show(&text, tok, &x);
        if (strcmp(text.p, r->text) != 0) {
            fail_msg("%zu: found\n%s\nwanted\n%s", i, text.p, r->text);
        }
    }
    encoded_free(&x);
    conversation_free(&c);
    str_free(&text);
}

/* Ids as SentencePiece gives them for the runs, written out. */
static void golden_ids(void **state)
{
    (void)state;
    const struct tokenizer *tok = tokenizer(LLAMA2);
    if (!tok) skip();
    static const int32_t ids[] = { 1,     518,   25580, 29962, 6324, 518,   29914, 25580, 29962,
                                   15043, 29871, 2,     1,     518,  25580, 29962, 2648,  29872,
                                   518,   29914, 25580, 29962, 1105, 1472,  29871, 2 };
    static const uint8_t target[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0,
                                      0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1 };
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct err e;
    conversation_of(&c, TWO);
    assert_ok(template_encode(
                  &x, template_named("llama2"), tok, &c,
                  &(struct render_options){ .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
                  &e),
              &e);
    assert_int_equal(x.tokens.n, sizeof ids / sizeof *ids);
    assert_memory_equal(x.tokens.ids, ids, sizeof ids);
    assert_memory_equal(x.target, target, sizeof target);
    assert_int_equal(x.n_ends, 2);
    assert_int_equal(x.ends[0], 12);
    assert_int_equal(x.ends[1], 26);
    encoded_free(&x);
    conversation_free(&c);
}

/* The conversation that axolotl tokenised, with its system text decoded from its ids. */
static void axolotl(void **state)
{
    (void)state;
    const struct tokenizer *tok = tokenizer(LLAMA2);
    const char *turns = fixture("axolotl-llama2chat/conversation.json");
    const char *tokens = fixture("axolotl-llama2chat/conversation.tokenized_llama2chat.json");
    if (!tok || !turns || !tokens) skip();
    enum { TOKENS = 2055 };
    struct err e = { 0 };
    json_t *t = json_read(turns, 1 << 20, &e), *g = t ? json_read(tokens, 1 << 20, &e) : NULL;
    assert_ok(e.code, &e);
    const json_t *ids = json_object_get(g, "input_ids"), *labels = json_object_get(g, "labels");
    int32_t first[256];
    for (size_t i = 0; i < 256; i++)
        first[i] = (int32_t)json_integer_value(json_array_get(ids, i + 1));
    struct str s = { 0 };
    tokenizer_decode(tok, &s, first, 256, false, true);
    static const char begin[] = "[INST] <<SYS>>\n", end[] = "\n<</SYS>>\n\n";
    assert_memory_equal(s.p, begin, sizeof begin - 1);
    const char *system = s.p + sizeof begin - 1, *stop = strstr(s.p, end);
    assert_non_null(stop);
    struct conversation c = { 0 };
    conversation_clear(&c, RECORD_CHAT);
    assert_ok(conversation_add(&c, ROLE_SYSTEM, system, (size_t)(stop - system), &e), &e);
    const json_t *list = json_object_get(t, "conversations");
    assert_int_equal(json_array_size(list), 12);
    for (size_t i = 0; i < 12; i++) {
        const json_t *v = json_object_get(json_array_get(list, i), "value");
        assert_ok(conversation_add(&c, i % 2 ? ROLE_ASSISTANT : ROLE_USER, json_string_value(v),
                                   json_string_length(v), &e),
                  &e);
    }
    struct encoded x = { 0 };
    assert_ok(template_encode(
                  &x, template_named("llama2"), tok, &c,
                  &(struct render_options){ .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
                  &e),
              &e);
    assert_int_equal(x.tokens.n, TOKENS);
    for (size_t i = 0; i < TOKENS; i++) {
        assert_int_equal(x.tokens.ids[i], json_integer_value(json_array_get(ids, i)));
        json_int_t label = json_integer_value(json_array_get(labels, i));
        assert_int_equal(x.target[i] ? x.tokens.ids[i] : LABEL_NONE, label);
    }
    encoded_free(&x);
    conversation_free(&c);
    str_free(&s);
    json_decref(t);
    json_decref(g);
}

/* ---- properties ------------------------------------------------------------------------------ */

static uint64_t drawn;

static uint32_t draw(uint32_t below)
{
    return rng_u32(7, RNG_TEST, 0, drawn++) % below;
}

/* A random text; now and then empty, white, or full of what looks like markup. */
static void random_text(struct str *s)
{
    static const char *const bits[] = {
        "a",
        "he",
        "hello",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "5",
        "42",
        ":",
        ".",
        "\xc3\xa9",
        "e\xcc\x81",
        "\xc2\xa0",
        "\xe3\x80\x80",
        "\xe6\xbc\xa2",
        "\xf0\x9f\x98\x80",
        "<s>",
        "</s>",
        "[INST]",
        " [/INST]",
        "<|im_start|>",
        "<|im_end|>",
        "<0x0A>",
        "### Response:\n",
        "<<SYS>>",
        "the",
        "cd",
        "I",
        " Lily",
        "\r\n",
        "\xe2\x80\xae",
        "\xf4\x8f\xbf\xbf",
        "{user}",
    };
    size_t n = draw(12);
    if (draw(10) == 0) n = draw(200);
    for (size_t i = 0; i < n; i++) {
        if (draw(40) == 0) {
            str_addc(s, 0);
        } else {
            str_addz(s, bits[draw(sizeof bits / sizeof *bits)]);
        }
    }
}

static void random_conversation(struct conversation *c, bool alternates)
{
    struct err e;
    struct str s = { 0 };
    conversation_clear(c, draw(2) ? RECORD_CHAT : RECORD_ALPACA);
    size_t n = 2 * (1 + draw(3)) - (draw(6) == 0);
    bool system = draw(3) == 0;
    for (size_t i = 0; i < n + system; i++) {
        enum role role = (i + system) % 2 ? ROLE_ASSISTANT : ROLE_USER;
        if (!alternates && draw(4) == 0) role = (enum role)draw(3);
        if (i == 0 && system) role = ROLE_SYSTEM;
        str_clear(&s);
        random_text(&s);
        assert_ok(conversation_add(c, role, s.n ? s.p : "", s.n, &e), &e);
        if (role == ROLE_ASSISTANT && draw(5) == 0) c->turns[c->n - 1].train = false;
        if (role == ROLE_USER && c->kind == RECORD_ALPACA && draw(2)) {
            str_clear(&s);
            random_text(&s);
            assert_ok(conversation_add_input(c, s.n ? s.p : "", s.n, &e), &e);
        }
    }
    str_free(&s);
}

/* The rendering as this test understands it: the text with special tokens spelt out, and a flag for
 * each byte. */
struct expected {
    struct str text, flag;
    bool prefix, all, at_start; /* prefix: the tokenizer begins each run with a space */
    const char *bos, *eos;
};

static void put(struct expected *x, const char *text, size_t n, char on)
{
    if (n == 0) return;
    if (x->prefix && x->at_start) {
        str_addc(&x->text, ' ');
        str_addc(&x->flag, x->all ? 1 : 0);
    }
    x->at_start = false;
    str_add(&x->text, text, n);
    for (size_t i = 0; i < n; i++) str_addc(&x->flag, on);
}

static void putz(struct expected *x, const char *text, char on)
{
    put(x, text, strlen(text), on);
}

static void put_special(struct expected *x, const char *text, char on)
{
    str_addz(&x->text, text);
    for (size_t i = 0; i < strlen(text); i++) str_addc(&x->flag, on);
    x->at_start = true;
}

static bool white(const char *p, size_t n)
{
    return (n == 1 && strchr(" \t\n\r", *p) && *p) || (n == 2 && memcmp(p, "\xc2\xa0", 2) == 0) ||
           (n == 3 && memcmp(p, "\xe3\x80\x80", 3) == 0);
}

static void trim(const char **p, size_t *n)
{
    for (size_t k = 1; k <= 3 && k <= *n; k++) {
        if (white(*p, k)) *p += k, *n -= k, k = 0;
    }
    for (size_t k = 1; k <= 3 && k <= *n; k++) {
        if (white(*p + *n - k, k)) *n -= k, k = 0;
    }
}

static void expect_user(struct expected *x, const char *name, const struct turn *t,
                        const struct turn *system)
{
    struct str s = { 0 };
    bool alpaca = strncmp(name, "alpaca", 6) == 0, llama2 = strcmp(name, "llama2") == 0;
    if (system && llama2) {
        str_addz(&s, "<<SYS>>\n");
        str_add(&s, system->text, system->n);
        str_addz(&s, "\n<</SYS>>\n\n");
    }
    str_add(&s, t->text, t->n);
    if (t->input && !alpaca) {
        str_addz(&s, "\n\n");
        str_add(&s, t->input, t->input_n);
    }
    const char *p = s.n ? s.p : "";
    size_t n = s.n;
    if (llama2) {
        trim(&p, &n);
        put_special(x, x->bos, x->all);
        putz(x, "[INST] ", x->all);
    } else if (alpaca) {
        putz(x, "### Instruction:\n", x->all);
    } else if (strcmp(name, "plain") != 0) {
        put_special(x, "<|im_start|>", x->all);
        putz(x, "user\n", x->all);
    }
    put(x, p, n, x->all);
    if (llama2) {
        putz(x, " [/INST]", x->all);
    } else if (alpaca) {
        putz(x, "\n\n", x->all);
        if (t->input) {
            putz(x, "### Input:\n", x->all);
            put(x, t->input, t->input_n, x->all);
            putz(x, "\n\n", x->all);
        }
    } else if (strcmp(name, "plain") != 0) {
        put_special(x, "<|im_end|>", x->all);
        putz(x, "\n", x->all);
    }
    str_free(&s);
}

static void expect_answer(struct expected *x, const char *name, const struct turn *t, bool on,
                          bool on_eos)
{
    const char *p = t->text, *eos = x->eos, *header = "";
    size_t n = t->n;
    bool llama2 = strcmp(name, "llama2") == 0;
    if (llama2) header = " ";
    if (strcmp(name, "alpaca") == 0) header = "### Response:\n";
    if (strcmp(name, "alpaca_stanford") == 0) header = "### Response:";
    if (strcmp(name, "chatml") == 0 || strcmp(name, "smollm2") == 0) {
        put_special(x, "<|im_start|>", x->all);
        header = "assistant\n";
        eos = "<|im_end|>";
    }
    putz(x, header, x->all);
    if (llama2) trim(&p, &n);
    put(x, p, n, on ? 1 : 2); /* 2: forbids */
    char behind = !on ? 2 : on_eos ? 1 : 0;
    if (llama2) putz(x, " ", behind);
    put_special(x, eos, behind);
    if (*header == 'a') putz(x, "\n", x->all);
}

static void expect(struct expected *x, const char *name, const struct tokenizer *tok,
                   const struct conversation *c, const struct render_options *o)
{
    bool alpaca = strncmp(name, "alpaca", 6) == 0, smollm2 = strcmp(name, "smollm2") == 0;
    str_clear(&x->text);
    str_clear(&x->flag);
    x->prefix = tokenizer_adds_prefix(tok);
    x->all = o->train_on == TRAIN_ON_EVERYTHING;
    x->at_start = true;
    x->bos = tokenizer_kind(tok) == TOKENIZER_SPM ? "<s>" : "<|im_start|>";
    x->eos = tokenizer_kind(tok) == TOKENIZER_SPM ? "</s>" : "<|im_end|>";
    if (tokenizer_adds_bos(tok) && strcmp(name, "llama2") != 0) put_special(x, x->bos, 0);
    const struct turn *system = c->turns[0].role == ROLE_SYSTEM ? &c->turns[0] : NULL, *user = NULL;
    size_t last = 0;
    for (size_t i = c->n; i-- > 0;) {
        if (c->turns[i].role == ROLE_USER) user = &c->turns[i];
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->turns[i].role == ROLE_ASSISTANT) last = i;
    }
    if (!system && alpaca) {
        putz(x, user && user->input ? INPUT : NO_INPUT, x->all);
        x->text.n -= strlen("### Instruction:\n"), x->flag.n -= strlen("### Instruction:\n");
    }
    if (!system && smollm2) {
        put_special(x, "<|im_start|>", x->all);
        putz(x, "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face",
             x->all);
        put_special(x, "<|im_end|>", x->all);
        putz(x, "\n", x->all);
    }
    for (size_t i = 0; i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        bool chatml = smollm2 || strcmp(name, "chatml") == 0;
        if (t->role == ROLE_SYSTEM && strcmp(name, "llama2") != 0) {
            if (chatml) put_special(x, "<|im_start|>", x->all);
            if (chatml) putz(x, "system\n", x->all);
            put(x, t->text, t->n, x->all);
            if (chatml) put_special(x, "<|im_end|>", x->all);
            if (chatml) putz(x, "\n", x->all);
            if (alpaca) putz(x, "\n\n", x->all);
        } else if (t->role == ROLE_USER) {
            if (alpaca && t != user) putz(x, "\n\n", x->all);
            expect_user(x, name, t, t == user ? system : NULL);
        } else if (t->role == ROLE_ASSISTANT) {
            bool on = t->train && (o->train_on != TRAIN_ON_LAST_RESPONSE || i == last);
            expect_answer(x, name, t, on, o->train_on_eos);
        }
    }
}

/* The tokens spell the text, and each is a target exactly when a byte it spells is one. */
static void compare(const struct expected *x, const struct tokenizer *tok,
                    const struct encoded *got)
{
    struct str piece = { 0 };
    size_t at = 0;
    for (size_t i = 0; i < got->tokens.n; i++) {
        str_clear(&piece);
        tokenizer_decode(tok, &piece, &got->tokens.ids[i], 1, true, false);
        assert_true(at + piece.n <= x->text.n);
        assert_memory_equal(piece.p, x->text.p + at, piece.n);
        bool on = i > 0 && memchr(x->flag.p + at, 1, piece.n) &&
                  !memchr(x->flag.p + at, 2, piece.n);
        if (got->target[i] != on) {
            fail_msg("token %zu of %zu (%s at byte %zu): found %d, wanted %d; %s", i, got->tokens.n,
                     err_quote(piece.p, piece.n), at, got->target[i], on,
                     err_quote(x->text.p + at - 3, 40));
        }
        at += piece.n;
    }
    assert_int_equal(at, x->text.n);
    str_free(&piece);
}

static size_t count(const struct encoded *x, int32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < x->tokens.n; i++) n += x->tokens.ids[i] == id;
    return n;
}

static size_t turns_of(const struct conversation *c, enum role role)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) n += c->turns[i].role == role;
    return n;
}

static void random_conversations(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct expected want = { 0 };
    static const char *const names[] = { "alpaca", "alpaca_stanford", "llama2",
                                         "chatml", "smollm2",         "plain" };
    size_t compared = 0;
    for (size_t i = 0; i < 6000; i++) {
        const char *name = names[i % 6];
        const struct template *t = template_named(name);
        const struct tokenizer *tok = tokenizer((int)(i / 6 % TOKENIZERS));
        struct err e;
        if (!tok || template_check(t, tok, &e)) continue;
        bool free_order = i % 6 >= 3;
        random_conversation(&c, !free_order);
        struct render_options o = { .train_on = (enum train_on)draw(3),
                                    .train_on_eos = draw(4) != 0 };
        assert_ok(template_encode(&x, t, tok, &c, &o, &e), &e);
        expect(&want, name, tok, &c, &o);
        compare(&want, tok, &x);
        assert_int_equal(x.n_ends, turns_of(&c, ROLE_ASSISTANT));
        bool chatml = name[0] == 'c' || name[0] == 's';
        if (!chatml) assert_int_equal(count(&x, tokenizer_eos(tok)), x.n_ends);
        if (strcmp(name, "llama2") == 0) {
            assert_int_equal(count(&x, tokenizer_bos(tok)), turns_of(&c, ROLE_USER));
        } else if (!chatml) {
            assert_int_equal(count(&x, tokenizer_bos(tok)), tokenizer_adds_bos(tok) ? 1 : 0);
        }
        compared++;
    }
    assert_true(compared >= 1000);
    encoded_free(&x);
    conversation_free(&c);
    str_free(&want.text);
    str_free(&want.flag);
}

/* ---- prompts --------------------------------------------------------------------------------- */

static void prompts(void **state)
{
    (void)state;
    static const struct {
        const char *template;
        int tokenizer;
        const char *record, *text;
    } rows[] = {
        { "llama2", LLAMA2, "{\"messages\":[{\"role\":\"user\",\"content\":\" Hi \"}]}",
          "<s> [INST] Hi [/INST]" },
        { "alpaca", LLAMA2, "{\"messages\":[{\"role\":\"user\",\"content\":\"Add.\"}]}",
          "<s> " NO_INPUT "Add.\n\n### Response:\n" },
        { "alpaca_stanford", LLAMA2, "{\"messages\":[{\"role\":\"user\",\"content\":\"Add.\"}]}",
          "<s> " NO_INPUT "Add.\n\n### Response:" },
        { "plain", LLAMA2, "{\"messages\":[{\"role\":\"user\",\"content\":\"Once \"}]}",
          "<s> Once " },
        { NULL, LLAMA2, "{\"text\":\"Once \"}", "<s> Once " },
        { "smollm2", BYTES,
          "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
          "\"content\":\"Hello\"},{\"role\":\"user\",\"content\":\"Bye\"}]}",
          "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
          "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
          "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n" },
    };
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct str text = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct tokenizer *tok = tokenizer(rows[i].tokenizer);
        const struct template *t = rows[i].template ? template_named(rows[i].template) : NULL;
        struct err e;
        if (!tok) continue;
        conversation_of(&c, rows[i].record);
        assert_ok(template_prompt(&x, t, tok, &c, &e), &e);
        show(&text, tok, &x);
        assert_string_equal(text.p, rows[i].text);
    }
    encoded_free(&x);
    conversation_free(&c);
    str_free(&text);
}

/* A prompt's ids are the beginning of what training saw, whatever the answer (but see template.h on
 * white space and borders inside a line). */
static void prompts_are_prefixes(void **state)
{
    (void)state;
    static const char *const names[] = { "alpaca", "llama2", "chatml", "smollm2" };
    struct conversation c = { 0 };
    struct encoded whole = { 0 }, prompt = { 0 };
    size_t compared = 0;
    for (size_t i = 0; i < 3000; i++) {
        const struct template *t = template_named(names[i % 4]);
        int which = (int)(i / 4 % TOKENIZERS);
        const struct tokenizer *tok = tokenizer(which);
        struct err e;
        if (!tok || template_check(t, tok, &e)) continue;
        random_conversation(&c, true);
        while (c.n && c.turns[c.n - 1].role != ROLE_ASSISTANT) c.n--;
        if (c.n < 2) continue;
        const struct turn *answer = &c.turns[c.n - 1];
        if (which == BYTES && answer->n && strchr(" \t\n\r\xc2\xe3", answer->text[0])) continue;
        struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
        assert_ok(template_encode(&whole, t, tok, &c, &o, &e), &e);
        c.n--;
        assert_ok(template_prompt(&prompt, t, tok, &c, &e), &e);
        assert_true(prompt.tokens.n < whole.tokens.n);
        assert_memory_equal(prompt.tokens.ids, whole.tokens.ids, prompt.tokens.n * sizeof(int32_t));
        assert_null(memchr(prompt.target, 1, prompt.tokens.n));
        assert_null(memchr(whole.target + (c.n > 2 ? whole.ends[whole.n_ends - 2] : 0), 1,
                           prompt.tokens.n - (c.n > 2 ? whole.ends[whole.n_ends - 2] : 0)));
        compared++;
    }
    assert_true(compared >= 300);
    encoded_free(&whole);
    encoded_free(&prompt);
    conversation_free(&c);
}

static void stops(void **state)
{
    (void)state;
    const struct tokenizer *tok = tokenizer(BYTES);
    assert_true(template_stops(template_named("chatml"), tok, 2));
    assert_false(template_stops(template_named("chatml"), tok, 1));
    assert_true(template_stops(NULL, tok, 2));
    assert_false(template_stops(NULL, tok, 100));
    if (!tokenizer(LLAMA2)) return;
    assert_true(template_stops(template_named("llama2"), tokenizer(LLAMA2), 2));
    assert_false(template_stops(template_named("alpaca"), tokenizer(LLAMA2), 1));
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void tokens_as_given(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    struct err e;
    conversation_of(&c, "{\"input_ids\":[9,8,7,6],\"labels\":[9,-100,7,6]}");
    struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = false };
    assert_ok(template_encode(&x, NULL, NULL, &c, &o, &e), &e);
    assert_int_equal(x.tokens.n, 4);
    assert_memory_equal(x.tokens.ids, ((int32_t[]){ 9, 8, 7, 6 }), 16);
    assert_memory_equal(x.target, ((uint8_t[]){ 0, 0, 1, 1 }), 4);
    encoded_free(&x);
    conversation_free(&c);
}

static void orders(void **state)
{
    (void)state;
    static const struct {
        const char *roles, *message;
    } rows[] = {
        { "uu", "turn 2: found user, wanted assistant: the template alpaca" },
        { "a", "turn 1: found assistant, wanted user" },
        { "sa", "turn 2: found assistant, wanted user" },
        { "uasu", "turn 3: found system, wanted user" },
        { "suaa", "turn 4: found assistant, wanted user" },
        { "ss", "turn 2: found system, wanted user" },
    };
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        conversation_clear(&c, RECORD_CHAT);
        for (const char *p = rows[i].roles; *p; p++) {
            enum role role = *p == 's' ? ROLE_SYSTEM : *p == 'u' ? ROLE_USER : ROLE_ASSISTANT;
            assert_ok(conversation_add(&c, role, "x", 1, &e), &e);
        }
        struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
        assert_int_equal(
            template_encode(&x, template_named("alpaca"), tokenizer(BYTES), &c, &o, &e), ERR_FAIL);
        assert_message(&e, rows[i].message);
    }
    conversation_of(&c, TWO);
    struct err e;
    assert_int_equal(template_prompt(&x, NULL, tokenizer(BYTES), &c, &e), ERR_FAIL);
    assert_message(&e, "a prompt ends with the assistant's turn");
    encoded_free(&x);
    conversation_free(&c);
}

static void missing_tokens(void **state)
{
    (void)state;
    const struct tokenizer *tok = tokenizer(LLAMA2);
    if (!tok) skip();
    struct err e;
    struct conversation c = { 0 };
    struct encoded x = { 0 };
    static const char want[] =
        "template chatml places the special token \"<|im_start|>\", "
        "which the tokenizer does not have; templates that would work: alpaca "
        "alpaca_lora alpaca_stanford alpaca_qlora vicuna_v0 vicuna_v1.1 llama2 mistral "
        "mistral_compact mistral_v0.1 zephyr wizardlm plain";
    assert_int_equal(template_check(template_named("chatml"), tok, &e), ERR_USAGE);
    assert_string_equal(e.msg, want);
    conversation_of(&c, TWO);
    struct render_options o = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true };
    assert_int_equal(template_encode(&x, template_named("chatml"), tok, &c, &o, &e), ERR_USAGE);
    assert_string_equal(e.msg, want);
    assert_ok(template_check(template_named("llama2"), tok, &e), &e);
    assert_ok(template_check(NULL, tok, &e), &e);
    encoded_free(&x);
    conversation_free(&c);
}

static void names(void **state)
{
    (void)state;
    char copy[512];
    snprintf(copy, sizeof copy, "%s", template_names());
    size_t n = 0;
    for (char *rest = copy, *name; (name = strsep(&rest, " ")); n++) {
        assert_non_null(template_named(name));
        assert_string_equal(template_name(template_named(name)), name);
    }
    assert_int_equal(n, 20);
    assert_null(template_named("alpacas"));
    assert_true(template_is_plain(NULL));
    assert_true(template_is_plain(template_named("plain")));
    assert_false(template_is_plain(template_named("alpaca")));
}

/* ---- models' own templates ------------------------------------------------------------------- */

static const char llama2_jinja[] =
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set "
    "system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set "
    "system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] "
    "== "
    "'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate "
    "user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != "
    "false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
    "message['content'] "
    "%}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' "
    "%}{{ "
    "bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' "
    "%}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

static const char smollm2_jinja[] =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
    "'<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' "
    "}}{% "
    "endif %}";

static const char llama3_jinja[] =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant"
    "<|end_header_id|>\n\n' }}{% endif %}";

static const char zephyr_jinja[] =
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + "
    "message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' "
    "+ "
    "message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ "
    "'<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and "
    "add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}";

static const char mistral_jinja[] =
    "{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set system_message = "
    "messages[0][\"content\"] %}\n    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    "
    "{%- "
    "set loop_messages = messages %}\n{%- endif %}\n\n{{- bos_token }}\n{%- for message in "
    "loop_messages %}\n    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\n       "
    " "
    "{{- raise_exception('After the optional system message, conversation roles must alternate "
    "user/assistant/user/assistant/...') }}\n    {%- endif %}\n    {%- if message[\"role\"] == "
    "\"user\" %}\n        {%- if loop.first and system_message is defined %}\n            {{- \" "
    "[INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + \" [/INST]\" }}\n        "
    "{%- else %}\n            {{- \" [INST] \" + message[\"content\"] + \" [/INST]\" }}\n        "
    "{%- endif %}\n    {%- elif message[\"role\"] == \"assistant\" %}\n        {{- \" \" + "
    "message[\"content\"] + eos_token}}\n    {%- else %}\n        {{- raise_exception(\"Only user "
    "and "
    "assistant roles are supported, with the exception of an initial optional system message!\") "
    "}}\n    {%- endif %}\n{%- endfor %}\n";

static void recognition(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *row, *message;
    } rows[] = {
        { llama2_jinja, "llama2", NULL },
        { smollm2_jinja, "smollm2", NULL },
        { llama3_jinja, "llama3", NULL },
        { zephyr_jinja, "zephyr", NULL },
        { mistral_jinja, "mistral", NULL },
        { "{{ bos_token }}{% for message in messages %}\n{% if (message['role'] == 'user') != "
          "(loop.index0 % 2 == 0) %}\n{{- raise_exception('Conversation roles must alternate "
          "user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}\n   "
          " "
          "{{- '[INST] ' + message['content'] + ' [/INST]' -}}\n  {% elif message['role'] == "
          "'assistant' %}{{ message['content'] + eos_token}}{% else %}{{ raise_exception('Only "
          "user "
          "and assistant roles are supported!') }}{% endif %}{% endfor %}",
          "mistral_compact", NULL },
        /* a line feed that is written after an expression */
        { "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>' + '\\n'}}\n{% endfor %}",
          NULL, "chatml" },
        { "{% for message in messages %}\n{{- '<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>' + '\\n' -}}\n{%- endfor %}",
          "chatml", NULL },
        { "{%for message in messages%}{{\"<|im_start|>\"+message[\"role\"]+\"\\n\"+"
          "message['content'] + '<|im_end|>'+'\n'}}{%endfor%}{%if add_generation_prompt%}"
          "{{'<|im_start|>assistant\\n'}}{%endif%}",
          "chatml", NULL },
        { "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% "
          "endif "
          "%}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
          "'<|im_start|>assistant\\n' }}{% endif %}",
          "chatml", NULL },
        /* another system text, a stripped text, one space more: not what we would render */
        { "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
          "'<|im_start|>system\\nYou are a parrot<|im_end|>\\n' }}{% endif %}{{'<|im_start|>' + "
          "message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}",
          NULL, "<|im_start|>, as template: chatml" },
        { "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] | trim + '<|im_end|>' + '\\n'}}{% endfor %}",
          NULL, "chatml" },
        { "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
          "message['content'] + '<|im_end|>' + '\\n'}} {% endfor %}",
          NULL, "chatml" },
        { "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n ' + "
          "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}",
          NULL, "chatml" },
        { "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}", NULL,
          "[INST], as template: mistral" },
        { "{{ messages }}", NULL,
          "the model's chat template, \"{{ messages }}\", is not one that lorac knows" },
        { "", NULL, "is not one that lorac knows" },
        { "{{ 'unclosed \\", NULL, "is not one that lorac knows" },
        { "{% '\\\\' '{{", NULL, "is not one that lorac knows" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = { 0 };
        const char *row = chat_template_row(rows[i].jinja, &e);
        if (rows[i].row) {
            assert_non_null(row);
            assert_string_equal(row, rows[i].row);
            assert_non_null(template_named(row));
        } else {
            assert_null(row);
            assert_int_equal(e.code, ERR_FAIL);
            assert_message(&e, rows[i].message);
        }
    }
}

static void of_model(void **state)
{
    (void)state;
    struct err e;
    const struct template *t = template_of_model(tokenizer(BYTES), &e);
    assert_non_null(t);
    assert_string_equal(template_name(t), "chatml");
    if (!tokenizer(STORIES)) skip();
    assert_null(template_of_model(tokenizer(STORIES), &e));
    assert_int_equal(e.code, ERR_USAGE);
    assert_message(&e, "template model: the model has no chat template; choose one of: alpaca ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(goldens, "template: renderings and masks are the written ones"),
        ENTRY(golden_ids, "template: ids are SentencePiece's for each run of text"),
        ENTRY(axolotl, "template: ids and mask are axolotl's"),
        ENTRY(random_conversations,
              "template: random conversations render as a second renderer does"),
        ENTRY(prompts, "template: a prompt ends where the answer begins"),
        ENTRY(prompts_are_prefixes,
              "template: a prompt's ids are the beginning of what training saw"),
        ENTRY(stops, "template: generation stops at the template's end and at EOS"),
        ENTRY(tokens_as_given, "template: token ids need no template"),
        ENTRY(orders, "template: turns out of order are refused with their number"),
        ENTRY(missing_tokens,
              "template: missing special tokens name the templates that would work"),
        ENTRY(names, "template: each name names its template"),
        ENTRY(recognition, "template: a model's chat template is recognised by what it writes"),
        ENTRY(of_model,
              "template: the model's own template is found, or those to choose are named"),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
