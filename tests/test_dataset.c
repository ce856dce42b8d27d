/* Data sets: counts, the split, what is too long, and that threads make no difference. */
#include "tests/data_test.h"

#include <omp.h>
#include <time.h>

#include "src/data/dataset.h"

static const struct tokenizer *bytes(void)
{
    static struct tokenizer *t;
    struct err e;
    if (!t) assert_ok(tokenizer_open(&t, byte_tokenizer(), &e), &e);
    return t;
}

static const struct tokenizer *llama2(void)
{
    static struct tokenizer *t;
    const char *path = t ? NULL : fixture("llama2-tokenizer/tokenizer.model");
    struct err e;
    if (path) assert_ok(tokenizer_open(&t, path, &e), &e);
    return t;
}

static struct data_options options_of(const struct data_source *train)
{
    return (struct data_options){
        .train = train, .n_train = 1, .render = { TRAIN_ON_RESPONSES, true }, .max_length = 2048
    };
}

static struct data_source source_of(const char *path, const char *template)
{
    return (struct data_source){ .path = path,
                                 .template = template ? template_named(template) : NULL,
                                 .weight = 1 };
}

/* Open what must open; notes are returned where wanted. */
static void open_ok(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                    struct str *notes)
{
    struct err e = { 0 };
    struct str own = { 0 };
    assert_ok(dataset_open(d, o, tok, notes ? notes : &own, &e), &e);
    str_free(&own);
}

static void open_fails(const struct data_options *o, const struct tokenizer *tok, int want,
                       const char *message)
{
    struct err e = { 0 };
    struct str notes = { 0 };
    struct dataset d;
    int code = dataset_open(&d, o, tok, &notes, &e);
    if (code != want) fail_msg("found code %d (%s), wanted %d", code, e.msg, want);
    assert_message(&e, message);
    assert_int_equal(d.train.n, 0);
    assert_null(d.train.ids);
    assert_null(d.validation.ids);
    str_free(&notes);
}

/* Examples as text: "1,2*,3* | 4,5*", a target with a star. */
static void assert_examples(const struct examples *x, const char *want)
{
    struct str s = { 0 };
    for (size_t i = 0; i < x->n; i++) {
        if (i) str_addz(&s, " | ");
        for (size_t j = x->at[i]; j < x->at[i + 1]; j++) {
            str_addf(&s, "%s%d%s", j > x->at[i] ? "," : "", x->ids[j], x->target[j] ? "*" : "");
        }
    }
    if (strcmp(s.p ? s.p : "", want) != 0) fail_msg("found %s, wanted %s", s.p, want);
    str_free(&s);
}

/* Examples as the text of a byte tokenizer, targets between guillemets, "|" between examples. */
static void assert_rendered(const struct examples *x, const char *want)
{
    struct str s = { 0 };
    for (size_t i = 0; i < x->n; i++) {
        bool on = false;
        if (i) str_addc(&s, '|');
        for (size_t j = x->at[i]; j <= x->at[i + 1]; j++) {
            bool now = j < x->at[i + 1] && x->target[j];
            if (now != on) str_addz(&s, now ? "\xc2\xab" : "\xc2\xbb");
            on = now;
            if (j < x->at[i + 1]) tokenizer_decode(bytes(), &s, &x->ids[j], 1, true, false);
        }
    }
    if (strcmp(s.p ? s.p : "", want) != 0) fail_msg("found\n%s\nwanted\n%s", s.p, want);
    str_free(&s);
}

static void assert_same(const struct examples *a, const struct examples *b)
{
    assert_int_equal(a->n, b->n);
    if (a->n == 0) return;
    assert_memory_equal(a->at, b->at, (a->n + 1) * sizeof *a->at);
    assert_memory_equal(a->ids, b->ids, examples_tokens(a) * sizeof *a->ids);
    assert_memory_equal(a->target, b->target, examples_tokens(a));
}

/* ---- tokens: no tokenizer needed ------------------------------------------------------------ */

