#include "src/commands/facts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/file.h"
#include "src/base/mem.h"
#include "src/base/safe.h"
#include "src/base/term.h"

enum { LABEL = 16, TEXT_BYTES = PATH_BYTES + 1024, LINE_BYTES = 1400 };

void facts_init(struct facts *f)
{
    *f = (struct facts){ .root = json_members_new() };
}

void facts_free(struct facts *f)
{
    json_decref(f->root.o);
    str_free(&f->people);
    *f = (struct facts){ 0 };
}

static void add_label(struct str *s, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < n; i++) str_addc(s, key[i] == '_' ? ' ' : key[i]);
    str_addf(s, "%*s", n < LABEL ? (int)(LABEL - n) : 1, "");
}

static void add_value(struct str *s, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        str_add_safe(s, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        str_addf(s, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        str_addf(s, "%g", json_real_value(v));
        break;
    default:
        str_addz(s, json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "none");
    }
}

void facts_add(struct facts *f, const char *key, json_t *value, const char *fmt, ...)
{
    if (value) {
        add_label(&f->people, key);
        if (fmt) {
            char text[TEXT_BYTES], line[LINE_BYTES];
            va_list ap;
            va_start(ap, fmt);
            vsnprintf(text, sizeof text, fmt, ap);
            va_end(ap);
            safe_fit(line, sizeof line, text, strlen(text));
            str_addz(&f->people, line);
        } else {
            add_value(&f->people, value);
        }
        str_addc(&f->people, '\n');
    }
    json_set(&f->root, key, value);
}

/* The text is in quotation marks where it is not shown as it is. */
void facts_text(struct facts *f, const char *key, const char *text)
{
    if (!text) return;
    bool safe = true;
    for (size_t n = strlen(text), len = 0, at = 0; safe && at < n; at += len)
        len = safe_step(&safe, text + at, n - at, SAFE_LINE);
    facts_add(f, key, json_text(text), safe ? "%s" : "\"%s\"", text);
}

void facts_count(struct facts *f, const char *key, uint64_t n)
{
    facts_add(f, key, json_integer((json_int_t)n), "%llu", (unsigned long long)n);
}

static json_t *checks_of(struct facts *f)
{
    json_t *checks = json_object_get(f->root.o, "checks");
    if (!checks) json_set(&f->root, "checks", checks = json_array());
    return checks;
}

void facts_check(struct facts *f, enum verdict v, const char *name, const char *remedy,
                 const char *fmt, ...)
{
    static const char *const status[] = { "ok", "note", "problem" };
    static const char *const mark[] = { "\u2713", "!", "\u2717" };
    static const char *const color[] = { "\033[32m", "\033[33m", "\033[31m" };
    char text[TEXT_BYTES], line[LINE_BYTES], shown[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    safe_fit(line, sizeof line, text, strlen(text));
    safe_fit(shown, sizeof shown, name, strlen(name));
    bool colored = term_has_color(stdout);
    f->problems += v == VERDICT_PROBLEM;
    str_addf(&f->people, "%s%s%s %s%*s%s\n", colored ? color[v] : "", mark[v],
             colored ? "\033[0m" : "", shown, strlen(shown) < 14 ? (int)(14 - strlen(shown)) : 1,
             "", line);
    if (remedy) str_add_line(&f->people, "%*s-> %s\n", LABEL, "", remedy);
    struct json_members row = json_members_new();
    json_set(&row, "name", json_text(name));
    json_set(&row, "status", json_string(status[v]));
    json_set(&row, "value", json_text(text));
    json_set(&row, "remedy", remedy ? json_string(remedy) : json_null());
    bool added = json_array_append_new(checks_of(f), row.o) == 0;
    f->root.failed |= row.failed || !added;
}

void facts_append(struct facts *f, const struct facts *from)
{
    json_t *checks = json_object_get(from->root.o, "checks");
    f->root.failed |= from->root.failed || json_array_extend(checks_of(f), checks) != 0;
    f->people.failed |= from->people.failed;
    str_add(&f->people, from->people.p ? from->people.p : "", from->people.n);
    f->problems += from->problems;
}

int facts_print(const struct facts *f, bool as_json, struct err *e)
{
    struct str s = { .failed = f->root.failed };
    int code = str_error(&f->people, e);
    if (!code) code = str_error(&s, e);
    if (code) return code;
    if (as_json) {
        json_add_tree(&s, f->root.o);
        return json_print(&s, e);
    }
    fputs(f->people.p ? f->people.p : "", stdout);
    return 0;
}
