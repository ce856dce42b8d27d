#include "src/train/sweep_table.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/config/value.h"

/* ---- statistics ------------------------------------------------------------------------------ */

struct spread spread_of(const double *x, size_t n)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    struct spread s = { .mean = n ? sum / (double)n : NAN, .deviation = NAN, .n = n };
    for (size_t i = 0; i < n; i++) squares += (x[i] - s.mean) * (x[i] - s.mean);
    if (n > 1) s.deviation = sqrt(squares / (double)(n - 1));
    return s;
}

enum noise noise_between(const struct spread *a, const struct spread *b)
{
    if (a->n < 2 || b->n < 2) return NOISE_UNKNOWN;
    double difference = fabs(a->mean - b->mean);
    double error = sqrt(a->deviation * a->deviation / (double)a->n +
                        b->deviation * b->deviation / (double)b->n);
    return difference < 2 * error || difference <= 0 ? NOISE_WITHIN : NOISE_BEYOND;
}

const char *row_verdict_name(enum row_verdict v)
{
    static const char *const names[] = {
        [ROW_NONE] = "-",      [ROW_BEST] = "best",           [ROW_WITHIN_NOISE] = "within noise",
        [ROW_WORSE] = "worse", [ROW_UNKNOWN] = "cannot tell",
    };
    return names[v];
}

/* ---- which keys tell runs apart -------------------------------------------------------------- */

/* Keys on which no result depends are left out, except for those that say when it is measured: the
 * least of more losses is smaller. data.split_seed has no effect where no fraction is kept
 * aside. */
static bool tells_apart(const struct key *k, const struct config *c)
{
    if (strcmp(k->name, "train.seed") == 0 || strcmp(k->section, "output") == 0) return false;
    if (strcmp(k->name, "data.split_seed") == 0) return c->data.validation.fraction > 0;
    return k->same_on_resume || strncmp(k->last, "eval_", 5) == 0;
}

/* Append the key's value on one line: line breaks and the spaces around them become one space. */
static void add_value(struct str *out, const struct key *k, const struct config *c)
{
    struct str s = { 0 };
    if (tells_apart(k, c)) value_print(&s, k, c);
    for (const char *p = s.p; p && *p; p++) {
        bool space = isspace((unsigned char)*p);
        bool before = !out->n || out->p[out->n - 1] == ' ' || out->p[out->n - 1] == '\n';
        if (!space || !before) str_addc(out, space ? ' ' : *p);
    }
    out->failed |= s.failed;
    str_free(&s);
}

/* What runs of one row have in common, as a text. */
static int describe(struct str *out, const struct run_record *r, struct err *e)
{
    str_addf(out, "%s\n%s\n", r->base_sha256, r->data_sha256);
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        add_value(out, &config_keys[i], &r->config);
        str_addc(out, '\n');
    }
    return str_error(out, e);
}

static bool differs(const struct sweep_table *t, const struct key *k)
{
    struct str first = { 0 }, other = { 0 };
    bool any = false, same = true;
    for (size_t i = 0; same && i < t->n; i++) {
        if (!run_record_is_readable(&t->run[i])) continue;
        str_clear(&other);
        str_addc(&other, ' '); /* so that no value is an empty text */
        add_value(&other, k, &t->run[i].config);
        if (any && !first.failed && !other.failed) same = strcmp(first.p, other.p) == 0;
        if (!any) str_add(&first, other.p ? other.p : "", other.n);
        any = true;
    }
    str_free(&first);
    str_free(&other);
    return !same;
}