static void as_given(void **state)
{
    (void)state;
    struct data_source s = source_of(
        temp_file("tokens.jsonl",
                  "{\"input_ids\":[5,6,7],\"labels\":[5,-100,7]}\n"
                  "{\"input_ids\":[8,9]}\n{\"input_ids\":[1,2],\"labels\":[1,-100]}\n"
                  "{\"input_ids\":[3]}\n"),
        NULL);
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    open_ok(&d, &o, NULL, &notes);
    assert_examples(&d.train, "5,6,7* | 8,9*");
    assert_int_equal(d.train_counts.records, 4);
    assert_int_equal(d.train_counts.without_targets, 2);
    assert_int_equal(d.train_counts.tokens, 5);
    assert_int_equal(d.train_counts.targets, 2);
    assert_int_equal(d.train_counts.longest, 3);
    assert_int_equal(d.validation.n, 0);
    assert_string_equal(notes.p,
                        "train: 2 records without a target dropped (data.train_on: responses)\n");
    uint8_t digest[SHA256_BYTES];
    struct err e;
    assert_ok(sha256_file(digest, s.path, NULL, &e), &e);
    assert_memory_equal(digest, d.sha256, SHA256_BYTES);
    dataset_close(&d);
    str_free(&notes);
}

static void vocabulary(void **state)
{
    (void)state;
    struct data_source s = source_of(
        temp_file("vocab.jsonl", "{\"input_ids\":[1,2]}\n{\"input_ids\":[1,300,2]}\n"), NULL);
    struct data_options o = options_of(&s);
    struct dataset d;
    open_ok(&d, &o, NULL, NULL);
    dataset_close(&d);
    o.vocab_size = 301;
    open_ok(&d, &o, NULL, NULL);
    dataset_close(&d);
    o.vocab_size = 300;
    open_fails(&o, NULL, ERR_FAIL,
               "vocab.jsonl:2: input_ids[1]: found 300, wanted an id below 300");
    o.vocab_size = 0;
    open_fails(&o, bytes(), ERR_FAIL,
               "vocab.jsonl:2: input_ids[1]: found 300, wanted an id below 277");
}

/* ---- too long ------------------------------------------------------------------------------- */

static void long_tokens(void **state)
{
    (void)state;
    struct data_source s = source_of(
        temp_file("long.jsonl",
                  "{\"input_ids\":[1,2,3,4,5,6,7],\"labels\":[-100,-100,-100,-100,5,6,7]}\n"
                  "{\"input_ids\":[8,9,10]}\n"),
        NULL);
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    o.max_length = 3;
    open_ok(&d, &o, NULL, &notes);
    assert_examples(&d.train, "8,9*,10*");
    assert_int_equal(d.train_counts.overlong, 1);
    assert_int_equal(d.train_counts.longest, 7);
    assert_string_equal(notes.p,
                        "train: 1 longer than data.max_length = 3 tokens dropped (the longest "
                        "record has 7)\n"
                        "train: 3 targets are in what was dropped or cut away\n");
    assert_int_equal(d.train_counts.targets_lost, 3);
    dataset_close(&d);
    o.overlong = OVERLONG_TRUNCATE; /* cut before its first target: nothing to learn */
    open_fails(&o, NULL, ERR_FAIL,
               "long.jsonl:1: found no target in it, wanted an answer to learn");
    o.max_length = 6;
    str_clear(&notes);
    open_ok(&d, &o, NULL, &notes);
    assert_examples(&d.train, "1,2,3,4,5*,6* | 8,9*,10*");
    assert_int_equal(d.train_counts.truncated, 1);
    assert_string_equal(notes.p,
                        "train: 1 records cut to data.max_length = 6 tokens (the longest has 7)\n"
                        "train: 1 targets are in what was dropped or cut away\n");
    dataset_close(&d);
    o.overlong = OVERLONG_SPLIT;
    o.max_length = 3;
    str_clear(&notes);
    open_ok(&d, &o, NULL, &notes);
    assert_examples(&d.train, "4,5*,6* | 8,9*,10*"); /* 1,2,3 and 7 have nothing to learn */
    assert_int_equal(d.train_counts.split, 1);
    assert_string_equal(notes.p,
                        "train: 1 records split into pieces of at most data.max_length = 3 "
                        "tokens (the longest has 7)\n"
                        "train: 1 targets are in what was dropped or cut away\n");
    dataset_close(&d);
    o.overlong = OVERLONG_ERROR;
    o.skip_errors = true; /* which is about malformed records */
    open_fails(&o, NULL, ERR_FAIL,
               "long.jsonl:1: found 7 tokens, wanted at most data.max_length = 3; "
               "raise it, or set data.overlong");
    str_free(&notes);
}

