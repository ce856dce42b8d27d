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

void notes_print(const struct str *notes)
{
    for (const char *p = notes->p; p && *p;) {
        size_t n = strcspn(p, "\n");
        term_print(stderr, "note: %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
}

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
static void draw(struct progress *p, const char *before)
{
    int width = p->width ? p->width : term_width(p->out);
    fprintf(p->out, "%s\033[?7l%.*s\033[J\033[?7h\r", before, width > 1 ? width - 1 : 0, p->text);
    fflush(p->out);
    p->drawn = true;
}

void progress_update(struct progress *p, const char *fmt, ...)
{
    char raw[sizeof p->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    safe_fit(p->text, sizeof p->text, raw, strlen(raw));
    double now = p->now_s();
    if (p->any && now - p->last_s < p->every_s) return;
    p->any = true;
    p->last_s = now;
    if (p->live) {
        draw(p, "\r");
        return;
    }
    fprintf(p->out, "%s\n", p->text);
    fflush(p->out);
    p->text[0] = 0;
}

void progress_note(struct progress *p, const char *fmt, ...)
{
    va_list ap;
    char raw[LINE_BYTES], note[LINE_BYTES];
    size_t n = 0;
    if (p->drawn) n = (size_t)snprintf(note, sizeof note, "\r\033[J");
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    n += safe_fit(note + n, sizeof note - n - 1, raw, strlen(raw));
    note[n] = '\n', note[n + 1] = 0;
    if (p->drawn) {
        draw(p, note);
        return;
    }
    fputs(note, p->out);
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
    if (p->live && p->text[0]) draw(p, "\r");
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
