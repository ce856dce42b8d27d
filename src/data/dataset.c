#include "src/data/dataset.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"

/* Records are read in batches: cut by one thread, tokenised by all, appended in order by one. */
enum { BATCH_RECORDS = 1024, BATCH_BYTES = 16 << 20, SLOT_TOKENS_KEPT = 1 << 16 };

struct slot {
    struct record_slice slice;
    struct examples examples;
    struct fit_result result;
    double key;
    bool chosen;
    int code;
    enum fault fault; /* when there is a code */
    struct err e;
};

/* Working memory of one thread. */
struct worker {
    struct conversation conversation;
    struct fit fit;
};

struct build {
    struct dataset *d;
    const struct data_options *o;
    const struct tokenizer *tok;
    struct str *notes;
    struct err *e;
    struct slot *slots;
    struct worker *workers;
    size_t n_workers;
    struct sha256 hash;
    size_t *ends; /* the training examples behind each training source */
    struct err first_bad[2];
};

enum side { TRAIN, VALIDATION };

static struct examples *examples_of(struct build *b, enum side s)
{
    return s == TRAIN ? &b->d->train : &b->d->validation;
}

static struct data_counts *counts_of(struct build *b, enum side s)
{
    return s == TRAIN ? &b->d->train_counts : &b->d->validation_counts;
}

/* ---- the split ---------------------------------------------------------------------------------
 */

static void add_u64(struct sha256 *h, uint64_t v, size_t bytes)
{
    uint8_t little[8];
    for (size_t i = 0; i < bytes; i++) little[i] = (uint8_t)(v >> (8 * i));
    sha256_add(h, little, bytes);
}

static void add_key_text(struct sha256 *h, const struct conversation *c)
{
    size_t first = 0;
    while (first < c->n && c->turns[first].role != ROLE_USER) first++;
    bool whole = first == c->n;
    for (size_t i = whole ? 0 : first; i < c->n && (whole || i == first); i++) {
        const struct turn *t = &c->turns[i];
        sha256_add(h, t->text, t->n);
        if (t->input) sha256_add(h, "\n\n", 2);
        if (t->input) sha256_add(h, t->input, t->input_n);
    }
}

/* A number in [0, 1) that decides the side. */
static int split_key(double *key, const struct conversation *c, uint64_t seed, struct err *e)
{
    static const char purpose[] = "lorac split 1\n";
    struct sha256 h;
    int code = sha256_begin(&h, e);
    if (code) return code;
    sha256_add(&h, purpose, sizeof purpose - 1);
    add_u64(&h, seed, 8);
    if (c->kind == RECORD_TOKENS) {
        for (size_t i = 0; i < c->n_ids; i++) add_u64(&h, (uint32_t)c->ids[i], 4);
    } else {
        add_key_text(&h, c);
    }
    uint8_t digest[SHA256_BYTES];
    sha256_end(&h, digest);
    uint64_t v = 0;
    for (size_t i = 0; i < 8; i++) v |= (uint64_t)digest[i] << (8 * i);
    *key = (double)(v >> 11) * 0x1p-53; /* exact, and below 1 */
    return 0;
}

/* ---- one record --------------------------------------------------------------------------------
 */

static int check_vocabulary(const struct conversation *c, size_t size, struct err *e)
{
    for (size_t i = 0; size && i < c->n_ids; i++) {
        if ((size_t)c->ids[i] < size) continue;
        return err_set(e,
                       "input_ids[%zu]: found %d, wanted an id below %zu, the size of the "
                       "vocabulary",
                       i, c->ids[i], size);
    }
    return 0;
}

