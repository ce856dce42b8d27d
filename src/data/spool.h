/* Examples on their way into a file, for data sets larger than memory: their columns go to temporary
 * files, in memory is only where each example begins. */
#ifndef LORAC_DATA_SPOOL_H
#define LORAC_DATA_SPOOL_H

#include "src/base/scratch.h"
#include "src/data/examples.h"

struct spool {
#define SPOOL_FIELD(name, type, stored) struct scratch name;
    EXAMPLE_COLUMNS(SPOOL_FIELD)
#undef SPOOL_FIELD
    size_t *at; /* n + 1; NULL while empty */
    size_t n, at_cap;
    size_t *item; /* n_items + 1; NULL as long as every example is an item of its own */
    size_t n_items, item_cap;
};

/* One that is not open; spool_close() is harmless. */
struct spool spool_none(void);
/* The temporary files lie in `dir`, which must live as long. */
int spool_open(struct spool *s, const char *dir, struct err *e);
/* Append the examples from .. to-1 of x, whole items. */
int spool_append(struct spool *s, const struct examples *x, size_t from, size_t to, struct err *e);
/* Append the examples from .. to-1 of the spool to out; whole items. */
int spool_read(struct examples *out, struct spool *s, size_t from, size_t to, struct err *e);
/* Of all columns. */
uint64_t spool_bytes(const struct spool *s);
void spool_close(struct spool *s);

#endif
