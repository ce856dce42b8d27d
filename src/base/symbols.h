/* Functions of libraries that may be missing, by name: rows of symbols.def. */
#ifndef LORAC_BASE_SYMBOLS_H
#define LORAC_BASE_SYMBOLS_H

#include <stdbool.h>

/* The function's address, or NULL where no library has it. A dynamic build asks the dynamic linker,
 * so that another library can take the place of the one it was linked to. In a static build there
 * is nothing to ask, and every name must be a row of symbols.def. */
void *symbol_named(const char *name);

/* Whether this program is statically linked. */
bool symbols_are_static(void);

#endif
