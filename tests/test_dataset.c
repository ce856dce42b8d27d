/* Data sets: counts, the split, what is too long, and that threads make no difference. */
#include "tests/data_test.h"

#include <omp.h>
#include <time.h>

#include "src/data/dataset_open.h"

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
    return (
        struct data_options){ .train = train,
                              .n_train = 1,
                              .render = { .train_on = TRAIN_ON_RESPONSES, .train_on_eos = true },
                              .max_length = 2048 };
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

/* ---- tokens: no tokenizer needed ------------------------------------------------------------- */

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
               "vocab.jsonl:2: input_ids[1]: found 300, wanted an id below 281");
}

/* ---- too long -------------------------------------------------------------------------------- */

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
                        "train: 1 record cut to data.max_length = 6 tokens (the longest has 7)\n"
                        "train: 1 target is in what was dropped or cut away\n");
    dataset_close(&d);
    o.overlong = OVERLONG_SPLIT;
    o.max_length = 3;
    str_clear(&notes);
    open_ok(&d, &o, NULL, &notes);
    assert_examples(&d.train, "4,5*,6* | 8,9*,10*"); /* 1,2,3 and 7 have nothing to learn */
    assert_int_equal(d.train_counts.split, 1);
    assert_string_equal(notes.p, "train: 1 record split into pieces of at most data.max_length = 3 "
                                 "tokens (the longest has 7)\n"
                                 "train: 1 target is in what was dropped or cut away\n");
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
    o.max_length = 3 * 23 - 1; /* the EOS of the third answer, not the line feed after it */
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
    o.render.train_on = TRAIN_ON_LAST_RESPONSE; /* the last one of the chat, not of each piece */
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("C") ANSWER("3") "\n");
    dataset_close(&d);
    o.render.train_on = TRAIN_ON_RESPONSES;
    o.max_length = 22; /* one token less than an exchange with the line feed */
    open_fails(&o, bytes(), ERR_FAIL,
               "data.train: none of 1 record is left; 3 longer than "
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
    // clang-format off
    s.path = temp_file("gap.jsonl", "{\"messages\":["
        MESSAGE("user", "A") "," MESSAGE("assistant", "1") ","
        MESSAGE("user", "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB") "," MESSAGE("assistant", "2") ","
        MESSAGE("user", "C") "," MESSAGE("assistant", "3") "]}");
    // clang-format on
    o.max_length = 46;
    open_ok(&d, &o, bytes(), NULL);
    assert_rendered(&d.train, U("A") ANSWER("1") "\n|" U("C") ANSWER("3") "\n");
    assert_int_equal(d.train_counts.overlong, 1);
    assert_int_equal(d.train_counts.split, 1);
    dataset_close(&d);
    str_free(&text);
}

/* ---- sides ----------------------------------------------------------------------------------- */

static const char *numbered(const char *name, size_t n)
{
    struct str s = { 0 };
    for (size_t i = 0; i < n; i++)
        str_addf(&s, "{\"prompt\":\"q%zu\",\"completion\":\"a%zu\"}\n", i, i);
    const char *path = temp_file_n(name, s.p, s.n);
    str_free(&s);
    return path;
}

static size_t wanted_of(double fraction, size_t n)
{
    return (size_t)(fraction * (double)n + 0.5);
}

static size_t count_targets(const struct examples *x)
{
    size_t targets = 0, n = examples_tokens(x);
    for (size_t i = 0; i < n; i++) targets += x->target[i];
    return targets;
}

/* A fraction is that part of the examples, whatever the seed, the template and the answers. */
static void a_fraction_is_that_many(void **state)
{
    (void)state;
    static const double fractions[] = { 0.1, 0.3, 0.5, 0.9, 0.02 };
    static const size_t counts[] = { 60, 1000, 61, 3001 };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        struct data_source s = source_of(numbered("split.jsonl", counts[k]), "plain");
        struct data_options o = options_of(&s);
        for (size_t f = 0; f < sizeof fractions / sizeof *fractions; f++) {
            o.validation_frac = fractions[f];
            size_t seeds = counts[k] < 100 ? 40 : 2, wanted = wanted_of(fractions[f], counts[k]);
            for (o.seed = 0; o.seed < seeds; o.seed++) {
                struct dataset d;
                s.template = template_named(o.seed % 2 ? "alpaca" : "plain");
                open_ok(&d, &o, bytes(), NULL);
                assert_int_equal(d.validation.n, wanted);
                assert_int_equal(d.train.n, counts[k] - wanted);
                assert_int_equal(d.validation_counts.records, wanted);
                assert_int_equal(d.train_counts.records, counts[k] - wanted);
                assert_int_equal(d.train_counts.tokens, examples_tokens(&d.train));
                assert_int_equal(d.validation_counts.targets, count_targets(&d.validation));
                dataset_close(&d);
            }
        }
    }
}

