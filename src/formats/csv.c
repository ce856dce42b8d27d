#include "src/formats/csv.h"

#include <string.h>

#include "src/base/mem.h"

const char *csv_field(const struct csv_row *row, size_t i, size_t *n)
{
    CHECK(i < row->stored);
    size_t begin = i ? row->ends[i - 1] : 0;
    *n = row->ends[i] - begin;
    return row->text.p ? row->text.p + begin : "";
}

void csv_row_free(struct csv_row *row)
{
    str_free(&row->text);
    mem_free(row->ends);
    *row = (struct csv_row){ 0 };
}

#ifdef LORAC_CSV

#include <csv.h>

bool csv_is_built_in(void)
{
    return true;
}

/* The context of libcsv's callbacks. */
struct csv_reading {
    struct csv_row *row;
    size_t most, rows;
    int code;
    struct err *e;
};

static void add_field(void *text, size_t n, void *context)
{
    struct csv_reading *r = context;
    struct csv_row *row = r->row;
    row->n++;
    if (r->code || row->stored == r->most) return;
    if (row->stored == row->cap) {
        size_t cap = row->cap ? 2 * row->cap : 8;
        size_t *ends = mem_resize(row->ends, cap, sizeof *ends, r->e);
        if (!ends) {
            r->code = r->e->code;
            return;
        }
        row->ends = ends;
        row->cap = cap;
    }
    if (n) str_add(&row->text, text, n);
    r->code = str_error(&row->text, r->e);
    row->ends[row->stored++] = row->text.n;
}

static void end_row(int c, void *context)
{
    (void)c;
    ((struct csv_reading *)context)->rows++;
}

/* No character counts as white space, so libcsv does not strip any from a field. */
static int is_space(unsigned char c)
{
    (void)c;
    return 0;
}

/* Turn libcsv's error, at the byte that it could not read, into a message. */
static int refuse(struct csv_parser *p, size_t at, struct err *e)
{
    if (csv_error(p) == CSV_ENOMEM || csv_error(p) == CSV_ETOOBIG)
        return err_code(e, ERR_MEMORY, "out of memory: a field");
    return err_set(e,
                   "byte %zu: found a quote inside a field without quotes, or text after the quote "
                   "that ends one; wanted the whole field in quotes, and a quote in it doubled",
                   at + 1);
}

static int parse(struct csv_reading *r, struct csv_parser *p, const char *text, size_t n)
{
    size_t done = csv_parse(p, text, n, add_field, end_row, r);
    if (done != n) return refuse(p, done, r->e);
    if (csv_fini(p, add_field, end_row, r)) {
        if (csv_error(p) != CSV_EPARSE) return refuse(p, n, r->e);
        return err_set(r->e, "found a quote that is not closed, wanted one at the field's end");
    }
    if (r->code) return r->code;
    if (r->rows > 1) {
        return err_set(r->e,
                       "found a carriage return inside a field without quotes (lines end with a "
                       "line feed, or with carriage return and line feed)");
    }
    return 0;
}

int csv_read(struct csv_row *row, const char *text, size_t n, char separator, size_t most,
             struct err *e)
{
    struct csv_parser p;
    struct csv_reading r = { .row = row, .most = most, .e = e };
    str_clear(&row->text);
    row->n = row->stored = 0;
    if (memchr(text, 0, n)) return err_set(e, "found a NUL byte, wanted text");
    if (csv_init(&p, CSV_STRICT | CSV_STRICT_FINI))
        return err_code(e, ERR_MEMORY, "out of memory: a CSV reader");
    csv_set_delim(&p, (unsigned char)separator);
    csv_set_space_func(&p, is_space);
    csv_set_blk_size(&p, n + 1); /* it grows by blocks, and one is enough for any field */
    int code = parse(&r, &p, text, n);
    csv_free(&p);
    return code;
}

#else

bool csv_is_built_in(void)
{
    return false;
}

int csv_read(struct csv_row *row, const char *text, size_t n, char separator, size_t most,
             struct err *e)
{
    (void)row, (void)text, (void)n, (void)separator, (void)most;
    return err_set(
        e, "this lorac was built without CSV; install libcsv and build it again, or convert "
           "the file to JSONL");
}

#endif
