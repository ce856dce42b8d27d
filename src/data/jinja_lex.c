#include "src/data/jinja_lex.h"

#include <string.h>

#include "src/base/mem.h"

struct cutter {
    struct jinja_words *out;
    const char *p;      /* the next byte */
    bool at_line_start; /* the next text begins at the start of a line of the source */
    bool strip;         /* the tag before it ended in a dash */
    struct err *e;
};

static int refuse(struct cutter *c, const char *what)
{
    return err_set(c->e, "found %s", what);
}

static int add(struct cutter *c, enum jinja_kind kind, const char *bytes, size_t n)
{
    struct jinja_words *w = c->out;
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 256;
        struct jinja_word *word = mem_resize(w->word, cap, sizeof *word, c->e);
        if (!word) return c->e->code;
        w->word = word;
        w->cap = cap;
    }
    w->word[w->n++] = (struct jinja_word){ kind, w->bytes.n, n };
    str_add(&w->bytes, bytes, n);
    return str_error(&w->bytes, c->e);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *next_tag(const char *p)
{
    for (; *p; p++)
        if (*p == '{' && (p[1] == '{' || p[1] == '%' || p[1] == '#')) return p;
    return p;
}

/* Cut the text up to the next tag, without the white space that this tag and the one before it
 * drop. */
static int cut_text(struct cutter *c)
{
    const char *begin = c->p, *tag = next_tag(begin), *end = tag;
    if (c->strip) {
        while (begin < end && is_space(*begin)) begin++;
    }
    if (*tag && tag[2] == '-') {
        while (end > begin && is_space(end[-1])) end--;
    } else if (*tag && tag[1] != '{' && tag[2] != '+') {
        const char *q = end;
        while (q > c->p && (q[-1] == ' ' || q[-1] == '\t')) q--;
        bool indents = q > c->p ? q[-1] == '\n' : c->at_line_start;
        if (indents) end = q > begin ? q : begin;
    } else if (!*tag && end > begin && end[-1] == '\n') {
        end--;
    }
    c->p = tag;
    return end > begin ? add(c, JINJA_TEXT, begin, (size_t)(end - begin)) : 0;
}

/* After a tag, whose last byte is before c->p: note what it drops of the following text. */
static void end_tag(struct cutter *c, bool dash, bool block)
{
    c->strip = dash;
    c->at_line_start = false;
    if (!dash && block && *c->p == '\n') {
        c->p++;
        c->at_line_start = true;
    }
}

static int skip_comment(struct cutter *c)
{
    const char *end = strstr(c->p + 2, "#}");
    if (!end) return refuse(c, "a comment without an end");
    bool dash = end > c->p + 2 && end[-1] == '-';
    c->p = end + 2;
    end_tag(c, dash, true);
    return 0;
}

/* The string that begins at c->p; its escapes are Python's. */
static int cut_string(struct cutter *c)
{
    static const char names[] = "nrt\\'\"", bytes[] = "\n\r\t\\'\"";
    char quote = *c->p++;
    int code = add(c, JINJA_STRING, "", 0);
    struct jinja_word *w = &c->out->word[c->out->n - 1];
    for (; !code && *c->p != quote; c->p++) {
        char byte = *c->p;
        if (!byte) return refuse(c, "a string without an end");
        if (byte == '\\') {
            const char *name = c->p[1] ? strchr(names, c->p[1]) : NULL;
            if (!name) return refuse(c, "an escape that is not supported");
            byte = bytes[name - names];
            c->p++;
        }
        str_addc(&c->out->bytes, byte);
        w->n++;
    }
    c->p++;
    return code ? code : str_error(&c->out->bytes, c->e);
}

static int cut_word(struct cutter *c)
{
    static const char *const pairs[] = { "==", "!=", "<=", ">=", "//", "**" };
    const char *p = c->p;
    size_t n = 1;
    if (*p == '\'' || *p == '"') return cut_string(c);
    enum jinja_kind kind = is_letter(*p) ? JINJA_NAME : is_digit(*p) ? JINJA_NUMBER : JINJA_SIGN;
    if (kind == JINJA_NAME) {
        while (is_letter(p[n]) || is_digit(p[n])) n++;
    } else if (kind == JINJA_NUMBER) {
        while (is_digit(p[n])) n++;
    } else {
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            if (!strncmp(p, pairs[i], 2)) n = 2;
    }
    c->p += n;
    return add(c, kind, p, n);
}

static int cut_tag(struct cutter *c)
{
    bool block = c->p[1] == '%';
    char closing = block ? '%' : '}';
    int code = add(c, block ? JINJA_BLOCK : JINJA_PRINT, c->p, 2);
    c->p += c->p[2] == '-' || (block && c->p[2] == '+') ? 3 : 2;
    size_t depth = 0; /* of open braces: }} may close two of them */
    while (!code) {
        while (is_space(*c->p)) c->p++;
        bool dash = *c->p == '-' && c->p[1] == closing && c->p[2] == '}';
        if (!*c->p) return refuse(c, "a tag without an end");
        if (dash || (!depth && *c->p == closing && c->p[1] == '}')) {
            code = add(c, JINJA_CLOSE, c->p, 0);
            c->p += dash ? 3 : 2;
            end_tag(c, dash, block);
            return code;
        }
        if (*c->p == '{') depth++;
        if (*c->p == '}' && depth) depth--;
        code = cut_word(c);
    }
    return code;
}

/* Whether the words end with the tag of a raw block; its text would not be Jinja. */
static bool ends_raw(const struct jinja_words *w)
{
    if (w->n < 3 || w->word[w->n - 3].kind != JINJA_BLOCK) return false;
    const struct jinja_word *name = &w->word[w->n - 2];
    return name->n == 3 && !memcmp(w->bytes.p + name->at, "raw", 3);
}

int jinja_cut(struct jinja_words *out, const char *program, struct err *e)
{
    struct cutter c = { .out = out, .p = program, .at_line_start = true, .e = e };
    out->n = 0;
    str_clear(&out->bytes);
    size_t n = strlen(program);
    if (n > JINJA_PROGRAM_BYTES) return refuse(&c, "more than 256 KiB");
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)program[i];
        if (byte < ' ' && !is_space(program[i])) return refuse(&c, "a control byte");
    }
    int code = 0;
    while (!code && *c.p) {
        code = cut_text(&c);
        if (code || !*c.p) break;
        code = c.p[1] == '#' ? skip_comment(&c) : cut_tag(&c);
        if (!code && ends_raw(out)) code = refuse(&c, "a raw block");
    }
    return code ? code : add(&c, JINJA_END, "", 0);
}

void jinja_words_free(struct jinja_words *w)
{
    mem_free(w->word);
    str_free(&w->bytes);
    *w = (struct jinja_words){ 0 };
}
