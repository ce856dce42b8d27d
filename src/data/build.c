#include "src/data/build.h"

#include <omp.h>
#include <string.h>

#include "src/base/mem.h"

enum { BATCH_RECORDS = 1024, BATCH_BYTES = 16 << 20, SLOT_TOKENS_KEPT = 1 << 16 };

struct slot {
    struct record_slice slice;
    struct examples examples;
    struct digest *digests; /* one for each */
    size_t digests_cap;
    struct fit_result result;
    double key;
    bool chosen;
    int code;
    enum fault fault;   /* when there is a code */
    struct str remarks; /* of the conversation */
    struct err e;
};

/* Working memory of one thread. */
struct worker {
    struct conversation conversation;
    struct fit fit;
};

size_t build_examples(const struct build_side *s)
{
    return s->spool.at ? s->spool.n : s->examples.n;
}

/* Whether records of training files are also validation ones. */
static bool by_fraction(const struct data_options *o)
{
    return o->n_validation == 0 && o->validation_frac > 0;
}

/* ---- the split ------------------------------------------------------------------------------ */

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

/* ---- one record ----------------------------------------------------------------------------- */

size_t build_vocabulary(const struct data_options *o, const struct tokenizer *tok)
{
    return o->vocab_size ? o->vocab_size : tok ? tokenizer_size(tok) : 0;
}

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

static int digest_slot(struct slot *s)
{
    const struct examples *x = &s->examples;
    if (x->n > s->digests_cap) {
        struct digest *digests = mem_resize(s->digests, x->n, sizeof *digests, &s->e);
        if (!digests) return s->e.code;
        s->digests = digests;
        s->digests_cap = x->n;
    }
    int code = 0;
    for (size_t i = 0; !code && i < x->n; i++) {
        size_t at = x->at[i], n = x->at[i + 1] - at;
        code = digest_of_example(&s->digests[i], x->ids + at, x->target + at, n, &s->e);
    }
    return code;
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
    if (c->remarks.n) str_add(&s->remarks, c->remarks.p, c->remarks.n);
    if (str_error(&s->remarks, &s->e)) {
        s->code = s->e.code;
        return;
    }
    CHECK(b->tok || c->kind == RECORD_TOKENS);
    if (c->kind == RECORD_TOKENS) {
        s->code = check_vocabulary(c, build_vocabulary(o, b->tok), &s->e);
        s->fault = FAULT_VALUE;
    }
    if (!s->code) {
        s->code = fit_record(&w->fit, &s->examples, &s->result, c, &fit, &s->e);
        s->fault = s->result.without_targets ? FAULT_TARGETS : FAULT_ORDER;
    }
    if (!s->code && by_fraction(o)) s->code = split_key(&s->key, c, o->seed, &s->e);
    if (s->code) records_prefix(r, &s->slice, &s->e);
    if (!s->code) s->code = digest_slot(s);
}

/* ---- a batch -------------------------------------------------------------------------------- */

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
        str_clear(&s->remarks);
        s->slice.n = 0;
        s->code = records_slice(r, &s->slice, &more, &s->e);
        s->fault = s->slice.fault;
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

/* ---- taking --------------------------------------------------------------------------------- */

/* Keep the examples from .. to-1 of a slot. */
static int keep(struct build *b, struct build_side *side, const struct slot *s, size_t from,
                size_t to)
{
    struct origins *o = &side->origins;
    size_t n = build_examples(side), need = n + (to - from);
    if (need > o->cap) {
        size_t cap = need + need / 2;
        uint32_t *line = mem_resize(o->line, cap, sizeof *line, b->e);
        if (!line) return b->e->code;
        o->line = line;
        o->cap = cap;
    }
    for (size_t i = n; i < need; i++) {
        o->line[i] = s->slice.line < UINT32_MAX ? (uint32_t)s->slice.line : UINT32_MAX;
    }
    for (size_t i = s->examples.at ? s->examples.at[from] : 0; from < to && i < s->examples.at[to];
         i++) {
        side->counts.targets += s->examples.target[i];
        side->counts.tokens++;
    }
    return b->spooled ? spool_append(&side->spool, &s->examples, from, to, b->e)
                      : examples_append(&side->examples, &s->examples, from, to, b->e);
}

/* Keep a slot's items, without those that are copies of earlier ones if such are not wanted. */
static int keep_slot(struct build *b, struct build_side *side, const struct slot *s)
{
    const struct examples *x = &s->examples;
    size_t from = 0;
    for (size_t k = 0; k < examples_items(x); k++) {
        size_t begin = examples_item(x, k), end = examples_item(x, k + 1), copied = 0;
        for (size_t i = begin; i < end; i++) {
            uint32_t copies;
            int code = digests_put(&side->seen, &copies, &s->digests[i], b->e);
            if (code) return code;
            copied += copies > 0;
        }
        side->counts.duplicates += copied;
        if (!b->o->deduplicate || copied < end - begin) continue;
        side->counts.removed += copied;
        int code = keep(b, side, s, from, begin);
        if (code) return code;
        from = end;
    }
    return keep(b, side, s, from, x->n);
}

/* Out of memory is no property of the record: skipping it would train on other data in silence. */
static bool is_skippable(const struct build *b, const struct slot *s)
{
    return b->o->skip_errors && !s->result.too_long && !strstr(s->e.msg, "out of memory");
}

