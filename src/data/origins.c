#include "src/data/origins.h"

#include "src/base/mem.h"

size_t origin_of(size_t *line, const struct origins *o, size_t example)
{
    size_t source = 0;
    while (source + 1 < o->n_sources && o->ends[source] <= example) source++;
    *line = o->line[example];
    return source;
}

void origins_free(struct origins *o)
{
    mem_free(o->line);
    mem_free(o->ends);
    *o = (struct origins){ 0 };
}
