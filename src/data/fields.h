/* The fields of a record with one question and one answer, and their names.
 *
 * A column's name decides its field; the case of letters does not matter, and '-' and ' ' count as
 * '_'. The columns of one field are synonyms; every combination of fields is the same format:
 *
 *   prompt      the question or task. Several are joined by a blank line, in the table's order,
 *               each text once. Without a prompt the first input is the prompt
 *   input       the text that the question is about; several are joined in the same way
 *   completion  the answer: one text. Two different answers are refused, because one of them would
 *               be lost
 *   choices     the answers to choose from (choices.h), on lines after the question; or one column
 *               for each: A, B, ...; option_a, option_b, ...; option1, option2, ...
 *   key         the right choice, where the answer's own column has something else or is missing
 *   system      the system text: one text
 *   reasoning   the text before the answer, as <think>...</think>
 *
 * datasets/README.md has the same for users. */
#ifndef LORAC_DATA_FIELDS_H
#define LORAC_DATA_FIELDS_H

#include "src/base/json.h"
#include "src/data/record_format.h"

enum field {
    FIELD_PROMPT,
    FIELD_INPUT,
    FIELD_COMPLETION,
    FIELD_CHOICES,
    FIELD_KEY,
    FIELD_SYSTEM,
    FIELD_REASONING,
    FIELDS
};

enum { FIELD_COLUMNS = 6 }; /* of one record and field; further ones are not used */
enum { CHOICES_MOST = 26 }; /* of one record: their names are letters */

/* The columns of one record, by field, in the order of the table. Keys and values belong to the
 * record. A null is kept only when the field has nothing else. */
struct fields {
    struct column {
        const char *key;
        const json_t *value;
        size_t row;
    } at[FIELDS][FIELD_COLUMNS];
    size_t n[FIELDS];
    /* Where no column has all choices: the columns with one choice each, by letter or number,
     * without the empty ones. */
    struct option_column {
        const char *key;
        const json_t *value;
        char label;
    } option[CHOICES_MOST];
    size_t n_options;
    bool input_is_prompt; /* the first input is used as the prompt */
};

/* Find the record's columns: those that `named` gives, or by their names when it is NULL or gives
 * none. */
void fields_find(struct fields *f, const json_t *record, const struct record_columns *named);
/* Whether the record has a question and an answer: a prompt or an input, and a completion (or
 * choices and a key). */
bool fields_complete(const struct fields *f);

/* Whether a column of that name belongs to the field. */
bool field_has_name(enum field field, const char *key);

/* The known name of which a column's name is a misspelling, and its field; NULL when there is none.
 * Names of fewer than five letters, and endings (_id, an s), are not taken for misspellings. */
const char *field_nearest(enum field *field, const char *key);

/* The field's name in data.columns: "prompt", "completion", "input", ... */
const char *field_column(enum field field);

#endif
