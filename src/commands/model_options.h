/* What commands on a model have in common: from --model, --adapter and --tokenizer to a session, and an
 * answer to stdout. */
#ifndef LORAC_COMMANDS_MODEL_OPTIONS_H
#define LORAC_COMMANDS_MODEL_OPTIONS_H

#include "src/commands/options.h"
#include "src/session/session.h"

/* The values of --adapter, "PATH" or "PATH=WEIGHT"; a path that exists as it stands has no weight. */
struct adapter_list {
    struct session_adapter at[OPTION_LIST_MAX];
    char path[OPTION_LIST_MAX][PATH_BYTES];
};
int adapter_list_read(struct adapter_list *out, const struct option_list *adapters, struct err *e);

/* session_open() of o->model, which may be NULL (an error), with the adapters of the list. Its notes go to
 * stderr. */
int model_open(struct session *s, struct session_options *o, const struct option_list *adapters,
               struct err *e);

/* The tokenizer that goes into a model that is written, for the caller to free: `named` (a file or
 * directory; an error when it does not belong to the model), else the base's own; NULL with a note on stderr
 * where there is none (a base for token ids only). That a chat template is left out is noted too. */
int tokenizer_to_write(struct tokenizer **t, const struct llama *m, const char *model,
                       const char *named, struct err *e);

/* An answer_sink that writes each piece to stdout and flushes it; on a terminal what is unsafe there appears
 * as U+FFFD. `to`: a bool, set when it has written anything. */
bool print_answer(void *to, const char *text, size_t n);
/* The line's end after an answer, or after the part of one that an error cut off. */
void print_answer_end(bool printed, int code);

#endif