/* The first ids of the validation side's examples, in order of size. */
static size_t first_ids(int32_t *ids, const struct dataset *d)
{
    for (size_t i = 0; i < d->validation.n; i++) {
        int32_t id = d->validation.ids[d->validation.at[i]];
        size_t k = i;
        for (; k > 0 && ids[k - 1] > id; k--) ids[k] = ids[k - 1];
        ids[k] = id;
    }
    return d->validation.n;
}

/* The order of the file does not matter, the seed does; what is read stays in the file's order. The
 * ids were chosen by another program, from the definition in dataset_open.h. */
static void the_order_of_records_does_not_matter(void **state)
{
    (void)state;
    static const int32_t wanted[] = { 101, 104, 109, 116, 127, 154 };
    struct str up = { 0 }, down = { 0 };
    for (int i = 0; i < 60; i++) {
        str_addf(&up, "{\"input_ids\":[%d,7,8]}\n", i + 100);
        str_addf(&down, "{\"input_ids\":[%d,7,8]}\n", 159 - i);
    }
    const char *path[2] = { temp_file("up.jsonl", up.p), temp_file("down.jsonl", down.p) };
    for (int k = 0; k < 2; k++) {
        struct data_source s = source_of(path[k], NULL);
        struct data_options o = options_of(&s);
        struct dataset d;
        int32_t ids[60], others[60];
        o.validation_frac = 0.1;
        o.seed = 5;
        open_ok(&d, &o, NULL, NULL);
        assert_int_equal(first_ids(ids, &d), 6);
        assert_memory_equal(ids, wanted, sizeof wanted);
        for (size_t i = 0; i + 1 < d.train.n; i++) {
            int32_t a = d.train.ids[d.train.at[i]], b = d.train.ids[d.train.at[i + 1]];
            assert_true(k ? a > b : a < b);
        }
        dataset_close(&d);
        o.seed = 6;
        open_ok(&d, &o, NULL, NULL);
        assert_int_equal(first_ids(others, &d), 6);
        assert_memory_not_equal(ids, others, sizeof wanted);
        dataset_close(&d);
    }
    str_free(&up);
    str_free(&down);
}

/* What was dropped does not count, copies stay together, a tree is one. */
static void what_is_kept_is_counted(void **state)
{
    (void)state;
    struct str text = { 0 };
    for (int i = 0; i < 80; i++) /* every second one is too long */
        str_addf(&text, "{\"input_ids\":[%d,7,8%s]}\n", i + 100, i % 2 ? "" : ",9,9,9");
    struct data_source s = source_of(temp_file("kept.jsonl", text.p), NULL);
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    o.validation_frac = 0.25;
    o.max_length = 4;
    open_ok(&d, &o, NULL, NULL);
    assert_int_equal(d.validation.n, 10);
    assert_int_equal(d.train.n, 30);
    assert_int_equal(d.train_counts.overlong + d.validation_counts.overlong, 40);
    dataset_close(&d);
    str_clear(&text);
    for (int i = 0; i < 40; i++) str_addz(&text, "{\"input_ids\":[5,7,8]}\n");
    for (int i = 0; i < 40; i++) str_addf(&text, "{\"input_ids\":[%d,7,8]}\n", i + 100);
    s.path = temp_file("copies.jsonl", text.p);
    open_ok(&d, &o, NULL, &notes); /* 20 wanted; none of the 40 copies can be one of them */
    assert_int_equal(d.validation.n, 20);
    assert_int_equal(d.validation_counts.duplicates, 0);
    assert_int_equal(d.train_counts.duplicates, 39);
    assert_string_equal(notes.p, "train: 39 examples are exact copies of others\n");
    dataset_close(&d);
    str_clear(&notes);
    o.deduplicate = true;
    open_ok(&d, &o, NULL, &notes);
    assert_int_equal(d.train.n + d.validation.n, 41);
    assert_int_equal(d.validation.n, 10);
    assert_int_equal(d.train_counts.removed + d.validation_counts.removed, 39);
    dataset_close(&d);
    str_clear(&text);
    for (int i = 0; i < 40; i++) {
        str_addf(&text,
                 "{\"prompt\":{\"role\":\"prompter\",\"text\":\"q%d\",\"replies\":["
                 "{\"role\":\"assistant\",\"text\":\"a\",\"replies\":[]},"
                 "{\"role\":\"assistant\",\"text\":\"b\",\"replies\":[]}]}}\n",
                 i);
    }
    s = source_of(temp_file("trees.jsonl", text.p), "chatml");
    o = options_of(&s);
    o.validation_frac = 0.3;
    open_ok(&d, &o, bytes(), NULL);
    assert_int_equal(examples_items(&d.validation), 12);
    assert_int_equal(d.validation.n, 24);
    assert_int_equal(examples_items(&d.train), 28);
    dataset_close(&d);
    str_free(&text);
    str_free(&notes);
}

