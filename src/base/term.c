#include "src/base/term.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "src/base/err.h"
#include "src/base/safe.h"
#include "src/base/utf8.h"

static const double redraw_s = 0.1;

bool term_is_live(FILE *f)
{
    const char *term = getenv("TERM");
    return isatty(fileno(f)) && !(term && !strcmp(term, "dumb"));
}

int term_width(FILE *f)
{
    struct winsize w = { 0 };
    return ioctl(fileno(f), TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

bool term_has_color(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    return term_is_live(f) && !(no && *no);
}

enum { LINE_BYTES = 10000 };

void term_print(FILE *f, const char *fmt, ...)
{
    char raw[LINE_BYTES], line[LINE_BYTES + 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    size_t before = strspn(fmt, "\n"), n = strlen(fmt), m = strlen(raw), after = 0;
    while (after < n - before && fmt[n - 1 - after] == '\n') after++;
    if (m == sizeof raw - 1) after = 0;
    CHECK(before + after + 64 <= sizeof line);
    memcpy(line, raw, before);
    size_t used = before + safe_fit(line + before, sizeof line - before - after, raw + before,
                                    m - before - after);
    memcpy(line + used, raw + m - after, after);
    fwrite(line, 1, used + after, f); /* in one piece: stderr is not buffered */
}

void term_text(FILE *f, const char *text, size_t n, const char *instead)
{
    size_t from = 0, len;
    for (size_t i = 0; i < n; i += len) {
        bool safe;
        len = safe_step(&safe, text + i, n - i, SAFE_TEXT);
        if (safe) continue;
        if (i > from) fwrite(text + from, 1, i - from, f);
        if (instead) fputs(instead, f);
        for (size_t j = 0; !instead && j < len; j++)
            fprintf(f, "\\x%02x", (unsigned char)text[i + j]);
        from = i + len;
    }
    if (n > from) fwrite(text + from, 1, n - from, f);
}

/* ---- lines that fit -------------------------------------------------------------------------- */

enum { MOST_COLUMNS = 80 };

/* Where lines on f are wrapped; 0: never. One column stays free: some terminals go on to the next
 * line as soon as the last one is full. */
static size_t wrap_width(FILE *f, int given)
{
    if (!given && !isatty(fileno(f))) return 0;
    int width = given ? given : term_width(f);
    return (size_t)(width < MOST_COLUMNS ? width : MOST_COLUMNS) - 1;
}

/* Letters that take two columns: East Asian ones and emoji. */
static size_t letter_columns(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } wide[] = {
        { 0x1100, 0x115f },   { 0x2e80, 0x303e },   { 0x3041, 0xa4cf }, { 0xac00, 0xd7a3 },
        { 0xf900, 0xfaff },   { 0xfe30, 0xfe6f },   { 0xff00, 0xff60 }, { 0xffe0, 0xffe6 },
        { 0x1f300, 0x1faff }, { 0x20000, 0x3fffd },
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (c >= wide[i].first && c <= wide[i].last) return 2;
    return 1;
}

size_t term_columns(const char *text, size_t n)
{
    size_t columns = 0, len;
    for (size_t i = 0; i < n; i += len) {
        uint32_t c = 0;
        len = utf8_decode(&c, text + i, n - i);
        if (!len) len = 1;
        columns += letter_columns(c);
    }
    return columns;
}

void term_wrap(struct str *out, const char *text, size_t indent, size_t width)
{
    size_t column = 0, hang = 2 * indent > width ? 2 : indent;
    while (*text) {
        size_t gap = strspn(text, " "), word = strcspn(text + gap, " ");
        size_t columns = term_columns(text + gap, word);
        if (width && column > hang && column + gap + columns > width) {
            str_addf(out, "\n%*s", (int)hang, "");
            column = hang;
        } else {
            str_add(out, text, gap);
            column += gap;
        }
        str_add(out, text + gap, word);
        column += columns;
        text += gap + word;
    }
}

/* Print a safe line, wrapped, with a line end and after `before`, in one piece. */
static void print_wrapped(FILE *f, const char *before, const char *line, size_t indent,
                          size_t width)
{
    struct str s = { 0 };
    str_addz(&s, before);
    term_wrap(&s, line, indent, width);
    str_addc(&s, '\n');
    if (s.failed) {
        fprintf(f, "%s%s\n", before, line);
    } else {
        fwrite(s.p, 1, s.n, f);
    }
    str_free(&s);
}

void term_line(FILE *f, size_t indent, const char *fmt, ...)
{
    char raw[LINE_BYTES], line[LINE_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    safe_fit(line, sizeof line, raw, strlen(raw));
    print_wrapped(f, "", line, indent, wrap_width(f, 0));
}

static const char note_label[] = "note: ", warning_label[] = "warning: ";

static bool has_label(const char *line, const char *label)
{
    return strncmp(line, label, strlen(label)) == 0;
}

/* The width of what a line begins with. */
static size_t label_columns(const char *line)
{
    enum { OTHERS = 2 };
    if (has_label(line, note_label)) return sizeof note_label - 1;
    return has_label(line, warning_label) ? sizeof warning_label - 1 : OTHERS;
}

void notes_print(const struct str *notes)
{
    for (const char *p = notes->p; p && *p;) {
        size_t n = strcspn(p, "\n");
        const char *label = has_label(p, warning_label) ? "" : note_label;
        term_line(stderr, label_columns(*label ? label : p), "%s%.*s", label, (int)n, p);
        p += n + (p[n] == '\n');
    }
}

/* ---- progress -------------------------------------------------------------------------------- */

double term_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_init(struct progress *p, double plain_every_s)
{
    *p = (struct progress){ .out = stderr, .now_s = term_now_s };
    p->live = term_is_live(stderr);
    p->every_s = p->live ? redraw_s : plain_every_s;
}

/* Draw the text over the old one, cut one column short, since a full last column makes some
 * terminals wrap. The cursor goes back to the first column. If the terminal is made narrower than
 * the line, some fold it and keep the cursor on its first row, some cut it and have one row; the
 * next drawing, which clears everything below, is right on both. Wrapping (DECAWM) is off
 * meanwhile, since the terminal may become narrower before it has read a line that was cut for the
 * old width. `before` goes out in the same write. */
static void draw(struct progress *p, const char *before, const char *text)
{
    int width = p->width ? p->width : term_width(p->out);
    fprintf(p->out, "%s\033[?7l%.*s\033[J\033[?7h\r", before, width > 1 ? width - 1 : 0, text);
    fflush(p->out);
    p->drawn = true;
}

/* Whether the text was shown: not when the last one is too recent. */
static bool show(struct progress *p, const char *text)
{
    double now = p->now_s();
    if (p->any && now - p->last_s < p->every_s) return false;
    p->any = true;
    p->last_s = now;
    if (p->live) {
        draw(p, "\r", text);
        return true;
    }
    fprintf(p->out, "%s\n", text);
    fflush(p->out);
    return true;
}

void progress_update(struct progress *p, const char *fmt, ...)
{
    char raw[sizeof p->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    safe_fit(p->text, sizeof p->text, raw, strlen(raw));
    if (show(p, p->text) && !p->live) p->text[0] = 0;
}

void progress_aside(struct progress *p, const char *fmt, ...)
{
    char raw[sizeof p->text], text[sizeof p->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    safe_fit(text, sizeof text, raw, strlen(raw));
    show(p, text);
}

void progress_note(struct progress *p, const char *fmt, ...)
{
    va_list ap;
    char raw[LINE_BYTES], line[LINE_BYTES];
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    safe_fit(line, sizeof line, raw, strlen(raw));
    print_wrapped(p->out, p->drawn ? "\r\033[J" : "", line, label_columns(line),
                  p->live ? wrap_width(p->out, p->width) : 0);
    p->drawn = p->drawn && p->text[0];
    if (p->drawn) draw(p, "", p->text);
    fflush(p->out);
}

void progress_clear(struct progress *p)
{
    if (p->drawn) fputs("\r\033[J", p->out);
    fflush(p->out);
    p->drawn = false;
    p->text[0] = 0;
}

void progress_end(struct progress *p)
{
    if (p->live && p->text[0]) draw(p, "\r", p->text);
    if (p->drawn)
        fputc('\n', p->out);
    else if (p->text[0])
        fprintf(p->out, "%s\n", p->text);
    fflush(p->out);
    p->drawn = false;
    p->text[0] = 0;
}

const char *human_duration(char buf[HUMAN_BYTES], double seconds)
{
    if (!(seconds >= 0 && seconds < 1e9)) { /* not known yet: no rate, or no work is done */
        snprintf(buf, HUMAN_BYTES, "?");
        return buf;
    }
    long s = lround(seconds), min = lround(seconds / 60), h = lround(seconds / 3600);
    if (seconds < 0.9995)
        snprintf(buf, HUMAN_BYTES, "%.3g s", seconds);
    else if (seconds < 59.95)
        snprintf(buf, HUMAN_BYTES, "%.1f s", seconds);
    else if (s < 3600)
        snprintf(buf, HUMAN_BYTES, "%ld min %02ld s", s / 60, s % 60);
    else if (min < 24 * 60)
        snprintf(buf, HUMAN_BYTES, "%ld h %02ld min", min / 60, min % 60);
    else
        snprintf(buf, HUMAN_BYTES, "%ld d %02ld h", h / 24, h % 24);
    return buf;
}

const char *human_bytes(char buf[HUMAN_BYTES], double bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
    size_t i = 0;
    while (bytes >= 1023.5 && i < 5) {
        bytes /= 1024;
        i++;
    }
    if (i == 0 || bytes >= 99.95)
        snprintf(buf, HUMAN_BYTES, "%.0f %s", bytes, units[i]);
    else
        snprintf(buf, HUMAN_BYTES, "%.1f %s", bytes, units[i]);
    return buf;
}

const char *human_count(char buf[HUMAN_BYTES], double n)
{
    static const char *const prefixes[] = { "", "k", "M", "G", "T", "P" };
    size_t i = 0;
    while (n >= 999.5 && i < 5) {
        n /= 1000;
        i++;
    }
    int decimals = n < 9.995 ? 2 : n < 99.95 ? 1 : 0;
    if (i == 0)
        snprintf(buf, HUMAN_BYTES, "%.3g", n);
    else
        snprintf(buf, HUMAN_BYTES, "%.*f %s", decimals, n, prefixes[i]);
    return buf;
}
