#include "src/commands/chat_input.h"

#include <stdio.h>
#include <unistd.h>

#include "src/base/term.h"

/* Linux gives a program at most this much of a line that it edits itself (canonical mode), and
 * drops the rest without a word. */
enum { TERMINAL_LINE = 4095 };

int chat_input_open(struct chat_input *in, struct err *e)
{
    struct str notes = { 0 };
    in->editor = NULL;
    int code = keyboard_open(&in->keys, e);
    if (!code) code = edit_open(&in->editor, &in->keys, &notes, e);
    notes_print(&notes);
    str_free(&notes);
    return code;
}

void chat_input_close(struct chat_input *in)
{
    edit_close(in->editor);
    in->editor = NULL;
    keyboard_close(&in->keys);
}

void chat_input_pause(struct chat_input *in)
{
    if (!in->editor) keyboard_hide(&in->keys);
}

void chat_input_resume(struct chat_input *in)
{
    if (!in->editor && keyboard_show(&in->keys))
        fprintf(stderr, "(what was typed during the answer is dropped)\n");
}

/* ---- a line ---------------------------------------------------------------------------------- */

static enum edit_result edited_line(struct str *line, struct chat_input *in, bool more)
{
    const char *lost;
    enum edit_result how = edit_read(line, &lost, in->editor, more ? "|" : ">",
                                     term_has_color(stderr));
    if (how == EDIT_LINE && lost)
        fprintf(stderr, "(the paste %s is not in the message: its label is not in the line)\n",
                lost);
    return how;
}

static void print_prompt(bool more)
{
    bool colored = term_has_color(stderr);
    fprintf(stderr, "%s%s%s ", colored ? "\033[1m" : "", more ? "|" : ">",
            colored ? "\033[0m" : "");
}

/* A line as it comes. The last one of a file may lack its end. */
static enum edit_result plain_line(struct str *line, struct chat_input *in, bool more)
{
    size_t before = line->n, n = 0;
    int ch;
    if (in->keys.person) print_prompt(more);
    while ((ch = keyboard_byte(&in->keys)) != '\n' && ch != KEY_END && ch != KEY_INTERRUPT) {
        if (ch < 0) continue;
        if (before + n++ < INPUT_BYTES) str_addc(line, (char)ch);
    }
    if (ch == KEY_INTERRUPT) return EDIT_INTERRUPT;
    if (ch == KEY_END && !n) return EDIT_END;
    if (line->failed) return EDIT_NO_MEMORY;
    return before + n > INPUT_BYTES ? EDIT_TOO_LONG : EDIT_LINE;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/* Why there is no line; the kernel's cut looks like a line of just this length. */
static void tell(const struct chat_input *in, enum edit_result how, bool cut)
{
    if (how == EDIT_INTERRUPT) {
        fprintf(stderr, "%s(/quit or Ctrl-D ends)\n", in->editor ? "" : "\n");
    } else if (how == EDIT_GONE) {
        fprintf(stderr, "(nothing is sent: that paste is no longer kept; paste it again)\n");
    } else if (how == EDIT_NO_MEMORY) {
        fprintf(stderr, "(nothing is sent: there is not enough memory for that line)\n");
    } else if (cut) {
        fprintf(stderr,
                "(nothing is sent: this terminal cuts lines at %d bytes. End parts of the line\n"
                " with \\, or send it from a file: lorac chat ... <FILE)\n",
                TERMINAL_LINE);
    } else {
        fprintf(stderr, "(nothing is sent: a message has at most %d MiB, a typed line %d MiB)\n",
                INPUT_BYTES >> 20, EDIT_LINE_CHARS >> 20);
    }
}

enum input chat_input_read(struct str *text, struct chat_input *in)
{
    str_clear(text);
    for (bool more = false;; more = true) {
        size_t before = text->n;
        enum edit_result how = in->editor ? edited_line(text, in, more)
                                          : plain_line(text, in, more);
        bool cut = how == EDIT_LINE && !in->editor && in->keys.terminal &&
                   text->n - before >= TERMINAL_LINE;
        if (how == EDIT_LINE && text->n > INPUT_BYTES) how = EDIT_TOO_LONG;
        if (how == EDIT_END) return text->n ? INPUT_TEXT : INPUT_END;
        if (how != EDIT_LINE || cut) {
            tell(in, how, cut);
            return INPUT_NONE;
        }
        if (!text->n || text->p[text->n - 1] != '\\') return INPUT_TEXT;
        text->p[text->n - 1] = '\n';
    }
}
