#include "src/base/str.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "src/base/mem.h"
#include "src/base/safe.h"

static bool grow(struct str *s, size_t extra)
{
    if (s->failed) return false;
    bool possible = extra < SIZE_MAX / 2 - s->n;
    size_t need = s->n + extra + 1;
    if (possible && need <= s->cap) return true;
    size_t cap = s->cap ? s->cap : 64;
    while (possible && cap < need) cap += cap / 2 + 64;
    struct err ignored;
    char *p = possible ? mem_resize(s->p, cap, 1, &ignored) : NULL;
    if (!p) {
        s->failed = true;
        return false;
    }
    s->p = p;
    s->cap = cap;
    return true;
}

void str_add(struct str *s, const char *bytes, size_t n)
{
    if (!grow(s, n)) return;
    if (n) memcpy(s->p + s->n, bytes, n);
    s->n += n;
    s->p[s->n] = 0;
}

void str_addz(struct str *s, const char *text)
{
    str_add(s, text, strlen(text));
}

const char *str_count(uint64_t n, const char *noun)
{
    enum { BUFFERS = 8, NOUN = 48 };
    static _Thread_local char buffers[BUFFERS][NOUN + 24];
    static _Thread_local unsigned turn;
    char *out = buffers[turn++ % BUFFERS];
    size_t length = strlen(noun);
    bool many = n != 1, ix = many && length > 2 && strcmp(noun + length - 2, "ix") == 0;
    snprintf(out, sizeof buffers[0], "%llu %.*s%s", (unsigned long long)n,
             (int)(ix ? length - 2 : length), noun,
             ix     ? "ices"
             : many ? "s"
                    : "");
    return out;
}

void str_addc(struct str *s, char c)
{
    str_add(s, &c, 1);
}

static __attribute__((format(printf, 2, 0))) void str_addv(struct str *s, const char *fmt,
                                                           va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && grow(s, (size_t)n)) {
        vsnprintf(s->p + s->n, (size_t)n + 1, fmt, again);
        s->n += (size_t)n;
    }
    va_end(again);
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    str_addv(s, fmt, ap);
    va_end(ap);
}

void str_add_safe(struct str *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        bool safe;
        size_t len = safe_step(&safe, text + i, n - i, SAFE_LINE);
        if (safe) str_add(s, text + i, len);
        for (size_t j = 0; !safe && j < len; j++)
            str_addf(s, "\\x%02x", (unsigned char)text[i + j]);
        i += len;
    }
}

void str_add_line(struct str *s, const char *fmt, ...)
{
    struct str raw = { 0 };
    va_list ap;
    va_start(ap, fmt);
    str_addv(&raw, fmt, ap);
    va_end(ap);
    size_t before = strspn(fmt, "\n"), n = strlen(fmt), after = 0;
    while (after < n - before && fmt[n - 1 - after] == '\n') after++;
    if (!raw.failed && raw.n >= before + after) {
        str_add(s, raw.p, before);
        str_add_safe(s, raw.p + before, raw.n - before - after);
        str_add(s, raw.p + raw.n - after, after);
    }
    s->failed |= raw.failed;
    str_free(&raw);
}

/* Written in $'...' with three octal digits, since hexadecimal escapes may take in the next
 * letter. */
static void add_escaped_word(struct str *s, const char *word)
{
    bool safe;
    str_addz(s, "$'");
    for (size_t n = strlen(word), len; n > 0; word += len, n -= len) {
        len = safe_step(&safe, word, n, SAFE_LINE);
        if (*word == '\'' || *word == '\\') str_addc(s, '\\');
        if (safe) str_add(s, word, len);
        for (size_t i = 0; !safe && i < len; i++) str_addf(s, "\\%03o", (unsigned char)word[i]);
    }
    str_addc(s, '\'');
}

/* Whether the word needs no escapes. */
static bool is_safe(const char *word)
{
    bool safe = true;
    for (size_t n = strlen(word), len; safe && n > 0; word += len, n -= len)
        len = safe_step(&safe, word, n, SAFE_LINE);
    return safe;
}

void str_add_shell(struct str *s, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=@%+,-";
    if (*word && !word[strspn(word, plain)]) {
        str_addz(s, word);
        return;
    }
    if (!is_safe(word)) {
        add_escaped_word(s, word);
        return;
    }
    str_addc(s, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            str_addz(s, "'\\''");
        else
            str_addc(s, *word);
    }
    str_addc(s, '\'');
}

void str_clear(struct str *s)
{
    s->n = 0;
    if (s->p) s->p[0] = 0;
}

void str_free(struct str *s)
{
    mem_free(s->p);
    *s = (struct str){ 0 };
}

int str_error(const struct str *s, struct err *e)
{
    return s->failed ? err_code(e, ERR_MEMORY, "out of memory: a text of %zu bytes", s->n) : 0;
}

/* A capital in the place of a small letter does not count as a mistake. */
static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

bool str_ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n > m && strcmp(text + n - m, tail) == 0;
}

size_t str_distance(const char *a, const char *b)
{
    enum { MOST = 63 };
    size_t n = strlen(a), m = strlen(b);
    if (n > MOST || m > MOST) return MOST;
    size_t rows[3][MOST + 1], *before = rows[0], *prev = rows[1], *cur = rows[2];
    for (size_t j = 0; j <= m; j++) prev[j] = before[j] = j;
    for (size_t i = 1; i <= n; i++) {
        cur[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = prev[j - 1] + !same_letter(a[i - 1], b[j - 1]);
            if (prev[j] + 1 < d) d = prev[j] + 1;
            if (cur[j - 1] + 1 < d) d = cur[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                           same_letter(a[i - 2], b[j - 1]);
            if (swapped && before[j - 2] + 1 < d) d = before[j - 2] + 1;
            cur[j] = d;
        }
        size_t *t = before;
        before = prev, prev = cur, cur = t;
    }
    return prev[m];
}

void str_nearest_try(struct str_nearest *s, const char *candidate)
{
    size_t longest = strlen(s->word), n = strlen(candidate);
    size_t apart = n > longest ? n - longest : longest - n; /* the distance is at least this */
    if (n > longest) longest = n;
    if (apart * 3 > longest) return;
    size_t d = str_distance(s->word, candidate);
    if (d * 3 > longest || (s->best && d >= s->distance)) return;
    s->best = candidate;
    s->distance = d;
}

const char *str_nearest_word(const char *word, const char *words)
{
    static char best[64], beginning[64];
    char one[64];
    struct str_nearest nearest = { .word = word };
    size_t length = strlen(word);
    *best = *beginning = 0;
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        snprintf(one, sizeof one, "%.*s", (int)n, p);
        str_nearest_try(&nearest, one);
        if (nearest.best == one) { /* the buffer is used again */
            memcpy(best, one, sizeof best);
            nearest.best = best;
        }
        if (!*beginning && length && !strncasecmp(one, word, length))
            memcpy(beginning, one, sizeof beginning);
        p += n;
    }
    return *best ? best : *beginning ? beginning : NULL;
}
