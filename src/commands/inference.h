/* What eval, generate and merge have in common: a base, adapters on it, its tokenizer, the template to
 * use, all from options. */
#ifndef LORAC_COMMANDS_INFERENCE_H
#define LORAC_COMMANDS_INFERENCE_H

#include "src/commands/options.h"
#include "src/data/template.h"
#include "src/train/publish.h"

struct inference {
    struct llama model;
    struct adapter adapter; /* n_params = 0: none */
    bool has_adapter;
    struct tokenizer *tok;
    const struct template *template;
    const struct kernels *k;
    struct digest_list merged; /* the adapters that the model holds already; of merge: and these */
    size_t n_merged;           /* of these the first, which the base holds */
};

/* How the adapters are held against the base. What does not belong there is noted on stderr. */
enum adapter_check {
    CHECK_GLANCE, /* generate, chat: nothing of the base is read for it */
    CHECK_READ,   /* eval: its hash may be computed */
    CHECK_MERGE,  /* merge: the same, and an adapter that the base holds already is an error */
};

/* Open the base and the adapters ("DIR" or "DIR=WEIGHT", several are added up). */
int inference_open(struct inference *x, const char *model, const struct option_list *adapters,
                   enum adapter_check check, struct err *e);

/* Also its tokenizer (`tokenizer` or NULL), and the template: `template`, else what the first adapter's
 * lorac.json names, else that of the model itself (lorac merge leaves one), else the model's own chat
 * template, else none (x->template = NULL; a note says so where there is one that is not known). */
int inference_open_text(struct inference *x, const char *model, const char *tokenizer,
                        const char *template, const struct option_list *adapters,
                        enum adapter_check check, struct err *e);

/* The path in the i-th of "DIR" or "DIR=WEIGHT". */
int inference_adapter_path(char path[PATH_BYTES], const struct option_list *adapters, size_t i,
                           struct err *e);

/* The tokenizer that goes into a model that is written, for the caller to free: `named` (a file or
 * directory; an error when it does not belong to the model), else the base's own; NULL with a note on stderr
 * where there is none (a base for token ids only). That a chat template is left out is noted too. */
int tokenizer_to_write(struct tokenizer **t, const struct llama *m, const char *model,
                       const char *named, struct err *e);

void inference_close(struct inference *x);

static inline const struct adapter *inference_adapter(const struct inference *x)
{
    return x->has_adapter ? &x->adapter : NULL;
}

#endif