static void read_slot(struct slot *s, struct worker *w, const struct build *b,
                      const struct records *r, const struct data_source *source)
{
    const struct data_options *o = b->o;
    struct fit_options fit = { source->template, b->tok, o->render, o->max_length, o->overlong };
    struct conversation *c = &w->conversation;
    s->code = records_parse(r, &s->slice, c, &s->e);
    s->fault = c->fault;
    if (s->code) return;
    s->chosen = c->chosen;
    CHECK(b->tok || c->kind == RECORD_TOKENS);
    if (c->kind == RECORD_TOKENS) {
        size_t size = o->vocab_size ? o->vocab_size : b->tok ? tokenizer_size(b->tok) : 0;
        s->code = check_vocabulary(c, size, &s->e);
        s->fault = FAULT_VALUE;
    }
    if (!s->code) {
        s->code = fit_record(&w->fit, &s->examples, &s->result, c, &fit, &s->e);
        s->fault = s->result.without_targets ? FAULT_TARGETS : FAULT_ORDER;
    }
    if (!s->code) s->code = split_key(&s->key, c, o->seed, &s->e);
    if (s->code) records_prefix(r, &s->slice, &s->e);
}

/* ---- a batch -----------------------------------------------------------------------------------
 */

/* Fill slots with the next records; fewer than BATCH_RECORDS, or none, at the end of the file. */
static size_t cut_batch(struct build *b, struct records *r)
{
    size_t n = 0, bytes = 0;
    while (n < BATCH_RECORDS && bytes < BATCH_BYTES) {
        struct slot *s = &b->slots[n];
        bool more;
        examples_clear(&s->examples);
        s->result = (struct fit_result){ 0 };
        s->chosen = false;
        s->fault = FAULT_SIZE;
        s->slice.n = 0;
        s->code = records_slice(r, &s->slice, &more, &s->e);
        if (!s->code && !more) break;
        bytes += s->slice.n;
        n++;
    }
    return n;
}

static void read_batch(struct build *b, size_t n, const struct records *r,
                       const struct data_source *source)
{
#pragma omp parallel for schedule(dynamic, 4) num_threads((int)b->n_workers)
    for (size_t i = 0; i < n; i++) {
        struct slot *s = &b->slots[i];
        if (!s->code) read_slot(s, &b->workers[omp_get_thread_num()], b, r, source);
    }
}

/* Out of memory is no property of the record: skipping it would train on other data in silence. */
static bool is_skippable(const struct build *b, const struct slot *s)
{
    return b->o->skip_errors && !s->result.too_long && !strstr(s->e.msg, "out of memory");
}

static int take_slot(struct build *b, struct slot *s, enum side side)
{
    bool by_fraction = side == TRAIN && b->o->n_validation == 0;
    if (!s->code && by_fraction && s->key < b->o->validation_frac) side = VALIDATION;
    struct data_counts *counts = counts_of(b, side);
    counts->records++;
    if (s->code && !is_skippable(b, s)) {
        *b->e = s->e;
        return s->code;
    }
    if (s->code) {
        if (counts->bad++ == 0) b->first_bad[side] = s->e;
        counts->faults[s->fault]++;
        return 0;
    }
    counts->chosen += s->chosen;
    counts->targets_lost += s->result.targets_lost;
    counts->overlong += s->result.lost;
    counts->truncated += s->result.truncated;
    counts->split += s->result.split;
    counts->without_targets += s->result.without_targets;
    if (counts->longest < s->result.length) counts->longest = s->result.length;
    return examples_append(examples_of(b, side), &s->examples, 0, s->examples.n, b->e);
}

/* ---- a source ----------------------------------------------------------------------------------
 */

static int read_records(struct build *b, struct records *r, const struct data_source *source,
                        enum side side)
{
    int code = 0;
    for (size_t n; !code && (n = cut_batch(b, r)) > 0;) {
        read_batch(b, n, r, source);
        for (size_t i = 0; !code && i < n; i++) {
            code = take_slot(b, &b->slots[i], side);
            struct examples *x = &b->slots[i].examples;
            if (x->ids_cap > SLOT_TOKENS_KEPT) examples_free(x);
        }
    }
    return code;
}