/* Texts are grouped by the whole text, segments by their beginning that is not learnt. */
static void texts_and_segments_by_their_own(void **state)
{
    (void)state;
    struct str text = { 0 }, segments = { 0 };
    for (int i = 0; i < 50; i++) {
        str_addf(&text, "{\"text\":\"The same beginning, and %d\"}\n", i);
        str_addf(&segments,
                 "{\"segments\":[{\"label\":false,\"text\":\"<|im_start|>\"},"
                 "{\"label\":false,\"text\":\"q%d\"},{\"label\":true,\"text\":\"a\"}]}\n",
                 i);
    }
    struct data_source s[2] = { source_of(temp_file("texts.jsonl", text.p), NULL),
                                source_of(temp_file("segments.jsonl", segments.p), NULL) };
    for (int k = 0; k < 2; k++) {
        struct data_options o = options_of(&s[k]);
        struct dataset d;
        o.validation_frac = 0.2;
        open_ok(&d, &o, bytes(), NULL);
        assert_int_equal(d.validation.n, 10);
        dataset_close(&d);
    }
    str_free(&text);
    str_free(&segments);
}

/* A mixture keeps aside a part of all files together, and knows the file of each example. */
static void a_mixture_is_split_as_a_whole(void **state)
{
    (void)state;
    struct data_source s[3];
    struct str text = { 0 };
    for (int f = 0; f < 3; f++) {
        char name[32];
        snprintf(name, sizeof name, "mix%d.jsonl", f);
        str_clear(&text);
        for (int i = 0; i < 1500 * (f != 1) + 1; i++)
            str_addf(&text, "{\"input_ids\":[%d,%d]}\n", f, i + 10);
        s[f] = source_of(temp_file(name, text.p), NULL);
    }
    struct data_options o = options_of(s);
    struct dataset d;
    o.n_train = 3;
    o.validation_frac = 0.1;
    open_ok(&d, &o, NULL, NULL);
    assert_int_equal(d.validation.n, 300);
    for (int side = 0; side < 2; side++) {
        const struct examples *x = side ? &d.validation : &d.train;
        const struct origins *from = side ? &d.validation_origins : &d.train_origins;
        assert_int_equal(from->ends[2], x->n);
        for (size_t i = 0; i < x->n; i++) {
            size_t line;
            assert_int_equal(origin_of(&line, from, i), x->ids[x->at[i]]);
            assert_int_equal(line, x->ids[x->at[i] + 1] - 9);
        }
    }
    dataset_close(&d);
    str_free(&text);
}

/* One question with other answers, system texts, formats: all on one side. */
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
        assert_int_equal(d.validation.n, 50);
        assert_int_equal(d.validation_origins.ends[0], 25); /* both answers to each question */
        dataset_close(&d);
        o.n_train = 1;
        open_ok(&d, &o, bytes(), NULL);
        assert_int_equal(d.validation.n, 25);
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

