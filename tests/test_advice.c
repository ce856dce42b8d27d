/* src/train/advice.c: what is said of the losses of a run, from histories written by hand, and when
 * a run ends early. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/train/advice.h"
#include "tests/entry.h"

enum { STEPS = 12, EVALS = 8 };

/* A run of STEPS steps with a cosine schedule. */
struct run_so_far {
    double loss[STEPS];
    int64_t eval_step[EVALS];
    double eval_loss[EVALS];
    struct config config;
    struct schedule schedule;
    struct checkpoint state;
    struct advice advice;
};

static void begin(struct run_so_far *r)
{
    *r = (struct run_so_far){ .schedule = {
                                  .type = CONFIG_SCHEDULE_COSINE, .peak = 0.01, .total = STEPS } };
    r->config.train.max_steps = CONFIG_NONE;
    r->config.train.early_stopping_patience = CONFIG_NONE;
    r->state = (struct checkpoint){ .total_steps = STEPS, .best_eval_loss = NAN, .loss = r->loss };
    r->state.history =
        (struct history){ .room = EVALS, .step = r->eval_step, .loss = r->eval_loss };
    r->advice =
        (struct advice){ .config = &r->config, .schedule = &r->schedule, .state = &r->state };
}

/* What an evaluation says; the run is at its step. */
static const char *evaluated(struct run_so_far *r, struct str *lines, double loss)
{
    struct err e;
    struct checkpoint *s = &r->state;
    assert_int_equal(history_add(&s->history, s->step, loss, &e), 0);
    if (!isfinite(s->best_eval_loss) || loss < s->best_eval_loss)
        s->best_eval_loss = loss, s->best_step = s->step;
    str_clear(lines);
    advice_evaluation(&r->advice, lines);
    return lines->n ? lines->p : "";
}

/* What a step says. */
static const char *stepped(struct run_so_far *r, struct str *lines, double loss)
{
    r->state.loss[r->state.step++] = loss;
    str_clear(lines);
    advice_step(&r->advice, lines);
    return lines->n ? lines->p : "";
}

/* Runs of two steps between evaluations: the losses of the steps, the validation losses from step 0
 * on, and at which of them (counted from 0) which words appear; nowhere else. */
static void test_evaluations_say_what_they_show(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        double train[EVALS], validation[EVALS];
        size_t n, at;
        const char *words; /* NULL: nothing at all */
    } rows[] = {
        { "a good run", { 3, 2, 1, 0.5 }, { 3, 2, 1.5, 1.2, 1.1 }, 5, 0, NULL },
        { "one rise", { 3, 2, 1, 0.5 }, { 3, 2, 2.1, 1.9, 2 }, 5, 0, NULL },
        { "two rises, once",
          { 3, 2, 1, 0.5 },
          { 3, 2, 2.1, 2.2, 2.3 },
          5,
          3,
          "step 6: the validation loss rose twice (2.0000, 2.1000, 2.2000) while the training loss "
          "falls: the run learns the records by heart; best was step 2, which best/ keeps\n" },
        { "from the base on",
          { 3, 2, 1 },
          { 2, 2.1, 2.2, 2.3 },
          4,
          2,
          "learns the records by heart; best was the base, before step 1\n" },
        { "two rises, and the training loss rises too",
          { 2, 2.1, 2.2, 2.3 },
          { 2, 2.1, 2.2, 2.3, 2.4 },
          5,
          0,
          NULL },
        { "the training loss falls at the third rise",
          { 2, 2.1, 2.2, 1 },
          { 2, 2.1, 2.2, 2.3, 2.4 },
          5,
          4,
          "learns the records by heart" },
        { "two rises, a fall, two rises again",
          { 3, 2, 1, 0.5, 0.4, 0.3 },
          { 2, 2.1, 2.2, 1.9, 2.0, 2.1 },
          6,
          5,
          "(1.9000, 2.0000, 2.1000)" },
        { "27 after 3.6",
          { 3.6, 20 },
          { 3.6, 27, 28 },
          3,
          1,
          "warning: step 2: the validation loss is 27.0000, and was 3.6000 at first: the training "
          "diverges; stop it, and begin again in another output.dir with a lower "
          "train.learning_rate (now 0.01)\n" },
        { "9.8 after 6.3", { 6, 9, 7 }, { 6.3, 9.8, 7, 5 }, 4, 1, "is 9.8000, and was 6.3000" },
        { "far above, but the training loss is low", { 2, 0.1 }, { 2, 1.9, 6 }, 3, 0, NULL },
        { "twice a small loss", { 0.1, 0.3 }, { 0.1, 0.25 }, 2, 0, NULL },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct run_so_far r;
        struct str lines = { 0 };
        begin(&r);
        for (size_t i = 0; i < rows[k].n; i++) {
            if (i) r.state.loss[r.state.step++] = rows[k].train[i - 1];
            if (i) r.state.loss[r.state.step++] = rows[k].train[i - 1];
            const char *said = evaluated(&r, &lines, rows[k].validation[i]);
            bool wanted = rows[k].words && i == rows[k].at;
            bool again = rows[k].words && strstr(rows[k].words, "(1.9000") && i == 2;
            if (wanted ? !strstr(said, rows[k].words) : *said && !again)
                fail_msg("%s: evaluation %zu says: %s", rows[k].what, i, said);
        }
        str_free(&lines);
    }
}

