/* What ranks do together (src/train/ranks.h), without MPI: the ranks are processes that this
 * program forks, and its link between them is shared memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/rng.h"
#include "src/base/stop.h"
#include "src/train/ranks.h"
#include "src/train/ranks_link.h"
#include "tests/entry.h"
#include "tests/golden_util.h"

/* ---- a link of shared memory ----------------------------------------------------------------- */

enum { ROOM = 1 << 22, RANKS_MOST = 8 };

static struct {
    pthread_barrier_t barrier;
    size_t bytes[RANKS_MOST][RANKS_MOST]; /* of an exchange: from, to */
    char room[RANKS_MOST][ROOM];
} * shared;
static struct ranks_link fake;

static void meet(void)
{
    pthread_barrier_wait(&shared->barrier);
}

static void fake_gather(void *all, const void *mine, size_t bytes)
{
    assert_true(bytes <= ROOM);
    memcpy(shared->room[fake.me], mine, bytes);
    meet();
    for (size_t r = 0; r < fake.n; r++) memcpy((char *)all + r * bytes, shared->room[r], bytes);
    meet();
}

static void fake_broadcast(void *data, size_t bytes, size_t from)
{
    assert_true(bytes <= ROOM);
    if (fake.me == from) memcpy(shared->room[from], data, bytes);
    meet();
    memcpy(data, shared->room[from], bytes);
    meet();
}

static void fake_exchange(void *in, const size_t *in_bytes, const void *out,
                          const size_t *out_bytes)
{
    size_t sum = 0;
    for (size_t r = 0; r < fake.n; r++) sum += shared->bytes[fake.me][r] = out_bytes[r];
    assert_true(sum <= ROOM);
    memcpy(shared->room[fake.me], out, sum);
    meet();
    char *to = in;
    for (size_t r = 0; r < fake.n; r++) {
        size_t at = 0;
        for (size_t i = 0; i < fake.me; i++) at += shared->bytes[r][i];
        assert_int_equal(shared->bytes[r][fake.me], in_bytes[r]);
        memcpy(to, shared->room[r] + at, in_bytes[r]);
        to += in_bytes[r];
    }
    meet();
}

static void fake_join(void *all, const size_t *bytes)
{
    char *at = all;
    for (size_t r = 0; r < fake.me; r++) at += bytes[r];
    memcpy(shared->room[fake.me], at, bytes[fake.me]);
    meet();
    at = all;
    for (size_t r = 0; r < fake.n; r++) {
        memcpy(at, shared->room[r], bytes[r]);
        at += bytes[r];
    }
    meet();
}

static void fake_end(void)
{
    meet();
}

const struct ranks_link *ranks_link_open(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return &fake;
}

/* Run `work` on n ranks; all must leave with 0. A rank that fails a check leaves the others at
 * their barrier, so they are ended with it. */
static void on_ranks(size_t n, void (*work)(void))
{
    pid_t pid[RANKS_MOST];
    pthread_barrierattr_t a;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    pthread_barrierattr_init(&a);
    pthread_barrierattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &a, (unsigned)n);
    for (size_t r = 0; r < n; r++) {
        pid[r] = fork();
        if (pid[r]) continue;
        alarm(60);
        omp_set_num_threads(1);
        fake = (struct ranks_link){ "a test",      n,         r,       fake_gather, fake_broadcast,
                                    fake_exchange, fake_join, fake_end };
        ranks_begin(NULL, NULL);
        work();
        ranks_end();
        _exit(0);
    }
    bool good = true;
    for (size_t left = n; left > 0; left--) {
        int status;
        wait(&status);
        if (status == 0) continue;
        good = false;
        for (size_t r = 0; r < n; r++) kill(pid[r], SIGKILL);
    }
    munmap(shared, sizeof *shared);
    assert_true(good);
}

