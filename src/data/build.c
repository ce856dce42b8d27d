#include "src/data/build.h"

#include <omp.h>
#include <string.h>

#include "src/base/mem.h"

enum { BATCH_RECORDS = 1024, BATCH_BYTES = 16 << 20, SLOT_TOKENS_KEPT = 1 << 16 };

struct build_slot {
    struct record_slice slice;
    struct examples examples;
    struct digest *digests; /* one for each example */
    size_t digests_cap;
    struct fit_result result;
    unsigned spelt; /* 1u << SPELT_... */
    uint64_t group; /* used when a fraction is kept aside */
    bool chosen;
    int code;
    enum fault fault;   /* valid when there is a code */
    struct str remarks; /* the conversation's */
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

/* Whether a fraction of the training files' records is kept aside for validation. */
static bool by_fraction(const struct data_options *o)
{
    return o->n_validation == 0 && o->validation_frac > 0;
}

/* ---- one record ------------------------------------------------------------------------------ */

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

static int digest_slot(struct build_slot *s)
{
    const struct examples *x = &s->examples;
    if (x->n > s->digests_cap) {
        struct digest *digests = mem_resize(s->digests, x->n, sizeof *digests, &s->e);
        if (!digests) return s->e.code;
        s->digests = digests;
        s->digests_cap = x->n;
    }
    int code = 0;
    for (size_t i = 0; !code && i < x->n; i++)
        code = digest_of_example(&s->digests[i], x, i, &s->e);
    return code;
}

/* Whether a text has a template's mark: one that is a special token of other tokenizers, or the one
 * that is text everywhere. */
static bool spells_mark(const struct tokenizer *tok, const struct turn *t, bool is_chat)
{
    static const char *const marks[] = {
        "</s>",
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|begin_of_text|>",
        "<end_of_turn>",
        "<|end_of_text|>",
    };
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (memmem(t->text, t->n, marks[i], strlen(marks[i])) &&
            tokenizer_special(tok, marks[i]) < 0)
            return true;
    }
    return is_chat && memmem(t->text, t->n, "[INST]", 6) && memmem(t->text, t->n, "[/INST]", 7);
}

/* Whether a user's text is a prompt that a template has already written, up to the answer's
 * mark. */
static bool spells_prompt(const struct turn *t)
{
    static const char *const pairs[][2] = {
        { "### Instruction:", "### Response:" },
        { "### Human:", "### Assistant:" },
        { "### User:", "### Assistant:" },
        { "### Question:", "### Answer:" },
        { "USER:", "ASSISTANT:" },
        { "<|user|>", "<|assistant|>" },
    };
    const char *end = t->text + t->n;
    for (size_t i = 0; t->role == ROLE_USER && i < sizeof pairs / sizeof *pairs; i++) {
        const char *ask = memmem(t->text, t->n, pairs[i][0], strlen(pairs[i][0]));
        if (ask && memmem(ask, (size_t)(end - ask), pairs[i][1], strlen(pairs[i][1]))) return true;
    }
    return false;
}

static bool spells_special(const struct tokenizer *tok, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        if (tokenizer_special_at(tok, text + i, n - i, &id)) return true;
    }
    return false;
}

/* The tokens and marks that a record's texts spell and that are learnt as letters. */
static unsigned spelling_of(const struct build *b, const struct conversation *c,
                            const struct template *template)
{
    bool joins = !template || strcmp(template_name(template), "plain") == 0;
    bool is_text = c->kind == RECORD_TEXT, parsed = is_text && b->o->render.parse_special;
    unsigned found = 0;
    if (c->kind == RECORD_TOKENS || c->kind == RECORD_SEGMENTS) return 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        if (!parsed && (spells_special(b->tok, t->text, t->n) ||
                        (t->input && spells_special(b->tok, t->input, t->input_n))))
            found |= 1u << (is_text ? SPELT_IN_TEXT : SPELT_IN_CHAT);
        if (spells_mark(b->tok, t, !is_text)) found |= 1u << SPELT_MARK;
        if (!is_text && !joins && spells_prompt(t)) found |= 1u << SPELT_PROMPT;
    }
    return found;
}

