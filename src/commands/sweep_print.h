/* The table of runs on stdout: for people, as JSON, as CSV. */
#ifndef LORAC_COMMANDS_SWEEP_PRINT_H
#define LORAC_COMMANDS_SWEEP_PRINT_H

#include "src/train/sweep_table.h"

/* Columns where they fit into `width`, else a row on several lines; then the notes, and the best
 * row with its adapter. */
int sweep_print_people(const struct sweep_table *t, int width, struct err *e);
int sweep_print_json(const struct sweep_table *t, struct err *e);
/* One line for each row; the notes go to stderr. */
int sweep_print_csv(const struct sweep_table *t, struct err *e);

#endif