static void long_texts(void **state)
{
    (void)state;
    struct data_source s = source_of(temp_file("text.jsonl", "{\"text\":\"abcdefg\"}"), NULL);
    struct data_options o = options_of(&s);
    struct dataset d;
    o.max_length = 3;
    o.overlong = OVERLONG_TRUNCATE;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, "a\xc2\xab"
                              "bcd\xc2\xbb"); /* "cd" is one token; no EOS */
    dataset_close(&d);
    o.overlong = OVERLONG_SPLIT;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, "a\xc2\xab"
                              "bcd\xc2\xbb|e\xc2\xab"
                              "fg\xc2\xbb");
    dataset_close(&d);
    s = source_of(temp_file("plain.jsonl", "{\"prompt\":\"xyz\",\"completion\":\"abef\"}"),
                  "plain");
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, "a\xc2\xab"
                              "be\xc2\xbb|f\xc2\xab<|im_end|>\xc2\xbb");
    dataset_close(&d);
}

#define MESSAGE(role, text) "{\"role\":\"" role "\",\"content\":\"" text "\"}"
#define CHAT                                                                                       \
    "{\"messages\":[" MESSAGE("user", "A") "," MESSAGE("assistant", "1") "," MESSAGE(              \
        "user", "B") "," MESSAGE("assistant",                                                      \
                                 "2") "," MESSAGE("user",                                          \
                                                  "C") "," MESSAGE("assistant",                    \
                                                                   "3") "," MESSAGE("user",        \
                                                                                    "D") "]}"
#define SYSTEM_CHAT                                                                                \
    "{\"messages\":[" MESSAGE("system", "S") "," MESSAGE("user", "A") "," MESSAGE(                 \
        "assistant", "1") "," MESSAGE("user", "B") "," MESSAGE("assistant", "2") "]}"
#define U(x)      "<|im_start|>user\n" x "<|im_end|>\n"
#define S(x)      "<|im_start|>system\n" x "<|im_end|>\n"
#define ANSWER(x) "<|im_start|>assistant\n\xc2\xab" x "<|im_end|>\xc2\xbb"

/* An exchange of CHAT has 1+5+1+1+1 and 1+10+1+1+1 tokens: 23; "assistant" is spelt by bytes. */
static void long_chats(void **state)
{
    (void)state;
    struct data_source s = source_of(temp_file("chat.jsonl", CHAT), "chatml");
    struct data_options o = options_of(&s);
    struct dataset d;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train,
                    U("A") ANSWER("1") "\n" U("B") ANSWER("2") "\n" U("C") ANSWER("3") "\n" U("D"));
    assert_int_equal(d.train_counts.tokens, 3 * 23 + 9);
    dataset_close(&d);
    o.overlong = OVERLONG_TRUNCATE;
    o.max_length = 3 * 23 - 1; /* the EOS of the third answer, not the line feed behind it */
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("A") ANSWER("1") "\n" U("B") ANSWER("2") "\n" U("C") ANSWER("3"));
    dataset_close(&d);
    o.max_length = 3 * 23 - 2;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("A") ANSWER("1") "\n" U("B") ANSWER("2"));
    dataset_close(&d);
    o.max_length = 21; /* within the first answer: cut there, without an EOS */
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("A") "<|im_start|>assistant\n\xc2\xab"
                                     "1\xc2\xbb");
    dataset_close(&d);
    o.max_length = 20;
    open_fails(&o, bytes(), ERR_FAIL,
               "chat.jsonl:1: found no target in it, wanted an answer to learn within "
               "data.max_length = 20");
    o.overlong = OVERLONG_SPLIT;
    o.max_length = 46;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train,
                    U("A") ANSWER("1") "\n" U("B") ANSWER("2") "\n|" U("C") ANSWER("3") "\n");
    assert_int_equal(d.train_counts.split, 1);
    assert_int_equal(d.train_counts.overlong, 0);
    dataset_close(&d);
    o.render.train_on = TRAIN_ON_LAST_RESPONSE; /* the last of the chat, not of each piece */
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("C") ANSWER("3") "\n");
    dataset_close(&d);
    o.render.train_on = TRAIN_ON_RESPONSES;
    o.max_length = 22; /* one less than an exchange, with the line feed */
    open_fails(&o, bytes(), ERR_FAIL,
               "data.train: none of 1 records is left; 3 longer than "
               "data.max_length = 22 (the longest has 78 tokens");
}

