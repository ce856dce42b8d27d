/* src/base: memory, strings, UTF-8, JSON, the bounded reader, errors, hashing and its cache, random
 * numbers, the machine. Files are in test_file.c, the terminal in test_term.c. */
#include "tests/files_util.h"

#include <math.h>
#include <omp.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "src/base/bytes.h"
#include "src/base/hashcache.h"
#include "src/base/json.h"
#include "src/base/load.h"
#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/rng.h"
#include "src/base/safe.h"
#include "src/base/utf8.h"
#include "src/base/waiting.h"

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_mem(void **state)
{
    (void)state;
    struct err e = { 0 };
    unsigned char *p = mem_alloc(100, 3, &e);
    for (size_t i = 0; i < 300; i++) assert_int_equal(p[i], 0);
    memset(p, 7, 300);
    p = mem_resize(p, 200, 3, &e);
    for (size_t i = 0; i < 300; i++) assert_int_equal(p[i], 7);
    assert_null(mem_resize(p, SIZE_MAX / 2, 3, &e)); /* overflows: the old block stays */
    assert_int_equal(p[299], 7);
    assert_non_null(strstr(e.msg, "out of memory"));
    mem_free(p);
    assert_null(mem_alloc(SIZE_MAX / 2, 3, &e));
    void *nothing = mem_alloc(0, 8, &e);
    assert_non_null(nothing);
    mem_free(nothing);
    mem_free(NULL);
    char *s = mem_strndup("abcdef", 3, &e), *t = mem_strdup("xyz", &e);
    assert_string_equal(s, "abc");
    assert_string_equal(t, "xyz");
    mem_free(s);
    mem_free(t);
    size_t v;
    assert_true(mem_mul(&v, 6, 7) && v == 42);
    assert_false(mem_mul(&v, SIZE_MAX / 2 + 1, 2));
    assert_true(mem_add(&v, SIZE_MAX - 1, 1) && v == SIZE_MAX);
    assert_false(mem_add(&v, SIZE_MAX, 1));
}

