/* Columns of records: names that mean the same, choices, what a record excludes, and the notes on
 * the others. */
#include "tests/data_test.h"

#include "src/data/dataset_open.h"
#include "tests/turns_util.h"

static const struct records_options auto_options = { .format = FORMAT_AUTO };

static const struct tokenizer *bytes(void)
{
    static struct tokenizer *t;
    struct err e;
    if (!t) assert_ok(tokenizer_open(&t, byte_tokenizer(), &e), &e);
    return t;
}

/* Open n files of this text as training data. */
static void open_texts(struct dataset *d, const char *const *texts, size_t n, const char *template,
                       enum train_on train_on, struct str *notes)
{
    enum { MOST = 3 };
    char paths[MOST][512];
    struct data_source sources[MOST] = { 0 };
    struct data_options o = { .train = sources,
                              .n_train = n,
                              .render = { .train_on = train_on, .train_on_eos = true },
                              .max_length = 100,
                              .vocab_size = 300,
                              .prepare = PREPARE_NEVER };
    struct err e;
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "texts%zu.jsonl", i);
        snprintf(paths[i], sizeof paths[i], "%s", temp_file(name, texts[i]));
        sources[i] = (struct data_source){ .path = paths[i],
                                           .template = template ? template_named(template) : NULL,
                                           .weight = 1 };
    }
    assert_ok(dataset_open(d, &o, bytes(), notes, &e), &e);
}

/* ---- synonyms -------------------------------------------------------------------------------- */

static int read_one(struct conversation *c, const char *record, const struct records_options *o,
                    struct err *e)
{
    struct records *r;
    bool more = false;
    int code = records_open(&r, temp_file("one.jsonl", record), o, e);
    if (code) return code;
    code = records_next(r, c, &more, e);
    if (!code) assert_true(more);
    records_close(r);
    return code;
}

static void assert_reads(const char *record, const char *want)
{
    struct conversation c = { 0 };
    struct str s = { 0 };
    struct err e;
    if (read_one(&c, record, &auto_options, &e)) fail_msg("%s: %s", record, e.msg);
    show(&s, &c);
    if (strcmp(s.p, want) != 0) fail_msg("%s: found %s, wanted %s", record, s.p, want);
    conversation_free(&c);
    str_free(&s);
}

static bool has_remark(const struct conversation *c, enum remark kind, const char *name)
{
    for (size_t at = 0; at < c->remarks.n; at += strlen(c->remarks.p + at) + 1) {
        const char *p = c->remarks.p + at;
        if (*p == 'a' + (int)kind && strcmp(p + 1, name) == 0) return true;
    }
    return false;
}

/* Every name of the prompt with every one of the input and of the answer, with and without input
 * and choices, in the order of the alphabet too: all are read, none is left over. */
static void every_combination_is_one_format(void **state)
{
    (void)state;
    static const char *const prompts[] = { "instruction", "prompt", "question",     "query",
                                           "problem",     "Prompt", "question_stem" };
    static const char *const inputs[] = { NULL,       "input",   "context",   "passage",
                                          "document", "article", "paragraph", "INPUT" };
    static const char *const answers[] = { "output",   "completion", "response", "answer",
                                           "solution", "target",     "targets",  "Answer" };
    static const char *const choices[] = { NULL, "choices", "options" };
    size_t rows = 0;
    for (size_t p = 0; p < 7; p++) {
        for (size_t i = 0; i < 8; i++) {
            for (size_t a = 0; a < 8; a++) {
                for (size_t k = 0; k < 6; k++, rows++) {
                    const char *choice = choices[k % 3];
                    bool backwards = k >= 3;
                    char parts[4][96] = { "", "", "", "" }, record[512] = "", want[128];
                    snprintf(parts[0], 96, "\"%s\":\"P\"", prompts[p]);
                    if (inputs[i]) snprintf(parts[1], 96, "\"%s\":\"I\"", inputs[i]);
                    if (choice) snprintf(parts[2], 96, "\"%s\":[\"x\",\"y\"]", choice);
                    snprintf(parts[3], 96, "\"%s\":\"%s\"", answers[a], choice ? "y" : "A");
                    size_t n = 0;
                    for (int j = 0; j < 4; j++) {
                        const char *part = parts[backwards ? 3 - j : j];
                        if (!*part) continue;
                        n += (size_t)snprintf(record + n, sizeof record - n, "%s%s", n ? "," : "{",
                                              part);
                    }
                    snprintf(record + n, sizeof record - n, "}");
                    snprintf(want, sizeof want, "U:P%s%s | A:%s", choice ? "\nA. x\nB. y" : "",
                             inputs[i] ? "(I)" : "", choice ? "B. y" : "A");
                    assert_reads(record, want);
                    struct conversation c = { 0 };
                    struct err e;
                    assert_ok(read_one(&c, record, &auto_options, &e), &e);
                    if (c.remarks.n) fail_msg("%s: a remark: %s", record, c.remarks.p);
                    conversation_free(&c);
                }
            }
        }
    }
    assert_int_equal(rows, 7 * 8 * 8 * 6);
}

