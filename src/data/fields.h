/* The fields of a record that asks once and is answered once, and the names they go by.
 *
 * A column belongs to a field by its name: any case of letters, with '-' and ' ' as '_'. Columns of
 * one field are synonyms, and in any combination with those of the others they are one format:
 *
 *   prompt      the question or task. Several are joined by a blank line, in the table's order, each
 *               text once. Without one the first input is the prompt
 *   input       what the question is about; several are joined likewise
 *   completion  the answer: one text. Two different ones are refused, for one of them would be lost
 *   choices     the answers to choose from (choices.h), on lines after the question; or a column for
 *               each: A, B, ...; option_a, option_b, ...; option1, option2, ...
 *   key         the right choice, where the answer's own column is something else or not there
 *   system      the system text: one
 *   reasoning   what comes before the answer, as <think>...</think>
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

enum { FIELD_COLUMNS = 6 }; /* of one record and field; more are left out, as unused ones */
enum { CHOICES_MOST = 26 }; /* of one record: they go by letters */

/* The columns of one record, by field, in the order of the table. Keys and values belong to the
 * record. A null is there only when the field has nothing else. */
struct fields {
    struct column {
        const char *key;
        const json_t *value;
        size_t row;
    } at[FIELDS][FIELD_COLUMNS];
    size_t n[FIELDS];
    /* Where no column has the choices, those that hold one each, by letter or number; empty ones left
     * out. */
    struct option_column {
        const char *key;
        const json_t *value;
        char label;
    } option[CHOICES_MOST];
    size_t n_options;
    bool input_is_prompt; /* the first input was taken as the prompt */
};

/* Find the record's columns: by their names, or those that `named` gives (NULL or none given: by
 * name). */
void fields_find(struct fields *f, const json_t *record, const struct record_columns *named);
/* Whether the record asks and answers: a prompt or an input, and a completion (or choices and a
 * key). */
bool fields_complete(const struct fields *f);

/* Whether a column of that name belongs to the field. */
bool field_has_name(enum field field, const char *key);

/* The known name that a column's name is a misspelling of, and its field; NULL when there is none.
 * Names of less than five letters, and endings (_id, an s), are not taken for misspellings. */
const char *field_nearest(enum field *field, const char *key);

/* What data.columns calls the field: "prompt", "completion", "input", ... */
const char *field_column(enum field field);

#endif