/* The signal that ends a child that does this, or 0. Its stderr is closed. */
static int signal_of(void (*act)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        omp_set_num_threads(1);   /* the others are not there */
        signal(SIGABRT, SIG_DFL); /* cmocka's would go on */
        fclose(stderr);
        act();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void *allocate(void *unused)
{
    struct err e;
    mem_free(mem_alloc(1, 1, &e));
    return unused;
}

static void guarded_alloc(void)
{
    mem_guard(true);
    allocate(NULL);
}
static void guarded_resize(void)
{
    struct err e;
    void *p = mem_alloc(1, 1, &e);
    mem_guard(true);
    mem_free(mem_resize(p, 2, 1, &e));
}
static void guarded_elsewhere(void)
{
    pthread_t other;
    mem_guard(true);
    pthread_create(&other, NULL, allocate, NULL);
    pthread_join(other, NULL);
    mem_free(NULL);
    mem_guard(false);
    allocate(NULL);
}

static void test_mem_guard(void **state)
{
    (void)state;
    assert_int_equal(signal_of(guarded_alloc), SIGABRT);
    assert_int_equal(signal_of(guarded_resize), SIGABRT);
    assert_int_equal(signal_of(guarded_elsewhere), 0);
}

static void carve(struct arena *a, char *out[3])
{
    out[0] = arena_take(a, 1, 1);
    out[1] = arena_take(a, 100, 8);
    out[2] = arena_take(a, 0, 8);
}

static void overrun_arena(void)
{
    struct arena a = { 0 };
    struct err e;
    arena_take(&a, 1, 1);
    if (arena_map(&a, &e)) return;
    arena_take(&a, a.size, 1);
    arena_take(&a, 1, 1);
}

static void test_arena(void **state)
{
    (void)state;
    struct arena a = { 0 };
    struct err e;
    char *at[3];
    carve(&a, at);
    assert_null(at[0]);
    size_t counted = a.used;
    assert_int_equal(counted, 128 + 896);
    assert_int_equal(arena_map(&a, &e), 0);
    assert_int_equal(a.used, 0);
    assert_true(a.size >= counted);
    carve(&a, at);
    assert_int_equal(a.used, counted);
    for (int i = 0; i < 3; i++) assert_int_equal((uintptr_t)at[i] % ARENA_ALIGN, 0);
    assert_true(at[1] >= at[0] + 1 && at[2] >= at[1] + 800);
    for (size_t i = 0; i < counted; i++) assert_int_equal(a.base[i], 0);
    arena_unmap(&a);
    assert_null(a.base);
    arena_unmap(&a);
    a.used = SIZE_MAX / 4;
    assert_int_equal(arena_map(&a, &e), ERR_FAIL);
    assert_non_null(strstr(e.msg, "cannot reserve"));
    assert_int_equal(signal_of(overrun_arena), SIGABRT);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void test_err(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(err_set(&e, "%s: %d", "a", 1), ERR_FAIL);
    assert_string_equal(e.msg, "a: 1");
    assert_int_equal(err_usage(&e, "b"), ERR_USAGE);
    errno = ENOENT;
    assert_int_equal(err_errno(&e, "file"), ERR_FAIL);
    assert_string_equal(e.msg, "file: No such file or directory");
    e.code = ERR_USAGE;
    assert_int_equal(err_prefix(&e, "in %s", "x"), ERR_USAGE);
    assert_string_equal(e.msg, "in x: file: No such file or directory");
    assert_int_equal(err_append(&e, "%s", "a\nb"), ERR_USAGE);
    assert_string_equal(e.msg, "in x: file: No such file or directory; a\\x0ab");
    static const int room[] = { ENOSPC, EDQUOT, EFBIG };
    for (size_t i = 0; i < sizeof room / sizeof *room; i++) {
        errno = room[i];
        assert_int_equal(err_errno(&e, "file"), ERR_SPACE);
        assert_int_equal(err_exit_status(e.code), ERR_FAIL);
    }
    char longest[4000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    err_set(&e, "%s", longest);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    err_prefix(&e, "%s", longest);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

/* A message is one safe line, whatever text it holds and whichever of the four writes it. */
static void messages_are_one_safe_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "a\nb", "a\\x0ab" },
        { "a\rb\tc", "a\\x0db\\x09c" },
        { "\033[31m", "\\x1b[31m" },
        { "\x7f", "\\x7f" },
        { "\xc2\x9b", "\\xc2\\x9b" },          /* CSI, one of C1 */
        { "\x9b\xff", "\\x9b\\xff" },          /* not UTF-8 */
        { "\xe2\x80", "\\xe2\\x80" },          /* begun, not ended */
        { "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* a surrogate */
        { "\xe2\x80\xae", "\\xe2\\x80\\xae" }, /* right-to-left override */
        { "\xe2\x81\xa6", "\\xe2\\x81\\xa6" }, /* isolate */
        { "\xd8\x9c", "\\xd8\\x9c" },          /* Arabic letter mark */
        { "\xe2\x80\x8b", "\\xe2\\x80\\x8b" }, /* zero-width space */
        { "\xe2\x80\x8d", "\\xe2\\x80\\x8d" }, /* joiner */
        { "\xe2\x80\xa8", "\\xe2\\x80\\xa8" }, /* line separator */
        { "\xef\xbb\xbf", "\\xef\\xbb\\xbf" },
        { "\xc2\xad", "\\xc2\\xad" },                   /* soft hyphen */
        { "\xf3\xa0\x81\xa1", "\\xf3\\xa0\\x81\\xa1" }, /* a tag */
        { "\\x0a", "\\x0a" },                           /* what was quoted already */
        { "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80" },
        { "\xe2\x9d\xa4\xef\xb8\x8f", "\xe2\x9d\xa4\xef\xb8\x8f" }, /* a heart, as an emoji */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e;
        char want[400];
        snprintf(want, sizeof want, "<%s>", rows[i].want);
        err_set(&e, "<%s>", rows[i].text);
        assert_string_equal(e.msg, want);
        err_usage(&e, "<%s>", rows[i].text);
        assert_string_equal(e.msg, want);
        errno = ENOENT;
        err_errno(&e, "<%s>", rows[i].text);
        snprintf(want, sizeof want, "<%s>: No such file or directory", rows[i].want);
        assert_string_equal(e.msg, want);
        err_set(&e, "x");
        err_prefix(&e, "<%s>", rows[i].text);
        snprintf(want, sizeof want, "<%s>: x", rows[i].want);
        assert_string_equal(e.msg, want);
        err_set(&e, "%s", err_quotez(rows[i].text)); /* once, not twice */
        snprintf(want, sizeof want, "\"%s\"", rows[i].want);
        assert_string_equal(e.msg, want);
    }
}

/* The place and the fault stay; no cut is inside a character. */
static void long_messages_lose_their_middle(void **state)
{
    (void)state;
    static const char *const letters[] = { "x",  "\xc3\xbc",    "\xe4\xb8\xad", "\xf0\x9f\x98\x80",
                                           "\n", "\xe2\x80\xae" };
    for (size_t k = 0; k < sizeof letters / sizeof *letters; k++)
        for (size_t shift = 0; shift < 8; shift++) {
            struct err e;
            struct str s = { 0 };
            size_t at;
            str_add(&s, "1234567", shift);
            while (s.n < 3000) str_addz(&s, letters[k]);
            err_set(&e, "%s: no such file", s.p);
            assert_true(strlen(e.msg) < sizeof e.msg);
            assert_true(strlen(e.msg) > sizeof e.msg - 40);
            assert_true(utf8_valid(e.msg, strlen(e.msg), &at));
            assert_memory_equal(e.msg, s.p, shift);
            assert_non_null(strstr(e.msg, " ... "));
            assert_string_equal(e.msg + strlen(e.msg) - 14, ": no such file");
            err_prefix(&e, "run.yaml:2: model.path");
            assert_memory_equal(e.msg, "run.yaml:2: model.path: ", 24);
            assert_string_equal(e.msg + strlen(e.msg) - 14, ": no such file");
            assert_true(utf8_valid(e.msg, strlen(e.msg), &at));
            str_free(&s);
        }
}

/* Every length around the limit: complete up to it, cut beyond it, never longer. */
static void fits_at_every_length(void **state)
{
    (void)state;
    char in[300], out[100];
    memset(in, 'a', sizeof in);
    for (size_t n = 0; n <= sizeof in; n++) {
        size_t used = safe_fit(out, sizeof out, in, n);
        assert_int_equal(used, strlen(out));
        assert_int_equal(used, n < 100 ? n : 99);
        assert_true((strstr(out, " ... ") != NULL) == (n >= 100));
    }
}

static void test_quote(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *want;
    } rows[] = {
        { "abc", 3, "\"abc\"" },
        { "a\nb\033[1m", 7, "\"a\\x0ab\\x1b[1m\"" },
        { "\xff\xc3", 2, "\"\\xff\\xc3\"" },
        { "gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\"" },
        { "a\xe2\x80\xae"
          "b",
          5,
          "\"a\\xe2\\x80\\xae"
          "b\"" }, /* right-to-left override */
        { "a\0b", 3, "\"a\\x00b\"" },
        { "", 0, "\"\"" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(err_quote(rows[i].text, rows[i].n), rows[i].want);
    char many[200];
    memset(many, 'y', sizeof many);
    const char *cut = err_quote(many, sizeof many);
    assert_int_equal(strlen(cut), 1 + 80 + 1 + 3);
    assert_string_equal(cut + 81, "\"...");
    memset(many, 1, sizeof many); /* an escape counts as four */
    assert_int_equal(strlen(err_quote(many, sizeof many)), 1 + 80 + 1 + 3);
}

/* ---- strings --------------------------------------------------------------------------------- */

static void test_str(void **state)
{
    (void)state;
    struct str s = { 0 };
    struct err e;
    str_add(&s, "", 0);
    assert_string_equal(s.p, "");
    str_addz(&s, "ab");
    str_addc(&s, 'c');
    str_add(&s, "\0d", 2);
    str_addf(&s, "%05d%s", 42, "!");
    assert_int_equal(s.n, 11);
    assert_memory_equal(s.p, "abc\0d00042!", 12);
    for (int i = 0; i < 5000; i++) str_addf(&s, "%d,", i);
    assert_int_equal(s.p[s.n], 0);
    assert_int_equal(str_error(&s, &e), 0);
    str_clear(&s);
    assert_int_equal(s.n, 0);
    assert_string_equal(s.p, "");
    str_add(&s, "x", SIZE_MAX - 4); /* impossible: the error stays, and nothing is changed */
    assert_true(s.failed);
    str_addz(&s, "y");
    assert_int_equal(s.n, 0);
    assert_int_equal(str_error(&s, &e), ERR_MEMORY);
    str_free(&s);
    assert_null(s.p);
    assert_false(s.failed);
}

static void counts_agree_with_their_noun(void **state)
{
    (void)state;
    assert_string_equal(str_count(0, "record"), "0 records");
    assert_string_equal(str_count(1, "record"), "1 record");
    assert_string_equal(str_count(1, "matrix"), "1 matrix");
    assert_string_equal(str_count(2, "matrix"), "2 matrices");
    const char *first = str_count(UINT64_MAX, "validation example");
    for (int i = 0; i < 7; i++) str_count((uint64_t)i, "step");
    assert_string_equal(first, "18446744073709551615 validation examples");
}

static void lines_hold_what_arguments_bring(void **state)
{
    (void)state;
    struct str s = { 0 };
    str_add_line(&s, "\n%s: %d\n\n", "a\nb\n", 7);
    assert_string_equal(s.p, "\na\\x0ab\\x0a: 7\n\n");
    str_clear(&s);
    str_add_line(&s, "\n");
    str_add_line(&s, "%s", "\n");
    assert_string_equal(s.p, "\n\\x0a");
    str_clear(&s);
    str_add_safe(&s, "a\0b", 3);
    assert_string_equal(s.p, "a\\x00b");
    str_free(&s);
}

static void words_for_a_shell(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "models/x-1.5_b", "models/x-1.5_b" },
        { "", "''" },
        { "a b", "'a b'" },
        { "it's", "'it'\\''s'" },
        { "gr\xc3\xbc\xc3\x9f", "'gr\xc3\xbc\xc3\x9f'" },
        { "a\\b", "'a\\b'" },
        { "a\nb", "$'a\\012b'" },
        { "\033[31m1", "$'\\033[31m1'" },
        { "it's\\\r", "$'it\\'s\\\\\\015'" },
        { "\xff", "$'\\377'" },
        { "\xe2\x80\xae"
          "7",
          "$'\\342\\200\\2567'" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str s = { 0 };
        str_add_shell(&s, rows[i][0]);
        assert_string_equal(s.p, rows[i][1]);
        str_free(&s);
    }
}

static void test_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
    } rows[] = { { "", "", 0 },           { "abc", "", 3 },   { "kitten", "sitting", 3 },
                 { "train", "trian", 1 }, { "ca", "abc", 3 }, { "same", "same", 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(str_distance(rows[i].a, rows[i].b), rows[i].distance);
        assert_int_equal(str_distance(rows[i].b, rows[i].a), rows[i].distance);
    }
    struct str_nearest n = { .word = "learning_rat" };
    str_nearest_try(&n, "batch_size");
    assert_null(n.best);
    str_nearest_try(&n, "learning_rate");
    str_nearest_try(&n, "learning_rats");
    assert_string_equal(n.best, "learning_rate");
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* Every code point there and back; every surrogate and everything above refused. */
static void test_utf8_all(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char bytes[4];
        uint32_t back = 0;
        size_t n = utf8_write(bytes, c);
        bool valid = c < 0xd800 || c > 0xdfff;
        assert_int_equal(utf8_decode(&back, bytes, n), valid ? n : 0);
        if (valid) assert_int_equal(back, c);
        if (n > 1) assert_int_equal(utf8_decode(&back, bytes, n - 1), 0); /* cut off */
    }
}

static void test_utf8_invalid(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xef\xbf",
        "\xe2\x28\xa1",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t c = 99;
        size_t n = strlen(rows[i]), at = 0;
        if (utf8_decode(&c, rows[i], n) != 0 || c != 99) fail_msg("row %zu", i);
        char text[16];
        snprintf(text, sizeof text, "ab%s", rows[i]);
        assert_false(utf8_valid(text, n + 2, &at));
        assert_int_equal(at, 2);
    }
    size_t at = 77;
    assert_true(utf8_valid("gr\xc3\xbc\xc3\x9f\0\xf0\x9f\x99\x82", 11, &at));
    assert_true(utf8_valid("", 0, &at));
    assert_int_equal(at, 77);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void refuse_json(const char *text, size_t n, const char *want)
{
    struct err e = { 0 };
    json_t *v = json_parse(text, n, JSON_DUP_REFUSED, "f.json", &e);
    if (v) fail_msg("accepted: %s", text);
    if (strncmp(e.msg, "f.json: ", 8) || !strstr(e.msg, want)) {
        fail_msg("%s: \"%s\" is not in: %s", text, want, e.msg);
    }
}

static void test_json_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "not valid JSON" },
        { "{", "byte" },
        { "{\"a\":1} x", "not valid JSON" },
        { "[NaN]", "not valid JSON" },
        { "[Infinity]", "not valid JSON" },
        { "[01]", "not valid JSON" },
        { "{\"a\":1,\"a\":2}", "duplicate" },
        { "[\"\\ud800\"]", "not valid JSON" },
        { "[\"\xff\"]", "not valid JSON" },
        { "[1e999]", "not valid JSON" },
        { "{'a':1}", "not valid JSON" },
        { "[1,]", "not valid JSON" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuse_json(rows[i].text, strlen(rows[i].text), rows[i].want);
    struct str deep = { 0 };
    for (int i = 0; i < 100000; i++) str_addc(&deep, i % 2 ? '{' : '[');
    refuse_json(deep.p, deep.n, "nested deeper than 64");
    str_free(&deep);
    struct err e; /* text of a file is training text: it is not repeated */
    assert_null(json_parse("{\"secret\": sesame}", 18, JSON_DUP_REFUSED, "f", &e));
    assert_null(strstr(e.msg, "sesame"));
    json_t *v = json_parse("{\"a\":1,\"a\":2}", 13, JSON_DUP_LAST_WINS, "f", &e);
    assert_int_equal(json_integer_value(json_object_get(v, "a")), 2);
    json_decref(v);
}