static void columns_of_one_field(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        /* the first input is the prompt where no column is one */
        { "{\"input\":\"a\",\"output\":\"b\"}", "U:a | A:b" },
        { "{\"context\":\"a\",\"answer\":\"b\"}", "U:a | A:b" },
        { "{\"output\":\"b\",\"context\":\"c\",\"input\":\"a\"}", "U:a(c) | A:b" },
        { "{\"inputs\":\"a\",\"targets\":\"b\"}", "U:a | A:b" },
        { "{\"source\":\"a\",\"target\":\"b\"}", "U:a | A:b" },
        { "{\"instruction\":\"a\",\"source\":\"s\",\"target\":\"b\"}", "U:a(s) | A:b" },
        { "{\"instruction\":\"a\",\"source\":\"web\",\"output\":\"b\"}", "U:a | A:b" },
        { "{\"source\":\"web\",\"prompt\":\"a\",\"completion\":\"b\"}", "U:a | A:b" },
        /* several prompts, several inputs */
        { "{\"answer\":\"b\",\"question\":\"q\",\"instruction\":\"i\"}", "U:i\n\nq | A:b" },
        { "{\"prompt\":\"q\",\"question\":\"q\",\"answer\":\"b\"}", "U:q | A:b" },
        { "{\"prompt\":\"\",\"question\":\"q\",\"answer\":\"b\"}", "U:q | A:b" },
        { "{\"prompt\":null,\"question\":\"q\",\"answer\":\"b\"}", "U:q | A:b" },
        { "{\"instruction\":\"\",\"input\":\"i\",\"output\":\"b\"}", "U:(i) | A:b" },
        { "{\"instruction\":\"a\",\"input\":\"i\",\"context\":\"c\",\"output\":\"b\"}",
          "U:a(i\n\nc) | A:b" },
        { "{\"question\":\"a\",\"contexts\":[\"c\",\"d\"],\"answer\":\"b\"}", "U:a(c\n\nd) | A:b" },
        /* one answer, whatever it is called */
        { "{\"question\":\"a\",\"answer\":\"b\",\"response\":\"b\"}", "U:a | A:b" },
        { "{\"question\":\"a\",\"output\":\"\",\"response\":\"b\"}", "U:a | A:b" },
        { "{\"question\":\"a\",\"output\":null,\"response\":\"b\"}", "U:a | A:b" },
        { "{\"question\":\"a\",\"answers\":[\"b\"]}", "U:a | A:b" },
        { "{\"question\":\"a\",\"answers\":[\"b\",\"b\"]}", "U:a | A:b" },
        { "{\"question\":\"a\",\"context\":\"c\",\"answers\":{\"text\":[\"b\"],\"answer_start\":[0]"
          "}}",
          "U:a(c) | A:b" },
        /* names as people write them */
        { "{\"Question\":\"a\",\"Answer\":\"b\",\"CONTEXT\":\"c\"}", "U:a(c) | A:b" },
        { "{\" question \":\"a\",\"answer\":\"b\",\"System-Prompt\":\"s\"}", "S:s | U:a | A:b" },
        { "{\"question\":\"a\",\"answer\":\"b\",\"system_message\":\"s\"}", "S:s | U:a | A:b" },
        { "{\"instruction\":\"a\",\"output\":\"b\",\"system_prompt\":\"s\"}", "S:s | U:a | A:b" },
        { "{\"system\":\"s\",\"system_prompt\":\"s\",\"query\":\"a\",\"output\":\"b\"}",
          "S:s | U:a | A:b" },
        { "{\"question\":\"a\",\"history\":[[\"c\",\"d\"]],\"answer\":\"b\"}",
          "U:c | A:d | U:a | A:b" },
        /* reasoning */
        { "{\"question\":\"a\",\"reasoning\":\"\\nr\\n\",\"answer\":\"\\nb\"}",
          "U:a | A:<think>\nr\n</think>\n\nb" },
        { "{\"Question\":\"a\",\"Complex_CoT\":\"r\",\"Response\":\"b\"}",
          "U:a | A:<think>\nr\n</think>\n\nb" },
        { "{\"question\":\"a\",\"thinking\":\"r\",\"answer\":\"<think>r</think>b\"}",
          "U:a | A:<think>r</think>b" },
        { "{\"question\":\"a\",\"thinking\":\"\",\"answer\":\"b\"}", "U:a | A:b" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
          "\"content\":"
          "\"b\",\"reasoning_content\":\"r\"}]}",
          "U:a | A:<think>\nr\n</think>\n\nb" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
          "\"thinking\":"
          "\"r\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}]}",
          "U:a | A:<think>\nr\n</think>\n\nb" },
        /* tools by OpenAI's older name */
        { "{\"functions\":[1],\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
          "\"assistant\",\"content\":\"b\"}]}",
          "S:[1] | U:a | A:b" },
        /* numbers and truths are texts, as they are written */
        { "{\"question\":\"a\",\"answer\":12.50}", "U:a | A:12.50" },
        { "{\"question\":1,\"input\":[],\"context\":-0.10,\"answer\":1e3}", NULL },
        { "{\"question\":1,\"context\":-0.10,\"answer\":1e3}", "U:1(-0.10) | A:1e3" },
        { "{\"x\":[1,{\"y\":2}],\"question\":\"3\",\"answer\":12345678901234567890}",
          "U:3 | A:12345678901234567890" },
        { "{\"prompt\":\"a\",\"completion\":true}", "U:a | A:true" },
        { "{\"prompt\":\"a\",\"label\":7,\"completion\":false}", "U:a | A:false" },
        { "{\"question\":\"a\",\"answers\":[4]}", "U:a | A:4" },
        { "\"{\\\"question\\\":\\\"a\\\",\\\"answer\\\":7}\"", "U:a | A:7" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":1},{\"role\":\"assistant\",\"content\":2."
          "0}]}",
          "U:1 | A:2.0" },
        { "{\"instruction\":\"a\",\"history\":[[1,2]],\"output\":3}", "U:1 | A:2 | U:a | A:3" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i][1]) assert_reads(rows[i][0], rows[i][1]);
    }
}

/* ---- choices --------------------------------------------------------------------------------- */