static int take_slot(struct build *b, struct slot *s, enum side to)
{
    if (!s->code && to == TRAIN && by_fraction(b->o) && s->key < b->o->validation_frac) {
        to = VALIDATION;
    }
    struct build_side *side = &b->side[to];
    struct data_counts *counts = &side->counts;
    counts->records++;
    if (s->code && !is_skippable(b, s)) {
        *b->e = s->e;
        return s->code;
    }
    if (s->code) {
        if (counts->bad++ == 0) side->first_bad = s->e;
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
    return keep_slot(b, side, s);
}

/* ---- a source ------------------------------------------------------------------------------- */

static int read_records(struct build *b, struct records *r, const struct data_source *source,
                        enum side side, struct remarks *remarks)
{
    int code = 0;
    for (size_t n; !code && (n = cut_batch(b, r)) > 0;) {
        read_batch(b, n, r, source);
        for (size_t i = 0; !code && i < n; i++) {
            code = take_slot(b, &b->slots[i], side);
            if (!b->slots[i].code) remarks_take(remarks, &b->slots[i].remarks);
            struct examples *x = &b->slots[i].examples;
            if (x->ids_cap > SLOT_TOKENS_KEPT) examples_free(x);
        }
        records_release(r);
        b->records += n;
        if (b->o->progress) b->o->progress(b->records, b->o->context);
    }
    return code;
}

static int read_source(struct build *b, const struct data_source *source, enum side side,
                       struct remarks *remarks)
{
    struct records *r;
    int code = records_open(&r, source->path, &source->records, b->e);
    if (code) return code;
    enum data_format f = records_format(r);
    bool has_text = f != FORMAT_TOKENS;
    if (has_text && !b->tok) {
        code = err_usage(b->e, "%s: format %s needs a tokenizer; name one with model.tokenizer",
                         source->path, data_format_name(f));
    }
    if (!code && has_text) {
        bool is_chat = f != FORMAT_TEXT && f != FORMAT_SEGMENTS;
        if (f != FORMAT_SEGMENTS) {
            code = template_check(is_chat ? source->template : NULL, b->tok, b->e);
        }
        b->untemplated |= is_chat && !source->template;
    }
    if (!code) code = read_records(b, r, source, side, remarks);
    records_close(r);
    return code;
}

int build_read(struct build *b)
{
    const struct data_options *o = b->o;
    int code = 0;
    for (int s = TRAIN; s < SIDES; s++) {
        struct origins *origins = &b->side[s].origins;
        bool own = s == TRAIN || o->n_validation > 0;
        origins->n_sources = own && s != TRAIN ? o->n_validation : o->n_train;
        origins->ends = mem_alloc(origins->n_sources, sizeof *origins->ends, b->e);
        if (!origins->ends) return b->e->code;
    }
    for (size_t i = 0; !code && i < o->n_train; i++) {
        code = read_source(b, &o->train[i], TRAIN, &b->remarks[i]);
        b->side[TRAIN].origins.ends[i] = build_examples(&b->side[TRAIN]);
        if (o->n_validation == 0)
            b->side[VALIDATION].origins.ends[i] = build_examples(&b->side[VALIDATION]);
    }
    for (size_t i = 0; !code && i < o->n_validation; i++) {
        code = read_source(b, &o->validation[i], VALIDATION, &b->remarks[o->n_train + i]);
        b->side[VALIDATION].origins.ends[i] = build_examples(&b->side[VALIDATION]);
    }
    return code;
}

/* ---- beginning and end ---------------------------------------------------------------------- */

int build_begin(struct build *b, const struct data_options *o, const struct tokenizer *tok,
                const char *spool_dir, struct err *e)
{
    *b = (struct build){ .o = o, .tok = tok, .spooled = spool_dir != NULL, .e = e };
    for (int s = TRAIN; s < SIDES; s++) {
        b->side[s].name = s == TRAIN ? "train" : "validation";
        b->side[s].spool = (struct spool){ .ids.fd = -1, .target.fd = -1 };
    }
    int code = 0;
    for (int s = TRAIN; !code && spool_dir && s < SIDES; s++)
        code = spool_open(&b->side[s].spool, spool_dir, e);
    b->n_workers = (size_t)omp_get_max_threads();
    if (!code) b->slots = mem_alloc(BATCH_RECORDS, sizeof *b->slots, e);
    if (b->slots) b->remarks = mem_alloc(o->n_train + o->n_validation, sizeof *b->remarks, e);
    if (b->remarks) b->workers = mem_alloc(b->n_workers, sizeof *b->workers, e);
    if (!code && !b->workers) code = e->code;
    if (code) build_end(b);
    return code;
}

void build_end(struct build *b)
{
    for (size_t i = 0; b->slots && i < BATCH_RECORDS; i++) {
        examples_free(&b->slots[i].examples);
        mem_free(b->slots[i].digests);
        str_free(&b->slots[i].remarks);
    }
    for (size_t i = 0; b->workers && i < b->n_workers; i++) {
        conversation_free(&b->workers[i].conversation);
        fit_free(&b->workers[i].fit);
    }
    mem_free(b->slots);
    mem_free(b->workers);
    mem_free(b->remarks);
    b->remarks = NULL;
    for (int s = TRAIN; s < SIDES; s++) {
        struct build_side *side = &b->side[s];
        examples_free(&side->examples);
        spool_close(&side->spool);
        digests_free(&side->seen);
        mem_free(side->origins.line);
        mem_free(side->origins.ends);
        side->origins = (struct origins){ 0 };
    }
    b->slots = NULL;
    b->workers = NULL;
}
