/* The terminal: what a progress line writes, and numbers for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/term.h"
#include "tests/entry.h"

static double fake_now;
static double fake_clock(void)
{
    return fake_now;
}

/* A progress that writes into a buffer. */
struct screen {
    char *text;
    size_t n;
    struct progress p;
};

static void screen_open(struct screen *s, bool live, int width, double every_s)
{
    fake_now = 100;
    progress_init(&s->p, every_s);
    s->p.out = open_memstream(&s->text, &s->n);
    assert_non_null(s->p.out);
    s->p.live = live;
    s->p.width = width;
    s->p.every_s = every_s;
    s->p.now_s = fake_clock;
}

static void screen_holds(struct screen *s, const char *wanted)
{
    fflush(s->p.out);
    assert_string_equal(s->text, wanted);
}

static void screen_close(struct screen *s)
{
    fclose(s->p.out);
    free(s->text);
}

#define LINE(text) "\033[?7l" text "\033[J\033[?7h\r"

static void live_line_is_redrawn_and_cut(void **state)
{
    (void)state;
    struct screen s;
    screen_open(&s, true, 10, 0.1);
    progress_update(&s.p, "step %d of 1000", 1);
    screen_holds(&s, "\r" LINE("step 1 of"));
    fake_now += 0.05; /* too early */
    progress_update(&s.p, "step %d", 2);
    screen_holds(&s, "\r" LINE("step 1 of"));
    fake_now += 0.06;
    progress_update(&s.p, "step %d", 3);
    screen_holds(&s, "\r" LINE("step 1 of") "\r" LINE("step 3"));
    progress_note(&s.p, "saved %s", "x");
    screen_holds(&s, "\r" LINE("step 1 of") "\r" LINE("step 3") "\r\033[Jsaved x\n" LINE("step 3"));
    progress_update(&s.p, "end"); /* too early, but it must be the one that stays */
    progress_end(&s.p);
    screen_holds(&s, "\r" LINE("step 1 of") "\r" LINE("step 3") "\r\033[Jsaved x\n" LINE(
                         "step 3") "\r" LINE("end") "\n");
    screen_close(&s);
}

static void plain_lines_come_now_and_then(void **state)
{
    (void)state;
    struct screen s;
    screen_open(&s, false, 10, 60);
    progress_update(&s.p, "step %d of 1000", 1);
    progress_update(&s.p, "step %d of 1000", 2);
    progress_note(&s.p, "saved");
    fake_now += 60;
    progress_update(&s.p, "step %d of 1000", 3);
    screen_holds(&s, "step 1 of 1000\nsaved\nstep 3 of 1000\n");
    progress_end(&s.p); /* written already */
    screen_holds(&s, "step 1 of 1000\nsaved\nstep 3 of 1000\n");
    progress_update(&s.p, "step %d of 1000", 4);
    progress_end(&s.p);
    screen_holds(&s, "step 1 of 1000\nsaved\nstep 3 of 1000\nstep 4 of 1000\n");
    screen_close(&s);
}

/* A text for a moment: that of the last update comes back under a note, and at the end. */
static void an_aside_does_not_stay(void **state)
{
    (void)state;
    struct screen s;
    screen_open(&s, true, 20, 0.1);
    progress_update(&s.p, "step 1");
    fake_now += 0.2;
    progress_aside(&s.p, "pass %d/8", 1);
    progress_aside(&s.p, "pass %d/8", 2); /* too early */
    screen_holds(&s, "\r" LINE("step 1") "\r" LINE("pass 1/8"));
    progress_note(&s.p, "saved");
    progress_end(&s.p);
    screen_holds(&s, "\r" LINE("step 1") "\r" LINE("pass 1/8") "\r\033[Jsaved\n" LINE(
                         "step 1") "\r" LINE("step 1") "\n");
    screen_close(&s);
    screen_open(&s, true, 20, 0.1); /* nothing stays where there was no update */
    progress_aside(&s.p, "pass 1/8");
    progress_note(&s.p, "stopped");
    progress_end(&s.p);
    screen_holds(&s, "\r" LINE("pass 1/8") "\r\033[Jstopped\n");
    screen_close(&s);
    screen_open(&s, false, 20, 10);
    progress_aside(&s.p, "pass 1/8");
    progress_aside(&s.p, "pass 2/8");
    progress_end(&s.p);
    screen_holds(&s, "pass 1/8\n");
    screen_close(&s);
}

