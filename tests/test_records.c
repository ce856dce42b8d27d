/* Records: the formats, the containers, and what is refused. */
#include "tests/data_test.h"

#include "src/base/machine.h"
#include "src/data/records.h"

static const struct records_options auto_options = { .format = FORMAT_AUTO };

/* Open a file of this text and read its first record. */
static int read_first(struct conversation *c, const char *text, size_t n,
                      const struct records_options *o, struct err *e)
{
    struct records *r;
    int code = records_open(&r, temp_file_n("first.jsonl", text, n), o, e);
    if (code) return code;
    bool more = false;
    code = records_next(r, c, &more, e);
    if (!code) assert_true(more);
    records_close(r);
    return code;
}

static void read_ok(struct conversation *c, const char *text)
{
    struct err e;
    assert_ok(read_first(c, text, strlen(text), &auto_options, &e), &e);
}

static void assert_turn(const struct conversation *c, size_t i, enum role role, const char *text,
                        const char *input, bool train)
{
    assert_true(i < c->n);
    const struct turn *t = &c->turns[i];
    assert_int_equal(t->role, role);
    assert_text(t->text, t->n, text);
    assert_int_equal(t->text[t->n], 0);
    if (input) {
        assert_non_null(t->input);
        assert_text(t->input, t->input_n, input);
    } else {
        assert_null(t->input);
    }
    assert_int_equal(t->train, train);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static void alpaca(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    read_ok(&c,
            "{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\", \"text\": \"x\"}");
    assert_int_equal(c.kind, RECORD_ALPACA);
    assert_int_equal(c.n, 2);
    assert_turn(&c, 0, ROLE_USER, "Add.", "1 2", false);
    assert_turn(&c, 1, ROLE_ASSISTANT, "3", NULL, true);
    static const char *const without[] = {
        "{\"instruction\": \"Add.\", \"output\": \"\"}",
        "{\"instruction\": \"Add.\", \"input\": \"\", \"output\": \"\"}",
        "{\"instruction\":\"Add.\",\"input\":null,\"system\":null,\"output\":\"\"}",
        "{\"instruction\": \"Add.\", \"system\": \"\", \"history\": [], \"output\": \"\"}",
        "{\"instruction\": \"Add.\", \"history\": null, \"output\": \"\"}",
    };
    for (size_t i = 0; i < 5; i++) {
        read_ok(&c, without[i]);
        assert_int_equal(c.n, 2);
        assert_turn(&c, 0, ROLE_USER, "Add.", NULL, false);
        assert_turn(&c, 1, ROLE_ASSISTANT, "", NULL, true);
    }
    read_ok(&c, "{\"system\":\"S\",\"history\":[[\"a\",\"b\"],[\"c\",\"d\"]],\"instruction\":\"e\","
                "\"input\":\"f\",\"output\":\"g\"}");
    assert_int_equal(c.n, 7);
    assert_turn(&c, 0, ROLE_SYSTEM, "S", NULL, false);
    assert_turn(&c, 3, ROLE_USER, "c", NULL, false);
    assert_turn(&c, 4, ROLE_ASSISTANT, "d", NULL, true);
    assert_turn(&c, 5, ROLE_USER, "e", "f", false);
    read_ok(&c, "{\"instruction\":\"a\",\"context\":\"b\",\"response\":\"c\",\"category\":\"d\"}");
    assert_int_equal(c.kind, RECORD_ALPACA);
    assert_turn(&c, 0, ROLE_USER, "a", "b", false);
    assert_turn(&c, 1, ROLE_ASSISTANT, "c", NULL, true);
    conversation_free(&c);
}

static void messages(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    read_ok(&c, "{\"id\": 7, \"messages\": [{\"role\":\"developer\",\"content\":\"s\"},"
                "{\"content\":\"u\",\"role\":\"user\",\"train\":false},"
                "{\"role\":\"assistant\",\"content\":\"a\",\"weight\":0},"
                "{\"role\":\"user\",\"content\":\"\",\"weight\":0},"
                "{\"role\":\"assistant\",\"content\":\"b\",\"train\":true,\"weight\":1.0},"
                "{\"role\":\"assistant\",\"content\":\"c\",\"train\":false,\"tool_calls\":[]},"
                "{\"role\":\"assistant\",\"content\":\"d\",\"train\":null,\"tool_calls\":null}]}");
    assert_int_equal(c.kind, RECORD_CHAT);
    assert_int_equal(c.n, 7);
    assert_turn(&c, 0, ROLE_SYSTEM, "s", NULL, false);
    assert_turn(&c, 1, ROLE_USER, "u", NULL, false);
    assert_turn(&c, 2, ROLE_ASSISTANT, "a", NULL, false);
    assert_turn(&c, 3, ROLE_USER, "", NULL, false);
    assert_turn(&c, 4, ROLE_ASSISTANT, "b", NULL, true);
    assert_turn(&c, 5, ROLE_ASSISTANT, "c", NULL, false);
    assert_turn(&c, 6, ROLE_ASSISTANT, "d", NULL, true);
    conversation_free(&c);
}

static void prompt_completion(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    static const char *const records[] = {
        "{\"prompt\":\"p\",\"completion\":\"c\"}",
        "{\"question\":\"p\",\"answer\":\"c\"}",
        "{\"instruction\":\"p\",\"response\":\"c\"}",
        "{\"input\":\"p\",\"output\":\"c\"}",
        "{\"INSTRUCTION\":\"p\",\"RESPONSE\":\"c\"}",
        "{\"query\":\"p\",\"response\":\"c\"}",
        "{\"prompt\":\"p\",\"response\":\"c\"}",
        "{\"question\":\"p\",\"response\":\"c\"}",
        "{\"system\":\"\",\"system_prompt\":\"\",\"question\":\"p\",\"response\":\"c\"}",
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        read_ok(&c, records[i]);
        assert_int_equal(c.kind, RECORD_CHAT);
        assert_int_equal(c.n, 2);
        assert_turn(&c, 0, ROLE_USER, "p", NULL, false);
        assert_turn(&c, 1, ROLE_ASSISTANT, "c", NULL, true);
    }
    read_ok(&c, "{\"system_prompt\":\"s\",\"question\":\"p\",\"response\":\"c\"}");
    assert_int_equal(c.n, 3);
    assert_turn(&c, 0, ROLE_SYSTEM, "s", NULL, false);
    struct records_options o = { .columns = { .prompt = "Frage", .completion = "system" } };
    const char *own = "{\"Frage\":\"p\",\"system\":\"c\",\"instruction\":\"x\",\"output\":\"y\"}";
    struct err e;
    assert_ok(read_first(&c, own, strlen(own), &o, &e), &e);
    assert_int_equal(c.n, 2);
    assert_turn(&c, 0, ROLE_USER, "p", NULL, false);
    assert_turn(&c, 1, ROLE_ASSISTANT, "c", NULL, true);
    conversation_free(&c);
}

static void text_and_tokens(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    read_ok(&c, "{\"text\":\"a\\u0000b\\ud83d\\ude00\"}");
    assert_int_equal(c.kind, RECORD_TEXT);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.turns[0].n, 7);
    assert_memory_equal(c.turns[0].text, "a\0b\xf0\x9f\x98\x80", 8);
    read_ok(&c,
            "{\"input_ids\":[5,6,2147483647],\"labels\":[-100,6,-100],\"attention_mask\":[1,1,1]}");
    assert_int_equal(c.kind, RECORD_TOKENS);
    assert_int_equal(c.n_ids, 3);
    assert_int_equal(c.ids[2], INT32_MAX);
    assert_int_equal(c.labels[0], LABEL_NONE);
    assert_int_equal(c.labels[1], 6);
    read_ok(&c, "{\"input_ids\":[5,0],\"labels\":null}");
    assert_int_equal(c.n_ids, 2);
    assert_int_equal(c.labels[0], 5);
    assert_int_equal(c.labels[1], 0);
    conversation_free(&c);
}