/* Records that begin with one question cannot be split: the error says which and how many. */
static void a_group_that_cannot_be_split(void **state)
{
    (void)state;
    struct str text = { 0 };
    for (int i = 0; i < 60; i++)
        str_addf(&text, "{\"prompt\":\"Secret?\",\"completion\":\"a%d\"}\n", i);
    struct data_source s = source_of(temp_file("same.jsonl", text.p), "plain");
    struct data_options o = options_of(&s);
    static const double fractions[] = { 0.1, 0.9, 0.5 };
    for (size_t i = 0; i < 3; i++) {
        o.validation_frac = fractions[i];
        open_fails(&o, bytes(), ERR_FAIL,
                   "same.jsonl:1 on, is 60 of 60 (100 %); use a separate file");
    }
    /* two large groups, of which neither is near the fraction */
    str_clear(&text);
    for (int i = 0; i < 60; i++)
        str_addf(&text, "{\"prompt\":\"%s\",\"completion\":\"a%d\"}\n", i < 25 ? "A" : "B", i);
    s.path = temp_file("two.jsonl", text.p);
    o.validation_frac = 0.1;
    open_fails(&o, bytes(), ERR_FAIL, "leaves none for validation");
    open_fails(&o, bytes(), ERR_FAIL, "two.jsonl:26 on, is 35 of 60 (58 %)");
    o.validation_frac = 0.95;
    open_fails(&o, bytes(), ERR_FAIL, "leaves none to train on");
    /* the possible number is kept aside, and a note says that it is another one */
    str_clear(&text);
    for (int i = 0; i < 60; i++)
        str_addf(&text, "{\"prompt\":\"q%d\",\"completion\":\"a%d\"}\n", i / 4, i);
    s.path = temp_file("fours.jsonl", text.p);
    o.validation_frac = 0.3; /* 18: 16 or 20 */
    struct dataset d;
    struct str notes = { 0 };
    open_ok(&d, &o, bytes(), &notes);
    assert_true(d.validation.n == 16 || d.validation.n == 20);
    assert_non_null(strstr(notes.p, " examples instead of 18 (0.3 of 60)"));
    assert_null(strstr(notes.p, "only"));
    dataset_close(&d);
    str_free(&text);
    str_free(&notes);
}

static void few_are_said_to_be_few(void **state)
{
    (void)state;
    struct data_source s = source_of(numbered("sixty.jsonl", 60), "plain");
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    o.validation_frac = 0.1;
    open_ok(&d, &o, bytes(), &notes);
    assert_non_null(strstr(notes.p, "validation: only 6 examples: too few"));
    dataset_close(&d);
    str_clear(&notes);
    o.validation_frac = 1 / 6.0;
    open_ok(&d, &o, bytes(), &notes);
    assert_int_equal(d.validation.n, 10);
    assert_int_equal(notes.n, 0);
    dataset_close(&d);
    str_free(&notes);
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
               "data.validation: none of 1 record is left; 1 without a target");
    str_free(&notes);
}

/* ---- repeats, copies ------------------------------------------------------------------------- */

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

/* ---- special tokens that texts spell --------------------------------------------------------- */

/* Ids of transformers 4.57's LlamaTokenizer and LlamaTokenizerFast, legacy, with
 * add_special_tokens=False, and with the BOS and EOS where the text lacks them. */
static void a_text_that_spells_its_prompt(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        { "<s>[INST] hi [/INST] yes </s>",
          "1,518*,25580*,29962*,7251*,518*,29914*,25580*,29962*,4874*,29871*,2*" },
        { "<s>[INST] a [/INST] b </s><s>[INST] c [/INST] d </s>",
          "1,518*,25580*,29962*,263*,518*,29914*,25580*,29962*,289*,29871*,2*,1*,518*,25580*,29962*"
          ","
          "274*,518*,29914*,25580*,29962*,270*,29871*,2*" },
        { "no marks", "1,694*,17997*,2*" },
        { "x </s>\\n", "1,921*,29871*,2*,29871*,13*" },
        { "<unk> y</s> z", "1,0*,29871*,343*,2*,29871*,503*,2*" },
        { "</s>", "1,2*" },
        { "a<s>b", "1,263*,1*,289*,2*" },
        { "<s> hi\\n<s>", "1,29871*,7251*,13*,1*,2*" },
        { "<s></s>", "1,2*" },
    };
    if (!llama2()) skip();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[256];
        snprintf(line, sizeof line, "{\"text\":\"%s\"}\n", rows[i][0]);
        struct data_source s = source_of(temp_file("spelt.jsonl", line), NULL);
        struct data_options o = options_of(&s);
        struct dataset d;
        struct str notes = { 0 };
        o.render.parse_special = true;
        open_ok(&d, &o, llama2(), &notes);
        assert_examples(&d.train, rows[i][1]);
        assert_int_equal(notes.n, 0);
        dataset_close(&d);
        if (i > 1) continue; /* an EOS is what train_on_eos says */
        o.render.train_on_eos = false;
        open_ok(&d, &o, llama2(), NULL);
        assert_int_equal(d.train_counts.targets, d.train_counts.tokens - (i ? 3 : 2));
        dataset_close(&d);
    }
}