static int read_source(struct build *b, const struct data_source *source, enum side side)
{
    struct records *r;
    int code = records_open(&r, source->path, &source->records, b->e);
    if (code) return code;
    records_hash(r, &b->hash);
    enum data_format f = records_format(r);
    bool has_text = f != FORMAT_TOKENS;
    if (has_text && !b->tok) {
        code = err_usage(b->e, "%s: format %s needs a tokenizer; name one with model.tokenizer",
                         source->path, data_format_name(f));
    }
    if (!code && has_text) {
        code = template_check(f == FORMAT_TEXT ? NULL : source->template, b->tok, b->e);
    }
    if (!code) code = read_records(b, r, source, side);
    records_close(r);
    return code;
}

static int read_sources(struct build *b)
{
    const struct data_options *o = b->o;
    int code = 0;
    for (size_t i = 0; !code && i < o->n_train; i++) {
        code = read_source(b, &o->train[i], TRAIN);
        b->ends[i] = b->d->train.n;
    }
    for (size_t i = 0; !code && i < o->n_validation; i++) {
        code = read_source(b, &o->validation[i], VALIDATION);
    }
    return code;
}

static int add_repeats(struct build *b)
{
    int code = 0;
    for (size_t i = 0; !code && i < b->o->n_train; i++) {
        size_t from = i ? b->ends[i - 1] : 0;
        for (size_t k = 1; !code && k < b->o->train[i].repeat; k++) {
            code = examples_append(&b->d->train, &b->d->train, from, b->ends[i], b->e);
        }
    }
    return code;
}

/* ---- duplicates --------------------------------------------------------------------------------
 */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* The sorted digests of all examples: 64 bits of the SHA-256 of ids and flags. */
static uint64_t *digests_of(const struct examples *x, struct err *e)
{
    uint64_t *digest = mem_alloc(x->n, sizeof *digest, e);
    int failed = 0;
    if (!digest) return NULL;
#pragma omp parallel for schedule(static) reduction(max : failed)
    for (size_t i = 0; i < x->n; i++) {
        size_t at = x->at[i], n = x->at[i + 1] - at;
        struct sha256 h;
        struct err ignored;
        uint8_t full[SHA256_BYTES];
        if (sha256_begin(&h, &ignored)) {
            failed = 1;
            continue;
        }
        sha256_add(&h, x->ids + at, n * sizeof *x->ids);
        sha256_add(&h, x->target + at, n);
        sha256_end(&h, full);
        memcpy(&digest[i], full, sizeof digest[i]);
    }
    if (failed) {
        err_set(e, "libcrypto offers no SHA-256");
        mem_free(digest);
        return NULL;
    }
    qsort(digest, x->n, sizeof *digest, compare_u64);
    return digest;
}

static int count_duplicates(struct build *b, size_t *shared)
{
    size_t n[2] = { 0 };
    uint64_t *digest[2] = { NULL, NULL };
    int code = 0;
    *shared = 0;
    for (int s = TRAIN; !code && s <= VALIDATION; s++) {
        n[s] = examples_of(b, (enum side)s)->n;
        if (!(digest[s] = digests_of(examples_of(b, (enum side)s), b->e))) code = b->e->code;
        for (size_t i = 1; !code && i < n[s]; i++) {
            counts_of(b, (enum side)s)->duplicates += digest[s][i] == digest[s][i - 1];
        }
    }
    for (size_t i = 0; !code && n[TRAIN] && i < n[VALIDATION]; i++) {
        *shared += bsearch(&digest[VALIDATION][i], digest[TRAIN], n[TRAIN], sizeof **digest,
                           compare_u64) != NULL;
    }
    mem_free(digest[TRAIN]);
    mem_free(digest[VALIDATION]);
    return code;
}

/* ---- what is left, and what to say about it ----------------------------------------------------
 */

static const char *train_on_name(enum train_on t)
{
    static const char *const names[] = { "responses", "last_response", "everything" };
    return names[t];
}

/* "2 not valid JSON, 1 lacking a key" */
static void add_faults(struct str *out, const struct data_counts *c)
{
    const char *before = "";
    for (int f = 0; f < FAULTS; f++) {
        if (!c->faults[f]) continue;
        str_addf(out, "%s%zu %s", before, c->faults[f], fault_name((enum fault)f));
        before = ", ";
    }
}

