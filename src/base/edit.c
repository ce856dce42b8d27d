#include "src/base/edit.h"

#include <string.h>

#ifdef LORAC_EDIT

#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

#include "src/base/mem.h"
#include "src/base/safe.h"
#include "src/base/utf8.h"

#define TEXT_OF(macro)             #macro
#define VERSION_TEXT(major, minor) TEXT_OF(major) "." TEXT_OF(minor)

enum {
    HISTORY_LINES = 1000,
    HISTORY_CHARS = 1 << 16, /* a longer line is not kept in the history */
    INLINE_CHARS = 500,      /* a longer paste is shown as a label */
    INLINE_LINES = 3,
    PROMPT_CHARS = 64,
    LABEL_BYTES = 48,
    /* A byte that is not UTF-8, as a lone surrogate, which no UTF-8 gives. */
    NOT_UTF8 = 0xdc00,
    LEAVE_KEY =
        3 /* the character whose command puts the cursor at the end, before a line is left */
};

struct paste {
    char label[LABEL_BYTES];
    struct str text;
    bool gone;    /* its text had to make room */
    bool deleted; /* its label was, on purpose */
};

struct edit {
    struct keyboard *keys;
    EditLine *el;
    HistoryW *history;
    FILE *out, *complaints; /* the terminal; memory that nobody reads */
    locale_t utf8;          /* 0: none here */
    wchar_t prompt[PROMPT_CHARS];
    char window[4]; /* bytes of a character that is not complete */
    size_t in_window;
    struct paste *pastes;
    size_t n_pastes, kept_bytes;
    size_t first_new; /* pastes from here on were made in this line */
    /* Why the line is left before its end. The cursor goes to the end of the line first
     * (`leaving`). */
    enum edit_result why;
    bool leaving;
};

/* What the functions that libedit calls work on. */
static struct edit *owner(EditLine *el)
{
    void *ed = NULL;
    el_wget(el, EL_CLIENTDATA, &ed);
    return ed;
}

static wchar_t *show_prompt(EditLine *el)
{
    return owner(el)->prompt;
}

/* ---- characters in --------------------------------------------------------------------------- */

static size_t length_by_lead(unsigned char lead)
{
    return lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
}

/* Take the character that the window holds, or its first byte if that begins none. False: bytes of
 * it are still to come. */
static bool take_window(wchar_t *c, struct edit *ed)
{
    uint32_t code;
    size_t n = ed->in_window;
    if (!n) return false;
    unsigned char lead = (unsigned char)ed->window[0];
    size_t len = utf8_decode(&code, ed->window, n);
    if (!len) {
        bool continued = n == 1 || ((unsigned char)ed->window[n - 1] & 0xc0) == 0x80;
        if (n < length_by_lead(lead) && continued) return false;
        code = NOT_UTF8 + lead;
        len = 1;
    }
    *c = (wchar_t)code;
    ed->in_window = n - len;
    memmove(ed->window, ed->window + len, n - len);
    return true;
}

/* The terminal has another size, or another program has drawn on it. */
static void draw_again(struct edit *ed)
{
    fputs("\r\033[J", ed->out);
    el_resize(ed->el);
    el_wset(ed->el, EL_REFRESH);
}

static void leave(struct edit *ed, enum edit_result why)
{
    ed->why = why;
    ed->leaving = true;
}

/* Drop the rest of a line that is too long, in whatever pieces it comes. */
static enum edit_result drop_line(struct edit *ed)
{
    int ch;
    ed->in_window = 0;
    while ((ch = keyboard_byte(ed->keys)) >= 0 || ch == KEY_REDRAW)
        if (ch == '\r' || ch == '\n') return EDIT_TOO_LONG;
    return ch == KEY_END ? EDIT_END : EDIT_INTERRUPT;
}

static bool is_full(struct edit *ed)
{
    const LineInfoW *line = el_wline(ed->el);
    return line->lastchar - line->buffer >= EDIT_LINE_CHARS;
}

/* libedit asks for the next character: 1, or -1 to leave the line. */
static int next_char(EditLine *el, wchar_t *c)
{
    struct edit *ed = owner(el);
    if (ed->leaving) return -1;
    if (is_full(ed)) {
        leave(ed, drop_line(ed));
        *c = LEAVE_KEY;
        return 1;
    }
    while (!take_window(c, ed)) {
        int ch = keyboard_byte(ed->keys);
        if (ch >= 0) {
            ed->window[ed->in_window++] = (char)ch;
        } else if (ch == KEY_REDRAW) {
            draw_again(ed);
        } else {
            leave(ed, ch == KEY_END ? EDIT_END : EDIT_INTERRUPT);
            ed->in_window = 0;
            *c = LEAVE_KEY;
            return 1;
        }
    }
    return 1;
}

