/* Formats beyond one exchange: ShareGPT, tools, preferences, trees, segments, compressed files. */
#include "tests/data_test.h"

#include <zlib.h>
#include <zstd.h>

#include "src/data/dataset_open.h"
#include "src/data/pass.h"
#include "tests/turns_util.h"

static const struct records_options auto_options = { .format = FORMAT_AUTO };

/* ---- records as text ------------------------------------------------------------------------- */

/* Every record of the file, a line each. */
static void show_file(struct str *out, const char *path, const struct records_options *o)
{
    struct conversation c = { 0 };
    struct records *r;
    struct str one = { 0 };
    struct err e;
    assert_ok(records_open(&r, path, o, &e), &e);
    for (bool more = true;;) {
        assert_ok(records_next(r, &c, &more, &e), &e);
        if (!more) break;
        show(&one, &c);
        if (one.n) str_add(out, one.p, one.n);
        str_addc(out, '\n');
    }
    records_close(r);
    conversation_free(&c);
    str_free(&one);
}

static void assert_record(const char *record, enum data_format format, const char *want)
{
    struct conversation c = { 0 };
    struct str s = { 0 };
    struct records *r;
    struct err e;
    bool more = false;
    assert_ok(records_open(&r, temp_file("one.jsonl", record), &auto_options, &e), &e);
    assert_int_equal(records_format(r), format);
    assert_ok(records_next(r, &c, &more, &e), &e);
    assert_true(more);
    show(&s, &c);
    if (strcmp(s.p, want) != 0) fail_msg("found %s, wanted %s", s.p, want);
    records_close(r);
    conversation_free(&c);
    str_free(&s);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

struct dims {
    const char *record;
    enum data_format format;
    const char *want;
};

static const struct dims shapes[] = {
    { "{\"conversations\":[{\"from\":\"system\",\"value\":\"s\"},{\"from\":\"human\",\"value\":"
      "\"a\"},{\"from\":\"gpt\",\"value\":\"b\"},{\"from\":\"USER\",\"value\":\"c\"},{\"from\":"
      "\"assistant\",\"value\":\"d\",\"train\":false}]}",
      FORMAT_SHAREGPT, "S:s | U:a | A:b | U:c | A-:d" },
    { "{\"system\":\"s\",\"conversations\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
      "\"tool\",\"content\":\"b\"}]}",
      FORMAT_SHAREGPT, "S:s | U:a | T:b" },
    /* lists as exports of tables have them: JSON in a text */
    { "{\"messages\":\"[{\\\"role\\\": \\\"system\\\", \\\"content\\\": \\\"s\\\"}, {\\\"role\\\": "
      "\\\"user\\\", \\\"content\\\": \\\"a\\\"}, {\\\"role\\\": \\\"assistant\\\", "
      "\\\"content\\\": "
      "\\\"b\\\", \\\"train\\\": false}]\"}",
      FORMAT_MESSAGES, "S:s | U:a | A-:b" },
    { "{\"system\":\"s\",\"conversations\":\" "
      "[{\\\"from\\\":\\\"human\\\",\\\"value\\\":\\\"a\\\"},"
      "{\\\"from\\\":\\\"gpt\\\",\\\"value\\\":7}]\\n\"}",
      FORMAT_SHAREGPT, "S:s | U:a | A:7" },
    { "{\"tools\":\"[1]\",\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":"
      "\"function_call\",\"value\":\"b\"},{\"from\":\"observation\",\"value\":\"c\"},{\"from\":"
      "\"gpt\",\"value\":\"d\"}]}",
      FORMAT_SHAREGPT, "S:[1] | U:a | A:b | T:c | A:d" },
    { "{\"tools\":[{\"b\":1,\"a\":\"\\u00e9\"}],\"messages\":[{\"role\":\"system\",\"content\":"
      "\"s\"},{\"role\":\"user\",\"content\":\"a\"}]}",
      FORMAT_MESSAGES, "S:s\n\n[{\"b\": 1, \"a\": \"\xc3\xa9\"}] | U:a" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
      "\"text\",\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
      "\"1\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}},{\"function\":{"
      "\"name\":\"g\",\"arguments\":{\"y\":[]}}}]},{\"role\":\"tool\",\"content\":\"r\"},{\"role\":"
      "\"assistant\",\"content\":\"t\",\"function_call\":{\"name\":\"h\"}}]}",
      FORMAT_MESSAGES,
      "U:ab | A:{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n{\"name\": \"g\", \"arguments\": "
      "{\"y\": []}} | T:r | A:t\n{\"name\": \"h\", \"arguments\": {}}" },
    /* preferences, judgements */
    { "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":\"c\"}", FORMAT_PROMPT_COMPLETION,
      "U:a | A:b" },
    { "{\"instruction\":\"a\",\"input\":\"i\",\"chosen\":\"b\",\"rejected\":\"c\"}", FORMAT_ALPACA,
      "U:a(i) | A:b" },
    { "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"},"
      "{\"from\":\"human\",\"value\":\"c\"}],\"chosen\":{\"from\":\"gpt\",\"value\":\"d\"},"
      "\"rejected\":{\"from\":\"gpt\",\"value\":\"e\"}}",
      FORMAT_SHAREGPT, "U:a | A-:b | U:c | A:d" },
    { "{\"chosen\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
      "\"b\"},{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"d\"}],"
      "\"rejected\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
      "\"b\"},{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"e\"}]}",
      FORMAT_MESSAGES, "U:a | A-:b | U:c | A:d" },
    { "{\"prompt\":\"a\",\"chosen\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
      "\"content\":\"b\"}],\"rejected\":[]}",
      FORMAT_MESSAGES, "U:a | A:b" },
    { "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
      "\"b\"},{\"role\":\"user\",\"content\":\"c\"}],\"completion\":[{\"role\":\"assistant\","
      "\"content\":\"d\"}]}",
      FORMAT_MESSAGES, "U:a | A-:b | U:c | A:d" },
    { "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":true}", FORMAT_PROMPT_COMPLETION,
      "U:a | A:b" },
    { "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":false}", FORMAT_PROMPT_COMPLETION,
      "U:a | A-:b" },
    { "{\"chosen\":\"\\n\\nHuman: a\\n\\nb\\n\\nAssistant: c\\n\\nHuman:d\\n\\nAssistant: "
      "Human: e\",\"rejected\":\"\\n\\nHuman: a\\n\\nAssistant: f\"}",
      FORMAT_PROMPT_COMPLETION, "U:a\n\nb | A-:c | U:d | A:Human: e" },
    /* one instruction, several instances */
    { "{\"instruction\":\"a\",\"instances\":[{\"input\":\"\",\"output\":\"b\"}]}", FORMAT_ALPACA,
      "U:a | A:b" },
    { "{\"instruction\":\"a\",\"instances\":[{\"input\":\"i\",\"output\":\"b\"},{\"output\":"
      "\"c\"}]}",
      FORMAT_ALPACA, "U:a(i) | A<0:b | U:a | A<2:c" },
    /* encoded twice */
    { "\"{\\\"instruction\\\": \\\"a\\\", \\\"output\\\": \\\"b\\\\n\\\"}\"", FORMAT_ALPACA,
      "U:a | A:b\n" },
    { "[\"{\\\"text\\\": \\\"a\\\"}\"]", FORMAT_TEXT, "A:a" },
    /* segments */
    { "{\"segments\":[{\"label\":false,\"text\":\"a\"},{\"label\":true,\"text\":\"b\"}]}",
      FORMAT_SEGMENTS, "U:a | A:b" },
    /* trees */
    { "{\"message_tree_id\":\"t\",\"prompt\":{\"text\":\"a\",\"role\":\"prompter\",\"replies\":["
      "{\"text\":\"b\",\"role\":\"assistant\",\"replies\":[{\"text\":\"c\",\"role\":\"prompter\"},"
      "{\"text\":\"x\",\"role\":\"prompter\",\"deleted\":true,\"replies\":[{\"text\":\"y\","
      "\"role\":"
      "\"assistant\"}]}]},{\"text\":\"d\",\"role\":\"assistant\",\"replies\":[]}]}}",
      FORMAT_OASST, "U:a | A<0:b | U<1:c | A<0:d" },
    { "{\"message_id\":\"1\",\"parent_id\":null,\"role\":\"prompter\",\"text\":\"\\\"parent_id\\\":"
      " "
      "7\"}\n"
      "{\"message_id\":\"2\",\"parent_id\":\"1\",\"role\":\"assistant\",\"text\":\"b\"}\n\n"
      "{\"message_id\":\"3\",\"parent_id\":\"1\",\"role\":\"assistant\",\"text\":\"c\",\"deleted\":"
      "true}\n"
      "{\"message_id\":\"4\",\"parent_id\":\"3\",\"role\":\"prompter\",\"text\":\"d\"}\n"
      "{\"message_id\":\"5\",\"parent_id\":\"2\",\"role\":\"prompter\",\"text\":\"e\"}\n"
      "{\"message_id\":\"6\",\"role\":\"prompter\",\"text\":\"f\"}\n",
      FORMAT_OASST, "U:\"parent_id\": 7 | A<0:b | U<1:e" },
    { "[{\"message_id\":\"1\",\"role\":\"prompter\",\"text\":\"a\"},\n"
      "{\"message_id\":\"2\",\"parent_id\":\"1\",\"role\":\"assistant\",\"text\":\"b\"}]",
      FORMAT_OASST, "U:a | A<0:b" },
    { "{\"thread_id\":\"t\",\"thread\":[{\"text\":\"a\",\"role\":\"prompter\"},{\"text\":\"b\","
      "\"role\":\"assistant\"}]}",
      FORMAT_OASST_THREADS, "U:a | A:b" },
};

