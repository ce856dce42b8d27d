/* lorac data check: finds everything that can be wrong with the data of a run before it is
 * queued. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/data.h"
#include "src/commands/plan.h"
#include "src/data/inspection.h"

struct check {
    const struct config *c;
    size_t n_files;
    struct inspection *files;
    const struct config_source **sources;
    struct plan plan;
    size_t without_eos; /* training examples whose last target does not end an answer */
    uint32_t percentile[5];
    size_t findings; /* records with something that is unlikely to be meant */
};

static const int percents[] = { 0, 50, 90, 99, 100 };
enum { PERCENTS = sizeof percents / sizeof *percents };
_Static_assert(PERCENTS == sizeof((struct check *)0)->percentile / sizeof(uint32_t),
               "one for each");

/* ---- collecting ------------------------------------------------------------------------------ */

/* The records of a file that cannot be read; the others can. */
static void print_malformed(const struct inspection *x, const char *path)
{
    for (size_t i = 0; i < x->bad && i < MALFORMED_SHOWN; i++)
        term_print(stderr, "%s\n", x->malformed[i].msg);
    if (x->bad == 0) return;
    const char *before = ": ";
    term_print(stderr, "%s: %zu of %s %s malformed", path, x->bad, str_count(x->records, "record"),
               x->bad == 1 ? "is" : "are");
    for (int f = 0; f < FAULTS; f++) {
        if (!x->faults[f]) continue;
        fprintf(stderr, "%s%zu %s", before, x->faults[f], fault_name((enum fault)f));
        before = ", ";
    }
    fputc('\n', stderr);
}

static int inspect_files(struct check *k, struct err *e)
{
    const struct config *c = k->c;
    const struct config_sources *both[] = { &c->data.train, &c->data.validation.files };
    k->n_files = both[0]->n + both[1]->n;
    k->files = mem_alloc(k->n_files, sizeof *k->files, e);
    k->sources = mem_alloc(k->n_files, sizeof *k->sources, e);
    if (!k->files || !k->sources) return e->code;
    size_t n = 0;
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < both[b]->n; i++, n++) {
            k->sources[n] = &both[b]->at[i];
            struct records_options o = setup_records(c, k->sources[n]);
            int code = inspect(&k->files[n], k->sources[n]->path, &o, e);
            if (code) return config_prefix_data(e, c);
            print_malformed(&k->files[n], k->sources[n]->path);
        }
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The p-th percentile is the least length that p percent of the examples do not exceed. */
static int measure_lengths(struct check *k, struct err *e)
{
    const struct examples *x = &k->plan.training.setup.data.train;
    uint32_t *length = mem_alloc(x->n, sizeof *length, e);
    if (!length) return e->code;
    for (size_t i = 0; i < x->n; i++) length[i] = (uint32_t)(x->at[i + 1] - x->at[i]);
    qsort(length, x->n, sizeof *length, by_value);
    for (size_t p = 0; p < PERCENTS; p++) {
        size_t rank = ((size_t)percents[p] * x->n + 99) / 100;
        k->percentile[p] = length[rank ? rank - 1 : 0];
    }
    mem_free(length);
    return 0;
}

/* Whether the last target of an example ends an answer. */
static bool ends_well(const struct examples *x, size_t i, const struct template *t,
                      const struct tokenizer *tok)
{
    size_t last = x->at[i + 1];
    while (last > x->at[i] && !x->target[last - 1]) last--;
    return last > x->at[i] && template_stops(t, tok, x->ids[last - 1]);
}