static void long_chats_keep_their_system_text(void **state)
{
    (void)state;
    struct data_source s = source_of(temp_file("chat.jsonl", SYSTEM_CHAT), "chatml");
    struct data_options o = options_of(&s);
    struct dataset d;
    o.overlong = OVERLONG_SPLIT;
    o.max_length = 46; /* two exchanges without the system text would fit */
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, S("S") U("A") ANSWER("1") "\n|" S("S") U("B") ANSWER("2") "\n");
    dataset_close(&d);
    struct str text = { 0 };
    str_addz(&text, "{\"messages\":[{\"role\":\"system\",\"content\":\"");
    for (int i = 0; i < 20000; i++) str_addz(&text, "Be brief. ");
    str_addz(&text, "\"}");
    for (int i = 0; i < 2000; i++) {
        str_addf(&text, ",{\"role\":\"user\",\"content\":\"%d\"}," MESSAGE("assistant", "x"), i);
    }
    str_addz(&text, "]}\n{\"messages\":[" MESSAGE("user", "A") "," MESSAGE("assistant", "1") "]}");
    s.path = temp_file("system.jsonl", text.p);
    clock_t begin = clock();
    open_ok(&d, &o, bytes(), NULL); /* no exchange fits beside that system text */
    assert_rendered(&d.train, U("A") ANSWER("1") "\n");
    assert_int_equal(d.train_counts.overlong, 2000);
    assert_true((clock() - begin) / CLOCKS_PER_SEC < 4); /* 400 MB of system text are not read */
    dataset_close(&d);
    str_clear(&text);
    str_addz(&text, "{\"messages\":[" MESSAGE("system", "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS"));
    for (int i = 0; i < 2000; i++) {
        str_addf(&text, ",{\"role\":\"user\",\"content\":\"%d\"}," MESSAGE("assistant", "x"), i);
    }
    str_addz(&text, "]}\n{\"messages\":[" MESSAGE("user", "A") "," MESSAGE("assistant", "1") "]}");
    s.path = temp_file("system.jsonl", text.p);
    o.max_length = 200; /* every answer is in exactly one piece */
    open_ok(&d, &o, bytes(), NULL);
    assert_int_equal(d.train_counts.overlong, 0);
    assert_int_equal(d.train_counts.targets, 2 * 2000 + 2);
    assert_true(d.train.n > 300 && d.train.n < 400);
    for (size_t i = 0; i < d.train.n; i++) assert_true(d.train.at[i + 1] - d.train.at[i] <= 200);
    dataset_close(&d);
    /* an exchange that does not fit is lost, its neighbours are not */
    s.path = temp_file(
        "gap.jsonl",
        "{\"messages\":[" MESSAGE("user", "A") "," MESSAGE("assistant", "1") "," MESSAGE(
            "user",
            "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB") "," MESSAGE("assistant",
                                                               "2") "," MESSAGE("user",
                                                                                "C") "," MESSAGE("a"
                                                                                                 "s"
                                                                                                 "s"
                                                                                                 "i"
                                                                                                 "s"
                                                                                                 "t"
                                                                                                 "a"
                                                                                                 "n"
                                                                                                 "t",
                                                                                                 "3") "]}");
    o.max_length = 46;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("A") ANSWER("1") "\n|" U("C") ANSWER("3") "\n");
    assert_int_equal(d.train_counts.overlong, 1);
    assert_int_equal(d.train_counts.split, 1);
    dataset_close(&d);
    str_free(&text);
}

/* ---- sides ---------------------------------------------------------------------------------- */

static const char *numbered(const char *name, size_t n)
{
    struct str s = { 0 };
    for (size_t i = 0; i < n; i++)
        str_addf(&s, "{\"prompt\":\"q%zu\",\"completion\":\"a%zu\"}\n", i, i);
    const char *path = temp_file_n(name, s.p, s.n);
    str_free(&s);
    return path;
}

static void split(void **state)
{
    (void)state;
    struct data_source s = source_of(numbered("split.jsonl", 1000), "plain");
    struct data_options o = options_of(&s);
    struct dataset d, again;
    o.validation_frac = 0.1;
    open_ok(&d, &o, bytes(), NULL);
    assert_int_equal(d.train.n + d.validation.n, 1000);
    assert_int_equal(d.train_counts.records + d.validation_counts.records, 1000);
    /* counted by another program from the definition in dataset.h */
    assert_int_equal(d.validation.n, 77);
    s.template = template_named("alpaca"); /* neither template nor answers move a record */
    open_ok(&again, &o, bytes(), NULL);
    assert_int_equal(again.validation.n, d.validation.n);
    dataset_close(&again);
    o.seed = 1;
    s.template = template_named("plain");
    open_ok(&again, &o, bytes(), NULL);
    assert_int_equal(again.validation.n, 104);
    dataset_close(&again);
    dataset_close(&d);
}

