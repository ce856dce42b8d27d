/* The terminal: what stderr is, a progress line on it, and numbers as people read them.
 *
 * Progress goes only to stderr. If stderr is closed or broken, the lines are lost and the work goes
 * on. */
#ifndef LORAC_BASE_TERM_H
#define LORAC_BASE_TERM_H

#include <stdbool.h>
#include <stdio.h>

#include "src/base/str.h"

/* Whether lines on `f` can be overwritten: a terminal, and not TERM=dumb. */
bool term_is_live(FILE *f);
/* Columns of the terminal that `f` writes to; 80 if it does not report them. */
int term_width(FILE *f);
/* Whether `f` may be coloured: live, and NO_COLOR is unset or empty. */
bool term_has_color(FILE *f);

/* Print a line for people, or a part of one: printf() whose arguments cannot control the terminal
 * or forge a line (safe.h). Line ends may be only at the beginning and the end of fmt, and are
 * kept; a line of more than 10,000 bytes loses its middle. */
void term_print(FILE *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Print an untrusted text of several lines: line breaks and tabs stay, unsafe characters are
 * written as \xNN, or as `instead` unless that is NULL. */
void term_text(FILE *f, const char *text, size_t n, const char *instead);

/* Columns that n bytes of a safe line take; letters of East Asia and emoji take two. */
size_t term_columns(const char *text, size_t n);
/* Append the text, which is one safe line, broken between words so that no line takes more than
 * `width` columns (0: unbroken). The lines after the first begin `indent` columns from the left,
 * under a label of that width, or 2 where that is more than half of the width. A word that is
 * longer than a line, such as a path, stays whole. */
void term_wrap(struct str *out, const char *text, size_t indent, size_t width);
/* Print a whole line, as term_print() and with its line end (fmt has none). On a terminal it is
 * wrapped as above, at 80 columns or where a narrower terminal ends; anywhere else it stays one
 * line, so that grep finds it. Not for commands that people paste. */
void term_line(FILE *f, size_t indent, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Print each line of the text to stderr as "note: ..."; one that begins with "warning: " as it is.
 * Wrapped as by term_line(). */
void notes_print(const struct str *notes);

/* Seconds of the monotonic clock. */
double term_now_s(void);

/* One line that shows how far a long job is. On a terminal it is redrawn in place, at most ten
 * times a second, and cut to the width so that it never wraps; elsewhere a plain line is written
 * every `plain_every_s` seconds. The text is ASCII without line ends (names in it are made safe all
 * the same). */
struct progress {
    FILE *out;
    bool live;
    int width; /* 0: ask the terminal each time */
    double every_s;
    double (*now_s)(void);
    double last_s;   /* when a line was last written */
    bool any, drawn; /* whether any was; whether one is on the terminal now */
    char text[256];  /* the latest text, drawn or not */
};

/* On stderr, with the clock; tests change the fields afterwards. */
void progress_init(struct progress *p, double plain_every_s);
/* Set a new text; it is shown if enough time has passed. */
void progress_update(struct progress *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Show another text for a moment, as often: that of progress_update() is the one that stays at the
 * end. */
void progress_aside(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Print an ordinary line above the progress line, wrapped as by term_line() under "note: ",
 * "warning: " or 2 columns. fmt has no line end. */
void progress_note(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* End the job and leave no line of it on a terminal: its results follow. */
void progress_clear(struct progress *p);
/* End the job: the latest text stays as an ordinary line, if it was not written already. */
void progress_end(struct progress *p);

/* Numbers for people. Each writes into buf and returns it. */
enum { HUMAN_BYTES = 32 };
/* "0.35 s", "12.3 s", "3 min 20 s", "1 h 05 min", "2 d 03 h" */
const char *human_duration(char buf[HUMAN_BYTES], double seconds);
/* "512 B", "1.4 GiB" */
const char *human_bytes(char buf[HUMAN_BYTES], double bytes);
/* "37", "4.1 k", "6.74 G": three digits and a decimal prefix */
const char *human_count(char buf[HUMAN_BYTES], double n);

#endif