static unsigned char on_leave(EditLine *el, wint_t ch)
{
    const LineInfoW *line = el_wline(el);
    (void)ch;
    el_cursor(el, (int)(line->lastchar - line->cursor));
    return CC_CURSOR;
}

/* ---- pastes ---------------------------------------------------------------------------------- */

/* Add a byte of a paste. Terminals send its line breaks as CR, as they are, or as CR LF. */
static void add_pasted(struct str *text, char c, bool *after_cr)
{
    if (!(c == '\n' && *after_cr)) str_addc(text, c == '\r' ? '\n' : c);
    *after_cr = c == '\r';
}

/* Read up to the end of the paste. Of one that is too long, or that Ctrl-C cuts off, the rest is
 * dropped. */
static enum edit_result read_paste(struct str *text, struct edit *ed)
{
    static const char end[] = "\033[201~";
    enum { END = sizeof end - 1, QUIET_MS = 300 };
    bool after_cr = false, too_long = false;
    size_t matched = 0;
    while (matched < END) {
        int ch = keyboard_byte(ed->keys);
        if (ch == KEY_REDRAW) continue;
        if (ch == KEY_END) return EDIT_END;
        if (ch == KEY_INTERRUPT) {
            keyboard_drain(ed->keys, QUIET_MS);
            return EDIT_INTERRUPT;
        }
        if (ch == end[matched]) {
            matched++;
            continue;
        }
        for (size_t i = 0; !too_long && i < matched; i++) add_pasted(text, end[i], &after_cr);
        matched = ch == end[0];
        if (!matched && !too_long) add_pasted(text, (char)ch, &after_cr);
        if (text->n <= EDIT_PASTE_BYTES) continue;
        too_long = true;
        str_free(text);
    }
    return too_long ? EDIT_TOO_LONG : text->failed ? EDIT_NO_MEMORY : EDIT_LINE;
}

static size_t count_lines(const struct str *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->n; i++) n += text->p[i] == '\n';
    return n + (text->n && text->p[text->n - 1] != '\n');
}

/* The characters of a short text that shows nothing but letters, for libedit; false if it is
 * another. */
static bool short_text(wchar_t out[INLINE_CHARS + 1], const struct str *text)
{
    size_t n = 0, len;
    uint32_t c = 0;
    if (count_lines(text) > INLINE_LINES) return false;
    for (size_t i = 0; i < text->n; i += len) {
        bool safe;
        len = safe_step(&safe, text->p + i, text->n - i, SAFE_LINE);
        if (n == INLINE_CHARS || !(safe || text->p[i] == '\n')) return false;
        utf8_decode(&c, text->p + i, len);
        out[n++] = (wchar_t)c;
    }
    out[n] = 0;
    return true;
}

static const struct paste *paste_labelled(const struct edit *ed, const char *at, size_t n)
{
    for (size_t i = 0; i < ed->n_pastes; i++) {
        const char *label = ed->pastes[i].label;
        size_t len = strlen(label);
        if (len <= n && !memcmp(label, at, len)) return &ed->pastes[i];
    }
    return NULL;
}

/* "[12 lines]", and "[12 lines #2]" if there is one already. */
static void name_paste(struct paste *p, const struct edit *ed)
{
    size_t lines = count_lines(&p->text);
    const char *size = lines > 1 ? str_count(lines, "line") : str_count(p->text.n, "byte");
    snprintf(p->label, sizeof p->label, "[%s]", size);
    for (size_t i = 2; paste_labelled(ed, p->label, strlen(p->label)); i++)
        snprintf(p->label, sizeof p->label, "[%s #%zu]", size, i);
}

/* The oldest texts make room for a new one. */
static void make_room(struct edit *ed, size_t n)
{
    for (size_t i = 0; i < ed->n_pastes && ed->kept_bytes + n > EDIT_KEPT_BYTES; i++) {
        struct paste *p = &ed->pastes[i];
        ed->kept_bytes -= p->text.n;
        p->gone |= p->text.n > 0;
        str_free(&p->text);
    }
}

/* Keep the text, which is taken over, under a label. */
static const struct paste *keep_paste(struct edit *ed, struct str *text)
{
    struct err e;
    make_room(ed, text->n);
    struct paste *more = mem_resize(ed->pastes, ed->n_pastes + 1, sizeof *more, &e);
    if (!more) return NULL;
    ed->pastes = more;
    struct paste *p = &more[ed->n_pastes];
    *p = (struct paste){ .text = *text };
    *text = (struct str){ 0 };
    name_paste(p, ed);
    ed->n_pastes++;
    ed->kept_bytes += p->text.n;
    return p;
}