/* Every way to give four choices with every way to give the answer. */
static void choices_become_lines(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "[\"red\",\"blue\",\"green\",\"grey\"]",
        "{\"text\":[\"red\",\"blue\",\"green\",\"grey\"],\"label\":[\"A\",\"B\",\"C\",\"D\"]}",
        "{\"label\":[\"a\",\"b\",\"c\",\"d\"],\"text\":[\"red\",\"blue\",\"green\",\"grey\"]}",
        ("[{\"label\":\"A\",\"text\":\"red\"},{\"label\":\"B\",\"text\":\"blue\"},"
         "{\"text\":\"green\",\"label\":\"C\"},{\"text\":\"grey\",\"label\":\"D\"}]"),
        "[{\"text\":\"red\"},{\"text\":\"blue\"},{\"text\":\"green\"},{\"text\":\"grey\"}]",
        "{\"A\":\"red\",\"B\":\"blue\",\"C\":\"green\",\"D\":\"grey\",\"E\":null}",
        "[\"A) red\",\"B) blue\",\"C) green\",\"D) grey\"]",
        "[\"(A) red\",\"(B) blue\",\"(C) green\",\"(D) grey\"]",
        "[\"A. red\",\"B. blue\",\"C. green\",\"D. grey\"]",
        "[\" red\",\"blue \",\"green\",\"grey\"]",
    };
    static const char *const answers[] = {
        "\"answer\":2",
        "\"answer\":\"C\"",
        "\"answer\":\"c\"",
        "\"answer\":\"green\"",
        "\"answer\":\"Green\"",
        "\"answer\":\" green \"",
        "\"answer\":\"(C)\"",
        "\"answer\":\"C.\"",
        "\"answer\":\"C. green\"",
        "\"answer\":\"C) green\"",
        "\"answer\":\"2\"",
        "\"answerKey\":\"C\"",
        "\"answer_idx\":2",
        "\"correct\":\"C\"",
        "\"label\":2",
        "\"answer\":[\"C\"]",
        "\"answer\":\"green\",\"answer_idx\":\"C\"",
        "\"answer\":2,\"answerKey\":\"C\"",
        "\"output\":\"C\"",
        "\"answer\":\"\",\"answerKey\":\"C\"",
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (size_t k = 0; k < sizeof answers / sizeof *answers; k++) {
            char record[512];
            snprintf(record, sizeof record, "{\"question\":\"Q\",\"choices\":%s,%s}", lists[i],
                     answers[k]);
            assert_reads(record, "U:Q\nA. red\nB. blue\nC. green\nD. grey | A:C. green");
        }
    }
    static const char *const rows[][2] = {
        /* labels that are not letters serve only the answer; an index counts from 0 */
        { "{\"question\":\"Q\",\"choices\":{\"text\":[\"x\",\"y\"],\"label\":[\"1\",\"2\"]},"
          "\"answerKey\":\"2\"}",
          "U:Q\nA. x\nB. y | A:B. y" },
        { "{\"question\":\"Q\",\"choices\":{\"text\":[\"x\",\"y\"],\"label\":[1,2]},\"answer\":1}",
          "U:Q\nA. x\nB. y | A:A. x" },
        { "{\"question\":\"Q\",\"options\":[\"x\",\"y\"],\"answer\":0}",
          "U:Q\nA. x\nB. y | A:A. x" },
        { "{\"question\":\"Q\",\"options\":[3,5],\"answer\":5}", "U:Q\nA. 3\nB. 5 | A:B. 5" },
        { "{\"question\":\"Q\",\"options\":[true,false],\"answer\":false}",
          "U:Q\nA. true\nB. false | A:B. false" },
        { "{\"question\":\"Q\",\"options\":[\"True\",\"False\"],\"label\":false}",
          "U:Q\nA. True\nB. False | A:B. False" },
        { "{\"question\":\"Q\",\"passage\":\"P\",\"options\":[\"x\",\"y\"],\"answer\":\"B\"}",
          "U:Q\nA. x\nB. y(P) | A:B. y" },
        { "{\"question\":\"Q\",\"options\":[],\"answer\":\"B\"}", "U:Q | A:B" },
        { "{\"question\":\"Q\",\"options\":null,\"answer\":\"B\"}", "U:Q | A:B" },
        { "{\"question\":\"Q\",\"options\":\"A. x B. y\",\"answer\":\"B\"}",
          "U:Q\nA. x B. y | A:B" },
        { "{\"question\":\"Q\",\"options\":[\"x\",\"y\"],\"answer\":\"B\",\"reasoning\":\"r\"}",
          "U:Q\nA. x\nB. y | A:<think>\nr\n</think>\n\nB. y" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_reads(rows[i][0], rows[i][1]);
}

/* Tables have a column for each choice. */
static void choices_in_columns_of_their_own(void **state)
{
    (void)state;
    static const char *const names[][3] = {
        { "A", "B", "C" },
        { "A ", "b ", "C " },
        { "C", "B", "A" }, /* by letter, not by place */
        { "option_a", "option_b", "option_c" },
        { "Option A", "Option B", "Option C" },
        { "optionA", "optionB", "optionC" },
        { "choice_a", "choice_b", "choice_c" },
        { "opa", "opb", "opc" },
        { "option1", "option2", "option3" },
        { "choice_0", "choice_1", "choice_2" },
    };
    static const char *const keys[] = { "answer", "correct_option", "label" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            bool turned = i == 2;
            char record[256];
            snprintf(record, sizeof record,
                     "{\"question\":\"Q\",\"%s\":\"%s\",\"%s\":2,\"%s\":\"%s\",\"%s\":\"%s\"}",
                     names[i][0], turned ? "z" : "x", names[i][1], names[i][2], turned ? "x" : "z",
                     keys[k], "B");
            assert_reads(record, "U:Q\nA. x\nB. 2\nC. z | A:B. 2");
        }
    }
    static const char *const rows[][2] = {
        { "{\"question\":\"Q\",\"option1\":\"x\",\"option2\":\"y\",\"answer\":\"1\"}",
          "U:Q\nA. x\nB. y | A:A. x" },
        { "{\"question\":\"Q\",\"option0\":\"x\",\"option1\":\"y\",\"answer\":1}",
          "U:Q\nA. x\nB. y | A:B. y" },
        { "{\"question\":\"Q\",\"A\":\"x\",\"B\":\"y\",\"C\":\"\",\"D\":null,\"answer\":\"y\"}",
          "U:Q\nA. x\nB. y | A:B. y" },
        { "{\"question\":\"Q\",\"A\":\"x\",\"B\":\"\",\"C\":\"y\",\"answer\":\"C\"}",
          "U:Q\nA. x\nC. y | A:C. y" },
        { "{\"question\":\"Q\",\"choices\":[\"x\",\"y\"],\"A\":\"p\",\"B\":\"q\",\"answer\":\"B\"}",
          "U:Q\nA. x\nB. y | A:B. y" },
        { "{\"question\":\"Q\",\"a\":\"x\",\"b\":\"y\",\"answer\":\"b\"}",
          "U:Q\nA. x\nB. y | A:B. y" },
        /* these are not choices */
        { "{\"question\":\"Q\",\"a\":1,\"b\":2,\"answer\":\"b\"}", "U:Q | A:b" },
        { "{\"question\":\"Q\",\"a\":\"x\",\"answer\":\"free\"}", "U:Q | A:free" },
        { "{\"question\":\"Q\",\"b\":\"x\",\"c\":\"y\",\"answer\":\"free\"}", "U:Q | A:free" },
        { "{\"question\":\"Q\",\"a\":\"x\",\"x\":\"y\",\"answer\":\"free\"}", "U:Q | A:free" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) assert_reads(rows[i][0], rows[i][1]);
}

/* An index counts from 0, which a note says; other ways to name a choice need no note. */
static void what_answers_are_taken_for_is_remarked(void **state)
{
    (void)state;
    static const struct {
        const char *record;
        bool index, empty;
    } rows[] = {
        { "{\"question\":\"Q\",\"options\":[\"x\",\"y\"],\"answer\":1}", true, false },
        { "{\"question\":\"Q\",\"options\":[\"x\",\"y\"],\"answer\":\"1\"}", true, false },
        { "{\"question\":\"Q\",\"options\":[\"x\",\"y\"],\"answer\":\"B\"}", false, false },
        { "{\"question\":\"Q\",\"options\":[\"1\",\"0\"],\"answer\":\"B\"}", false, false },
        { "{\"question\":\"Q\",\"answer\":\"1\"}", false, false },
        { "{\"question\":\"Q\",\"answer\":\"\"}", false, true },
        { "{\"question\":\"Q\",\"answer\":\" \\n\"}", false, true },
        { "{\"question\":\"Q\",\"answer\":\"\",\"train\":false}", false, false },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
          "\"content\":\"\"}]}",
          false, true },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
          "\"content\":\"\",\"weight\":0}]}",
          false, false },
        { "{\"text\":\" \"}", false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conversation c = { 0 };
        struct err e;
        if (read_one(&c, rows[i].record, &auto_options, &e)) fail_msg("%s", e.msg);
        if (has_remark(&c, REMARK_INDEX, "answer") != rows[i].index ||
            has_remark(&c, REMARK_EMPTY, "answers") != rows[i].empty)
            fail_msg("%s: index or empty", rows[i].record);
        conversation_free(&c);
    }
}

