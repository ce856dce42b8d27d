/* lorac data show: examples as they will be trained on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/commands/data.h"
#include "src/train/prepare.h"

/* How targets and the lines about them are marked: by colour, or by signs that texts rarely
 * hold. */
struct marks {
    const char *target, *context, *about, *end;
};
static const struct marks coloured = { "\x1b[1;32m", "\x1b[2m", "\x1b[36m", "\x1b[0m" };
static const struct marks plain = { "\xe2\x9f\xa6", "", "", "\xe2\x9f\xa7" }; /* U+27E6, U+27E7 */

struct show {
    const struct config *c;
    const struct show_options *o;
    const struct marks *marks;
    struct training training;
    uint32_t *path; /* segments from an example's last one to its root */
    struct str text;
    bool newline; /* the last printed text ended a line */
};

/* ---- text ------------------------------------------------------------------------------------ */

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
    if (s->training.setup.tok) {
        tokenizer_decode(s->training.setup.tok, &s->text, ids + from, to - from, true, from == 0);
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
        if (s->training.setup.tok)
            tokenizer_decode(s->training.setup.tok, &s->text, &id, 1, true, false);
        printf("%6zu %7d  %-7s %s\n", j, id, x->target[x->at[i] + j] ? "target" : "",
               s->training.setup.tok ? err_quote(s->text.p ? s->text.p : "", s->text.n) : "");
    }
}

/* ---- where an example falls ------------------------------------------------------------------ */

/* The pass of the batch that example i is in, which is built here; *place is its place in the
 * pass. */
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

/* The number of examples of the pass whose path leads through segment s. */
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

/* The path of a validation example's file: a validation file, or a training file of which a part is
 * held out. */
static const char *held_out_path(const struct show *s, size_t source)
{
    const struct config_sources *own = &s->c->data.validation.files;
    return own->n ? own->at[source].path : s->c->data.train.at[source].path;
}

/* The line that says which example it is. */
static void print_head(const struct show *s, const char *what, const struct examples *x, size_t i,
                       const char *path, size_t line)
{
    size_t targets = 0;
    for (size_t j = x->at[i]; j < x->at[i + 1]; j++) targets += x->target[j];
    fputs(s->marks->about, stdout);
    term_print(stdout, "%s %zu of %zu, %s:%zu, %s, %s", what, i + 1, x->n, path, line,
               str_count(x->at[i + 1] - x->at[i], "token"), str_count(targets, "target"));
    printf("%s\n", s->marks == &plain ? "" : s->marks->end);
}

/* An example that is held out for validation does not fall into a step. */
static void print_held_out(struct show *s, size_t i)
{
    const struct dataset *d = &s->training.setup.data;
    const struct examples *x = &d->validation;
    size_t line, source = origin_of(&line, &d->validation_origins, i);
    print_head(s, "held-out example", x, i, held_out_path(s, source), line);
    printf("%snot trained on: validation%s\n", s->marks->about,
           s->marks == &plain ? "" : s->marks->end);
    print_tokens(s, x, i, 0, x->at[i + 1] - x->at[i]);
    if (s->o->ids) print_ids(s, x, i);
    putchar('\n');
}

static void print_example(struct show *s, size_t i)
{
    const struct dataset *d = &s->training.setup.data;
    const struct examples *x = &d->train;
    struct batch *b = &s->training.learner.batch;
    size_t line, source = origin_of(&line, &d->train_origins, i), n = x->at[i + 1] - x->at[i];
    struct course *k = &s->training.course;
    size_t at = 0, size = b->batch_size, count, place;
    const char *about = s->marks->about, *end = s->marks == &plain ? "" : s->marks->end;
    print_head(s, "example", x, i, s->c->data.train.at[source].path, line);
    size_t item = examples_item_of(x, i);
    while (at < k->sampler.n && k->order[at] != item) at++;
    if (at == k->sampler.n) {
        printf("%snot in the first epoch: the weight of its file is below 1%s\n", about, end);
        print_tokens(s, x, i, 0, n);
    } else {
        const uint32_t *which = course_batch(k, at / size, &count);
        batch_begin(b, which, count);
        const struct pass *p = pass_of(b, i, &place);
        size_t examples = b->first[b->pass_number + 1] - b->first[b->pass_number];
        printf("%sfirst epoch: step %zu of %llu, pass %zu of %zu with %s, %s to compute%s\n", about,
               at / size + 1, (unsigned long long)k->steps_per_epoch, b->pass_number + 1,
               b->n_passes, str_count(examples, "example"), str_count(p->T, "token"), end);
        print_segments(s, b, p, i, place);
    }
    if (s->o->ids) print_ids(s, x, i);
    putchar('\n');
}

/* ---- which ----------------------------------------------------------------------------------- */

/* The record to show: it begins on this line of file number `file` (training, then validation
 * files; SIZE_MAX: any). */
struct wanted {
    size_t file, line;
};

static size_t n_files(const struct show *s)
{
    return s->c->data.train.n + s->c->data.validation.files.n;
}

static const struct config_source *file_at(const struct show *s, size_t i)
{
    size_t n = s->c->data.train.n;
    return i < n ? &s->c->data.train.at[i] : &s->c->data.validation.files.at[i - n];
}

