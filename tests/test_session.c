/* A session as another program that links it: it opens a model, talks to it, and gets the answers
 * in a function. It includes the headers of src/session/ and those that they include. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/base/utf8.h"
#include "src/session/chat.h"
#include "tests/entry.h"

#define OK(call, e)                                                                                \
    do {                                                                                           \
        if ((call) != 0) fail_msg("%s", (e).msg);                                                  \
    } while (0)

static const char model[] = "checkpoints/tiny-base";

static void open_session(struct session *s, const struct session_adapter *adapters, size_t n)
{
    struct session_options o = {
        .model = model, .adapters = adapters, .n_adapters = n, .template = "vicuna_v1.1"
    };
    struct str notes = { 0 };
    struct err e;
    OK(session_open(s, &o, &notes, &e), e);
    if (notes.n) fail_msg("noted: %s", notes.p);
    str_free(&notes);
}

/* What a sink has received. */
struct heard {
    struct str text;
    size_t pieces, most; /* most: it stops the answer then; 0: never */
};

static bool hear(void *to, const char *text, size_t n)
{
    struct heard *h = to;
    size_t at;
    assert_true(n > 0 && utf8_valid(text, n, &at));
    str_add(&h->text, text, n);
    h->pieces++;
    return h->pieces != h->most;
}

/* One turn; the answer, for the caller to free. */
static struct str ask(struct chat *c, const char *text, size_t max_new_tokens)
{
    struct heard h = { 0 };
    struct answer_options o = {
        .how = { .top_p = 1 }, .max_new_tokens = max_new_tokens, .sink = hear, .to = &h
    };
    struct err e;
    OK(chat_say(c, ROLE_USER, text, strlen(text), &e), e);
    OK(chat_answer(c, &o, &e), e);
    str_addz(&h.text, "");
    OK(str_error(&h.text, &e), e);
    const struct str *said = &c->said[c->n - 1].text;
    assert_int_equal(said->n, h.text.n);
    assert_memory_equal(said->n ? said->p : "", h.text.n ? h.text.p : "", h.text.n);
    return h.text;
}

/* Ask like a session that has computed nothing yet and is given the earlier turns. */
static struct str ask_afresh(size_t *computed, const struct chat *c, const char *text,
                             size_t max_new_tokens)
{
    struct chat fresh;
    struct err e;
    OK(chat_init(&fresh, c->answerer.session, c->system, &e), e);
    for (size_t i = 0; i < c->n; i++) {
        const struct str *s = &c->said[i].text;
        OK(chat_say(&fresh, c->said[i].role, s->n ? s->p : "", s->n, &e), e);
    }
    struct str answer = ask(&fresh, text, max_new_tokens);
    *computed = fresh.answerer.computed;
    chat_free(&fresh);
    return answer;
}

static void check_same(const struct str *a, const struct str *b, size_t turn)
{
    if (a->n != b->n || memcmp(a->n ? a->p : "", b->n ? b->p : "", a->n) != 0)
        fail_msg("turn %zu: \"%s\", afresh \"%s\"", turn, a->n ? a->p : "", b->n ? b->p : "");
}

static void test_two_turns(void **state)
{
    enum { MOST = 24 };
    (void)state;
    struct session s;
    struct chat c;
    struct err e;
    size_t afresh;
    open_session(&s, NULL, 0);
    OK(chat_init(&c, &s, "Answer in one sentence.", &e), e);
    struct str one = ask(&c, "My printer is on fire.", MOST);
    size_t first = c.answerer.computed, prompt = c.prompt.tokens.n, had = c.answerer.g.length[0];
    int32_t *ids = malloc(had * sizeof *ids);
    memcpy(ids, c.answerer.ids, had * sizeof *ids);
    assert_int_equal(first, had);
    assert_true(first >= prompt && first < prompt + MOST);
    struct str fresh = ask_afresh(&afresh, &c, "And now the lamp, too.", MOST);
    struct str two = ask(&c, "And now the lamp, too.", MOST);
    check_same(&two, &fresh, 2);
    /* the second prompt begins with the earlier prompt and answer, which is not computed again */
    size_t same = 0, second = c.answerer.computed - first;
    while (same < had && ids[same] == c.prompt.tokens.ids[same]) same++;
    assert_true(same + 2 >= prompt); /* the prompt's last token may join the answer's first one */
    assert_int_equal(second, afresh - same);
    free(ids);
    str_free(&one);
    str_free(&two);
    str_free(&fresh);
    chat_free(&c);
    session_close(&s);
}