/* Storage that grows moves the texts; the turns must still point at them. */
static void many_turns(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    struct err e;
    char text[64];
    for (int round = 0; round < 2; round++) {
        conversation_clear(&c, RECORD_ALPACA);
        for (int i = 0; i < 500; i++) {
            int n = snprintf(text, sizeof text, "turn %d of %d", i, round);
            assert_ok(conversation_add(&c, i % 2 ? ROLE_ASSISTANT : ROLE_USER, text, (size_t)n, &e),
                      &e);
            assert_ok(conversation_add_input(&c, text + 5, i % 3 ? 1 : 0, &e), &e);
        }
        for (int i = 0; i < 500; i++) {
            char input[2] = { 0 };
            snprintf(text, sizeof text, "turn %d of %d", i, round);
            input[0] = text[5];
            assert_turn(&c, (size_t)i, i % 2 ? ROLE_ASSISTANT : ROLE_USER, text,
                        i % 3 ? input : NULL, i % 2);
        }
    }
    conversation_free(&c);
}

static void names(void **state)
{
    (void)state;
    struct str all = { 0 };
    for (size_t f = 0; f < FORMATS; f++) {
        enum data_format found;
        const char *name = data_format_name((enum data_format)f);
        assert_true(data_format_named(&found, name));
        assert_int_equal(found, f);
        str_addf(&all, "%s%s", f ? " " : "", name);
    }
    assert_string_equal(all.p, "auto alpaca sharegpt messages prompt_completion oasst "
                               "oasst_threads segments text tokens");
    assert_string_equal(data_format_names(), "auto tokens segments oasst_threads oasst sharegpt "
                                             "messages alpaca prompt_completion text");
    str_free(&all);
    enum data_format f;
    assert_false(data_format_named(&f, "alpacas"));
}

/* ---- containers ------------------------------------------------------------------------------ */

struct container {
    const char *text;
    const char *answers; /* the completions, one character each */
    size_t lines[4];
};

static void containers(void **state)
{
    (void)state;
#define P(c) "{\"prompt\":\"p\",\"completion\":\"" #c "\"}"
    static const struct container files[] = {
        { P(a) "\n" P(b) "\n", "ab", { 1, 2 } },
        { P(a) "\n" P(b), "ab", { 1, 2 } },
        { "\xef\xbb\xbf" P(a) "\r\n\r\n \t\r\n" P(b) "\r\n", "ab", { 1, 4 } },
        { "\n\n" P(a) "\n\n\n" P(b) "\n\n", "ab", { 3, 6 } },
        { "[" P(a) "," P(b) "]", "ab", { 1, 1 } },
        { "\xef\xbb\xbf\r\n [\r\n" P(a) "\r\n,\r\n" P(b) "\r\n]\r\n", "ab", { 3, 5 } },
        { "[\n  {\"prompt\": \"[{]}\\\\\\\"],\",\n   \"completion\":\n\"a\"},\n" P(b) "]\n",
          "ab",
          { 2, 5 } },
        { "[" P(a) "]", "a", { 1 } },
        /* U+2028 and U+0085 are not line ends */
        { "{\"prompt\":\"\xe2\x80\xa8\xc2\x85\",\"completion\":\"a\"}\n" P(b), "ab", { 1, 2 } },
        { "  " P(a) "  \n\t" P(b), "ab", { 1, 2 } },
    };
    struct conversation c = { 0 };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct records *r;
        struct err e;
        assert_ok(records_open(&r, temp_file("container", files[i].text), &auto_options, &e), &e);
        assert_int_equal(records_format(r), FORMAT_PROMPT_COMPLETION);
        bool more;
        for (size_t j = 0; files[i].answers[j]; j++) {
            assert_ok(records_next(r, &c, &more, &e), &e);
            assert_true(more);
            assert_int_equal(c.turns[1].text[0], files[i].answers[j]);
            assert_int_equal(records_line(r), files[i].lines[j]);
        }
        for (int again = 0; again < 2; again++) {
            assert_ok(records_next(r, &c, &more, &e), &e);
            assert_false(more);
        }
        records_close(r);
    }
    conversation_free(&c);
}

/* After a malformed record the reader continues with the next. */
static void going_on(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{\"bad\":1}\n" P(a) "\n{\"prompt\":\"p\"}\nnonsense\n" P(b) "\n{\"prompt\":\"p\",",
        "[{\"bad\":1}," P(a) ",,{\"prompt\":\"p\"}," P(b) "}"
                                                          "," P(c) ",]",
        "[1," P(a) ",[[]]," P(b) ",{\"prompt\": \"unclosed}]",
    };
    static const char *const want[] = { "!a!!b!", "!a!!!c!", "!a!b!" };
    struct conversation c = { 0 };
    for (size_t i = 0; i < 3; i++) {
        struct records *r;
        struct err e;
        assert_ok(records_open(&r, temp_file("going_on", files[i]), &auto_options, &e), &e);
        char seen[16] = { 0 };
        bool more = true;
        for (size_t j = 0; j < 15; j++) {
            int code = records_next(r, &c, &more, &e);
            if (!code && !more) break;
            seen[j] = code ? '!' : c.turns[1].text[0];
        }
        assert_string_equal(seen, want[i]);
        records_close(r);
    }
    conversation_free(&c);
}

