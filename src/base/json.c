#include "src/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/safe.h"
#include "src/base/utf8.h"

/* When jansson's buffer cannot grow for a character, its parser goes on, and then reads and writes
 * past the buffer (2.14, measured). So memory for all that a text can need is reserved before it is
 * parsed. If an allocation fails, the reserve serves it, and the result is thrown away. */
static _Thread_local struct {
    char *p;
    size_t n, used;
    bool needed;
} reserve;

static void *allocate(size_t n)
{
    void *p = malloc(n);
    if (p) return p;
    reserve.needed = true;
    n = (n + 15) / 16 * 16;
    if (n > reserve.n - reserve.used) return NULL;
    reserve.used += n;
    return reserve.p + reserve.used - n;
}

static void release(void *p)
{
    uintptr_t at = (uintptr_t)p, from = (uintptr_t)reserve.p;
    if (!reserve.p || at < from || at >= from + reserve.n) free(p);
}

static __attribute__((constructor)) void watch_memory(void)
{
    json_set_alloc_funcs(allocate, release);
}

/* The bytes that jansson 2.14 and malloc take for each value on a 64-bit machine, rounded up: an
 * array with its first eight places, an object with its first table, a member's entry, a string
 * without its text, a number with its place in an array. */
enum {
    ARRAY_BYTES = 144,
    OBJECT_BYTES = 288,
    MEMBER_BYTES = 80,
    STRING_BYTES = 80,
    ITEM_BYTES = 48
};

/* jansson recurses and allocates, so a scan comes first that finds hostile nesting and hostile
 * numbers of values. *bytes: at least what the tree will take. False if the text is nested too
 * deep. */
static bool measure(size_t *bytes, const char *text, size_t n)
{
    int depth = 0;
    bool quoted = false;
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            ++*bytes;
            if (c == '\\') i++;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
            *bytes += STRING_BYTES;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH) return false;
            *bytes += c == '[' ? ARRAY_BYTES : OBJECT_BYTES;
        } else if (c == ']' || c == '}') {
            depth--;
        } else if (c == ',') {
            *bytes += ITEM_BYTES;
        } else if (c == ':') {
            *bytes += MEMBER_BYTES;
        }
    }
    return true;
}

static int check_size(size_t *bytes, const char *text, size_t n, size_t times, const char *where,
                      struct err *e)
{
    if (!measure(bytes, text, n)) {
        return err_set(e, "%s: JSON nested deeper than %d levels", where, JSON_DEPTH);
    }
    if (*bytes <= JSON_ROOM || (*bytes - JSON_ROOM) / times <= n) return 0;
    return err_set(e,
                   "%s: found %zu bytes of JSON that need %zu MB of memory, which is too many "
                   "values for such a file",
                   where, n, *bytes >> 20);
}

/* The length of the integer literal at the start of the n bytes at text if it does not fit 64 bits,
 * else 0. */
static size_t huge_integer(const char *text, size_t n)
{
    static const char largest[] = "9223372036854775807";
    enum { DIGITS = sizeof largest - 1 };
    size_t digits = 0;
    while (digits < n && text[digits] >= '0' && text[digits] <= '9') digits++;
    bool real = digits < n && (text[digits] == '.' || (text[digits] | 0x20) == 'e');
    if (real || digits < DIGITS) return 0;
    return digits > DIGITS || memcmp(text, largest, DIGITS) > 0 ? digits : 0;
}

/* jansson refuses integers beyond 64 bits, but transformers writes 10^30 for "no limit" into nearly
 * every tokenizer_config.json. Such literals become reals: the text is copied with ".0" after them.
 * False if there are none; `out` is then untouched. */
static bool huge_as_real(struct str *out, const char *text, size_t n)
{
    bool quoted = false;
    size_t done = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c >= '0' && c <= '9') {
            size_t digits = huge_integer(text + i, n - i);
            if (digits) {
                str_add(out, text + done, i + digits - done);
                str_addz(out, ".0");
                done = i + digits;
            }
            while (i + 1 < n && strchr("0123456789.eE+-", text[i + 1]) && text[i + 1]) i++;
        }
    }
    if (done) str_add(out, text + done, n - done);
    return done > 0;
}

