/* A template written as the Jinja program that servers and transformers apply.
 *
 * Made from the row's parts, so that what is trained and what is served cannot part. The program
 * uses what Jinja2 and llama.cpp's interpreter both have: if, for, set, namespace, trim,
 * raise_exception. A chat message has no input of its own: of a template with an `input` the
 * instruction alone is written. */
#ifndef LORAC_DATA_TEMPLATE_JINJA_H
#define LORAC_DATA_TEMPLATE_JINJA_H

#include "src/data/template.h"

/* Append the program (t may be NULL: plain). Special tokens are spelt, since what is rendered is
 * tokenised with them read; BOS and EOS by bos_token and eos_token. *why: NULL, or why this tokenizer
 * would make something else of the text than was trained on, and nothing is to be used. */
int template_to_jinja(struct str *out, const char **why, const struct template *t,
                      const struct tokenizer *tok, struct err *e);

#endif
