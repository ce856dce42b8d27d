/* Text from a model, token by token, with the keys and values of earlier tokens kept.
 *
 * Several sequences go side by side; each step appends one token to each. The prompts run through
 * the same products as training; single tokens through products that read each weight once. */
#ifndef LORAC_MODEL_GENERATE_H
#define LORAC_MODEL_GENERATE_H

#include "src/model/network.h"

/* Tokens that generator_append() takes at once: enough that packing weights pays, few enough that
 * the scores stay small. */
enum { GENERATOR_APPEND = 64 };

struct generator {
    struct network net;
    size_t n_seq, max_keys; /* room for that many tokens of each sequence */
    uint32_t *length;       /* (n_seq) tokens of each so far */
    real *k, *v;            /* (layers, n_seq, max_keys, G, D) */
    real *logits;           /* (n_seq, V) for the token that comes next */
    real *scores;           /* workspace of attention */
    uint32_t *keys,
        *rows;        /* (prompt_rows) of the pass: how many keys each row sees; the last ones */
    struct pass pass; /* one segment for each sequence */
    struct arena arena;
};

/* adapter may be NULL. prompt_rows: tokens of all prompts together. */
int generator_init(struct generator *g, const struct llama *base, const struct adapter *adapter,
                   const struct kernels *k, size_t n_seq, size_t prompt_rows, size_t max_keys,
                   struct err *e);
void generator_free(struct generator *g);

/* Start over with one prompt per sequence (prompt i: n[i] >= 1 tokens). Afterwards g->logits is
 * valid. */
void generator_begin(struct generator *g, const int32_t *const *prompt, const size_t *n);

/* Append token[i] to sequence i; g->logits is then for the token after it. */
void generator_step(struct generator *g, const int32_t *token);

/* Append n >= 1 tokens to the only sequence (n_seq = 1), at most prompt_rows and GENERATOR_APPEND
 * of them at once; g->logits is then for the token after the last one. Nothing before them is
 * computed again. The sums run in another order than those of generator_begin(): the same numbers
 * but for their last digits. */
void generator_append(struct generator *g, const int32_t *token, size_t n);
/* Keep the first n tokens of the only sequence. g->logits belongs to another text then, until
 * generator_append(). */
void generator_truncate(struct generator *g, size_t n);
/* Begin with the tokens of another generator of the same base and adapter, whose limits may differ;
 * the state is then that after generator_truncate(). */
void generator_take_over(struct generator *g, const struct generator *from);

struct sampling {
    double temperature; /* 0: the largest logit, the first of equals */
    double top_p;       /* 1: all */
    size_t top_k;       /* 0: all */
    uint64_t seed;
};

/* Choose from logits (V). number: that of this token, so that a seed always gives the same text.
 * scratch: V numbers. -1 when the logits hold a NaN or have no finite largest. */
int32_t sample_token(const real *logits, size_t V, const struct sampling *s, uint32_t sequence,
                     uint64_t number, uint32_t *scratch);

#endif