/* The answer begins a line of its own also with plain, which joins texts as they are. */
static void choices_under_plain(void **state)
{
    (void)state;
    static const char *const record = "{\"question\":\"Q\",\"options\":[\"x\",\"y\"],"
                                      "\"answer\":\"y\"}";
    struct dataset d;
    struct str notes = { 0 }, text = { 0 };
    open_texts(&d, &record, 1, "plain", TRAIN_ON_RESPONSES, &notes);
    tokenizer_decode(bytes(), &text, d.train.ids, d.train.at[1], true, false);
    assert_non_null(strstr(text.p, "Q\nA. x\nB. y\nB. y"));
    dataset_close(&d);
    str_free(&notes);
    str_free(&text);
}

/* ---- what would be lost is refused, with what to write --------------------------------------- */

static const struct {
    const char *record, *message;
} lossy[] = {
    { "{\"problem\":\"a\",\"solution\":\"b\",\"answer\":\"4\"}",
      "solution: found an answer that differs from answer, wanted one: name it with data.columns: "
      "{prompt: problem, completion: answer}" },
    { "{\"role\":\"user\",\"content\":\"b\"}",
      "found \"role\", \"content\"; wanted those of tokens" }, /* not context misspelt */
    { "{\"question\":\"a\",\"answers\":[\"b\",\"c\"]}", "answers: found a list of 2 answers" },
    { "{\"question\":\"a\",\"answers\":{\"text\":[]}}", "answers: found an empty list" },
    { "{\"question\":\"a\",\"answers\":[]}", "answers: found an empty list" },
    { "{\"question\":\"a\",\"system\":\"s\",\"system_prompt\":\"t\",\"answer\":\"b\"}",
      "system_prompt: found a system text that differs from \"system\"" },
    { "{\"system\":\"s\",\"messages\":[{\"role\":\"system\",\"content\":\"t\"},{\"role\":\"user\","
      "\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}",
      "system: found a system text that differs from that of the messages" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"y\"],\"answer\":\"z\"}",
      "answer: found none of the 2 choices, wanted the letter, the text or the index (from 0 to "
      "1)" },
    { "{\"question\":\"a\",\"option1\":\"x\",\"option2\":\"y\",\"answer\":0}",
      "answer: found none of the 2 choices, wanted the letter, the text or the number of one" },
    { "{\"question\":\"a\",\"A\":\"x\",\"B\":\"y\",\"answer\":\"free\"}",
      "answer: found none of the 2" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"y\"],\"answer\":2}",
      "answer: found none of the 2" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"y\"],\"answer\":-1}",
      "answer: found none of the 2" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"y\"],\"answer\":\"C\"}", "found none of the 2" },
    { "{\"question\":\"a\",\"options\":[\"2\",\"1\",\"0\"],\"answer\":0}",
      "can mean more than one" },
    { "{\"question\":\"a\",\"options\":[\"B\",\"A\"],\"answer\":\"A\"}", "can mean more than one" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"x\"],\"answer\":\"x\"}", "can mean more than one" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"\"],\"answer\":\"x\"}", "found an empty choice" },
    { "{\"question\":\"a\",\"options\":[\"x\",[]],\"answer\":\"x\"}",
      "options[1]: found an array" },
    { "{\"question\":\"a\",\"options\":7,\"answer\":\"x\"}",
      "options: found an integer, wanted a list" },
    { "{\"question\":\"a\",\"options\":[\"x\",\"y\"],\"answer\":\"x\",\"answer_idx\":1}",
      "answer_idx: found a choice that differs from the answer's" },
    { "{\"question\":\"a\",\"options\":{\"text\":[\"x\"],\"label\":[]},\"answer\":\"x\"}",
      "found 0 labels, wanted 1" },
    { "{\"instruction\":\"a\",\"system\":\"s\",\"instances\":[{\"output\":\"b\"}]}",
      "instances: found system or history beside it" },
    /* misspelt names */
    { "{\"instrction\":\"a\",\"output\":\"b\"}",
      "is instrction meant as instruction? Then write data.columns: {prompt: instrction, "
      "completion: output}" },
    { "{\"instruction\":\"a\",\"outptu\":\"b\"}",
      "is outptu meant as output? Then write data.columns: {prompt: instruction, completion: "
      "outptu}" },
    { "{\"qestion\":\"a\",\"anwser\":\"b\"}",
      "data.columns: {prompt: qestion, completion: anwser}" },
    { "{\"instrction\":\"a\",\"input\":\"i\",\"output\":\"b\"}",
      "data.columns: {prompt: instrction, input: input, completion: output}" },
    { "{\"question\":\"a\",\"contxt\":\"c\",\"answer\":\"b\"}",
      "data.columns: {prompt: question, input: contxt, completion: answer}" },
    { "{\"question\":\"a\",\"choises\":[\"b\"],\"answer\":\"b\"}",
      "data.columns: {prompt: question, choices: choises, completion: answer}" },
    { "{\"mesages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
      "is mesages meant as messages? Then write data.columns: {messages: mesages}" },
    { "{\"conversation\":[{\"from\":\"human\",\"value\":\"a\"}]}",
      "data.columns: {messages: conversation}" },
    { "{\"messages\":[{\"role\":\"user\",\"contents\":\"a\"}]}",
      "messages[0].content: found nothing, wanted a string; is \"contents\" meant?" },
    { "{\"messages\":[{\"rol\":\"user\",\"content\":\"a\"}]}", "is \"rol\" meant?" },
    /* a text beside an answer, or beside a prompt */
    { "{\"text\":\"a\",\"answer\":\"b\"}",
      "write data.format: text to train on the text alone, or data.columns: {prompt: text, "
      "completion: answer}" },
    { "{\"prompt\":\"a\",\"text\":\"b\"}", "data.columns: {prompt: prompt, completion: text}" },
    { "{\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"thinking\":\"r\",\"reasoning\":"
      "\"s\"}]}",
      "found a second reasoning" },
};

