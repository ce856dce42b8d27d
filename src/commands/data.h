/* The parts of `lorac data`. */
#ifndef LORAC_COMMANDS_DATA_H
#define LORAC_COMMANDS_DATA_H

#include "src/config/config.h"

struct show_options {
    int64_t n;          /* examples */
    const char *record; /* LINE or FILE:LINE of a record; NULL: the first ones */
    bool ids;
};

/* Print examples as they will be trained on (data_show.c). */
int data_show(const struct config *c, const struct show_options *o, struct err *e);

/* Validate everything and print a table, or JSON (data_check.c). */
int data_check(const struct config *c, bool as_json, struct err *e);

#endif
