/* Cutting a text into words before byte-level BPE, as the pre-tokenisers of GPT-2, SmolLM2, Llama 3
 * and Qwen2 do. A token never crosses the border of a word. */
#ifndef LORAC_TOKENIZER_SPLIT_H
#define LORAC_TOKENIZER_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/err.h"

enum pretokenizer { PRE_NONE, PRE_GPT2, PRE_SMOLLM, PRE_LLAMA3, PRE_QWEN2, PRETOKENIZERS };

/* All that lorac knows of a pre-tokeniser: a new one needs its name here and a row in split.c. */
struct pretokenizer_row {
    const char *names[4];         /* llama.cpp's in tokenizer.ggml.pre; the first is written */
    bool ignore_merges, adds_bos; /* llama.cpp's settings for these names */
    const char *regex;   /* as a tokenizer.json's Split spells it; NULL: written without a Split */
    bool split;          /* written as a Split; else ByteLevel cuts, after Digits if no regex */
    const char *pattern; /* for PCRE2 */
};
extern const struct pretokenizer_row pretokenizers[PRETOKENIZERS];

/* A compiled pattern of PCRE2, used by any number of threads. */
struct splitter {
    void *code;
};

int splitter_init(struct splitter *s, enum pretokenizer pre, struct err *e);
void splitter_release(struct splitter *s);

/* One thread's walk over one text of valid UTF-8. */
struct splits {
    const struct splitter *splitter;
    void *match, *limits;
    const char *text;
    size_t n, at;
};

int splits_init(struct splits *w, const struct splitter *s, struct err *e);
void splits_release(struct splits *w);
void splits_begin(struct splits *w, const char *text, size_t n);
/* The next word is [*start, *end) of the text; *more is false at the end of the text. The time is
 * linear in the text; an error means that PCRE2 reached its limits. */
int splits_next(struct splits *w, bool *more, size_t *start, size_t *end, struct err *e);

#endif