/* Short and long messages until the context is full several times: memory grows, exchanges are
 * forgotten, and each answer is that of a fresh start. */
static void test_many_turns(void **state)
{
    (void)state;
    static const char *const words[] = { "printer",  "is on fire", "why",
                                         "the lamp", "locked",     "password" };
    struct session s;
    struct chat c;
    struct err e;
    size_t afresh, forgot = 0, saved = 0;
    open_session(&s, NULL, 0);
    OK(chat_init(&c, &s, NULL, &e), e);
    for (size_t turn = 0; turn < 15; turn++) {
        struct str text = { 0 };
        size_t n = turn % 4 == 3 ? 150 : 1 + turn % 3, before = c.answerer.computed, said = c.n;
        for (size_t i = 0; i < n; i++)
            str_addf(&text, "%s%s", i ? " " : "", words[rng_u32(5, RNG_TEST, turn, i) % 6]);
        struct str fresh = ask_afresh(&afresh, &c, text.p, 6 + turn);
        struct str answer = ask(&c, text.p, 6 + turn);
        check_same(&answer, &fresh, turn);
        assert_true(c.answerer.computed - before <= afresh);
        saved += afresh - (c.answerer.computed - before);
        forgot += c.n < said + 2;
        str_free(&text);
        str_free(&fresh);
        str_free(&answer);
    }
    assert_true(forgot > 0 && saved > 0);
    chat_forget(&c);
    assert_int_equal(c.n, 0);
    struct str fresh = ask_afresh(&afresh, &c, "Hello", 8), again = ask(&c, "Hello", 8);
    check_same(&again, &fresh, 0);
    str_free(&again);
    str_free(&fresh);
    chat_free(&c);
    session_close(&s);
}

static void test_sink_has_enough(void **state)
{
    (void)state;
    struct session s;
    struct chat c;
    struct err e;
    volatile bool stop = true;
    struct heard h = { .most = 3 };
    struct answer_options o = {
        .how = { .top_p = 1 }, .max_new_tokens = 24, .sink = hear, .to = &h
    };
    open_session(&s, NULL, 0);
    OK(chat_init(&c, &s, NULL, &e), e);
    OK(chat_say(&c, ROLE_USER, "Hello", 5, &e), e);
    OK(chat_answer(&c, &o, &e), e);
    assert_int_equal(h.pieces, 3);
    assert_int_equal(c.said[1].text.n, h.text.n);
    OK(chat_say(&c, ROLE_USER, "Hello", 5, &e), e);
    o.stop = &stop;
    OK(chat_answer(&c, &o, &e), e);
    assert_int_equal(h.pieces, 3);
    assert_int_equal(c.said[3].text.n, 0);
    str_free(&h.text);
    chat_free(&c);
    session_close(&s);
}

/* A chat with two exchanges; the answers are for the caller to free. */
static void begin_chat(struct chat *c, struct str answer[2], const struct session *s,
                       const char *system)
{
    struct err e;
    OK(chat_init(c, s, system, &e), e);
    answer[0] = ask(c, "My printer is on fire.", 12);
    answer[1] = ask(c, "And now the lamp, too.", 12);
}

static struct str answer_again(struct chat *c, uint64_t seed, double temperature)
{
    struct heard h = { 0 };
    struct answer_options o = { .how = { .top_p = 1, .temperature = temperature, .seed = seed },
                                .max_new_tokens = 12,
                                .sink = hear,
                                .to = &h };
    struct err e;
    assert_true(chat_again(c));
    OK(chat_answer(c, &o, &e), e);
    str_addz(&h.text, "");
    return h.text;
}

static void test_again(void **state)
{
    (void)state;
    struct session s;
    struct chat c;
    struct err e;
    struct str first[2], same, other;
    open_session(&s, NULL, 0);
    OK(chat_init(&c, &s, NULL, &e), e);
    assert_false(chat_again(&c)); /* nothing was said */
    chat_take_back(&c);
    chat_free(&c);
    begin_chat(&c, first, &s, NULL);
    same = answer_again(&c, 0, 0);
    check_same(&same, &first[1], 1);
    other = answer_again(&c, 5, 1);
    assert_true(other.n != same.n || memcmp(other.p, same.p, same.n) != 0);
    assert_int_equal(c.n, 4);
    assert_int_equal(c.said[2].role, ROLE_USER);
    str_free(&same);
    same = answer_again(&c, 0, 0); /* what the other answer left behind does not count */
    check_same(&same, &first[1], 2);
    for (size_t i = 0; i < 2; i++) str_free(&first[i]);
    str_free(&same);
    str_free(&other);
    chat_free(&c);
    session_close(&s);
}

