/* lorac data show: examples as they will be trained on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/data.h"
#include "src/commands/plan.h"

/* How targets and the lines about them are marked: by colour, or by signs that texts seldom hold. */
struct marks {
    const char *target, *context, *about, *end;
};
static const struct marks coloured = { "\x1b[1;32m", "\x1b[2m", "\x1b[36m", "\x1b[0m" };
static const struct marks plain = { "\xe2\x9f\xa6", "", "", "\xe2\x9f\xa7" }; /* U+27E6, U+27E7 */

struct show {
    const struct config *c;
    const struct show_options *o;
    const struct marks *marks;
    struct plan plan;
    struct sampler sampler;
    uint32_t *order; /* of the first epoch */
    uint32_t *path;  /* segments from an example's last one to its root */
    struct str text;
    bool newline; /* the text printed last ended a line */
};

/* ---- text ------------------------------------------------------------------------------------- */

static void print_safely(struct show *s, const char *text, size_t n)
{
    term_text(stdout, text, n, NULL);
    if (n > 0) s->newline = text[n - 1] == '\n';
}

/* Tokens from .. to-1 of an example, which are all targets or all context. */
static void print_run(struct show *s, const int32_t *ids, size_t from, size_t to, bool target)
{
    const struct marks *m = s->marks;
    bool close = target || m != &plain;
    fputs(target ? m->target : m->context, stdout);
    str_clear(&s->text);
    if (s->plan.setup.tok) {
        tokenizer_decode(s->plan.setup.tok, &s->text, ids + from, to - from, true, from == 0);
    } else {
        for (size_t i = from; i < to; i++) str_addf(&s->text, "%d ", ids[i]);
    }
    if (s->text.n) print_safely(s, s->text.p, s->text.n);
    if (close) fputs(m->end, stdout);
    if (target && m == &plain) s->newline = false;
}

static void print_tokens(struct show *s, const struct examples *x, size_t i, size_t from, size_t to)
{
    const int32_t *ids = x->ids + x->at[i];
    const uint8_t *target = x->target + x->at[i];
    for (size_t j = from; j < to;) {
        size_t end = j + 1;
        while (end < to && target[end] == target[j]) end++;
        print_run(s, ids, j, end, target[j]);
        j = end;
    }
    if (!s->newline) putchar('\n');
    s->newline = true;
}

static void print_ids(struct show *s, const struct examples *x, size_t i)
{
    size_t n = x->at[i + 1] - x->at[i];
    printf("%6s %7s  %-7s %s\n", "place", "id", "", "text");
    for (size_t j = 0; j < n; j++) {
        int32_t id = x->ids[x->at[i] + j];
        str_clear(&s->text);
        if (s->plan.setup.tok) tokenizer_decode(s->plan.setup.tok, &s->text, &id, 1, true, false);
        printf("%6zu %7d  %-7s %s\n", j, id, x->target[x->at[i] + j] ? "target" : "",
               s->plan.setup.tok ? err_quote(s->text.p ? s->text.p : "", s->text.n) : "");
    }
}

/* ---- where an example falls ------------------------------------------------------------------- */

/* The pass of the batch that example i is in, built; its place among the pass's examples. */
static const struct pass *pass_of(struct batch *b, size_t i, size_t *place)
{
    for (size_t p = 0; p < b->n_passes; p++)
        for (size_t k = b->first[p]; k < b->first[p + 1]; k++)
            if (b->order[k] == i) {
                *place = k - b->first[p];
                return batch_pass(b, p);
            }
    CHECK(!"an example of the batch is in one of its passes");
    return NULL;
}

static uint32_t segment_of(const struct pass *p, uint32_t row)
{
    uint32_t s = 0;
    while (s + 1 < p->n_seg && p->seg[s + 1].start <= row) s++;
    return s;
}

/* Examples of the pass whose way leads through segment s. */
static size_t through(const struct batch *b, const struct pass *p, uint32_t s)
{
    size_t n = 0, first = b->first[b->pass_number], last = b->first[b->pass_number + 1];
    for (size_t k = 0; k < last - first; k++) {
        if (b->leaf[k] == UINT32_MAX) continue;
        int32_t at = (int32_t)segment_of(p, b->leaf[k]);
        while (at >= 0 && at != (int32_t)s) at = p->seg[at].parent;
        n += at == (int32_t)s;
    }
    return n;
}

/* The text of an example, segment by segment. */
static void print_segments(struct show *s, const struct batch *b, const struct pass *p, size_t i,
                           size_t place)
{
    const struct examples *x = b->examples;
    size_t n = x->at[i + 1] - x->at[i], depth = 0, from = 0;
    if (b->leaf[place] != UINT32_MAX) {
        int32_t at = (int32_t)segment_of(p, b->leaf[place]);
        for (; at >= 0; at = p->seg[at].parent) s->path[depth++] = (uint32_t)at;
    }
    while (depth > 0) {
        uint32_t k = s->path[--depth];
        size_t to = depth ? p->seg[k].pos + p->seg[k].len : n, shared = through(b, p, k);
        printf("%s-- tokens %zu to %zu", s->marks->about, from, to - 1);
        if (shared > 1) printf(", shared by %zu examples", shared);
        printf("%s\n", s->marks == &plain ? "" : s->marks->end);
        print_tokens(s, x, i, from, to);
        from = to;
    }
    if (from < n) print_tokens(s, x, i, from, n);
}