/* Memory that was released is not resident any more, and still reads the same. */
static void released(void **state)
{
    (void)state;
    enum { RECORDS = 4000 };
    struct str s = { 0 };
    for (size_t i = 0; i < RECORDS; i++) {
        str_addf(&s, "{\"text\": \"%zu ", i);
        for (size_t j = 0; j < 2000; j++) str_addc(&s, (char)('a' + (i + j) % 26));
        str_addz(&s, "\"}\n");
    }
    struct records *r;
    struct err e;
    struct record_slice first = { 0 }, slice;
    struct conversation c = { 0 };
    bool more = true;
    assert_ok(records_open(&r, temp_file_n("released", s.p, s.n), &auto_options, &e), &e);
    str_free(&s);
    size_t before = machine_memory_resident(), most = 0;
    for (size_t n = 0; more; n++) {
        assert_ok(records_slice(r, &slice, &more, &e), &e);
        if (n == 0) first = slice;
        if (n % 100 == 0) records_release(r);
        size_t now = n % 50 == 0 ? machine_memory_resident() : 0;
        if (most < now) most = now;
    }
    if (!SANITIZED) assert_true(most < before + (4 << 20)); /* of 8 MB */
    assert_ok(records_parse(r, &first, &c, &e), &e);
    assert_memory_equal(c.turns[0].text, "0 abcdef", 8);
    conversation_free(&c);
    records_close(r);
}

/* A backslash in front of a line end is malformed, and the line still ends there. */
static void lines_behind_malformed(void **state)
{
    (void)state;
    struct records *r;
    struct conversation c = { 0 };
    struct err e;
    bool more;
    const char *path = temp_file("lines", "[{\"prompt\":\"\\\n\"},\n" P(a) "]");
    assert_ok(records_open(&r, path, &auto_options, &e), &e);
    assert_int_equal(records_next(r, &c, &more, &e), ERR_FAIL);
    assert_ok(records_next(r, &c, &more, &e), &e);
    assert_int_equal(records_line(r), 3);
    records_close(r);
    conversation_free(&c);
}

/* ---- what is refused ------------------------------------------------------------------------- */

struct bad {
    const char *text, *message; /* a part of it */
    enum data_format format;
};

#define SECRET "s3cret" /* stands for a record's text, which no message may show */