static void read_slot(struct build_slot *s, struct worker *w, const struct build *b,
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
    if (!s->code) s->spelt = spelling_of(b, c, source->template);
    if (!s->code && by_fraction(o)) s->code = split_group(&s->group, c, o->seed, &s->e);
    if (s->code) records_prefix(r, &s->slice, &s->e);
    if (!s->code) s->code = digest_slot(s);
}

/* ---- a batch --------------------------------------------------------------------------------- */

/* Fill slots with the next records; fewer than BATCH_RECORDS, or none, at the end of the file. */
static size_t cut_batch(struct build *b, struct records *r)
{
    size_t n = 0, bytes = 0;
    while (n < BATCH_RECORDS && bytes < BATCH_BYTES) {
        struct build_slot *s = &b->slots[n];
        bool more;
        examples_clear(&s->examples);
        s->result = (struct fit_result){ 0 };
        s->chosen = false;
        str_clear(&s->remarks);
        s->spelt = 0;
        s->slice = (struct record_slice){ 0 };
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
        struct build_slot *s = &b->slots[i];
        if (!s->code) read_slot(s, &b->workers[omp_get_thread_num()], b, r, source);
    }
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* Keep the examples from .. to-1 of a slot. */
static int keep(struct build *b, struct build_side *side, const struct build_slot *s, size_t from,
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

static uint32_t capped(size_t n)
{
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* Keep a slot's items; where copies are not wanted, without those that are copies of earlier
 * ones. */
static int keep_slot(struct split_record *r, struct build *b, struct build_side *side,
                     const struct build_slot *s)
{
    const struct examples *x = &s->examples;
    size_t from = 0, copies = 0, removed = 0, removed_items = 0;
    for (size_t k = 0; k < examples_items(x); k++) {
        size_t begin = examples_item(x, k), end = examples_item(x, k + 1), copied = 0;
        for (size_t i = begin; i < end; i++) {
            uint32_t before;
            int code = digests_put(&side->seen, &before, &s->digests[i], b->e);
            if (code) return code;
            copied += before > 0;
        }
        copies += copied;
        if (!b->o->deduplicate || copied < end - begin) continue;
        removed += copied;
        removed_items++;
        int code = keep(b, side, s, from, begin);
        if (code) return code;
        from = end;
    }
    r->copied = capped(copies);
    r->removed = capped(removed);
    r->examples = capped(x->n - removed);
    r->items = capped(examples_items(x) - removed_items);
    return keep(b, side, s, from, x->n);
}

/* Out of memory is not a fault of the record: skipping it would silently train on other data. So
 * would skipping the rest of a file because of a quote or bracket that is not closed. */
static bool is_skippable(const struct build *b, const struct build_slot *s)
{
    return b->o->skip_errors && !s->result.too_long && !s->slice.rest && s->code != ERR_MEMORY;
}

static void count_record(struct data_counts *c, const struct split_record *r)
{
#define SUM(of, n)                                                      of += (n);
#define LARGEST(of, n)                                                  of = of < (n) ? (n) : of;
#define COUNT(field, number, total, of_record, run, shown, label, note) total(c->field, of_record)
#include "src/data/counts.def"
#undef SUM
#undef LARGEST
}

static void note_spelling(struct build *b, const struct build_slot *s, const char *path)
{
    for (int k = 0; k < SPELLINGS; k++) {
        struct spelling *x = &b->spelt[k];
        if (!(s->spelt & 1u << k) || x->n++) continue;
        x->path = path;
        x->line = s->slice.line;
    }
}

/* With a fraction, every sound record first goes to the training side. It is counted when
 * separate_sides() has decided. */
static int take_slot(struct build *b, struct build_slot *s, enum side to, const char *path)
{
    struct build_side *side = &b->side[to];
    struct data_counts *counts = &side->counts;
    if (s->code && !is_skippable(b, s)) {
        *b->e = s->e;
        return s->code;
    }
    if (s->code) {
        counts->records++;
        if (counts->bad++ == 0) side->first_bad = s->e;
        counts->faults[s->fault]++;
        return 0;
    }
    struct split_record r = { .group = s->group,
                              .line = capped(s->slice.line),
                              .length = capped(s->result.length),
                              .lost = capped(s->result.lost),
                              .targets_lost = capped(s->result.targets_lost),
                              .chosen = s->chosen,
                              .truncated = s->result.truncated,
                              .split = s->result.split,
                              .without_targets = s->result.without_targets };
    note_spelling(b, s, path);
    int code = keep_slot(&r, b, side, s);
    if (code) return code;
    if (by_fraction(b->o)) return split_add(&b->sound, &r, b->e);
    count_record(counts, &r);
    return 0;
}

/* ---- a source -------------------------------------------------------------------------------- */

static int read_records(struct build *b, struct records *r, const struct data_source *source,
                        enum side side, struct remarks *remarks)
{
    int code = 0;
    for (size_t n; !code && (n = cut_batch(b, r)) > 0;) {
        read_batch(b, n, r, source);
        for (size_t i = 0; !code && i < n; i++) {
            code = take_slot(b, &b->slots[i], side, source->path);
            if (!b->slots[i].code) remarks_take(remarks, &b->slots[i].remarks);
            struct examples *x = &b->slots[i].examples;
            if (x->tokens_cap > SLOT_TOKENS_KEPT) examples_free(x);
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
        b->unparsed |= is_chat && b->o->render.parse_special;
    }
    if (!code) code = read_records(b, r, source, side, remarks);
    records_close(r);
    return code;
}

/* ---- two sides of one ------------------------------------------------------------------------ */

/* All examples that were kept, before they are separated into the two sides. */
struct whole {
    struct examples examples;
    struct spool spool;
    size_t *ends;          /* for each source, the number of sound records up to its end */
    size_t at;             /* the next example */
    struct examples batch; /* for a spool, the examples that are in memory now */
};

/* Take everything from the training side, which is empty afterwards. */
static int begin_sides(struct whole *w, struct build *b)
{
    struct build_side *t = &b->side[SIDE_TRAIN];
    *w = (struct whole){ .examples = t->examples, .spool = t->spool, .ends = t->origins.ends };
    t->examples = (struct examples){ 0 };
    t->spool = spool_none();
    digests_free(&t->seen);
    mem_free(t->origins.line);
    t->origins.line = NULL;
    t->origins.cap = 0;
    t->counts.tokens = t->counts.targets = 0; /* `records` counts only the malformed ones so far */
    t->origins.ends = mem_alloc(t->origins.n_sources, sizeof *t->origins.ends, b->e);
    if (!t->origins.ends) return b->e->code;
    return b->spooled ? spool_open(&t->spool, b->spool_dir, b->e) : 0;
}

static void whole_free(struct whole *w)
{
    examples_free(&w->examples);
    examples_free(&w->batch);
    spool_close(&w->spool);
    mem_free(w->ends);
}

/* Fill slots with the examples of the records from `first` on; the examples of record `first` begin
 * at w->at. */
static int load_slots(size_t *loaded, struct build *b, struct whole *w, size_t first)
{
    const size_t *begins = b->spooled ? w->spool.at : w->examples.at;
    size_t n = 0, end = w->at;
    while (n < BATCH_RECORDS && first + n < b->sound.n &&
           (n == 0 || !begins || (begins[end] - begins[w->at]) * sizeof(int32_t) < BATCH_BYTES))
        end += b->sound.at[first + n++].examples;
    struct examples *from = b->spooled ? &w->batch : &w->examples;
    size_t base = b->spooled ? w->at : 0;
    examples_clear(&w->batch);
    int code = b->spooled ? spool_read(&w->batch, &w->spool, w->at, end, b->e) : 0;
    for (size_t i = 0; !code && i < n; i++) {
        const struct split_record *r = &b->sound.at[first + i];
        struct build_slot *s = &b->slots[i];
        examples_clear(&s->examples);
        s->slice.line = r->line;
        code = examples_append(&s->examples, from, w->at - base, w->at + r->examples - base, b->e);
        w->at += r->examples;
    }
    *loaded = n;
    return code;
}

/* The digests are counted per side, to find the examples that are on both sides. */
static int sort_slots(struct build *b, size_t from, size_t to, size_t first)
{
    int code = 0;
#pragma omp parallel for schedule(dynamic, 4) num_threads((int)b->n_workers)
    for (size_t i = from; i < to; i++) b->slots[i].code = digest_slot(&b->slots[i]);
    for (size_t i = from; !code && i < to; i++) {
        struct build_slot *s = &b->slots[i];
        const struct split_record *r = &b->sound.at[first + i];
        struct build_side *side = &b->side[r->validation ? SIDE_VALIDATION : SIDE_TRAIN];
        if (s->code) *b->e = s->e;
        code = s->code;
        for (size_t k = 0; !code && k < s->examples.n; k++) {
            uint32_t before;
            code = digests_put(&side->seen, &before, &s->digests[k], b->e);
        }
        if (code) break;
        count_record(&side->counts, r);
        code = keep(b, side, s, 0, s->examples.n);
        if (s->examples.tokens_cap > SLOT_TOKENS_KEPT) examples_free(&s->examples);
    }
    return code;
}

static void end_source(struct build *b, size_t source)
{
    for (int s = SIDE_TRAIN; s < SIDES; s++)
        b->side[s].origins.ends[source] = build_examples(&b->side[s]);
}

/* The records that are kept aside become the validation side, in the order in which they were
 * read. */
static int separate_sides(struct build *b)
{
    struct whole w;
    int code = begin_sides(&w, b);
    if (!code) code = split_choose(&b->choice, &b->sound, b->o->validation_frac, b->e);
    while (!code && b->choice.items && w.ends[b->largest_source] <= b->choice.largest_first)
        b->largest_source++;
    size_t n, first = 0, source = 0;
    for (; !code && first < b->sound.n; first += n) {
        code = load_slots(&n, b, &w, first);
        for (size_t from = 0, to; !code && from < n; from = to) { /* up to the end of the source */
            while (w.ends[source] <= first + from) end_source(b, source++);
            to = w.ends[source] - first < n ? w.ends[source] - first : n;
            code = sort_slots(b, from, to, first);
        }
    }
    while (!code && source < b->o->n_train) end_source(b, source++);
    whole_free(&w);
    return code;
}

int build_read(struct build *b)
{
    const struct data_options *o = b->o;
    int code = 0;
    for (int s = SIDE_TRAIN; s < SIDES; s++) {
        struct origins *origins = &b->side[s].origins;
        bool own = s == SIDE_TRAIN || o->n_validation > 0;
        origins->n_sources = own && s != SIDE_TRAIN ? o->n_validation : o->n_train;
        origins->ends = mem_alloc(origins->n_sources, sizeof *origins->ends, b->e);
        if (!origins->ends) return b->e->code;
    }
    for (size_t i = 0; !code && i < o->n_train; i++) {
        code = read_source(b, &o->train[i], SIDE_TRAIN, &b->remarks[i]);
        b->side[SIDE_TRAIN].origins.ends[i] = by_fraction(o) ? b->sound.n
                                                             : build_examples(&b->side[SIDE_TRAIN]);
    }
    if (!code && by_fraction(o)) code = separate_sides(b);
    for (size_t i = 0; !code && i < o->n_validation; i++) {
        code = read_source(b, &o->validation[i], SIDE_VALIDATION, &b->remarks[o->n_train + i]);
        b->side[SIDE_VALIDATION].origins.ends[i] = build_examples(&b->side[SIDE_VALIDATION]);
    }
    return code;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

int build_begin(struct build *b, const struct data_options *o, const struct tokenizer *tok,
                const char *spool_dir, struct err *e)
{
    *b = (struct build){ .o = o, .tok = tok, .spooled = spool_dir != NULL, .e = e };
    b->spool_dir = spool_dir;
    for (int s = SIDE_TRAIN; s < SIDES; s++) {
        b->side[s].name = s == SIDE_TRAIN ? "train" : "validation";
        b->side[s].spool = spool_none();
    }
    int code = 0;
    for (int s = SIDE_TRAIN; !code && spool_dir && s < SIDES; s++)
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
    split_free(&b->sound);
    for (int s = SIDE_TRAIN; s < SIDES; s++) {
        struct build_side *side = &b->side[s];
        examples_free(&side->examples);
        spool_close(&side->spool);
        digests_free(&side->seen);
        origins_free(&side->origins);
    }
    b->slots = NULL;
    b->workers = NULL;
}