static void test_steps_tell_that_a_run_diverges(void **state)
{
    (void)state;
    struct run_so_far r;
    struct str lines = { 0 };
    static const double good[] = { 3, 3.5, 2.5, 3, 3, 9, 2, 2, 2 };
    begin(&r);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_string_equal(stepped(&r, &lines, good[i]), "");
    static const double bad[] = { 3, 3.5, 2.5, 3, 6 };
    begin(&r);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_string_equal(stepped(&r, &lines, bad[i]), "");
    assert_string_equal(
        stepped(&r, &lines, 12),
        "warning: step 6: the loss of the last 3 steps is 7.0000, and was 3.0000 at "
        "first: the training diverges; stop it, and begin again in another "
        "output.dir with a lower train.learning_rate (now 0.01)\n");
    assert_string_equal(stepped(&r, &lines, 30), ""); /* once */
    assert_string_equal(evaluated(&r, &lines, 30), "");
    begin(&r); /* small losses double easily */
    for (size_t i = 0; i < STEPS; i++)
        assert_string_equal(stepped(&r, &lines, i < 3 ? 0.1 : 0.5), "");
    str_free(&lines);
}

/* The end of a run of 12 steps with these evaluations. */
static void test_a_loss_that_still_falls_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int64_t at[EVALS];
        double loss[EVALS];
        size_t n;
        bool told;
    } rows[] = {
        /* the cosine gives the thirds 61, 33 and 6 % of the sum of all rates */
        { "slow, as fast as at first", { 0, 4, 8, 12 }, { 3.6, 3.54, 3.51, 3.504 }, 4, true },
        { "fast and then nothing", { 0, 4, 8, 12 }, { 3.6, 1.2, 1.0, 0.99 }, 4, false },
        { "fast and still falling", { 0, 4, 8, 12 }, { 3.6, 2.2, 1.5, 1.35 }, 4, true },
        { "the last one is worse", { 0, 4, 8, 12 }, { 3.6, 3.0, 2.0, 2.1 }, 4, false },
        { "nothing beat the base", { 0, 4, 8, 12 }, { 3.6, 4.0, 3.9, 3.7 }, 4, false },
        { "too few evaluations", { 0, 12 }, { 3.6, 3.5 }, 2, false },
        { "one before and one after the middle", { 0, 6, 12 }, { 3.6, 3.4, 3.3 }, 3, true },
        { "the first one with enough after it is the first",
          { 0, 11, 12 },
          { 3.6, 3.4, 3.3 },
          3,
          false },
        { "many at the end",
          { 0, 6, 9, 10, 11, 12 },
          { 3.6, 3.0, 2.95, 2.949, 2.9485, 2.9484 },
          6,
          true },
        { "after a rate that was too high", { 0, 4, 8, 12 }, { 6.3, 9.8, 6, 5 }, 4, true },
        { "without step 0", { 4, 8, 12 }, { 3.0, 2.0, 1.9 }, 3, true },
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct run_so_far r;
        struct str lines = { 0 }, said = { 0 };
        begin(&r);
        for (size_t i = 0; i < rows[k].n; i++) {
            r.state.step = (uint64_t)rows[k].at[i];
            evaluated(&r, &lines, rows[k].loss[i]);
        }
        advice_end(&r.advice, &said);
        if ((said.n > 0) != rows[k].told) fail_msg("%s: says %s", rows[k].what, said.p);
        if (said.n && !strstr(said.p, "was still falling at the end")) fail_msg("%s", said.p);
        str_clear(&said);
        r.config.train.max_steps = STEPS;
        advice_end(&r.advice, &said);
        bool rose = rows[k].loss[1] > rows[k].loss[0];
        if (rows[k].told)
            assert_non_null(strstr(said.p, rose ? "a larger train.max_steps would learn more"
                                                : "a larger train.max_steps or a higher "
                                                  "train.learning_rate (now 0.01) would learn"));
        str_clear(&said);
        r.advice.usual_rate = r.schedule.peak / 10;
        advice_end(&r.advice, &said);
        if (rows[k].told) assert_null(strstr(said.p, "a higher train.learning_rate"));
        str_clear(&said);
        r.state.total_steps++; /* it is not the end */
        advice_end(&r.advice, &said);
        assert_int_equal(said.n, 0);
        r.state.total_steps--;
        r.schedule.peak = 0; /* whatever fell, it was not the training */
        advice_end(&r.advice, &said);
        assert_int_equal(said.n, 0);
        str_free(&lines);
        str_free(&said);
    }
}