static const struct bad bad_records[] = {
    /* JSON */
    { "{\"prompt\":\"" SECRET "\",", "first.jsonl:1: not valid JSON at byte ", FORMAT_TEXT },
    { "{\n\"text\":\"" SECRET "\"}", "first.jsonl:1: not valid JSON at byte ", FORMAT_TEXT },
    { "{\n\"text\":\"" SECRET "\"}", "wanted one object on this line", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\"} {\"text\":\"b\"}", ":1: not valid JSON", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\",\"text\":\"b\"}", "duplicate object key", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\",\"x\":NaN}", ":1: not valid JSON", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\\ud800\"}", ":1: not valid JSON", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\\udc00\"}", ":1: not valid JSON", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\xff\"}", ":1: not valid UTF-8 at byte ", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\xc0\xaf\"}", ":1: not valid UTF-8 at byte ", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\xed\xa0\x80\"}", ":1: not valid UTF-8 at byte ", FORMAT_TEXT },
    { "{\"text\":\"" SECRET "\t\"}", ":1: not valid JSON", FORMAT_TEXT },
    { "{\"text\":'" SECRET "'}", ":1: not valid JSON", FORMAT_TEXT },
    { SECRET, ":1: not valid JSON", FORMAT_TEXT },
    { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
      "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
      ":1 (record 1): JSON nested deeper than 64", FORMAT_TEXT },
    /* containers */
    { "", "holds no records", FORMAT_AUTO },
    { "\xef\xbb\xbf \n\n", "holds no records", FORMAT_TEXT },
    { " [ ]\n", "its array is empty", FORMAT_TEXT },
    { "[\n{\"text\":\"" SECRET "\"", ":2: the array that begins the file has no end", FORMAT_TEXT },
    { "[{\"text\":\"" SECRET "]", ":1: the array that begins the file has no end", FORMAT_TEXT },
    { "[", ":1: the array that begins the file has no end", FORMAT_TEXT },
    { "[,{\"text\":\"" SECRET "\"}]", ":1 (record 1): found nothing between two commas",
      FORMAT_TEXT },
    { "[\n\"" SECRET "\"]", ":2 (record 1): found a string, wanted an object", FORMAT_TEXT },
    { "7", ":1: found an integer, wanted an object", FORMAT_TEXT },
    { "\x1f\x8b\x08", "first.jsonl: the compressed data ends early", FORMAT_AUTO },
    { "\x1f\x8b\x09.......text", "damaged compressed data (unknown compression method)",
      FORMAT_AUTO },
    { "\x28\xb5\x2f\xfd", "first.jsonl: the compressed data ends early", FORMAT_AUTO },
    { "\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
      "damaged compressed data", FORMAT_AUTO },
    { "BZh91AY", "first.jsonl: is compressed with bzip2, wanted gzip, zstd or", FORMAT_AUTO },
    { "PAR1....", "is a Parquet file", FORMAT_TEXT },
    { "\xff\xfe{", "is UTF-16", FORMAT_TEXT },
    /* auto */
    { "{\"a\":\"" SECRET "\",\"b\\u202e\":1}\n",
      ":1: keys: found \"a\", \"b\\xe2\\x80\\xae\"; wanted those of tokens (input_ids), segments",
      FORMAT_AUTO },
    { "{}", ":1: keys: found none; wanted", FORMAT_AUTO },
    { "null", ":1: found null, wanted an object", FORMAT_AUTO },
    { "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1}", "\"f\", ...; wanted",
      FORMAT_AUTO },
    /* alpaca */
    { "{\"output\":\"" SECRET "\"}", ":1: instruction: found nothing, wanted a string",
      FORMAT_ALPACA },
    { "{\"instruction\":\"" SECRET "\"}", ":1: output: found nothing, wanted a string",
      FORMAT_ALPACA },
    { "{\"instruction\":\"" SECRET "\",\"response\":{}}",
      ":1: response: found an object, wanted a string", FORMAT_ALPACA },
    { "{\"instruction\":\"" SECRET "\",\"output\":null}", ":1: output: found null, wanted a string",
      FORMAT_AUTO },
    { "{\"instruction\":\"" SECRET "\",\"input\":[],\"output\":\"\"}",
      ":1: input: found an array, wanted a string", FORMAT_AUTO },
    { "{\"instruction\":\"" SECRET "\",\"system\":1,\"output\":\"\"}",
      ":1: system: found an integer, wanted a string", FORMAT_AUTO },
    { "{\"instruction\":\"" SECRET "\",\"history\":{},\"output\":\"\"}",
      ":1: history: found an object, wanted an array of [user, assistant] pairs", FORMAT_AUTO },
    { "{\"instruction\":\"" SECRET "\",\"history\":[[\"a\",\"b\"],\"" SECRET "\"],\"output\":\"\"}",
      ":1: history[1]: found a string, wanted a [user, assistant] pair", FORMAT_AUTO },
    { "{\"instruction\":\"" SECRET "\",\"history\":[[\"" SECRET "\"]],\"output\":\"\"}",
      ":1: history[0]: found an array of 1, wanted a [user, assistant] pair", FORMAT_AUTO },
    { "{\"instruction\":\"" SECRET "\",\"history\":[[\"a\",[]]],\"output\":\"\"}",
      ":1: history[0][1]: found an array, wanted a string", FORMAT_AUTO },
    /* messages */
    { "{\"messages\":\"" SECRET "\"}", ":1: messages: found a string, wanted an array",
      FORMAT_AUTO },
    { "{\"message\":[]}", ":1: messages: found nothing, wanted an array", FORMAT_MESSAGES },
    { "{\"messages\":[]}", ":1: messages: found an empty array, wanted at least one", FORMAT_AUTO },
    { "{\"messages\":[\"" SECRET "\"]}", ":1: messages[0]: found a string, wanted an object",
      FORMAT_AUTO },
    { "{\"messages\":[{\"content\":\"" SECRET "\"}]}",
      ":1: messages[0].role: found nothing, wanted system, user, assistant or tool", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"parrot\",\"content\":\"" SECRET "\"}]}",
      ":1: messages[0].role: found \"parrot\", wanted system, user, assistant or tool",
      FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"" SECRET " that is long enough to be text\"}]}",
      ":1: messages[0].role: found a long string, wanted system", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"user\\u0000\",\"content\":\"" SECRET "\"}]}",
      ":1: messages[0].role: found \"user\\x00\", wanted system", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"" SECRET "\"},{\"role\":\"assistant\"}]}",
      ":1: messages[1].content: found nothing, wanted a string", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"user\",\"content\":{\"text\":\"" SECRET "\"}}]}",
      ":1: messages[0].content: found an object, wanted a string", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"assistant\",\"content\":\"" SECRET "\",\"train\":1}]}",
      ":1: messages[0].train: found an integer, wanted true or false", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"assistant\",\"content\":\"" SECRET "\",\"weight\":0.5}]}",
      ":1: messages[0].weight: found a number, wanted 0 or 1", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"assistant\",\"content\":\"" SECRET
      "\",\"weight\":1,\"train\":false}]}",
      ":1: messages[0].weight: found the opposite of train", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"" SECRET "\",\"train\":true}]}",
      ":1: messages[0]: found a user message to be trained", FORMAT_AUTO },
    { "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{}]}]}",
      ":1: messages[0].tool_calls[0]: found nothing, wanted a call", FORMAT_AUTO },
    /* prompt_completion */
    { "{\"prompt\":\"" SECRET "\"}", ":1: completion: found nothing, wanted a string",
      FORMAT_PROMPT_COMPLETION },
    { "{\"frage\":\"" SECRET "\"}", ":1: prompt, completion: found neither",
      FORMAT_PROMPT_COMPLETION },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"" SECRET "\"}]}",
      ":1: keys: found a record of the format messages, wanted prompt_completion",
      FORMAT_PROMPT_COMPLETION },
    { "{\"prompt\":[{\"a\":\"" SECRET "\"}],\"completion\":\"\"}",
      ":1: prompt: found an array, wanted a string", FORMAT_AUTO },
    { "{\"question\":\"" SECRET "\",\"answer\":{}}", ":1: answer: found an object, wanted a string",
      FORMAT_AUTO },
    /* text */
    { "{\"texts\":\"" SECRET "\"}", ":1: text: found nothing, wanted a string", FORMAT_TEXT },
    { "{\"text\":[\"" SECRET "\"]}", ":1: text: found an array, wanted a string", FORMAT_AUTO },
    /* tokens */
    { "{\"input_ids\":5}", ":1: input_ids: found an integer, wanted an array of integers",
      FORMAT_AUTO },
    { "{\"input_ids\":[]}", ":1: input_ids: found an empty array, wanted at least one id",
      FORMAT_AUTO },
    { "{\"input_ids\":[1,\"" SECRET "\"]}", ":1: input_ids[1]: found a string, wanted an integer",
      FORMAT_AUTO },
    { "{\"input_ids\":[1.0]}", ":1: input_ids[0]: found a number, wanted an integer", FORMAT_AUTO },
    { "{\"input_ids\":[-1]}", ":1: input_ids[0]: found -1, wanted 0 to 2147483647", FORMAT_AUTO },
    { "{\"input_ids\":[2147483648]}", ":1: input_ids[0]: found 2147483648, wanted 0 to",
      FORMAT_AUTO },
    { "{\"input_ids\":[1],\"labels\":1}", ":1: labels: found an integer, wanted an array",
      FORMAT_AUTO },
    { "{\"input_ids\":[1,2],\"labels\":[1]}", ":1: labels: found 1, wanted 2, as many as input_ids",
      FORMAT_AUTO },
    { "{\"input_ids\":[1,2],\"labels\":[1,true]}", ":1: labels[1]: found true, wanted an integer",
      FORMAT_AUTO },
    { "{\"input_ids\":[1,2],\"labels\":[1,3]}",
      ":1: labels[1]: found an id that differs from input_ids[1]", FORMAT_AUTO },
    { "{\"input_ids\":[1,2],\"labels\":[-100,-101]}", ":1: labels[1]: found an id that differs",
      FORMAT_AUTO },
};