/* A check in a rank: cmocka's would jump out of the test in the forked process. */
#define WANT(cond)                                                                                 \
    do {                                                                                           \
        if (cond) break;                                                                           \
        dprintf(2, "rank %zu of %zu: %s:%d: %s\n", fake.me, fake.n, __FILE__, __LINE__, #cond);    \
        _exit(1);                                                                                  \
    } while (0)

/* ---- shares ---------------------------------------------------------------------------------- */

static struct pass_work costs[40];

static struct batch batch_of(size_t passes, uint32_t seed)
{
    for (size_t i = 0; i < passes; i++) costs[i].cost = 1 + rng_u32(seed, RNG_TEST, 1, i) % 1000;
    return (struct batch){ .n_passes = passes, .work = costs };
}

static uint64_t cost_between(size_t from, size_t to)
{
    uint64_t sum = 0;
    while (from < to) sum += costs[from++].cost;
    return sum;
}

/* By trying all borders of three shares. */
static uint64_t best_of_three(size_t n)
{
    uint64_t best = UINT64_MAX;
    for (size_t a = 0; a <= n; a++)
        for (size_t b = a; b <= n; b++) {
            uint64_t x = cost_between(0, a), y = cost_between(a, b), z = cost_between(b, n);
            uint64_t most = x > y ? x : y;
            if (z > most) most = z;
            if (most < best) best = most;
        }
    return best;
}

static void share_passes(void)
{
    for (uint32_t seed = 0; seed < 20; seed++)
        for (size_t n = 1; n <= 24; n++) {
            struct batch b = batch_of(n, seed);
            size_t part[2], all[2 * RANKS_MOST];
            ranks_share(&part[0], &part[1], &b);
            fake.gather(all, part, sizeof part);
            uint64_t most = 0;
            for (size_t r = 0; r < fake.n; r++) {
                uint64_t cost = cost_between(all[2 * r], all[2 * r + 1]);
                if (cost > most) most = cost;
                WANT(all[2 * r] == (r ? all[2 * r - 1] : 0));
            }
            WANT(all[2 * fake.n - 1] == n);
            WANT(fake.n != 3 || most == best_of_three(n));
        }
}

static void test_shares(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 5; n++) on_ranks(n, share_passes);
}

/* ---- the tree -------------------------------------------------------------------------------- */

enum { VALUES = 1000 };

static void fill_leaf(real *leaf, size_t pass)
{
    for (size_t i = 0; i < VALUES; i++)
        leaf[i] = (real)((rng_unit(5, RNG_TEST, (uint32_t)pass, i) - 0.5) *
                         exp2((double)(rng_u32(6, RNG_TEST, (uint32_t)pass, i) % 20)));
}

static struct arena carve(struct gradsum *s, real **work, size_t *n_work, size_t passes, bool part)
{
    struct err e;
    struct arena a = { 0 };
    for (int placed = 0; placed < 2; placed++) {
        gradsum_carve(s, &a, VALUES, passes, part, golden_kernels());
        *n_work = ranks_work(VALUES, passes);
        *work = arena_take(&a, *n_work, sizeof(real));
        if (!placed) WANT(arena_map(&a, &e) == 0);
    }
    return a;
}

/* The same sums on this rank alone are the measure. With room for everything there is one round;
 * with little, there are many, and the last one is short. */
static void sum_passes(void)
{
    static const size_t room[] = { SIZE_MAX, 2000 };
    for (size_t n = 1; n <= 33; n += n < 12 ? 1 : 7)
        for (size_t k = 0; k < 2; k++) {
            struct gradsum whole, mine;
            real *work, *none;
            size_t n_work, no_work, from, to;
            double loss, wanted;
            struct batch b = batch_of(n, 3);
            struct arena a = carve(&mine, &work, &n_work, n, true);
            ranks_share(&from, &to, &b);
            gradsum_begin(&mine, from);
            for (size_t p = from; p < to; p++) {
                fill_leaf(mine.leaf, p);
                gradsum_add(&mine, 1 / (double)(p + 3));
            }
            if (n_work > room[k]) n_work = room[k];
            const real *sum = ranks_sum_tree(&loss, &mine, work, n_work);
            double again = ranks_sum_losses(&mine.loss);
            ranks_be_alone(true);
            struct arena alone = carve(&whole, &none, &no_work, n, false);
            gradsum_begin(&whole, 0);
            for (size_t p = 0; p < n; p++) {
                fill_leaf(whole.leaf, p);
                gradsum_add(&whole, 1 / (double)(p + 3));
            }
            const real *right = ranks_sum_tree(&wanted, &whole, NULL, 0);
            ranks_be_alone(false);
            WANT(loss == wanted && again == wanted);
            WANT(memcmp(sum, right, VALUES * sizeof *sum) == 0);
            arena_unmap(&a);
            arena_unmap(&alone);
        }
}