/* More than a few bad records are no accident. */
static int check_skipped(const struct build *b, enum side side, const struct data_counts *c)
{
    double frac = b->o->max_skipped_frac;
    if ((double)c->bad <= frac * (double)c->records) return 0;
    struct str s = { 0 };
    add_faults(&s, c);
    int code = str_error(&s, b->e);
    if (!code) {
        code = err_set(b->e,
                       "data.%s: %zu of %zu records are malformed (%s), more than the %g %% that "
                       "data.max_skipped_frac allows; the first: %s",
                       side == TRAIN ? "train" : "validation", c->bad, c->records, s.p, 100 * frac,
                       b->first_bad[side].msg);
    }
    str_free(&s);
    return code;
}

/* No example of a side is left: say what became of its records, and which setting to change. */
static int nothing_left(const struct build *b, enum side side, const struct data_counts *c)
{
    struct str s = { 0 };
    if (c->overlong) {
        str_addf(&s,
                 "; %zu longer than data.max_length = %zu (the longest has %zu tokens: raise it, "
                 "or set data.overlong to truncate or split)",
                 c->overlong, b->o->max_length, c->longest);
    }
    if (c->without_targets) {
        str_addf(&s,
                 "; %zu without a target within data.max_length = %zu (data.train_on is %s, the "
                 "longest has %zu tokens; a record's own train or weight may also rule its "
                 "answers out)",
                 c->without_targets, b->o->max_length, train_on_name(b->o->render.train_on),
                 c->longest);
    }
    if (c->bad) str_addf(&s, "; %zu malformed, the first: %s", c->bad, b->first_bad[side].msg);
    int code = str_error(&s, b->e);
    if (!code) {
        code = err_set(b->e, "data.%s: none of %zu records is left%s",
                       side == TRAIN ? "train" : "validation", c->records, s.n ? s.p : "");
    }
    str_free(&s);
    return code;
}

static int check_sides(const struct build *b)
{
    const struct dataset *d = b->d;
    const struct data_options *o = b->o;
    bool by_fraction = o->n_validation == 0 && o->validation_frac > 0;
    int code = check_skipped(b, TRAIN, &d->train_counts);
    if (!code) code = check_skipped(b, VALIDATION, &d->validation_counts);
    if (code) return code;
    if (by_fraction && d->train.n + d->validation.n == 0) {
        struct data_counts sum = d->train_counts;
        const struct data_counts *v = &d->validation_counts;
        sum.records += v->records, sum.overlong += v->overlong;
        sum.without_targets += v->without_targets;
        if (sum.longest < v->longest) sum.longest = v->longest;
        return nothing_left(b, TRAIN, &sum);
    }
    if (by_fraction && (d->train.n == 0 || d->validation.n == 0)) {
        return err_set(b->e, "data.validation: a fraction of %g of %zu examples leaves %s; %s",
                       o->validation_frac, d->train.n + d->validation.n,
                       d->train.n ? "none for validation" : "none to train on",
                       d->train.n ? "raise it, or name a validation file" : "lower it");
    }
    if (d->train.n == 0) return nothing_left(b, TRAIN, &d->train_counts);
    if (o->n_validation && d->validation.n == 0) {
        return nothing_left(b, VALIDATION, &d->validation_counts);
    }
    return 0;
}