static void losses_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lossy / sizeof *lossy; i++) {
        struct conversation c = { 0 };
        struct err e;
        if (!read_one(&c, lossy[i].record, &auto_options, &e)) {
            fail_msg("%s: accepted", lossy[i].record);
        }
        assert_message(&e, lossy[i].message);
        conversation_free(&c);
    }
}

/* Only what data.columns names is read; it serves lists of messages and texts too. */
static void named_columns(void **state)
{
    (void)state;
    static const struct {
        struct record_columns columns;
        const char *record, *want, *unused;
    } rows[] = {
        { { .prompt = "p", .completion = "c" },
          "{\"p\":\"a\",\"c\":\"b\",\"input\":\"i\"}",
          "U:a | A:b",
          "input" },
        { { .prompt = "p", .completion = "c", .input = "i", .system = "s", .choices = "o" },
          "{\"p\":\"a\",\"c\":1,\"i\":\"d\",\"s\":\"e\",\"o\":[\"x\",\"y\"],\"answer\":\"z\"}",
          "S:e | U:a\nA. x\nB. y(d) | A:B. y",
          "answer" },
        { { .prompt = "problem", .completion = "solution" },
          "{\"problem\":\"a\",\"solution\":\"b\",\"answer\":\"4\"}",
          "U:a | A:b",
          "answer" },
        { { .messages = "chat", .system = "persona" },
          "{\"chat\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":\"b\"}],"
          "\"persona\":\"s\",\"system\":\"t\"}",
          "S:s | U:a | A:b",
          "system" },
        { { .text = "content" }, "{\"content\":\"a\",\"text\":\"b\"}", "A:a", "text" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct records_options o = { .columns = rows[i].columns };
        struct conversation c = { 0 };
        struct str s = { 0 };
        struct err e;
        assert_ok(read_one(&c, rows[i].record, &o, &e), &e);
        show(&s, &c);
        assert_string_equal(s.p, rows[i].want);
        assert_true(has_remark(&c, REMARK_UNUSED, rows[i].unused));
        conversation_free(&c);
        str_free(&s);
    }
    static const struct record_columns wrong[] = {
        { .prompt = "a" },
        { .completion = "a" },
        { .input = "a" },
        { .system = "a" },
        { .text = "a", .system = "b" },
        { .text = "a", .messages = "b" },
        { .prompt = "a", .completion = "b", .messages = "c" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct records_options o = { .columns = wrong[i] };
        struct conversation c = { 0 };
        struct err e;
        assert_int_equal(read_one(&c, "{\"a\":1}", &o, &e), ERR_USAGE);
        assert_message(&e, "data.columns: found");
    }
}

/* ---- what a record excludes ------------------------------------------------------------------ */

static void excluded_turns_are_masked(void **state)
{
    (void)state;
    static const struct {
        const char *key; /* with its value */
        bool trained;
    } rows[] = {
        { "\"train\":false", false },
        { "\"train\":true", true },
        { "\"train\":\"false\"", false },
        { "\"train\":null", true },
        { "\"training\":false", false },
        { "\"training\":0", false },
        { "\"trainable\":false", false },
        { "\"do_train\":false", false },
        { "\"loss\":false", false },
        { "\"loss\":0", false },
        { "\"loss\":0.0", false },
        { "\"loss\":true", true },
        { "\"loss\":1", true },
        { "\"compute_loss\":false", false },
        { "\"weight\":0", false },
        { "\"weight\":\"0\"", false },
        { "\"weight\":1.0", true },
        { "\"loss_weight\":0", false },
        { "\"loss_weight\":1", true },
        { "\"loss_mask\":0", false },
        { "\"loss_mask\":1", true },
        { "\"mask\":true", false },
        { "\"mask\":1", false },
        { "\"mask\":false", true },
        { "\"masked\":true", false },
        { "\"is_masked\":true", false },
        { "\"ignore\":true", false },
        { "\"ignore_loss\":true", false },
        { "\"no_loss\":true", false },
        { "\"no_train\":true", false },
        { "\"exclude\":true", false },
        { "\"loss\":false,\"train\":false", false },
        { "\"loss\":0,\"mask\":true,\"weight\":0", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *mark = rows[i].trained ? "" : "-";
        char record[512], want[64];
        snprintf(want, sizeof want, "U:a | A%s:b | U:c | A:d", mark);
        snprintf(record, sizeof record,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
                 "\"content\":\"b\",%s},{\"role\":\"user\",\"content\":\"c\"},{\"role\":"
                 "\"assistant\",\"content\":\"d\"}]}",
                 rows[i].key);
        assert_reads(record, want);
        snprintf(record, sizeof record,
                 "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\","
                 "\"value\":\"b\",%s},{\"from\":\"human\",\"value\":\"c\"},{\"from\":"
                 "\"gpt\",\"value\":\"d\"}]}",
                 rows[i].key);
        assert_reads(record, want);
        /* and of whole records */
        snprintf(want, sizeof want, "U:a | A%s:b", mark);
        snprintf(record, sizeof record, "{\"instruction\":\"a\",%s,\"output\":\"b\"}", rows[i].key);
        assert_reads(record, want);
        snprintf(record, sizeof record, "{%s,\"question\":\"a\",\"answer\":\"b\"}", rows[i].key);
        assert_reads(record, want);
        snprintf(record, sizeof record,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
                 "\"content\":\"b\"}],%s}",
                 rows[i].key);
        assert_reads(record, want);
        snprintf(record, sizeof record, "{\"text\":\"b\",%s}", rows[i].key);
        assert_reads(record, rows[i].trained ? "A:b" : "A-:b");
        snprintf(
            record, sizeof record,
            "{\"segments\":[{\"label\":false,\"text\":\"a\"},{\"label\":true,\"text\":\"b\"}],%s}",
            rows[i].key);
        assert_reads(record, want);
        snprintf(record, sizeof record,
                 "{\"thread\":[{\"role\":\"prompter\",\"text\":\"a\"},{\"role\":\"assistant\","
                 "\"text\":\"b\",%s}]}",
                 rows[i].key);
        assert_reads(record, want);
    }
    static const char *const others[][2] = {
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"mask\":true},{\"role\":"
          "\"assistant\","
          "\"content\":\"b\",\"mask\":false}]}",
          "U:a | A:b" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"loss\":false,\"ignore\":false},"
          "{\"role\":\"assistant\",\"content\":\"b\"}]}",
          "U:a | A:b" },
        { "{\"mask\":\"User\",\"conversations\":[{\"from\":\"User\",\"value\":\"a\"},{\"from\":"
          "\"Assistant\",\"value\":\"b\"}]}",
          "U:a | A:b" },
        { "{\"mask\":\"Assistant\",\"conversations\":[{\"from\":\"User\",\"value\":\"a\"},{"
          "\"from\":"
          "\"Assistant\",\"value\":\"b\"}]}",
          "U:a | A-:b" },
        /* single judgements, in every format */
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
          "\"content\":"
          "\"b\"}],\"label\":false}",
          "U:a | A-:b" },
        { "{\"instruction\":\"a\",\"output\":\"b\",\"kto_tag\":false}", "U:a | A-:b" },
        /* axolotl's parts, where there is one for all of the text */
        { "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":"
          "\"b\\u00e9d\",\"training_detail\":[{\"begin_offset\":0,\"end_offset\":0,\"train\":false}"
          ","
          "{\"begin_offset\":1,\"end_offset\":2,\"train\":false}]}]}",
          "U:a | A-:b\xc3\xa9"
          "d" },
        { "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":"
          "\"bd\",\"train_detail\":[{\"begin_offset\":0,\"end_offset\":1,\"train\":true}]}]}",
          "U:a | A:bd" },
        { "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},{\"from\":\"gpt\",\"value\":"
          "\"bd\",\"train_detail\":[]}]}",
          "U:a | A:bd" },
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_reads(others[i][0], others[i][1]);
    }
}

static void exclusions_that_cannot_be_are_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        /* of the answer, and what the message says */
        { "\"weight\":0.5", "weight: found a number, wanted 0 or 1" },
        { "\"weight\":true", "weight: found true, wanted 0 or 1" },
        { "\"loss\":0.3", "loss: found a number, wanted true, false, 0 or 1" },
        { "\"loss\":\"no\"", "loss: found a string, wanted true, false, 0 or 1" },
        { "\"loss_mask\":[0,1]", "loss_mask: found an array" },
        { "\"mask\":\"yes\"", "mask: found a string" },
        { "\"train\":0", "train: found an integer, wanted true or false" },
        { "\"train\":true,\"loss\":false", "loss: found the opposite of train" },
        { "\"loss\":1,\"mask\":true", "mask: found the opposite of loss" },
        { "\"training\":false,\"weight\":1", "weight: found the opposite of training" },
        { "\"train_detail\":7", "train_detail: found parts of a message" },
        { "\"training_detail\":[{\"begin_offset\":0,\"end_offset\":0,\"train\":false},{"
          "\"begin_offset\":1,\"end_offset\":9,\"train\":true}]",
          "training_detail: found parts of a message to be left out" },
        { "\"training_detail\":[{\"begin_offset\":0,\"end_offset\":0,\"train\":false}]",
          "data.format: segments" },
        { "\"learn\":false", "found \"learn\", which may say whether it is trained" },
        { "\"is_target\":0", "found \"is_target\", which may say whether it is trained" },
        { "\"no_grad\":true", "found \"no_grad\", which may say whether it is trained" },
        { "\"is_trained\":false", "found \"is_trained\", which may say whether it is trained" },
        { "\"skip_loss\":true", "wanted \"train\": false to leave it out" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char record[512];
        struct conversation c = { 0 };
        struct err e;
        snprintf(record, sizeof record,
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
                 "\"content\":\"bcdefghijk\",%s}]}",
                 rows[i][0]);
        if (!read_one(&c, record, &auto_options, &e)) fail_msg("%s: accepted", record);
        assert_message(&e, rows[i][1]);
        assert_message(&e, "messages[1]");
        if (i < 10) {
            snprintf(record, sizeof record, "{\"question\":\"a\",\"answer\":\"b\",%s}", rows[i][0]);
            if (!read_one(&c, record, &auto_options, &e)) fail_msg("%s: accepted", record);
            assert_message(&e, rows[i][1]);
        }
        conversation_free(&c);
    }
    static const char *const others[][2] = {
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"loss\":true}]}",
          "found a user message to be trained" },
        { "{\"messages\":[{\"role\":\"tool\",\"content\":\"a\",\"weight\":1}]}",
          "found a tool's message to be trained" },
        { "{\"segments\":[{\"label\":true,\"text\":\"a\",\"train\":false}]}",
          "says the opposite of label" },
        { "{\"input_ids\":[5,6],\"attention_mask\":[0,1]}",
          "attention_mask[0]: found padding in front of tokens" },
        { "{\"input_ids\":[5,6],\"attention_mask\":[1,0]}",
          "attention_mask[1]: found padding that has loss" },
        { "{\"input_ids\":[5,6],\"loss_mask\":[1]}", "loss_mask: found 1, wanted 2" },
        { "{\"input_ids\":[5,6],\"loss_mask\":[1,0.5]}", "loss_mask[1]: found a number" },
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct conversation c = { 0 };
        struct err e;
        if (!read_one(&c, others[i][0], &auto_options, &e)) fail_msg("%s: accepted", others[i][0]);
        assert_message(&e, others[i][1]);
        conversation_free(&c);
    }
}