void sweep_table_value(struct str *out, const struct sweep_table *t, const struct table_row *row,
                       const struct key *k)
{
    struct str value = { 0 };
    add_value(&value, k, &t->run[row->run[0]].config);
    str_add(out, value.p ? value.p : "", value.n);
    out->failed |= value.failed;
    str_free(&value);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Put a run into a row, after those with a smaller seed. */
static int add_run(struct table_row *row, const struct run_record *runs, size_t i, struct err *e)
{
    size_t *run = mem_resize(row->run, row->n + 1, sizeof *run, e);
    if (!run) return e->code;
    row->run = run;
    size_t at = row->n++;
    for (; at && runs[run[at - 1]].config.train.seed > runs[i].config.train.seed; at--)
        run[at] = run[at - 1];
    run[at] = i;
    return 0;
}

static int find_row(struct sweep_table *t, char **texts, size_t i, struct err *e)
{
    struct str text = { 0 };
    size_t row = 0;
    int code = describe(&text, &t->run[i], e);
    while (!code && row < t->n_rows && strcmp(texts[row], text.p) != 0) row++;
    if (!code && row == t->n_rows) {
        texts[row] = mem_strdup(text.p, e);
        if (texts[row])
            t->n_rows++;
        else
            code = e->code;
    }
    str_free(&text);
    return code ? code : add_run(&t->row[row], t->run, i, e);
}

static int make_rows(struct sweep_table *t, struct err *e)
{
    char **texts = mem_alloc(t->n, sizeof *texts, e);
    t->row = texts ? mem_alloc(t->n, sizeof *t->row, e) : NULL;
    int code = t->row ? 0 : e->code;
    for (size_t i = 0; !code && i < t->n; i++)
        if (run_record_is_readable(&t->run[i])) code = find_row(t, texts, i, e);
    for (size_t i = 0; texts && i < t->n; i++) mem_free(texts[i]);
    mem_free(texts);
    return code;
}

/* The finished runs of a row, each seed once, in `to`. */
static size_t count_runs(const struct run_record **to, const struct sweep_table *t,
                         const struct table_row *row)
{
    size_t n = 0;
    for (size_t i = 0; i < row->n; i++) {
        const struct run_record *r = &t->run[row->run[i]];
        if (r->state != RECORD_FINISHED) continue;
        if (n && to[n - 1]->config.train.seed == r->config.train.seed) continue;
        to[n++] = r;
    }
    return n;
}

static void sum_up(struct sweep_table *t, struct table_row *row, const struct run_record **runs,
                   double *loss, double *exact)
{
    size_t losses = 0, exacts = 0;
    row->counted = count_runs(runs, t, row);
    row->step = row->seconds = 0;
    for (size_t i = 0; i < row->counted; i++) {
        const struct run_record *r = runs[i];
        row->seconds += r->seconds / (double)row->counted;
        if (isfinite(r->exact_match)) exact[exacts++] = r->exact_match;
        if (!isfinite(r->loss)) continue;
        if (!losses || r->loss < t->run[row->best_run].loss) row->best_run = (size_t)(r - t->run);
        row->step += (double)r->best_step;
        loss[losses++] = r->loss;
    }
    if (losses) row->step /= (double)losses;
    row->loss = spread_of(loss, losses);
    row->exact = spread_of(exact, exacts);
}

static int sum_up_rows(struct sweep_table *t, struct err *e)
{
    const struct run_record **runs = mem_alloc(t->n, sizeof *runs, e);
    double *loss = runs ? mem_alloc(t->n, sizeof *loss, e) : NULL;
    double *exact = loss ? mem_alloc(t->n, sizeof *exact, e) : NULL;
    for (size_t i = 0; exact && i < t->n_rows; i++) sum_up(t, &t->row[i], runs, loss, exact);
    int code = exact ? 0 : e->code;
    mem_free(runs);
    mem_free(loss);
    mem_free(exact);
    return code;
}

static int compare_rows(const void *a, const void *b)
{
    const struct table_row *x = a, *y = b;
    bool no_x = isnan(x->loss.mean), no_y = isnan(y->loss.mean);
    if (no_x != no_y) return no_x ? 1 : -1;
    if (!no_x && x->loss.mean < y->loss.mean) return -1;
    if (!no_x && x->loss.mean > y->loss.mean) return 1;
    return x->run[0] < y->run[0] ? -1 : 1;
}

/* ---- what can be compared -------------------------------------------------------------------- */

static bool same_data(const struct run_record *a, const struct run_record *b)
{
    return strcmp(a->data_sha256, b->data_sha256) == 0;
}

/* A run that ended early may not know its base. */
static bool same_base(const struct run_record *a, const struct run_record *b)
{
    return !*a->base_sha256 || !*b->base_sha256 || strcmp(a->base_sha256, b->base_sha256) == 0;
}

/* Whether the losses are means over the same targets, as far as the records tell. */
static bool same_validation(const struct run_record *a, const struct run_record *b)
{
    const struct config *x = &a->config, *y = &b->config;
    double part = x->data.validation.fraction;
    bool seeds = part <= 0 || config_split_seed(x) == config_split_seed(y);
    return a->validation_examples == b->validation_examples &&
           a->validation_targets == b->validation_targets && seeds &&
           fabs(part - y->data.validation.fraction) <= 0;
}

/* How many kinds of finished runs there are: only these have results. */
static size_t count_kinds(const struct sweep_table *t,
                          bool (*same)(const struct run_record *, const struct run_record *))
{
    size_t kinds = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool seen = t->run[i].state != RECORD_FINISHED;
        for (size_t j = 0; !seen && j < i; j++)
            seen = t->run[j].state == RECORD_FINISHED && same(&t->run[i], &t->run[j]);
        kinds += !seen;
    }
    return kinds;
}

static void judge(struct sweep_table *t, bool comparable)
{
    struct table_row *best = t->n_rows ? &t->row[0] : NULL;
    if (!comparable || !best || !best->loss.n) return;
    best->verdict = ROW_BEST;
    for (size_t i = 1; i < t->n_rows; i++) {
        static const enum row_verdict verdicts[] = { [NOISE_UNKNOWN] = ROW_UNKNOWN,
                                                     [NOISE_WITHIN] = ROW_WITHIN_NOISE,
                                                     [NOISE_BEYOND] = ROW_WORSE };
        struct table_row *row = &t->row[i];
        if (row->loss.n) row->verdict = verdicts[noise_between(&best->loss, &row->loss)];
    }
}