/* Insert the text, or a label for it. */
static bool insert_paste(struct edit *ed, struct str *text)
{
    wchar_t shown[INLINE_CHARS + 1];
    if (!text->n) return true;
    if (!short_text(shown, text)) {
        const struct paste *p = keep_paste(ed, text);
        if (!p) return false;
        swprintf(shown, INLINE_CHARS, L"%s", p->label);
    }
    return el_winsertstr(ed->el, shown) == 0;
}

static unsigned char on_paste(EditLine *el, wint_t ch)
{
    struct edit *ed = owner(el);
    struct str text = { 0 };
    enum edit_result how = read_paste(&text, ed);
    if (how == EDIT_LINE && !insert_paste(ed, &text)) how = EDIT_NO_MEMORY;
    str_free(&text);
    if (how == EDIT_LINE) return CC_REFRESH;
    leave(ed, how);
    return on_leave(el, ch);
}

/* Backspace deletes a label as a whole. */
static unsigned char on_backspace(EditLine *el, wint_t ch)
{
    struct edit *ed = owner(el);
    const LineInfoW *line = el_wline(el);
    ptrdiff_t before = line->cursor - line->buffer, n = 1;
    (void)ch;
    if (!before) return CC_ERROR;
    for (size_t i = 0; i < ed->n_pastes; i++) {
        wchar_t label[LABEL_BYTES];
        swprintf(label, LABEL_BYTES, L"%s", ed->pastes[i].label);
        ptrdiff_t len = (ptrdiff_t)wcslen(label);
        if (len > before || wmemcmp(line->cursor - len, label, (size_t)len) != 0) continue;
        ed->pastes[i].deleted = true;
        n = len;
    }
    el_deletestr(el, (int)n);
    return CC_REFRESH;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* What terminals send, and what people expect of it. libedit binds the arrows. */
static const struct {
    const wchar_t *keys, *command;
} bindings[] = {
    { L"\033[200~", L"paste" },
    { L"\033[201~", L"ed-ignore" },
    { L"\x7f", L"backspace" },
    { L"\b", L"backspace" },
    { L"\x03", L"leave" },
    { L"\r", L"ed-newline" },
    { L"\n", L"ed-newline" },
    { L"\x17", L"ed-delete-prev-word" },
    { L"\033[H", L"ed-move-to-beg" },
    { L"\033[1~", L"ed-move-to-beg" },
    { L"\033[7~", L"ed-move-to-beg" },
    { L"\033OH", L"ed-move-to-beg" },
    { L"\033[F", L"ed-move-to-end" },
    { L"\033[4~", L"ed-move-to-end" },
    { L"\033[8~", L"ed-move-to-end" },
    { L"\033OF", L"ed-move-to-end" },
    { L"\033[3~", L"ed-delete-next-char" },
    { L"\033[1;5C", L"em-next-word" },
    { L"\033[1;3C", L"em-next-word" },
    { L"\033[1;5D", L"ed-prev-word" },
    { L"\033[1;3D", L"ed-prev-word" },
    /* Insert, the pages, functions: else a part of their codes would be typed */
    { L"\033[2~", L"ed-ignore" },
    { L"\033[5~", L"ed-ignore" },
    { L"\033[6~", L"ed-ignore" },
    { L"\033[11~", L"ed-ignore" },
    { L"\033[12~", L"ed-ignore" },
    { L"\033[13~", L"ed-ignore" },
    { L"\033[14~", L"ed-ignore" },
    { L"\033[15~", L"ed-ignore" },
    { L"\033[17~", L"ed-ignore" },
    { L"\033[18~", L"ed-ignore" },
    { L"\033[19~", L"ed-ignore" },
    { L"\033[20~", L"ed-ignore" },
    { L"\033[21~", L"ed-ignore" },
    { L"\033[23~", L"ed-ignore" },
    { L"\033[24~", L"ed-ignore" },
    { L"\033OP", L"ed-ignore" },
    { L"\033OQ", L"ed-ignore" },
    { L"\033OR", L"ed-ignore" },
    { L"\033OS", L"ed-ignore" },
};

static bool bind_keys(EditLine *el)
{
    bool failed = el_wset(el, EL_EDITOR, L"emacs") != 0;
    failed |= el_wset(el, EL_ADDFN, L"paste", L"insert a paste", on_paste) != 0;
    failed |= el_wset(el, EL_ADDFN, L"backspace", L"delete a character or a label", on_backspace);
    failed |= el_wset(el, EL_ADDFN, L"leave", L"leave the line", on_leave) != 0;
    /* letters of Latin-1, which would be commands where there is no UTF-8 locale */
    for (wchar_t c = 0x80; c < 0x100; c++) {
        const wchar_t key[] = { c, 0 };
        failed |= el_wset(el, EL_BIND, key, L"ed-insert", NULL) != 0;
    }
    for (size_t i = 0; i < sizeof bindings / sizeof *bindings; i++)
        failed |= el_wset(el, EL_BIND, bindings[i].keys, bindings[i].command, NULL) != 0;
    return !failed;
}

/* ---- the editor ------------------------------------------------------------------------------ */

/* A locale whose characters are UTF-8: the user's, else one that most systems have. */
static locale_t utf8_locale(void)
{
    static const char *const names[] = { "", "C.UTF-8", "en_US.UTF-8" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        locale_t l = newlocale(LC_CTYPE_MASK, names[i], (locale_t)0);
        if (l && !strcmp(nl_langinfo_l(CODESET, l), "UTF-8")) return l;
        if (l) freelocale(l);
    }
    return (locale_t)0;
}

/* libedit's two modes, "edit" and "execute", which it changes between at each line. Canonical mode
 * would cut lines and echo would mix with answers, so neither is in the second: what is typed
 * during an answer waits unseen. Without ICRNL and INLCR a paste has its own line breaks. */
static bool set_modes(EditLine *el)
{
    return !el_wset(el, EL_SETTY, L"-d", L"-icrnl", L"-inlcr", NULL) &&
           !el_wset(el, EL_SETTY, L"-x", L"-echo", L"-icanon", L"-iexten", L"-icrnl", NULL);
}

/* libedit complains about an unknown terminal on its own; the usual sequences work on most. */
static void choose_terminal(EditLine *el)
{
    if (el_wset(el, EL_TERMINAL, getenv("TERM")) && el_wset(el, EL_TERMINAL, "xterm"))
        el_wset(el, EL_TERMINAL, "vt100");
}

static bool set_up(struct edit *ed)
{
    HistEventW event;
    ed->out = fdopen(dup(STDERR_FILENO), "w");
    ed->complaints = fdopen(memfd_create("complaints", MFD_CLOEXEC), "w");
    if (!ed->out || !ed->complaints) return false;
    ed->history = history_winit();
    ed->el = el_init("lorac", stdin, ed->out, ed->complaints);
    if (!ed->history || !ed->el) return false;
    choose_terminal(ed->el);
    history_w(ed->history, &event, H_SETSIZE, HISTORY_LINES);
    history_w(ed->history, &event, H_SETUNIQUE, 1);
    return bind_keys(ed->el) && set_modes(ed->el) && !el_wset(ed->el, EL_CLIENTDATA, (void *)ed) &&
           !el_wset(ed->el, EL_HIST, history_w, ed->history) &&
           !el_wset(ed->el, EL_GETCFN, next_char) &&
           !el_wset(ed->el, EL_PROMPT_ESC, show_prompt, L'\1');
}

/* Whether the cursor can be moved: neither in Emacs' shell nor on a printer. */
static bool is_capable(void)
{
    const char *term = getenv("TERM");
    return term && *term && strcmp(term, "dumb") != 0 && strcmp(term, "emacs") != 0;
}

int edit_open(struct edit **out, struct keyboard *k, struct str *notes, struct err *e)
{
    *out = NULL;
    if (!k->person) return 0;
    if (!is_capable()) {
        str_addz(notes, "TERM names no terminal that can move its cursor: there is no line editing "
                        "and no history, and each line of a paste is a message\n");
        return str_error(notes, e);
    }
    struct edit *ed = mem_alloc(1, sizeof *ed, e);
    if (!ed) return e->code;
    ed->keys = k;
    ed->utf8 = utf8_locale();
    locale_t before = uselocale(ed->utf8);
    bool fine = set_up(ed);
    uselocale(before);
    if (!fine) {
        edit_close(ed);
        return err_set(e, "cannot edit lines on this terminal; TERM=dumb lorac chat does without");
    }
    if (!ed->utf8) {
        str_addz(notes, "this system has no UTF-8 locale: while you type, letters outside ASCII "
                        "are shown by their numbers, such as \\U+00E9\n");
    }
    keyboard_mark_pastes();
    *out = ed;
    return str_error(notes, e);
}

void edit_close(struct edit *ed)
{
    if (!ed) return;
    locale_t before = uselocale(ed->utf8);
    if (ed->el) {
        el_wset(ed->el, EL_EDITMODE, 0); /* else it would drop what was typed ahead */
        el_end(ed->el);
    }
    if (ed->history) history_wend(ed->history);
    uselocale(before);
    if (ed->utf8) freelocale(ed->utf8);
    if (ed->out) fclose(ed->out);
    if (ed->complaints) fclose(ed->complaints);
    for (size_t i = 0; i < ed->n_pastes; i++) str_free(&ed->pastes[i].text);
    mem_free(ed->pastes);
    mem_free(ed);
}

/* ---- a line ---------------------------------------------------------------------------------- */

/* Between two \1 is what takes no room on the screen. */
static void set_prompt(struct edit *ed, const char *prompt, bool bold)
{
    swprintf(ed->prompt, PROMPT_CHARS, L"%s%s%s ", bold ? "\1\033[1m\1" : "", prompt,
             bold ? "\1\033[0m\1" : "");
}

/* libedit's characters as bytes again. */
static void add_bytes(struct str *out, const wchar_t *line, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char bytes[4];
        uint32_t c = (uint32_t)line[i];
        if (c >= NOT_UTF8 && c < NOT_UTF8 + 256)
            str_addc(out, (char)(c - NOT_UTF8));
        else
            str_add(out, bytes, utf8_write(bytes, c));
    }
}