static void test_sums(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 6; n++) on_ranks(n, sum_passes);
}

static void sum_numbers(void)
{
    double counts[] = { (double)fake.me, 1 };
    uint32_t large[] = { (uint32_t)fake.me, 7, fake.me == 1 ? 9 : 0 }, work[3];
    ranks_sum_counts(counts, 2);
    WANT(counts[0] == (double)(fake.n * (fake.n - 1) / 2) && counts[1] == (double)fake.n);
    ranks_largest(large, work, 3);
    WANT(large[0] == fake.n - 1 && large[1] == 7 && large[2] == 9);
    WANT(ranks_least(100 - fake.me) == 101 - fake.n);
    struct ranks_spread s = ranks_spread((double)fake.me);
    WANT(s.least == 0 && s.most == (double)(fake.n - 1) && s.mean == s.most / 2);
    uint64_t x = fake.me + 5;
    ranks_broadcast(&x, sizeof x);
    WANT(x == 5);
}

static void test_numbers(void **state)
{
    (void)state;
    on_ranks(4, sum_numbers);
}

/* ---- agreements ------------------------------------------------------------------------------ */

static void share_errors(void)
{
    struct err e = { 0 };
    WANT(ranks_agree(0, &e) == 0);
    int code = fake.me == 1 ? err_code(&e, ERR_STOPPED, "stopped") : 0;
    WANT(ranks_agree(code, &e) == ERR_STOPPED);
    WANT(ranks_agree(0, &e) == 0); /* a stop is not the end */
    code = fake.me == 0   ? err_code(&e, ERR_STOPPED, "stopped")
           : fake.me == 1 ? 0
                          : err_code(&e, ERR_SPACE, "rank %zu's disk is full", fake.me);
    WANT(ranks_agree(code, &e) == ERR_SPACE);
    WANT(strncmp(e.msg, "rank 2 on ", 10) == 0 && strstr(e.msg, ": rank 2's disk is full"));
    WANT(ranks_n() == 1); /* nobody waits for anybody now */
}

/* What all find wrong is not one rank's fault. */
static void share_an_error_of_all(void)
{
    struct err e = { 0 };
    WANT(ranks_agree(err_usage(&e, "no such key (%zu)", fake.me), &e) == ERR_USAGE);
    WANT(strcmp(e.msg, "no such key (0)") == 0);
}

/* One rank fails long before the others' next agreement, and goes to the end. */
static void leave_with_an_error(void)
{
    struct err e = { 0 };
    if (fake.me == 1) {
        WANT(ranks_leave(err_set(&e, "no such file"), &e) == ERR_FAIL);
    } else {
        WANT(ranks_agree(0, &e) == ERR_FAIL);
        WANT(strncmp(e.msg, "rank 1 on ", 10) == 0 && strstr(e.msg, ": no such file"));
        WANT(ranks_leave(ERR_FAIL, &e) == ERR_FAIL);
    }
}

static void leave_too_early(void)
{
    struct err e = { 0 };
    int code = fake.me == 1 ? ranks_leave(0, &e) : ranks_agree(0, &e);
    WANT(code == ERR_FAIL && strstr(e.msg, "rank 1 on ") && strstr(e.msg, "before the others"));
}

static void leave_together(void)
{
    struct err e = { 0 };
    WANT(ranks_leave(0, &e) == 0);
}

static void share_signals(void)
{
    struct err e = { 0 };
    stop_install();
    if (fake.me == 2) raise(SIGUSR2);
    WANT(ranks_agree(0, &e) == 0);
    WANT(stop_wants_checkpoint() == (fake.me == 0));
    if (fake.me == 1) raise(SIGUSR1);
    WANT(ranks_agree(0, &e) == 0);
    WANT(stop_requested() && strcmp(stop_reason(), "SIGUSR1") == 0);
}

