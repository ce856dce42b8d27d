#include "src/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/safe.h"

/* A message with two of the longest paths fits in here before it is cut. */
enum { RAW_BYTES = 10000, MSG = sizeof((struct err *)0)->msg };

/* All messages pass here and become one safe line, since a name, a path or a library's text may
 * bring a line break or an escape sequence. */
static int settle(struct err *e, int code, const char *raw)
{
    e->code = code;
    safe_fit(e->msg, sizeof e->msg, raw, strlen(raw));
    return code;
}

__attribute__((format(printf, 3, 0))) static int set(struct err *e, int code, const char *fmt,
                                                     va_list ap)
{
    char raw[RAW_BYTES];
    vsnprintf(raw, sizeof raw, fmt, ap);
    return settle(e, code, raw);
}

int err_set(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int code = set(e, ERR_FAIL, fmt, ap);
    va_end(ap);
    return code;
}

int err_usage(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int code = set(e, ERR_USAGE, fmt, ap);
    va_end(ap);
    return code;
}

int err_code(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set(e, code, fmt, ap);
    va_end(ap);
    return code;
}

int err_exit_status(int code)
{
    return code == ERR_MEMORY || code == ERR_BUDGET || code == ERR_SPACE ? ERR_FAIL : code;
}

/* Append ": " and `more` to the text in raw. */
static void add_after(char raw[RAW_BYTES + MSG + 2], const char *more)
{
    size_t n = strlen(raw);
    snprintf(raw + n, RAW_BYTES + MSG + 2 - n, ": %s", more);
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int number = errno;
    char raw[RAW_BYTES + MSG + 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, RAW_BYTES, fmt, ap);
    va_end(ap);
    add_after(raw, strerror(number));
    bool room = number == ENOSPC || number == EDQUOT || number == EFBIG;
    return settle(e, room ? ERR_SPACE : ERR_FAIL, raw);
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char raw[RAW_BYTES + MSG + 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, RAW_BYTES, fmt, ap);
    va_end(ap);
    add_after(raw, e->msg);
    return settle(e, e->code, raw);
}

int err_append(struct err *e, const char *fmt, ...)
{
    char raw[MSG + 2 + RAW_BYTES];
    int n = snprintf(raw, sizeof raw, "%s; ", e->msg);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw + n, sizeof raw - (size_t)n, fmt, ap);
    va_end(ap);
    return settle(e, e->code, raw);
}

const char *err_quote(const char *text, size_t n)
{
    enum { SHOWN = 80, BUFFERS = 8 };
    static _Thread_local char buffers[BUFFERS][SHOWN * 4 + 64];
    static _Thread_local unsigned turn;
    char *out = buffers[turn++ % BUFFERS], *o = out;
    *o++ = '"';
    size_t i = 0, shown = 0;
    while (i < n && shown < SHOWN) {
        bool safe;
        size_t len = safe_step(&safe, text + i, n - i, SAFE_LINE);
        if (!safe) {
            for (size_t j = 0; j < len; j++)
                o += snprintf(o, 5, "\\x%02x", (unsigned char)text[i + j]);
            shown += 4 * len;
        } else {
            memcpy(o, text + i, len);
            o += len;
            shown++;
        }
        i += len;
    }
    *o++ = '"';
    *o = 0;
    if (i < n) memcpy(o, "...", 4);
    return out;
}

const char *err_quotez(const char *text)
{
    return err_quote(text, strlen(text));
}

void check_failed(const char *cond, const char *file, int line)
{
    dprintf(STDERR_FILENO, "lorac: %s:%d: this should not happen: %s\n", file, line, cond);
    abort();
}