/* Append the line with the texts of pastes in place of their labels. */
static enum edit_result expand(struct str *out, const struct edit *ed, const struct str *line)
{
    for (size_t i = 0; i < line->n;) {
        const struct paste *p = line->p[i] == '[' ? paste_labelled(ed, line->p + i, line->n - i)
                                                  : NULL;
        if (p && p->gone) return EDIT_GONE;
        if (p)
            str_add(out, p->text.p, p->text.n);
        else
            str_addc(out, line->p[i]);
        i += p ? strlen(p->label) : 1;
    }
    return out->failed ? EDIT_NO_MEMORY : EDIT_LINE;
}

static const char *lost_label(const struct edit *ed, const struct str *line)
{
    for (size_t i = ed->first_new; i < ed->n_pastes; i++) {
        const struct paste *p = &ed->pastes[i];
        if (!p->deleted && !(line->n && strstr(line->p, p->label))) return p->label;
    }
    return NULL;
}

static enum edit_result finish(struct str *out, const char **lost, struct edit *ed,
                               const wchar_t *text, size_t n)
{
    HistEventW event;
    struct str line = { 0 };
    if (n > 1 && n <= HISTORY_CHARS) history_w(ed->history, &event, H_ENTER, text);
    add_bytes(&line, text, n - (text[n - 1] == L'\n'));
    *lost = lost_label(ed, &line);
    enum edit_result how = line.failed ? EDIT_NO_MEMORY : expand(out, ed, &line);
    str_free(&line);
    return how;
}

