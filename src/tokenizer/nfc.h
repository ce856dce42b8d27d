/* Unicode's Normalization Form C of a text, and where in the text its bytes come from.
 *
 * Qwen2's tokenizer.json asks for it: "e" and a combining acute accent are to give the ids of "é".
 * The characters' properties are utf8proc's; sorting and cutting are done here, because utf8proc's
 * sorting takes quadratic time on a text of combining marks. Here time and memory are linear: the
 * form has at most three times the text's bytes (Unicode Standard Annex #15).
 *
 * Hugging Face's library has the tables of Unicode 9, so it does not sort newer marks. */
#ifndef LORAC_TOKENIZER_NFC_H
#define LORAC_TOKENIZER_NFC_H

#include <stdint.h>

#include "src/base/err.h"
#include "src/base/str.h"

/* Bytes [at, at + n) of the form stand for the bytes [from, from + source) of the text. */
struct nfc_change {
    uint32_t at, n, from, source;
};

/* The form of the last text, and scratch memory of one thread. Zero-initialised at first. */
struct nfc {
    struct str text;
    struct nfc_change *changes; /* in order; the bytes between them are as in the text */
    size_t n_changes, changes_cap;
    int32_t *cluster, *sorted; /* code points: a starter and the marks on it */
    size_t n, cluster_cap;
    size_t from, at; /* the beginning of the open stretch in the text and in the form */
};

/* f->text = NFC of the n bytes at `text`: valid UTF-8, at most 1 GiB. */
int nfc_form(struct nfc *f, const char *text, size_t n, struct err *e);
void nfc_release(struct nfc *f);

/* Where the bytes of the form from `at` on begin in the text, and where the bytes before `at` end.
 * Each part of a stretch that was changed covers the whole stretch. */
size_t nfc_source_start(const struct nfc *f, size_t at);
size_t nfc_source_end(const struct nfc *f, size_t at);

#endif
