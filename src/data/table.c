#include "src/data/table.h"

#include <string.h>
#include <strings.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/utf8.h"

static const char separators[] = { '\t', ';', ',' };
enum { SEPARATORS = sizeof separators, NAME_BYTES = 64, HEADER_BYTES = 1 << 20 };

/* ---- lines ----------------------------------------------------------------------------------- */

size_t table_row_end(bool *open, const char *text, size_t n, char separator)
{
    const char *line = memchr(text, '\n', n);
    size_t end = line ? (size_t)(line - text) : n;
    *open = false;
    if (!memchr(text, '"', end)) return end;
    bool begins = true; /* a field begins here; elsewhere a quote does not open a quoted text */
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n') return i;
        if (begins && text[i] == '"') {
            do { /* a doubled quote closes and opens again */
                const char *close = memchr(text + i + 1, '"', n - i - 1);
                *open = !close;
                if (!close) return n;
                i = (size_t)(close - text) + 1;
            } while (i < n && text[i] == '"');
            i--;
            begins = false;
        } else {
            begins = text[i] == separator;
        }
    }
    return n;
}

bool table_blank(size_t *bytes, const char *text, size_t n, char separator)
{
    size_t i = 0;
    for (bool begins = true; i < n; i++) {
        bool empty = begins && n - i >= 2 && text[i] == '"' && text[i + 1] == '"' &&
                     (n - i == 2 || text[i + 2] == separator || strchr("\r\n", text[i + 2]));
        begins = text[i] == separator;
        if (empty) i++;
        if (!empty && !begins && text[i] != ' ' && text[i] != '\t' && text[i] != '\r') break;
    }
    *bytes = i < n ? i + 1 : i;
    return i == n || text[i] == '\n';
}

/* ---- header ---------------------------------------------------------------------------------- */

static bool ends_in(const char *path, size_t n, const char *suffix)
{
    size_t s = strlen(suffix);
    return n > s && strncasecmp(path + n - s, suffix, s) == 0;
}

static bool is_named(const char *path, const char *suffix)
{
    static const char *const packed[] = { ".gz", ".zst" };
    size_t n = strlen(path);
    for (size_t i = 0; i < 2; i++)
        if (ends_in(path, n, packed[i])) n -= strlen(packed[i]);
    return ends_in(path, n, suffix);
}

void table_free(struct table *t)
{
    csv_row_free(&t->header);
    mem_free(t->names);
    str_free(&t->text);
    *t = (struct table){ 0 };
}

/* Copy the names without the white space at both ends. */
static int copy_names(struct table *t, bool lower, struct err *e)
{
    const struct csv_row *h = &t->header;
    str_clear(&t->text);
    mem_free(t->names);
    t->names = mem_alloc(h->stored, sizeof *t->names, e);
    size_t *at = t->names ? mem_alloc(h->stored, sizeof *at, e) : NULL;
    if (!at) return e->code;
    for (size_t i = 0; i < h->stored; i++) {
        size_t n;
        const char *name = csv_field(h, i, &n);
        while (n && strchr(" \t\r\n", name[n - 1])) n--;
        while (n && strchr(" \t\r\n", *name)) name++, n--;
        at[i] = t->text.n;
        for (size_t k = 0; k < n; k++)
            str_addc(&t->text, lower && name[k] >= 'A' && name[k] <= 'Z' ? name[k] + 32 : name[k]);
        str_addc(&t->text, 0);
    }
    int code = str_error(&t->text, e);
    for (size_t i = 0; !code && i < h->stored; i++) t->names[i] = t->text.p + at[i];
    mem_free(at);
    return code;
}

/* Whether all names, apart from empty ones, could be names of columns and not JSON or prose. */
static bool could_be_names(const struct table *t)
{
    for (size_t i = 0; i < t->header.stored; i++) {
        size_t n = strlen(t->names[i]), where;
        if (n > NAME_BYTES || strpbrk(t->names[i], "{}[]\"\\\n")) return false;
        if (!utf8_valid(t->names[i], n, &where)) return false;
    }
    return true;
}

static bool has_name(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->header.stored; i++)
        if (strcmp(t->names[i], name) == 0) return true;
    return false;
}

json_t *table_example(const struct table *t, struct err *e)
{
    json_t *v = json_object();
    for (size_t i = 0; v && i < t->header.stored; i++) {
        if (json_object_set_new(v, t->names[i], json_string("x")) == 0) continue;
        json_decref(v);
        v = NULL;
    }
    if (!v) err_set(e, "out of memory: the names of columns");
    return v;
}

/* Whether a format, or the configuration, knows the columns. */
static bool fits(const struct table *t, const struct table_hints *h)
{
    struct err ignored;
    if (!could_be_names(t)) return false;
    const struct record_columns *c = h->columns;
    if (c->prompt) return has_name(t, c->prompt) && has_name(t, c->completion);
    if (c->text) return has_name(t, c->text);
    json_t *v = table_example(t, &ignored);
    bool known = v && format_detect(v) != FORMAT_AUTO;
    json_decref(v);
    return known;
}

/* Read the header with this separator. *known: a format knows its names, as they are or in lower
 * case, because some people write Question;Answer. */
