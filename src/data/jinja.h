/* What a chat template would write around the texts of a conversation, found without running it on
 * any.
 *
 * The program is read for one order of roles at a time. The texts themselves are marks that no rule
 * looks into: what asks for more of a text than where it goes, whether it is empty, or that it is
 * trimmed, is not understood, and neither is any word of Jinja that is not in jinja.c's tables. There
 * is no call into anything, no clock, no file, no loop but those over the few turns given, and the
 * work is bounded. A reading is thus either what transformers writes for all conversations of that
 * order, or an error.
 *
 * As in transformers: messages, add_generation_prompt, bos_token and eos_token are set, tools and
 * documents are none. Unlike there, strftime_now is not set: what a model is asked must not depend on
 * the day, and programs that look whether it is set have a fixed date for when it is not. */
#ifndef LORAC_DATA_JINJA_H
#define LORAC_DATA_JINJA_H

#include "src/data/jinja_case.h"
#include "src/data/jinja_lex.h"

/* Read the program for one case (out is overwritten). *refuses: it raises an exception for that order
 * of roles, out is what came before. */
int jinja_read(struct str *out, bool *refuses, const struct jinja_words *program,
               const struct jinja_case *c, struct err *e);

#endif
