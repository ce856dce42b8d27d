/* A prompt template: how it writes the parts of a conversation.
 *
 * A part is text with names in braces: {system}, {user}, {input}, {answer} for the record's texts,
 * {date} for the text of `date`, {bos} and {eos} for the tokenizer's tokens, and any other name for
 * the special token of exactly that text ({<|im_end|>}), which is placed by id. {{ and }} are
 * braces. The EOS of an answer is the first special token after {answer}.
 *
 * The rows (BOS is at the front of the sequence where the tokenizer's own files ask for it, unless
 * the row says otherwise):
 *   alpaca, alpaca_lora  alpaca-lora's and torchtune's form, with the answer on the line below the
 *                        header; a record's system text replaces the preamble; several exchanges
 *                        have one preamble, the first exchange decides which of the two it is, and
 *                        a blank line follows each EOS (as LLaMA-Factory writes history)
 *   alpaca_stanford      the same with the answer directly after "### Response:"
 *   alpaca_qlora         the same with a space between header and answer, on one line
 *   vicuna_v0            FastChat's first form, ### Human and ### Assistant. It had no EOS (the
 *                        next ### ended an answer); here each answer has one
 *   vicuna_v1.1          FastChat's USER: and ASSISTANT: on one line, also for v1.3 and v1.5
 *   llama2               Meta's chat layout: BOS and EOS around every exchange, system text folded
 *                        into the first user turn, no white space around user texts and answers
 *   llama3               Meta's: headers with the role, texts stripped, <|eot_id|> after each
 *   llama3.1             the same as Llama 3.1, 3.2 and 3.3 have it: a system header in every
 *                        conversation, with two dates; today's is the programs' fixed one, never
 *                        the clock's, and `date` sets another
 *   chatml               <|im_start|>ROLE, the text, <|im_end|>
 *   smollm2              chatml as SmolLM2 has it: a default system text where a record has none
 *   qwen2.5              chatml as Qwen2.5 has it: the same with a different one
 *   mistral              [INST] without system tags, one BOS; system text and first user text are
 *                        one, as in mistral-common and the newer published chat templates
 *   mistral_compact      the same without the space before an answer, as in the first published
 *                        chat templates
 *   mistral_v0.1         the same with a space after an answer's EOS, as in the very first one
 *   mistral_v3           [INST] and [/INST] as special tokens (Mistral 7B v0.3, Mixtral 8x22B): no
 *                        space before [/INST], the system text in the last user turn
 *   zephyr               <|user|>, <|assistant|> on separate lines, EOS after every text; also
 *                        TinyLlama-Chat's
 *   oasst                <|prompter|> and <|assistant|> as special tokens, EOS after every text
 *   wizardlm             WizardLM-7B's: the instruction, ### Response:, no preamble (the later ones
 *                        are vicuna_v1.1)
 *   plain                the turns' texts as they are, EOS after an answer */
#ifndef LORAC_DATA_TEMPLATE_ROW_H
#define LORAC_DATA_TEMPLATE_ROW_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"
#include "src/base/str.h"

/* The parts of a row: name and meaning. A user's definition may set each of them. */
#define TEMPLATE_PARTS(P)                                                                          \
    P(begin, "in front of everything; absent: BOS where the tokenizer's files ask for it")         \
    P(system, "a system text; absent: there is no place for one, or it is folded")                 \
    P(fold, "a system text and the first user text made one user text")                            \
    P(default_system, "the system text where the record has none; absent: then none is written")   \
    P(default_system_input, "the same where the first user turn has an input of its own")          \
    P(user, "a user turn")                                                                         \
    P(input, "the input of a user turn; absent: it follows the user text after a blank line")      \
    P(tool, "what a tool said; absent: as a user turn")                                            \
    P(assistant, "an answer: its header, {answer}, and a special token that ends it")              \
    P(between, "in front of every user turn but the first")                                        \
    P(date, "what {date} in `system` stands for")

/* The other settings of a row, true or false. */
#define TEMPLATE_FLAGS(F)                                                                          \
    F(strip, "user texts and answers lose the white space around them")                            \
    F(alternate, "takes only (system) user assistant user assistant ...")                          \
    F(fold_last, "a folded system text goes into the last user turn, else into the first")         \
    F(spaced, "a space that begins a run is the tokenizer's own, where that puts one there")

struct template
{
    const char *name;
#define TEMPLATE_FIELD(part, help) const char *part;
    TEMPLATE_PARTS(TEMPLATE_FIELD)
#define TEMPLATE_FLAG(flag, help) bool flag;
    TEMPLATE_FLAGS(TEMPLATE_FLAG)
    char *definition; /* of a user's template: the JSON that template_define() read */
};

/* The row of that name; NULL when unknown. */
const struct template *template_named(const char *name);
const char *template_name(const struct template *t);
const char *template_names(void); /* separated by spaces, for messages */

/* A user's own template, from a JSON object of parts (and flags: true or false; name; like: the row
 * that supplies the parts not given). Freed with template_free(). */
int template_define(const struct template **out, const char *json, struct err *e);
/* Does nothing for rows of the table and NULL. */
void template_free(const struct template *t);
/* The text by which another run finds it: its name, or its definition. */
const char *template_definition(const struct template *t);

/* One piece of a part. */
struct template_piece {
    const char *text;
    size_t n;
    bool is_name; /* it was in braces */
};

/* Cut the next piece off a part (NULL is an empty part); false at the end. */
bool piece_next(struct template_piece *out, const char **at);
bool piece_is(const struct template_piece *p, const char *name);
/* Whether it is the name of a special token, including bos and eos; texts and {date} are not. */
bool piece_is_special(const struct template_piece *p);

/* Where the piece of that name begins in the part; NULL: it has none. */
const char *part_find(const char *part, const char *name);

#endif