static int try_separator(struct table *t, bool *known, const char *text, size_t n, char separator,
                         const struct table_hints *h, struct err *e)
{
    t->separator = separator;
    *known = false;
    int code = csv_read(&t->header, text, n, separator, TABLE_COLUMNS, e);
    if (!code) code = copy_names(t, false, e);
    if (code) return code;
    *known = fits(t, h);
    if (*known || h->columns->prompt || h->columns->text) return 0;
    code = copy_names(t, true, e);
    *known = !code && fits(t, h);
    return code || *known ? code : copy_names(t, false, e);
}

static int check_names(const struct table *t, struct err *e)
{
    size_t n = t->header.stored;
    if (t->header.n > n) {
        return err_set(e, "found %zu columns, wanted at most %d", t->header.n, TABLE_COLUMNS);
    }
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(t->names[i]), where;
        if (length == 0) {
            return err_set(e, "column %zu has no name, wanted one for each column (%s)", i + 1,
                           i == 0 ? "pandas writes its index like that; to_csv(..., index=False) "
                                    "leaves it out"
                           : i + 1 == n ? "does each line end in one separator too many?"
                                        : "name it, or take it out");
        }
        if (!utf8_valid(t->names[i], length, &where)) {
            return err_set(e, "the name of column %zu is not valid UTF-8", i + 1);
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(t->names[i], t->names[k]) != 0) continue;
            return err_set(e, "columns %zu and %zu are both called %s, wanted names that differ",
                           k + 1, i + 1, err_quotez(t->names[i]));
        }
    }
    return 0;
}

/* Excel's line "sep=;": the separator, or 0. */
static char declared(const char *text, size_t n)
{
    if (n && text[n - 1] == '\r') n--;
    return n == 5 && strncasecmp(text, "sep=", 4) == 0 && memchr(separators, text[4], SEPARATORS)
               ? text[4]
               : 0;
}

/* Choose the separator that gives known columns, or else the one that gives the most columns. */
static int choose_separator(struct table *t, bool *known, size_t *row, const char *text, size_t n,
                            char only, const struct table_hints *h, struct err *e)
{
    size_t most = 0;
    char best = is_named(h->path, ".tsv") ? '\t' : ',';
    int code = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < SEPARATORS; i++) {
            char separator = pass ? best : separators[i];
            bool open;
            if (only && separator != only) continue;
            *row = table_row_end(&open, text, n, separator);
            size_t bytes = *row && text[*row - 1] == '\r' ? *row - 1 : *row;
            code = try_separator(t, known, text, bytes, separator, h, e);
            if (pass || (!code && *known)) return code;
            if (!code && t->header.n > 1 && t->header.n > most) {
                most = t->header.n;
                best = separator;
            }
        }
        if (only) best = only;
    }
    return code;
}

int table_begin(struct table *t, bool *is, size_t *end, const char *text, size_t n,
                const struct table_hints *h, struct err *e)
{
    bool named = is_named(h->path, ".csv") || is_named(h->path, ".tsv"), known = false;
    size_t line, row = 0, before = 0;
    *t = (struct table){ 0 };
    *is = false;
    if (n == 0 || (!named && !csv_is_built_in())) return 0;
    if (n > HEADER_BYTES) n = HEADER_BYTES; /* a longer text without a line end is not a header */
    const char *first = memchr(text, '\n', n);
    line = first ? (size_t)(first - text) : n;
    char only = declared(text, line);
    if (only) before = line < n ? line + 1 : n;
    int code = choose_separator(t, &known, &row, text + before, n - before, only, h, e);
    *is = named || only || (known && t->header.n > 1);
    if (*is && !code && before + row == HEADER_BYTES)
        code = err_set(e, "found a header of more than %d bytes", HEADER_BYTES);
    if (*is && !code) code = check_names(t, e);
    if (!*is || code) table_free(t);
    *end = before + row + (before + row < n);
    return *is ? code : 0;
}

/* ---- records --------------------------------------------------------------------------------- */

/* Reading one field more than there are names is enough to see the fault. */
static json_t *object_of(const struct table *t, const struct csv_row *row, struct err *e)
{
    size_t columns = t->header.stored;
    if (row->n != columns) {
        err_set(e,
                "found %s, wanted %zu as in the header (a field that holds the separator, "
                "a quote or a line end stands in quotes)",
                str_count(row->n, "field"), columns);
        return NULL;
    }
    json_t *v = json_object();
    for (size_t i = 0; v && i < columns; i++) {
        size_t n;
        const char *text = csv_field(row, i, &n);
        if (json_object_set_new(v, t->names[i], json_stringn(text, n)) == 0) continue;
        json_decref(v);
        v = NULL;
    }
    if (!v) err_set(e, "out of memory: a record");
    return v;
}

json_t *table_read(const struct table *t, const char *text, size_t n, struct err *e)
{
    struct csv_row row = { 0 };
    json_t *v = NULL;
    if (csv_read(&row, text, n, t->separator, t->header.stored, e) == 0) v = object_of(t, &row, e);
    csv_row_free(&row);
    return v;
}