static void lines_are_wrapped_between_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t indent, width;
        const char *wanted;
    } rows[] = {
        { "", 2, 10, "" },
        { "memory    1 GiB at most", 10, 0, "memory    1 GiB at most" },
        { "memory    1 GiB at most", 10, 23, "memory    1 GiB at most" },
        { "memory    1 GiB at most", 10, 22, "memory    1 GiB at\n          most" },
        { "memory    1 GiB at most", 10, 20, "memory    1 GiB at\n          most" },
        { "memory    1 GiB at most", 10, 19, "memory    1 GiB at\n  most" },
        { "memory    1 GiB at most", 10, 12, "memory    1\n  GiB at\n  most" },
        { "memory    1 GiB at most", 10, 5, "memory\n  1\n  GiB\n  at\n  most" },
        { "note: see /a/path/that/is/long for it", 6, 20,
          "note: see\n      /a/path/that/is/long\n      for it" },
        { "  a        12 B  b  c", 6, 12, "  a        12\n      B  b\n      c" },
        { "w  \xc3\xbc\xc3\xbc\xc3\xbc \xc3\xbc", 1, 8, "w  \xc3\xbc\xc3\xbc\xc3\xbc \xc3\xbc" },
        { "w  \xe4\xbd\xa0\xe5\xa5\xbd a", 1, 8, "w  \xe4\xbd\xa0\xe5\xa5\xbd\n a" },
        { "a b ", 1, 10, "a b " },
        { "a \xff b", 1, 4, "a \xff\n b" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str s = { 0 };
        term_wrap(&s, rows[i].text, rows[i].indent, rows[i].width);
        assert_string_equal(s.n ? s.p : "", rows[i].wanted);
        str_free(&s);
    }
    struct screen s;
    screen_open(&s, true, 20, 0.1);
    progress_note(&s.p, "note: a b c d e f g h i");
    progress_note(&s.p, "warning: %s", "a b c d e f g h i\n");
    progress_note(&s.p, "step 1: a b c d e f g h i");
    screen_holds(&s, "note: a b c d e f g\n      h i\nwarning: a b c d e\n         f g h\n         "
                     "i\\x0a\nstep 1: a b c d e f\n  g h i\n");
    screen_close(&s);
}

static void nothing_to_end(void **state)
{
    (void)state;
    struct screen s;
    screen_open(&s, true, 10, 0.1);
    progress_note(&s.p, "note");
    progress_end(&s.p);
    screen_holds(&s, "note\n");
    screen_close(&s);
}

/* Names that are printed for people stay in their line, live or not. */
static void names_do_nothing_to_the_terminal(void **state)
{
    (void)state;
    struct screen s;
    screen_open(&s, false, 80, 0);
    progress_note(&s.p, "from %s", "a\nnote: b\033[2J");
    progress_update(&s.p, "%s", "x\xe2\x80\xaey");
    screen_holds(&s, "from a\\x0anote: b\\x1b[2J\nx\\xe2\\x80\\xaey\n");
    screen_close(&s);
    screen_open(&s, true, 80, 0.1);
    progress_update(&s.p, "x");
    progress_note(&s.p, "%s", "a\rb");
    screen_holds(&s, "\r" LINE("x") "\r\033[Ja\\x0db\n" LINE("x"));
    screen_close(&s);
}

