#include "src/train/ranks.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/stop.h"
#include "src/base/term.h"
#include "src/train/ranks_link.h"

enum { HOST_BYTES = 64, FACT_BYTES = 72 };

/* What each rank brings to an agreement. */
struct pact {
    int32_t code, cause; /* of its failure; of its stop, 0: none */
    uint8_t checkpoint, leaving;
    uint64_t seal;
};

/* `link` is NULL where nobody else is there, or no longer listens. */
static struct {
    const struct ranks_link *joined, *link;
    char (*host)[HOST_BYTES];
    struct pact *pact;
    struct losssum *losses;
    size_t *sizes;
    struct ranks_time time;
} ranks;

const struct ranks_link *ranks_link_now(void)
{
    return ranks.link;
}

struct losssum *ranks_losses(void)
{
    return ranks.losses;
}

size_t *ranks_sizes(void)
{
    return ranks.sizes;
}

void ranks_add_communication(double seconds)
{
    ranks.time.communication += seconds;
}

/* ---- joining and parting --------------------------------------------------------------------- */

/* What goes to the file descriptors themselves is still seen: a failed CHECK(), a sanitizer's
 * report, MPI's own words. */
static void mute(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0) return;
    fflush(stdout);
    dup2(null, STDOUT_FILENO);
#ifdef __GLIBC__
    FILE *f = fdopen(null, "w");
    if (f) stderr = f;
#else
    dup2(null, STDERR_FILENO);
    close(null);
#endif
}

void ranks_begin(int *argc, char ***argv)
{
    struct err e;
    char host[HOST_BYTES] = "";
    const struct ranks_link *l = ranks.joined = ranks_link_open(argc, argv);
    if (!l || l->n == 1) return;
    ranks.host = mem_alloc(l->n, sizeof *ranks.host, &e);
    ranks.pact = mem_alloc(l->n, sizeof *ranks.pact, &e);
    ranks.losses = mem_alloc(l->n, sizeof *ranks.losses, &e);
    ranks.sizes = mem_alloc(2 * l->n, sizeof *ranks.sizes, &e);
    CHECK(ranks.host && ranks.pact && ranks.losses && ranks.sizes);
    snprintf(host, sizeof host, "%s", machine_host());
    l->gather(ranks.host, host, sizeof host);
    if (l->me != 0) mute();
    ranks.link = l;
}

void ranks_end(void)
{
    ranks.link = NULL;
    if (ranks.joined) ranks.joined->end();
    ranks.joined = NULL;
    mem_free(ranks.host);
    mem_free(ranks.pact);
    mem_free(ranks.losses);
    mem_free(ranks.sizes);
}

void ranks_be_alone(bool alone)
{
    ranks.link = !alone && ranks.joined && ranks.joined->n > 1 ? ranks.joined : NULL;
}

size_t ranks_n(void)
{
    return ranks.link ? ranks.link->n : 1;
}

size_t ranks_me(void)
{
    return ranks.link ? ranks.link->me : 0;
}

const char *ranks_library(void)
{
    return ranks.joined ? ranks.joined->library : NULL;
}

const char *ranks_host(size_t rank)
{
    return ranks.link ? ranks.host[rank] : machine_host();
}

size_t ranks_here(size_t *before)
{
    size_t here = 0;
    *before = 0;
    if (!ranks.link) return 1;
    for (size_t r = 0; r < ranks.link->n; r++) {
        if (strcmp(ranks.host[r], ranks.host[ranks.link->me]) != 0) continue;
        *before += r < ranks.link->me;
        here++;
    }
    return here;
}

/* ---- agreeing -------------------------------------------------------------------------------- */

/* The lowest rank that failed; of those that only stopped, if none did; n: none at all. *all: no
 * rank has 0. */
static size_t find_worst(bool *all, const struct pact *p, size_t n)
{
    size_t failed = n, stopped = n;
    *all = true;
    for (size_t r = n; r-- > 0;) {
        if (!p[r].code) *all = false;
        if (p[r].code) *(p[r].code == ERR_STOPPED ? &stopped : &failed) = r;
    }
    return failed < n ? failed : stopped;
}

/* What the signals of all ranks ask for. */
static void adopt_signals(const struct pact *p, size_t n, size_t me)
{
    for (size_t r = n; r-- > 0;) {
        if (p[r].cause) stop_adopt(p[r].cause);
        if (p[r].checkpoint && me == 0) stop_ask_checkpoint();
    }
}

/* No more is heard of a rank that left or failed: from then on each one is on its own. */
static int part(int code)
{
    ranks.link = NULL;
    return code;
}

static int differs(const struct pact *p, size_t n, struct err *e)
{
    for (size_t r = 1; r < n; r++) {
        if (p[r].seal == p[0].seal) continue;
        return part(err_set(e,
                            "rank %zu on %s has computed another adapter than rank 0 on %s from "
                            "the same sums: their processors or libraries differ; use one kind of "
                            "machine, or take out the one that is at fault (the last checkpoint is "
                            "untouched)",
                            r, ranks.host[r], ranks.host[0]));
    }
    return 0;
}

/* Ranks that go on without one that has left would wait for ever. */
static int left_early(const struct pact *p, size_t n, struct err *e)
{
    for (size_t r = 0; r < n; r++) {
        if (p[r].leaving == p[0].leaving) continue;
        return err_set(e, "rank %zu on %s was done before the others, which should not happen",
                       p[r].leaving ? r : 0, ranks.host[p[r].leaving ? r : 0]);
    }
    return 0;
}