/* `bytes`: the memory that the tree takes. */
static json_t *load(const char *text, size_t n, size_t bytes, size_t flags, const char *where,
                    struct err *e)
{
    json_error_t je;
    size_t room = bytes + 4 * n + 1024; /* the parser doubles its buffer of one token */
    reserve.needed = false;
    reserve.p = malloc(room);
    reserve.n = reserve.p ? room : 0;
    json_t *v = reserve.p ? json_loadb(text, n, flags, &je) : NULL;
    if (!reserve.p || reserve.needed) {
        json_decref(v);
        v = NULL;
        err_code(e, ERR_MEMORY, "%s: out of memory", where);
    } else if (!v) {
        /* jansson quotes the text near the error, which may be training data: keep only its
         * reason, which ends before " near". */
        char *near = strstr(je.text, " near ");
        if (near) *near = 0;
        err_set(e, "%s: not valid JSON at byte %d: %s", where, je.position, je.text);
    }
    free(reserve.p);
    reserve.p = NULL;
    reserve.n = reserve.used = 0;
    return v;
}

static json_t *parse(const char *text, size_t n, enum json_dup dup, size_t times, const char *where,
                     struct err *e)
{
    size_t bytes, flags = JSON_ALLOW_NUL | JSON_DECODE_ANY;
    if (dup == JSON_DUP_REFUSED) flags |= JSON_REJECT_DUPLICATES;
    if (check_size(&bytes, text, n, times, where, e)) return NULL;
    struct str copy = { 0 };
    if (huge_as_real(&copy, text, n)) {
        if (str_error(&copy, e)) return NULL;
        text = copy.p;
        n = copy.n;
    }
    json_t *v = load(text, n, bytes, flags, where, e);
    str_free(&copy);
    return v;
}

json_t *json_parse(const char *text, size_t n, enum json_dup dup, const char *where, struct err *e)
{
    return parse(text, n, dup, 1, where, e);
}

json_t *json_read_dense(const char *path, size_t most, size_t times, struct err *e)
{
    struct str s = { 0 };
    json_t *v = NULL;
    if (!file_read(&s, path, most, e)) {
        size_t skip = s.n >= 3 && memcmp(s.p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        if (is_lfs_pointer(s.p, s.n)) {
            lfs_refuse(path, e);
        } else {
            v = parse(s.n ? s.p + skip : "", s.n - skip, JSON_DUP_REFUSED, times, path, e);
        }
    }
    str_free(&s);
    return v;
}

json_t *json_read(const char *path, size_t most, struct err *e)
{
    return json_read_dense(path, most, 1, e);
}

const char *json_kind(const json_t *v)
{
    if (!v) return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

/* ---- numbers as they are written ------------------------------------------------------------- */

/* Count the numbers of a tree before v, in the order of its text; true when v is found. */
static bool count_numbers(size_t *before, const json_t *at, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    if (at == v) return true;
    if (json_is_number(at)) ++*before;
    json_array_foreach((json_t *)(uintptr_t)at, i, item)
    {
        if (count_numbers(before, item, v)) return true;
    }
    json_object_foreach((json_t *)(uintptr_t)at, key, item)
    {
        if (count_numbers(before, item, v)) return true;
    }
    return false;
}

bool json_number_text(const char **out, size_t *out_n, const char *text, size_t n,
                      const json_t *root, const json_t *v)
{
    size_t before = 0;
    bool quoted = false;
    if (!json_is_number(v) || !count_numbers(&before, root, v)) return false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == '-' || (c >= '0' && c <= '9'))) {
            size_t end = i + 1;
            while (end < n && text[end] && strchr("0123456789.eE+-", text[end])) end++;
            *out = text + i;
            *out_n = end - i;
            if (before-- == 0) return true;
            i = end - 1;
        }
    }
    return false;
}

static const json_t *member(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_null(v) ? NULL : v;
}

static int unwanted(const json_t *v, const char *key, const char *wanted, const char *where,
                    struct err *e)
{
    return err_set(e, "%s: %s: found %s, wanted %s", where, key, json_kind(v), wanted);
}

bool json_has(const json_t *o, const char *key)
{
    return member(o, key) != NULL;
}

