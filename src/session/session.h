/* A model that is ready to be asked: its weights, adapters on it, its tokenizer and its prompt template.
 *
 * With answer.h and chat.h this is what a program links that is not lorac's command line, which is only
 * one user of it. Nothing here prints, ends the process or keeps anything outside the structs: keep it so,
 * and these headers narrow. A session is not changed by what is asked of it; several chats may be held
 * with one, one at a time. */
#ifndef LORAC_SESSION_SESSION_H
#define LORAC_SESSION_SESSION_H

#include "src/data/template.h"
#include "src/train/publish.h"

/* How the adapters are held against the base. What does not belong there is noted. */
enum session_check {
    CHECK_GLANCE, /* to answer: nothing of the base is read for it */
    CHECK_READ,   /* to measure: its hash may be computed */
    CHECK_MERGE,  /* to merge: the same, and an adapter that the base holds already is an error */
};

/* An adapter (a PEFT directory, a GGUF adapter, a checkpoint), and what its effect is multiplied by. */
struct session_adapter {
    const char *path;
    double weight;
};

struct session_options {
    const char *model; /* a directory or a file */
    const struct session_adapter *adapters;
    size_t n_adapters; /* they are added up */
    enum session_check check;
    bool ids_only;         /* for token ids: neither tokenizer nor template is looked for */
    const char *tokenizer; /* NULL: the model's own */
    /* NULL: what the first adapter's notes name, else those of the model itself (lorac merge leaves some),
     * else the model's own chat template, else none. */
    const char *template;
};

struct session {
    struct llama model;
    struct adapter adapter;
    bool has_adapter;
    struct tokenizer *tok;           /* NULL with ids_only */
    const struct template *template; /* NULL: none, a text is taken as it stands */
    const struct kernels *k;
    struct digest_list merged; /* the adapters that the model holds; with CHECK_MERGE: and these */
    size_t n_merged;           /* of these the first, which the base holds */
};

/* Open all of it. Appends to `notes` a line for each thing that the user should know: an adapter of another
 * base, one that is merged already, a template that is not known or not the one trained with. The texts
 * that the options name are not needed afterwards. */
int session_open(struct session *s, const struct session_options *o, struct str *notes,
                 struct err *e);
void session_close(struct session *s);

static inline const struct adapter *session_adapter(const struct session *s)
{
    return s->has_adapter ? &s->adapter : NULL;
}

#endif
