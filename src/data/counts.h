/* Counts of what happened to the records of one side of a data set (counts.def). */
#ifndef LORAC_DATA_COUNTS_H
#define LORAC_DATA_COUNTS_H

#include <stdbool.h>
#include <stddef.h>

#include "src/data/conversation.h"

struct data_counts {
#define COUNT(field, number, total, of_record, run, shown, label, note) size_t field;
#include "src/data/counts.def"
    size_t faults[FAULTS]; /* `bad` by kind of fault */
};

/* A row of counts.def. */
struct count_row {
    const char *field, *run, *label;
    bool always; /* in the table even when it is 0 */
    size_t offset;
};
enum {
#define COUNT(field, number, total, of_record, run, shown, label, note) COUNT_##field,
#include "src/data/counts.def"
    COUNTS
};
extern const struct count_row counts_table[COUNTS];
/* The rows in the order of a prepared file. */
extern const struct count_row *const counts_in_file[COUNTS];

size_t *count_field(struct data_counts *c, const struct count_row *row);
size_t count_of(const struct data_counts *c, const struct count_row *row);

/* Add the counts of another side, including the kinds of faults. */
void counts_add(struct data_counts *to, const struct data_counts *from);

#endif
