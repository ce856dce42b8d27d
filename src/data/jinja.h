/* Finds what a chat template writes around the texts of a conversation, without running it on a
 * real one.
 *
 * The program is read for one order of roles at a time. The texts are only marks: a program may ask
 * where a text goes, whether it is empty, and may trim it. Anything else, and any word of Jinja
 * that is not in jinja.c's tables, is an error. A program cannot call anything, has no clock and no
 * files, can loop only over the few turns given, and its work is limited. So a reading is either
 * the text that transformers writes for all conversations of that order, or an error.
 *
 * As in transformers, messages, add_generation_prompt, bos_token and eos_token are set; tools and
 * documents are none. Unlike in transformers, strftime_now is not set: a model's prompt must not
 * depend on the day, and programs that test whether it is set have a fixed date for the other
 * case. */
#ifndef LORAC_DATA_JINJA_H
#define LORAC_DATA_JINJA_H

#include "src/data/jinja_case.h"
#include "src/data/jinja_lex.h"

/* Read the program for one case (out is overwritten). *refuses: the program raises an exception for
 * that order of roles; out is the text before it. */
int jinja_read(struct str *out, bool *refuses, const struct jinja_words *program,
               const struct jinja_case *c, struct err *e);

#endif