static void all_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        assert_record(shapes[i].record, shapes[i].format, shapes[i].want);
    }
}

/* ---- refusals, by kind ----------------------------------------------------------------------- */

static const struct {
    const char *record;
    enum data_format format;
    enum fault fault;
    const char *message;
} refused[] = {
    { "{\"conversations\":7}", FORMAT_SHAREGPT, FAULT_TYPE,
      ":1: conversations: found an integer, wanted an array of messages" },
    { "{\"messages\":\"hello\"}", FORMAT_MESSAGES, FAULT_TYPE,
      "messages: found a string, wanted an array of messages, or a string that holds one as JSON" },
    { "{\"messages\":\"{}\"}", FORMAT_MESSAGES, FAULT_TYPE, "messages: found a string, wanted an" },
    { "{\"messages\":\"\"}", FORMAT_MESSAGES, FAULT_TYPE, "messages: found a string, wanted an" },
    { "{\"conversations\":\"[{'from': 'human', 'value': 'a'}]\"}", FORMAT_SHAREGPT, FAULT_TYPE,
      "conversations: found a string that Python printed (write it with json.dumps), wanted" },
    { "{\"messages\":\"[]\"}", FORMAT_MESSAGES, FAULT_VALUE, "messages: found an empty array" },
    { "{\"messages\":\"[{\\\"role\\\":\\\"x\\\"}]\"}", FORMAT_MESSAGES, FAULT_ROLE,
      "messages[0].role: found \"x\"" },
    { "{\"conversations\":[]}", FORMAT_SHAREGPT, FAULT_VALUE,
      "conversations: found an empty array" },
    { "{\"x\":1}", FORMAT_SHAREGPT, FAULT_KEY, "conversations: found nothing, wanted an array" },
    { "{\"conversations\":[{\"from\":\"parrot\",\"value\":\"a\"}]}", FORMAT_SHAREGPT, FAULT_ROLE,
      "conversations[0].from: found \"parrot\", wanted system, human, gpt, tool" },
    { "{\"conversations\":[{\"from\":\"human\"}]}", FORMAT_SHAREGPT, FAULT_KEY,
      "conversations[0].value: found nothing, wanted a string" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
      FORMAT_MESSAGES, FAULT_KEY,
      "messages[0].content[0].text: found nothing, wanted a string: the part is of type "
      "image_url, and lorac reads only text" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]}", FORMAT_MESSAGES,
      FAULT_KEY, "messages[0].content[0].text: found nothing, wanted a string" },
    { "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[7]}]}",
      FORMAT_MESSAGES, FAULT_TYPE, "messages[0].tool_calls[0]: found an integer, wanted a call" },
    { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"train\":true}]}", FORMAT_MESSAGES,
      FAULT_VALUE, "messages[0]: found a user message to be trained" },
    { "{\"instruction\":\"a\",\"instances\":[]}", FORMAT_ALPACA, FAULT_TYPE,
      "instances: found an array, wanted an array of at least one" },
    { "{\"instruction\":\"a\",\"instances\":[{\"input\":\"b\"}]}", FORMAT_ALPACA, FAULT_KEY,
      "instances[0].output: found nothing" },
    { "{\"segments\":[{\"text\":\"a\"}]}", FORMAT_SEGMENTS, FAULT_KEY,
      "segments[0].label: found nothing, wanted true or false" },
    { "{\"prompt\":{\"text\":\"a\",\"role\":\"assistant\"}}", FORMAT_OASST, FAULT_ORDER,
      "message 1.role: found assistant, wanted prompter: it begins the tree" },
    { "{\"prompt\":{\"text\":\"a\",\"role\":\"prompter\",\"replies\":[{\"text\":\"b\",\"role\":"
      "\"prompter\"}]}}",
      FORMAT_OASST, FAULT_ORDER, "message 2.role: found user, wanted assistant: it answers" },
    { "{\"prompt\":{\"text\":\"a\",\"role\":\"prompter\",\"replies\":{}}}", FORMAT_OASST,
      FAULT_TYPE, "message 1: replies: found an object, wanted an array" },
    { "{\"prompt\":{\"role\":\"prompter\"}}", FORMAT_OASST, FAULT_KEY,
      "message 1.text: found nothing" },
    { "{\"prompt\":{\"text\":\"a\",\"role\":\"prompter\",\"deleted\":true}}", FORMAT_OASST,
      FAULT_VALUE, "prompt: found it deleted" },
    { "{\"prompt\":\"a\"}", FORMAT_OASST, FAULT_TYPE, "prompt: found a string, wanted an object" },
    { "{\"message_id\":\"2\",\"parent_id\":\"1\",\"role\":\"assistant\",\"text\":\"b\"}",
      FORMAT_OASST, FAULT_ORDER, "message 1.parent_id: found none of the messages before it" },
    { "{\"message_id\":2,\"role\":\"assistant\",\"text\":\"b\"}", FORMAT_OASST, FAULT_TYPE,
      "message 1: message_id: found an integer" },
    { "{\"chosen\":\"\\n\\nHuman: a\"}", FORMAT_PROMPT_COMPLETION, FAULT_ORDER,
      "chosen: found a dialogue that ends with the human" },
    { "\"text\"", FORMAT_TEXT, FAULT_TYPE, ":1: found a string, wanted an object" },
    { "nonsense", FORMAT_TEXT, FAULT_JSON, ":1: not valid JSON" },
    { "{\"text\":\"\xff\"}", FORMAT_TEXT, FAULT_UTF8, ":1: not valid UTF-8 at byte 10" },
    { "{\"text\":\"\\ud800\"}", FORMAT_TEXT, FAULT_JSON, ":1: not valid JSON" },
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct records_options o = { .format = refused[i].format };
        struct conversation c = { 0 };
        struct records *r;
        struct err e;
        bool more;
        assert_ok(records_open(&r, temp_file("bad.jsonl", refused[i].record), &o, &e), &e);
        assert_int_equal(records_next(r, &c, &more, &e), ERR_FAIL);
        assert_message(&e, refused[i].message);
        if (c.fault != refused[i].fault) fail_msg("%zu: found kind %d", i, c.fault);
        records_close(r);
        conversation_free(&c);
    }
}

