/* A model that is ready to answer: its weights, adapters on it, its tokenizer and its prompt
 * template.
 *
 * Other programs can link this, answer.h and chat.h; lorac's command line is only one user. Nothing
 * here prints, ends the process or keeps anything outside the structs: keep it so, and keep these
 * headers narrow. Answering does not change a session; several chats can use one, one at a time. */
#ifndef LORAC_SESSION_SESSION_H
#define LORAC_SESSION_SESSION_H

#include "src/base/watch.h"
#include "src/data/template.h"
#include "src/train/publish.h"

/* How the adapters are checked against the base. An adapter that does not belong to it is noted. */
enum session_check {
    CHECK_GLANCE, /* to answer: the base is not read for it */
    CHECK_READ,   /* to measure: the base's hash may be computed */
    CHECK_MERGE,  /* to merge: also, an adapter that the base holds already is an error */
};

/* An adapter (a PEFT directory, a GGUF adapter, a checkpoint), and the factor of its effect. */
struct session_adapter {
    const char *path;
    double weight;
};

struct session_options {
    const char *model; /* a directory or a file */
    const struct session_adapter *adapters;
    size_t n_adapters; /* they are added up */
    enum session_check check;
    const struct watch *watch; /* of the base's hash; NULL: none */
    bool ids_only;             /* for token ids: no tokenizer and no template are opened */
    const char *tokenizer;     /* NULL: the model's own */
    enum compute compute;      /* of the frozen products */
    /* NULL: the template in the first adapter's notes, else in the notes of the model itself (lorac
     * merge writes some), else the model's own chat template, else none. */
    const char *template;
};

struct session {
    struct llama model;
    struct adapter adapter;
    bool has_adapter;
    struct tokenizer *tok;           /* NULL with ids_only */
    const struct template *template; /* NULL: none, a text is taken as it is */
    const struct kernels *k;
    struct digest_list merged; /* adapters in the model; with CHECK_MERGE also the new ones */
    size_t n_merged;           /* how many of these, the first ones, the base holds */
};

/* Open a session. Appends to `notes` a line for each thing that the user should know: an adapter of
 * another base, one that is merged already, a template that is unknown or not the one of training.
 * The strings of the options are not needed afterwards. */
int session_open(struct session *s, const struct session_options *o, struct str *notes,
                 struct err *e);
void session_close(struct session *s);

static inline const struct adapter *session_adapter(const struct session *s)
{
    return s->has_adapter ? &s->adapter : NULL;
}

#endif