/* A record that is left out has no target, whatever train_on says; ids have masks of their own. */
static void excluded_records_have_no_targets(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{\"question\":\"a\",\"answer\":\"b\",\"train\":false}\n{\"question\":\"a\",\"answer\":"
        "\"c\"}",
        "{\"text\":\"a\",\"loss\":0}\n{\"text\":\"c\"}",
        "{\"segments\":[{\"label\":true,\"text\":\"a\"}],\"weight\":0}\n"
        "{\"segments\":[{\"label\":true,\"text\":\"ac\"}]}",
        "{\"input_ids\":[5,6],\"mask\":true}\n{\"input_ids\":[5,6,7],\"loss_mask\":[1,0,1],"
        "\"attention_mask\":[1,1,1]}",
    };
    for (size_t i = 0; i < 4; i++) {
        for (int all = 0; all < 2; all++) {
            struct dataset d;
            struct str notes = { 0 };
            open_texts(&d, &rows[i], 1, "plain", all ? TRAIN_ON_EVERYTHING : TRAIN_ON_RESPONSES,
                       &notes);
            assert_int_equal(d.train.n, 1);
            assert_int_equal(d.train_counts.without_targets, 1);
            dataset_close(&d);
            str_free(&notes);
        }
    }
}

/* ---- notes ----------------------------------------------------------------------------------- */

