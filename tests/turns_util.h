/* Conversations as one line of text, for tests of what becomes of records. */
#ifndef LORAC_TESTS_TURNS_UTIL_H
#define LORAC_TESTS_TURNS_UTIL_H

#include "src/data/conversation.h"

/* "S:text U:text A:text A-:not trained T:text", "<i" after the letter for a parent in a forest. */
static inline void show(struct str *out, const struct conversation *c)
{
    str_clear(out);
    for (size_t i = 0; i < c->n; i++) {
        const struct turn *t = &c->turns[i];
        str_addf(out, "%s%c", i ? " | " : "", "SUAT"[t->role]);
        if (c->forest && t->parent != TURN_ROOT) str_addf(out, "<%u", t->parent);
        if (t->role == ROLE_ASSISTANT && !t->train) str_addc(out, '-');
        str_addc(out, ':');
        str_add(out, t->text, t->n);
        if (t->input) str_addf(out, "(%.*s)", (int)t->input_n, t->input);
    }
}

#endif
