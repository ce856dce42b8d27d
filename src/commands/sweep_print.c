#include "src/commands/sweep_print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/json.h"
#include "src/base/mem.h"
#include "src/base/term.h"
#include "src/base/utf8.h"
#include "src/train/setup.h"

/* ---- cells ----------------------------------------------------------------------------------- */

enum { SHORT_HASH = 8, VALUE_SHOWN = 28 };

/* A number with that many decimals; NaN: "-". */
static void add_number(struct str *out, double v, int decimals)
{
    if (isfinite(v))
        str_addf(out, "%.*f", decimals, v);
    else
        str_addc(out, '-');
}

/* "1.2345", or with a deviation "1.2345 +-0.0123". */
static void add_spread(struct str *out, const struct spread *s)
{
    add_number(out, s->mean, 4);
    if (isfinite(s->deviation)) str_addf(out, " +-%.4f", s->deviation);
}

/* "0:03:20" */
static void add_time(struct str *out, double seconds)
{
    unsigned long long s = (unsigned long long)(seconds + 0.5);
    str_addf(out, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
}

static void add_hash(struct str *out, const char *hex)
{
    str_addf(out, "%.*s", *hex ? SHORT_HASH : 1, *hex ? hex : "-");
}

/* Columns on the terminal. */
static int shown_width(const struct str *s)
{
    return (int)term_columns(s->p, s->n);
}

/* Cut a text that is wider than that many columns, with "..." at its end. */
static void cut(struct str *s, int columns)
{
    size_t n = 0;
    if (s->failed || shown_width(s) <= columns) return;
    for (int left = columns - 3; n < s->n;) {
        uint32_t c;
        size_t len = utf8_decode(&c, s->p + n, s->n - n);
        left -= (int)term_columns(s->p + n, len ? len : 1);
        if (left < 0) break;
        n += len ? len : 1;
    }
    s->p[s->n = n] = 0;
    str_addz(s, "...");
}

/* A value of a key, which is text that others may have written. */
static void add_value(struct str *out, const struct sweep_table *t, const struct table_row *row,
                      const struct key *k)
{
    struct str raw = { 0 }, s = { 0 };
    sweep_table_value(&raw, t, row, k);
    str_add_safe(&s, raw.p ? raw.p : "", raw.n);
    cut(&s, VALUE_SHOWN);
    str_add(out, s.p ? s.p : "", s.n);
    out->failed |= raw.failed || s.failed;
    str_free(&raw);
    str_free(&s);
}

/* The columns after those of the keys. */
enum column { SEEDS, LOSS, EXACT, STEP, TIME, BASE, DATA, VERDICT, COLUMNS };
static const char *const headings[COLUMNS] = { "seeds", "loss", "exact", "step",
                                               "time",  "base", "data",  "vs. best" };

static void add_column(struct str *out, const struct sweep_table *t, const struct table_row *row,
                       enum column c)
{
    const struct run_record *first = &t->run[row->run[0]];
    switch (c) {
    case SEEDS:
        str_addf(out, "%zu", row->counted);
        if (row->n > row->counted) str_addf(out, " of %zu", row->n);
        break;
    case LOSS:
        add_spread(out, &row->loss);
        break;
    case EXACT:
        add_number(out, 100 * row->exact.mean, 1);
        if (row->exact.n) str_addc(out, '%');
        break;
    case STEP:
        add_number(out, row->loss.n ? row->step : NAN, 0);
        break;
    case TIME:
        if (row->counted)
            add_time(out, row->seconds);
        else
            str_addc(out, '-');
        break;
    case BASE:
        add_hash(out, first->base_sha256);
        break;
    case DATA:
        add_hash(out, first->data_sha256);
        break;
    case VERDICT:
        str_addz(out, row_verdict_name(row->verdict));
        break;
    case COLUMNS:
        break;
    }
}

/* What all rows have alike is said once, above them. */
static bool has_column(const struct sweep_table *t, enum column c)
{
    return (c != BASE || !t->one_base) && (c != DATA || !t->one_data);
}

/* ---- columns --------------------------------------------------------------------------------- */

/* Texts in columns: (rows + 1) x columns, the headings first. */
struct grid {
    struct str *cell;
    int *width;
    size_t rows, columns;
};

static struct str *next_cell(struct grid *g, size_t row, size_t *column)
{
    return &g->cell[row * g->columns + (*column)++];
}

static void fill_headings(struct grid *g, const struct sweep_table *t)
{
    size_t column = 0;
    for (size_t k = 0; k < t->n_keys; k++) str_addz(next_cell(g, 0, &column), t->key[k]->last);
    for (int c = 0; c < COLUMNS; c++)
        if (has_column(t, (enum column)c)) str_addz(next_cell(g, 0, &column), headings[c]);
}

static void fill_row(struct grid *g, const struct sweep_table *t, size_t i)
{
    size_t column = 0;
    const struct table_row *row = &t->row[i];
    for (size_t k = 0; k < t->n_keys; k++)
        add_value(next_cell(g, i + 1, &column), t, row, t->key[k]);
    for (int c = 0; c < COLUMNS; c++)
        if (has_column(t, (enum column)c))
            add_column(next_cell(g, i + 1, &column), t, row, (enum column)c);
}

static int grid_fill(struct grid *g, const struct sweep_table *t, struct err *e)
{
    size_t columns = t->n_keys;
    for (int c = 0; c < COLUMNS; c++) columns += has_column(t, (enum column)c);
    *g = (struct grid){ .rows = t->n_rows + 1, .columns = columns };
    g->cell = mem_alloc(g->rows * columns, sizeof *g->cell, e);
    g->width = g->cell ? mem_alloc(columns, sizeof *g->width, e) : NULL;
    if (!g->width) return e->code;
    fill_headings(g, t);
    for (size_t i = 0; i < t->n_rows; i++) fill_row(g, t, i);
    for (size_t i = 0; i < g->rows * columns; i++) {
        int n = shown_width(&g->cell[i]);
        if (n > g->width[i % columns]) g->width[i % columns] = n;
        if (str_error(&g->cell[i], e)) return e->code;
    }
    return 0;
}

static void grid_free(struct grid *g)
{
    for (size_t i = 0; g->cell && i < g->rows * g->columns; i++) str_free(&g->cell[i]);
    mem_free(g->cell);
    mem_free(g->width);
}

static int grid_width(const struct grid *g)
{
    int n = -2;
    for (size_t i = 0; i < g->columns; i++) n += g->width[i] + 2;
    return n;
}

/* Texts to the left, but numbers, the columns between keys and verdict, to the right. */
static void add_cell(struct str *out, const struct grid *g, size_t row, size_t column)
{
    const struct str *s = &g->cell[row * g->columns + column];
    int gap = g->width[column] - shown_width(s);
    bool last = column + 1 == g->columns;
    if (column) str_addz(out, "  ");
    if (!last) str_addf(out, "%*s", gap, "");
    str_add(out, s->p ? s->p : "", s->n);
}

static void add_columns(struct str *out, const struct grid *g)
{
    for (size_t row = 0; row < g->rows; row++) {
        for (size_t column = 0; column < g->columns; column++) add_cell(out, g, row, column);
        str_addc(out, '\n');
    }
}

/* ---- rows on several lines ------------------------------------------------------------------- */

enum { INDENT = 4 };

/* Append a piece, on a new line if it does not fit into this one; *at: columns of this line. */
static void add_piece(struct str *out, int *at, const struct str *piece, int width)
{
    int n = shown_width(piece);
    bool fits = *at + 2 + n < width; /* with a comma after it */
    if (*at > INDENT) str_addz(out, fits ? ", " : ",\n");
    if (*at > INDENT && fits) {
        *at += 2;
    } else if (*at != INDENT) {
        str_addf(out, "%*s", INDENT, "");
        *at = INDENT;
    }
    str_add(out, piece->p ? piece->p : "", piece->n);
    *at += n;
}

/* "1.  learning_rate 0.0001, r 8, seeds 3, ..." */
static void add_stacked_row(struct str *out, const struct grid *g, size_t row, int width)
{
    struct str piece = { 0 };
    int at = INDENT;
    size_t start = out->n;
    str_addf(out, "%zu.", row);
    size_t used = out->n - start;
    str_addf(out, "%*s", used < INDENT ? (int)(INDENT - used) : 1, "");
    for (size_t c = 0; c < g->columns; c++) {
        const struct str *heading = &g->cell[c], *s = &g->cell[row * g->columns + c];
        str_clear(&piece);
        bool verdict = c + 1 == g->columns; /* says by itself what it is */
        if (verdict && s->p && !strcmp(s->p, row_verdict_name(ROW_NONE))) continue;
        str_addf(&piece, "%s%s%s", verdict ? "" : heading->p, verdict ? "" : " ", s->p ? s->p : "");
        cut(&piece, width - INDENT - 1);
        add_piece(out, &at, &piece, width);
    }
    str_addc(out, '\n');
    out->failed |= piece.failed;
    str_free(&piece);
}

/* ---- for people ------------------------------------------------------------------------------ */

static const struct run_record *first_readable(const struct sweep_table *t)
{
    for (int finished = 1; finished >= 0; finished--)
        for (size_t i = 0; i < t->n; i++) {
            const struct run_record *r = &t->run[i];
            if (run_record_is_readable(r) && (!finished || r->state == RECORD_FINISHED)) return r;
        }
    return NULL;
}

/* Print a line of text after a label, wrapped as wide as the table. */
static void print_wrapped(const char *label, const char *text, size_t n, int width)
{
    struct str line = { 0 }, wrapped = { 0 };
    str_addz(&line, label);
    str_add(&line, text, n);
    term_wrap(&wrapped, line.p ? line.p : "", strlen(label), (size_t)width);
    fwrite(wrapped.p ? wrapped.p : "", 1, wrapped.n, stdout);
    putchar('\n');
    str_free(&line);
    str_free(&wrapped);
}

static int print_summary(const struct sweep_table *t, int width, struct err *e)
{
    struct str s = { 0 };
    const struct run_record *r = first_readable(t);
    str_addf(&s, "%s in %s", str_count(t->n, "run"), str_count(t->n_rows, "row"));
    if (r && t->one_base) str_addz(&s, "; base "), add_hash(&s, r->base_sha256);
    if (r && t->one_data) str_addz(&s, "; data "), add_hash(&s, r->data_sha256);
    int code = str_error(&s, e);
    if (!code) print_wrapped("", s.p, s.n, width);
    str_free(&s);
    return code;
}

static void print_notes(const struct sweep_table *t, int width)
{
    for (const char *p = t->notes.p; p && *p;) {
        size_t n = strcspn(p, "\n");
        print_wrapped("note: ", p, n, width);
        p += n + (p[n] == '\n');
    }
}

static void print_legend(const struct sweep_table *t, int width)
{
    static const char text[] =
        "loss: the mean over the seeds of the best validation loss, +- its standard deviation; "
        "within noise: |difference of the means| < 2 x its standard error; time: of the steps";
    if (t->n_rows) print_wrapped("", text, sizeof text - 1, width);
}

/* The best row, and where its adapter is. */
static int print_best(const struct sweep_table *t, int width, struct err *e)
{
    char path[PATH_BYTES];
    struct str s = { 0 }, where = { 0 };
    const struct table_row *best = sweep_table_best(t);
    if (!best) return 0;
    int code = run_record_adapter(path, &t->run[best->best_run], e);
    if (code) return code;
    for (size_t k = 0; k < t->n_keys; k++) {
        str_addf(&s, "%s%s ", k ? ", " : "", t->key[k]->name);
        add_value(&s, t, best, t->key[k]);
    }
    str_add_shell(&where, path);
    code = str_error(&s, e);
    if (!code) code = str_error(&where, e);
    if (!code && s.n) print_wrapped("best: ", s.p, s.n, width);
    if (!code) term_print(stdout, "%s --adapter %s\n", s.n ? " " : "best:", where.p);
    str_free(&s);
    str_free(&where);
    return code;
}

int sweep_print_people(const struct sweep_table *t, int width, struct err *e)
{
    struct grid g;
    struct str out = { 0 };
    int code = grid_fill(&g, t, e);
    if (!code) {
        if (t->n_rows && grid_width(&g) <= width) {
            add_columns(&out, &g);
        } else {
            for (size_t i = 1; i < g.rows; i++) add_stacked_row(&out, &g, i, width);
        }
        code = str_error(&out, e);
    }
    grid_free(&g);
    if (!code) code = print_summary(t, width, e);
    if (!code) {
        fwrite(out.p ? out.p : "", 1, out.n, stdout);
        print_legend(t, width);
        print_notes(t, width);
        code = print_best(t, width, e);
    }
    str_free(&out);
    return code;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void write_hash(struct json_writer *w, const char *key, const char *hex)
{
    json_write_text(w, key, *hex ? hex : NULL);
}

static int write_run(struct json_writer *w, const struct run_record *r, struct err *e)
{
    char adapter[PATH_BYTES];
    json_write_object(w, NULL, JSON_ONE_LINE);
    json_write_text(w, "path", r->dir);
    json_write_text(w, "status", record_state_name(r->state));
    json_write_text(w, "reason", r->why);
    if (run_record_is_readable(r)) {
        int code = run_record_adapter(adapter, r, e);
        if (code) return code;
        json_write_count(w, "seed", (uint64_t)r->config.train.seed);
        json_write_count(w, "step", r->step);
        json_write_count(w, "total_steps", r->total_steps);
        json_write_real(w, "eval_loss", r->loss);
        json_write_real(w, "eval_exact_match", r->exact_match);
        json_write_count(w, "best_step", r->best_step);
        json_write_real(w, "base_eval_loss", r->base_loss);
        json_write_decimals(w, "seconds", r->seconds, 1);
        write_hash(w, "base_sha256", r->base_sha256);
        write_hash(w, "data_sha256", r->data_sha256);
        json_write_text(w, "adapter", dir_exists(adapter) ? adapter : NULL);
    }
    json_write_end(w);
    return 0;
}

static int write_keys(struct json_writer *w, const struct sweep_table *t,
                      const struct table_row *row, struct err *e)
{
    int code = 0;
    json_write_object(w, "keys", JSON_ONE_LINE);
    for (size_t k = 0; !code && k < t->n_keys; k++) {
        struct str s = { 0 };
        sweep_table_value(&s, t, row, t->key[k]);
        code = str_error(&s, e);
        if (!code) json_write_text_n(w, t->key[k]->name, s.p ? s.p : "", s.n);
        str_free(&s);
    }
    json_write_end(w);
    return code;
}

static int write_row(struct json_writer *w, const struct sweep_table *t,
                     const struct table_row *row, struct err *e)
{
    bool judged = row->verdict == ROW_WITHIN_NOISE || row->verdict == ROW_WORSE;
    json_write_object(w, NULL, JSON_LINES);
    int code = write_keys(w, t, row, e);
    json_write_count(w, "seeds", row->counted);
    json_write_real(w, "eval_loss", row->loss.mean);
    json_write_real(w, "eval_loss_deviation", row->loss.deviation);
    json_write_real(w, "eval_exact_match", row->exact.mean);
    json_write_real(w, "best_step", row->loss.n ? row->step : NAN);
    json_write_decimals(w, "seconds", row->counted ? row->seconds : NAN, 1);
    json_write_bool(w, "best", row->verdict == ROW_BEST);
    if (judged)
        json_write_bool(w, "within_noise", row->verdict == ROW_WITHIN_NOISE);
    else
        json_write_text(w, "within_noise", NULL);
    json_write_array(w, "runs", JSON_LINES);
    for (size_t i = 0; !code && i < row->n; i++) code = write_run(w, &t->run[row->run[i]], e);
    json_write_end(w);
    json_write_end(w);
    return code;
}

int sweep_print_json(const struct sweep_table *t, struct err *e)
{
    struct str s = { 0 };
    struct json_writer w = { .out = &s };
    int code = 0;
    json_write_object(&w, NULL, JSON_LINES);
    json_write_array(&w, "rows", JSON_LINES);
    for (size_t i = 0; !code && i < t->n_rows; i++) code = write_row(&w, t, &t->row[i], e);
    json_write_end(&w);
    json_write_array(&w, "others", JSON_LINES); /* that cannot be read, or have not begun */
    for (size_t i = 0; !code && i < t->n; i++)
        if (!run_record_is_readable(&t->run[i])) code = write_run(&w, &t->run[i], e);
    json_write_end(&w);
    notes_write_json(&w, "notes", &t->notes);
    json_write_end(&w);
    if (!code) return json_print(&s, e);
    str_free(&s);
    return code;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

/* A field as RFC 4180 has it, in quotes where it holds a comma or a quote. Line breaks and other
 * characters that could forge a line are written as in messages (safe.h). */
static void add_field(struct str *out, const char *text)
{
    struct str s = { 0 };
    str_add_safe(&s, text, strlen(text));
    bool quoted = s.n && s.p[strcspn(s.p, ",\"")];
    if (quoted) str_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') str_addc(out, '"');
        str_addc(out, s.p[i]);
    }
    if (quoted) str_addc(out, '"');
    out->failed |= s.failed;
    str_free(&s);
}

/* A real number after a comma; NaN: nothing. */
static void add_real(struct str *out, double v)
{
    str_addc(out, ',');
    if (isfinite(v)) json_add_double(out, v);
}

static int add_csv_row(struct str *out, const struct sweep_table *t, const struct table_row *row,
                       struct err *e)
{
    char adapter[PATH_BYTES] = "";
    struct str s = { 0 };
    const struct run_record *first = &t->run[row->run[0]];
    for (size_t k = 0; k < t->n_keys; k++) {
        str_clear(&s);
        sweep_table_value(&s, t, row, t->key[k]);
        add_field(out, s.p ? s.p : "");
        str_addc(out, ',');
    }
    int code = str_error(&s, e);
    if (!code && row->loss.n) code = run_record_adapter(adapter, &t->run[row->best_run], e);
    str_free(&s);
    str_addf(out, "%zu,%zu", row->n, row->counted);
    add_real(out, row->loss.mean);
    add_real(out, row->loss.deviation);
    add_real(out, row->exact.mean);
    add_real(out, row->loss.n ? row->step : NAN);
    add_real(out, row->counted ? row->seconds : NAN);
    str_addf(out, ",%s,%s,%s,", first->base_sha256, first->data_sha256,
             row->verdict == ROW_NONE ? "" : row_verdict_name(row->verdict));
    add_field(out, adapter);
    str_addc(out, '\n');
    return code;
}

int sweep_print_csv(const struct sweep_table *t, struct err *e)
{
    struct str out = { 0 };
    int code = 0;
    for (size_t k = 0; k < t->n_keys; k++) str_addf(&out, "%s,", t->key[k]->name);
    str_addz(&out, "runs,finished,eval_loss,eval_loss_deviation,eval_exact_match,best_step,seconds,"
                   "base_sha256,data_sha256,verdict,adapter\n");
    for (size_t i = 0; !code && i < t->n_rows; i++) code = add_csv_row(&out, t, &t->row[i], e);
    if (!code) code = str_error(&out, e);
    if (!code) fwrite(out.p, 1, out.n, stdout);
    if (!code) notes_print(&t->notes);
    str_free(&out);
    return code;
}
