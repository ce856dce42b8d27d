/* Prompt templates: a conversation to token ids with its targets marked.
 *
 * A template is one row of a table (template_row.h), or a user's own. Rendering gives runs: a run is one text that is
 * tokenised as a whole (prompt and answer together, since a prompt that ends in a space does not
 * tokenise as a prefix of prompt + answer), with special tokens placed between runs by id. Text of
 * a record is only ever text: what spells `</s>` or `[INST]` in it becomes ordinary pieces.
 *
 * Targets. Which characters of a run are targets is known by offset, and a token is a target when
 * it covers at least one character of a trained assistant message, or lies between the answer's
 * last character and its EOS, or is that EOS. With train_on_eos off neither the EOS nor what lies
 * before it is one. The first token of an example is never a target: nothing predicts it.
 *   responses      every assistant message but those with train = false
 *   last_response  the last assistant message, unless it has train = false
 *   everything     all tokens but the first, except assistant messages with train = false
 *
 * Turns that are context (paths of a tree have them in common) are never targets, whatever train_on
 * says. Segments are texts of the user's own making: there a special token that is spelt out is one;
 * nothing is added, and the label decides. With parse_special it is one in a text, too, as transformers
 * reads it: the ids of text between two of them are those of the text alone. A text that begins with
 * the BOS, or ends with an EOS (white space behind it apart), gets no other. */
#ifndef LORAC_DATA_TEMPLATE_H
#define LORAC_DATA_TEMPLATE_H

#include "src/base/hash.h"
#include "src/base/wordlists.h"
#include "src/data/conversation.h"
#include "src/data/template_row.h"
#include "src/tokenizer/tokenizer.h"

/* The template that writes what the model's own chat template writes, as transformers has it write:
 * a row of the table, or one like it with what is the model's own (freed with template_free()). NULL
 * with a message that says which to choose when it is not one we know or there is none. */
const struct template *template_of_model(const struct tokenizer *tok, struct err *e);

/* An error unless the tokenizer has the special tokens that the template places: names the one that
 * is missing and the templates that would work. t may be NULL (plain). */
int template_check(const struct template *t, const struct tokenizer *tok, struct err *e);

/* Whether the template joins texts without any frame of its own. t may be NULL (plain). */
bool template_is_plain(const struct template *t);

/* A digest of all that the row says, so that what was rendered by it can be told from what another
 * row, or another version of it, would give. t may be NULL (plain). */
int template_digest(uint8_t digest[SHA256_BYTES], const struct template *t, struct err *e);

struct render_options {
    enum train_on train_on;
    bool train_on_eos;
    bool parse_special; /* in RECORD_TEXT a special token that is spelt out is one */
};

/* An example: ids and, for each, whether it is a target. Zero-initialised it is empty; its memory
 * is reused by the next encoding. */
struct encoded {
    struct tokens tokens; /* spans are not meaningful after encoding */
    uint8_t *target;      /* tokens.n flags */
    size_t target_cap;
    size_t *ends; /* for each assistant turn: the number of tokens up to its EOS, that included */
    size_t n_ends, ends_cap;
    struct str run, mask, content; /* scratch */
};
void encoded_free(struct encoded *x);

/* Tokenise a record for training (out is overwritten). Exactly one BOS (where the tokenizer or the
 * template wants one) and one EOS per answer; text gets an EOS at its end. For RECORD_TOKENS
 * nothing is added, and t and tok may be NULL. t = NULL is plain. Errors: turns in an order that
 * the template cannot write, template_check(), memory. They name no file: callers prefix where the
 * record is. */
int template_encode(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, const struct render_options *o, struct err *e);

/* Tokenise a prompt for generation: the turns of c (ending with a user turn; or a text), then the
 * header behind which the model answers, without the spaces at its end. Those ids are a prefix of
 * what training put there, unless the tokenizer joins the header's last character with the answer's
 * first one: byte-level BPE does for an answer that begins with white space behind a line feed
 * (chatml, alpaca), and any may for alpaca_stanford and plain, whose border is inside a line. */
int template_prompt(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, struct err *e);

/* The token that ends an answer under this template: its EOS; -1: the tokenizer does not have it. */
int32_t template_end(const struct template *t, const struct tokenizer *tok);

/* Whether the token ends an answer under this template (its EOS, or the tokenizer's). */
bool template_stops(const struct template *t, const struct tokenizer *tok, int32_t id);

#endif