/* Every kind of fault has a name that fits after a number. */
static void fault_names(void **state)
{
    (void)state;
    for (int f = 0; f < FAULTS; f++) assert_true(strlen(fault_name((enum fault)f)) > 3);
}

/* ---- trees as examples ----------------------------------------------------------------------- */

static const struct tokenizer *bytes(void)
{
    static struct tokenizer *t;
    struct err e;
    if (!t) assert_ok(tokenizer_open(&t, byte_tokenizer(), &e), &e);
    return t;
}

static void open_file(struct dataset *d, const char *path, const struct records_options *records,
                      const char *template, const struct data_options *like)
{
    struct data_source s = { .path = path,
                             .records = *records,
                             .template = template ? template_named(template) : NULL,
                             .weight = 1 };
    struct data_options o = *like;
    struct err e;
    struct str notes = { 0 };
    o.train = &s;
    o.n_train = 1;
    assert_ok(dataset_open(d, &o, bytes(), &notes, &e), &e);
    str_free(&notes);
}

/* The examples, " | " between items and "/" inside one; targets between guillemets. */
static void show_examples(struct str *out, const struct examples *x)
{
    for (size_t i = 0, k = 0; i < x->n; i++) {
        bool on = false, first = examples_item(x, k) == i;
        if (first) k++;
        if (i) str_addz(out, first ? " | " : " / ");
        for (size_t j = x->at[i]; j <= x->at[i + 1]; j++) {
            bool now = j < x->at[i + 1] && x->target[j];
            if (now != on) str_addz(out, now ? "\xc2\xab" : "\xc2\xbb");
            on = now;
            if (j < x->at[i + 1]) tokenizer_decode(bytes(), out, &x->ids[j], 1, true, false);
        }
    }
}