enum edit_result edit_read(struct str *line, const char **lost, struct edit *ed, const char *prompt,
                           bool bold)
{
    int n;
    *lost = NULL;
    ed->why = EDIT_END;
    ed->leaving = false;
    ed->first_new = ed->n_pastes;
    set_prompt(ed, prompt, bold);
    locale_t before = uselocale(ed->utf8);
    const wchar_t *text = el_wgets(ed->el, &n);
    bool whole = text && n > 0 && !ed->leaving;
    enum edit_result how = whole ? finish(line, lost, ed, text, (size_t)n) : ed->why;
    if (ed->leaving) fputc('\n', ed->out), fflush(ed->out);
    uselocale(before);
    return how;
}

const char *edit_version(void)
{
    return VERSION_TEXT(LIBEDIT_MAJOR, LIBEDIT_MINOR);
}

#else

struct edit {
    char none;
};

int edit_open(struct edit **ed, struct keyboard *k, struct str *notes, struct err *e)
{
    *ed = NULL;
    if (!k->person) return 0;
    str_addz(notes, "this lorac was built without libedit: there is no line editing and no "
                    "history, and each line of a paste is a message\n");
    return str_error(notes, e);
}

void edit_close(struct edit *ed)
{
    (void)ed;
}

enum edit_result edit_read(struct str *line, const char **lost, struct edit *ed, const char *prompt,
                           bool bold)
{
    (void)line, (void)lost, (void)ed, (void)prompt, (void)bold;
    return EDIT_END; /* never called: no editor can be opened */
}

const char *edit_version(void)
{
    return NULL;
}

#endif
