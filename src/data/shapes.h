/* The shapes of records: from one JSON value to a conversation. A format is one row of
 * DATA_FORMATS below. Keys that a format does not name are ignored.
 *
 *   alpaca             instruction, output; optional input, system, history: [[user, answer], ...].
 *                      Dolly's names (instruction, context, response) are taken too.
 *   messages           messages: [{role, content}]; roles system (also developer), user, assistant;
 *                      an assistant message may say train: true|false or weight: 0|1
 *   prompt_completion  two texts under one of the usual pairs of names (prompt/completion,
 *                      question/answer, ...) or those of `columns`; with the usual names also an
 *                      optional system or system_prompt
 *   text               text
 *   tokens             input_ids; optional labels, each -100 or the id at its place (they are not
 *                      shifted: labels[i] belongs to input_ids[i]). Without labels all are targets.
 *                      Padding belongs to other trainers: attention_mask is ignored. */
#ifndef LORAC_DATA_SHAPES_H
#define LORAC_DATA_SHAPES_H

#include "src/base/json.h"
#include "src/data/conversation.h"

/* The formats, in the order in which auto tries them: name, and the keys by which it is known.
 * shapes.c holds is_NAME() and read_NAME() of each. */
#define DATA_FORMATS(F)                                                                            \
    F(TOKENS, tokens, "input_ids")                                                                 \
    F(MESSAGES, messages, "messages")                                                              \
    F(ALPACA, alpaca, "instruction, output")                                                       \
    F(PROMPT_COMPLETION, prompt_completion, "prompt, completion")                                  \
    F(TEXT, text, "text")

#define DATA_FORMAT_ENUM(upper, lower, keys) FORMAT_##upper,
enum data_format { FORMAT_AUTO, DATA_FORMATS(DATA_FORMAT_ENUM) FORMATS };

/* "alpaca", "messages", ...; false when the name is unknown. */
bool data_format_named(enum data_format *out, const char *name);
const char *data_format_name(enum data_format f);
/* The names, separated by spaces, for messages. */
const char *data_format_names(void);

/* The first format whose keys the value has; FORMAT_AUTO when none. */
enum data_format shape_detect(const json_t *v);

/* The error of a value that has no format's keys: names some of its keys and what was wanted. */
int shape_unknown(const json_t *v, const char *where, struct err *e);

/* Overwrite c with the record v. `prompt` and `completion` are the names of prompt_completion's
 * texts, both NULL for the usual ones. Errors begin with `where`. */
int shape_read(struct conversation *c, enum data_format f, const json_t *v, const char *prompt,
               const char *completion, const char *where, struct err *e);

#endif