/* After a change of the system text, answers are those of a chat that had it from the beginning. */
static void test_system(void **state)
{
    (void)state;
    struct session s;
    struct chat c, with;
    struct err e;
    struct str first[2], second[2];
    open_session(&s, NULL, 0);
    begin_chat(&c, first, &s, "Answer in one sentence.");
    OK(chat_set_system(&c, "Answer like a sailor.", &e), e);
    assert_string_equal(c.system, "Answer like a sailor.");
    struct str now = answer_again(&c, 0, 0);
    OK(chat_init(&with, &s, "Answer like a sailor.", &e), e);
    for (size_t i = 0; i < 3; i++) {
        const struct str *text = &c.said[i].text;
        OK(chat_say(&with, c.said[i].role, text->n ? text->p : "", text->n, &e), e);
    }
    struct str wanted = answer_again(&with, 0, 0);
    check_same(&now, &wanted, 0);
    chat_free(&with);
    chat_forget(&c);
    OK(chat_set_system(&c, NULL, &e), e);
    assert_null(c.system);
    begin_chat(&with, second, &s, NULL);
    struct str none = ask(&c, "My printer is on fire.", 12);
    check_same(&none, &second[0], 1);
    /* one that leaves no room for a question is refused, and changes nothing */
    struct str text = { 0 };
    for (size_t i = 0; i <= s.model.dims.context; i++) str_addz(&text, "fire ");
    assert_int_not_equal(chat_set_system(&c, text.p, &e), 0);
    assert_non_null(strstr(e.msg, "the system text has"));
    assert_null(c.system);
    assert_int_equal(c.n, 2);
    for (size_t i = 0; i < 2; i++) {
        str_free(&first[i]);
        str_free(&second[i]);
    }
    str_free(&text);
    str_free(&now);
    str_free(&none);
    str_free(&wanted);
    chat_free(&with);
    chat_free(&c);
    session_close(&s);
}

/* A message that is too long alone is refused without any loss. */
static void test_no_room(void **state)
{
    (void)state;
    struct session s;
    struct chat c;
    struct err e;
    struct str answers[2], text = { 0 };
    size_t forgot;
    open_session(&s, NULL, 0);
    begin_chat(&c, answers, &s, NULL);
    for (size_t i = 0; i <= s.model.dims.context; i++) str_addz(&text, "fire ");
    OK(chat_say(&c, ROLE_USER, text.p, text.n, &e), e);
    assert_int_not_equal(chat_make_prompt(&forgot, &c, &e), 0);
    assert_non_null(strstr(e.msg, "the model's context is"));
    assert_int_equal(forgot, 0);
    assert_int_equal(c.n, 5);
    chat_take_back(&c);
    assert_int_equal(c.n, 4);
    struct str again = answer_again(&c, 0, 0);
    check_same(&again, &answers[1], 1);
    for (size_t i = 0; i < 2; i++) str_free(&answers[i]);
    str_free(&again);
    str_free(&text);
    chat_free(&c);
    session_close(&s);
}

static void test_write(void **state)
{
    (void)state;
    struct session s;
    struct chat c;
    struct err e;
    struct str out = { 0 };
    open_session(&s, NULL, 0);
    OK(chat_init(&c, &s, "Be \"brief\".", &e), e);
    OK(chat_say(&c, ROLE_USER, "one\ntwo", 7, &e), e);
    OK(chat_say(&c, ROLE_ASSISTANT, "gr\xc3\xbc\xc3\x9f", 6, &e), e);
    OK(chat_write(&out, &c, &e), e);
    assert_string_equal(out.p, "{\"messages\": [{\"role\": \"system\", \"content\": "
                               "\"Be \\\"brief\\\".\"}, {\"role\": \"user\", \"content\": "
                               "\"one\\ntwo\"}, {\"role\": \"assistant\", \"content\": "
                               "\"gr\xc3\xbc\xc3\x9f\"}]}\n");
    str_free(&out);
    chat_free(&c);
    session_close(&s);
}