/* "17" or "FILE:17". */
static int parse_record(struct wanted *w, const struct show *s, struct err *e)
{
    const char *text = s->o->record, *colon = strrchr(text, ':');
    const char *number = colon ? colon + 1 : text;
    char *end;
    w->line = strtoull(number, &end, 10);
    w->file = SIZE_MAX;
    if (*number < '0' || *number > '9' || *end || w->line == 0)
        return err_usage(e, "--record: found %s, wanted LINE or FILE:LINE", err_quotez(text));
    if (!colon) return 0;
    for (size_t i = n_files(s); i-- > 0;) {
        const char *path = file_at(s, i)->path;
        size_t n = (size_t)(colon - text);
        if ((strlen(path) == n && memcmp(path, text, n) == 0) ||
            (strlen(path_base(path)) == n && memcmp(path_base(path), text, n) == 0))
            w->file = i;
    }
    if (w->file == SIZE_MAX)
        return err_usage(e, "--record: %s is none of the files of data.train and data.validation",
                         err_quotez(text));
    return 0;
}

/* Print the examples of a side that come from the record, and return how many there are. */
static size_t show_side(struct show *s, const struct wanted *w, bool held_out)
{
    const struct dataset *d = &s->training.setup.data;
    const struct examples *x = held_out ? &d->validation : &d->train;
    const struct origins *o = held_out ? &d->validation_origins : &d->train_origins;
    bool own = held_out && s->c->data.validation.files.n;
    size_t found = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (o->line[i] != w->line) continue;
        size_t at, source = origin_of(&at, o, i) + (own ? s->c->data.train.n : 0);
        if (w->file != SIZE_MAX && w->file != source) continue;
        if (held_out) {
            print_held_out(s, i);
        } else {
            print_example(s, i);
        }
        found++;
    }
    return found;
}

/* Append what a file has: "data.jsonl has 12 records, on lines 1 to 12". *begins is set when a
 * record begins on the line. */
static int describe_file(struct str *out, bool *begins, const struct show *s, size_t i, size_t line,
                         struct err *e)
{
    const struct config_source *source = file_at(s, i);
    struct records_options o = setup_records(s->c, source);
    struct records *r;
    struct record_slice slice;
    size_t n = 0, last = 0;
    int code = records_open(&r, source->path, &o, e);
    if (code) return code;
    for (bool more = true;;) {
        struct err ignored; /* malformed records are there, too */
        if (records_slice(r, &slice, &more, &ignored) == 0 && !more) break;
        n++;
        last = slice.line;
        *begins = *begins || slice.line == line;
    }
    records_close(r);
    str_addf(out, "%s%s has %s", out->n ? ", " : "", source->path, str_count(n, "record"));
    if (n) str_addf(out, ", the last one on line %zu", last);
    return str_error(out, e);
}

static int no_such_record(const struct show *s, const struct wanted *w, struct err *e)
{
    struct str files = { 0 };
    bool begins = false;
    int code = 0;
    for (size_t i = 0; !code && i < n_files(s); i++)
        if (w->file == SIZE_MAX || w->file == i)
            code = describe_file(&files, &begins, s, i, w->line, e);
    if (!code && begins) {
        code = err_set(e,
                       "--record %s: the record that begins there gives no example: it was dropped "
                       "or skipped (lorac data check says why)",
                       s->o->record);
    } else if (!code) {
        code = err_set(e, "--record %s: no record begins on line %zu: %s", s->o->record, w->line,
                       files.p);
    }
    str_free(&files);
    return code;
}

static int show_record(struct show *s, struct err *e)
{
    struct wanted w;
    int code = parse_record(&w, s, e);
    if (code) return code;
    size_t found = show_side(s, &w, false) + show_side(s, &w, true);
    return found ? 0 : no_such_record(s, &w, e);
}

/* Print which records are held out for validation: the lines of the first ones, as "a.jsonl:3-7"
 * where they follow each other, and a few examples. */
static void list_held_out(struct show *s)
{
    enum { LISTED = 20 };
    const struct dataset *d = &s->training.setup.data;
    size_t n = d->validation.n, listed = 0, i = 0;
    if (n == 0) return;
    printf("%sheld out for validation: %s, from", s->marks->about, str_count(n, "example"));
    for (; i < n && listed < LISTED; listed++) {
        size_t line, last, next, source = origin_of(&line, &d->validation_origins, i);
        last = line;
        while (++i < n && origin_of(&next, &d->validation_origins, i) == source && next == last + 1)
            last = next;
        printf("%s %s:%zu", listed ? "," : "", path_base(held_out_path(s, source)), line);
        if (last > line) printf("-%zu", last);
    }
    printf("%s%s\n\n", i < n ? ", ..." : "", s->marks == &plain ? "" : s->marks->end);
    for (i = 0; i < n && i < (size_t)s->o->n && !ferror(stdout); i++) print_held_out(s, i);
}

static int show(struct show *s, struct err *e)
{
    size_t n;
    int code = prepare(&s->training, s->c, PREPARE_TO_PLAN, e);
    if (code) return code;
    notes_print(&s->training.setup.notes);
    s->path = mem_alloc(s->training.learner.batch.seg_max, sizeof *s->path, e);
    if (!s->path) return e->code;
    course_batch(&s->training.course, 0, &n); /* this fills the order of the first epoch */
    if (s->marks == &plain) {
        printf("targets stand between %s and %s\n\n", plain.target, plain.end);
    } else {
        printf("%starget%s %scontext%s\n\n", coloured.target, coloured.end, coloured.context,
               coloured.end);
    }
    if (s->o->record) return show_record(s, e);
    n = s->training.setup.data.train.n;
    for (size_t i = 0; i < n && i < (size_t)s->o->n && !ferror(stdout); i++) print_example(s, i);
    list_held_out(s);
    return str_error(&s->text, e);
}

int data_show(const struct config *c, const struct show_options *o, struct err *e)
{
    struct show s = { .c = c, .o = o, .newline = true };
    s.marks = term_has_color(stdout) ? &coloured : &plain;
    int code = show(&s, e);
    training_free(&s.training);
    mem_free(s.path);
    str_free(&s.text);
    return code;
}