int json_get_size(size_t *out, const json_t *o, const char *key, const char *where, struct err *e)
{
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return unwanted(v, key, "an integer of 0 or more", where, e);
    }
    *out = (size_t)json_integer_value(v);
    return 0;
}

int json_get_double(double *out, const json_t *o, const char *key, const char *where, struct err *e)
{
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_number(v)) return unwanted(v, key, "a number", where, e);
    *out = json_number_value(v);
    return 0;
}

int json_get_bool(bool *out, const json_t *o, const char *key, const char *where, struct err *e)
{
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_boolean(v)) return unwanted(v, key, "true or false", where, e);
    *out = json_is_true(v);
    return 0;
}

int json_get_string(const char **out, const json_t *o, const char *key, const char *where,
                    struct err *e)
{
    const json_t *v = member(o, key);
    if (!v) return 0;
    if (!json_is_string(v)) return unwanted(v, key, "a string", where, e);
    if (strlen(json_string_value(v)) != json_string_length(v)) {
        return err_set(e, "%s: %s: found %s, wanted a text without NUL", where, key,
                       err_quote(json_string_value(v), json_string_length(v)));
    }
    *out = json_string_value(v);
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

void json_add_string(struct str *out, const char *text, size_t n)
{
    str_addc(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            str_addc(out, '\\');
            str_addc(out, (char)c);
        } else if (c == '\n') {
            str_addz(out, "\\n");
        } else if (c == '\t') {
            str_addz(out, "\\t");
        } else if (c == '\r') {
            str_addz(out, "\\r");
        } else if (c < 0x20) {
            str_addf(out, "\\u%04x", c);
        } else if (c < 0x80) {
            str_addc(out, (char)c);
        } else {
            uint32_t code;
            size_t len = utf8_decode(&code, text + i, n - i);
            str_add(out, len ? text + i : "\xef\xbf\xbd", len ? len : 3);
            i += len ? len - 1 : 0;
        }
    }
    str_addc(out, '"');
}

void json_add_double(struct str *out, double v)
{
    if (!isfinite(v)) {
        str_addz(out, "null");
        return;
    }
    char buf[40];
    for (int digits = 1; digits <= 17; digits++) { /* the shortest text that reads back the same */
        snprintf(buf, sizeof buf, "%.*g", digits, v);
        if (strtod(buf, NULL) == v) break;
    }
    str_addz(out, buf);
}

static void begin_line(struct json_writer *w)
{
    str_addf(w->out, "\n%*s", 2 * (int)w->depth, "");
}

/* Write the comma, line end, indentation and key before a value. */
static void begin_value(struct json_writer *w, const char *key)
{
    if (w->depth) {
        bool first = !w->open[w->depth - 1].any;
        CHECK((w->open[w->depth - 1].end == '}') == (key != NULL));
        if (!first) str_addc(w->out, ',');
        if (w->open[w->depth - 1].layout == JSON_LINES) {
            begin_line(w);
        } else if (!first) {
            str_addc(w->out, ' ');
        }
        w->open[w->depth - 1].any = true;
    }
    if (!key) return;
    json_add_string(w->out, key, strlen(key));
    str_addz(w->out, ": ");
}

static void open_bracket(struct json_writer *w, const char *key, enum json_layout layout,
                         const char pair[2])
{
    begin_value(w, key);
    CHECK(w->depth < JSON_WRITER_DEPTH);
    str_addc(w->out, pair[0]);
    w->open[w->depth].layout = layout;
    w->open[w->depth].end = pair[1];
    w->open[w->depth++].any = false;
}

void json_write_object(struct json_writer *w, const char *key, enum json_layout layout)
{
    open_bracket(w, key, layout, "{}");
}

void json_write_array(struct json_writer *w, const char *key, enum json_layout layout)
{
    open_bracket(w, key, layout, "[]");
}

void json_write_end(struct json_writer *w)
{
    CHECK(w->depth > 0);
    w->depth--;
    if (w->open[w->depth].any && w->open[w->depth].layout == JSON_LINES) begin_line(w);
    str_addc(w->out, w->open[w->depth].end);
}

void json_write_text_n(struct json_writer *w, const char *key, const char *text, size_t n)
{
    begin_value(w, key);
    json_add_string(w->out, text, n);
}

