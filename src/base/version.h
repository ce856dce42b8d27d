/* The versions of this program and of the libraries that were loaded. */
#ifndef LORAC_BASE_VERSION_H
#define LORAC_BASE_VERSION_H

#include "src/base/str.h"

/* Append "OpenBLAS 0.3.21 ...", "HDF5 1.10.8", ... one per line, each after `indent`. The libraries
 * are asked at run time, so the answer is about the library in use and not about the header; only
 * libedit cannot be asked. */
void version_add_libraries(struct str *out, const char *indent);

/* The BLAS in use and its version: "OpenBLAS 0.3.21 ..."; static storage. */
const char *version_blas(void);

#endif
