/* The common part of commands on a model: it makes a session from --model, --adapter and
 * --tokenizer, and writes an answer to stdout. */
#ifndef LORAC_COMMANDS_MODEL_OPTIONS_H
#define LORAC_COMMANDS_MODEL_OPTIONS_H

#include "src/commands/options.h"
#include "src/session/session.h"

/* What --help says of these options. */
#define BASE_HELP "the base model; left out: the one that the adapter names"
#define ADAPTER_HELP                                                                               \
    "an adapter on it, a run's directory, or either with =WEIGHT; several are added up"

/* --compute. A configuration says it by train.compute. */
#define COMPUTE_HELP                                                                               \
    "in which numbers products with the weights multiply, f32 or bf16, as train.compute; left "    \
    "out: f32"
#define COMPUTE_ALLOWED COMPUTE_WORDS(WORD_TEXT, " ")
/* The value of the option, one of the allowed words; NULL: left out. */
enum compute compute_option(const char *text);

/* The values of --adapter, "PATH" or "PATH=WEIGHT"; a value that is itself an existing path has no
 * weight. A run's directory stands for the adapter in it (adapter_locate()). */
struct adapter_list {
    struct session_adapter at[OPTION_LIST_MAX];
    char path[OPTION_LIST_MAX][PATH_BYTES];
    size_t n;
};
int adapter_list_read(struct adapter_list *out, const struct option_list *adapters,
                      struct str *notes, struct err *e);

/* Where *model is NULL: the base that the first adapter names, if it is on this machine; a note
 * says which. It is in static storage. A usage error where no base is known or there. */
int model_find(const char **model, const struct adapter_list *list, struct str *notes,
               struct err *e);

/* session_open() of o->model, or where that is NULL of what model_find() puts there, with the
 * adapters of the list. Its notes go to stderr. */
int model_open(struct session *s, struct session_options *o, const struct option_list *adapters,
               struct err *e);

/* The tokenizer to write into a new model, which the caller frees: `named` (a file or directory; an
 * error when it does not belong to the model), else the base's own; NULL with a note on stderr
 * where there is none (a base for token ids only). A chat template that is left out is noted
 * too. */
int tokenizer_to_write(struct tokenizer **t, const struct llama *m, const char *model,
                       const char *named, struct err *e);

/* An answer_sink that writes each piece to stdout and flushes it. On a terminal, characters that
 * are unsafe there appear as U+FFFD. `to`: a bool that is set when anything was written. The answer
 * ends when stdout cannot be written. */
bool print_answer(void *to, const char *text, size_t n);
/* End the line after an answer, or after the part of one that an error cut off. */
void print_answer_end(bool printed, int code);

#endif