static void print_example(struct show *s, size_t i)
{
    const struct dataset *d = &s->plan.setup.data;
    const struct examples *x = &d->train;
    struct batch *b = &s->plan.learner.batch;
    size_t line, source = origin_of(&line, &d->train_origins, i), n = x->at[i + 1] - x->at[i];
    size_t targets = 0, at = 0, size = b->batch_size, place;
    const char *about = s->marks->about, *end = s->marks == &plain ? "" : s->marks->end;
    for (size_t j = x->at[i]; j < x->at[i + 1]; j++) targets += x->target[j];
    fputs(about, stdout);
    term_print(stdout, "example %zu of %zu, %s:%zu, %zu tokens, %zu targets", i + 1, x->n,
               s->c->data.train.at[source].path, line, n, targets);
    printf("%s\n", end);
    size_t item = examples_item_of(x, i);
    while (at < s->sampler.n && s->order[at] != item) at++;
    if (at == s->sampler.n) {
        printf("%snot in the first epoch: the weight of its file is below 1%s\n", about, end);
        print_tokens(s, x, i, 0, n);
    } else {
        size_t first = at / size * size, left = s->sampler.n - first;
        batch_begin(b, s->order + first, left < size ? left : size);
        const struct pass *p = pass_of(b, i, &place);
        printf("%sfirst epoch: step %zu of %zu, pass %zu of %zu with %zu examples, %zu tokens to "
               "compute%s\n",
               about, at / size + 1, (s->sampler.n + size - 1) / size, b->pass_number + 1,
               b->n_passes, b->first[b->pass_number + 1] - b->first[b->pass_number], p->T, end);
        print_segments(s, b, p, i, place);
    }
    if (s->o->ids) print_ids(s, x, i);
    putchar('\n');
}

/* ---- which ------------------------------------------------------------------------------------ */

/* "17" or "FILE:17": the source (SIZE_MAX: any) and the line. */
static int parse_record(size_t *source, size_t *line, const struct show *s, struct err *e)
{
    const struct config_sources *files = &s->c->data.train;
    const char *text = s->o->record, *colon = strrchr(text, ':');
    const char *number = colon ? colon + 1 : text;
    char *end;
    *line = strtoull(number, &end, 10);
    *source = SIZE_MAX;
    if (*number < '0' || *number > '9' || *end || *line == 0)
        return err_usage(e, "--record: found %s, wanted LINE or FILE:LINE", err_quotez(text));
    if (!colon) return 0;
    for (size_t i = 0; i < files->n; i++) {
        const char *path = files->at[i].path;
        size_t n = (size_t)(colon - text);
        if ((strlen(path) == n && memcmp(path, text, n) == 0) ||
            (strlen(path_base(path)) == n && memcmp(path_base(path), text, n) == 0))
            *source = i;
    }
    if (*source == SIZE_MAX)
        return err_usage(e, "--record: %s is none of the files of data.train", err_quotez(text));
    return 0;
}

static int show_record(struct show *s, struct err *e)
{
    const struct dataset *d = &s->plan.setup.data;
    size_t wanted, line, found = 0;
    int code = parse_record(&wanted, &line, s, e);
    if (code) return code;
    for (size_t i = 0; i < d->train.n; i++) {
        if (d->train_origins.line[i] != line) continue;
        size_t at, source = origin_of(&at, &d->train_origins, i);
        if (wanted != SIZE_MAX && wanted != source) continue;
        print_example(s, i);
        found++;
    }
    if (found) return 0;
    return err_set(e,
                   "--record %s: no training example comes from a record that begins there; it may "
                   "be dropped, or be kept for validation (lorac data check counts both)",
                   s->o->record);
}

static int show(struct show *s, struct err *e)
{
    int code = plan_open(&s->plan, s->c, e);
    if (!code) code = setup_sampler(&s->sampler, &s->plan.setup, s->c, e);
    if (code) return code;
    if (s->plan.setup.notes.n) {
        term_text(stderr, s->plan.setup.notes.p, s->plan.setup.notes.n, NULL);
    }
    s->order = mem_alloc(s->sampler.n, sizeof *s->order, e);
    s->path = mem_alloc(s->plan.learner.batch.seg_max, sizeof *s->path, e);
    if (!s->order || !s->path) return e->code;
    sampler_epoch(s->order, &s->sampler, 0);
    if (s->marks == &plain) {
        printf("targets stand between %s and %s\n\n", plain.target, plain.end);
    } else {
        printf("%starget%s %scontext%s\n\n", coloured.target, coloured.end, coloured.context,
               coloured.end);
    }
    if (s->o->record) return show_record(s, e);
    size_t n = s->plan.setup.data.train.n;
    for (size_t i = 0; i < n && i < (size_t)s->o->n; i++) print_example(s, i);
    return str_error(&s->text, e);
}

int data_show(const struct config *c, const struct show_options *o, struct err *e)
{
    struct show s = { .c = c, .o = o, .newline = true };
    s.marks = term_has_color(stdout) ? &coloured : &plain;
    int code = show(&s, e);
    sampler_free(&s.sampler);
    plan_free(&s.plan);
    mem_free(s.order);
    mem_free(s.path);
    str_free(&s.text);
    return code;
}
