#include "src/train/sweep.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/machine.h"
#include "src/base/mem.h"
#include "src/base/stop.h"
#include "src/base/term.h"
#include "src/data/prepared.h"
#include "src/train/inputs.h"
#include "src/train/launch.h"
#include "src/train/sweep_record.h"
#include "src/train/train.h"

/* Data and base of one or more runs: opened, checked and hashed once. */
struct sources {
    char *keys; /* the sections model and data of their configuration */
    char base_sha256[SHA256_HEX], data_sha256[SHA256_HEX];
};

struct sweep {
    const struct sweep_grid *grid;
    const struct sweep_options *options;
    struct sources *sources; /* (n_sources) */
    size_t n_sources;
    double start_s;
    size_t finished, failed; /* runs of this share */
    struct str failures;     /* a line for each that failed */
};

/* ---- data and base --------------------------------------------------------------------------- */

/* The first two sections of a configuration, as text: what decides which files are read, and
 * how. */
static int describe(struct str *out, const struct config *c, struct err *e)
{
    config_print(out, c);
    int code = str_error(out, e);
    char *end = code ? NULL : strstr(out->p, "\nadapter:\n");
    if (end) out->p[out->n = (size_t)(end - out->p)] = 0;
    return code;
}

static int find_sources(const struct sources **found, const struct sweep *s, const struct config *c,
                        struct err *e)
{
    struct str keys = { 0 };
    int code = describe(&keys, c, e);
    *found = NULL;
    for (size_t i = 0; !code && !*found && i < s->n_sources; i++)
        if (strcmp(s->sources[i].keys, keys.p) == 0) *found = &s->sources[i];
    str_free(&keys);
    return code;
}

/* Whether the user left it to the sweep to keep the examples in a file. */
static bool may_choose(const struct config *c)
{
    size_t k = CONFIG_KEY_data_prepare;
    return !c->line[k] && !c->overridden[k];
}

/* They are kept for all runs, unless the user decided otherwise or there is no place for them. */
static void choose_prepare(struct config *c)
{
    char dir[PATH_BYTES];
    struct err none;
    if (!may_choose(c) || prepared_dir(dir, c->data.cache_dir, &none)) return;
    if (!dir_make(dir, 0700, &none) && access(dir, W_OK | X_OK) == 0)
        c->data.prepare = PREPARE_ALWAYS;
}

static int config_of(struct config *c, const struct sweep *s, size_t run, struct err *e)
{
    int code = sweep_grid_config(c, s->grid, run, e);
    if (!code) choose_prepare(c);
    return code;
}

/* Wait until no other process prepares data in the cache, and keep others from it until the lock is
 * given back. Where file systems have no locks, two may prepare the same file, which costs only
 * time. */
static int lock_cache(int *lock, const struct config *c, struct err *e)
{
    enum { WAIT_US = 200000 };
    char dir[PATH_BYTES];
    bool held = false, told = false;
    *lock = -1;
    if (c->data.prepare == PREPARE_NEVER || prepared_dir(dir, c->data.cache_dir, e)) return 0;
    int code = dir_make(dir, 0700, e);
    while (!code && !stop_requested()) {
        code = dir_lock_try(lock, &held, dir, e);
        if (code || !held) return code;
        if (!told) term_print(stderr, "waiting   another process prepares data in %s\n", dir);
        told = true;
        usleep(WAIT_US);
    }
    return code;
}

static int hash_sources(struct sources *to, const struct config *c, const struct setup *setup,
                        struct err *e)
{
    struct inputs in = { 0 };
    int code = inputs_begin(&in, c, setup, e);
    if (!code) code = inputs_base_hash(&in, &setup->model, e);
    memcpy(to->base_sha256, in.base_sha256, sizeof to->base_sha256);
    hex_of(to->data_sha256, setup->data.sha256);
    inputs_free(&in);
    return code;
}

static int add_sources(struct sweep *s, const struct config *c, const struct setup *setup,
                       struct err *e)
{
    struct str keys = { 0 };
    struct sources *all = mem_resize(s->sources, s->n_sources + 1, sizeof *all, e);
    if (!all) return e->code;
    s->sources = all;
    struct sources *added = &s->sources[s->n_sources];
    *added = (struct sources){ 0 };
    int code = describe(&keys, c, e);
    if (!code && !(added->keys = mem_strdup(keys.p, e))) code = e->code;
    if (!code) s->n_sources++;
    if (!code) code = hash_sources(added, c, setup, e);
    str_free(&keys);
    return code;
}

static int prepare_sources(struct sweep *s, const struct config *c, struct err *e)
{
    struct setup setup;
    int lock;
    int code = lock_cache(&lock, c, e);
    bool goes_on = !code && !stop_requested();
    if (goes_on) code = setup_open_headers(&setup, c, e);
    dir_unlock(lock);
    if (!goes_on) return code;
    if (code) return code;
    if (setup.data.prepared)
        term_print(stderr, "data      %s: %s\n",
                   setup.data.reused ? "prepared before" : "prepared once for these runs",
                   setup.data.prepared);
    else if (may_choose(c))
        term_print(stderr, "data      read by each run anew: there is no directory for a prepared "
                           "data set, and data.cache_dir names none\n");
    code = add_sources(s, c, &setup, e);
    setup_close(&setup);
    return code;
}

