/* All that is wrong with a configuration, so that it can be shown at once: a line for each fault,
 * in the order of the file, then of the overrides, then of what is missing. Of many, the first
 * COMPLAINTS_KEPT are kept and the others counted; COMPLAINTS_MOST end the reading, since a file
 * can hold any number. */
#ifndef LORAC_CONFIG_COMPLAINTS_H
#define LORAC_CONFIG_COMPLAINTS_H

#include <stdint.h>

#include "src/base/err.h"

enum { COMPLAINTS_KEPT = 100, COMPLAINTS_MOST = 1000 };

/* Places after the last line of a file; a fault that ends the parsing is the last of the file. */
#define COMPLAINT_SYNTAX   (SIZE_MAX - 2)
#define COMPLAINT_OVERRIDE (SIZE_MAX - 1)
#define COMPLAINT_MISSING  SIZE_MAX

struct complaints {
    struct complaint {
        size_t line;
        char *text; /* one safe line, as in err.h */
    } at[COMPLAINTS_KEPT];
    size_t kept, n; /* how many are in `at`, and how many there are */
};

/* Add e's message, which belongs to `line`, and clear e->code. A code that is returned ends the
 * reading: ERR_USAGE with the last of COMPLAINTS_MOST, and any other, which is not a complaint. */
int complaints_add(struct complaints *a, size_t line, struct err *e);

/* 0 if there are none; else ERR_USAGE with the first as the message, and how many there are. */
int complaints_error(const struct complaints *a, struct err *e);

void complaints_free(struct complaints *a);

#endif