static void refusals(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    for (size_t i = 0; i < sizeof bad_records / sizeof *bad_records; i++) {
        const struct bad *b = &bad_records[i];
        struct records_options o = { .format = b->format };
        struct err e = { 0 };
        int code = read_first(&c, b->text, strlen(b->text), &o, &e);
        if (code != ERR_FAIL) fail_msg("%zu: %s: accepted", i, b->text);
        assert_message(&e, b->message);
        assert_null(strstr(e.msg, SECRET));
    }
    conversation_free(&c);
}

static void refused_options(void **state)
{
    (void)state;
    struct err e;
    struct records *r = NULL;
    const char *path = temp_file("options", P(a));
    struct records_options one = { FORMAT_PROMPT_COMPLETION, { .prompt = "p" } };
    assert_int_equal(records_open(&r, path, &one, &e), ERR_USAGE);
    assert_message(&e, "data.columns");
    struct records_options other = { FORMAT_MESSAGES, { .prompt = "p", .completion = "q" } };
    assert_int_equal(records_open(&r, path, &other, &e), ERR_USAGE);
    assert_message(&e, "messages");
    assert_int_equal(records_open(&r, "/nonexistent/x.jsonl", &auto_options, &e), ERR_FAIL);
    assert_message(&e, "/nonexistent/x.jsonl");
    assert_int_equal(records_open(&r, "/dev/zero", &auto_options, &e), ERR_FAIL);
    assert_int_equal(records_open(&r, "/tmp", &auto_options, &e), ERR_FAIL);
    assert_null(r);
}