/* One question under other answers, system texts, shapes: one side. */
static void split_by_question(void **state)
{
    (void)state;
    struct str a = { 0 };
    for (int i = 0; i < 50; i++) {
        str_addf(&a,
                 "{\"messages\":[{\"role\":\"system\",\"content\":\"s%d\"},{\"role\":\"user\","
                 "\"content\":\"%d\\n\\n1 2\"},{\"role\":\"assistant\",\"content\":\"x\"}]}\n",
                 i, i);
    }
    struct str b = { 0 };
    for (int i = 0; i < 50; i++) {
        str_addf(&b, "{\"instruction\":\"%d\",\"input\":\"1 2\",\"output\":\"y\"}\n", i);
    }
    struct data_source s[2] = { source_of(temp_file("a.jsonl", a.p), "chatml"),
                                source_of(temp_file("b.jsonl", b.p), "chatml") };
    struct data_options o = options_of(s);
    struct dataset d;
    o.validation_frac = 0.5;
    for (o.seed = 0; o.seed < 5; o.seed++) {
        o.n_train = 2;
        open_ok(&d, &o, bytes(), NULL);
        size_t n = d.validation.n / 2;
        assert_true(n > 10 && n < 40 && d.validation.n % 2 == 0);
        dataset_close(&d);
        o.n_train = 1;
        open_ok(&d, &o, bytes(), NULL);
        assert_int_equal(d.validation.n, n);
        dataset_close(&d);
    }
    str_free(&a);
    str_free(&b);
}

static void empty_sides(void **state)
{
    (void)state;
    struct data_source s = source_of(numbered("few.jsonl", 10), "plain");
    struct data_options o = options_of(&s);
    o.validation_frac = 1e-9;
    open_fails(&o, bytes(), ERR_FAIL,
               "data.validation: a fraction of 1e-09 of 10 examples leaves none for "
               "validation; raise it");
    o.validation_frac = 1 - 1e-9;
    open_fails(&o, bytes(), ERR_FAIL, "leaves none to train on; lower it");
    o.validation_frac = 0.5;
    o.max_length = 2;
    open_fails(&o, bytes(), ERR_FAIL,
               "data.train: none of 10 records is left; 10 longer than "
               "data.max_length = 2 (the longest has 5 tokens: raise it");
    o.max_length = 100;
    o.validation_frac = 1;
    open_fails(&o, bytes(), ERR_USAGE, "data.validation: found 1, wanted a fraction");
    o.validation_frac = 0.0 / 0.0;
    open_fails(&o, bytes(), ERR_USAGE, "data.validation");
    o.validation_frac = 0;
    s.weight = 0;
    open_fails(&o, bytes(), ERR_USAGE, "found a weight of 0, wanted more than 0");
}

static void validation_files(void **state)
{
    (void)state;
    struct data_source s = source_of(numbered("train.jsonl", 10), "plain");
    struct data_source v = source_of(numbered("validation.jsonl", 4), "plain");
    struct data_options o = options_of(&s);
    o.validation = &v;
    o.n_validation = 1;
    o.validation_frac = 0.5; /* files of their own come first */
    struct dataset d;
    struct str notes = { 0 };
    open_ok(&d, &o, bytes(), &notes);
    assert_int_equal(d.train.n, 10);
    assert_int_equal(d.validation.n, 4);
    assert_string_equal(notes.p, "validation: 4 examples are also trained on\n");
    dataset_close(&d);
    v.path = temp_file("v.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}\n");
    open_fails(&o, bytes(), ERR_FAIL,
               "data.validation: none of 1 records is left; 1 without a target");
    str_free(&notes);
}

/* ---- repeats, copies ------------------------------------------------------------------------ */

