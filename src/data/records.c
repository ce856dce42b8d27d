#include "src/data/records.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/unpack.h"
#include "src/base/utf8.h"
#include "src/data/kinds.h"
#include "src/data/table.h"

struct records {
    char *path;
    struct map file; /* as it is on the disk */
    struct map map;  /* its text: the same, or the unpacked content */
    bool packed;
    struct records_options options;
    enum data_format format;
    bool is_array;
    bool is_table;
    struct table table;
    size_t begin; /* the byte where records begin: after a byte order mark, or a header */
    bool is_flat; /* a record has several elements or lines: the messages of one tree */
    bool done;    /* nothing more can be read */
    size_t at;    /* the byte after the last slice */
    size_t line;  /* of `at` */
    size_t count; /* records cut so far */
    size_t last_line;
    size_t released; /* bytes from the start that records_release() has released */
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Move over white space, counting lines. */
static void skip_space(struct records *r)
{
    for (; r->at < r->map.size && is_space(r->map.data[r->at]); r->at++) {
        r->line += r->map.data[r->at] == '\n';
    }
}

/* ---- slices ---------------------------------------------------------------------------------- */

/* Make a record of the bytes from .. end-1, which begin on `line`. */
static int number(struct records *r, struct record_slice *s, size_t from, size_t end, size_t line,
                  struct err *e)
{
    *s = (struct record_slice){ .text = (const char *)r->map.data + from,
                                .n = end - from,
                                .line = line,
                                .number = ++r->count,
                                .fault = FAULT_SIZE };
    r->last_line = line;
    if (s->n <= RECORD_BYTES) return 0;
    err_set(e, "found a record of %zu bytes, wanted at most %d (one object a line, or an array)",
            s->n, RECORD_BYTES);
    return records_prefix(r, s, e);
}

/* Make a record of the bytes [from, r->at), which begin on `line`, without the space at their
 * end. */
static int take(struct records *r, struct record_slice *s, size_t from, size_t line, struct err *e)
{
    size_t end = r->at;
    while (end > from && is_space(r->map.data[end - 1])) end--;
    return number(r, s, from, end, line, e);
}

static int slice_line(struct records *r, struct record_slice *s, struct err *e)
{
    size_t from = r->at, line = r->line;
    const uint8_t *end = memchr(r->map.data + from, '\n', r->map.size - from);
    r->at = end ? (size_t)(end - r->map.data) : r->map.size;
    return take(r, s, from, line, e);
}

/* Move to the comma or bracket that ends the element at r->at; false when the file ends first. */
static bool scan_element(struct records *r)
{
    size_t depth = 0;
    bool quoted = false;
    for (; r->at < r->map.size; r->at++) {
        uint8_t c = r->map.data[r->at];
        r->line += c == '\n';
        if (quoted) {
            if (c == '"') quoted = false;
            if (c == '\\' && r->at + 1 < r->map.size && r->map.data[r->at + 1] != '\n') r->at++;
        } else if (c == '"') {
            quoted = true;
        } else if (depth == 0 && (c == ',' || c == ']')) {
            return true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return false;
}

/* Check the text after the array's closing bracket. */
static int end_array(struct records *r, struct err *e)
{
    r->done = true;
    skip_space(r);
    if (r->at == r->map.size) return 0;
    return err_set(e, "%s:%zu: found text after the array's end, wanted nothing", r->path, r->line);
}

static int slice_element(struct records *r, struct record_slice *s, bool *more, struct err *e)
{
    const uint8_t *data = r->map.data;
    if (r->count > 0 && data[r->at] == ']') { /* the bracket that ended the last element */
        *more = false;
        r->at++;
        return end_array(r, e);
    }
    r->at++; /* the bracket or comma before it */
    skip_space(r);
    size_t from = r->at, line = r->line;
    if (r->count == 0 && from < r->map.size && data[from] == ']') {
        *more = false;
        r->at++;
        return end_array(r, e);
    }
    if (!scan_element(r)) r->done = true;
    int code = take(r, s, from, line, e);
    if (r->done || s->n == 0) s->fault = FAULT_JSON;
    if (r->done) {
        s->rest = true;
        s->fault = FAULT_JSON;
        return err_set(e,
                       "%s:%zu: the array that begins the file has no end: a record that begins "
                       "on this line (record %zu), or a quote or bracket in it, is not closed",
                       r->path, line, s->number);
    }
    if (!code && s->n == 0) {
        s->fault = FAULT_JSON;
        err_set(e, "found nothing between two commas, or after the last one; wanted a record");
        return records_prefix(r, s, e);
    }
    return code;
}

/* A record of a table may span lines. White space is part of its fields. */
static int slice_row(struct records *r, struct record_slice *s, struct err *e)
{
    const char *text = (const char *)r->map.data;
    size_t from = r->at, line = r->line;
    bool open;
    size_t n = table_row_end(&open, text + from, r->map.size - from, r->table.separator);
    size_t end = from + n;
    for (const char *p = text + from; (p = memchr(p, '\n', (size_t)(text + end - p))); p++)
        r->line++;
    r->at = end < r->map.size ? end + 1 : end;
    r->line += end < r->map.size;
    if (n && text[end - 1] == '\r') end--;
    int code = number(r, s, from, end, line, e);
    if (!open) return code;
    r->done = s->rest = true;
    s->fault = FAULT_TABLE;
    err_set(e, "a quote that opens in the record that begins on this line is not closed");
    return records_prefix(r, s, e);
}

static void skip_blank_rows(struct records *r)
{
    const char *text = (const char *)r->map.data;
    size_t bytes;
    while (r->at < r->map.size &&
           table_blank(&bytes, text + r->at, r->map.size - r->at, r->table.separator)) {
        r->at += bytes;
        r->line++;
    }
}

static int next_slice(struct records *r, struct record_slice *s, bool *more, struct err *e)
{
    *more = true;
    s->fault = FAULT_JSON; /* the fault of the text after the array */
    if (!r->done && r->is_array) return slice_element(r, s, more, e);
    if (!r->done) (r->is_table ? skip_blank_rows : skip_space)(r);
    if (r->done || r->at == r->map.size) {
        *more = false;
        r->done = true;
        return 0;
    }
    return (r->is_table ? slice_row : slice_line)(r, s, e);
}

/* ---- flat trees ------------------------------------------------------------------------------ */

/* Whether a message of a flat list answers another. The quoted key cannot be inside a string, where
 * a backslash would come before its second quote. */
static bool has_parent(const struct record_slice *s)
{
    static const char key[] = "\"parent_id\"";
    const char *p = memmem(s->text, s->n, key, sizeof key - 1), *end = s->text + s->n;
    if (!p) return false;
    p += sizeof key - 1;
    while (p < end && (is_space((uint8_t)*p) || *p == ':')) p++;
    return end - p >= 4 && memcmp(p, "null", 4) != 0;
}

/* Take the following messages into the slice as long as they answer another message. */
static int extend_slice(struct records *r, struct record_slice *s, struct err *e)
{
    for (;;) {
        struct records before = *r;
        struct record_slice next;
        struct err ignored;
        bool more = false;
        bool answers = !next_slice(r, &next, &more, &ignored) && more && has_parent(&next);
        if (!answers) { /* leave it, and its errors, to the next call */
            *r = before;
            break;
        }
        s->n = (size_t)(next.text + next.n - s->text);
        r->count = s->number;
        r->last_line = s->line;
        if (s->n > RECORD_BYTES) break;
    }
    s->fault = FAULT_SIZE;
    if (s->n <= RECORD_BYTES) return 0;
    err_set(e, "found a tree of messages of more than %d bytes", RECORD_BYTES);
    return records_prefix(r, s, e);
}

int records_slice(struct records *r, struct record_slice *s, bool *more, struct err *e)
{
    int code = next_slice(r, s, more, e);
    return code || !*more || !r->is_flat ? code : extend_slice(r, s, e);
}

/* ---- records --------------------------------------------------------------------------------- */

enum { WHERE_BYTES = PATH_BYTES + 64 };

static void where_of(char out[WHERE_BYTES], const struct records *r, const struct record_slice *s)
{
    int n = snprintf(out, WHERE_BYTES, "%.*s:%zu", PATH_BYTES, r->path, s->line);
    if (r->is_array) snprintf(out + n, WHERE_BYTES - (size_t)n, " (record %zu)", s->number);
}

int records_prefix(const struct records *r, const struct record_slice *s, struct err *e)
{
    char where[WHERE_BYTES];
    where_of(where, r, s);
    return err_prefix(e, "%s", where);
}

/* The value of a slice. A string that holds JSON (lines that were encoded twice, like WizardLM's)
 * becomes that JSON. */
static json_t *parse_slice(const struct records *r, const struct record_slice *s, enum fault *fault,
                           struct err *e)
{
    char where[WHERE_BYTES];
    size_t at;
    struct err why;
    where_of(where, r, s);
    *fault = FAULT_JSON;
    if (!utf8_valid(s->text, s->n, &at)) {
        *fault = FAULT_UTF8;
        kinds_not_utf8(where, r->path, s->text, s->n, at, e);
        return NULL;
    }
    json_t *v = json_parse(s->text, s->n, JSON_DUP_REFUSED, where, &why);
    if (!v && r->is_array) *e = why;
    if (!v && !r->is_array) err_set(e, "%s; wanted one object on this line", why.msg);
    if (!json_is_string(v)) return v;
    json_t *inner = json_parse(json_string_value(v), json_string_length(v), JSON_DUP_REFUSED, where,
                               &why);
    json_decref(v);
    if (!inner) {
        *fault = FAULT_TYPE;
        err_set(e, "%s: found a string, wanted an object (or one that holds an object)", where);
    }
    return inner;
}

/* The object of a table's record. */
static json_t *parse_row(const struct records *r, const struct record_slice *s, enum fault *fault,
                         struct err *e)
{
    size_t at;
    if (!utf8_valid(s->text, s->n, &at)) {
        char where[WHERE_BYTES];
        where_of(where, r, s);
        *fault = FAULT_UTF8;
        kinds_not_utf8(where, r->path, s->text, s->n, at, e);
        return NULL;
    }
    *fault = FAULT_TABLE;
    json_t *v = table_read(&r->table, s->text, s->n, e);
    if (!v) records_prefix(r, s, e);
    return v;
}

/* The messages of a flat tree as an array, from one line each. */
static json_t *parse_lines(const struct records *r, const struct record_slice *s, enum fault *fault,
                           struct err *e)
{
    struct record_slice line = *s;
    json_t *list = json_array();
    if (!list) err_set(e, "out of memory: a tree of messages");
    for (size_t at = 0; list && at < s->n; line.line++) {
        const char *end = memchr(s->text + at, '\n', s->n - at);
        line.text = s->text + at;
        line.n = end ? (size_t)(end - line.text) : s->n - at;
        at += line.n + 1;
        while (line.n && is_space((uint8_t)line.text[line.n - 1])) line.n--;
        if (line.n == 0) continue;
        json_t *v = parse_slice(r, &line, fault, e);
        if (!v || json_array_append_new(list, v)) {
            if (v) err_set(e, "out of memory: a tree of messages");
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *parse_tree(const struct records *r, const struct record_slice *s, enum fault *fault,
                          struct err *e)
{
    if (!r->is_array) return parse_lines(r, s, fault, e);
    struct str text = { 0 };
    str_addc(&text, '[');
    str_add(&text, s->text, s->n);
    str_addc(&text, ']');
    struct record_slice whole = *s;
    whole.text = text.p;
    whole.n = text.n;
    json_t *v = str_error(&text, e) ? NULL : parse_slice(r, &whole, fault, e);
    str_free(&text);
    return v;
}

int records_parse(const struct records *r, const struct record_slice *s, struct conversation *c,
                  struct err *e)
{
    json_t *v = (r->is_flat    ? parse_tree
                 : r->is_table ? parse_row
                               : parse_slice)(r, s, &c->fault, e);
    if (!v) return e->code;
    char where[WHERE_BYTES];
    where_of(where, r, s);
    /* a string that holds a record has a text that is not the slice's, and so have the lines of a
     * tree; the text of a table is not JSON */
    bool whole = !r->is_flat && !r->is_table && s->n && *s->text != '"';
    struct format_options o = { &r->options.columns, whole ? s->text : NULL, s->n };
    int code = format_read(c, r->format, v, &o, where, e);
    json_decref(v);
    return code;
}

int records_next(struct records *r, struct conversation *c, bool *more, struct err *e)
{
    struct record_slice s;
    int code = records_slice(r, &s, more, e);
    return code || !*more ? code : records_parse(r, &s, c, e);
}

size_t records_line(const struct records *r)
{
    return r->last_line;
}

enum data_format records_format(const struct records *r)
{
    return r->format;
}

void records_release(struct records *r)
{
    pages_release(r->map.data + r->released, r->at - r->released);
    r->released = r->at;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Go back to the first record. */
static void rewind_records(struct records *r)
{
    r->at = r->begin;
    r->line = 1;
    for (size_t i = 0; i < r->begin; i++) r->line += r->map.data[i] == '\n';
    r->count = r->last_line = r->released = 0;
    r->done = false;
    if (!r->is_table) skip_space(r);
}

/* Whether the file is a table: content that begins like JSON is never one. */
static int look_for_table(struct records *r, struct err *e)
{
    static const char mark[] = "\xef\xbb\xbf";
    const uint8_t *data = r->map.data;
    r->begin = r->map.size >= 3 && memcmp(data, mark, 3) == 0 ? 3 : 0;
    rewind_records(r);
    if (r->at == r->map.size) return err_set(e, "%s: holds no records", r->path);
    if (data[r->at] == '{' || data[r->at] == '[') return 0;
    size_t from = r->at, end = 0; /* white space before the first name is an empty field */
    while (from > r->begin && (data[from - 1] == ' ' || data[from - 1] == '\t')) from--;
    struct table_hints hints = { r->path, &r->options.columns };
    int code = table_begin(&r->table, &r->is_table, &end, (const char *)data + from,
                           r->map.size - from, &hints, e);
    if (code) return err_prefix(e, "%s:%zu", r->path, r->line);
    if (r->is_table) r->begin = from + end;
    return 0;
}

/* The format of a table by its header; it must be a format of texts, because a field is one
 * text. */
static int detect_table(struct records *r, struct err *e)
{
    char where[WHERE_BYTES];
    snprintf(where, sizeof where, "%.*s: header", PATH_BYTES, r->path);
    json_t *v = table_example(&r->table, e);
    if (!v) return e->code;
    if (r->format == FORMAT_AUTO) r->format = format_detect(v);
    int code = r->format == FORMAT_AUTO ? format_unknown(v, where, e) : 0;
    json_decref(v);
    if (code || r->format == FORMAT_ALPACA || r->format == FORMAT_PROMPT_COMPLETION ||
        r->format == FORMAT_TEXT)
        return code;
    return err_set(
        e,
        "%s: found columns of format %s, whose records are lists; wanted JSONL for it, or "
        "columns of alpaca, prompt_completion or text",
        where, data_format_name(r->format));
}

/* Find the first record that has the keys of a format. When there is none, the error is about the
 * first record. */
static int detect(struct records *r, struct err *e)
{
    enum { TRIED = 1000 };
    struct err first = { 0 };
    struct record_slice s;
    bool more = true;
    for (size_t i = 0; i < TRIED && r->format == FORMAT_AUTO; i++) {
        struct err now = { 0 };
        enum fault fault;
        json_t *v = NULL;
        int code = records_slice(r, &s, &more, &now);
        if (!code && !more) break;
        if (!code) v = parse_slice(r, &s, &fault, &now);
        if (v) r->format = format_detect(v);
        if (v && r->format == FORMAT_AUTO && !first.code) {
            char where[WHERE_BYTES];
            where_of(where, r, &s);
            format_unknown(v, where, &now);
        }
        json_decref(v);
        if (!first.code) first = now;
    }
    if (r->format == FORMAT_AUTO) {
        *e = first;
        return e->code;
    }
    return 0;
}

/* A flat list of OpenAssistant's is recognised by its first record: a message, not a tree. */
static void look_for_flat(struct records *r)
{
    struct record_slice s;
    struct err ignored;
    enum fault fault;
    bool more;
    if (r->format != FORMAT_OASST && r->format != FORMAT_OASST_THREADS) return;
    rewind_records(r);
    while (!records_slice(r, &s, &more, &ignored) && more) {
        json_t *v = parse_slice(r, &s, &fault, &ignored);
        bool known = json_is_object(v);
        r->is_flat = known && json_object_get(v, "message_id") && !json_object_get(v, "prompt") &&
                     !json_object_get(v, "replies");
        json_decref(v);
        if (known) break;
    }
}

/* The names in data.columns decide the format, or must fit the given format. */
static int take_columns(struct records *r, struct err *e)
{
    const struct record_columns *c = &r->options.columns;
    bool pair = c->prompt || c->completion || c->input || c->choices;
    enum data_format format = pair      ? FORMAT_PROMPT_COMPLETION
                              : c->text ? FORMAT_TEXT
                                        : FORMAT_MESSAGES;
    if (!pair && !c->text && !c->messages && !c->system) return 0;
    if (pair + !!c->text + !!c->messages > 1 || (c->text && c->system)) {
        return err_usage(e, "data.columns: found names of more than one format, wanted those of a "
                            "prompt and its completion, or messages, or text");
    }
    if (!pair && !c->text && !c->messages) {
        return err_usage(e, "data.columns: found system alone, wanted prompt and completion, or "
                            "messages, beside it");
    }
    if (pair && (!c->prompt || !c->completion)) {
        return err_usage(e, "data.columns: found only one of prompt and completion, wanted both");
    }
    bool like = r->format == format || r->format == FORMAT_AUTO ||
                (pair && r->format == FORMAT_ALPACA) ||
                (c->messages && r->format == FORMAT_SHAREGPT);
    if (!like) {
        return err_usage(e,
                         "data.columns: found with format %s, which names its keys itself; wanted "
                         "format %s",
                         data_format_name(r->format), data_format_name(format));
    }
    r->format = format;
    return 0;
}

static int begin(struct records *r, struct err *e)
{
    int code = take_columns(r, e);
    if (code) return code;
    code = map_open(&r->file, r->path, e);
    if (code) return code;
    r->packed = unpack_knows(&r->file);
    if (!r->packed) r->map = r->file;
    if (r->packed) code = unpack(&r->map, &r->file, r->path, e);
    if (!code) code = kinds_refuse(r->path, r->map.data, r->map.size, e);
    if (!code) code = look_for_table(r, e);
    if (code) return code;
    rewind_records(r);
    r->is_array = !r->is_table && r->map.data[r->at] == '[';
    struct record_slice s;
    struct err ignored;
    bool more;
    if (r->is_array && records_slice(r, &s, &more, &ignored) == 0 && !more) {
        return err_set(e, "%s: holds no records: its array is empty", r->path);
    }
    if (r->is_table && records_slice(r, &s, &more, &ignored) == 0 && !more) {
        return err_set(e, "%s: holds a header and no records", r->path);
    }
    rewind_records(r);
    if (r->is_table) {
        code = detect_table(r, e);
    } else {
        if (r->format == FORMAT_AUTO) code = detect(r, e);
        if (!code) look_for_flat(r);
    }
    rewind_records(r);
    return code;
}

int records_open(struct records **out, const char *path, const struct records_options *o,
                 struct err *e)
{
    struct records *r = mem_alloc(1, sizeof *r, e);
    if (!r) return e->code;
    r->options = *o;
    r->format = o->format;
    int code = 0;
    if (!(r->path = mem_strdup(path, e))) code = e->code;
    if (!code) code = begin(r, e);
    if (code) records_close(r);
    *out = code ? NULL : r;
    return code;
}

void records_close(struct records *r)
{
    if (!r) return;
    table_free(&r->table);
    if (r->packed) map_close(&r->map);
    map_close(&r->file);
    mem_free(r->path);
    mem_free(r);
}