static void note_side(struct build *b, enum side side)
{
    const struct data_counts *c = counts_of(b, side);
    const char *name = side == TRAIN ? "train" : "validation";
    size_t max = b->o->max_length;
    if (c->bad) {
        str_addf(b->notes, "%s: %zu of %zu records malformed and skipped (", name, c->bad,
                 c->records);
        add_faults(b->notes, c);
        str_addf(b->notes, "), the first: %s\n", b->first_bad[side].msg);
    }
    if (c->chosen) {
        str_addf(b->notes,
                 "%s: %zu records are preference data: trained on what was chosen, the rejected "
                 "answers are left out\n",
                 name, c->chosen);
    }
    if (c->overlong) {
        str_addf(b->notes,
                 "%s: %zu longer than data.max_length = %zu tokens dropped (the longest "
                 "record has %zu)\n",
                 name, c->overlong, max, c->longest);
    }
    if (c->truncated) {
        str_addf(b->notes,
                 "%s: %zu records cut to data.max_length = %zu tokens (the longest has "
                 "%zu)\n",
                 name, c->truncated, max, c->longest);
    }
    if (c->split) {
        str_addf(b->notes,
                 "%s: %zu records split into pieces of at most data.max_length = %zu "
                 "tokens (the longest has %zu)\n",
                 name, c->split, max, c->longest);
    }
    if (c->targets_lost) {
        str_addf(b->notes, "%s: %zu targets are in what was dropped or cut away\n", name,
                 c->targets_lost);
    }
    if (c->without_targets) {
        str_addf(b->notes, "%s: %zu records without a target dropped (data.train_on: %s)\n", name,
                 c->without_targets, train_on_name(b->o->render.train_on));
    }
    if (c->duplicates) {
        str_addf(b->notes, "%s: %zu examples are exact copies of others\n", name, c->duplicates);
    }
}

static int finish(struct build *b)
{
    size_t shared;
    int code = check_sides(b);
    if (!code) code = count_duplicates(b, &shared);
    if (!code) code = add_repeats(b);
    if (code) return code;
    for (int s = TRAIN; s <= VALIDATION; s++) {
        counts_of(b, (enum side)s)->tokens = examples_tokens(examples_of(b, (enum side)s));
        counts_of(b, (enum side)s)->targets = examples_targets(examples_of(b, (enum side)s));
        note_side(b, (enum side)s);
    }
    if (shared) {
        str_addf(b->notes, "validation: %zu examples are also trained on\n", shared);
    }
    return str_error(b->notes, b->e);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

static int check_options(const struct data_options *o, struct err *e)
{
    CHECK(o->n_train > 0 && o->max_length > 0);
    if (!(o->validation_frac >= 0 && o->validation_frac < 1)) {
        return err_usage(e,
                         "data.validation: found %g, wanted a fraction from 0 to below 1, or files",
                         o->validation_frac);
    }
    for (size_t i = 0; i < o->n_train; i++) {
        if (o->train[i].repeat == 0) {
            return err_usage(e, "data.train: %s: found a weight of 0, wanted 1 or more",
                             o->train[i].path);
        }
    }
    return 0;
}

static int build_begin(struct build *b)
{
    b->n_workers = (size_t)omp_get_max_threads();
    b->slots = mem_alloc(BATCH_RECORDS, sizeof *b->slots, b->e);
    b->workers = b->slots ? mem_alloc(b->n_workers, sizeof *b->workers, b->e) : NULL;
    b->ends = b->workers ? mem_alloc(b->o->n_train, sizeof *b->ends, b->e) : NULL;
    return b->ends ? sha256_begin(&b->hash, b->e) : b->e->code;
}

static void build_end(struct build *b)
{
    if (b->hash.state) sha256_end(&b->hash, b->d->sha256);
    for (size_t i = 0; b->slots && i < BATCH_RECORDS; i++) examples_free(&b->slots[i].examples);
    for (size_t i = 0; b->workers && i < b->n_workers; i++) {
        conversation_free(&b->workers[i].conversation);
        fit_free(&b->workers[i].fit);
    }
    mem_free(b->slots);
    mem_free(b->workers);
    mem_free(b->ends);
}

int dataset_open(struct dataset *d, const struct data_options *o, const struct tokenizer *tok,
                 struct str *notes, struct err *e)
{
    *d = (struct dataset){ 0 };
    int code = check_options(o, e);
    if (code) return code;
    struct build b = { .d = d, .o = o, .tok = tok, .notes = notes, .e = e };
    code = build_begin(&b);
    if (!code) code = read_sources(&b);
    if (!code) code = finish(&b);
    build_end(&b);
    if (code) dataset_close(d);
    return code;
}

void dataset_close(struct dataset *d)
{
    examples_free(&d->train);
    examples_free(&d->validation);
    *d = (struct dataset){ 0 };
}