/* The notes on files of these texts. */
static void assert_notes(const char *const *texts, size_t n, const char *want)
{
    struct dataset d;
    struct str notes = { 0 };
    open_texts(&d, texts, n, "plain", TRAIN_ON_RESPONSES, &notes);
    if (strcmp(notes.n ? notes.p : "", want) != 0)
        fail_msg("found\n%s, wanted\n%s", notes.n ? notes.p : "", want);
    dataset_close(&d);
    str_free(&notes);
}

/* Every column that is not used is named once with its share; used columns are not named. */
static void other_columns_are_named_once(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "{\"question\":\"a\",\"context\":\"c\",\"answer\":\"b\",\"system\":\"\"}", "" },
        { "{\"question\":\"a\",\"answer\":\"b\",\"source\":\"s\"}",
          "train: source: in 100 % of the records, not used; data.columns\n" },
        { "{\"question\":\"a\",\"answer\":\"b\",\"source\":\"s\",\"x\":null,\"y\":[]}\n"
          "{\"question\":\"c\",\"answer\":\"b\"}\n{\"question\":\"d\",\"answer\":\"b\"}",
          "train: source: in 33 % of the records, not used; data.columns\n" },
        { "{\"question\":\"a\",\"answer\":\"b\",\"a b\":1,\"\\u001b[1m\":2}",
          "train: \"a b\": in 100 % of the records, not used; data.columns\n"
          "train: \"\\x1b[1m\": in 100 % of the records, not used; data.columns\n" },
        { "{\"question\":\"a\",\"answer\":\"b\",\"a name so long that it may be a text of a "
          "record\":1}",
          "train: (a long name): in 100 % of the records, not used; data.columns\n" },
        { "{\"question\":\"a\",\"answer\":\"b\",\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}\n"
          "{\"question\":\"c\",\"answer\":\"b\",\"e\":5}",
          "train: not used: a in 50 %, b in 50 %, c in 50 %, d in 50 %, e in 100 % of the records; "
          "data.columns\n" },
        { "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"name\":\"n\"},{\"role\":"
          "\"assistant\",\"content\":\"b\",\"name\":\"m\"},{\"role\":\"user\",\"content\":"
          "\"a\",\"thinking\":\"t\"},{\"role\":\"assistant\",\"content\":\"b\"}],"
          "\"question\":\"q\"}",
          "train: messages[].name: in 100 % of the records, not used\n"
          "train: messages[].thinking: in 100 % of the records, not used\n"
          "train: question: in 100 % of the records, not used; data.columns\n" },
        { "{\"conversations\":[{\"from\":\"human\",\"value\":\"a\",\"markdown\":\"c\"},{"
          "\"from\":\"gpt\",\"value\":\"b\"}],\"id\":7}",
          "train: conversations[].markdown: in 100 % of the records, not used\n"
          "train: id: in 100 % of the records, not used; data.columns\n" },
        { "{\"instruction\":\"a\",\"name\":\"n\",\"instances\":[{\"input\":\"\",\"output\":"
          "\"b\",\"hint\":\"h\"}]}",
          "train: instances[].hint: in 100 % of the records, not used\n"
          "train: name: in 100 % of the records, not used; data.columns\n" },
        { "{\"thread\":[{\"role\":\"prompter\",\"text\":\"a\",\"lang\":\"en\",\"x\":1},{"
          "\"role\":\"assistant\",\"text\":\"b\"}],\"y\":1}",
          "train: thread[].x: in 100 % of the records, not used\n"
          "train: y: in 100 % of the records, not used; data.columns\n" },
        { "{\"prompt\":{\"role\":\"prompter\",\"text\":\"a\",\"x\":1,\"replies\":[{\"role\":"
          "\"assistant\",\"text\":\"b\",\"x\":2}]},\"tree_state\":\"s\"}",
          "train: messages[].x: in 100 % of the records, not used\n" },
        { "{\"text\":\"a\",\"url\":\"u\"}",
          "train: url: in 100 % of the records, not used; data.columns\n" },
        { "{\"input_ids\":[5,6],\"token_type_ids\":[0,0],\"attention_mask\":[1,1]}",
          "train: token_type_ids: in 100 % of the records, not used; data.columns\n" },
        /* data that are read in a way that may surprise */
        { "{\"question\":\"a\",\"options\":[\"x\",\"y\"],\"answer\":0}\n{\"question\":\"b\","
          "\"options\":[\"x\",\"y\"],\"answer\":\"B\"}",
          "train: answer: found a number in 50 % of the records, read as the index of a choice, "
          "counted from 0 (0 is the first); if yours count from 1, write letters\n" },
        { "{\"question\":\"a\",\"answer\":\"\"}\n{\"question\":\"b\",\"answer\":\"c\"}",
          "train: answers: empty in 50 % of the records: they teach the model to answer nothing; "
          "leave them out, or give them \"train\": false\n" },
        { "{\"question\":\"a\",\"answer\":1}\n{\"question\":\"b\",\"answer\":\"1\"}",
          "train: answer: found a number, true or false in 50 % of the records, read as text\n" },
        { "{\"instruction\":\"i\",\"question\":\"a\",\"answer\":\"b\"}",
          "train: instruction + question: in 100 % of the records, joined in this order by a blank "
          "line; data.columns chooses\n" },
        { "{\"question\":\"what is <image>?\",\"answer\":\"b\",\"images\":[\"a.png\"]}\n"
          "{\"question\":\"c\",\"answer\":\"b\"}",
          "train: images: in 50 % of the records, not used; data.columns\n"
          "train: images: in 50 % of the records, with a mark such as <image> in the texts: lorac "
          "reads only text, so the model does not see it, and the mark is learnt as letters\n" },
        { "{\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\\nWhat?\"},{\"from\":"
          "\"gpt\",\"value\":\"b\"}],\"image\":\"a.png\",\"audio\":\"a.mp3\"}",
          "train: image: in 100 % of the records, not used; data.columns\n"
          "train: audio: in 100 % of the records, not used; data.columns\n"
          "train: image: in 100 % of the records, with a mark such as <image> in the texts: lorac "
          "reads only text, so the model does not see it, and the mark is learnt as letters\n" },
        { "{\"question\":\"a\",\"input\":\"<video>\",\"answer\":\"b\",\"video\":\"a.mp4\"}",
          "train: video: in 100 % of the records, not used; data.columns\n"
          "train: video: in 100 % of the records, with a mark such as <image> in the texts: lorac "
          "reads only text, so the model does not see it, and the mark is learnt as letters\n" },
        { "{\"prompt\":\"[{\\\"role\\\": \\\"user\\\"}]\",\"completion\":\"b\"}\n"
          "{\"prompt\":\"[{]\",\"completion\":\" [{'from': 'gpt'}]\"}",
          "train: prompt: found a list of messages written as JSON in a text in 50 % of the "
          "records: it is learnt as plain text; write the list itself\n"
          "train: completion: found a list of messages written as JSON in a text in 50 % of the "
          "records: it is learnt as plain text; write the list itself\n" },
        { "{\"messages\":\"[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"a\\\"}]\",\"chosen\":"
          "\"[{\\\"role\\\":\\\"assistant\\\"}]\"}",
          "train: 1 record is preference data: trained on what was chosen, the rejected answers "
          "are "
          "left out\n"
          "train: chosen: found a list of messages written as JSON in a text in 100 % of the "
          "records: it is learnt as plain text; write the list itself\n" },
        { "{\"question\":\"a\",\"answer\":\"<image>\",\"images\":null}", "" },
        { "{\"question\":\"a\",\"answer\":\"<image>\"}", "" },
        { "{\"question\":\"a\",\"thinking\":\"t\",\"answer\":\"b\"}",
          "train: thinking: in 100 % of the records, read as <think>...</think> in front of the "
          "answer\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_notes(&rows[i][0], 1, rows[i][1]);
    static const char *const files[] = { "{\"question\":\"a\",\"answer\":\"b\"}",
                                         "{\"question\":\"c\",\"answer\":\"b\",\"x\":1}" };
    assert_notes(files, 2, "train, file 2: x: in 100 % of the records, not used; data.columns\n");
}

