/* The order of a mixture: whole weights, fractions, epochs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/mem.h"
#include "src/data/digests.h"
#include "src/data/sampler.h"
#include "tests/entry.h"

static struct sampler make(const struct share *shares, size_t n, bool shuffle)
{
    struct sampler s;
    struct err e;
    if (sampler_init(&s, shares, n, 7, shuffle, &e)) fail_msg("%s", e.msg);
    return s;
}

/* The epoch's list; to be freed. */
static uint32_t *epoch_of(const struct sampler *s, uint64_t epoch)
{
    struct err e;
    uint32_t *order = mem_alloc(s->n, sizeof *order, &e);
    assert_non_null(order);
    mem_guard(true);
    sampler_epoch(order, s, epoch);
    mem_guard(false);
    return order;
}

static void whole_weights(void **state)
{
    (void)state;
    const struct share shares[] = { { 2, 2 }, { 1, 3 }, { 2, 1 } };
    struct sampler s = make(shares, 3, false);
    const uint32_t want[] = { 0, 1, 2, 3, 4, 0, 1, 2, 2 };
    assert_int_equal(s.n, 9);
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        uint32_t *order = epoch_of(&s, epoch);
        assert_memory_equal(order, want, sizeof want);
        mem_free(order);
    }
    sampler_free(&s);
}

static void one_source_is_all_of_it(void **state)
{
    (void)state;
    const struct share shares[] = { { 1000, 1 } };
    struct sampler s = make(shares, 1, true);
    uint32_t *first = epoch_of(&s, 0), *second = epoch_of(&s, 1), *again = epoch_of(&s, 0);
    assert_memory_equal(first, again, 4000);
    assert_int_not_equal(memcmp(first, second, 4000), 0);
    unsigned char seen[1000] = { 0 };
    for (size_t i = 0; i < 1000; i++) seen[second[i]]++;
    for (size_t i = 0; i < 1000; i++) assert_int_equal(seen[i], 1);
    mem_free(first);
    mem_free(second);
    mem_free(again);
    sampler_free(&s);
}

/* 0.25 of 100 and 1.5 of 10: every epoch has the same number; after four each had its turn. */
static void fractions(void **state)
{
    (void)state;
    const struct share shares[] = { { 10, 1.5 }, { 100, 0.25 } };
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        struct sampler s = make(shares, 2, shuffle);
        unsigned seen[110] = { 0 };
        assert_int_equal(s.n, 15 + 25);
        for (uint64_t epoch = 0; epoch < 4; epoch++) {
            uint32_t *order = epoch_of(&s, epoch);
            unsigned now[110] = { 0 };
            for (size_t i = 0; i < s.n; i++) {
                assert_true(order[i] < 110);
                now[order[i]]++, seen[order[i]]++;
            }
            for (size_t i = 0; i < 10; i++) assert_true(now[i] == 1 || now[i] == 2);
            for (size_t i = 10; i < 110; i++) assert_true(now[i] <= 1);
            mem_free(order);
        }
        for (size_t i = 0; i < 10; i++) assert_int_equal(seen[i], 6);
        for (size_t i = 10; i < 110; i++) assert_int_equal(seen[i], 1);
        sampler_free(&s);
    }
}

static void little_is_not_nothing(void **state)
{
    (void)state;
    const struct share shares[] = { { 3, 1 }, { 5, 0.001 }, { 0, 0.5 } };
    struct sampler s = make(shares, 3, true);
    assert_int_equal(s.n, 4);
    sampler_free(&s);
    struct err e;
    const struct share many[] = { { 5000, 1e6 } };
    assert_int_equal(sampler_init(&s, many, 1, 0, true, &e), ERR_USAGE);
    assert_non_null(strstr(e.msg, "data.train: the weights make an epoch of more than"));
}

/* Far epochs do not overflow. */
static void far_epochs(void **state)
{
    (void)state;
    const struct share shares[] = { { 4000000, 0.75 } };
    struct sampler s = make(shares, 1, false);
    uint32_t *order = epoch_of(&s, UINT32_MAX);
    for (size_t i = 0; i < s.n; i++) assert_true(order[i] < 4000000);
    mem_free(order);
    sampler_free(&s);
}

static void digests(void **state)
{
    (void)state;
    struct digests a = { 0 }, b = { 0 };
    struct err e;
    uint32_t copies;
    assert_int_equal(digests_shared(&a, &b), 0);
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 5000; i++) {
            struct digest d;
            assert_int_equal(digest_of_bytes(&d, &i, sizeof i, &e), 0);
            assert_int_equal(digests_put(&a, &copies, &d, &e), 0);
            assert_int_equal(copies, round);
            if (i % 10 == 0) digests_put(&b, &copies, &d, &e);
        }
    assert_int_equal(a.n, 5000);
    assert_int_equal(digests_shared(&b, &a), 1000);
    assert_int_equal(digests_most(&a), 2);
    digests_free(&a);
    digests_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(whole_weights, "sampler: whole weights repeat a source that often"),
        ENTRY(one_source_is_all_of_it, "sampler: one source is drawn whole in every epoch"),
        ENTRY(fractions, "sampler: fractions take as many in each epoch, and each its turn"),
        ENTRY(little_is_not_nothing,
              "sampler: a tiny weight takes one example, too large an epoch is refused"),
        ENTRY(far_epochs, "sampler: far epochs do not overflow"),
        ENTRY(digests, "sampler: equal examples are counted by their digests"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