static void lines_and_texts_are_safe(void **state)
{
    (void)state;
    char *text;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    term_print(f, "\n%s, %5.1f\n\n", "a\nb\t\x7f", 1.0);
    term_print(f, "%s", "no end\n");
    term_print(f, "\n");
    fflush(f);
    assert_string_equal(text, "\na\\x0ab\\x09\\x7f,   1.0\n\nno end\\x0a\n");
    rewind(f);
    static const char said[] = "a\n\tb\033]52;c\a \xe2\x80\xae \xe2\x80\x8d \xff\xc3\xbc";
    term_text(f, said, sizeof said - 1, "?");
    fputc(0, f); /* after the end of a longer line */
    fflush(f);
    assert_string_equal(text, "a\n\tb?]52;c? ? \xe2\x80\x8d ?\xc3\xbc");
    rewind(f);
    term_text(f, said, sizeof said - 1, NULL);
    fputc(0, f);
    fflush(f);
    assert_string_equal(text, "a\n\tb\\x1b]52;c\\x07 \\xe2\\x80\\xae \xe2\x80\x8d \\xff\xc3\xbc");
    rewind(f);
    char longest[30000]; /* its end stays, with the line's */
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    term_print(f, "%.9900s: %s\n", longest, "end");
    fflush(f);
    assert_memory_equal(text + n - 6, ": end\n", 6);
    fclose(f);
    free(text);
}

static void numbers_for_people(void **state)
{
    (void)state;
    char b[HUMAN_BYTES];
    static const struct {
        double v;
        const char *duration, *bytes, *count;
    } rows[] = {
        { 0, "0 s", "0 B", "0" },
        { 0.3456, "0.346 s", "0 B", "0.346" },
        { 12.34, "12.3 s", "12 B", "12.3" },
        { 59.96, "1 min 00 s", "60 B", "60" },
        { 200, "3 min 20 s", "200 B", "200" },
        { 999.7, "16 min 40 s", "1000 B", "1.00 k" },
        { 1023.9, "17 min 04 s", "1.0 KiB", "1.02 k" },
        { 3599.6, "1 h 00 min", "3.5 KiB", "3.60 k" },
        { 3900, "1 h 05 min", "3.8 KiB", "3.90 k" },
        { 86399, "1 d 00 h", "84.4 KiB", "86.4 k" },
        { 183600, "2 d 03 h", "179 KiB", "184 k" },
        { 1.5e9, "?", "1.4 GiB", "1.50 G" },
        { 6.738e9, "?", "6.3 GiB", "6.74 G" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(human_duration(b, rows[i].v), rows[i].duration);
        assert_string_equal(human_bytes(b, rows[i].v), rows[i].bytes);
        assert_string_equal(human_count(b, rows[i].v), rows[i].count);
    }
    assert_string_equal(human_duration(b, -1), "?");
    assert_string_equal(human_duration(b, 0.0 / (double)rows[0].v), "?");
}

static void a_file_is_no_terminal(void **state)
{
    (void)state;
    FILE *f = tmpfile();
    assert_non_null(f);
    assert_false(term_is_live(f));
    assert_false(term_has_color(f));
    assert_int_equal(term_width(f), 80);
    fclose(f);
    assert_true(term_now_s() <= term_now_s());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(live_line_is_redrawn_and_cut,
              "terminal: a live line is redrawn in place and cut to the width"),
        ENTRY(plain_lines_come_now_and_then,
              "terminal: without a terminal a line comes now and then"),
        ENTRY(an_aside_does_not_stay,
              "terminal: a text for a moment gives way to the one that stays"),
        ENTRY(lines_are_wrapped_between_words,
              "terminal: lines are wrapped between words, under their labels"),
        ENTRY(nothing_to_end, "terminal: ending a line that was never shown prints nothing"),
        ENTRY(names_do_nothing_to_the_terminal,
              "terminal: names stay in their line and do nothing to it"),
        ENTRY(lines_and_texts_are_safe, "terminal: printed lines and texts are safe"),
        ENTRY(numbers_for_people, "terminal: sizes, counts and durations are short and readable"),
        ENTRY(a_file_is_no_terminal, "terminal: a file has no colours and 80 columns"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
