/* Holds examples for data sets larger than memory: their columns are in temporary files, and only
 * the beginnings of the examples are in memory. */
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
    size_t *item; /* n_items + 1; NULL as long as every example is its own item */
    size_t n_items, item_cap;
};

/* A spool that is not open; spool_close() is harmless on it. */
struct spool spool_none(void);
/* The temporary files are in `dir`; the string must live as long as the spool. */
int spool_open(struct spool *s, const char *dir, struct err *e);
/* Append the examples from .. to-1 of x. The range holds whole items. */
int spool_append(struct spool *s, const struct examples *x, size_t from, size_t to, struct err *e);
/* Append the examples from .. to-1 of the spool to out. The range holds whole items. */
int spool_read(struct examples *out, struct spool *s, size_t from, size_t to, struct err *e);
/* The bytes of all columns. */
uint64_t spool_bytes(const struct spool *s);
void spool_close(struct spool *s);

#endif