/* A record beyond the limit is refused, and the next one is read. */
static void too_long(void **state)
{
    (void)state;
    struct str s = { 0 };
    str_addz(&s, "{\"text\":\"");
    for (size_t i = 0; i < RECORD_BYTES / 64 + 1; i++) {
        str_addz(&s, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    }
    str_addz(&s, "\"}\n{\"text\":\"short\"}\n");
    struct records_options o = { .format = FORMAT_TEXT };
    struct records *r;
    struct conversation c = { 0 };
    struct err e;
    bool more;
    const char *path = temp_file_n("long", s.p, s.n);
    assert_ok(records_open(&r, path, &o, &e), &e);
    assert_int_equal(records_next(r, &c, &more, &e), ERR_FAIL);
    assert_message(&e, ":1: found a record of 6710");
    assert_ok(records_next(r, &c, &more, &e), &e);
    assert_text(c.turns[0].text, c.turns[0].n, "short");
    records_close(r);
    conversation_free(&c);
    str_free(&s);
    unlink(path);
}

/* Every prefix of a file, and every file with one byte replaced: no crash, a message or a record.
 */
static void mangled(void **state)
{
    (void)state;
    static const char text[] =
        "[{\"messages\":[{\"role\":\"user\",\"content\":\"a\\n\\u00e9\"},{\"role\":\"assistant\","
        "\"content\":\"b\",\"weight\":1}]},\n{\"messages\":[{\"role\":\"assistant\",\"content\":"
        "\"\"}]}]";
    static const char put[] = { '"', '[', ']', '{', '}', ',', '\\', '\n', 0, (char)0xff, '0' };
    struct conversation c = { 0 };
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (size_t j = 0; j <= sizeof put; j++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            size_t n = j < sizeof put ? sizeof text - 1 : i;
            if (j < sizeof put) copy[i] = put[j];
            struct records *r;
            struct err e = { 0 };
            if (records_open(&r, temp_file_n("mangled", copy, n), &auto_options, &e)) {
                assert_true(e.code && e.msg[0]);
                continue;
            }
            bool more = true;
            for (size_t k = 0; more; k++) {
                assert_true(k < 400);
                if (records_next(r, &c, &more, &e)) assert_true(e.msg[0]);
            }
            records_close(r);
        }
    }
    conversation_free(&c);
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* A message, beginning with the file's name. */
static const char *without_directory(const char *message, const char *name)
{
    char slashed[64];
    snprintf(slashed, sizeof slashed, "/%s", name);
    const char *at = strstr(message, slashed);
    return at ? at + 1 : message;
}

/* The records of a file as "U text / A text", one a line, an input after "+"; or "error: " and the
 * message without the directory. */
static void show_records(struct str *out, const char *name, const char *text, size_t n,
                         const struct records_options *o)
{
    struct records *r;
    struct conversation c = { 0 };
    struct err e = { 0 };
    str_clear(out);
    int code = records_open(&r, temp_file_n(name, text, n), o, &e);
    bool more = !code, opened = !code;
    if (code) str_addf(out, "error: %s\n", without_directory(e.msg, name));
    while (more) {
        code = records_next(r, &c, &more, &e);
        if (!code && !more) break;
        for (size_t i = 0; !code && i < c.n; i++) {
            const struct turn *t = &c.turns[i];
            str_addf(out, "%s%c %s", i ? " / " : "", "SUAT"[t->role], t -> text);
            if (t->input) str_addf(out, " + %s", t->input);
        }
        if (code) str_addf(out, "error: %s", without_directory(e.msg, name));
        str_addc(out, '\n');
    }
    if (opened) records_close(r);
    conversation_free(&c);
}

struct sheet {
    const char *name, *text;
    size_t n;         /* 0: up to its end */
    const char *want; /* the whole, or how an error begins */
};

#define QA "question,answer\n"

static const struct sheet sheets[] = {
    /* separators, by the first line, whatever the name; TSV by its name too */
    { "a.csv", QA "a,b\n", 0, "U a / A b\n" },
    { "a.jsonl", QA "a,b\n", 0, "U a / A b\n" },
    { "a", "prompt;completion\na,1;b;\n", 0,
      "error: a:2: found 3 fields, wanted 2 as in the header" },
    { "a", "prompt;completion\na,1;b,2\n", 0, "U a,1 / A b,2\n" },
    { "a.txt", "instruction\tinput\toutput\na\tx, y;\tb\n", 0, "U a + x, y; / A b\n" },
    { "a.tsv", "question\tanswer\n a \tb \n", 0, "U  a  / A b \n" },
    { "a.csv", "question\tanswer\na\tb\n", 0, "U a / A b\n" },
    { "a.tsv", QA "a,b\n", 0, "U a / A b\n" },
    { "a.csv", "sep=;\r\nquestion;answer\r\na;b\r\n", 0, "U a / A b\n" },
    { "a.csv", "text\nhello, \"x\" \n", 0,
      "error: a.csv:2: byte 8: found a quote inside a field without quotes" },
    { "a.csv", "text\nhello\n\"a, b\"\n", 0, "A hello\nA a, b\n" },
    /* containers of text */
    { "a", "\xef\xbb\xbf" QA "a,b", 0, "U a / A b\n" },
    { "a", "question,answer\r\na,b\r\nc,d\r\n", 0, "U a / A b\nU c / A d\n" },
    { "a", "\n\r\n" QA "\na,b\n,\n\"\",\n \n\nc,d\n\n", 0, "U a / A b\nU c / A d\n" },
    { "a.csv", "\"question\",\"answer\"\n\"a\",\"b\"\n", 0, "U a / A b\n" },
    { "a", "ORC,PAR1,question,answer\n1,2,a,b\n", 0, "U a / A b\n" },
    { "a", "PAR1,question,answer\n2,a,b\n", 0, "U a / A b\n" },
    { "a", " question , answer \n a, b\n", 0, "U  a / A  b\n" },
    { "a", "Question;ANSWER\na;b\n", 0, "U a / A b\n" },
    { "a", "\"ques\ntion\",\"instruction\",output\n1,a,b\n", 0,
      "error: " }, /* no known first name */
    /* quotes */
    { "a", QA "\"a \"\"x\"\"\",\"b,\nc\r\nd\"\ne,f\n", 0, "U a \"x\" / A b,\nc\r\nd\nU e / A f\n" },
    { "a", QA "\"\"\"\",\"\"\n", 0, "U \" / A \n" },
    { "a", QA "a,\"b\"", 0, "U a / A b\n" },
    { "a", QA "\"a\n\nb\",c\nx\nd,e\n", 0,
      "U a\n\nb / A c\nerror: a:5: found 1 field, wanted 2 as in the header" },
    /* a malformed record, and the next one is read */
    { "a", QA "a,b\"c\"\nd,e\n", 0, "error: a:2: byte 4: found a quote inside a field" },
    { "a", QA "a,\"b\"c\nd,e\n", 0, "error: a:2: byte 6: found a quote inside a field" },
    { "a", QA "a,b,c\nd,e\n", 0, "error: a:2: found 3 fields, wanted 2" },
    { "a", QA "a,b\rc,d\n", 0, "error: a:2: found a carriage return inside a field" },
    { "a", QA "a\0,b\n", sizeof QA - 1 + 5, "error: a:2: found a NUL byte" },
    { "a", QA "a,b\xff\n", 0,
      "error: a:2: not valid UTF-8 at byte 4; if the file is LATIN1, convert" },
    /* faults after which reading cannot continue */
    { "a", QA "a,b\n\"c,d\ne,f\n", 0,
      "U a / A b\nerror: a:3: a quote that opens in the record that begins on this line is not "
      "closed" },
    { "a", QA, 0, "error: a: holds a header and no records" },
    { "a", "question,answer", 0, "error: a: holds a header and no records" },
    { "a.csv", "question,question\na,b\n", 0,
      "error: a.csv:1: columns 1 and 2 are both called \"question\"" },
    { "a", ",question,answer\n0,a,b\n", 0, "error: a:1: column 1 has no name" },
    { "a", "question,answer,\na,b,\n", 0,
      "error: a:1: column 3 has no name, wanted one for each column (does each line end in one "
      "separator too many" },
    { "a", "question,,answer\na,,b\n", 0,
      "error: a:1: column 2 has no name, wanted one for each column (name it, or take it out)" },
    { "a.tsv", "\tquestion\tanswer\n0\ta\tb\n", 0, "error: a.tsv:1: column 1 has no name" },
    { "a.csv", "frage,antwort\na,b\n", 0,
      "error: a.csv: header: keys: found \"frage\", \"antwort\"" },
    { "a.csv", "messages,x\na,b\n", 0, "error: a.csv: header: found columns of format messages" },
    { "a.csv", "\"question,answer\na,b\n", 0, "error: a.csv:1: " },
    { "a.csv", "question,ans\xff\na,b\n", 0, "error: a.csv:1: the name of column 2 is not valid" },
    /* JSON by its content; broken JSON is named as such */
    { "a.csv", "{\"prompt\":\"a\",\"completion\":\"b\"}\n", 0, "U a / A b\n" },
    { "a.csv", "[{\"prompt\":\"a\",\"completion\":\"b\"}]", 0, "U a / A b\n" },
    { "a", "\"prompt\": \"a\", \"completion\": \"b\"}\n", 0, "error: a:1: not valid JSON" },
    { "a", "nonsense\n", 0, "error: a:1: not valid JSON" },
    { "a", "Hello, world\n", 0, "error: a:1: not valid JSON" },
    { "a", "question\na\n", 0, "error: a:1: not valid JSON" },
};

static void a_table_is_read(void **state)
{
    (void)state;
    struct str found = { 0 };
    for (size_t i = 0; i < sizeof sheets / sizeof *sheets; i++) {
        const struct sheet *x = &sheets[i];
        show_records(&found, x->name, x->text, x->n ? x->n : strlen(x->text), &auto_options);
        const char *error = strstr(x->want, "error: ");
        size_t n = error ? strlen(x->want) : found.n;
        if (strncmp(found.p, x->want, n) != 0 || (!error && n != strlen(x->want)))
            fail_msg("%zu: found\n%s\nwanted\n%s", i, found.p, x->want);
    }
    str_free(&found);
}

/* Columns of any names, in any format of texts. */
static void columns_name_a_tables_fields(void **state)
{
    (void)state;
    static const char text[] = "id;Frage;Antwort;instruction;output\n1;a;b;c;d\n";
    struct records_options o = { .columns = { .prompt = "Frage", .completion = "Antwort" } };
    struct str found = { 0 };
    show_records(&found, "a", text, sizeof text - 1, &o);
    assert_string_equal(found.p, "U a / A b\n");
    o = (struct records_options){ .format = FORMAT_ALPACA };
    show_records(&found, "a", text, sizeof text - 1, &o);
    assert_string_equal(found.p, "U c / A d\n");
    o = (struct records_options){ .columns = { .prompt = "Frage", .completion = "nothing" } };
    show_records(&found, "a.csv", text, sizeof text - 1, &o);
    assert_non_null(strstr(found.p, "error: a.csv:2: nothing: found nothing"));
    str_free(&found);
}

/* A field of 64 MiB is the limit, the next record is read; and every prefix of a table, and every
 * table with one byte replaced, gives messages or records. */
static void a_table_may_be_anything(void **state)
{
    (void)state;
    static const char text[] = QA "\"a\n\"\"b\"\"\",c\r\nd,\"e\"\n\nf,g\n";
    static const char put[] = { '"', ',', ';', '\t', '\r', '\n', 0, (char)0xff, '{', ' ' };
    struct str found = { 0 };
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (size_t j = 0; j <= sizeof put; j++) {
            char copy[sizeof text];
            memcpy(copy, text, sizeof text);
            if (j < sizeof put) copy[i] = put[j];
            show_records(&found, j % 2 ? "m.csv" : "m", copy, j < sizeof put ? sizeof text - 1 : i,
                         &auto_options);
            assert_true(found.n > 0);
        }
    }
    str_clear(&found);
    struct str large = { 0 };
    str_addz(&large, QA "\"");
    for (size_t i = 0; i < RECORD_BYTES / 64 + 1; i++)
        str_addz(&large, "0123456789,bcdef0123456789abcdef0123456789ab\ndef012345678\"\"bcdef");
    str_addz(&large, "\",b\nc,d\n");
    show_records(&found, "large.csv", large.p, large.n, &auto_options);
    assert_non_null(strstr(found.p, "error: large.csv:2: found a record of 671"));
    assert_non_null(strstr(found.p, "\nU c / A d\n"));
    str_free(&large);
    str_free(&found);
}