static void disagree_on_a_seal(void)
{
    struct err e = { 0 };
    WANT(ranks_agree_on(0, 77, &e) == 0);
    WANT(ranks_agree_on(0, 77 + (fake.me == 2), &e) == ERR_FAIL);
    WANT(strstr(e.msg, "rank 2 on ") && strstr(e.msg, "has computed another adapter than rank 0"));
}

static void compare_facts(void)
{
    struct err e = { 0 };
    struct ranks_fact facts[] = { { "program", "1", "install one" }, { "data", "x", "copy it" } };
    WANT(ranks_same(facts, 2, &e) == 0);
    if (fake.me == 1) facts[1].text = "y";
    WANT(ranks_same(facts, 2, &e) == ERR_FAIL);
    WANT(strstr(e.msg, "rank 1 on ") && strstr(e.msg, " has another data than rank 0 on "));
    WANT(strstr(e.msg, ": found \"y\", wanted \"x\"; copy it"));
}

static void join_notes(void)
{
    struct err e = { 0 };
    struct str notes = { 0 };
    str_addz(&notes, "all say this\n");
    if (fake.me == 1) str_addz(&notes, "warning: too few cores\n");
    if (fake.me == 2) str_addz(&notes, "mine\nwarning: too few cores\n");
    WANT(ranks_join_notes(&notes, &e) == 0);
    if (fake.me == 0) {
        WANT(strncmp(notes.p, "all say this\nwarning: rank 1 on ", 32) == 0);
        WANT(strstr(notes.p, "rank 2 on ") && strstr(notes.p, ": mine\n"));
        const char *once = strstr(notes.p, "too few cores");
        WANT(once && !strstr(once + 1, "too few cores"));
    }
    str_free(&notes);
}

static int note_turn(void *context, struct err *e)
{
    size_t *turns = context;
    (void)e;
    turns[fake.me] = 1;
    return 0;
}

/* On one machine: the first rank, then all others. */
static void take_turns(void)
{
    struct err e = { 0 };
    size_t *turns = (size_t *)shared->bytes;
    WANT(ranks_in_turn(true, note_turn, turns, &e) == 0);
    WANT(turns[fake.me] == 1);
    size_t before;
    WANT(ranks_here(&before) == fake.n && before == fake.me);
}

#define ON_RANKS(name, n)                                                                          \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        on_ranks(n, name);                                                                         \
    }
ON_RANKS(share_errors, 4)
ON_RANKS(share_an_error_of_all, 3)
ON_RANKS(leave_with_an_error, 3)
ON_RANKS(leave_too_early, 3)
ON_RANKS(leave_together, 3)
ON_RANKS(share_signals, 3)
ON_RANKS(disagree_on_a_seal, 3)
ON_RANKS(compare_facts, 3)
ON_RANKS(join_notes, 3)
ON_RANKS(take_turns, 3)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENTRY(test_shares, "ranks: the shares are contiguous, and the dearest as cheap as can be"),
        ENTRY(test_sums, "ranks: gradients and losses have the bits of one rank"),
        ENTRY(test_numbers, "ranks: counts, extremes and broadcasts"),
        ENTRY(test_share_errors, "ranks: all end with the lowest failing rank's error, named"),
        ENTRY(test_share_an_error_of_all, "ranks: an error of all names none"),
        ENTRY(test_leave_with_an_error, "ranks: an error before an agreement reaches all"),
        ENTRY(test_leave_too_early, "ranks: a rank that ends too early is named"),
        ENTRY(test_leave_together, "ranks: they part without an error"),
        ENTRY(test_share_signals, "ranks: a signal to one is a signal to all"),
        ENTRY(test_disagree_on_a_seal, "ranks: another result on one rank is an error"),
        ENTRY(test_compare_facts, "ranks: a rank with other inputs is refused and named"),
        ENTRY(test_join_notes, "ranks: notes of others reach the first rank once"),
        ENTRY(test_take_turns, "ranks: work in turn is done by each"),
    };
    return cmocka_run_group_tests_name("ranks", tests, NULL, NULL);
}