static void test_patience(void **state)
{
    (void)state;
    static const double losses[] = { 3, 2, 2.5, 2, 2.1, 1.9, 2 }; /* equal is not better */
    static const size_t since[] = { 0, 0, 1, 2, 3, 0, 1 };
    struct run_so_far r;
    struct str lines = { 0 }, outcome = { 0 };
    begin(&r);
    assert_false(advice_ends_early(&r.state, 1));
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        r.state.step = i;
        evaluated(&r, &lines, losses[i]);
        assert_false(advice_ends_early(&r.state, CONFIG_NONE));
        for (int64_t patience = 1; patience < 5; patience++)
            assert_int_equal(advice_ends_early(&r.state, patience), since[i] >= (size_t)patience);
    }
    advice_outcome(&r.advice, &outcome);
    assert_int_equal(outcome.n, 0);
    r.config.train.early_stopping_patience = 1;
    advice_outcome(&r.advice, &outcome);
    assert_string_equal(outcome.p,
                        "ended early after step 6 of 12: 1 evaluation without a better validation "
                        "loss (train.early_stopping_patience: 1)");
    r.state.total_steps = 6; /* the last step is not early */
    assert_false(advice_ends_early(&r.state, 1));
    str_free(&lines);
    str_free(&outcome);
}

static void test_nothing_beat_the_start(void **state)
{
    (void)state;
    struct run_so_far r;
    struct str lines = { 0 }, outcome = { 0 };
    begin(&r);
    evaluated(&r, &lines, 3);
    advice_outcome(&r.advice, &outcome);
    assert_int_equal(outcome.n, 0); /* nothing was compared */
    r.state.step = STEPS;
    evaluated(&r, &lines, 3.5);
    advice_outcome(&r.advice, &outcome);
    assert_string_equal(outcome.p,
                        "no evaluation was better than the base's validation loss of 3.0000, so "
                        "there is no best/, and adapter/ is that of the last step");
    str_clear(&outcome);
    r.config.adapter.init_from = (char *)(uintptr_t) "a";
    r.config.train.early_stopping_patience = 1;
    r.state.total_steps++;
    advice_outcome(&r.advice, &outcome);
    assert_non_null(strstr(outcome.p, "ended early after step 12 of 13: "));
    assert_non_null(strstr(outcome.p, "; no evaluation was better than the start adapter's "));
    str_free(&lines);
    str_free(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_evaluations_say_what_they_show,
              "advice: evaluations tell once what they show: learning by heart, divergence"),
        ENTRY(test_steps_tell_that_a_run_diverges,
              "advice: steps tell once that the training diverges"),
        ENTRY(test_a_loss_that_still_falls_is_told,
              "advice: a validation loss that still falls at the end is told"),
        ENTRY(test_patience, "advice: a run ends after that many evaluations without a better one"),
        ENTRY(test_nothing_beat_the_start,
              "advice: a run whose evaluations were never better than its start says so"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