/* ---- other files ----------------------------------------------------------------------------- */

static const struct sheet others[] = {
    { "x.xlsx", "PK\x03\x04....[Content_Types].xml....xl/workbook.xml", 0,
      "x.xlsx: is an Excel workbook: save the sheet as CSV" },
    { "x.ods", "PK\x03\x04..mimetypeapplication/vnd.oasis.opendocument.spreadsheet", 0,
      "x.ods: is an OpenDocument spreadsheet: save the sheet as CSV" },
    { "x.docx", "PK\x03\x04..word/document.xml", 0, "is a Word document" },
    { "x.zip", "PK\x03\x04..data.jsonl", 0, "is a zip archive: unpack it first" },
    { "x.xls", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", 0, "old Office file (.xls, .doc): save" },
    { "it's.parquet", "PAR1\x15\x04....PAR1", 0,
      "is a Parquet file: convert it to JSONL with: python3 -c 'import sys, pandas; a = sys.argv; "
      "pandas.read_parquet(a[1]).to_json(a[2]" },
    { "it's.parquet", "PAR1\x15\x04....PAR1", 0, "it'\\''s.parquet' '" },
    { "it's.parquet", "PAR1\x15\x04....PAR1", 0, "it'\\''s.jsonl'" },
    { "x.arrow", "ARROW1\x01\x02", 0, "is an Arrow file: convert it to JSONL with: python3 -c" },
    { "x.arrow", "\xff\xff\xff\xff\x10", 0, "is an Arrow stream: convert it" },
    { "x.feather", "FEA1\x01", 0, "is a Feather file" },
    { "x.db", "SQLite format 3\0....", 20, "is an SQLite database" },
    { "x.pkl", "\x80\x04\x95..", 0, "is a Python pickle" },
    { "x.npy", "\x93NUMPY\x01", 0, "is a NumPy array" },
    { "x.7z", "7z\xbc\xaf\x27\x1c", 0, "is a 7z archive" },
    { "x.xz",
      "\xfd"
      "7zXZ\1",
      0, "is compressed with xz" },
    { "x.pdf", "%PDF-1.7\n", 0, "is a PDF document" },
    { "x.jsonl", "<!DOCTYPE html>", 0, "is a web page" },
    { "x.jsonl", "version https://git-lfs.github.com/spec/v1\n", 0, "git lfs pull" },
    /* encodings, with the line that converts */
    { "u.csv", "\xff\xfeq\0,\0a\0", 8,
      "u.csv: is UTF-16, wanted UTF-8; convert it: iconv -f UTF-16" },
    { "u.csv", "\xfe\xff\0q\0,", 6,
      "is UTF-16, wanted UTF-8; convert it: iconv -f UTF-16 -t UTF-8 " },
    { "u.csv", "q\0u\0e\0", 6, "is UTF-16LE, wanted UTF-8; convert it: iconv -f UTF-16LE" },
    { "u.jsonl", "\0{\0\"", 4, "is UTF-16BE, wanted" },
    { "u.jsonl", "{\0\0\0\"\0\0\0", 8, "is UTF-32LE, wanted" },
    { "u.jsonl", "\0\0\0{\0\0\0\"", 8, "is UTF-32BE, wanted" },
    { "u.jsonl", "\xff\xfe\0\0{\0\0\0", 8, "is UTF-32, wanted" },
    { "a b.csv", QA "caf\xe9,b\n", 0,
      "if the file is LATIN1, convert it: iconv -f LATIN1 -t UTF-8 '" },
    { "a b.csv", QA "caf\xe9,b\n", 0, "/utf8-a b.csv'" },
    { "l.csv",
      QA "\x93"
         "a\x94,b\n",
      0, "iconv -f WINDOWS-1252 -t UTF-8 " },
    { "l.jsonl", "{\"prompt\":\"caf\xe9\",\"completion\":\"b\"}\n", 0,
      "l.jsonl:1: not valid UTF-8 at " },
    { "l.jsonl", "{\"prompt\":\"caf\xe9\",\"completion\":\"b\"}\n", 0,
      "iconv -f LATIN1 -t UTF-8 " },
    { "-l.jsonl", "{\"prompt\":\"caf\xe9\",\"completion\":\"b\"}\n", 0,
      "iconv -f LATIN1 -t UTF-8 " },
    { "l\n.csv", QA "\xe9,b\n", 0, "iconv -f LATIN1 -t UTF-8 FILE > utf8-FILE" },
};

static void other_files_are_named(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const struct sheet *x = &others[i];
        struct records *r = NULL;
        struct err e = { 0 };
        bool more;
        const char *path = temp_file_n(x->name, x->text, x->n ? x->n : strlen(x->text));
        int code = records_open(&r, path, &auto_options, &e);
        if (!code) code = records_next(r, &c, &more, &e);
        assert_int_equal(code, ERR_FAIL);
        if (!strstr(e.msg, x->want)) fail_msg("%zu: \"%s\" is not in: %s", i, x->want, e.msg);
        records_close(r);
    }
    /* damaged text is not called text of another alphabet */
    struct err e = { 0 };
    static const char damaged[] = "{\"prompt\":\"caf\xc3\xa9 caf\xff\",\"completion\":\"b\"}\n";
    assert_int_equal(read_first(&c, damaged, sizeof damaged - 1, &auto_options, &e), ERR_FAIL);
    assert_message(&e, "not valid UTF-8 at byte 21");
    assert_null(strstr(e.msg, "iconv"));
    conversation_free(&c);
}

