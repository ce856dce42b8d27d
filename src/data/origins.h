/* The record of each example: the line on which it begins, and its source, by the number of
 * examples up to the source's end. */
#ifndef LORAC_DATA_ORIGINS_H
#define LORAC_DATA_ORIGINS_H

#include <stddef.h>
#include <stdint.h>

struct origins {
    uint32_t *line; /* one for each example */
    size_t *ends;   /* one for each source of this side */
    size_t n_sources, cap;
};

/* The source (its number among the sources of this side) and the line of an example's record. */
size_t origin_of(size_t *line, const struct origins *o, size_t example);

void origins_free(struct origins *o);

#endif