#define NODE(text, role, replies)                                                                  \
    "{\"text\":\"" text "\",\"role\":\"" role "\",\"replies\":[" replies "]}"
#define TREE                                                                                       \
    "{\"prompt\":" NODE(                                                                           \
        "a", "prompter",                                                                           \
        NODE("b", "assistant",                                                                     \
             NODE("x", "prompter",                                                                 \
                  NODE("d", "assistant", "") "," NODE(                                             \
                      "e", "assistant", "")) "," NODE("f", "prompter",                             \
                                                      "")) "," NODE("g", "assistant", "")) "}\n"
#define END "<|im_end|>"

static void trees(void **state)
{
    (void)state;
    static const struct {
        enum data_format format;
        enum train_on train_on;
        size_t max_length;
        enum overlong overlong;
        const char *text;
        size_t lost, items;
    } rows[] = {
        /* b once, though it is on two paths; f has no answer */
        { FORMAT_AUTO, TRAIN_ON_RESPONSES, 100, OVERLONG_DROP,
          "a\xc2\xab"
          "b" END "\xc2\xbb"
          "x\xc2\xab"
          "d" END "\xc2\xbb / ab" END "x\xc2\xab"
          "e" END "\xc2\xbb / a\xc2\xabg" END "\xc2\xbb",
          0, 1 },
        { FORMAT_OASST_THREADS, TRAIN_ON_RESPONSES, 100, OVERLONG_DROP,
          "a\xc2\xab"
          "b" END "\xc2\xbb"
          "x\xc2\xab"
          "d" END "\xc2\xbb | a\xc2\xab"
          "b" END "\xc2\xbb"
          "x\xc2\xab"
          "e" END "\xc2\xbb | a\xc2\xabg" END "\xc2\xbb",
          0, 3 },
        { FORMAT_AUTO, TRAIN_ON_LAST_RESPONSE, 100, OVERLONG_DROP,
          "ab" END "x\xc2\xab"
          "d" END "\xc2\xbb / ab" END "x\xc2\xab"
          "e" END "\xc2\xbb / a\xc2\xabg" END "\xc2\xbb",
          0, 1 },
        /* every text, but none twice */
        { FORMAT_AUTO, TRAIN_ON_EVERYTHING, 100, OVERLONG_DROP,
          "a\xc2\xab"
          "b" END "xd" END "\xc2\xbb / ab" END "x\xc2\xab"
          "e" END "\xc2\xbb / a\xc2\xabg" END "\xc2\xbb",
          0, 1 },
        /* both long paths are cut after b; nothing is left of the second */
        { FORMAT_AUTO, TRAIN_ON_RESPONSES, 3, OVERLONG_TRUNCATE,
          "a\xc2\xab"
          "b" END "\xc2\xbb / a\xc2\xabg" END "\xc2\xbb",
          1, 1 },
        { FORMAT_AUTO, TRAIN_ON_RESPONSES, 3, OVERLONG_DROP, "a\xc2\xabg" END "\xc2\xbb", 2, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct records_options records = { .format = rows[i].format };
        struct data_options o = { .render = { .train_on = rows[i].train_on, .train_on_eos = true },
                                  .max_length = rows[i].max_length,
                                  .overlong = rows[i].overlong };
        struct dataset d;
        struct str s = { 0 };
        open_file(&d, temp_file("tree.jsonl", TREE), &records, "plain", &o);
        show_examples(&s, &d.train);
        if (strcmp(s.p, rows[i].text) != 0)
            fail_msg("%zu: found %s, wanted %s", i, s.p, rows[i].text);
        assert_int_equal(d.train_counts.overlong, rows[i].lost);
        assert_int_equal(examples_items(&d.train), rows[i].items);
        dataset_close(&d);
        str_free(&s);
    }
}

/* Of the real trees every answer is learnt once: as many targets as the answers alone have. */
static void real_trees(void **state)
{
    (void)state;
    const char *path = fixture("oasst/en_100_tree.jsonl");
    if (!path) skip();
    struct records *r;
    struct conversation c = { 0 };
    struct tokens t = { 0 };
    struct err e;
    size_t answers = 0;
    assert_ok(records_open(&r, path, &auto_options, &e), &e);
    for (bool more = true;;) {
        assert_ok(records_next(r, &c, &more, &e), &e);
        if (!more) break;
        for (size_t i = 0; i < c.n; i++) {
            if (c.turns[i].role != ROLE_ASSISTANT) continue;
            answers++;
            assert_ok(tokenizer_encode(bytes(), &t, c.turns[i].text, c.turns[i].n, 0, &e), &e);
        }
    }
    records_close(r);
    assert_int_equal(answers, 678);
    struct data_options o = { .render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
                              .max_length = 1 << 20 };
    struct dataset d;
    open_file(&d, path, &auto_options, "chatml", &o);
    assert_int_equal(d.train_counts.records, 99);
    assert_int_equal(examples_items(&d.train), 99);
    /* 393 leaves are answers, and some more are followed only by a prompter */
    assert_true(d.train.n >= 393 && d.train.n < 678);
    /* the header's line feed and a first one of an answer are one token */
    assert_true(d.train_counts.targets <= t.n + answers);
    assert_true(d.train_counts.targets >= t.n + answers - 8);
    /* all trees in one step: what paths share is computed once per pass, each target counts once */
    enum { PASS_TOKENS = 16384 };
    struct batch b;
    size_t weights = 0, separate = 0;
    assert_ok(batch_init(&b, &d.train, 99, PASS_TOKENS, true, &e), &e);
    batch_begin_range(&b, 0, 99);
    for (size_t p = 0; p < b.n_passes; p++) {
        const struct pass *pass = batch_pass(&b, p);
        for (size_t i = 0; i < pass->n_targets; i++) weights += pass->weight[i];
        bool alone = b.first[p + 1] - b.first[p] == 1; /* a path longer than that */
        if (!alone) assert_true(pass->T <= PASS_TOKENS);
    }
    assert_int_equal(b.n, d.train.n);
    assert_int_equal(weights, d.train_counts.targets);
    assert_true(b.n_passes > 10);
    size_t together = b.rows;
    batch_free(&b);
    /* each text once makes 0.68 of the paths' tokens; trees that are cut repeat a part */
    assert_ok(batch_init(&b, &d.train, 99, PASS_TOKENS, false, &e), &e);
    batch_begin_range(&b, 0, 99);
    separate = b.rows;
    assert_true(100 * together < 85 * separate);
    batch_free(&b);
    dataset_close(&d);
    conversation_free(&c);
    tokens_free(&t);
}

/* Every published file is read completely, with its known counts. */
static void real_files(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum data_format format;
        const char *template;
        size_t records, examples, items, chosen;
    } rows[] = {
        { "gsm8k/train.jsonl", FORMAT_AUTO, "alpaca", 7473, 7473, 7473, 0 },
        { "self-instruct-seed/seed_tasks.jsonl", FORMAT_AUTO, "alpaca_stanford", 175, 175, 175, 0 },
        { "vicuna/dummy_conversation.json", FORMAT_AUTO, "vicuna_v1.1", 500, 500, 500, 0 },
        { "oasst/oasst_20230412_fr_top1.jsonl", FORMAT_AUTO, "oasst", 256, 256, 256, 0 },
        { "oasst/en_100_tree.jsonl", FORMAT_AUTO, "oasst", 99, 539, 99, 0 },
        { "oasst/en_100_tree.jsonl", FORMAT_OASST_THREADS, "oasst", 99, 539, 539, 0 },
        { "llama-factory-demo/glaive_toolcall_en_demo.json", FORMAT_AUTO, "vicuna_v1.1", 300, 300,
          300, 0 },
        { "llama-factory-demo/glaive_toolcall_en_demo.json", FORMAT_AUTO, "llama3", 300, 300, 300,
          0 },
        { "llama-factory-demo/dpo_en_demo.json", FORMAT_AUTO, "zephyr", 299, 299, 299, 299 },
        { "llama-factory-demo/alpaca_en_demo.json", FORMAT_AUTO, "alpaca_qlora", 999, 999, 999, 0 },
        { "dolly-fixture/dolly.json", FORMAT_AUTO, "alpaca_lora", 12, 12, 12, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = fixture(rows[i].path);
        if (!path) skip();
        struct records_options records = { .format = rows[i].format };
        struct data_options o = { .render = { .train_on = TRAIN_ON_RESPONSES,
                                              .train_on_eos = true },
                                  .max_length = 1 << 20 };
        struct dataset d;
        open_file(&d, path, &records, rows[i].template, &o);
        assert_int_equal(d.train_counts.records, rows[i].records);
        assert_int_equal(d.train_counts.bad + d.train_counts.overlong, 0);
        assert_int_equal(d.train_counts.without_targets, 0);
        assert_int_equal(d.train_counts.chosen, rows[i].chosen);
        assert_int_equal(d.train.n, rows[i].examples);
        assert_int_equal(examples_items(&d.train), rows[i].items);
        dataset_close(&d);
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

static void segments(void **state)
{
    (void)state;
    struct data_options o = { .render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
                              .max_length = 100 };
    struct dataset d;
    struct str s = { 0 };
    open_file(&d,
              temp_file("segments.jsonl",
                        "{\"segments\":[{\"label\":false,\"text\":\"<|im_start|>a<b>c\"},"
                        "{\"label\":true,\"text\":\"d<|im_end|>e\"},{\"label\":false,\"text\":\"f "
                        "<|im_end|>\"},{\"label\":true,\"text\":\"\"},{\"label\":true,\"text\":"
                        "\"<|im_end|>\"}]}\n"),
              &auto_options, NULL, &o);
    show_examples(&s, &d.train);
    /* "cd" is one token; special tokens that are spelt out are placed; nothing is added */
    assert_string_equal(s.p, "<|im_start|>a<b>\xc2\xab"
                             "cd<|im_end|>e\xc2\xbb"
                             "f <|im_end|>\xc2\xab<|im_end|>\xc2\xbb");
    assert_int_equal(d.train.ids[0], 1);
    assert_int_equal(d.train.ids[d.train.at[1] - 1], 2);
    dataset_close(&d);
    str_free(&s);
}

/* ---- preference data ------------------------------------------------------------------------- */

static void preference_note(void **state)
{
    (void)state;
    struct data_source s = { .path = temp_file("p.jsonl",
                                               "{\"prompt\":\"a\",\"chosen\":\"b\",\"rejected\":"
                                               "\"c\"}\n{\"prompt\":\"a\",\"completion\":\"b\"}\n"),
                             .template = template_named("plain"),
                             .weight = 1 };
    struct data_options o = { .train = &s,
                              .n_train = 1,
                              .render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
                              .max_length = 9 };
    struct dataset d;
    struct str notes = { 0 };
    struct err e;
    assert_ok(dataset_open(&d, &o, bytes(), &notes, &e), &e);
    assert_int_equal(d.train_counts.chosen, 1);
    assert_non_null(strstr(notes.p, "train: 1 record is preference data: trained on what was"));
    dataset_close(&d);
    str_free(&notes);
}

/* ---- compressed ------------------------------------------------------------------------------ */

static size_t gzip(uint8_t *out, size_t room, const char *text, size_t n)
{
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

/* Every cut and every flipped bit is an error or the same text; two parts are one text. */
static void compressed(void **state)
{
    (void)state;
    enum { ROOM = 4096 };
    static const char one[] = "\xef\xbb\xbf{\"text\":\"a\"}\r\n{\"text\":\"b\"}\r\n",
                      two[] = "{\"text\":\"c\"}\n";
    struct str want = { 0 };
    str_addz(&want, "A:a\nA:b\nA:c\n");
    for (int kind = 0; kind < 2; kind++) {
        uint8_t packed[ROOM];
        size_t n, m;
        if (kind == 0) {
            n = gzip(packed, ROOM, one, sizeof one - 1);
            m = gzip(packed + n, ROOM - n, two, sizeof two - 1);
        } else {
            n = ZSTD_compress(packed, ROOM, one, sizeof one - 1, 3);
            m = ZSTD_compress(packed + n, ROOM - n, two, sizeof two - 1, 3);
        }
        struct str got = { 0 };
        show_file(&got, temp_file_n("packed", (char *)packed, n + m), &auto_options);
        assert_string_equal(got.p, want.p);
        for (size_t cut = 3 + kind; cut < n + m; cut++) {
            struct records *r;
            struct err e;
            int code = records_open(&r, temp_file_n("cut", (char *)packed, cut), &auto_options, &e);
            assert_int_equal(code != 0, cut != n);
            if (code) assert_message(&e, "/cut: ");
            records_close(r);
        }
        str_free(&got);
    }
    str_free(&want);
}

/* More than one piece of the unpacker, in parts that do not fit its buffers. */
static void large(void **state)
{
    (void)state;
    enum { RECORDS = 60000 };
    struct str text = { 0 };
    for (int i = 0; i < RECORDS; i++)
        str_addf(&text, "{\"text\":\"number %d of many\"}\n", i * 7919);
    size_t room = ZSTD_compressBound(text.n);
    uint8_t *packed = malloc(room);
    for (int kind = 0; kind < 2; kind++) {
        size_t n = kind ? ZSTD_compress(packed, room, text.p, text.n, 1)
                        : gzip(packed, room, text.p, text.n);
        struct records *r;
        struct record_slice s;
        struct err e;
        bool more = true;
        size_t records = 0;
        assert_ok(records_open(&r, temp_file_n("large", (char *)packed, n), &auto_options, &e), &e);
        for (;; records++) {
            assert_ok(records_slice(r, &s, &more, &e), &e);
            if (!more) break;
        }
        assert_int_equal(records, RECORDS);
        records_close(r);
    }
    free(packed);
    str_free(&text);
}

/* ---- the samples of other shapes ------------------------------------------------------------- */

static void samples(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum data_format format;
        size_t records, turns;
    } rows[] = {
        { "alpaca", FORMAT_ALPACA, 5, 13 },
        { "dolly", FORMAT_ALPACA, 3, 6 },
        { "self-instruct", FORMAT_ALPACA, 3, 8 },
        { "wizardlm", FORMAT_ALPACA, 3, 6 },
        { "sharegpt", FORMAT_SHAREGPT, 3, 12 },
        { "messages", FORMAT_MESSAGES, 3, 0 },
        { "prompt_completion", FORMAT_PROMPT_COMPLETION, 3, 6 },
        { "preference", FORMAT_PROMPT_COMPLETION, 3, 6 },
        { "oasst", FORMAT_OASST, 3, 13 },
        { "oasst-flat", FORMAT_OASST, 3, 13 },
        { "oasst_threads", FORMAT_OASST_THREADS, 3, 8 },
        { "segments", FORMAT_SEGMENTS, 3, 0 },
        { "text", FORMAT_TEXT, 3, 3 },
        { "tokens", FORMAT_TOKENS, 3, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[128];
        struct conversation c = { 0 };
        struct records *r;
        struct err e;
        size_t records = 0, turns = 0;
        snprintf(path, sizeof path, "datasets/sample-%s.jsonl", rows[i].name);
        assert_ok(records_open(&r, path, &auto_options, &e), &e);
        assert_int_equal(records_format(r), rows[i].format);
        for (bool more = true;; records++) {
            assert_ok(records_next(r, &c, &more, &e), &e);
            if (!more) break;
            turns += c.n;
        }
        assert_int_equal(records, rows[i].records);
        if (rows[i].turns && turns != rows[i].turns) fail_msg("%s: %zu turns", rows[i].name, turns);
        records_close(r);
        conversation_free(&c);
    }
    struct str tree = { 0 }, flat = { 0 };
    show_file(&tree, "datasets/sample-oasst.jsonl", &auto_options);
    show_file(&flat, "datasets/sample-oasst-flat.jsonl", &auto_options);
    assert_string_equal(tree.p, flat.p);
    str_free(&tree);
    str_free(&flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(all_shapes, "formats: every format is recognised and read"),
        ENTRY(refusals, "formats: a malformed record is refused with field and kind of fault"),
        ENTRY(fault_names, "formats: each kind of fault has a name that fits after a number"),
        ENTRY(trees, "formats: each answer of a tree is learnt once"),
        ENTRY(real_trees, "formats: real trees have as many targets as answers"),
        ENTRY(real_files, "formats: published files are read completely, with their known counts"),
        ENTRY(segments, "formats: segments are taken as given, special tokens by id"),
        ENTRY(preference_note, "formats: preference data is noted"),
        ENTRY(compressed, "formats: compressed files are read, cut or flipped ones refused"),
        ENTRY(large, "formats: large compressed files are read through all pieces"),
        ENTRY(samples, "formats: the samples in datasets/ have their format and counts"),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
