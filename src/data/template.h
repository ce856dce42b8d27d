/* Prompt templates: a conversation to token ids with its targets marked.
 *
 * A template is one row of a table (template_row.h), or a user's own. Rendering gives runs: a run
 * is one text that is tokenised as a whole, and special tokens are placed between runs by id.
 * Prompt and answer are one run, because a prompt that ends in a space does not tokenise as a
 * prefix of prompt + answer. Text of a record is always text: a `</s>` or `[INST]` in it becomes
 * ordinary pieces.
 *
 * Targets. The characters of a run that are targets are known by their offsets, and a token is a
 * target when it covers at least one character of a trained assistant message, or lies between the
 * answer's last character and its EOS, or is that EOS. With train_on_eos off neither the EOS nor
 * the tokens between answer and EOS are targets. The first token of an example is never a target,
 * because nothing predicts it.
 *   responses      every assistant message except those with train = false
 *   last_response  the last assistant message, unless it has train = false
 *   everything     all tokens except the first and those of assistant messages with train = false
 *
 * Turns that are context (paths of a tree share them) are never targets, whatever train_on says.
 * Segments are written by the user: a special token that is spelt out there becomes that token,
 * nothing is added, and the label decides what is learnt. With parse_special the special tokens of
 * text records are read, too, as in transformers: text between two of them has the ids that it
 * would have alone. A text that begins with the BOS, or ends with an EOS (and perhaps white space),
 * gets no second one. */
#ifndef LORAC_DATA_TEMPLATE_H
#define LORAC_DATA_TEMPLATE_H

#include "src/base/hash.h"
#include "src/base/wordlists.h"
#include "src/data/conversation.h"
#include "src/data/template_row.h"
#include "src/tokenizer/tokenizer.h"

/* The template that writes the same as the model's own chat template in transformers: a row of the
 * table, or a row changed to the model's own form (freed with template_free()). NULL when lorac
 * does not know the chat template or there is none; the message says which template to choose. */
const struct template *template_of_model(const struct tokenizer *tok, struct err *e);

/* An error unless the tokenizer has the special tokens that the template places; it names the
 * missing token and the templates that would work. t may be NULL (plain). */
int template_check(const struct template *t, const struct tokenizer *tok, struct err *e);

/* Whether the template joins texts and adds nothing to them. t may be NULL (plain). */
bool template_is_plain(const struct template *t);

/* A digest of the whole row. It changes when another row, or another version of this row, could
 * render something else. t may be NULL (plain). */
int template_digest(uint8_t digest[SHA256_BYTES], const struct template *t, struct err *e);

struct render_options {
    enum train_on train_on;
    bool train_on_eos;
    bool parse_special; /* a special token that is spelt out in a RECORD_TEXT becomes that token */
};

/* An example: ids and, for each, whether it is a target. It is empty when zero-initialised; the
 * next encoding reuses its memory. */
struct encoded {
    struct tokens tokens; /* spans are not meaningful after encoding */
    uint8_t *target;      /* tokens.n flags */
    size_t target_cap;
    size_t *ends; /* for each assistant turn: the number of tokens up to and with its EOS */
    size_t n_ends, ends_cap;
    struct str run, mask, content; /* scratch */
};
void encoded_free(struct encoded *x);

/* Tokenise a record for training (out is overwritten). Exactly one BOS (where the tokenizer or the
 * template wants one) and one EOS per answer; text gets an EOS at its end. For RECORD_TOKENS
 * nothing is added, and t and tok may be NULL. t = NULL is plain. Errors: turns in an order that
 * the template cannot write, template_check(), memory. They name no file: callers prefix the
 * record's place. */
int template_encode(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, const struct render_options *o, struct err *e);

/* Tokenise a prompt for generation: the turns of c (the last is a user turn; or c is a text), then
 * the header after which the model answers, without the spaces at its end. Those ids are a prefix
 * of the ids in training, unless the tokenizer joins the header's last character with the answer's
 * first one. Byte-level BPE does so for an answer that begins with white space after a line feed
 * (chatml, alpaca), and any tokenizer may do so for alpaca_stanford and plain, whose border is
 * inside a line. */
int template_prompt(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, struct err *e);

/* The token that ends an answer under this template: its EOS; -1: the tokenizer does not have
 * it. */
int32_t template_end(const struct template *t, const struct tokenizer *tok);

/* Whether the token ends an answer under this template (its EOS, or the tokenizer's). */
bool template_stops(const struct template *t, const struct tokenizer *tok, int32_t id);

#endif