/* transformers writes 10^30 for "no limit": an integer beyond 64 bits is a real number. */
static void test_json_huge(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double want;
    } rows[] = {
        { "[9223372036854775807]", 9223372036854775807.0 },
        { "[9223372036854775808]", 9223372036854775808.0 },
        { "[-99999999999999999999]", -1e20 },
        { "[1000000000000000019884624838656]", 1e30 },
        { "[99999999999999999999.5]", 1e20 },
    };
    struct err e;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = json_parse(rows[i].text, strlen(rows[i].text), JSON_DUP_REFUSED, "f", &e);
        assert_non_null(v);
        assert_int_equal(json_is_integer(json_array_get(v, 0)), i == 0);
        assert_true(json_number_value(json_array_get(v, 0)) == rows[i].want);
        json_decref(v);
    }
    static const char quoted[] = "[\"99999999999999999999 \\\" 99999999999999999999\"]";
    json_t *v = json_parse(quoted, sizeof quoted - 1, JSON_DUP_REFUSED, "f", &e);
    assert_string_equal(json_string_value(json_array_get(v, 0)),
                        "99999999999999999999 \" 99999999999999999999");
    json_decref(v);
}

static void test_json_values(void **state)
{
    (void)state;
    static const char text[] = "{\"n\": 7, \"x\": 2.5, \"s\": \"t\", \"b\": true, \"z\": null,"
                               " \"neg\": -1, \"brackets\": \"[[[[{{{\\\"[\"}";
    struct err e;
    json_t *o = json_parse(text, sizeof text - 1, JSON_DUP_REFUSED, "f", &e);
    assert_non_null(o);
    size_t n = 3;
    double x = 9;
    bool b = false;
    const char *s = "default";
    assert_int_equal(json_get_size(&n, o, "n", "f", &e), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_size(&n, o, "absent", "f", &e), 0);
    assert_int_equal(json_get_size(&n, o, "z", "f", &e), 0);
    assert_int_equal(n, 7);
    assert_int_equal(json_get_double(&x, o, "n", "f", &e), 0);
    assert_true(x == 7);
    assert_int_equal(json_get_double(&x, o, "x", "f", &e), 0);
    assert_true(x == 2.5);
    assert_int_equal(json_get_bool(&b, o, "b", "f", &e), 0);
    assert_true(b);
    assert_int_equal(json_get_string(&s, o, "s", "f", &e), 0);
    assert_string_equal(s, "t");
    assert_true(json_has(o, "n") && !json_has(o, "z") && !json_has(o, "absent"));
    assert_int_equal(json_get_size(&n, o, "neg", "f", &e), ERR_FAIL);
    assert_string_equal(e.msg, "f: neg: found an integer, wanted an integer of 0 or more");
    assert_int_equal(json_get_size(&n, o, "x", "f", &e), ERR_FAIL);
    assert_int_equal(json_get_double(&x, o, "s", "f", &e), ERR_FAIL);
    assert_string_equal(e.msg, "f: s: found a string, wanted a number");
    assert_int_equal(json_get_bool(&b, o, "n", "f", &e), ERR_FAIL);
    assert_int_equal(json_get_string(&s, o, "b", "f", &e), ERR_FAIL);
    json_decref(o);
}

