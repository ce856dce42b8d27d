/* What a person types, or a file on stdin: its bytes, Ctrl-C, and the modes of the terminal.
 *
 * While a keyboard is open, SIGINT is a request that the program takes when it likes: a first
 * Ctrl-C stops an answer or clears a line, and a second one before the first was taken ends the
 * process. Whatever ends or stops the process (a signal, Ctrl-Z) gives the terminal back first, as
 * it was before keyboard_open(). A process has one keyboard at a time. */
#ifndef LORAC_BASE_KEYBOARD_H
#define LORAC_BASE_KEYBOARD_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

struct keyboard {
    bool terminal;    /* stdin is one */
    bool person;      /* stderr, too: a person types and reads */
    char bytes[4096]; /* read and not yet handed out */
    size_t at, n;
};

int keyboard_open(struct keyboard *k, struct err *e);
/* Give the terminal back, and signals what they did before. Harmless if it is closed. */
void keyboard_close(struct keyboard *k);

/* What keyboard_byte() returns beside bytes. KEY_REDRAW: the window has another size, or the
 * program continues after Ctrl-Z; what is on the screen has to be drawn again. */
enum { KEY_END = -1, KEY_INTERRUPT = -2, KEY_REDRAW = -3 };

/* Wait for the next byte. With KEY_INTERRUPT, what was typed before Ctrl-C is dropped, as terminals
 * do it. */
int keyboard_byte(struct keyboard *k);
/* Read and drop bytes until nothing has come for `quiet_ms`, or Ctrl-C comes. */
void keyboard_drain(struct keyboard *k, int quiet_ms);

/* True from a Ctrl-C on until it is taken: to be looked at during long work. */
extern volatile bool keyboard_interrupted;
/* Whether there was a Ctrl-C, which is taken. What was typed before it is dropped. */
bool keyboard_take_interrupt(struct keyboard *k);

/* Ask the terminal to mark pastes (ESC[200~ before, ESC[201~ after them) until the keyboard is
 * closed. */
void keyboard_mark_pastes(void);

/* For a terminal in canonical mode, which no editor reads: between the two nothing that is typed is
 * shown. keyboard_show() drops it, and returns whether there was any. */
void keyboard_hide(const struct keyboard *k);
bool keyboard_show(struct keyboard *k);

#endif