const struct table_row *sweep_table_best(const struct sweep_table *t)
{
    return t->n_rows && t->row[0].verdict == ROW_BEST ? &t->row[0] : NULL;
}

/* ---- notes ----------------------------------------------------------------------------------- */

static bool note_kinds(struct sweep_table *t)
{
    size_t data = count_kinds(t, same_data), bases = count_kinds(t, same_base);
    t->one_data = data <= 1;
    t->one_base = bases <= 1;
    if (data > 1)
        str_addf(&t->notes,
                 "the runs are over %zu different data sets: their losses do not compare, and no "
                 "row is called the best\n",
                 data);
    else if (count_kinds(t, same_validation) > 1)
        str_addz(&t->notes, "the runs were measured on different validation records or targets: "
                            "their losses do not compare, and no row is called the best\n");
    if (bases > 1)
        str_addf(&t->notes,
                 "the runs have %zu different base models: a loss per token compares only where "
                 "they share a tokenizer\n",
                 bases);
    return t->one_data && count_kinds(t, same_validation) <= 1;
}

/* The seeds of a row are its sample: one that is there twice would look like less noise. */
static void note_repeated(struct sweep_table *t, const struct table_row *row)
{
    for (size_t i = 1; i < row->n; i++) {
        const struct run_record *r = &t->run[row->run[i]], *before = &t->run[row->run[i - 1]];
        bool both = r->state == RECORD_FINISHED && before->state == RECORD_FINISHED;
        if (!both || r->config.train.seed != before->config.train.seed) continue;
        str_add_line(&t->notes,
                     "%s and %s are the same run with the same seed, which counts once\n",
                     before->dir, r->dir);
    }
}

static void note_results(struct sweep_table *t)
{
    size_t unmeasured = 0, vain = 0, rows = 0;
    bool unknown = false;
    for (size_t i = 0; i < t->n; i++) {
        const struct run_record *r = &t->run[i];
        if (r->state != RECORD_FINISHED) continue;
        unmeasured += !isfinite(r->loss);
        vain += isfinite(r->base_loss) && r->loss >= r->base_loss;
    }
    for (size_t i = 0; i < t->n_rows; i++) {
        rows += t->row[i].loss.n > 0;
        unknown = unknown || t->row[i].verdict == ROW_UNKNOWN;
    }
    if (unmeasured)
        str_addf(&t->notes, "%s %s no validation loss: data.validation keeps records aside\n",
                 str_count(unmeasured, "finished run"), unmeasured == 1 ? "has" : "have");
    if (vain)
        str_addf(&t->notes, "%s never got better than what it began from (step 0)\n",
                 str_count(vain, "run"));
    if (unknown && rows > 1)
        str_addz(&t->notes, "one seed does not show whether a difference is noise; --seeds 3 or "
                            "more does\n");
}

/* Runs that are not finished count in no row, and each is named. */
static void note_unfinished(struct sweep_table *t)
{
    size_t absent = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct run_record *r = &t->run[i];
        absent += r->state == RECORD_ABSENT;
        if (r->state == RECORD_FINISHED || r->state == RECORD_ABSENT) continue;
        str_add_line(&t->notes, "%s: %s", r->dir, record_state_name(r->state));
        if (run_record_is_readable(r))
            str_addf(&t->notes, " at step %llu of %llu", (unsigned long long)r->step,
                     (unsigned long long)r->total_steps);
        if (r->why) str_add_line(&t->notes, ": %s", r->why);
        str_addc(&t->notes, '\n');
    }
    if (absent)
        str_addf(&t->notes, "%s %s not begun\n", str_count(absent, "run"),
                 absent == 1 ? "has" : "have");
}

/* ---- the whole ------------------------------------------------------------------------------- */

int sweep_table_make(struct sweep_table *t, char *const *dirs, size_t n, struct err *e)
{
    *t = (struct sweep_table){ .run = mem_alloc(n, sizeof *t->run, e) };
    int code = t->run ? 0 : e->code;
    while (!code && t->n < n) {
        code = run_record_read(&t->run[t->n], dirs[t->n], e);
        t->n++;
    }
    if (!code) code = make_rows(t, e);
    if (!code) code = sum_up_rows(t, e);
    if (code) return code;
    qsort(t->row, t->n_rows, sizeof *t->row, compare_rows);
    for (size_t i = 0; i < CONFIG_KEYS; i++)
        if (differs(t, &config_keys[i])) t->key[t->n_keys++] = &config_keys[i];
    judge(t, note_kinds(t));
    for (size_t i = 0; i < t->n_rows; i++) note_repeated(t, &t->row[i]);
    note_results(t);
    note_unfinished(t);
    return str_error(&t->notes, e);
}

void sweep_table_free(struct sweep_table *t)
{
    for (size_t i = 0; i < t->n_rows; i++) mem_free(t->row[i].run);
    for (size_t i = 0; i < t->n; i++) run_record_free(&t->run[i]);
    mem_free(t->row);
    mem_free(t->run);
    str_free(&t->notes);
    *t = (struct sweep_table){ 0 };
}