static void test_json_written(void **state)
{
    (void)state;
    static const char text[] = "a\"b\\c\n\t\r\x01\x1f\0gr\xc3\xbc \xf0\x9f\x99\x82 </s>";
    struct str s = { 0 };
    struct err e;
    json_add_string(&s, text, sizeof text - 1);
    json_t *v = json_parse(s.p, s.n, JSON_DUP_REFUSED, "f", &e);
    assert_int_equal(json_string_length(v), sizeof text - 1);
    assert_memory_equal(json_string_value(v), text, sizeof text - 1);
    json_decref(v);
    for (uint64_t i = 0; i < 20000; i++) { /* bits of any kind */
        uint64_t bits = (uint64_t)rng_u32(1, RNG_TEST, 0, 2 * i) << 32 |
                        rng_u32(1, RNG_TEST, 0, 2 * i + 1);
        double x;
        memcpy(&x, &bits, sizeof x);
        str_clear(&s);
        json_add_double(&s, x);
        if (isfinite(x)) {
            double back = strtod(s.p, NULL);
            assert_memory_equal(&back, &x, sizeof x);
        } else {
            assert_string_equal(s.p, "null");
        }
    }
    str_clear(&s);
    json_add_double(&s, 0.1);
    str_addc(&s, ' ');
    json_add_double(&s, 3);
    assert_string_equal(s.p, "0.1 3");
    str_free(&s);
}

static void the_json_writer_puts_commas_and_lines(void **state)
{
    (void)state;
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    json_write_object(&w, NULL, JSON_LINES);
    json_write_text(&w, "a \"key\"", "x\n");
    json_write_text(&w, "nothing", NULL);
    json_write_text_n(&w, "cut", "abc", 2);
    json_write_array(&w, "list", JSON_LINES);
    json_write_object(&w, NULL, JSON_ONE_LINE);
    json_write_count(&w, "n", UINT64_MAX);
    json_write_bool(&w, "yes", true);
    json_write_object(&w, "inner", JSON_LINES); /* at the depth where it is */
    json_write_bool(&w, "no", false);
    json_write_end(&w);
    json_write_end(&w);
    json_write_object(&w, NULL, JSON_LINES);
    json_write_end(&w);
    json_write_end(&w);
    json_write_array(&w, "numbers", JSON_ONE_LINE);
    json_write_real(&w, NULL, 0.1);
    json_write_decimals(&w, NULL, 0.25, 1);
    json_write_decimals(&w, NULL, 1e6, 0);
    json_write_digits(&w, NULL, 1e9 / 3, 6);
    for (int i = 0; i < 3; i++) {
        static const double odd[] = { NAN, INFINITY, -INFINITY };
        json_write_real(&w, NULL, odd[i]);
        json_write_decimals(&w, NULL, odd[i], 2);
        json_write_digits(&w, NULL, odd[i], 2);
    }
    json_write_end(&w);
    json_write_end(&w);
    assert_string_equal(s.p, "{\n  \"a \\\"key\\\"\": \"x\\n\",\n  \"nothing\": null,\n"
                             "  \"cut\": \"ab\",\n  \"list\": [\n"
                             "    {\"n\": 18446744073709551615, \"yes\": true, \"inner\": {\n"
                             "        \"no\": false\n      }},\n    {}\n  ],\n"
                             "  \"numbers\": [0.1, 0.2, 1000000, 3.33333e+08, null, null, null, "
                             "null, null, null, null, null, null]\n}");
    str_free(&s);
}