/* A prompt that a template has already written gets another around it: a note says so, except with
 * plain. */
static void prompts_in_prompts_are_said(void **state)
{
    (void)state;
    static const struct {
        const char *record;
        bool said;
    } rows[] = {
        { "### Instruction:\\nHi\\n\\n### Response:\\n", true },
        { "Below is an instruction.\\n\\n### Instruction:\\nHi\\n\\n### Response:", true },
        { "A chat. USER: Hi ASSISTANT:", true },
        { "### Human: Hi\\n### Assistant:", true },
        { "<|user|>\\nHi</s>\\n<|assistant|>\\n", true },
        { "What does ### Response: mean?", false },
        { "ASSISTANT: and USER: are names", false },
        { "Hi", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int plain = 0; plain < 2; plain++) {
            struct dataset d;
            struct str notes = { 0 }, text = { 0 };
            str_addf(&text, "{\"prompt\":\"%s\",\"completion\":\"yes\"}\n", rows[i].record);
            struct data_source s = source_of(temp_file("prompts.jsonl", text.p),
                                             plain ? "plain" : "alpaca");
            struct data_options o = options_of(&s);
            open_ok(&d, &o, bytes(), &notes);
            bool said = notes.n && strstr(notes.p, "prompts.jsonl:1, hold a whole prompt");
            if (said != (rows[i].said && !plain)) fail_msg("%s: %d", rows[i].record, said);
            dataset_close(&d);
            str_free(&notes);
            str_free(&text);
        }
    }
}

/* A note says how many records spell a special token, and the first, on any number of threads. */
static void special_tokens_in_texts_are_counted(void **state)
{
    (void)state;
    struct str text = { 0 }, chats = { 0 };
    for (int i = 0; i < 3000; i++) {
        str_addf(&text, "{\"text\":\"%d%s\"}\n", i,
                 i % 3 == 1 ? "<|im_end|>"
                 : i % 7    ? ""
                            : "<end_of_turn>");
        str_addf(&chats, "{\"prompt\":\"%d%s\",\"completion\":\"a%s\"}\n", i,
                 i % 10 == 5 ? "<end_of_turn> x" : "", i % 4 == 2 ? "<|eot_id|>" : "<b>[x]");
    }
    struct data_source s[2] = { source_of(temp_file("spelt.jsonl", text.p), NULL),
                                source_of(temp_file("chats.jsonl", chats.p), "chatml") };
    struct data_options o = options_of(s);
    int before = omp_get_max_threads();
    o.n_train = 2;
    for (int threads = 1; threads < 5; threads += 2) {
        for (int parse = 0; parse < 2; parse++) {
            struct dataset d;
            struct str notes = { 0 };
            omp_set_num_threads(threads);
            o.render.parse_special = parse;
            open_ok(&d, &o, bytes(), &notes);
            const char *in_text = strstr(notes.p, "data: 1000 records, the first in ");
            assert_true(!in_text == (parse == 1));
            if (!parse) assert_non_null(strstr(in_text, "spelt.jsonl:2, spell special tokens"));
            assert_true(!strstr(notes.p, "parse_special is for text records") == !parse);
            assert_non_null(strstr(notes.p, "data: 750 records, the first in "));
            assert_non_null(strstr(notes.p, "chats.jsonl:3, spell special tokens"));
            assert_non_null(strstr(notes.p, "data: 586 records, the first in "));
            assert_non_null(strstr(notes.p, "spelt.jsonl:1, spell marks of another prompt"));
            dataset_close(&d);
            str_free(&notes);
        }
    }
    omp_set_num_threads(before);
    str_free(&text);
    str_free(&chats);
}

/* ---- malformed ------------------------------------------------------------------------------- */

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
               "data.train: none of 1 record is left; 1 malformed, the first: ");
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