static int agree(int code, uint64_t seal, bool leaving, struct err *e)
{
    const struct ranks_link *l = ranks.link;
    if (!l) return code;
    struct pact mine = { .code = code,
                         .cause = stop_cause(),
                         .checkpoint = l->me != 0 && stop_wants_checkpoint(),
                         .leaving = leaving,
                         .seal = seal };
    double start = term_now_s();
    l->gather(ranks.pact, &mine, sizeof mine);
    ranks.time.waiting += term_now_s() - start;
    bool all;
    size_t worst = find_worst(&all, ranks.pact, l->n);
    adopt_signals(ranks.pact, l->n, l->me);
    if (worst < l->n) {
        l->broadcast(e, sizeof *e, worst);
        e->code = ranks.pact[worst].code;
        if (worst && !all && e->code != ERR_STOPPED)
            err_prefix(e, "rank %zu on %s", worst, ranks.host[worst]);
        return e->code == ERR_STOPPED && !leaving ? e->code : part(e->code);
    }
    code = left_early(ranks.pact, l->n, e);
    if (code || leaving) return part(code);
    return differs(ranks.pact, l->n, e);
}

int ranks_agree(int code, struct err *e)
{
    return agree(code, 0, false, e);
}

int ranks_agree_on(int code, uint64_t seal, struct err *e)
{
    return agree(code, seal, false, e);
}

int ranks_leave(int code, struct err *e)
{
    return agree(code, 0, true, e);
}

/* ---- what must be the same ------------------------------------------------------------------- */

/* The first fact of the `n` in which the rank differs from rank 0; n: none. */
static size_t find_difference(const char (*all)[FACT_BYTES], size_t n, size_t rank)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i], all[rank * n + i]) != 0) return i;
    return n;
}

int ranks_same(const struct ranks_fact *facts, size_t n, struct err *e)
{
    const struct ranks_link *l = ranks.link;
    if (!l) return 0;
    int code = 0;
    char(*all)[FACT_BYTES] = mem_alloc((l->n + 1) * n, sizeof *all, e);
    if (ranks_agree(all ? 0 : e->code, e)) {
        mem_free(all);
        return e->code;
    }
    char(*mine)[FACT_BYTES] = all + l->n * n;
    for (size_t i = 0; i < n; i++) snprintf(mine[i], sizeof *mine, "%s", facts[i].text);
    l->gather(all, mine, n * sizeof *mine);
    for (size_t r = 1; !code && r < l->n; r++) {
        size_t i = find_difference((const char(*)[FACT_BYTES])all, n, r);
        if (i == n) continue;
        code = err_set(e,
                       "rank %zu on %s has another %s than rank 0 on %s: found %s, wanted %s; %s",
                       r, ranks.host[r], facts[i].name, ranks.host[0], err_quotez(all[r * n + i]),
                       err_quotez(all[i]), facts[i].remedy);
    }
    mem_free(all);
    return code ? part(code) : 0;
}

/* A line of another rank, unless the notes have it. */
static void add_note(struct str *notes, const char *line, size_t n, size_t rank)
{
    static const char warning[] = "warning: ";
    size_t skip = n >= sizeof warning && memcmp(line, warning, sizeof warning - 1) == 0
                      ? sizeof warning - 1
                      : 0;
    line += skip, n -= skip; /* with its line end */
    if (notes->n && memmem(notes->p, notes->n, line, n)) return;
    str_addf(notes, "%srank %zu on %s: ", skip ? warning : "", rank, ranks.host[rank]);
    str_add(notes, line, n);
}

int ranks_join_notes(struct str *notes, struct err *e)
{
    const struct ranks_link *l = ranks.link;
    if (!l) return 0;
    size_t sum = 0, before = 0;
    size_t *bytes = mem_alloc(l->n, sizeof *bytes, e);
    if (ranks_agree(bytes ? 0 : e->code, e)) {
        mem_free(bytes);
        return e->code;
    }
    l->gather(bytes, &notes->n, sizeof notes->n);
    for (size_t r = 0; r < l->n; r++) {
        if (r < l->me) before += bytes[r];
        sum += bytes[r];
    }
    char *all = mem_alloc(sum + 1, 1, e);
    int code = ranks_agree(all ? 0 : e->code, e);
    if (!code) {
        if (notes->n) memcpy(all + before, notes->p, notes->n);
        l->join(all, bytes);
        const char *p = all + bytes[0];
        for (size_t r = 1; l->me == 0 && r < l->n; r++) {
            for (const char *end = p + bytes[r]; p < end;) {
                size_t n = strcspn(p, "\n") + 1;
                add_note(notes, p, n, r);
                p += n;
            }
        }
        code = ranks_agree(str_error(notes, e), e);
    }
    mem_free(all);
    mem_free(bytes);
    return code;
}

int ranks_in_turn(bool in_turn, int (*work)(void *context, struct err *e), void *context,
                  struct err *e)
{
    size_t before;
    ranks_here(&before);
    int code = ranks_agree(0, e); /* it hears of a rank that failed before */
    if (code) return code;
    ranks_broadcast(&in_turn, sizeof in_turn);
    size_t mine = !in_turn || ranks_me() == 0 ? 0 : before == 0 ? 1 : 2;
    for (size_t turn = 0; !code && turn < (in_turn ? 3 : 1); turn++)
        code = ranks_agree(turn == mine ? work(context, e) : 0, e);
    return code;
}

struct ranks_time ranks_time(void)
{
    return ranks.time;
}