/* ---- real files ------------------------------------------------------------------------------ */

struct real {
    const char *path;
    struct records_options options;
    enum data_format format;
    size_t records, turns;
};

static void real_files(void **state)
{
    (void)state;
    static const struct real files[] = {
        { "gsm8k/train.jsonl", { 0 }, FORMAT_PROMPT_COMPLETION, 7473, 14946 },
        { "gsm8k/train.jsonl",
          { FORMAT_AUTO, { .prompt = "question", .completion = "answer" } },
          FORMAT_PROMPT_COMPLETION,
          7473,
          14946 },
        { "llama-factory-demo/alpaca_en_demo.json", { 0 }, FORMAT_ALPACA, 999, 1998 },
        { "llama-factory-demo/identity.json", { 0 }, FORMAT_ALPACA, 91, 182 },
        { "torchtune-assets/alpaca_tiny.json", { 0 }, FORMAT_ALPACA, 100, 200 },
        { "dolly-fixture/dolly.json",
          { FORMAT_PROMPT_COMPLETION, { .prompt = "instruction", .completion = "response" } },
          FORMAT_PROMPT_COMPLETION,
          12,
          24 },
        { "dolly-fixture/dolly.json", { 0 }, FORMAT_ALPACA, 12, 24 },
        { "oasst/oasst_20230412_fr_top1.jsonl",
          { 0 },
          FORMAT_MESSAGES,
          256,
          2 * 137 + 4 * 116 + 6 * 3 },
        { "vicuna/dummy_conversation.json",
          { 0 },
          FORMAT_SHAREGPT,
          500,
          2 * 167 + 6 * 167 + 4 * 166 },
        { "oasst/en_100_tree.jsonl", { 0 }, FORMAT_OASST, 99, 1155 },
        { "oasst/en_100_tree.jsonl",
          { FORMAT_OASST_THREADS, { 0 } },
          FORMAT_OASST_THREADS,
          99,
          1155 },
        /* 746 questions and answers, 211 calls and their results, 300 lists of tools */
        { "llama-factory-demo/glaive_toolcall_en_demo.json",
          { 0 },
          FORMAT_SHAREGPT,
          300,
          2 * 746 + 2 * 211 + 300 },
        { "llama-factory-demo/dpo_en_demo.json", { 0 }, FORMAT_SHAREGPT, 299, 905 + 299 },
        { "self-instruct-seed/seed_tasks.jsonl", { 0 }, FORMAT_ALPACA, 175, 350 },
        { "torchtune-assets/chat_tiny.json", { 0 }, FORMAT_SHAREGPT, 1, 5 },
        { "torchtune-assets/hh_rlhf_tiny.json", { 0 }, FORMAT_MESSAGES, 1, 2 },
    };
    struct conversation c = { 0 };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = fixture(files[i].path);
        if (!path) skip();
        struct records *r;
        struct err e;
        assert_ok(records_open(&r, path, &files[i].options, &e), &e);
        assert_int_equal(records_format(r), files[i].format);
        size_t n = 0, turns = 0;
        for (bool more = true;; n++) {
            assert_ok(records_next(r, &c, &more, &e), &e);
            if (!more) break;
            turns += c.n;
        }
        assert_int_equal(n, files[i].records);
        assert_int_equal(turns, files[i].turns);
        records_close(r);
    }
    conversation_free(&c);
}

/* The samples that come with the program. */
static void samples(void **state)
{
    (void)state;
    struct conversation c = { 0 };
    for (size_t f = FORMAT_AUTO + 1; f < FORMATS; f++) {
        char path[128];
        snprintf(path, sizeof path, "datasets/sample-%s.jsonl",
                 data_format_name((enum data_format)f));
        struct records *r;
        struct err e;
        assert_ok(records_open(&r, path, &auto_options, &e), &e);
        assert_int_equal(records_format(r), f);
        size_t n = 0;
        for (bool more = true;; n++) {
            assert_ok(records_next(r, &c, &more, &e), &e);
            if (!more) break;
        }
        assert_true(n >= 3);
        records_close(r);
    }
    struct str found = { 0 }, text = { 0 };
    struct err e;
    assert_ok(file_read(&text, "datasets/sample-csv.csv", 1 << 20, &e), &e);
    show_records(&found, "sample", text.p, text.n, &auto_options);
    assert_non_null(strstr(found.p, "What does \"net 30\" mean on our invoices?"));
    assert_non_null(strstr(found.p, "within 30 days\nafter the date"));
    assert_null(strstr(found.p, "error"));
    str_free(&found);
    str_free(&text);
    conversation_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(alpaca, "records: alpaca with input, system and history is read"),
        ENTRY(messages, "records: messages with roles, weights and masks are read"),
        ENTRY(prompt_completion, "records: prompts and answers are read by their names"),
        ENTRY(text_and_tokens, "records: texts and token ids are read as they are"),
        ENTRY(many_turns, "records: turns keep their text while storage grows"),
        ENTRY(names, "records: each format's name names it"),
        ENTRY(containers, "records: JSONL and arrays are read with their lines"),
        ENTRY(going_on, "records: after a malformed record the next one is read"),
        ENTRY(released, "records: memory that was released reads the same again"),
        ENTRY(lines_behind_malformed,
              "records: a malformed line does not shift the lines after it"),
        ENTRY(refusals, "records: a malformed record is refused with its field, without its text"),
        ENTRY(refused_options, "records: options that do not fit the file are refused"),
        ENTRY(too_long, "records: a record beyond the limit is refused and the next one read"),
        ENTRY(mangled, "records: every prefix and every replaced byte gives a message or a record"),
        ENTRY(a_table_is_read, "records: CSV and TSV are read as spreadsheets write them"),
        ENTRY(columns_name_a_tables_fields,
              "records: data.columns names a table's fields in any format"),
        ENTRY(a_table_may_be_anything, "records: every broken table gives messages or records"),
        ENTRY(other_files_are_named, "records: a file of another kind is named as what it is"),
        ENTRY(real_files, "records: published files are read completely"),
        ENTRY(samples, "records: the samples in datasets/ are read"),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