static int count_without_eos(struct check *k, struct err *e)
{
    const struct setup *s = &k->plan.training.setup;
    const struct examples *x = &s->data.train;
    if (!s->tok) return 0;
    size_t i = 0;
    for (size_t source = 0; source < s->data.train_origins.n_sources; source++) {
        const struct template *t = s->template;
        const char *name = k->sources[source]->template;
        int code = name ? setup_template(&t, name, s->tok, e) : 0;
        if (code) return code;
        for (; i < s->data.train_origins.ends[source]; i++) {
            k->without_eos += !ends_well(x, i, t, s->tok);
            if (i % 128 == 0) examples_release(x);
        }
        if (name) template_free(t);
    }
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void print_counts(const struct check *k)
{
    const struct dataset *d = &k->plan.training.setup.data;
    printf("%-28s %12s %12s\n", "", "training", "validation");
    for (size_t i = 0; i < COUNTS; i++) {
        const struct count_row *row = &counts_table[i];
        size_t t = count_of(&d->train_counts, row), v = count_of(&d->validation_counts, row);
        if (t || v || row->always) printf("%-28s %12zu %12zu\n", row->label, t, v);
        if (i == 0) printf("%-28s %12zu %12zu\n", "examples", d->train.n, d->validation.n);
    }
}

static void print_files(const struct check *k)
{
    const struct dataset *d = &k->plan.training.setup.data;
    for (size_t i = 0; i < k->n_files; i++) {
        const struct config_source *s = k->sources[i];
        const char *template = s->template ? s->template : k->c->data.template;
        if (template && *template == '{') template = "of your own";
        term_print(stdout, "%s: %s, %s, format %s, template %s", s->path,
                   str_count(k->files[i].records, "record"),
                   str_count(k->files[i].messages, "message"), data_format_name(k->files[i].format),
                   template ? template : "none");
        if (i >= d->n_shares) {
            printf(", validation\n");
        } else if (s->weight != 1) {
            printf(", %g times an epoch\n", s->weight);
        } else {
            printf("\n");
        }
    }
}

/* The lines of a finding's first records, per file. */
static void print_lines(const struct check *k, enum found f)
{
    bool any = false;
    for (size_t i = 0; i < k->n_files; i++) {
        const struct finding *x = &k->files[i].found[f];
        if (x->n == 0) continue;
        printf("%s", any ? "; " : "  ");
        if (k->n_files > 1) term_print(stdout, "%s ", path_base(k->sources[i]->path));
        printf("line%s ", x->n > 1 ? "s" : "");
        for (size_t j = 0; j < x->n && j < FINDING_LINES; j++)
            printf("%s%zu", j ? ", " : "", x->lines[j]);
        if (x->n > FINDING_LINES) printf(", ...");
        any = true;
    }
    printf("\n");
}

static size_t total_found(const struct check *k, enum found f)
{
    size_t n = 0;
    for (size_t i = 0; i < k->n_files; i++) n += k->files[i].found[f].n;
    return n;
}

static size_t most_identical(const struct check *k)
{
    size_t most = 0;
    for (size_t i = 0; i < k->n_files; i++)
        if (most < k->files[i].most_identical) most = k->files[i].most_identical;
    return most;
}

static void print_findings(const struct check *k)
{
    printf("\nworth a look: records, and the lines of the first ones\n");
    for (int f = 0; f < FOUND_KINDS; f++) {
        size_t n = total_found(k, (enum found)f);
        if (!n) continue;
        printf("%8zu  %s", n, finding_name((enum found)f));
        if (f == FOUND_SAME_ANSWER) {
            printf(" (the most frequent one %s)", str_count(most_identical(k), "time"));
        }
        print_lines(k, (enum found)f);
    }
    if (k->without_eos) {
        printf("%8zu  training examples whose last target is not an end-of-answer token%s\n",
               k->without_eos,
               k->c->data.train_on_eos ? ""
                                       : " (data.train_on_eos is false: the model does not "
                                         "learn to stop)");
    }
    if (!k->findings && !k->without_eos) printf("    none\n");
}

static void print_people(const struct check *k)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    const struct plan *p = &k->plan;
    print_files(k);
    printf("\n");
    print_counts(k);
    printf("\nlengths, tokens: ");
    printf("shortest %u", k->percentile[0]);
    for (size_t i = 1; i + 1 < PERCENTS; i++)
        printf(", %d %% up to %u", percents[i], k->percentile[i]);
    printf(", longest %u; data.max_length is %zu\n", k->percentile[PERCENTS - 1],
           p->training.setup.max_length);
    printf("an epoch: %s, %.0f tokens, of which %.1f %% are shared beginnings, computed once\n",
           str_count(p->training.course.steps_per_epoch, "step"), p->tokens,
           100 - 100 * p->rows / p->tokens);
    print_findings(k);
    printf("\nexpected time: %s, %s an epoch (lorac plan says how it is estimated)\n",
           human_duration(a, plan_run_seconds(p)), human_duration(b, plan_epoch_seconds(p)));
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void write_side(struct json_writer *w, const char *name, const struct data_counts *c,
                       size_t examples)
{
    json_write_object(w, name, JSON_ONE_LINE);
    json_write_count(w, "examples", examples);
    for (size_t i = 0; i < COUNTS; i++)
        json_write_count(w, counts_table[i].field, count_of(c, &counts_table[i]));
    json_write_end(w);
}

static void write_file(struct json_writer *w, const struct check *k, size_t i)
{
    const struct inspection *x = &k->files[i];
    json_write_object(w, NULL, JSON_ONE_LINE);
    json_write_text(w, "path", k->sources[i]->path);
    json_write_text(w, "format", data_format_name(x->format));
    json_write_count(w, "records", x->records);
    json_write_count(w, "messages", x->messages);
    json_write_count(w, "malformed", x->bad);
    for (int f = 0; f < FOUND_KINDS; f++) {
        const struct finding *found = &x->found[f];
        json_write_object(w, finding_key((enum found)f), JSON_ONE_LINE);
        json_write_count(w, "records", found->n);
        json_write_array(w, "lines", JSON_ONE_LINE);
        for (size_t j = 0; j < found->n && j < FINDING_LINES; j++)
            json_write_count(w, NULL, found->lines[j]);
        json_write_end(w);
        json_write_end(w);
    }
    remarks_write_unused(w, "unused_columns", &x->remarks);
    json_write_count(w, "most_identical_answers", x->most_identical);
    json_write_end(w);
}

static void write_lengths(struct json_writer *w, const struct check *k)
{
    json_write_object(w, "length_percentiles", JSON_ONE_LINE);
    for (size_t i = 0; i < PERCENTS; i++) {
        char percent[8];
        snprintf(percent, sizeof percent, "%d", percents[i]);
        json_write_count(w, percent, k->percentile[i]);
    }
    json_write_end(w);
    json_write_count(w, "max_length", k->plan.training.setup.max_length);
    json_write_count(w, "answers_without_eos", k->without_eos);
}

static void write_time(struct json_writer *w, const struct plan *p)
{
    double seconds = plan_epoch_seconds(p);
    json_write_count(w, "steps_per_epoch", p->training.course.steps_per_epoch);
    json_write_count(w, "steps", p->training.course.total);
    json_write_decimals(w, "tokens_per_epoch", p->tokens, 0);
    json_write_decimals(w, "tokens_computed_per_epoch", p->rows, 0);
    json_write_decimals(w, "shared_fraction", 1 - p->rows / p->tokens, 6);
    json_write_decimals(w, "seconds_per_epoch", seconds, 3);
    json_write_decimals(w, "seconds", plan_run_seconds(p), 3);
}

static int print_json(const struct check *k, struct err *e)
{
    const struct dataset *d = &k->plan.training.setup.data;
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    json_write_object(&w, NULL, JSON_LINES);
    json_write_array(&w, "files", JSON_LINES);
    for (size_t i = 0; i < k->n_files; i++) write_file(&w, k, i);
    json_write_end(&w);
    write_side(&w, "training", &d->train_counts, d->train.n);
    write_side(&w, "validation", &d->validation_counts, d->validation.n);
    write_lengths(&w, k);
    write_time(&w, &k->plan);
    notes_write_json(&w, "notes", &k->plan.training.setup.notes);
    json_write_end(&w);
    return json_print(&s, e);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int check(struct check *k, struct err *e)
{
    int code = inspect_files(k, e);
    for (int f = 0; !code && f < FOUND_KINDS; f++) k->findings += total_found(k, (enum found)f);
    if (!code) code = plan_make(&k->plan, k->c, e);
    notes_print(&k->plan.training.setup.notes);
    if (!code) code = measure_lengths(k, e);
    return code ? code : count_without_eos(k, e);
}

int data_check(const struct config *c, bool as_json, struct err *e)
{
    struct check k = { .c = c };
    int code = check(&k, e);
    if (!code && as_json) {
        code = print_json(&k, e);
    } else if (!code) {
        print_people(&k);
    }
    plan_free(&k.plan);
    mem_free(k.files);
    mem_free(k.sources);
    return code;
}
