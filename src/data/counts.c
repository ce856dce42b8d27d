#include "src/data/counts.h"

enum shown { FOUND, ALWAYS };

const struct count_row counts_table[COUNTS] = {
#define COUNT(field, number, total, of_record, run, shown, label, note)                            \
    { #field, run, label, shown == ALWAYS, offsetof(struct data_counts, field) },
#include "src/data/counts.def"
};

/* There are as many places as rows, so each number occurs once: two rows with the same number give
 * a warning (-Woverride-init). */
const struct count_row *const counts_in_file[] = {
#define COUNT(field, number, total, of_record, run, shown, label, note)                            \
    [number] = &counts_table[COUNT_##field],
#include "src/data/counts.def"
};
_Static_assert(sizeof counts_in_file / sizeof *counts_in_file == COUNTS, "the numbers");

size_t *count_field(struct data_counts *c, const struct count_row *row)
{
    return (size_t *)((char *)c + row->offset);
}

size_t count_of(const struct data_counts *c, const struct count_row *row)
{
    return *(const size_t *)((const char *)c + row->offset);
}

void counts_add(struct data_counts *to, const struct data_counts *from)
{
#define SUM(a, b)     ((a) + (b))
#define LARGEST(a, b) ((a) > (b) ? (a) : (b))
#define COUNT(field, number, total, of_record, run, shown, label, note)                            \
    to->field = total(to->field, from->field);
#include "src/data/counts.def"
    for (size_t f = 0; f < FAULTS; f++) to->faults[f] += from->faults[f];
}
