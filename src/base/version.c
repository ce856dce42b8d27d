#include "src/base/version.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "src/base/edit.h"
#include "src/base/symbols.h"

/* The libraries are asked by name: some lack the function (another BLAS than OpenBLAS), and this
 * folder does not include their headers. The pointer is copied with memcpy(), since C has no
 * conversion from an object pointer to a function pointer. */
#define ASK(function, symbol)                                                                      \
    void *function##_at = symbol_named(symbol);                                                    \
    memcpy(&(function), &function##_at, sizeof function##_at)

/* Add one line; none for a library that is not in the program. */
static void add_text(struct str *out, const char *indent, const char *name, const char *version)
{
    if (version) str_addf(out, "%s%s %s\n", indent, name, version);
}

/* The text without a first word that repeats the library's name. */
static const char *after(const char *text, const char *name)
{
    size_t n = strlen(name);
    return text && !strncmp(text, name, n) ? text + n : text;
}

/* MKL writes into a buffer, and in Fortran's way: with spaces at the end instead of a 0. */
static const char *mkl_text(void (*get)(char *, int))
{
    static char text[200];
    get(text, sizeof text - 1);
    size_t n = strnlen(text, sizeof text - 1);
    while (n && text[n - 1] == ' ') n--;
    text[n] = 0;
    return text;
}

const char *version_blas(void)
{
    static char text[300];
    char *(*openblas)(void), *(*blis)(void);
    void (*mkl)(char *, int);
    ASK(openblas, "openblas_get_config");
    ASK(mkl, "MKL_Get_Version_String");
    ASK(blis, "bli_info_get_version_str");
    if (openblas)
        snprintf(text, sizeof text, "OpenBLAS %s", after(openblas(), "OpenBLAS "));
    else if (mkl)
        snprintf(text, sizeof text, "MKL: %s", mkl_text(mkl));
    else if (blis)
        snprintf(text, sizeof text, "BLIS %s", blis());
    else
        snprintf(text, sizeof text, "BLAS (neither OpenBLAS nor BLIS nor MKL)");
    return text;
}

static void add_hdf5(struct str *out, const char *indent)
{
    int (*get)(unsigned *, unsigned *, unsigned *);
    ASK(get, "H5get_libversion");
    unsigned major, minor, release;
    if (get && get(&major, &minor, &release) >= 0)
        str_addf(out, "%sHDF5 %u.%u.%u\n", indent, major, minor, release);
}

static void add_pcre2(struct str *out, const char *indent)
{
    int (*config)(uint32_t, void *);
    ASK(config, "pcre2_config_8");
    enum { PCRE2_VERSION_QUERY = 11 }; /* PCRE2_CONFIG_VERSION of its ABI */
    char text[64];
    if (!config || config(PCRE2_VERSION_QUERY, NULL) > (int)sizeof text) return;
    if (config(PCRE2_VERSION_QUERY, text) > 0) add_text(out, indent, "PCRE2", text);
}

void version_add_libraries(struct str *out, const char *indent)
{
    const char *(*yaml)(void), *(*jansson)(void), *(*openssl)(int), *(*utf8proc)(void);
    ASK(yaml, "yaml_get_version_string");
    ASK(jansson, "jansson_version_str");
    ASK(openssl, "OpenSSL_version");
    ASK(utf8proc, "utf8proc_version");
    str_addf(out, "%s%s\n", indent, version_blas());
    add_hdf5(out, indent);
    add_text(out, indent, "libyaml", yaml ? yaml() : NULL);
    add_text(out, indent, "jansson", jansson ? jansson() : NULL);
    add_pcre2(out, indent);
    add_text(out, indent, "utf8proc", utf8proc ? utf8proc() : NULL);
    add_text(out, indent, "OpenSSL", openssl ? after(openssl(0), "OpenSSL ") : NULL);
    add_text(out, indent, "libedit", edit_version() ? edit_version() : "(not built in)");
}