/* Without the adapter, and with it again, the first message has the answers of base and adapter. */
static void check_switch(struct chat *c, const struct str *base, const struct str *adapted)
{
    for (int on = 0; on < 2; on++) {
        struct answer_options o = { .how = { .top_p = 1 }, .max_new_tokens = 24 };
        const struct str *wanted = on ? adapted : base;
        struct err e;
        chat_use_adapter(c, on);
        assert_true(chat_again(c));
        OK(chat_answer(c, &o, &e), e);
        check_same(&c->said[1].text, wanted, 1);
    }
}

/* An adapter twice at half its weight is the adapter, and without it the base answers. */
static void test_adapters(void **state)
{
    (void)state;
    char dir[] = "/tmp/lorac-test-session-XXXXXX", first[64], second[64];
    assert_non_null(mkdtemp(dir));
    struct session s;
    struct adapter a;
    struct err e;
    open_session(&s, NULL, 0);
    adapter_layout(&a, &s.model.dims, 2, 4, 1u << Q_PROJ | 1u << DOWN_PROJ);
    OK(adapter_place(&a, &e), e);
    for (size_t i = 0; i < a.n_params; i++)
        a.params[i] = (real)(0.2 * (rng_unit(3, RNG_TEST, 0, i) - 0.5));
    OK(adapter_save(&a, dir, model, 0, &e), e);
    adapter_free(&a);
    struct session_adapter once = { dir, 1 }, twice[] = { { dir, 0.5 }, { dir, 0.5 } };
    struct str answer[3];
    for (size_t i = 0; i < 3; i++) {
        struct chat c;
        if (i) session_close(&s);
        if (i) open_session(&s, i == 1 ? &once : twice, i);
        OK(chat_init(&c, &s, NULL, &e), e);
        answer[i] = ask(&c, "My printer is on fire.", 24);
        if (i) check_switch(&c, &answer[0], &answer[i]);
        chat_free(&c);
    }
    check_same(&answer[1], &answer[2], 1);
    assert_true(answer[0].n != answer[1].n || memcmp(answer[0].p, answer[1].p, answer[0].n) != 0);
    for (size_t i = 0; i < 3; i++) str_free(&answer[i]);
    session_close(&s);
    snprintf(first, sizeof first, "%s/adapter_config.json", dir);
    snprintf(second, sizeof second, "%s/adapter_model.safetensors", dir);
    unlink(first);
    unlink(second);
    rmdir(dir);
}

static void test_refused(void **state)
{
    (void)state;
    struct session s;
    struct chat c;
    struct err e;
    struct str notes = { 0 };
    struct session_options o = { .model = "checkpoints/none" };
    struct answer_options how = { .max_new_tokens = 1 };
    assert_int_not_equal(session_open(&s, &o, &notes, &e), 0);
    session_close(&s); /* is closed already */
    open_session(&s, NULL, 0);
    OK(chat_init(&c, &s, NULL, &e), e);
    assert_int_not_equal(answer(&c.answerer, NULL, NULL, 0, &how, &e), 0);
    struct str text = { 0 };
    for (size_t i = 0; i <= s.model.dims.context; i++) str_addz(&text, "fire ");
    OK(chat_say(&c, ROLE_USER, text.p, text.n, &e), e);
    assert_int_not_equal(chat_answer(&c, &how, &e), 0);
    assert_non_null(strstr(e.msg, "the model's context is"));
    str_free(&text);
    str_free(&notes);
    chat_free(&c);
    session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(
            test_two_turns,
            "session: a second turn computes only what is new, and says the same as a fresh start"),
        ENTRY(test_many_turns, "session: a full context forgets the oldest exchange, answers stay "
                               "those of a fresh start"),
        ENTRY(test_sink_has_enough,
              "session: an answer ends when the sink has enough or a stop is asked"),
        ENTRY(test_again, "session: a message is answered again, with another seed otherwise"),
        ENTRY(test_system, "session: a changed system text answers like one given at the start"),
        ENTRY(test_no_room, "session: a message without room is refused, and nothing forgotten"),
        ENTRY(test_write, "session: a conversation is written as a record of messages"),
        ENTRY(test_adapters, "session: adapters add up by their weights, and can be left out"),
        ENTRY(test_refused, "session: no model, no prompt and too long a prompt are refused"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
