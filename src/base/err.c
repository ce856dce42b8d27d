#include "src/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/utf8.h"

static __attribute__((format(printf, 3, 0))) void set_message(struct err *e, int code,
                                                              const char *fmt, va_list ap)
{
    e->code = code;
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
}

int err_set(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_message(e, ERR_FAIL, fmt, ap);
    va_end(ap);
    return e->code;
}

int err_usage(struct err *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_message(e, ERR_USAGE, fmt, ap);
    va_end(ap);
    return e->code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int number = errno;
    va_list ap;
    va_start(ap, fmt);
    set_message(e, ERR_FAIL, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", strerror(number));
    return e->code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    struct err old = *e;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    size_t n = strlen(e->msg);
    snprintf(e->msg + n, sizeof e->msg - n, ": %s", old.msg);
    return e->code;
}

/* Marks that reorder or hide text on a terminal. */
static bool is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
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
        uint32_t c;
        size_t len = utf8_decode(&c, text + i, n - i);
        if (len == 0 || is_unprintable(c)) {
            len = len ? len : 1;
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
    fprintf(stderr, "lorac: %s:%d: this should not happen: %s\n", file, line, cond);
    abort();
}
