/* What this program is made of: its own version, the compiler, the libraries that were loaded. */
#ifndef LORAC_BASE_VERSION_H
#define LORAC_BASE_VERSION_H

#include "src/base/str.h"

/* Append "OpenBLAS 0.3.21 ...", "HDF5 1.10.8", ... one per line, each behind `indent`. They are
 * asked at run time, so that the answer is about the library in use and not about the header. */
void version_add_libraries(struct str *out, const char *indent);

#endif