static void repeats(void **state)
{
    (void)state;
    struct data_source s[2] = {
        source_of(temp_file("r1.jsonl", "{\"input_ids\":[1,2]}\n{\"input_ids\":[3,4]}"), NULL),
        source_of(temp_file("r2.jsonl", "[{\"input_ids\":[5,6]}]"), NULL),
    };
    struct data_options o = options_of(s);
    o.n_train = 2;
    s[0].weight = 2;
    s[1].weight = 3;
    struct dataset d;
    struct str notes = { 0 };
    open_ok(&d, &o, NULL, &notes);
    assert_examples(&d.train, "1,2* | 3,4* | 5,6*");
    assert_int_equal(d.n_shares, 2);
    assert_int_equal(d.shares[0].n, 2);
    assert_int_equal(d.shares[1].n, 1);
    assert_true(d.shares[0].weight == 2 && d.shares[1].weight == 3);
    assert_int_equal(d.train_counts.duplicates, 0);
    assert_int_equal(d.train_counts.records, 3);
    assert_int_equal(d.train_counts.tokens, 6);
    assert_null(notes.p);
    dataset_close(&d);
}

static void copies(void **state)
{
    (void)state;
    struct data_source s = source_of(
        temp_file("copies.jsonl", "{\"input_ids\":[1,2]}\n{\"input_ids\":[1,2]}\n"
                                  "{\"input_ids\":[1,2,3]}\n{\"input_ids\":[1,2]}\n"
                                  "{\"input_ids\":[1,2,3],\"labels\":[-100,-100,3]}\n"),
        NULL);
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    open_ok(&d, &o, NULL, &notes);
    assert_int_equal(d.train.n, 5);
    assert_int_equal(d.train_counts.duplicates, 2);
    assert_string_equal(notes.p, "train: 2 examples are exact copies of others\n");
    dataset_close(&d);
    str_free(&notes);
}

/* ---- malformed ------------------------------------------------------------------------------ */

static void malformed(void **state)
{
    (void)state;
    struct data_source s = source_of(
        temp_file("bad.jsonl",
                  "{\"prompt\":\"a\",\"completion\":\"b\"}\n{\"prompt\":\"a\"}\nnonsense\n"
                  "{\"prompt\":\"c\",\"completion\":\"d\"}\n"),
        "plain");
    struct data_options o = options_of(&s);
    open_fails(&o, bytes(), ERR_FAIL, "bad.jsonl:2: completion: found nothing, wanted a string");
    struct dataset d;
    struct str notes = { 0 };
    o.skip_errors = true;
    o.max_skipped_frac = 0.49;
    open_fails(&o, bytes(), ERR_FAIL,
               "data.train: 2 of 4 records are malformed (1 not valid JSON, 1 lacking a key), more "
               "than the 49 % that data.max_skipped_frac allows; the first: ");
    o.max_skipped_frac = 0.5;
    open_ok(&d, &o, bytes(), &notes);
    assert_int_equal(d.train.n, 2);
    assert_int_equal(d.train_counts.bad, 2);
    assert_int_equal(d.train_counts.faults[FAULT_JSON], 1);
    assert_int_equal(d.train_counts.faults[FAULT_KEY], 1);
    assert_int_equal(d.train_counts.records, 4);
    assert_non_null(strstr(notes.p,
                           "train: 2 of 4 records malformed and skipped (1 not valid JSON, 1 "
                           "lacking a key), the first: "));
    assert_non_null(strstr(notes.p, "bad.jsonl:2: completion"));
    dataset_close(&d);
    o.max_skipped_frac = 1;
    s.records.format = FORMAT_PROMPT_COMPLETION;
    s.path = temp_file("worse.jsonl", "{\"prompt\":\"a\"}\n");
    open_fails(&o, bytes(), ERR_FAIL,
               "data.train: none of 1 records is left; 1 malformed, the first: ");
    /* an order of turns that the template cannot write is the record's fault */
    s = source_of(temp_file("order.jsonl",
                            "{\"messages\":[" MESSAGE("user", "a") "," MESSAGE("user", "b") "]}\n"),
                  "alpaca");
    o.skip_errors = false;
    open_fails(&o, bytes(), ERR_FAIL, "order.jsonl:1: turn 2: found user, wanted assistant");
    s.path = "/nonexistent.jsonl";
    open_fails(&o, bytes(), ERR_FAIL, "/nonexistent.jsonl");
    str_free(&notes);
}

