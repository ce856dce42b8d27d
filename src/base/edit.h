/* A line that is edited on a terminal (libedit): arrows, Home, End, words, history, letters of any
 * width. A paste that the terminal marks (ESC[200~ ... ESC[201~) is one insertion: line breaks in
 * it do not end the line.
 *
 * A short paste is shown as it is. Of another one the line shows a label, such as "[12 lines]", and
 * edit_read() gives the text in its place, also when the label comes from the history. The history
 * is in memory only. libedit draws at most one screen: of a longer line it shows the end.
 *
 * Bytes are read and written as UTF-8, whatever the locale is: the editor brings its own, for its
 * thread and its calls only. Bytes that are not UTF-8 come through as they are. */
#ifndef LORAC_BASE_EDIT_H
#define LORAC_BASE_EDIT_H

#include "src/base/keyboard.h"
#include "src/base/str.h"

enum {
    EDIT_LINE_CHARS = 1 << 20,   /* what is typed in a line */
    EDIT_PASTE_BYTES = 16 << 20, /* one paste */
    EDIT_KEPT_BYTES = 64 << 20,  /* all pastes that the history can bring back */
};

struct edit;

/* Begin to edit on the terminal of `k`, which must stay open. *ed is NULL if that is not possible
 * (no terminal, no libedit in this program, a terminal that cannot move its cursor). `notes` gets a
 * line about what the user has to do without, if a person types. */
int edit_open(struct edit **ed, struct keyboard *k, struct str *notes, struct err *e);
/* NULL is allowed. The keyboard gives the terminal back when it is closed. */
void edit_close(struct edit *ed);

enum edit_result {
    EDIT_LINE,
    EDIT_END,       /* Ctrl-D on an empty line, or the terminal is gone */
    EDIT_INTERRUPT, /* Ctrl-C: the line is dropped */
    EDIT_TOO_LONG,  /* a line of more than EDIT_LINE_CHARS or a paste of more than
                       EDIT_PASTE_BYTES: all of it is dropped, to its end */
    EDIT_GONE,      /* the history brought back a label whose text is no longer kept */
    EDIT_NO_MEMORY
};

/* Read one line after the prompt (ASCII; bold if `bold`) and append it, without its end, to `line`.
 * *lost: the label of a paste into this line that is no longer in it, or NULL. Except after Ctrl-D
 * the cursor is then at the beginning of a row. */
enum edit_result edit_read(struct str *line, const char **lost, struct edit *ed, const char *prompt,
                           bool bold);

/* Whether this program was built with libedit, and the version of its interface ("2.11"). */
const char *edit_version(void);

#endif