void json_write_text(struct json_writer *w, const char *key, const char *text)
{
    if (text) {
        json_write_text_n(w, key, text, strlen(text));
    } else {
        begin_value(w, key);
        str_addz(w->out, "null");
    }
}

void json_write_bool(struct json_writer *w, const char *key, bool v)
{
    begin_value(w, key);
    str_addz(w->out, v ? "true" : "false");
}

void json_write_count(struct json_writer *w, const char *key, uint64_t v)
{
    begin_value(w, key);
    str_addf(w->out, "%llu", (unsigned long long)v);
}

void json_write_real(struct json_writer *w, const char *key, double v)
{
    begin_value(w, key);
    json_add_double(w->out, v);
}

/* False: the number is not finite, null was written, and digits must not follow. */
static bool begin_number(struct json_writer *w, const char *key, double v)
{
    begin_value(w, key);
    if (!isfinite(v)) str_addz(w->out, "null");
    return isfinite(v);
}

void json_write_decimals(struct json_writer *w, const char *key, double v, int decimals)
{
    if (begin_number(w, key, v)) str_addf(w->out, "%.*f", decimals, v);
}

void json_write_digits(struct json_writer *w, const char *key, double v, int digits)
{
    if (begin_number(w, key, v)) str_addf(w->out, "%.*g", digits, v);
}

/* Outside of strings JSON is ASCII with line ends, so everything else that is unsafe is in a
 * string. */
void json_make_safe(struct str *out, size_t from)
{
    struct str in = { 0 };
    str_add(&in, out->p + from, out->n - from);
    if (in.failed) out->failed = true;
    out->n = in.failed ? out->n : from;
    for (size_t i = 0, len; !in.failed && i < in.n; i += len) {
        bool safe;
        uint32_t c;
        len = safe_step(&safe, in.p + i, in.n - i, SAFE_LINE);
        if (safe || in.p[i] == '\n' || !utf8_decode(&c, in.p + i, len)) {
            str_add(out, in.p + i, len);
        } else if (c < 0x10000) {
            str_addf(out, "\\u%04x", c);
        } else {
            str_addf(out, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        }
    }
    str_free(&in);
}

int json_print(struct str *out, struct err *e)
{
    str_addc(out, '\n');
    if (!out->failed) json_make_safe(out, 0);
    int code = str_error(out, e);
    if (!code) fputs(out->p, stdout);
    str_free(out);
    return code;
}

/* ---- trees to be written --------------------------------------------------------------------- */

struct json_members json_members_new(void)
{
    json_t *o = json_object();
    return (struct json_members){ .o = o, .failed = !o };
}

void json_set(struct json_members *m, const char *key, json_t *value)
{
    if (!value || json_object_set_new(m->o, key, value) != 0) m->failed = true;
}

void json_set_text(struct json_members *m, const char *key, const char *text)
{
    json_set(m, key, text && *text ? json_text(text) : json_null());
}

void json_set_count(struct json_members *m, const char *key, uint64_t n)
{
    json_set(m, key, json_integer((json_int_t)n));
}

void json_set_number(struct json_members *m, const char *key, double v)
{
    json_set(m, key, isfinite(v) ? json_real(v) : json_null());
}

json_t *json_text(const char *text)
{
    size_t at;
    if (utf8_valid(text, strlen(text), &at)) return json_string(text);
    struct str safe = { 0 };
    str_add_safe(&safe, text, strlen(text));
    json_t *v = safe.failed ? NULL : json_string(safe.p);
    str_free(&safe);
    return v;
}

static int add_bytes(const char *bytes, size_t n, void *out)
{
    str_add(out, bytes, n);
    return 0;
}

void json_add_tree(struct str *out, const json_t *v)
{
    if (json_dump_callback(v, add_bytes, out, JSON_INDENT(2) | JSON_SORT_KEYS) != 0) {
        out->failed = true;
    }
}

void json_add_document(struct str *out, const json_t *v)
{
    if (json_dump_callback(v, add_bytes, out, JSON_INDENT(2)) != 0) out->failed = true;
}

void json_add_line(struct str *out, const json_t *v)
{
    if (json_dump_callback(v, add_bytes, out, JSON_ENCODE_ANY) != 0) out->failed = true;
}
