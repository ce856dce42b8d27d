/* Compiled twice: for the library, and with LORAC_STATIC for the statically linked program. */
#include "src/base/symbols.h"

#ifndef LORAC_STATIC

#include <dlfcn.h>
#include <stddef.h>

void *symbol_named(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

bool symbols_are_static(void)
{
    return false;
}

#else

#include <netdb.h>
#include <stddef.h>
#include <string.h>

#include "src/base/err.h"

/* Weak: NULL where no library has the function. The real types do not matter for an address. */
#define SYMBOL(name) extern void name(void) __attribute__((weak));
#include "src/base/symbols.def"
#undef SYMBOL

void *symbol_named(const char *name)
{
    static const struct {
        const char *name;
        void (*at)(void);
    } rows[] = {
#define SYMBOL(name) { #name, name },
#include "src/base/symbols.def"
#undef SYMBOL
    };
    void *at = NULL;
    size_t i = 0, n = sizeof rows / sizeof *rows;
    while (i < n && strcmp(rows[i].name, name) != 0) i++;
    CHECK(i < n);
    memcpy(&at, &rows[i].at, sizeof at); /* C has no conversion from a function to an object */
    return at;
}

bool symbols_are_static(void)
{
    return true;
}

/* ---- a static program loads no code ---------------------------------------------------------- */

/* The libraries refer to these functions: HDF5 for plugins, OpenSSL for engines, providers and
 * sockets. In a static program glibc's own would load shared objects of the machine that it runs
 * on, which work only with the glibc of the machine that it was built on; the linker warns of each.
 * lorac needs none of them, so they are replaced by functions that always fail. (The linker warns
 * of dlopen() all the same: glibc's comes along under another name. The Makefile drops this.)
 * What is left of the kind are character sets other than UTF-8, which lorac does not choose. */
void *dlopen(const char *file, int mode);
void *dlopen(const char *file, int mode)
{
    (void)file, (void)mode;
    return NULL;
}

char *dlerror(void);
char *dlerror(void)
{
    return (char *)"a statically linked program loads no libraries";
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    (void)node, (void)service, (void)hints, (void)found;
    return EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *found)
{
    (void)found; /* there never is one */
}

int getnameinfo(const struct sockaddr *at, socklen_t at_bytes, char *host, socklen_t host_bytes,
                char *service, socklen_t service_bytes, int flags)
{
    (void)at, (void)at_bytes, (void)host, (void)host_bytes;
    (void)service, (void)service_bytes, (void)flags;
    return EAI_FAIL;
}

struct hostent *gethostbyname(const char *name)
{
    (void)name;
    h_errno = NO_RECOVERY;
    return NULL;
}

#endif