/* However many columns a file has, the table of them is bounded. */
static void names_without_end(void **state)
{
    (void)state;
    struct str s = { 0 }, notes = { 0 };
    for (int i = 0; i < 300; i++) {
        str_addf(&s, "{\"question\":\"a%d\",\"answer\":\"b\"", i);
        for (int k = 0; k < 9; k++) str_addf(&s, ",\"column %d\":1", 9 * i + k);
        str_addz(&s, "}\n");
    }
    struct dataset d;
    const char *text = s.p;
    open_texts(&d, &text, 1, "plain", TRAIN_ON_RESPONSES, &notes);
    assert_non_null(strstr(notes.p, "\"column 63\" in less than 1 % and more of the records;"));
    assert_null(strstr(notes.p, "column 64"));
    assert_true(notes.n < 8192);
    dataset_close(&d);
    str_free(&notes);
    str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(every_combination_is_one_format,
              "columns: every combination of names for prompt, input, answer and choices is read"),
        ENTRY(columns_of_one_field, "columns: those that mean one field are joined or agree"),
        ENTRY(choices_become_lines,
              "columns: choices become lines after the question, the answer one of them"),
        ENTRY(choices_in_columns_of_their_own, "columns: choices in columns of their own are read"),
        ENTRY(what_answers_are_taken_for_is_remarked,
              "columns: an answer that is read as an index is noted"),
        ENTRY(choices_under_plain,
              "columns: with choices, plain puts the answer on a line of its own"),
        ENTRY(losses_are_refused, "columns: a record of which a part would be lost is refused"),
        ENTRY(named_columns, "columns: where data.columns names them, no others are read"),
        ENTRY(excluded_turns_are_masked,
              "columns: what a record excludes from training has no loss"),
        ENTRY(exclusions_that_cannot_be_are_refused,
              "columns: an exclusion that cannot be done is refused"),
        ENTRY(excluded_records_have_no_targets,
              "columns: an excluded record has no target under any train_on"),
        ENTRY(other_columns_are_named_once,
              "columns: each column that is not used is noted once, with its share"),
        ENTRY(names_without_end, "columns: however many there are, their notes are bounded"),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