/* Open what the runs of this share read, each set of files once. */
static int prepare_all(struct sweep *s, struct err *e)
{
    const struct sweep_grid *g = s->grid;
    int code = 0;
    for (size_t i = 0; !code && i < g->n && !stop_requested(); i++) {
        struct config c;
        const struct sources *known;
        if (!sweep_share_has(&s->options->share, i)) continue;
        code = config_of(&c, s, i, e);
        if (code) return code;
        code = find_sources(&known, s, &c, e);
        if (!code && !known) code = prepare_sources(s, &c, e);
        config_free(&c);
    }
    return code;
}

/* ---- one run --------------------------------------------------------------------------------- */

/* Whether another train.early_stopping_patience may let a run go on that ended early. */
static bool may_go_on(const struct run_record *r, const struct config *c)
{
    return r->step < r->total_steps &&
           r->config.train.early_stopping_patience != c->train.early_stopping_patience;
}

/* Whether the run is finished with the same configuration, data and base. If any of them differs,
 * training says which. */
static int is_finished(bool *finished, const struct sweep *s, const struct config *c, struct err *e)
{
    const char *names[CONFIG_KEYS];
    const struct sources *from;
    struct run_record r;
    int code = find_sources(&from, s, c, e);
    if (code) return code;
    code = run_record_read(&r, c->output.dir, e);
    struct config now = *c; /* which may leave the learning rate open, where the record has it */
    if (!code && now.train.learning_rate == CONFIG_NONE)
        now.train.learning_rate = r.config.train.learning_rate;
    *finished = !code && r.state == RECORD_FINISHED && from && !may_go_on(&r, c) &&
                strcmp(r.base_sha256, from->base_sha256) == 0 &&
                strcmp(r.data_sha256, from->data_sha256) == 0 &&
                config_diff(names, &r.config, &now, true) == 0;
    run_record_free(&r);
    return code;
}

/* Hours that are left of --max-hours; 0: there is no limit. Without any left the sweep stops. */
static double hours_left(const struct sweep *s)
{
    double most = s->options->max_hours, used = (term_now_s() - s->start_s) / 3600;
    if (most > 0 && used >= most) stop_for_time(STOP_TIME_LIMIT);
    return most > 0 ? most - used : 0;
}

static int train(const struct sweep *s, const struct config *c, struct err *e)
{
    struct train_options o = { .resume = RESUME_AUTO, .max_hours = hours_left(s) };
    if (stop_requested()) return ERR_STOPPED;
    machine_memory_forget_peak();
    return train_run(c, &o, e);
}

static int one_run(struct sweep *s, size_t i, struct err *e)
{
    struct config c;
    bool finished = false;
    const struct sweep_grid *g = s->grid;
    int code = config_of(&c, s, i, e);
    if (code) return code;
    code = is_finished(&finished, s, &c, e);
    if (!finished) fputc('\n', stderr);
    term_print(stderr, "run %zu of %zu: %s%s\n", i + 1, g->n, c.output.dir,
               finished ? ": finished before" : "");
    if (!code && !finished) code = train(s, &c, e);
    config_free(&c);
    if (!code) s->finished++;
    if (code && code != ERR_STOPPED) {
        s->failed++;
        str_add_line(&s->failures, "run %zu of %zu failed: %s: %s\n", i + 1, g->n, g->name[i],
                     e->msg);
        term_print(stderr, "run %zu of %zu failed: %s\n", i + 1, g->n, e->msg);
        code = 0;
    }
    return code;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void print_header(const struct sweep *s)
{
    const struct sweep_grid *g = s->grid;
    const struct sweep_share *share = &s->options->share;
    term_print(stderr, "sweep     %s in %s\n", str_count(g->n, "run"), g->dir);
    if (share->is_array)
        term_print(stderr, "          task %zu of %zu of this job array makes %s of them\n",
                   share->index + 1, share->count, str_count(sweep_share_of(share, g->n), "run"));
    if (g->holds_split)
        term_print(stderr,
                   "          data.split_seed is held at %lld, so that all runs are measured on "
                   "the same records\n",
                   (long long)g->split_seed);
    if (!g->measured)
        term_print(stderr, "note: data.validation is 0, so no run is measured, and the table will "
                           "not tell which is better\n");
}

static int end_stopped(const struct sweep *s, struct err *e)
{
    size_t n = sweep_share_of(&s->options->share, s->grid->n);
    return err_code(e, ERR_STOPPED,
                    "stopped by %s; %zu of %s %s finished; to go on: the same command, which "
                    "continues what was cut",
                    stop_reason(), s->finished, str_count(n, "run"),
                    s->finished == 1 ? "is" : "are");
}

int sweep_run(size_t *n, const struct sweep_grid *g, const struct sweep_options *o, struct err *e)
{
    struct sweep s = { .grid = g, .options = o, .start_s = term_now_s() };
    stop_install();
    int code = launch_check(e);
    if (!code) print_header(&s);
    if (!code) code = prepare_all(&s, e);
    for (size_t i = 0; !code && i < g->n; i++) {
        if (!sweep_share_has(&o->share, i)) continue;
        code = stop_requested() ? ERR_STOPPED : one_run(&s, i, e);
    }
    if (code == ERR_STOPPED) code = end_stopped(&s, e);
    if (s.failures.n && s.finished + s.failed > 1) fprintf(stderr, "\n%s", s.failures.p);
    for (size_t i = 0; i < s.n_sources; i++) mem_free(s.sources[i].keys);
    mem_free(s.sources);
    str_free(&s.failures);
    *n = s.finished + s.failed;
    if (code || !s.failed) return code;
    return err_set(e, "%zu of %s failed; the same command tries %s again", s.failed,
                   str_count(sweep_share_of(&o->share, g->n), "run"),
                   s.failed == 1 ? "it" : "them");
}
