/* Options of sub-commands: what is stored, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/commands/options.h"
#include "tests/entry.h"

static bool flag;
static const char *model, *mode;
static int64_t seed;
static double top_p;
static struct option_list adapters;

static const struct option options[] = {
    { "model", 'm', "M", "the model", .text = &model },
    { "mode", 0, "WORD", "a word of two", .allowed = "never auto", .text = &mode },
    { "seed", 0, "S", "a number", .allowed = "[0, 9]", .integer = &seed },
    { "top-p", 'p', "P", "another", .allowed = "(0, 1]", .real = &top_p },
    { "json", 0, NULL, "a flag", .flag = &flag },
    { "adapter", 'a', "A", "as often as wanted", .list = &adapters },
    { 0 },
};

/* Split `line` at spaces and parse it; the words that are left are joined in `rest`. */
static int parse(const char *line, char *rest, struct err *e)
{
    static char copy[512];
    char *argv[40];
    int argc = 0, n = 0;
    flag = false;
    model = mode = NULL;
    seed = -1;
    top_p = -1;
    adapters.n = 0;
    strncpy(copy, line, sizeof copy - 1);
    for (char *p = copy, *word; (word = strsep(&p, " ")) != NULL;)
        if (*word) argv[argc++] = word;
    int code = options_parse(options, argc, argv, &n, e);
    rest[0] = 0;
    for (int i = 0; i < n && !code; i++) {
        strncat(rest, argv[i], 64);
        strncat(rest, ";", 2);
    }
    return code;
}

static void every_spelling(void **state)
{
    (void)state;
    char rest[256];
    struct err e = { 0 };
    assert_int_equal(
        parse("x --model M1 y --seed=3 -p0.5 --json - -a one --adapter=two --mode auto "
              "-- --seed -1",
              rest, &e),
        0);
    assert_string_equal(rest, "x;y;-;--seed;-1;");
    assert_string_equal(model, "M1");
    assert_string_equal(mode, "auto");
    assert_int_equal(seed, 3);
    assert_true(top_p == 0.5 && flag);
    assert_int_equal(adapters.n, 2);
    assert_string_equal(adapters.at[1], "two");
    assert_int_equal(parse("-m M2", rest, &e), 0);
    assert_string_equal(model, "M2");
    assert_int_equal(parse("--model=--json", rest, &e), 0);
    assert_string_equal(model, "--json");
    assert_false(flag);
    assert_int_equal(parse("-m -1", rest, &e), 0); /* a single dash may begin a value */
    assert_string_equal(model, "-1");
    assert_int_equal(parse("--model=", rest, &e), 0);
    assert_string_equal(model, "");
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } rows[] = {
        { "--modle M", "unknown option --modle; did you mean --model?" },
        { "--modle=M", "unknown option --modle; did you mean --model?" },
        { "--xyzzy", "unknown option \"--xyzzy\"" },
        { "-x", "unknown option \"-x\"" },
        { "-5", "unknown option \"-5\"; an argument that begins with - goes after --" },
        { "x --model", "--model: needs M after it" },
        { "--model --json", "--model: needs M after it, found \"--json\"" },
        { "--json=1", "--json: takes no value" },
        { "-m M -m M", "--model: given twice" },
        { "--json --json", "--json: given twice" },
        { "--seed x", "--seed: found \"x\", wanted an integer in [0, 9]" },
        { "--seed 1_0", "--seed: found \"1_0\", wanted an integer in [0, 9]; write the digits" },
        { "--seed 10", "--seed: found \"10\", wanted an integer in [0, 9]" },
        { "--top-p 0", "--top-p: found \"0\", wanted a number in (0, 1]" },
        { "-pnan", "--top-p: found \"nan\", wanted a number in (0, 1]" },
        { "--mode nev", "--mode: found \"nev\", wanted one of never auto" },
        { "--mode=", "--mode: found \"\", wanted one of never auto" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char rest[256];
        struct err e = { 0 };
        assert_int_equal(parse(rows[i].line, rest, &e), ERR_USAGE);
        if (strncmp(e.msg, rows[i].message, strlen(rows[i].message)) != 0)
            fail_msg("%s: %s", rows[i].line, e.msg);
    }
}

static void lists_end_somewhere(void **state)
{
    (void)state;
    char ax[] = "-ax", *argv[OPTION_LIST_MAX + 1], rest[8];
    struct err e = { 0 };
    int n;
    assert_int_equal(parse("", rest, &e), 0);
    for (size_t i = 0; i <= OPTION_LIST_MAX; i++) argv[i] = ax;
    assert_int_equal(options_parse(options, OPTION_LIST_MAX, argv, &n, &e), 0);
    assert_int_equal(adapters.n, OPTION_LIST_MAX);
    assert_int_equal(options_parse(options, 1, argv, &n, &e), ERR_USAGE);
}

static void no_options_at_all(void **state)
{
    (void)state;
    struct err e = { 0 };
    int n;
    char *argv[] = { (char[]){ "a" }, (char[]){ "--b" } };
    assert_int_equal(options_parse(NULL, 1, argv, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(options_parse(NULL, 2, argv, &n, &e), ERR_USAGE);
}

static void help_is_wrapped(void **state)
{
    (void)state;
    struct str s = { 0 };
    options_add_row(&s, "--a-rather-long-option VALUE",
                    "words and more words, until the line is so "
                    "long that it must be wrapped");
    options_add_row(&s, "-o, --out FILE", "short");
    assert_string_equal(
        s.p, "  --a-rather-long-option VALUE\n"
             "                              words and more words, until the line is so long\n"
             "                              that it must be wrapped\n"
             "  -o, --out FILE              short\n");
    str_free(&s);
}

static void explanations_are_wrapped(void **state)
{
    (void)state;
    static const struct {
        const char *about, *shown;
    } table[] = {
        { "One sentence that is written over\ntwo lines.\nAnother.",
          "One sentence that is written over two lines.\nAnother.\n" },
        { "show      examples: what is\n          a target\ncheck     validate everything before a "
          "long job is queued, and print a table; exit\n          code 1",
          "show      examples: what is a target\n"
          "check     validate everything before a long job is queued, and print a table;\n"
          "          exit code 1\n" },
        { "Two values:\n    a=[b,c],d\nOne\nvalue.\n\nThe end",
          "Two values:\n    a=[b,c],d\nOne value.\n\nThe end\n" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct str s = { 0 };
        options_add_about(&s, table[i].about);
        assert_string_equal(s.p, table[i].shown);
        str_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(every_spelling, "options: every spelling of an option is read"),
        ENTRY(refusals, "options: a wrong option is refused with the nearest one"),
        ENTRY(lists_end_somewhere, "options: a list of options has a limit"),
        ENTRY(no_options_at_all, "options: a command without options refuses any"),
        ENTRY(help_is_wrapped, "options: help is wrapped at the width of a terminal"),
        ENTRY(explanations_are_wrapped, "options: an explanation keeps its sentences and words"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
