/* Multiple choice: the choices are written as lines "A. text" after the question, and the answer,
 * however the record gives it, is the correct line.
 *
 *   lists      of texts; of {text, label}; {text: [...], label: [...]}; {"A": ..., "B": ...}.
 *              Letters that the texts already have ("B) ...") are not written twice. One text with
 *              all choices is used unchanged, and so is its answer
 *   letters    the labels where they are letters, else A, B, C, ... in the order of the list
 *   answer     a label, a letter ("B", "(b)", "B. text"), a text, or an index that counts from 0,
 *              which is remarked; choices with numbers as labels have no index. An answer that
 *              means no choice, or different ones, is an error */
#ifndef LORAC_DATA_CHOICES_H
#define LORAC_DATA_CHOICES_H

#include "src/data/fields.h"
#include "src/data/reading.h"

struct choices {
    struct choice {
        char letter;
        size_t label, label_n, text, text_n; /* in `texts`; no label: label_n = 0 */
    } at[CHOICES_MOST];
    size_t n;
    bool is_text; /* one text with all of them, n = 0 */
    struct str texts;
};

/* Read the value v of the column `key`; null and empty values give no choices (n = 0). Release c
 * with choices_free(), after an error, too. */
int choices_read(struct choices *c, const struct reading *r, const char *key, const json_t *v);
/* Append "A. text" for each choice, with a line feed between them. */
void choices_add(struct str *out, const struct choices *c);
/* Find the choice that v, the value of the column `key`, means; *out is its number. */
int choices_find(size_t *out, const struct choices *c, const struct reading *r, const char *key,
                 const json_t *v);
/* Append one choice's line. */
void choices_add_one(struct str *out, const struct choices *c, size_t i);
void choices_free(struct choices *c);

#endif