static void json_is_safe_and_whole(void **state)
{
    (void)state;
    struct str s = { 0 };
    struct err e;
    json_add_string(&s, "a\xff\xe2\x80", 4);
    assert_string_equal(s.p, "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    str_clear(&s);
    static const char odd[] = "\x7f \xc2\x9b \xe2\x80\xae \xf3\xa0\x81\xa1 \xc3\xbc \n\t\\";
    json_t *o = json_pack("{s: o, s: o}", "ok", json_text(odd), "not UTF-8", json_text("\xff\n"));
    json_add_tree(&s, o);
    json_make_safe(&s, 0);
    assert_string_equal(s.p, "{\n  \"not UTF-8\": \"\\\\xff\\\\x0a\",\n  \"ok\": \"\\u007f \\u009b "
                             "\\u202e \\udb40\\udc61 \xc3\xbc \\n\\t\\\\\"\n}");
    json_t *back = json_parse(s.p, s.n, JSON_DUP_REFUSED, "x", &e);
    assert_true(back && json_equal(o, back));
    json_decref(back);
    json_decref(o);
    str_free(&s);
}

static void test_json_file(void **state)
{
    (void)state;
    struct err e;
    const char *path = put_text("bom.json", "\xef\xbb\xbf{\"a\": 1}");
    json_t *v = json_read(path, 100, &e);
    assert_true(json_is_object(v));
    json_decref(v);
    assert_null(json_read(path, 5, &e));
    assert_non_null(strstr(e.msg, "larger than 5 bytes"));
    path = put_text("empty.json", "");
    assert_null(json_read(path, 100, &e));
    assert_refused(e.code, &e, path, "empty", "not valid JSON");
}

/* ---- the bounded reader ---------------------------------------------------------------------- */

static void test_reader(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 1,  2, 3, 4,    5,    6, 7, 8, 9, 10, 11, 12,   13,   14,
                                     15, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0,  0,  0xf0, 0x3f, 42 };
    struct reader r = reader_of(bytes, sizeof bytes);
    assert_int_equal(reader_u8(&r), 1);
    assert_int_equal(reader_u16(&r), 0x0302);
    assert_int_equal(reader_u32(&r), 0x07060504);
    assert_int_equal(reader_u64(&r), 0x0f0e0d0c0b0a0908);
    assert_true(reader_f32(&r) == 1.0f);
    reader_take(&r, 0);
    assert_true(reader_f64(&r) == 1.0);
    assert_int_equal(reader_left(&r), 1);
    assert_true(reader_need(&r, 1));
    assert_int_equal(reader_u16(&r), 0); /* too short: the error stays, and so does the byte */
    assert_true(r.short_read);
    assert_int_equal(reader_u8(&r), 0);
    assert_null(reader_take(&r, 0));
    r = reader_of(bytes, sizeof bytes);
    assert_false(reader_need(&r, UINT64_MAX));
    r = reader_of(NULL, 0);
    assert_int_equal(reader_u8(&r), 0);
    assert_true(r.short_read);
}