/* After a quote or bracket that is not closed the rest of the file is lost: it is never skipped. */
static void the_rest_of_a_file_is_never_skipped(void **state)
{
    (void)state;
    static const char *const files[][3] = {
        { "rest.csv", "prompt,completion\na,b\n\"c,d\ne,f\ng,h\n",
          "rest.csv:3: a quote that opens" },
        { "rest.json", "[{\"prompt\":\"a\",\"completion\":\"b\"},\n{\"prompt\":\"c,\n",
          "rest.json:2: the array that begins the file has no end" },
    };
    for (size_t i = 0; i < 2; i++) {
        struct data_source s = source_of(temp_file(files[i][0], files[i][1]), "plain");
        struct data_options o = options_of(&s);
        o.skip_errors = true;
        o.max_skipped_frac = 1;
        open_fails(&o, bytes(), ERR_FAIL, files[i][2]);
    }
    /* a record that is malformed by itself is skipped, and counted as CSV */
    struct data_source s = source_of(
        temp_file("bad.csv", "prompt,completion\na,b\nc\nd,\"e\"f\ng,h\n"), "plain");
    struct data_options o = options_of(&s);
    struct dataset d;
    struct str notes = { 0 };
    o.skip_errors = true;
    o.max_skipped_frac = 0.5;
    open_ok(&d, &o, bytes(), &notes);
    assert_int_equal(d.train.n, 2);
    assert_non_null(
        strstr(notes.p, "2 of 4 records malformed and skipped (2 not valid CSV), the first"));
    dataset_close(&d);
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
    open_fails(&o, llama2(), ERR_USAGE, "template chatml places the special token");
}

/* ---- real data ------------------------------------------------------------------------------- */

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
    assert_int_equal(d.validation.n, 145); /* of the 2903 that fit */
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

/* The error is that of the first bad record, on any number of threads. */
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
        ENTRY(as_given, "data set: ids and labels are taken as given, and counted"),
        ENTRY(vocabulary, "data set: an id outside the vocabulary is refused with its place"),
        ENTRY(long_tokens,
              "data set: too long ids are dropped, cut, split or refused as data.overlong says"),
        ENTRY(long_texts, "data set: too long texts are cut and split between tokens"),
        ENTRY(long_chats, "data set: too long chats are cut and split between exchanges"),
        ENTRY(long_chats_keep_their_system_text,
              "data set: each piece of a split chat keeps the system text"),
        ENTRY(a_fraction_is_that_many,
              "data set: a validation fraction is that part of the examples"),
        ENTRY(the_order_of_records_does_not_matter,
              "data set: the split depends on records and seed, not on their order"),
        ENTRY(what_is_kept_is_counted,
              "data set: the validation fraction counts what is kept, copies and trees as one"),
        ENTRY(texts_and_segments_by_their_own,
              "data set: texts and segments are split by what they begin with"),
        ENTRY(a_mixture_is_split_as_a_whole, "data set: a mixture is split as a whole"),
        ENTRY(split_by_question, "data set: examples with one question stay on one side"),
        ENTRY(empty_sides,
              "data set: a fraction that leaves a side empty is refused with what to do"),
        ENTRY(a_group_that_cannot_be_split,
              "data set: a group too large to be split is named with its share"),
        ENTRY(few_are_said_to_be_few, "data set: less than 10 validation examples are noted"),
        ENTRY(validation_files,
              "data set: a validation file is used as it is, and shared examples are noted"),
        ENTRY(repeats, "data set: a weight repeats a file within the epoch"),
        ENTRY(copies,
              "data set: exact copies are counted, and left out where data.deduplicate says so"),
        ENTRY(a_text_that_spells_its_prompt,
              "data set: a text that spells special tokens gets the ids of transformers"),
        ENTRY(prompts_in_prompts_are_said,
              "data set: a prompt that holds a rendered prompt is noted"),
        ENTRY(special_tokens_in_texts_are_counted,
              "data set: records that spell a special token are counted and noted"),
        ENTRY(malformed,
              "data set: malformed records are refused, or skipped up to max_skipped_frac"),
        ENTRY(the_rest_of_a_file_is_never_skipped,
              "data set: a quote that is not closed is refused, never skipped to the end"),
        ENTRY(tokenizers, "data set: texts need a tokenizer, templates their tokens"),
        ENTRY(gsm8k, "data set: gsm8k has the counts that SentencePiece gives"),
        ENTRY(threads, "data set: any number of threads gives the same data set"),
        ENTRY(first_error, "data set: the error is that of the first bad record"),
    };
    return cmocka_run_group_tests(tests, NULL, temp_remove);
}
