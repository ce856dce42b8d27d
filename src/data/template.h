/* Prompt templates: a conversation to text with its special tokens and its targets marked.
 *
 * A template is one row of a table in template.c. Rendering gives runs: a run is one text that is
 * tokenised as a whole (prompt and answer together, since a prompt that ends in a space does not
 * tokenise as a prefix of prompt + answer), possibly with special tokens placed before and after
 * it by id. Which characters are targets is known by offset, and a token is a target when it covers
 * at least one character of a trained assistant message, or lies between the answer's last character
 * and its EOS, or is that EOS. */
#ifndef LORAC_DATA_TEMPLATE_H
#define LORAC_DATA_TEMPLATE_H

#include "src/data/conversation.h"
#include "src/tokenizer/tokenizer.h"

enum train_on { TRAIN_ON_RESPONSES, TRAIN_ON_LAST_RESPONSE, TRAIN_ON_EVERYTHING };

struct template; /* a row */

/* The row of that name; NULL when unknown. */
const struct template *template_named(const char *name);
const char *template_name(const struct template *t);
const char *template_names(void); /* separated by spaces, for messages */

/* The row that is the model's own chat template (`template: model`), recognised by the content of
 * the model's chat_template; NULL with a message that says which to choose when it is not one we
 * know or there is none. */
const struct template *template_of_model(const struct tokenizer *tok, struct err *e);

struct render_options {
    enum train_on train_on;
    bool train_on_eos;
};

/* An example: ids and, for each, whether it is a target. */
struct encoded {
    struct tokens tokens; /* spans are not meaningful after encoding */
    uint8_t *target;      /* tokens.n flags */
    size_t target_cap;
    struct str scratch;
};
void encoded_free(struct encoded *x);

/* Tokenise a record for training (out is overwritten). Exactly one BOS (where the tokenizer or the
 * template wants one) and one EOS per answer. For RECORD_TOKENS nothing is added. A template whose
 * special tokens the tokenizer lacks (chatml on Llama 2's vocabulary) is an error that names the
 * token and the templates that would work. */
int template_encode(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, const struct render_options *o, struct err *e);

/* Tokenise a prompt for generation: the turns of c (ending with a user turn), then the header
 * behind which the model answers. Byte for byte what training put before an answer. */
int template_prompt(struct encoded *out, const struct template *t, const struct tokenizer *tok,
                    const struct conversation *c, struct err *e);

/* Whether the token ends an answer under this template (its EOS, or the tokenizer's). */
bool template_stops(const struct template *t, const struct tokenizer *tok, int32_t id);

#endif