static void test_varint(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        uint64_t value;
        bool bad;
    } rows[] = {
        { "\x00", 1, 0, false },
        { "\x7f", 1, 127, false },
        { "\x80\x01", 2, 128, false },
        { "\xac\x02", 2, 300, false },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, UINT64_MAX, false },
        { "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, 0, true }, /* a 65th bit */
        { "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, 0, true },
        { "\x80", 1, 0, true },
        { "", 0, 0, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reader r = reader_of(rows[i].bytes, rows[i].n);
        uint64_t v = reader_varint(&r);
        if (v != rows[i].value || r.short_read != rows[i].bad) fail_msg("row %zu", i);
    }
}

/* ---- hashing --------------------------------------------------------------------------------- */

/* FIPS 180-4's examples. */
static const struct {
    const char *text, *hex;
} digests[] = {
    { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

static void test_sha256(void **state)
{
    (void)state;
    struct err e;
    for (size_t i = 0; i < 3; i++) {
        uint8_t digest[SHA256_BYTES];
        char hex[SHA256_HEX];
        size_t n = strlen(digests[i].text);
        assert_int_equal(sha256_of(digest, digests[i].text, n, &e), 0);
        hex_of(hex, digest);
        assert_string_equal(hex, digests[i].hex);
        struct sha256 h;
        assert_int_equal(sha256_begin(&h, &e), 0);
        for (size_t j = 0; j < n; j++) sha256_add(&h, digests[i].text + j, 1);
        sha256_end(&h, digest);
        hex_of(hex, digest);
        assert_string_equal(hex, digests[i].hex);
        const char *path = put_text("hashed", digests[i].text);
        assert_int_equal(sha256_file(digest, path, NULL, &e), 0);
        hex_of(hex, digest);
        assert_string_equal(hex, digests[i].hex);
    }
    uint8_t digest[SHA256_BYTES];
    assert_int_equal(sha256_file(digest, temp_path("absent"), NULL, &e), ERR_FAIL);
}

/* What a watch was told last, and how often; it stops the work at call number `stop_at`. */
struct watched {
    double done, all;
    int calls, stop_at;
};

static void see(void *to, double done, double all)
{
    struct watched *w = to;
    assert_true(done >= w->done);
    w->done = done;
    w->all = all;
    w->calls++;
}

static bool stops(void *context)
{
    const struct watched *w = context;
    return w->calls == w->stop_at;
}

static void test_hash_watched(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    static const char bytes[BYTES];
    struct watched seen = { 0 };
    const struct stop stop = { stops, &seen };
    const struct watch w = { &stop, see, &seen };
    char out[2][SHA256_HEX], hex[SHA256_HEX], zeros[PATH_BYTES], letters[PATH_BYTES];
    char *files[] = { zeros, letters };
    uint8_t digest[SHA256_BYTES];
    struct err e;
    snprintf(zeros, sizeof zeros, "%s", temp_path("zeros"));
    snprintf(letters, sizeof letters, "%s", put_text("letters", "abc"));
    assert_int_equal(file_replace(zeros, bytes, BYTES, 0600, &e), 0);
    setenv("XDG_CACHE_HOME", put_text("not-a-dir", ""), 1);
    assert_int_equal(hash_files(out, files, 2, &w, &e), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sha256_file(digest, files[i], NULL, &e), 0);
        hex_of(hex, digest);
        assert_string_equal(out[i], hex);
    }
    assert_true(seen.done == BYTES + 3 && seen.all == BYTES + 3);
    assert_true(seen.calls >= 5);
    seen = (struct watched){ .stop_at = 2 };
    assert_int_equal(hash_files(out, files, 2, &w, &e), ERR_STOPPED);
    assert_int_equal(seen.calls, 2);
    setenv("XDG_CACHE_HOME", test_dir, 1);
}

/* Digest of a file through the cache, which lies in test_dir. */
static void hash_through(char hex[SHA256_HEX], const char *path)
{
    char *files[1] = { (char *)(uintptr_t)path };
    char out[1][SHA256_HEX];
    struct hash_job *job;
    struct err e;
    if (hash_start(&job, files, 1, &e) || hash_wait(job, out, &e)) fail_msg("%s", e.msg);
    memcpy(hex, out[0], SHA256_HEX);
}

static void identity_of(char *out, size_t n, const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    snprintf(out, n, "%llx %llu %lld %lld.%09ld ", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
             st.st_mtim.tv_nsec);
}

static void test_hash_cache(void **state)
{
    (void)state;
    char hex[SHA256_HEX], id[200];
    struct str cache = { 0 }, planted = { 0 };
    setenv("XDG_CACHE_HOME", test_dir, 1);
    const char *path = put_text("weights", "abc");
    hash_through(hex, path);
    assert_string_equal(hex, digests[1].hex);
    get_file(&cache, temp_path("lorac/sha256"));
    identity_of(id, sizeof id, path);
    assert_memory_equal(cache.p, id, strlen(id));
    assert_memory_equal(cache.p + strlen(id), hex, SHA256_HEX - 1);
    /* the cache is believed: this saves the time */
    str_addf(&planted, "%s%064d\n", id, 7);
    put_file("lorac/sha256", planted.p, planted.n);
    hash_through(hex, path);
    assert_int_equal(hex[63], '7');
    /* but not for another file whose numbers have the same end */
    str_clear(&planted);
    str_addf(&planted, "f%s%064d\n", id, 7);
    put_file("lorac/sha256", planted.p, planted.n);
    hash_through(hex, path);
    assert_string_equal(hex, digests[1].hex);
    /* nor after the file has changed */
    hash_through(hex, put_text("weights", ""));
    assert_string_equal(hex, digests[0].hex);
    /* rubbish in the cache costs only time */
    put_text("lorac/sha256", "\xff\n\n zz");
    hash_through(hex, path);
    assert_string_equal(hex, digests[0].hex);
    put_text("not-a-dir", "");
    setenv("XDG_CACHE_HOME", temp_path("not-a-dir"), 1);
    hash_through(hex, path);
    assert_string_equal(hex, digests[0].hex);
    setenv("XDG_CACHE_HOME", test_dir, 1);
    str_free(&cache);
    str_free(&planted);
}

static void test_hash_job(void **state)
{
    (void)state;
    char *files[] = { (char *)(uintptr_t)put_text("a", "abc"),
                      (char *)(uintptr_t)temp_path("absent") };
    char out[2][SHA256_HEX];
    struct hash_job *job;
    struct err e;
    assert_int_equal(hash_start(&job, files, 2, &e), 0);
    assert_int_equal(hash_wait(job, out, &e), ERR_FAIL);
    assert_refused(e.code, &e, files[1], "absent", "No such file");
    assert_int_equal(hash_start(&job, files, 2, &e), 0);
    hash_abandon(job);
    hash_abandon(NULL);
}

/* ---- random numbers -------------------------------------------------------------------------- */

/* The vectors of Random123's kat_vectors for philox4x32 with ten rounds. */
static void test_philox(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } rows[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        philox4x32(out, rows[i].counter, rows[i].key);
        assert_memory_equal(out, rows[i].out, sizeof out);
    }
}

static void test_rng(void **state)
{
    (void)state;
    uint64_t seed = 0x123456789abcdef0, index = ((uint64_t)9 << 34) + 2;
    uint32_t out[4],
        counter[4] = { (uint32_t)(index / 4), (uint32_t)(index / 4 >> 32), 3, RNG_SAMPLE };
    philox4x32(out, counter, (uint32_t[]){ 0x9abcdef0, 0x12345678 });
    assert_int_equal(rng_u32(seed, RNG_SAMPLE, 3, index), out[2]);
    double sum = 0;
    enum { N = 20000 };
    for (uint64_t i = 0; i < N; i++) {
        double u = rng_unit(4, RNG_TEST, 0, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(fabs(sum / N - 0.5) < 4 * 0.289 / sqrt(N));
}

static void test_permutation(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint32_t one[N], other[N], seen[N] = { 0 };
    rng_permutation(one, N, 5, RNG_SHUFFLE, 0);
    rng_permutation(other, N, 5, RNG_SHUFFLE, 0);
    assert_memory_equal(one, other, sizeof one);
    for (size_t i = 0; i < N; i++) seen[one[i]]++;
    for (size_t i = 0; i < N; i++) assert_int_equal(seen[i], 1);
    rng_permutation(other, N, 5, RNG_SHUFFLE, 1);
    assert_true(memcmp(one, other, sizeof one) != 0);
    rng_permutation(other, N, 6, RNG_SHUFFLE, 0);
    assert_true(memcmp(one, other, sizeof one) != 0);
    rng_permutation(other, 1, 5, RNG_SHUFFLE, 0);
    assert_int_equal(other[0], 0);
    rng_permutation(other, 0, 5, RNG_SHUFFLE, 0);
    size_t count[6] = { 0 }; /* all orders of three, equally often: chi-squared, 5 degrees */
    for (uint32_t i = 0; i < 6000; i++) {
        rng_permutation(other, 3, 1, RNG_TEST, i);
        count[2 * other[0] + (other[1] > other[2])]++;
    }
    double chi = 0;
    for (size_t i = 0; i < 6; i++)
        chi += ((double)count[i] - 1000) * ((double)count[i] - 1000) / 1000;
    assert_true(chi < 20.5); /* one in a thousand */
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void test_machine(void **state)
{
    (void)state;
    const char *why;
    assert_true(machine_cpu()[0] && machine_host()[0]);
    assert_true(machine_memory_available(&why) > 0 && why[0]);
    size_t now = machine_memory_resident();
    assert_true(now > 100000 && machine_memory_peak() >= now);
    assert_true(machine_threads(&why) >= 1);
    setenv("SLURM_MEM_PER_NODE", "1", 1); /* 1 MiB, less than we have taken already */
    assert_int_equal(machine_memory_available(&why), 0);
    assert_string_equal(why, "the Slurm allocation");
    unsetenv("SLURM_MEM_PER_NODE");
}

static void test_forget_peak(void **state)
{
    (void)state;
    struct err e;
    struct arena a = { .used = 96 << 20 };
    if (access("/proc/self/clear_refs", W_OK) != 0) skip();
    if (arena_map(&a, &e)) fail_msg("%s", e.msg); /* touches its pages */
    arena_unmap(&a);
    size_t peak = machine_memory_peak(), now = machine_memory_resident();
    assert_true(peak > now + (64 << 20));
    machine_memory_forget_peak();
    assert_true(machine_memory_peak() < peak - (32 << 20));
}

/* The settings for libgomp replace variables for a moment; all of these are back afterwards. */
static void test_environment_is_whole(void **state)
{
    (void)state;
    struct str all = { 0 };
    struct err e;
    size_t seen = 0;
    FILE *f = fopen("/proc/self/environ", "re");
    if (!f) skip();
    for (int c; (c = getc(f)) != EOF;) str_addc(&all, (char)c);
    fclose(f);
    assert_int_equal(str_error(&all, &e), 0);
    if (memmem(all.p, all.n, "VALGRIND_LAUNCHER=", 18)) { /* it takes some of its own away */
        str_free(&all);
        skip();
    }
    for (char *p = all.p; p < all.p + all.n; p += strlen(p) + 1, seen++) {
        char *equals = strchr(p, '=');
        if (!equals) continue;
        *equals = 0;
        const char *now = getenv(p);
        if (!now || strcmp(now, equals + 1) != 0) fail_msg("%s is %s", p, now ? now : "unset");
        *equals = '=';
    }
    assert_true(seen > 0);
    str_free(&all);
}

/* Threads spin where no other program takes cores away; otherwise not, with a new try later. */
/* From one row to the next: a row says what happened under the decision of the row before. */
static void test_waiting(void **state)
{
    (void)state;
    static const struct {
        double seconds, cpu_s;
        long taken;
        bool crowded;
        enum waiting wanted;
    } rows[] = {
        { 0.05, 0.10, 0, false, WAITING_SPIN },    /* alone */
        { 0.05, 0.10, 3, false, WAITING_SPIN },    /* the kernel's own work */
        { 0.05, 0.10, 3, true, WAITING_SPIN },     /* many want to compute, but no core is taken */
        { 0.05, 0.05, 9, false, WAITING_SPIN },    /* a burst that has passed */
        { 0.05, 0.05, 9, true, WAITING_ALONE },    /* beside two loops, a slice is 3 ms: for 1 s */
        { 0.06, 0.04, 900, false, WAITING_ALONE }, /* one thread, 0.1 s ... */
        { 0.06, 0.04, 0, false, WAITING_SLEEP },   /* ... did two thirds of a core; then all ... */
        { 0.06, 0.055, 0, false, WAITING_SLEEP },  /* ... got 1.25 times that: it goes on */
        { 0.06, 0.02, 0, false, WAITING_ALONE },   /* until they get less */
        { 0.80, 0.50, 0, false, WAITING_SPIN },    /* a new try */
        { 0.05, 0.05, 8, true, WAITING_ALONE },    /* they are still there: 2 s, tried again */
        { 0.20, 0.14, 0, false, WAITING_SLEEP },
        { 0.20, 0.16, 0, false, WAITING_ALONE }, /* all got a little more, and need more */
        { 1.70, 1.00, 0, true, WAITING_ALONE },  /* seen again: 4 s */
        { 4.10, 2.00, 0, true, WAITING_ALONE },
        { 8.10, 4.00, 0, true, WAITING_ALONE }, /* no longer than 8 */
        { 8.10, 4.00, 0, false, WAITING_SPIN },
        { 0.05, 0.10, 1, false, WAITING_SPIN }, /* they are gone */
        { 0.05, 0.01, 4, true,
          WAITING_ALONE }, /* beside ten, few slices, but each was taken: 1 s */
        { 1.10, 0.05, 0, false, WAITING_SPIN },
        { 60.0, 110., 900, true, WAITING_SPIN },   /* a long piece of work, alone */
        { 60.0, 55.0, 9000, true, WAITING_ALONE }, /* and not */
    };
    struct waiting_rule r = { .brief = true };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum waiting found = waiting_decide(&r, rows[i].seconds, rows[i].cpu_s, rows[i].taken,
                                            rows[i].crowded);
        if (found != rows[i].wanted) fail_msg("row %zu: %d", i, found);
    }
    r = (struct waiting_rule){ .brief = false }; /* large layers: one thread is never tried */
    assert_int_equal(waiting_decide(&r, 0.05, 0.05, 9, true), WAITING_SLEEP);
    assert_int_equal(waiting_decide(&r, 0.2, 0.01, 0, false), WAITING_SLEEP);
    int threads = omp_get_max_threads();
    waiting_begin();
    waiting_begin();
    waiting_adapt();
    waiting_end();
    waiting_end();
    assert_int_equal(omp_get_max_threads(), threads);
}

static void test_load(void **state)
{
    (void)state;
    static const struct {
        double others;
        int cpus, threads;
        double quota;
        const char *wanted; /* NULL: nothing to say */
    } rows[] = {
        { 0, 2, 2, 0, NULL },
        { 0.4, 2, 2, 0, NULL }, /* a daemon */
        { 0.6, 2, 2, 0, "stop them, or export OMP_NUM_THREADS=1" },
        { 1.9, 2, 2, 0, "stop them, or run where nobody else computes" },
        { 2.1, 2, 2, 0, "stop them, or run where nobody else computes" }, /* a tick too many */
        { 1.0, 2, 1, 0, NULL },                                           /* one each */
        { 1.6, 2, 1, 0, "stop them, or run where nobody else computes" },
        { 0.9, 1, 1, 0, "stop them, or run where nobody else computes" },
        { 30, 64, 64, 8, NULL }, /* the control group leaves us less than the others do */
        { 60, 64, 64, 8, "stop them, or export OMP_NUM_THREADS=4" },
        { 3.2, 64, 64, 0, "stop them, or export OMP_NUM_THREADS=60" },
        { 0.2, 2, 8, 0, NULL }, /* too many threads: a different fault */
    };
    char text[96];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool said = load_remedy(text, sizeof text, rows[i].others, rows[i].cpus, rows[i].threads,
                                rows[i].quota);
        if (said != (rows[i].wanted != NULL)) fail_msg("row %zu: %s", i, said ? text : "nothing");
        if (said) assert_string_equal(text, rows[i].wanted);
    }
    struct load_sample from = { 10, 100, 5 },
                       to = { 12, 103.5, 6 }; /* 3.5 s, 1 of them ours, in 2 */
    assert_true(fabs(load_others(&from, &to) - 1.25) < 1e-12);
    to.all_s = 100.5; /* ticks are coarse: we took more than there was */
    assert_true(load_others(&from, &to) == 0);
    assert_true(load_others(&from, &from) == 0);
    assert_true(load_sample(&from));
    assert_true(from.all_s > 0 && from.own_s > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_environment_is_whole,
              "waiting: setting up the threads leaves the environment as it was"),
        ENTRY(test_mem,
              "memory: blocks are zeroed, grow with their content, and refuse sizes that overflow"),
        ENTRY(test_mem_guard,
              "memory: an allocation under the guard ends the process, in other threads not"),
        ENTRY(test_arena, "memory: an arena places what it counted, aligned, and ends a process "
                          "that overruns it"),
        ENTRY(test_err, "errors: a message has its code, errno's text and one prefix"),
        ENTRY(test_quote, "errors: a quoted name is safe, and cut when it is long"),
        ENTRY(test_str, "strings: they grow, and stay failed after an addition that failed"),
        ENTRY(test_nearest, "strings: the nearest word is found, a far one is not"),
        ENTRY(test_utf8_all,
              "UTF-8: every code point is read and written, surrogates and more are refused"),
        ENTRY(test_utf8_invalid, "UTF-8: invalid bytes are refused at their place"),
        ENTRY(test_json_refused, "JSON: what parsers disagree on is refused, in one line"),
        ENTRY(test_json_huge, "JSON: an integer beyond 64 bits is a real number"),
        ENTRY(test_json_values, "JSON: members are read by type, the error names file and key"),
        ENTRY(test_json_written, "JSON: texts and numbers that are written read back as they were"),
        ENTRY(the_json_writer_puts_commas_and_lines,
              "JSON: the writer puts commas and line ends where they belong"),
        ENTRY(test_json_file, "JSON: a file is read whole, or refused by its name"),
        ENTRY(test_reader, "bytes: reading beyond the end fails and stays failed"),
        ENTRY(test_varint,
              "bytes: variable-length integers are read up to 64 bits, longer ones refused"),
        ENTRY(test_sha256, "hash: SHA-256 gives the standard's digests"),
        ENTRY(test_hash_cache, "hash: the cache serves an unchanged file, not a changed one"),
        ENTRY(test_hash_watched, "hash: a watch sees all bytes of several files, and ends it"),
        ENTRY(test_hash_job, "hash: a job in the background names the file it cannot read"),
        ENTRY(test_philox, "random: philox4x32 gives the vectors of its authors"),
        ENTRY(test_rng, "random: numbers are functions of seed, purpose and place"),
        ENTRY(test_permutation,
              "random: a permutation has each number once, and depends on seed and epoch"),
        ENTRY(messages_are_one_safe_line,
              "errors: a message is one safe line, whatever its arguments hold"),
        ENTRY(long_messages_lose_their_middle,
              "errors: a long message keeps its beginning and its end"),
        ENTRY(fits_at_every_length,
              "errors: a line is cut at its limit, not before and not beyond"),
        ENTRY(lines_hold_what_arguments_bring,
              "strings: a line for people stays one line, whatever its arguments hold"),
        ENTRY(counts_agree_with_their_noun, "strings: a count agrees with its noun"),
        ENTRY(words_for_a_shell, "strings: a word is quoted so that a shell takes it as it is"),
        ENTRY(json_is_safe_and_whole,
              "JSON: what may go to a terminal is safe there and says the same"),
        ENTRY(test_forget_peak, "machine: the peak of memory can be forgotten"),
        ENTRY(test_machine, "machine: memory and threads are known, and Slurm's limits are kept"),
        ENTRY(test_waiting, "waiting: threads spin while alone, and give way to other programs"),
        ENTRY(test_load, "load: other programs are reported when they take a core that is wanted"),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