static void tokenizers(void **state)
{
    (void)state;
    struct data_source s = source_of(numbered("needs.jsonl", 3), "chatml");
    struct data_options o = options_of(&s);
    open_fails(&o, NULL, ERR_USAGE, "needs.jsonl: format prompt_completion needs a tokenizer");
    if (!llama2()) return;
    o.skip_errors = true;
    open_fails(&o, llama2(), ERR_USAGE, "data.template: chatml places the special token");
}

/* ---- real data ------------------------------------------------------------------------------ */

/* Numbers from SentencePiece and its offsets. */
static void gsm8k(void **state)
{
    (void)state;
    const char *path = fixture("gsm8k/train.jsonl");
    if (!path || !llama2()) skip();
    struct data_source s = source_of(path, "alpaca");
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    open_ok(&d, &o, llama2(), &notes);
    assert_int_equal(d.train.n, 7473);
    assert_int_equal(d.train_counts.tokens, 1740256);
    assert_int_equal(d.train_counts.targets, 976880);
    assert_int_equal(d.train_counts.longest, 607);
    assert_int_equal(d.train_counts.duplicates, 0);
    assert_null(notes.p);
    dataset_close(&d);
    o.validation_frac = 0.05;
    o.max_length = 200;
    open_ok(&d, &o, llama2(), NULL);
    assert_int_equal(d.validation_counts.records, 389);
    assert_int_equal(d.train_counts.overlong + d.validation_counts.overlong, 4570);
    dataset_close(&d);
    str_free(&notes);
}

static void threads(void **state)
{
    (void)state;
    const char *path = fixture("oasst/oasst_20230412_fr_top1.jsonl");
    const char *other = fixture("llama-factory-demo/alpaca_en_demo.json");
    if (!path || !other || !llama2()) skip();
    struct data_source s[2] = { source_of(path, "llama2"), source_of(other, "alpaca") };
    struct data_options o = options_of(s);
    o.n_train = 2;
    o.validation_frac = 0.1;
    o.max_length = 300;
    o.overlong = OVERLONG_SPLIT;
    int before = omp_get_max_threads();
    struct dataset first = { 0 }, d;
    struct str first_notes = { 0 }, notes = { 0 };
    static const int counts[] = { 1, 2, 3, 8 };
    for (size_t i = 0; i < 4; i++) {
        omp_set_num_threads(counts[i]);
        str_clear(&notes);
        open_ok(i ? &d : &first, &o, llama2(), i ? &notes : &first_notes);
        if (i == 0) continue;
        assert_same(&first.train, &d.train);
        assert_same(&first.validation, &d.validation);
        assert_memory_equal(&first.train_counts, &d.train_counts, sizeof d.train_counts);
        assert_memory_equal(&first.validation_counts, &d.validation_counts, sizeof d.train_counts);
        assert_memory_equal(first.sha256, d.sha256, SHA256_BYTES);
        assert_string_equal(first_notes.p, notes.p);
        dataset_close(&d);
    }
    omp_set_num_threads(before);
    assert_true(first.train.n > 800 && first.validation.n > 80);
    dataset_close(&first);
    str_free(&first_notes);
    str_free(&notes);
}

/* The error is the first one's, however many threads look. */
static void first_error(void **state)
{
    (void)state;
    struct str text = { 0 };
    for (int i = 0; i < 3000; i++) {
        str_addf(&text,
                 i > 0 && i % 7 == 0 ? "{\"prompt\":\"%d\"}\n"
                                     : "{\"prompt\":\"%d\",\"completion\":\"x\"}\n",
                 i);
    }
    struct data_source s = source_of(temp_file("errors.jsonl", text.p), "plain");
    struct data_options o = options_of(&s);
    for (int i = 0; i < 20; i++) open_fails(&o, bytes(), ERR_FAIL, "errors.jsonl:8: completion");
    str_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_given),    cmocka_unit_test(vocabulary),
        cmocka_unit_test(long_tokens), cmocka_unit_test(long_texts),
        cmocka_unit_test(long_chats),  cmocka_unit_test(long_chats_keep_their_system_text),
        cmocka_unit_test(split),       cmocka_unit_test(split_by_question),
        cmocka_unit_test(empty_sides), cmocka_unit_test(validation_files),
        cmocka_unit_test(repeats),     cmocka_unit_test(copies),
        cmocka_unit_test(malformed),   cmocka_unit_test(tokenizers),
        cmocka_unit_test(gsm8k),       cmocka_unit_test(threads),
        cmocka_unit_test(first_error),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
