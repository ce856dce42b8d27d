#include "src/base/version.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "src/base/edit.h"

/* The libraries are asked by name through dlsym(): some lack the function (another BLAS than
 * OpenBLAS), and this folder does not include their headers. The pointer is copied with memcpy(),
 * since C has no conversion from an object pointer to a function pointer. */
#define ASK(function, symbol)                                                                      \
    void *function##_at = dlsym(RTLD_DEFAULT, symbol);                                             \
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

static void add_blas(struct str *out, const char *indent)
{
    char *(*config)(void);
    ASK(config, "openblas_get_config");
    if (config)
        add_text(out, indent, "OpenBLAS", after(config(), "OpenBLAS "));
    else if (dlsym(RTLD_DEFAULT, "cblas_sgemm"))
        add_text(out, indent, "BLAS", "(not OpenBLAS)");
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
    add_blas(out, indent);
    add_hdf5(out, indent);
    add_text(out, indent, "libyaml", yaml ? yaml() : NULL);
    add_text(out, indent, "jansson", jansson ? jansson() : NULL);
    add_pcre2(out, indent);
    add_text(out, indent, "utf8proc", utf8proc ? utf8proc() : NULL);
    add_text(out, indent, "OpenSSL", openssl ? after(openssl(0), "OpenSSL ") : NULL);
    add_text(out, indent, "libedit", edit_version() ? edit_version() : "(not built in)");
}
