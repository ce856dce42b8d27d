/* One error, reported once.
 *
 * A function that can fail for reasons outside the program (a file, a number in it, the disk, the
 * user) returns 0 or an ERR_* code and takes `struct err *e` last. The lowest function that knows
 * what went wrong writes the line: where (file:line, key, tensor, byte), what was found, what was
 * wanted, the remedy. Callers pass it up unchanged or prefix context once with err_prefix(). Our
 * own broken invariants are CHECK()s, not errors. */
#ifndef LORAC_BASE_ERR_H
#define LORAC_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

enum {
    ERR_NONE = 0,
    ERR_FAIL = 1,   /* the world: a bad file, a full disk, a model we cannot run */
    ERR_USAGE = 2,  /* the user: a wrong option, key or value */
    ERR_MEMORY = 3, /* out of memory; the files that were read are not at fault. Exit code 1 */
    ERR_BUDGET = 4, /* train.memory_budget is too small. Exit code 1 */
    ERR_SPACE = 5,  /* no room for a file: disk, quota or limit. Exit code 1 */
    ERR_INTERRUPTED = 130, /* ended by a signal, of which main() then lets the process die */
    ERR_STOPPED = 85, /* stopped by a signal or a time limit with a checkpoint written: resume me */
};

struct err {
    int code;
    char msg[1200];
};

/* Write a message and return its code (ERR_FAIL, ERR_USAGE, or the given one), so that callers can
 * `return err_set(e, ...)`. The message is one safe line, whatever the arguments hold: control
 * characters, line breaks, invalid UTF-8 and marks that hide or turn text are written as \xNN
 * (safe.h), and a message that is too long loses its middle. Paths are given as they are; other
 * text of a file goes through err_quote(), so that one sees where it begins and ends. */
int err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int err_usage(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int err_code(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The exit status of the process for a code: callers distinguish more codes than shells do. */
int err_exit_status(int code);

/* As err_set(), with ": " and the text of errno at the end; ERR_SPACE where errno is about room. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put context in front of a message that is already there; returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "; " and more after a message that is there, such as a remedy that only a caller knows;
 * returns e->code. */
int err_append(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Make untrusted text fit for one line of a terminal: in quotation marks, safe as in safe.h, cut
 * with "..." to at most 80 shown characters. Writes into one of eight rotating buffers of the
 * calling thread and returns it. */
const char *err_quote(const char *text, size_t n);
const char *err_quotez(const char *text);

/* For the program's own mistakes: prints file, line and condition, and aborts. */
#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
void check_failed(const char *cond, const char *file, int line) __attribute__((noreturn));

#endif
