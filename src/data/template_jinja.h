/* A template written as the Jinja program that servers and transformers apply.
 *
 * It is made from the row's parts, so that training and serving always agree. The program uses only
 * features of both Jinja2 and llama.cpp's interpreter: if, for, set, namespace, trim,
 * raise_exception. A chat message has no separate input: of a template with an `input` only the
 * instruction is written. */
#ifndef LORAC_DATA_TEMPLATE_JINJA_H
#define LORAC_DATA_TEMPLATE_JINJA_H

#include "src/data/template.h"

/* Append the program (t may be NULL: plain). Special tokens are spelt, because the rendered text is
 * tokenised with special tokens on; BOS and EOS are bos_token and eos_token. *why: NULL, or the
 * reason why this tokenizer would read the text differently from training; then do not use the
 * program. */
int template_to_jinja(struct str *out, const char **why, const struct template *t,
                      const struct tokenizer *tok, struct err *e);

#endif
